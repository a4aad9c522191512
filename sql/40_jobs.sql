/*
 * Jobs and runs: the functions that act.  The C functions check rights; none
 * of them is granted to PUBLIC (90_grants.sql).
 */

-- -------------------------------------------------------------------- jobs

CREATE FUNCTION @extschema@.aggjobs_create_job(
	name           text,
	schedule       text,
	steps          jsonb,
	time_zone      text DEFAULT 'UTC',
	description    text DEFAULT NULL,
	timeout        interval DEFAULT NULL,
	memory_limit   text DEFAULT NULL,
	settings       jsonb DEFAULT NULL,
	enabled        boolean DEFAULT true,
	keep_successes integer DEFAULT NULL,
	keep_failures  integer DEFAULT NULL,
	keep_age       interval DEFAULT NULL,
	owner          name DEFAULT NULL,
	catch_up       text DEFAULT NULL,
	catch_up_limit integer DEFAULT NULL,
	start_deadline interval DEFAULT NULL,
	overlap        text DEFAULT NULL,
	retries        integer DEFAULT NULL,
	retry_delay    interval DEFAULT NULL,
	retry_delay_limit interval DEFAULT NULL,
	queue          text DEFAULT NULL,
	priority       integer DEFAULT NULL,
	nice           integer DEFAULT NULL,
	after          text[] DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_create_job';
COMMENT ON FUNCTION @extschema@.aggjobs_create_job(text, text, jsonb, text, text, interval, text, jsonb, boolean, integer, integer, interval, name, text, integer, interval, text, integer, interval, interval, text, integer, integer, text[]) IS
	'make a job of ordered steps and return its id; a NULL schedule runs it only by hand';

CREATE FUNCTION @extschema@.aggjobs_create_parted_job(
	name        text,
	parts_query text,
	command     text,
	workers     integer DEFAULT NULL,
	schedule    text DEFAULT NULL,
	time_zone   text DEFAULT 'UTC',
	description text DEFAULT NULL,
	timeout     interval DEFAULT NULL,
	retries     integer DEFAULT NULL,
	settings    jsonb DEFAULT NULL)
RETURNS bigint
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT @extschema@.aggjobs_create_job(name, schedule,
		pg_catalog.jsonb_build_array(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
			'kind', 'parts', 'parts_query', parts_query, 'command', command, 'workers', workers))),
		time_zone => time_zone, description => description, timeout => timeout, retries => retries, settings => settings);
END;
COMMENT ON FUNCTION @extschema@.aggjobs_create_parted_job(text, text, text, integer, text, text, text, interval, integer, jsonb) IS
	'make a job that runs a command once for each row of a query, whose columns are its parameters $1, $2, ..., by several workers; returns its id';

CREATE FUNCTION @extschema@.aggjobs_schedule(
	name      text,
	schedule  text,
	command   text,
	time_zone text DEFAULT 'UTC')
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_schedule';
COMMENT ON FUNCTION @extschema@.aggjobs_schedule(text, text, text, text) IS
	'make a job that runs one SQL command and return its id';

CREATE FUNCTION @extschema@.aggjobs_alter_job(
	name           text,
	schedule       text DEFAULT NULL,
	steps          jsonb DEFAULT NULL,
	time_zone      text DEFAULT NULL,
	description    text DEFAULT NULL,
	timeout        interval DEFAULT NULL,
	memory_limit   text DEFAULT NULL,
	settings       jsonb DEFAULT NULL,
	enabled        boolean DEFAULT NULL,
	keep_successes integer DEFAULT NULL,
	keep_failures  integer DEFAULT NULL,
	keep_age       interval DEFAULT NULL,
	owner          name DEFAULT NULL,
	catch_up       text DEFAULT NULL,
	catch_up_limit integer DEFAULT NULL,
	start_deadline interval DEFAULT NULL,
	overlap        text DEFAULT NULL,
	retries        integer DEFAULT NULL,
	retry_delay    interval DEFAULT NULL,
	retry_delay_limit interval DEFAULT NULL,
	queue          text DEFAULT NULL,
	priority       integer DEFAULT NULL,
	nice           integer DEFAULT NULL,
	after          text[] DEFAULT NULL,
	new_name       text DEFAULT NULL,
	command        text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_alter_job';
COMMENT ON FUNCTION @extschema@.aggjobs_alter_job(text, text, jsonb, text, text, interval, text, jsonb, boolean, integer, integer, interval, name, text, integer, interval, text, integer, interval, interval, text, integer, integer, text[], text, text) IS
	'change what is given of a job; schedule '''' means only by hand, timeout 0 and memory_limit ''0'' no limit';

CREATE FUNCTION @extschema@.aggjobs_drop_job(name text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_drop_job';
COMMENT ON FUNCTION @extschema@.aggjobs_drop_job(text) IS
	'remove a job: queued runs are cancelled, a running one ends by itself, the history stays until it is old';

CREATE FUNCTION @extschema@.aggjobs_pause(name text) RETURNS integer
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_pause';
COMMENT ON FUNCTION @extschema@.aggjobs_pause(text) IS
	'no new slots for a job, or for all of the caller''s jobs if NULL; returns how many were changed';

CREATE FUNCTION @extschema@.aggjobs_resume(name text) RETURNS integer
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_resume';
COMMENT ON FUNCTION @extschema@.aggjobs_resume(text) IS
	'the next slot of a paused job is the first one after now; NULL resumes all of the caller''s jobs';

CREATE FUNCTION @extschema@.aggjobs_set_queue(
	name        text,
	max_workers integer,
	min_workers integer DEFAULT 0)
RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_set_queue';
COMMENT ON FUNCTION @extschema@.aggjobs_set_queue(text, integer, integer) IS
	'make a queue, or change it: so many runs of its jobs go on at once at most, and so many idle workers are kept for them';

CREATE FUNCTION @extschema@.aggjobs_drop_queue(name text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_drop_queue';
COMMENT ON FUNCTION @extschema@.aggjobs_drop_queue(text) IS 'remove a queue that no job uses';

CREATE FUNCTION @extschema@.aggjobs_sync_jobs(
	jobs    jsonb,
	prune   boolean DEFAULT false,
	dry_run boolean DEFAULT false)
RETURNS TABLE (action text, job_name text, changes text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_sync_jobs';
COMMENT ON FUNCTION @extschema@.aggjobs_sync_jobs(jsonb, boolean, boolean) IS
	'make the jobs be as declared; with prune the caller''s other jobs are dropped, with dry_run nothing is done';

CREATE FUNCTION @extschema@.aggjobs_set(name text, value text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_set';
COMMENT ON FUNCTION @extschema@.aggjobs_set(text, text) IS
	'set the value of ${NAME} in schedules, or the keep of retention.TABLE; NULL removes it';

-- -------------------------------------------------------------------- runs

CREATE FUNCTION @extschema@.aggjobs_trigger(
	name    text,
	at      timestamptz DEFAULT NULL,
	dry_run boolean DEFAULT false)
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_trigger';
COMMENT ON FUNCTION @extschema@.aggjobs_trigger(text, timestamptz, boolean) IS
	'queue a run, which starts when the transaction commits, and return its id; at is an instant in the hour, day, ... to compute; dry_run only says what would be done';

CREATE PROCEDURE @extschema@.aggjobs_run(
	name    text,
	at      timestamptz DEFAULT NULL,
	dry_run boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_run';
COMMENT ON PROCEDURE @extschema@.aggjobs_run(text, timestamptz, boolean) IS
	'run a job here and now, in this session, with a NOTICE for each step; dry_run only says what would be done';

CREATE FUNCTION @extschema@.aggjobs_wait(
	run_id  bigint,
	timeout interval DEFAULT NULL)
RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_wait';
COMMENT ON FUNCTION @extschema@.aggjobs_wait(bigint, interval) IS
	'wait for the end of a run and return its status, or the status it has when the timeout is over';

CREATE FUNCTION @extschema@.aggjobs_cancel(run_id bigint) RETURNS boolean
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_cancel';
COMMENT ON FUNCTION @extschema@.aggjobs_cancel(bigint) IS
	'cancel a queued or running run, at once; false if there was nothing to cancel';

CREATE FUNCTION @extschema@.aggjobs_retry(run_id bigint) RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'aggjobs_retry';
COMMENT ON FUNCTION @extschema@.aggjobs_retry(bigint) IS
	'queue another attempt at a run that has ended and return its id';
