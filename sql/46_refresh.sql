/*
 * Keeping rollups fresh.
 */

CREATE PROCEDURE @extschema@.aggjobs_refresh(name text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_refresh';
COMMENT ON PROCEDURE @extschema@.aggjobs_refresh(text, timestamptz, timestamptz) IS
	'compute what is due of a rollup, and of the rollups below it, in this session; with a range, all its buckets';

CREATE FUNCTION @extschema@.aggjobs_mark_changed(source regclass, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_mark_changed';
COMMENT ON FUNCTION @extschema@.aggjobs_mark_changed(regclass, timestamptz, timestamptz) IS
	'count a range of time of a source as changed, for changes of tables that its rollups join; NULL: no bound';

CREATE FUNCTION @extschema@.aggjobs_retire(source regclass, before timestamptz, delete_rows boolean DEFAULT true)
RETURNS timestamptz
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_retire';
COMMENT ON FUNCTION @extschema@.aggjobs_retire(regclass, timestamptz, boolean) IS
	'freeze the rollups of a source before an instant, and remove its rows: whole partitions are dropped; returns up to where';

CREATE FUNCTION @extschema@.aggjobs_verify(name text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
	sample integer DEFAULT NULL)
RETURNS TABLE (bucket text, key jsonb, difference text, stored jsonb, computed jsonb)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_verify';
COMMENT ON FUNCTION @extschema@.aggjobs_verify(text, timestamptz, timestamptz, integer) IS
	'each row in which the table of a rollup differs from its query, in buckets that are neither open, stale nor frozen: missing, extra or differs; with a sample in so many buckets, drawn at random';
