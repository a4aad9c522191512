--
-- Runs: starting, awaiting, stopping and repeating them, and what is told of them
--
\set VERBOSITY terse
\pset footer off
\pset null ~
SET client_min_messages = warning;
CREATE SCHEMA runs_test;
CREATE ROLE regress_runs_other LOGIN;
RESET client_min_messages;
SET search_path = runs_test, public;
SET timezone = 'UTC';
CREATE TABLE t (a int);
INSERT INTO aggjobs.execution_spans (workspace_id, span_type, status, started_at, ended_at)
SELECT 'runs_test', 'agent_run', 'success', t, t + interval '2 s'
FROM generate_series(timestamptz '2021-05-03 10:10+00', '2021-05-03 12:10+00', '30 min') AS t;

-- Wait until a run waits for this advisory lock of ours.
CREATE PROCEDURE until_blocked(lock int) LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = lock) LOOP
		COMMIT;
	END LOOP;
END $$;

-- How a call for a run is refused, without the number of the run.
CREATE FUNCTION refused(function text, run bigint, OUT code text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT %I($1)', function) USING run;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	message := replace(message, run::text, 'N');
	hint := replace(hint, run::text, 'N');
END $$;

-- ------------------------------------------------------------ trigger
-- the hour of an instant is computed, and no other
SELECT aggjobs_create_job('r_rollup', NULL, '[{"kind": "rollup", "rollup": "hourly_analytics"}]') > 0 AS has_id;
SELECT aggjobs_trigger('r_rollup', at => '2021-05-03 11:59:59.999999+00') AS run \gset
SELECT aggjobs_wait(:run, '60 s');
SELECT bucket, executions FROM aggjobs.hourly_analytics WHERE workspace_id = 'runs_test';
SELECT at, slot, trigger, steps -> 0 ->> 'from' AS "from", steps -> 0 ->> 'to' AS "to" FROM aggjobs.runs WHERE run_id = :run;
-- a dry run says so in notices, changes nothing and has no id
SELECT aggjobs_trigger('r_rollup', at => '2021-05-03 10:30+00', dry_run => true);
SELECT aggjobs_create_job('r_dry', NULL, '[{"kind": "command", "command": "TRUNCATE runs_test.t"}, {"kind": "health"},
	{"kind": "retention", "table": "execution_spans", "column": "started_at", "keep": "1 day"},
	{"kind": "refresh_matview", "views": ["aggjobs.mv_workspace_summary"]}]') > 0 AS has_id;
SELECT aggjobs_trigger('r_dry', dry_run => true);
CALL aggjobs_run('r_dry', dry_run => true);
SELECT count(*) FROM aggjobs.runs WHERE job_name = 'r_dry';
SELECT bucket FROM aggjobs.hourly_analytics WHERE workspace_id = 'runs_test';
-- a run starts when its transaction commits, so it can not be awaited in it
BEGIN;
SELECT aggjobs_trigger('r_rollup') AS run \gset
SELECT * FROM refused('aggjobs_wait', :run);
ROLLBACK;
-- what is rolled back was never there
SELECT count(*) FROM aggjobs.runs WHERE run_id = :run;

-- -------------------------------------------------------- wait, cancel
SELECT pg_advisory_lock(5101);
SELECT aggjobs_schedule('r_blocked', NULL, 'INSERT INTO runs_test.t VALUES (1); SELECT pg_advisory_lock(5101)') > 0 AS has_id;
SELECT aggjobs_trigger('r_blocked') AS run \gset
CALL until_blocked(5101);
-- a wait that times out, or has no time at all, tells the status as it is
SELECT aggjobs_wait(:run, '1 ms'), aggjobs_wait(:run, '-1 day');
SELECT state FROM aggjobs_status('r_blocked');
SELECT state, job_name, run_id = :run AS run, owner = current_user::regrole AS mine FROM aggjobs.workers WHERE job_name = 'r_blocked';
-- a second run of the job waits its turn, and can be cancelled while it does
SELECT aggjobs_trigger('r_blocked') AS second \gset
SELECT aggjobs_wait(:second, '1 ms');
SELECT aggjobs_cancel(:second);
SELECT status, note = 'cancelled by ' || session_user AS note, started_at FROM aggjobs.runs WHERE run_id = :second;
-- what is running or queued can't be retried yet
SELECT * FROM refused('aggjobs_retry', :run);
CALL aggjobs_run('r_blocked');
-- a running one is stopped and leaves nothing
SELECT aggjobs_cancel(:run);
SELECT aggjobs_wait(:run, '60 s');
SELECT status, sqlstate, note = 'cancelled by ' || session_user AS note FROM aggjobs.runs WHERE run_id = :run;
SELECT count(*) FROM t;
-- there is nothing to cancel any more, and waiting is over at once
SELECT aggjobs_cancel(:run), aggjobs_wait(:run);
SELECT aggjobs_wait(0);
SELECT aggjobs_cancel(-1);
SELECT aggjobs_retry(9223372036854775807);
SELECT pg_advisory_unlock(5101);

-- -------------------------------------------------------------- retry
-- a retry is another attempt at the same instant, by the job as it is now
SELECT aggjobs_retry(:run) AS again \gset
SELECT aggjobs_wait(:again, '60 s');
SELECT attempt, trigger, status FROM aggjobs.runs WHERE run_id = :again;
SELECT count(*) FROM t;
SELECT r.run_id AS run FROM aggjobs.runs r WHERE r.at IS NOT NULL AND job_name = 'r_rollup' \gset
SELECT aggjobs_retry(:run) AS again \gset
SELECT aggjobs_wait(:again, '60 s');
SELECT attempt, at, rows_written FROM aggjobs.runs WHERE run_id = :again;
-- not when the job has been dropped
SELECT aggjobs_drop_job('r_blocked');
SELECT * FROM refused('aggjobs_retry', (SELECT max(run_id) FROM aggjobs.runs WHERE job_name = 'r_blocked'));

-- -------------------------------------------------------------- errors
-- an error is kept with all that the server said
CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'it % not', 'can' USING ERRCODE = 'AJ001', DETAIL = 'the detail', HINT = 'the hint';
END $$;
SELECT aggjobs_schedule('r_error', NULL, 'SELECT runs_test.fail()') > 0 AS has_id;
SELECT aggjobs_trigger('r_error') AS run \gset
SELECT aggjobs_wait(:run, '60 s');
SELECT status, sqlstate, error, detail, hint, context FROM aggjobs.runs WHERE run_id = :run;
SELECT last_status, failures_in_a_row, last_run_id = :run AS this_one FROM aggjobs.jobs WHERE job_name = 'r_error';
SELECT status, outcome FROM aggjobs_history('r_error');
-- of one of many megabytes the begin, and how much is missing; characters stay whole
SELECT aggjobs_alter_job('r_error', command => 'DO $d$ BEGIN RAISE EXCEPTION ''a%'', repeat(''x€'', 1000000) USING DETAIL = repeat(''y'', 16385), HINT = repeat(''z'', 16384); END $d$');
SELECT aggjobs_trigger('r_error') AS run \gset
SELECT aggjobs_wait(:run, '60 s');
SELECT status, sqlstate, octet_length(error) AS error, right(error, 26) AS error_ends, octet_length(detail) AS detail, right(detail, 18) AS detail_ends, octet_length(hint) AS hint
FROM aggjobs.runs WHERE run_id = :run;

-- ---------------------------------------------------------------- logs
-- log lines are kept in order, and can be read from the end or since an instant
SELECT aggjobs_schedule('r_logs', NULL, 'DO $d$ BEGIN
	RAISE DEBUG ''not kept''; RAISE INFO ''not kept either'';
	FOR i IN 1 .. 5 LOOP RAISE NOTICE USING MESSAGE = concat(''line '', i, '' %s %n''); END LOOP; RAISE WARNING ''the end''; END $d$') > 0 AS has_id;
SELECT aggjobs_trigger('r_logs') AS run \gset
SELECT aggjobs_wait(:run, '60 s');
SELECT level, message FROM aggjobs_logs(:run);
SELECT level, message FROM aggjobs_logs(:run, tail => 2);
SELECT count(*) FROM aggjobs_logs(:run, tail => 0);
SELECT count(*) FROM aggjobs_logs(:run, tail => 3, since => 'infinity');
SELECT aggjobs_logs(:run, tail => -1);
SELECT log_lines, log_dropped FROM aggjobs.runs WHERE run_id = :run;
-- they can be read while the run goes on
SELECT pg_advisory_lock(5102);
SELECT aggjobs_alter_job('r_logs', command => 'DO $d$ BEGIN RAISE NOTICE ''before''; PERFORM pg_advisory_lock(5102); RAISE NOTICE ''after''; END $d$');
SELECT aggjobs_trigger('r_logs') AS run \gset
CALL until_blocked(5102);
CREATE PROCEDURE until_logged(run bigint) LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM aggjobs_logs(run)) LOOP
		COMMIT;
	END LOOP;
END $$;
CALL until_logged(:run);
SELECT message FROM aggjobs_logs(:run);
SELECT pg_advisory_unlock(5102);
SELECT aggjobs_wait(:run, '60 s');
SELECT message FROM aggjobs_logs(:run);
SELECT message FROM aggjobs_logs(:run, since => (SELECT logged_at FROM aggjobs.run_logs WHERE run_id = :run AND message = 'before'));
-- a flood is cut off and counted
SELECT aggjobs_alter_job('r_logs', command => 'DO $d$ BEGIN FOR i IN 1 .. 3000 LOOP RAISE NOTICE ''%'', i; END LOOP; END $d$');
SELECT aggjobs_trigger('r_logs') AS run \gset
SELECT aggjobs_wait(:run, '60 s');
SELECT log_lines, log_dropped, (SELECT count(*) FROM aggjobs_logs(:run)) AS stored FROM aggjobs.runs WHERE run_id = :run;

-- ---------------------------------------------------- in the session
-- each step says what it did; the run is in the history
SELECT aggjobs_create_job('r_session', NULL, '[{"kind": "command", "command": "INSERT INTO runs_test.t VALUES (2)"}, {"kind": "command", "command": "INSERT INTO runs_test.t VALUES (3), (4)"}]') > 0 AS has_id;
-- ... the milliseconds differ from run to run
SET client_min_messages = warning;
CALL aggjobs_run('r_session');
RESET client_min_messages;
SELECT a FROM t WHERE a > 1 ORDER BY a;
SELECT status, trigger, rows_written, jsonb_array_length(steps) AS steps, worker_pid = pg_backend_pid() AS here FROM aggjobs.runs WHERE job_name = 'r_session';
-- a failing step ends the CALL, and is in the history with what was done before
SELECT aggjobs_alter_job('r_session', steps => '[{"kind": "command", "command": "INSERT INTO runs_test.t VALUES (5)"}, {"kind": "command", "command": "INSERT INTO runs_test.t VALUES (1 / (SELECT 0))"}]');
SET client_min_messages = warning;
CALL aggjobs_run('r_session');
SELECT status, sqlstate, error, jsonb_array_length(steps) AS steps FROM aggjobs.runs WHERE job_name = 'r_session' ORDER BY run_id DESC LIMIT 1;
SELECT count(*) FROM t WHERE a = 5;
-- so is one that fails only when the step is committed; the job can run again
CREATE TABLE late (a int, CONSTRAINT late_key UNIQUE (a) DEFERRABLE INITIALLY DEFERRED);
SELECT aggjobs_alter_job('r_session', steps => '[{"kind": "command", "command": "INSERT INTO runs_test.late VALUES (1), (1)"}, {"kind": "health"}]');
CALL aggjobs_run('r_session');
SELECT status, sqlstate FROM aggjobs.runs WHERE job_name = 'r_session' ORDER BY run_id DESC LIMIT 1;
SELECT aggjobs_alter_job('r_session', command => 'INSERT INTO runs_test.late VALUES (2), (2)');
CALL aggjobs_run('r_session');
SELECT status, sqlstate FROM aggjobs.runs WHERE job_name = 'r_session' ORDER BY run_id DESC LIMIT 1;
-- inside a transaction block all of it is part of the block
SELECT aggjobs_alter_job('r_session', command => 'INSERT INTO runs_test.t VALUES (6)');
BEGIN;
CALL aggjobs_run('r_session');
SELECT count(*) FROM t WHERE a = 6;
SELECT status FROM aggjobs.runs WHERE job_name = 'r_session' ORDER BY run_id DESC LIMIT 1;
ROLLBACK;
SELECT count(*) FROM t WHERE a = 6;
SELECT count(*) FROM aggjobs.runs WHERE job_name = 'r_session';
-- one that could not even begin does not stand in the way of the next
BEGIN READ ONLY;
CALL aggjobs_run('r_session');
ROLLBACK;
CALL aggjobs_run('r_session');
SELECT count(*) FROM t WHERE a = 6;
-- the settings and limits of the job end with it
SELECT aggjobs_alter_job('r_session', command => 'CREATE TABLE runs_test.seen AS SELECT current_setting(''work_mem'') AS work_mem', settings => '{"work_mem": "9MB"}', timeout => '0.3 s', memory_limit => '100MB');
SET work_mem = '5MB';
CALL aggjobs_run('r_session');
TABLE seen;
SHOW work_mem;
RESET work_mem;
SELECT aggjobs_alter_job('r_session', command => 'DO $d$ BEGIN LOOP NULL; END LOOP; END $d$');
CALL aggjobs_run('r_session');
SELECT status, sqlstate FROM aggjobs.runs WHERE job_name = 'r_session' ORDER BY run_id DESC LIMIT 1;
-- nobody but the owner runs a job in a session
RESET client_min_messages;
SELECT aggjobs_grant('regress_runs_other');
SET SESSION AUTHORIZATION regress_runs_other;
CALL aggjobs_run('r_session');
SELECT aggjobs_schedule('r_others', NULL, 'SELECT 1') > 0 AS has_id;
RESET SESSION AUTHORIZATION;
CALL aggjobs_run('r_others');
SELECT aggjobs_drop_job('r_others');

-- ------------------------------------------------------------- figures
-- the figures of a job are those of its history
SELECT aggjobs_schedule('r_stats', NULL, 'SELECT 1') > 0 AS has_id;
CREATE PROCEDURE go(job text, times int) LANGUAGE plpgsql AS $$
DECLARE
	run bigint;
BEGIN
	FOR i IN 1 .. times LOOP
		run := aggjobs_trigger(job);
		COMMIT;
		PERFORM aggjobs_wait(run, '60 s');
	END LOOP;
END $$;
CALL go('r_stats', 4);
SELECT aggjobs_alter_job('r_stats', command => 'SELECT 1 / (SELECT 0)');
CALL go('r_stats', 2);
SELECT runs, succeeded, failed, success_percent, failures_in_a_row FROM aggjobs.job_stats WHERE job_name = 'r_stats';
WITH r AS (SELECT ended_at - started_at AS d FROM aggjobs.runs WHERE job_name = 'r_stats')
SELECT s.average_duration = (SELECT avg(d) FROM r) AS average,
       s.slowest_duration = (SELECT max(d) FROM r) AS slowest,
       s.p95_duration BETWEEN (SELECT d FROM r ORDER BY d DESC LIMIT 1 OFFSET 1) AND (SELECT max(d) FROM r) AS p95
FROM aggjobs.job_stats s WHERE job_name = 'r_stats';

-- the history shows the newest first, and as many as are asked for
SELECT job_name, status, seconds = round(extract(epoch FROM r.duration)::numeric, 3) AS seconds, outcome
FROM aggjobs_history('r_stats', 3) h JOIN aggjobs.runs r USING (run_id, job_name, status)
ORDER BY run_id DESC;
SELECT count(*) FROM aggjobs_history('r_stats', 0);
SELECT count(*) FROM aggjobs_history('r_stats', -5);
SELECT count(*) FROM aggjobs_history('no such job');
SELECT count(*) FROM aggjobs_status('no such job');
SELECT state, last_status, fails FROM aggjobs_status('r_stats');

-- What psql shows fits into 100 columns, also at worst: each column is as wide
-- as its name or its longest value, with blanks and lines between.
CREATE FUNCTION psql_width(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	columns text;
	width bigint;
BEGIN
	EXECUTE 'CREATE TEMP VIEW shown AS ' || query;
	SELECT string_agg(format('greatest(length(%L), max(length(%I::text))) + 3', attname, attname), ' + ')
	INTO columns FROM pg_attribute WHERE attrelid = 'shown'::regclass;
	EXECUTE format('SELECT %s - 1 FROM shown', columns) INTO width;
	DROP VIEW shown;
	RETURN width;
END $$;
SELECT aggjobs_schedule('r_13_letters_', '@yearly', 'DO $d$ BEGIN RAISE EXCEPTION ''%'', repeat(''long '', 100); END $d$') > 0 AS has_id;
CALL go('r_13_letters_', 1);
SELECT psql_width('SELECT * FROM aggjobs_status()') <= 100 AS status,
       psql_width('SELECT * FROM aggjobs_history(NULL, 1000)') <= 100 AS history,
       psql_width('SELECT * FROM aggjobs_logs(' || :run || ')') <= 100 AS logs;

-- ------------------------------------------------------------- history
-- a job keeps as many successes and failures as it is told to
SELECT aggjobs_schedule('r_keep', NULL, 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_alter_job('r_keep', keep_successes => 5, keep_failures => 0);
-- ... the history is pruned every 20 runs
CALL go('r_keep', 20);
CREATE PROCEDURE until_pruned(job text, most int) LANGUAGE plpgsql AS $$
BEGIN
	WHILE (SELECT count(*) FROM aggjobs.runs WHERE job_name = job) > most LOOP
		COMMIT;
	END LOOP;
END $$;
CALL until_pruned('r_keep', 5);
SELECT count(*) AS kept, max(run_id) = (SELECT last_run_id FROM aggjobs.jobs WHERE job_name = 'r_keep') AS newest
FROM aggjobs.runs WHERE job_name = 'r_keep';
-- no log line is left of a run that is gone
SELECT count(*) FROM aggjobs.run_log l WHERE NOT EXISTS (SELECT FROM aggjobs.run r WHERE r.run_id = l.run_id);
-- an age that can't be counted back from now, or is negative, is refused: it would stop the pruning of all jobs
SELECT aggjobs_alter_job('r_keep', keep_age => '10000 years');
SELECT aggjobs_alter_job('r_keep', keep_age => '-1 s');
SELECT aggjobs_alter_job('r_keep', timeout => '170000000 years');
SELECT aggjobs_alter_job('r_keep', timeout => '-1 s');

-- ----------------------------------------------------------- clean up
SET client_min_messages = warning;
SELECT count(aggjobs_drop_job(job_name)) > 0 AS dropped FROM aggjobs.jobs WHERE job_name LIKE 'r!_%' ESCAPE '!';
DELETE FROM aggjobs.execution_spans WHERE workspace_id = 'runs_test';
DELETE FROM aggjobs.hourly_analytics WHERE workspace_id = 'runs_test';
DROP SCHEMA runs_test CASCADE;
SELECT aggjobs_revoke('regress_runs_other');
DROP ROLE regress_runs_other;
