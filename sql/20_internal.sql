/*
 * Functions that the extension itself uses; users meet them in error contexts
 * and in \d at most.
 */

CREATE FUNCTION aggjobs.capture_row() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_capture_row';
COMMENT ON FUNCTION aggjobs.capture_row() IS
	'row trigger on the source of a rollup: notes the hours that are written; its argument is the time column';

CREATE FUNCTION aggjobs.capture_truncate() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_capture_truncate';
COMMENT ON FUNCTION aggjobs.capture_truncate() IS
	'TRUNCATE trigger on the source of a rollup: notes that all of it is written';

CREATE FUNCTION aggjobs.installed() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_installed';
COMMENT ON FUNCTION aggjobs.installed() IS
	'the last call of the extension script: starts the scheduler at commit, or says how to';

CREATE FUNCTION aggjobs.scheduler_state() RETURNS text
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'aggjobs_scheduler_state';
COMMENT ON FUNCTION aggjobs.scheduler_state() IS
	'the scheduler of this database: running, starting, or not preloaded';

CREATE FUNCTION aggjobs.worker_slots(
	OUT slot integer, OUT pid integer, OUT owner oid, OUT state text, OUT run_id bigint,
	OUT started_at timestamptz, OUT deadline timestamptz, OUT runs_done integer)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 8
AS 'MODULE_PATHNAME', 'aggjobs_worker_slots';
COMMENT ON FUNCTION aggjobs.worker_slots() IS
	'the workers of this database, from shared memory; read the view aggjobs.workers';
