/*
 * Functions that the extension itself uses; users meet them in error contexts
 * and in \d at most.
 */

-- ----------------------------------------------------------------- capture

CREATE FUNCTION aggjobs.index_handler(internal) RETURNS index_am_handler
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'aggjobs_index_handler';
COMMENT ON FUNCTION aggjobs.index_handler(internal) IS 'handler of the index access method aggjobs';

CREATE ACCESS METHOD aggjobs TYPE INDEX HANDLER aggjobs.index_handler;
COMMENT ON ACCESS METHOD aggjobs IS
	'on the time column of a source of rollups: notes the times that are inserted, and stores nothing';

CREATE OPERATOR CLASS aggjobs.timestamptz_ops DEFAULT FOR TYPE timestamptz USING aggjobs AS STORAGE timestamptz;
CREATE OPERATOR CLASS aggjobs.timestamp_ops DEFAULT FOR TYPE timestamp USING aggjobs AS STORAGE timestamp;
CREATE OPERATOR CLASS aggjobs.date_ops DEFAULT FOR TYPE date USING aggjobs AS STORAGE date;
CREATE OPERATOR CLASS aggjobs.int8_ops DEFAULT FOR TYPE bigint USING aggjobs AS STORAGE bigint;

/*
 * Conditions of the triggers on sources.  Whoever updates the table must be
 * able to execute them, and so everybody is.  VOLATILE, or the planner might
 * think that it can do without a call.
 */
CREATE FUNCTION aggjobs.note_update(source regclass, VARIADIC pairs "any") RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'aggjobs_note_update';
COMMENT ON FUNCTION aggjobs.note_update(regclass, "any") IS
	'condition of the trigger for updates on a source: old and new time, then old and new value of each column that rollups read; notes the times if any differs; always false';

CREATE FUNCTION aggjobs.note_delete(source regclass, VARIADIC pairs "any") RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'aggjobs_note_delete';
COMMENT ON FUNCTION aggjobs.note_delete(regclass, "any") IS
	'condition of the trigger for deletes on a source: old time; notes it; always false';

CREATE FUNCTION aggjobs.capture_row() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_capture_row';
COMMENT ON FUNCTION aggjobs.capture_row() IS
	'function of the triggers on a source; never executed, since their conditions do the work';

-- -------------------------------------------------------------- live views

/*
 * RESTRICTED: what a transaction has written itself is known in its own
 * process only.
 */
CREATE FUNCTION aggjobs.is_clean_support(internal) RETURNS internal
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'aggjobs_is_clean_support';
COMMENT ON FUNCTION aggjobs.is_clean_support(internal) IS 'tells the planner that most buckets are clean';

CREATE FUNCTION aggjobs.dirty_buckets_support(internal) RETURNS internal
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'aggjobs_dirty_buckets_support';
COMMENT ON FUNCTION aggjobs.dirty_buckets_support(internal) IS 'tells the planner how many buckets are dirty';

CREATE FUNCTION aggjobs.open_from(target regclass, sample anyelement) RETURNS anyelement
LANGUAGE c STABLE PARALLEL RESTRICTED COST 10 AS 'MODULE_PATHNAME', 'aggjobs_open_from';
COMMENT ON FUNCTION aggjobs.open_from(regclass, anyelement) IS
	'for live views: time from which on nothing is read from the target of a rollup, in the type of the sample';

CREATE FUNCTION aggjobs.open_beyond(target regclass, sample anyelement) RETURNS anyelement
LANGUAGE c STABLE PARALLEL RESTRICTED COST 10 AS 'MODULE_PATHNAME', 'aggjobs_open_beyond';
COMMENT ON FUNCTION aggjobs.open_beyond(regclass, anyelement) IS
	'for live views: time from which on raw rows are read in one go, not bucket by bucket, in the type of the sample';

CREATE FUNCTION aggjobs.is_clean(target regclass, bucket anyelement) RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1 SUPPORT aggjobs.is_clean_support
AS 'MODULE_PATHNAME', 'aggjobs_is_clean';
COMMENT ON FUNCTION aggjobs.is_clean(regclass, anyelement) IS
	'for live views: are the rows of this bucket in the target of a rollup right?';

CREATE FUNCTION aggjobs.dirty_buckets(target regclass, sample anyelement,
	OUT from_time anyelement, OUT to_time anyelement, OUT bucket anyelement)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED COST 10 ROWS 10 SUPPORT aggjobs.dirty_buckets_support
AS 'MODULE_PATHNAME', 'aggjobs_dirty_buckets';
COMMENT ON FUNCTION aggjobs.dirty_buckets(regclass, anyelement) IS
	'for live views: start, end and name of each bucket that is computed from raw rows by itself: it has ended and changed since, or is open, in the type of the sample';

-- ----------------------------------------------------------------- refresh

CREATE FUNCTION aggjobs.wanted(VARIADIC key "any") RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1 AS 'MODULE_PATHNAME', 'aggjobs_wanted';
COMMENT ON FUNCTION aggjobs.wanted("any") IS
	'for refreshes: is this bucket and key one of those to be computed?';

-- ------------------------------------------------------------------- other


CREATE FUNCTION aggjobs.installed() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_installed';
COMMENT ON FUNCTION aggjobs.installed() IS
	'the last call of the extension script: starts the scheduler at commit, or says how to';

CREATE FUNCTION aggjobs.scheduler_state() RETURNS text
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'aggjobs_scheduler_state';
COMMENT ON FUNCTION aggjobs.scheduler_state() IS
	'the scheduler of this database: running, starting, or not preloaded';

CREATE FUNCTION aggjobs.version(OUT library text, OUT script text, OUT state text)
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'aggjobs_version';
COMMENT ON FUNCTION aggjobs.version() IS
	'versions of the library that the server has loaded and of the extension in this database, and how they stand: same, script older, or script newer';

CREATE FUNCTION aggjobs.worker_slots(
	OUT slot integer, OUT pid integer, OUT owner oid, OUT state text, OUT run_id bigint,
	OUT started_at timestamptz, OUT deadline timestamptz, OUT runs_done integer,
	OUT chunk_no integer, OUT phase text, OUT rows_read bigint, OUT blocks_read bigint, OUT seen_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 8
AS 'MODULE_PATHNAME', 'aggjobs_worker_slots';
COMMENT ON FUNCTION aggjobs.worker_slots() IS
	'the workers of this database, from shared memory; read the view aggjobs.workers';
