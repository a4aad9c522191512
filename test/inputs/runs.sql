-- Jobs that are well formed, and wrong only when they run: the run fails with
-- a clear error.  They are made, run and dropped here.
CREATE PROCEDURE inputs.run(label text, wanted text, part text, job text, at timestamptz, INOUT outcome text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	this_run bigint := aggjobs_trigger(job, at);
	r record;
BEGIN
	COMMIT;
	PERFORM aggjobs_wait(this_run, '60 s');
	COMMIT;
	SELECT status, sqlstate, error INTO r FROM aggjobs.runs WHERE run_id = this_run;
	IF coalesce(r.sqlstate, '00000') = ANY (string_to_array(wanted, ' ')) AND strpos(coalesce(r.error, ''), part) > 0 THEN
		outcome := format('ok run: %s', label);
	ELSE
		outcome := format('FAIL run: %s: wanted %s with "%s", got %s %s: %s', label, wanted, part, r.status, r.sqlstate, left(r.error, 300));
	END IF;
	-- They leave no trace for the comparison afterwards.
	DELETE FROM aggjobs.run WHERE run_id = this_run;
END $$;
CREATE FUNCTION inputs.make(step text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM aggjobs_create_job('broken', NULL, step::jsonb);
END $$;
CREATE FUNCTION inputs.unmake() RETURNS void LANGUAGE sql AS $$ SELECT aggjobs_drop_job('broken') $$;

CREATE TABLE inputs.gone (a int, t timestamptz NOT NULL);
SELECT inputs.make('[{"kind": "command", "command": "SELECT * FROM inputs.gone"}]') IS NULL AS done \gset
DROP TABLE inputs.gone;
CALL inputs.run('the table of a command was dropped', '42P01', 'inputs.gone', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset

CREATE TABLE inputs.gone (a int, t timestamptz NOT NULL);
SELECT inputs.make('[{"kind": "retention", "table": "inputs.gone", "column": "t", "keep": "1 day"}]') IS NULL AS done \gset
DROP TABLE inputs.gone;
CALL inputs.run('the table of a retention was dropped', '42P01', 'inputs.gone', 'broken', NULL);
CREATE TABLE inputs.gone (a int);
CALL inputs.run('the column of a retention was dropped', '42703', 't', 'broken', NULL);
DROP TABLE inputs.gone;
CREATE VIEW inputs.gone AS SELECT 1 AS a, now() AS t;
CALL inputs.run('the table of a retention became a view', '42703 42809 55000', '', 'broken', NULL);
DROP VIEW inputs.gone;
SELECT inputs.unmake() IS NULL AS done \gset

CREATE MATERIALIZED VIEW inputs.mv AS SELECT 1 AS a;
SELECT inputs.make('[{"kind": "refresh_matview", "view": "inputs.mv"}]') IS NULL AS done \gset
DROP MATERIALIZED VIEW inputs.mv;
CALL inputs.run('the materialized view was dropped', '42P01', 'inputs.mv', 'broken', NULL);
CREATE TABLE inputs.mv (a int);
CALL inputs.run('the materialized view became a table', '42809', 'inputs.mv', 'broken', NULL);
DROP TABLE inputs.mv;
SELECT inputs.unmake() IS NULL AS done \gset

-- A rollup whose source, and then whose target, is gone.
CREATE TABLE inputs.source (t timestamptz NOT NULL);
SELECT aggjobs_create_rollup('inputs_rollup',
	'SELECT date_trunc(''hour'', s.t, ''UTC'') AS bucket, count(*) AS n FROM inputs.source s GROUP BY 1',
	schedule => NULL, schema => 'inputs') > 0 AS made \gset
SELECT inputs.make('[{"kind": "rollup", "rollup": "inputs_rollup"}]') IS NULL AS done \gset
CALL inputs.run('a rollup of nothing is computed', '00000', '', 'broken', '2026-01-01');
INSERT INTO inputs.source VALUES ('2026-01-01');
ALTER TABLE inputs.inputs_rollup ADD COLUMN extra int NOT NULL;
CALL inputs.run('the target of a rollup got another column', '23502', 'extra', 'broken', '2026-01-01');
SET client_min_messages = warning;
DROP TABLE inputs.source CASCADE;
CALL inputs.run('the source of a rollup was dropped', '42704', 'inputs', 'broken', '2026-01-01');
DROP TABLE inputs.inputs_rollup;
RESET client_min_messages;
CALL inputs.run('the target of a rollup was dropped', '42704', 'inputs', 'broken', '2026-01-01');
CALL inputs.run('a rollup was removed', '42704', 'inputs_rollup', 'broken', '2026-01-01');
SELECT inputs.unmake() IS NULL AS done \gset

SELECT inputs.make('[{"kind": "rollup", "rollup": "monthly_analytics"}]') IS NULL AS done \gset
CALL inputs.run('the last instant that there is', '00000 22008', '', 'broken', '294276-12-31 23:59:59.999999+00');
CALL inputs.run('the first instant that there is', '00000 22008', '', 'broken', '4714-11-24 00:00:00+00 BC');
CALL inputs.run('an instant far ahead', '00000', '', 'broken', '9999-01-01');
SELECT inputs.unmake() IS NULL AS done \gset

SELECT inputs.make(jsonb_build_array(jsonb_build_object('kind', 'command', 'command', 'SELECT 1; ' || repeat('-- a very long comment' || E'\n', 50000)))::text) IS NULL AS done \gset
CALL inputs.run('a command of 1 MB is run', '00000', '', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
SELECT inputs.make('[{"kind": "command", "command": "SELECT repeat(''x'', 2000000000)"}]') IS NULL AS done \gset
CALL inputs.run('a value of more than 1 GB', '54000', '', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
SELECT inputs.make('[{"kind": "command", "command": "CREATE FUNCTION pg_temp.f(i int) RETURNS int LANGUAGE plpgsql AS ''BEGIN RETURN pg_temp.f(i + 1); END''; SELECT pg_temp.f(1)"}]') IS NULL AS done \gset
CALL inputs.run('recursion without end', '54001', 'stack depth', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
SELECT inputs.make('[{"kind": "command", "command": "DO $$ BEGIN RAISE EXCEPTION ''%'', E''line\\n%s%n$1\\x1b[2J\"''''''; END $$"}]') IS NULL AS done \gset
CALL inputs.run('an error text with all sorts of characters', 'P0001', '%s%n$1', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
SELECT inputs.make('[{"kind": "command", "command": "SELECT pg_terminate_backend(pg_backend_pid())"}]') IS NULL AS done \gset
CALL inputs.run('a run that ends its own worker', '00000 57P01', '', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
SELECT inputs.make('[{"kind": "command", "command": "LISTEN a; NOTIFY a"}]') IS NULL AS done \gset
CALL inputs.run('LISTEN in a worker', '0A000 25001 55000', 'LISTEN', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
SELECT inputs.make('[{"kind": "command", "command": "CALL aggjobs_run(''broken'')"}]') IS NULL AS done \gset
CALL inputs.run('a job that runs itself', '55000', 'inside', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
SELECT inputs.make('[{"kind": "command", "command": "SELECT aggjobs_drop_job(''broken'')"}]') IS NULL AS done \gset
CALL inputs.run('a job that drops itself', '00000', '', 'broken', NULL);
SELECT aggjobs_create_job('broken', NULL, '[{"kind": "command", "command": "SELECT 1"}]', settings => '{"search_path": "", "work_mem": "64kB", "statement_timeout": "1ms", "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1ms"}') IS NULL AS done \gset
CALL inputs.run('settings that would get in the way of the bookkeeping', '00000', '', 'broken', NULL);
SELECT inputs.unmake() IS NULL AS done \gset
