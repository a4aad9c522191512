--
-- Jobs: making, changing and removing them, and each kind of step in a worker
--
\set VERBOSITY terse
\pset footer off
\pset null ~
SET client_min_messages = warning;
CREATE ROLE regress_jobs_owner LOGIN;
CREATE SCHEMA jobs_test;
SET search_path = jobs_test, public;
RESET client_min_messages;
SET timezone = 'UTC';

-- Definitions, without what differs from day to day.
CREATE VIEW jobs AS
SELECT job_name, schedule, time_zone, enabled, next_run_at IS NOT NULL AS planned, steps
FROM aggjobs.jobs WHERE job_name LIKE 't!_%' ESCAPE '!' ORDER BY job_name;

-- The last run of each job, without what differs from run to run.
CREATE VIEW last_runs AS
SELECT DISTINCT ON (job_name) job_name, status, rows_written, sqlstate, error,
       (SELECT jsonb_agg(s - 'milliseconds' ORDER BY n) FROM jsonb_array_elements(steps) WITH ORDINALITY AS a (s, n)) AS steps
FROM aggjobs.runs WHERE job_name LIKE 't!_%' ESCAPE '!' ORDER BY job_name, run_id DESC;

-- Run a job in a worker, wait for it, and tell how it ended.
CREATE PROCEDURE go(job text, INOUT status text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	run bigint := aggjobs_trigger(job);
BEGIN
	-- In short waits, each with a snapshot of its own: statements that work
	-- CONCURRENTLY wait for older ones.
	FOR i IN 1 .. 300 LOOP
		COMMIT;
		status := aggjobs_wait(run, '0.2 s');
		EXIT WHEN status NOT IN ('queued', 'running');
	END LOOP;
END $$;

-- ------------------------------------------------ create, alter, drop
-- a new job has an id and is planned; without a schedule it waits for a hand
SELECT aggjobs_schedule('t_planned', '5 0 * * *', 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_schedule('t_by_hand', NULL, 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_create_job('t_full', 'every 1 hour', '[{"kind": "health"}]',
	time_zone => 'Europe/Berlin', description => 'all there is', timeout => '1 min',
	memory_limit => '64MB', settings => '{"work_mem": "8MB"}', enabled => false,
	keep_successes => 3, keep_failures => 4, keep_age => '5 days') > 0 AS has_id;
SELECT * FROM jobs;
SELECT state, description, timeout, memory_limit, settings, keep_successes, keep_failures, keep_age, created_by = session_user AS created_by_me
FROM aggjobs.jobs WHERE job_name = 't_full';
SELECT job_name, state FROM aggjobs_status('t_by_hand');

-- the planned slot is the one that the preview shows first
SELECT j.next_run_at = (SELECT min(slot) FROM aggjobs_preview_schedule(j.schedule, j.time_zone, 1) AS slot) AS as_previewed
FROM aggjobs.jobs j WHERE job_name = 't_planned';

-- a name that is taken is refused
SELECT aggjobs_schedule('t_planned', NULL, 'SELECT 2');

-- alter changes what is given and leaves the rest
SELECT aggjobs_alter_job('t_full', timeout => '2 min', enabled => true);
SELECT schedule, time_zone, enabled, timeout, memory_limit, settings, keep_successes, description
FROM aggjobs.jobs WHERE job_name = 't_full';
-- an empty schedule means by hand, 0 means no limit
SELECT aggjobs_alter_job('t_full', schedule => '', timeout => '0', memory_limit => '0', command => 'SELECT 3', new_name => 't_renamed');
SELECT schedule, timeout, memory_limit, steps FROM aggjobs.jobs WHERE job_name = 't_renamed';
SELECT aggjobs_alter_job('t_full', description => 'not there any more');
SELECT aggjobs_alter_job('t_renamed', new_name => 't_planned');
SELECT aggjobs_alter_job('t_renamed', steps => '[{"kind": "health"}]', command => 'SELECT 1');

-- a failed change leaves the job as it was
SELECT aggjobs_alter_job('t_renamed', description => 'half', schedule => 'nonsense');
SELECT description, schedule FROM aggjobs.jobs WHERE job_name = 't_renamed';

-- a dropped job is gone, its queued run is cancelled, its history stays
SELECT aggjobs_trigger('t_renamed') AS run \gset
SELECT aggjobs_wait(:run, '60 s');
BEGIN;
SELECT aggjobs_trigger('t_renamed') AS queued \gset
SELECT aggjobs_drop_job('t_renamed');
COMMIT;
SELECT status, note FROM aggjobs.runs WHERE run_id = :queued;
SELECT status FROM aggjobs.runs WHERE run_id = :run;
SELECT count(*) FROM aggjobs.jobs WHERE job_name = 't_renamed';
SELECT aggjobs_drop_job('t_renamed');

-- ------------------------------------------------------ pause, resume
-- pausing takes the plan away, resuming makes a new one, and each says how many it changed
SELECT aggjobs_pause('t_planned');
SELECT aggjobs_pause('t_planned') AS again;
SELECT * FROM jobs WHERE job_name = 't_planned';
SELECT state FROM aggjobs_status('t_planned');
-- a paused job still runs by hand
CALL go('t_planned');
SELECT aggjobs_resume('t_planned');
SELECT aggjobs_resume('t_planned') AS again;
SELECT * FROM jobs WHERE job_name = 't_planned';
SELECT aggjobs_pause('t_nothing');
-- NULL means all jobs of the caller, and nobody else's
SELECT aggjobs_grant('regress_jobs_owner');
SET SESSION AUTHORIZATION regress_jobs_owner;
SELECT aggjobs_schedule('t_own1', '@daily', 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_schedule('t_own2', '@daily', 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_pause(NULL);
RESET SESSION AUTHORIZATION;
SELECT job_name, enabled FROM jobs;
SET SESSION AUTHORIZATION regress_jobs_owner;
SELECT aggjobs_resume(NULL);
SELECT aggjobs_drop_job('t_own1'), aggjobs_drop_job('t_own2');
RESET SESSION AUTHORIZATION;

-- ---------------------------------------------------------- sync_jobs
SET SESSION AUTHORIZATION regress_jobs_owner;
-- a dry run tells and does nothing
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s1", "schedule": "@daily", "command": "SELECT 1"},
	{"name": "t_s2", "steps": [{"kind": "health"}]}]', dry_run => true);
SELECT count(*) FROM aggjobs.jobs;
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s1", "schedule": "@daily", "command": "SELECT 1"},
	{"name": "t_s2", "steps": [{"kind": "health"}]}]');
-- the same again keeps both
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s1", "schedule": "@daily", "command": "SELECT 1"},
	{"name": "t_s2", "steps": [{"kind": "health"}]}]');
-- what differs is changed, what is not mentioned stays, and without prune nothing goes
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s1", "schedule": "@hourly", "timeout": "1 min", "enabled": false}]');
SELECT schedule, enabled, timeout, next_run_at, steps FROM aggjobs.jobs WHERE job_name = 't_s1';
SELECT aggjobs_schedule('t_s3', NULL, 'SELECT 3') > 0 AS has_id;
-- prune drops what is not declared
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s1"}]', prune => true, dry_run => true) ORDER BY 2;
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s1"}]', prune => true) ORDER BY 2;
-- all or nothing: the second job is no good, so the first is not made
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s4", "command": "SELECT 1"}, {"name": "t_s5"}]');
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_s4", "command": "SELECT 1"}, {"name": "t_s4"}]');
SELECT * FROM aggjobs_sync_jobs('[{"name": "t_planned", "command": "SELECT 1"}]');
SELECT job_name FROM aggjobs.jobs;
SELECT * FROM aggjobs_sync_jobs('[]', prune => true);
RESET SESSION AUTHORIZATION;
-- nobody else lost a job, nor did the pipeline
SELECT job_name FROM jobs;
SELECT count(*) FROM aggjobs.jobs WHERE job_name IN ('hourly', 'daily', 'weekly', 'monthly', 'refresh_views', 'cleanup', 'health_check');

-- ----------------------------------------------------------- settings
-- a schedule may use settings, which need to exist
SELECT aggjobs_schedule('t_setting', '${t_hour} * * *', 'SELECT 1');
SELECT aggjobs_set('t_hour', '30 5');
SELECT aggjobs_schedule('t_setting', '${t_hour} * * *', 'SELECT 1') > 0 AS has_id;
SELECT next_run_at::time FROM aggjobs.jobs WHERE job_name = 't_setting';
-- a changed setting plans the job anew
SELECT aggjobs_set('t_hour', '45 17');
SELECT next_run_at::time FROM aggjobs.jobs WHERE job_name = 't_setting';
SELECT name, value, builtin FROM aggjobs.settings WHERE name = 't_hour';
-- a value that leaves a schedule without sense is refused, and so is its removal
SELECT aggjobs_set('t_hour', '99 99');
SELECT aggjobs_set('t_hour', NULL);
SELECT value FROM aggjobs.settings WHERE name = 't_hour';
-- a value is not expanded again, so a setting can't name itself
SELECT aggjobs_set('t_hour', '${t_hour}');
SELECT aggjobs_drop_job('t_setting');
SELECT aggjobs_set('t_hour', NULL);
SELECT aggjobs_set('t_hour', NULL);
-- a retention that could only fail is refused when it is set
SELECT aggjobs_set('retention.hourly_analytics', '-1 day');
SELECT aggjobs_set('retention.hourly_analytics', '99999 years');
SELECT aggjobs_set('retention.hourly_analytics', 'a while');
SELECT aggjobs_set('retention.', '1 day');
SELECT aggjobs_set('retention.a.b.c', '1 day');

-- ----------------------------------------------------- kind "command"
CREATE TABLE t (a int);
SELECT aggjobs_schedule('t_insert', NULL, 'INSERT INTO jobs_test.t SELECT generate_series(1, 1000)') > 0 AS has_id;
CALL go('t_insert');
SELECT count(*) FROM t;
SELECT * FROM last_runs WHERE job_name = 't_insert';
-- a run has its figures
SELECT wal_bytes > 0 AS wal, buffers_hit > 0 AS buffers, cpu_seconds >= 0 AS cpu,
	-- unknown only where the system does not tell, as in a chroot without /proc
	coalesce(peak_memory > 0, (pg_stat_file('/proc/self/status', true)).size IS NULL) AS memory,
       started_at >= queued_at AS started, ended_at >= started_at AS ended, duration = ended_at - started_at AS duration,
       trigger, triggered_by = session_user AS by_me, attempt, slot, at, worker_pid <> pg_backend_pid() AS worker
FROM aggjobs.runs WHERE job_name = 't_insert';

-- several statements are one transaction
TRUNCATE t;
SELECT aggjobs_schedule('t_two', NULL, 'INSERT INTO jobs_test.t VALUES (1); INSERT INTO jobs_test.t SELECT a + 1 FROM jobs_test.t') > 0 AS has_id;
CALL go('t_two');
SELECT a FROM t ORDER BY a;
SELECT * FROM last_runs WHERE job_name = 't_two';
SELECT aggjobs_alter_job('t_two', command => 'INSERT INTO jobs_test.t VALUES (10); INSERT INTO jobs_test.t VALUES (1 / (SELECT 0))');
CALL go('t_two');
SELECT a FROM t ORDER BY a;
SELECT * FROM last_runs WHERE job_name = 't_two';

-- each step is a transaction of its own: what was before a failing one stays
SELECT aggjobs_create_job('t_steps', NULL, '[{"kind": "command", "command": "INSERT INTO jobs_test.t VALUES (20)"},
	{"kind": "command", "command": "INSERT INTO jobs_test.t VALUES (21); SELECT 1 / (SELECT 0)"},
	{"kind": "command", "command": "INSERT INTO jobs_test.t VALUES (22)"}]') > 0 AS has_id;
CALL go('t_steps');
SELECT a FROM t WHERE a >= 20 ORDER BY a;
SELECT * FROM last_runs WHERE job_name = 't_steps';

-- what fails at commit fails the run
CREATE TABLE late (a int, CONSTRAINT late_key UNIQUE (a) DEFERRABLE INITIALLY DEFERRED);
SELECT aggjobs_schedule('t_late', NULL, 'INSERT INTO jobs_test.late VALUES (1), (1)') > 0 AS has_id;
CALL go('t_late');
SELECT status, sqlstate, steps FROM last_runs WHERE job_name = 't_late';

-- CALL and DO may commit as they go
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO jobs_test.t VALUES (30);
	COMMIT;
	INSERT INTO jobs_test.t VALUES (31);
	ROLLBACK;
	INSERT INTO jobs_test.t VALUES (32);
END $$;
SELECT aggjobs_schedule('t_call', NULL, 'CALL jobs_test.commits()') > 0 AS has_id;
CALL go('t_call');
SELECT a FROM t WHERE a >= 30 ORDER BY a;
SELECT aggjobs_schedule('t_do', NULL, 'DO $d$ BEGIN INSERT INTO jobs_test.t VALUES (40); COMMIT; RAISE division_by_zero; END $d$') > 0 AS has_id;
CALL go('t_do');
SELECT a FROM t WHERE a >= 40 ORDER BY a;
SELECT status, sqlstate FROM last_runs WHERE job_name = 't_do';

-- statements that insist on being outside a block get their way
CREATE TABLE parted (a int) PARTITION BY LIST (a);
CREATE TABLE part1 PARTITION OF parted FOR VALUES IN (1);
SELECT aggjobs_create_job('t_outside', NULL, '[{"kind": "command", "command": "VACUUM jobs_test.t"},
	{"kind": "command", "command": "VACUUM (ANALYZE) jobs_test.t"},
	{"kind": "command", "command": "CREATE INDEX CONCURRENTLY t_idx ON jobs_test.t (a)"},
	{"kind": "command", "command": "REINDEX INDEX CONCURRENTLY jobs_test.t_idx"},
	{"kind": "command", "command": "DROP INDEX CONCURRENTLY jobs_test.t_idx"},
	{"kind": "command", "command": "ALTER TABLE jobs_test.parted DETACH PARTITION jobs_test.part1 CONCURRENTLY"},
	{"kind": "command", "command": "DISCARD ALL"}]') > 0 AS has_id;
CALL go('t_outside');
SELECT s ->> 'command' AS command FROM last_runs, jsonb_array_elements(steps) AS s WHERE job_name = 't_outside';
SELECT relispartition FROM pg_class WHERE oid = 'part1'::regclass;
-- among others they fail with the server's own words
SELECT aggjobs_schedule('t_inside', NULL, 'SELECT 1; VACUUM jobs_test.t') > 0 AS has_id;
CALL go('t_inside');
SELECT status, sqlstate, error FROM last_runs WHERE job_name = 't_inside';

-- transaction control, COPY with a client and bad syntax are refused when the job is made
SELECT aggjobs_schedule('t_bad', NULL, 'BEGIN; SELECT 1; COMMIT');
SELECT aggjobs_schedule('t_bad', NULL, 'SAVEPOINT s');
SELECT aggjobs_schedule('t_bad', NULL, 'COPY (SELECT ''forged line of the log'') TO STDOUT');
SELECT aggjobs_schedule('t_bad', NULL, 'COPY jobs_test.t FROM STDIN');
SELECT aggjobs_schedule('t_bad', NULL, 'SELEC 1');
SELECT aggjobs_schedule('t_bad', NULL, ' ; ');
SELECT aggjobs_schedule('t_bad', NULL, '-- nothing');
SELECT count(*) FROM jobs WHERE job_name = 't_bad';

-- a worker leaves nothing of one run to the next
SELECT aggjobs_schedule('t_leave', NULL, $$SET work_mem = '7MB'; CREATE TEMP TABLE left_over (a int);
	PREPARE left_over AS SELECT 1; SELECT pg_advisory_lock(4711)$$) > 0 AS has_id;
CALL go('t_leave');
CALL go('t_leave');
-- ... that is done right after the end of the run
DO $$ BEGIN
	WHILE NOT pg_try_advisory_lock(4711) LOOP
		ASSERT clock_timestamp() < now() + interval '30 s', 'the lock is kept';
	END LOOP;
END $$;
SELECT pg_advisory_unlock(4711);

-- the settings of a job hold while it runs
SELECT aggjobs_create_job('t_settings', NULL, '[{"kind": "command", "command": "CREATE TABLE jobs_test.seen AS SELECT current_setting(''work_mem'') AS work_mem, current_setting(''application_name'') ~ ''^pg_aggjobs: t_settings run [0-9]+$'' AS named"}]',
	settings => '{"work_mem": "9MB"}') > 0 AS has_id;
CALL go('t_settings');
TABLE seen;
SELECT aggjobs_alter_job('t_settings', settings => '{"work_mem": "1 pound"}');
SELECT aggjobs_alter_job('t_settings', settings => '{"no_such_setting": 1}');
SELECT aggjobs_alter_job('t_settings', settings => '{"role": "postgres"}');
SELECT aggjobs_alter_job('t_settings', settings => '[1]');

-- a job that is read only by default fails by itself, and its end is stored all the same
SELECT aggjobs_create_job('t_read_only', NULL, '[{"kind": "command", "command": "INSERT INTO jobs_test.t VALUES (50)"}]',
	settings => '{"default_transaction_read_only": "on"}') > 0 AS has_id;
CALL go('t_read_only');
SELECT status, sqlstate FROM last_runs WHERE job_name = 't_read_only';
SELECT aggjobs_alter_job('t_read_only', command => 'SELECT 1');
CALL go('t_read_only');

-- with a higher isolation level, a change of the job while it runs is no failure of the run
SELECT aggjobs_create_job('t_isolation', '@yearly', '[{"kind": "command", "command": "SELECT pg_advisory_lock(4712)"}]',
	settings => '{"default_transaction_isolation": "repeatable read"}') > 0 AS has_id;
SELECT pg_advisory_lock(4712);
SELECT aggjobs_trigger('t_isolation') AS run \gset
-- ... wait until it waits for our lock
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4712) LOOP
		PERFORM pg_stat_clear_snapshot();
	END LOOP;
END $$;
SELECT aggjobs_alter_job('t_isolation', schedule => '@monthly');
SELECT pg_advisory_unlock(4712);
SELECT aggjobs_wait(:run, '60 s');

-- --------------------------------------------------------- time limit
-- a run over its time limit is ended, whatever it does about it
SELECT pg_advisory_lock(4713);
SELECT aggjobs_create_job('t_timeout', NULL, '[{"kind": "command", "command": "INSERT INTO jobs_test.t VALUES (60); SET statement_timeout = 0; SELECT pg_advisory_lock(4713)"}]',
	timeout => '0.2 s') > 0 AS has_id;
CALL go('t_timeout');
SELECT status, sqlstate, error, (SELECT note FROM aggjobs.runs r WHERE r.job_name = 't_timeout') AS note FROM last_runs WHERE job_name = 't_timeout';
SELECT aggjobs_alter_job('t_timeout', command => 'DO $d$ BEGIN LOOP BEGIN PERFORM pg_advisory_lock(4713); EXCEPTION WHEN query_canceled THEN EXIT; END; END LOOP; END $d$');
CALL go('t_timeout');
SELECT count(*) FROM t WHERE a = 60;
-- a job can not run another one inside of it, where its own limits would be in doubt
SELECT aggjobs_schedule('t_inner', NULL, 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_alter_job('t_timeout', command => 'DO $d$ BEGIN CALL aggjobs_run(''t_inner''); PERFORM pg_advisory_lock(4713); END $d$');
CALL go('t_timeout');
SELECT status, sqlstate, error FROM last_runs WHERE job_name IN ('t_inner', 't_timeout');
SELECT pg_advisory_unlock(4713);

-- --------------------------------------------- kind "refresh_matview"
-- views of a step are refreshed in the order in which they read each other, concurrently where that can be
CREATE TABLE raw (a int);
INSERT INTO raw VALUES (1), (2);
CREATE MATERIALIZED VIEW mv_base AS SELECT a, a * 2 AS b FROM raw;
CREATE UNIQUE INDEX ON mv_base (a);
CREATE VIEW between_them AS SELECT sum(b) AS s FROM mv_base;
CREATE MATERIALIZED VIEW "mv Top" AS SELECT s FROM between_them;
CREATE MATERIALIZED VIEW mv_never AS SELECT s + 1 AS s FROM "mv Top" WITH NO DATA;
SELECT aggjobs_create_job('t_views', NULL, '[{"kind": "refresh_matview", "views": ["jobs_test.mv_never", "jobs_test.\"mv Top\"", "jobs_test.mv_base"]}]') > 0 AS has_id;
INSERT INTO raw VALUES (3);
CALL go('t_views');
SELECT (SELECT s FROM "mv Top") AS top, (SELECT s FROM mv_never) AS never, (SELECT count(*) FROM mv_base) AS base;
SELECT status, steps FROM last_runs WHERE job_name = 't_views';
-- the log says why not concurrently
SELECT level, message FROM aggjobs_logs((SELECT last_run_id FROM aggjobs.jobs WHERE job_name = 't_views'));
SELECT aggjobs_alter_job('t_views', steps => '[{"kind": "refresh_matview", "view": "jobs_test.mv_base"}]');
CALL go('t_views');
SELECT status, steps FROM last_runs WHERE job_name = 't_views';
-- only materialized views that exist are accepted
SELECT aggjobs_alter_job('t_views', steps => '[{"kind": "refresh_matview", "view": "jobs_test.between_them"}]');
SELECT aggjobs_alter_job('t_views', steps => '[{"kind": "refresh_matview", "view": "jobs_test.not_there"}]');
SELECT aggjobs_alter_job('t_views', steps => '[{"kind": "refresh_matview"}]');
-- a view that is dropped later fails the run, not the server
SET client_min_messages = warning;
DROP MATERIALIZED VIEW mv_base CASCADE;
RESET client_min_messages;
CALL go('t_views');
SELECT status, sqlstate, error FROM last_runs WHERE job_name = 't_views';

-- --------------------------------------------------- kind "retention"
-- old rows go, new ones stay, also those that lie at the same place of another partition
CREATE TABLE events (t timestamptz NOT NULL, n int) PARTITION BY RANGE (t);
CREATE TABLE events_old PARTITION OF events DEFAULT;
CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
INSERT INTO events SELECT '2019-01-01', n FROM generate_series(1, 12000) AS n;
INSERT INTO events SELECT now(), n FROM generate_series(1, 100) AS n;
SELECT aggjobs_create_job('t_retention', NULL, '[{"kind": "retention", "table": "jobs_test.events", "column": "t", "keep": "5 years"}]') > 0 AS has_id;
SELECT aggjobs_trigger('t_retention', dry_run => true);
CALL go('t_retention');
SELECT tableoid::regclass, count(*) FROM events GROUP BY 1;
SELECT status, steps FROM last_runs WHERE job_name = 't_retention';
-- what can not be a retention is refused
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "table": "jobs_test.events", "column": "t"}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "table": "jobs_test.events", "column": "u", "keep": "1 day"}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "table": "jobs_test.gone", "column": "t", "keep": "1 day"}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "table": "jobs_test.events", "column": "t", "keep": "-1 day"}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "table": "execution_spans", "column": "ended_at", "keep": "1 day"}]');

-- ... nor are limits that are none
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "max_rows": 0}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "batch": 1000001}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "max_time": "a while"}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "max_time": "-1 hour"}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "lock_timeout": "21 days"}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "statement_timeout": 0}]');
SELECT aggjobs_alter_job('t_retention', steps => '[{"kind": "retention", "max_rows": 5, "max_time": "1h", "batch": 1000000, "lock_timeout": "500ms", "statement_timeout": "00:10"}]') IS NOT NULL AS accepted;

-- of the source of a rollup only rows below its horizon go, and what was computed stays
INSERT INTO aggjobs.execution_spans (workspace_id, span_type, status, started_at)
SELECT 'jobs_test', 'agent_run', 'success', t FROM unnest(ARRAY[timestamptz '2020-03-01 10:15+00', '2020-03-01 10:45+00', now()]) AS t;
SELECT aggjobs_create_job('t_spans', NULL, '[{"kind": "retention", "table": "execution_spans", "column": "started_at", "keep": "0"}]') > 0 AS has_id;
-- ... none before the rollups have been computed
CALL go('t_spans');
SELECT count(*) FROM aggjobs.execution_spans WHERE workspace_id = 'jobs_test';
SELECT aggjobs_create_job('t_rollups', NULL, '[{"kind": "rollup", "rollup": "hourly_analytics"},
	{"kind": "rollup", "rollup": "credit_consumption_hourly"}, {"kind": "rollup", "rollup": "model_usage_stats"}]') > 0 AS has_id;
CALL go('t_rollups');
SELECT s - 'from' - 'to' AS step FROM last_runs, jsonb_array_elements(steps) AS s WHERE job_name = 't_rollups' AND s ->> 'rollup' = 'hourly_analytics';
CALL go('t_spans');
SELECT started_at >= now() - interval '1 day' AS today, count(*) FROM aggjobs.execution_spans WHERE workspace_id = 'jobs_test' GROUP BY 1;
SELECT bucket, executions FROM aggjobs.hourly_analytics WHERE workspace_id = 'jobs_test';
-- ... and a late row below does not make the hour be computed from what is left
INSERT INTO aggjobs.execution_spans (workspace_id, span_type, status, started_at)
VALUES ('jobs_test', 'agent_run', 'success', '2020-03-01 10:30+00');
CALL go('t_rollups');
SELECT bucket, executions FROM aggjobs.hourly_analytics WHERE workspace_id = 'jobs_test';

-- without a table it follows the settings, and a setting that names none is a warning
SELECT aggjobs_set('retention.hourly_analytics', '1 year'), aggjobs_set('retention.job_state', '1 day'), aggjobs_set('retention.jobs_test.no_table', '1 day');
SELECT aggjobs_create_job('t_cleanup', NULL, '[{"kind": "retention"}]') > 0 AS has_id;
CALL go('t_cleanup');
-- ... a rollup is a source, too: it keeps what the next level has not computed
SELECT count(*) FROM aggjobs.hourly_analytics WHERE workspace_id = 'jobs_test';
SELECT aggjobs_create_job('t_levels', NULL, '[{"kind": "rollup", "rollup": "weekly_analytics"}, {"kind": "rollup", "rollup": "monthly_analytics"}]') > 0 AS has_id;
CALL go('t_levels');
CALL go('t_cleanup');
SELECT count(*) FROM aggjobs.hourly_analytics WHERE workspace_id = 'jobs_test';
SELECT executions FROM aggjobs.daily_analytics WHERE workspace_id = 'jobs_test';
SELECT s -> 'tables' -> 'hourly_analytics' AS hourly, s -> 'tables' -> 'execution_spans' AS spans FROM last_runs, jsonb_array_elements(steps) AS s WHERE job_name = 't_cleanup';
SELECT level, message FROM aggjobs_logs((SELECT last_run_id FROM aggjobs.jobs WHERE job_name = 't_cleanup')) ORDER BY 2;
SELECT aggjobs_set('retention.hourly_analytics', NULL), aggjobs_set('retention.job_state', NULL), aggjobs_set('retention.jobs_test.no_table', NULL);

-- ------------------------------------------------------ kind "health"
-- what is not well is a warning in the log, and the run succeeds
SELECT aggjobs_create_job('t_health', NULL, '[{"kind": "health"}]') > 0 AS has_id;
SELECT aggjobs_schedule('t_fails', '@yearly', 'SELECT 1 / (SELECT 0)') > 0 AS has_id;
CALL go('t_fails');
CALL go('t_fails');
CALL go('t_fails');
CALL go('t_health');
SELECT status, s ->> 'scheduler' AS scheduler, s ->> 'failures' AS failures, s ->> 'overall' AS overall
FROM last_runs, jsonb_array_elements(steps) AS s WHERE job_name = 't_health';
SELECT level, message FROM aggjobs_logs((SELECT last_run_id FROM aggjobs.jobs WHERE job_name = 't_health')) WHERE message ~ 't_fails';
-- a success ends the row of failures
SELECT failures_in_a_row FROM aggjobs.jobs WHERE job_name = 't_fails';
SELECT aggjobs_alter_job('t_fails', command => 'SELECT 1');
CALL go('t_fails');
SELECT failures_in_a_row FROM aggjobs.jobs WHERE job_name = 't_fails';

-- ----------------------------------------------------------- clean up
SET client_min_messages = warning;
SELECT count(aggjobs_drop_job(job_name)) > 0 AS dropped FROM jobs;
DELETE FROM aggjobs.execution_spans WHERE workspace_id = 'jobs_test';
DELETE FROM aggjobs.daily_analytics WHERE workspace_id = 'jobs_test';
DELETE FROM aggjobs.weekly_analytics WHERE workspace_id = 'jobs_test';
DELETE FROM aggjobs.monthly_analytics WHERE workspace_id = 'jobs_test';
-- The pipeline is as new again: what was retired here must not freeze others.
UPDATE aggjobs.rollup_state SET horizon = NULL, frozen_before = NULL;
DELETE FROM aggjobs.change;
DELETE FROM aggjobs.stale;
DROP SCHEMA jobs_test CASCADE;
SELECT aggjobs_revoke('regress_jobs_owner');
DROP ROLE regress_jobs_owner;
