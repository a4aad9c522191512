/*
 * Making, altering and dropping rollups.
 */

CREATE FUNCTION @extschema@.aggjobs_create_rollup(
	name      text,
	query     text,
	schedule  text DEFAULT 'every 5 minutes',
	schema    text DEFAULT NULL,
	lookback  integer DEFAULT NULL,
	epoch     text DEFAULT NULL,
	time_zone text DEFAULT 'UTC')
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_create_rollup';
COMMENT ON FUNCTION @extschema@.aggjobs_create_rollup(text, text, text, text, integer, text, text) IS
	'keep a SELECT ... GROUP BY fresh in a table of this name, with a live view name_live and a job that refreshes it; returns its id';

CREATE FUNCTION @extschema@.aggjobs_alter_rollup(name text, query text, dry_run boolean DEFAULT false,
	OUT part text, OUT column_name text, OUT change text, OUT before text, OUT after text)
RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_alter_rollup';
COMMENT ON FUNCTION @extschema@.aggjobs_alter_rollup(text, text, boolean) IS
	'give a rollup another query: returns what differs; it is computed anew in the background, answers as before until that is done, and gives up what an earlier call began';

CREATE FUNCTION @extschema@.aggjobs_drop_rollup(name text, keep_table boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_drop_rollup';
COMMENT ON FUNCTION @extschema@.aggjobs_drop_rollup(text, boolean) IS
	'drop a rollup, its live view and its own job; its table stays, as a plain table, if asked for';
