/*
 * Backfills: long refreshes in chunks, by several workers.
 */

CREATE FUNCTION @extschema@.aggjobs_backfill(
	name      text,
	"from"    timestamptz DEFAULT NULL,
	"to"      timestamptz DEFAULT NULL,
	days      integer DEFAULT NULL,
	workers   integer DEFAULT NULL,
	chunk     interval DEFAULT NULL,
	"order"   text DEFAULT 'newest first',
	parents   boolean DEFAULT false,
	dry_run   boolean DEFAULT false,
	snapshot  boolean DEFAULT false)
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_backfill(text, timestamptz, timestamptz, integer, integer, interval, text, boolean, boolean, boolean) IS
	'compute a range of a job''s rollups, or of one rollup, and of those below (and above, with parents) in the background, in chunks and by several workers; days: so many before today; snapshot: keep a copy of what is there until it is confirmed; returns its id, or with dry_run tells the chunks';

CREATE FUNCTION @extschema@.aggjobs_repair(name text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
	workers integer DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_repair';
COMMENT ON FUNCTION @extschema@.aggjobs_repair(text, timestamptz, timestamptz, integer) IS
	'compute all buckets of a rollup in a range anew, and of those below, and write what differs: a backfill; returns its id';

CREATE FUNCTION @extschema@.aggjobs_wait_backfill(backfill_id bigint, timeout interval DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_wait_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_wait_backfill(bigint, interval) IS
	'wait for the end of a backfill, with a NOTICE for each percent; returns its state';

CREATE FUNCTION @extschema@.aggjobs_pause_backfill(backfill_id bigint) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_pause_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_pause_backfill(bigint) IS
	'begin no other chunk of a backfill; those at work are ended';

CREATE FUNCTION @extschema@.aggjobs_resume_backfill(backfill_id bigint) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_resume_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_resume_backfill(bigint) IS 'go on with a backfill that was paused';

CREATE FUNCTION @extschema@.aggjobs_cancel_backfill(backfill_id bigint) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_cancel_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_cancel_backfill(bigint) IS
	'stop a backfill at once: chunks at work are undone, those that are done stay';

CREATE FUNCTION @extschema@.aggjobs_retry_backfill(backfill_id bigint) RETURNS integer
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_retry_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_retry_backfill(bigint) IS
	'take up a backfill again that has failed or was cancelled; returns how many chunks are left';

CREATE FUNCTION @extschema@.aggjobs_alter_backfill(backfill_id bigint, workers integer) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_alter_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_alter_backfill(bigint, integer) IS
	'have so many workers from now on, also while it runs; those that are too many end after their chunk';

CREATE FUNCTION @extschema@.aggjobs_confirm_backfill(backfill_id bigint) RETURNS integer
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_confirm_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_confirm_backfill(bigint) IS
	'drop what a backfill with snapshot has kept of before; returns how many tables there were';

CREATE FUNCTION @extschema@.aggjobs_undo_backfill(backfill_id bigint) RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_undo_backfill';
COMMENT ON FUNCTION @extschema@.aggjobs_undo_backfill(bigint) IS
	'have the tables of rollups say what they said before a backfill with snapshot; returns how many rows went and came';
