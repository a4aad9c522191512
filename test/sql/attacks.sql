--
-- What hostile users may try, and do not get
--
-- Each part is named after what is tried.  What privileges.sql tries already
-- is not tried again: hostile objects before CREATE EXTENSION, objects that
-- come first in a search_path, SET ROLE in a worker, rows of others.
--
\set VERBOSITY terse
\pset footer off
\pset null ~
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_aggjobs_attacks;
CREATE ROLE regress_a_super SUPERUSER LOGIN;
CREATE ROLE regress_a_mallory LOGIN;
CREATE ROLE regress_a_victim LOGIN;
CREATE DATABASE regress_aggjobs_attacks;
\set main :DBNAME
\set superuser :USER
\c regress_aggjobs_attacks
SET client_min_messages = warning;

-- ------------------------------- all our names are taken before we are there
-- each name of ours in public, as a function and as a table: the install fails
-- and leaves nothing, or takes no notice
CREATE FUNCTION public.aggjobs_status(name text DEFAULT NULL) RETURNS text LANGUAGE sql AS 'SELECT ''planted''';
CREATE EXTENSION pg_aggjobs;
SELECT count(*) FROM pg_namespace WHERE nspname = 'aggjobs';
DROP FUNCTION public.aggjobs_status(text);
CREATE PROCEDURE public.aggjobs_run(name text, at timestamptz DEFAULT NULL, dry_run boolean DEFAULT false) LANGUAGE sql AS 'SELECT 1';
CREATE EXTENSION IF NOT EXISTS pg_aggjobs;
SELECT count(*) FROM pg_proc WHERE proname ~ '^aggjobs';
DROP PROCEDURE public.aggjobs_run(text, timestamptz, boolean);
-- overloads of our functions that would fit calls of ours are not called by us
CREATE TABLE public.caught (who name DEFAULT current_user, what text);
GRANT INSERT, SELECT ON public.caught TO PUBLIC;
CREATE FUNCTION public.aggjobs_trigger(name text, at timestamptz) RETURNS bigint LANGUAGE sql AS 'INSERT INTO public.caught (what) VALUES (''trigger'') RETURNING 1';
CREATE FUNCTION public.aggjobs_bucket(text, text) RETURNS text LANGUAGE sql AS 'INSERT INTO public.caught (what) VALUES (''bucket'') RETURNING what';
CREATE TABLE public.job (job_id bigint, owner regrole);
CREATE TABLE public.run (run_id bigint);
CREATE EXTENSION pg_aggjobs;
SELECT aggjobs_drop_pipeline();
SELECT aggjobs_grant('regress_a_mallory'), aggjobs_grant('regress_a_victim');
GRANT CREATE ON SCHEMA public TO regress_a_mallory, regress_a_victim;
CREATE FUNCTION public.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE statement INTO result;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE PROCEDURE public.go(job text, INOUT status text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	run bigint := aggjobs_trigger(job);
BEGIN
	COMMIT;
	status := aggjobs_wait(run, '60 s');
END $$;
CREATE FUNCTION public.last_error(job text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', status, sqlstate, error) FROM aggjobs.runs WHERE job_name = job ORDER BY run_id DESC LIMIT 1
$$;
-- Tells on whoever runs it, unless it is its owner.
CREATE FUNCTION public.tell(what text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.caught (what) VALUES (what);
	RETURN 1;
END $$;

-- --------------------------------------------------------- planted triggers
-- on our tables, rules, policies and defaults: for their owner only
SET SESSION AUTHORIZATION regress_a_mallory;
SELECT s, try(s) FROM unnest(ARRAY[
	'CREATE TRIGGER t BEFORE INSERT ON aggjobs.run FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'CREATE RULE r AS ON INSERT TO aggjobs.run DO ALSO SELECT public.tell(''rule'')',
	'CREATE POLICY p ON aggjobs.job USING (true)',
	'ALTER TABLE aggjobs.job ALTER changed_by SET DEFAULT ''x''',
	'ALTER TABLE aggjobs.job DISABLE TRIGGER ALL',
	'CREATE INDEX ON aggjobs.job (public.tell(job_name))',
	'CREATE STATISTICS s ON (public.tell(job_name)), owner FROM aggjobs.job',
	'CREATE TABLE part () INHERITS (aggjobs.job)',
	'CREATE TABLE refers (job_id bigint REFERENCES aggjobs.job)',
	'CREATE OR REPLACE VIEW aggjobs.health AS SELECT 1',
	'CREATE OR REPLACE FUNCTION public.aggjobs_status(name text) RETURNS void LANGUAGE sql AS ''''',
	'CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION aggjobs.on_ddl()',
	'DROP EVENT TRIGGER aggjobs_after_ddl', 'ALTER EXTENSION pg_aggjobs ADD FUNCTION public.tell(text)']) AS s;

-- on the table of a rollup, in its query, in a policy and in an index on its
-- source: a superuser who refreshes, verifies or repairs the rollup of another
-- does not run them as a superuser
RESET SESSION AUTHORIZATION;
CREATE SCHEMA mallory AUTHORIZATION regress_a_mallory;
SET SESSION AUTHORIZATION regress_a_mallory;
CREATE TABLE mallory.source (at timestamptz NOT NULL, v int);
INSERT INTO mallory.source VALUES ('2026-01-01 00:10+00', 1), ('2026-01-01 01:10+00', 2);
CREATE FUNCTION mallory.quiet(v int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT v';
SELECT aggjobs_create_rollup('mallory', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(mallory.quiet(v)) AS total FROM mallory.source GROUP BY 1$$,
	schedule => NULL, schema => 'mallory') > 0 AS made;
CREATE OR REPLACE FUNCTION mallory.quiet(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM mallory.note('query');
	RETURN v;
END $$;
CREATE FUNCTION mallory.note(what text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF current_user <> 'regress_a_mallory' THEN
		RAISE WARNING '% ran as % of %', what, current_user, session_user;
	END IF;
	-- what a superuser could do, and what would outlive the call
	BEGIN
		EXECUTE 'SET ROLE regress_a_super';
		RAISE WARNING '% has become %', what, current_user;
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
	PERFORM set_config('search_path', 'mallory', false);
END $$;
CREATE FUNCTION mallory.on_target() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM mallory.note('trigger ' || TG_NAME);
	RETURN NULL;
END $$;
CREATE TRIGGER at_once AFTER INSERT OR UPDATE OR DELETE ON mallory.mallory FOR EACH ROW EXECUTE FUNCTION mallory.on_target();
CREATE FUNCTION mallory.indexed(v numeric) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM mallory.note('index'); RETURN 1; END $$;
CREATE INDEX ON mallory.mallory (mallory.indexed(total));
RESET SESSION AUTHORIZATION;
SET search_path = pg_catalog;
CALL public.aggjobs_refresh('mallory');
SELECT total FROM mallory.mallory ORDER BY bucket;
SELECT * FROM public.aggjobs_verify('mallory');
SELECT public.aggjobs_repair('mallory') AS repair \gset
SELECT public.aggjobs_wait_backfill(:repair, '60 s') AS repaired;
SHOW search_path;
SELECT public.aggjobs_create_job('a_refresh', NULL, '[{"kind": "rollup", "rollup": "mallory"}, {"kind": "verify", "rollup": "mallory"},
	{"kind": "command", "command": "SELECT current_user"}]') > 0 AS has_id;
SET SESSION AUTHORIZATION regress_a_mallory;
INSERT INTO mallory.source VALUES ('2026-01-01 02:10+00', 3);
RESET SESSION AUTHORIZATION;
RESET search_path;
CALL go('a_refresh');
SELECT level, message FROM aggjobs_logs((SELECT last_run_id FROM aggjobs.jobs WHERE job_name = 'a_refresh'));
SELECT steps -> 2 -> 'first_row' ->> 'current_user' = session_user AS as_before FROM aggjobs.runs WHERE job_name = 'a_refresh';
-- what waits for the commit would run as the superuser, and is refused
SET SESSION AUTHORIZATION regress_a_mallory;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON mallory.mallory DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mallory.on_target();
INSERT INTO mallory.source VALUES ('2026-01-01 03:10+00', 4);
RESET SESSION AUTHORIZATION;
CALL aggjobs_refresh('mallory');
SET SESSION AUTHORIZATION regress_a_mallory;
DROP TRIGGER later ON mallory.mallory;
RESET SESSION AUTHORIZATION;
CALL aggjobs_refresh('mallory');
SELECT count(*) FROM mallory.mallory;

-- ------------------------------------------- planted first in a search_path
-- a superuser whose path begins with the schema of another refreshes, verifies,
-- repairs and reads rollups, changes and runs jobs
CREATE SCHEMA planted AUTHORIZATION regress_a_mallory;
GRANT USAGE ON SCHEMA planted TO PUBLIC;
CREATE TABLE public.honest (at timestamptz NOT NULL, k text, v int);
INSERT INTO public.honest VALUES ('2026-01-01 00:10+00', 'a', 1), ('2026-01-02 00:10+00', 'b', 2);
SELECT aggjobs_create_rollup('honest_hours', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, k, sum(v) AS total, count(*) AS n FROM public.honest GROUP BY 1, 2$$, schedule => NULL) > 0 AS made;
SELECT aggjobs_create_rollup('honest_days', $$SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(total) AS total FROM public.honest_hours GROUP BY 1$$, schedule => NULL) > 0 AS made;
SELECT aggjobs_create_job('a_honest', NULL, '[{"kind": "rollup", "rollup": "honest_days"}, {"kind": "verify", "rollups": ["honest_hours", "honest_days"], "sample": 3},
	{"kind": "retention", "table": "public.honest", "column": "at", "keep": "100 years"}, {"kind": "health"}]') > 0 AS has_id;
SET SESSION AUTHORIZATION regress_a_mallory;
DO $$
DECLARE
	t text;
	o text;
BEGIN
	FOREACH t IN ARRAY ARRAY['timestamptz', 'timestamp', 'text', 'int4', 'int8', 'numeric', 'jsonb', 'interval', 'name', 'oid', 'bool'] LOOP
		EXECUTE format('CREATE FUNCTION planted.%I(l %s, r %s) RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.tell(''operator''); RETURN true; END $f$', 'is_' || t, t, t);
		EXECUTE format('CREATE FUNCTION planted.%I(l %s, r %s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.tell(''operator''); RETURN l; END $f$', 'of_' || t, t, t, t);
		FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '~', '~~'] LOOP
			EXECUTE format('CREATE OPERATOR planted.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = planted.%I)', o, t, t, 'is_' || t);
		END LOOP;
		FOREACH o IN ARRAY ARRAY['+', '-', '*', '/', '||', '->', '->>'] LOOP
			EXECUTE format('CREATE OPERATOR planted.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = planted.%I)', o, t, t, 'of_' || t);
		END LOOP;
		FOREACH o IN ARRAY ARRAY['to_jsonb', 'jsonb_agg', 'sum', 'count', 'min', 'max', 'coalesce_', 'date_trunc', 'lower', 'length', 'jsonb_array_elements', 'format', 'unnest'] LOOP
			EXECUTE format('CREATE FUNCTION planted.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.tell(''function''); RETURN $1; END $f$', o, t, t);
		END LOOP;
	END LOOP;
	FOREACH o IN ARRAY ARRAY['now', 'clock_timestamp', 'session_user_', 'pg_backend_pid'] LOOP
		EXECUTE format('CREATE FUNCTION planted.%I() RETURNS timestamptz LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.tell(''function''); RETURN NULL; END $f$', o);
	END LOOP;
	FOREACH o IN ARRAY ARRAY['date_trunc(text, timestamptz, text)', 'aggjobs_bucket(text, timestamptz)'] LOOP
		EXECUTE format('CREATE FUNCTION planted.%s RETURNS timestamptz LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.tell(''function''); RETURN $2; END $f$', o);
	END LOOP;
	FOREACH o IN ARRAY ARRAY['job', 'run', 'rollup', 'source', 'change', 'stale', 'setting', 'pg_class', 'pg_index', 'pg_attribute', 'pg_roles', 'pg_stat_activity', 'pg_trigger'] LOOP
		EXECUTE format('CREATE VIEW planted.%I AS SELECT public.tell(''table'') AS oid', o);
	END LOOP;
END $$;
RESET SESSION AUTHORIZATION;
SET timezone = 'UTC';
SET search_path = planted, pg_catalog, public;
-- the traps work
SELECT 1 = 2 AS sprung, pg_catalog.count(oid) AS also FROM job;
DELETE FROM public.caught;
CALL public.aggjobs_refresh('honest_days');
SELECT * FROM public.honest_days_live ORDER BY 1;
SELECT public.aggjobs_repair('honest_days') AS repair \gset
SELECT public.aggjobs_wait_backfill(:repair, '60 s') AS repaired;
SELECT * FROM public.aggjobs_verify('honest_hours');
SELECT * FROM public.aggjobs_verify('honest_days', sample => 1);
CALL public.aggjobs_run('a_honest');
CALL public.aggjobs_run('a_honest', dry_run => true);
SELECT public.aggjobs_mark_changed('public.honest', '2026-01-01', '2026-01-02');
INSERT INTO public.honest VALUES ('2026-01-01 00:20+00', 'a', 1);
UPDATE public.honest SET v = 5;
CALL public.aggjobs_refresh('honest_days');
SELECT public.aggjobs_alter_job('a_honest', schedule => '@yearly'), public.aggjobs_pause('a_honest'), public.aggjobs_resume('a_honest');
SELECT action FROM public.aggjobs_sync_jobs('[{"name": "a_honest", "description": "x"}]');
SELECT FROM aggjobs.health, aggjobs.rollups, aggjobs.settings LIMIT 1;
SELECT FROM public.aggjobs_status(), public.aggjobs_history(), public.aggjobs_preview_schedule('@daily') LIMIT 1;
SELECT public.aggjobs_create_rollup('honest_late', $$SELECT pg_catalog.date_trunc('hour', at, 'UTC') AS bucket, pg_catalog.max(v) AS most FROM public.honest GROUP BY 1$$, schedule => '@daily', schema => 'public') IS NOT NULL AS made;
REASSIGN OWNED BY regress_a_super TO regress_a_victim;
SELECT public.aggjobs_grant('regress_a_victim');
SELECT public.aggjobs_drop_rollup('honest_late'), public.aggjobs_drop_rollup('honest_days'), public.aggjobs_drop_rollup('honest_hours'), public.aggjobs_drop_job('a_honest');
RESET search_path;
SELECT DISTINCT who, what FROM public.caught;
DROP OWNED BY regress_a_super;
DO $$ BEGIN EXECUTE 'DROP SCHEMA planted CASCADE'; END $$;

-- ---------------------------------------------------------------- dry runs
-- of a job of another: neither the query that lists its parts nor the view
-- that its retention counts is run with the rights of who only wants to know
SET SESSION AUTHORIZATION regress_a_mallory;
CREATE FUNCTION mallory.dry(what text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM public.tell(what); RETURN 1; END $$;
CREATE VIEW mallory.old AS SELECT timestamptz '2020-01-01' AS at WHERE mallory.dry('counted') = 1;
SELECT aggjobs_create_job('a_dry', NULL, '[{"kind": "parts", "parts_query": "SELECT mallory.dry(''listed'') AS x", "command": "SELECT $1"},
	{"kind": "retention", "table": "mallory.old", "column": "at", "keep": "1 day"}]') > 0 AS has_id;
RESET SESSION AUTHORIZATION;
-- what nobody hears of is not counted
SET client_min_messages = notice;
SELECT aggjobs_trigger('a_dry', dry_run => true);
CALL aggjobs_run('a_dry', dry_run => true);
-- nor by a superuser who has become the owner and could be led back
SET ROLE regress_a_mallory;
CALL aggjobs_run('a_dry', dry_run => true);
RESET ROLE;
SELECT who, what FROM public.caught;
-- the owner's own dry run does look
\c - regress_a_mallory
CALL aggjobs_run('a_dry', dry_run => true);
SELECT DISTINCT who, what FROM public.caught ORDER BY what;
SELECT aggjobs_drop_job('a_dry');
\c - :superuser
SET client_min_messages = warning;
TRUNCATE public.caught;

-- ------------------------------------------------------------- row security
-- a rollup has the rows that its owner sees, also if a superuser refreshes it
CREATE TABLE public.shared (at timestamptz NOT NULL, tenant name, v int);
INSERT INTO public.shared VALUES ('2026-01-01 00:10+00', 'regress_a_mallory', 1), ('2026-01-01 00:10+00', 'regress_a_victim', 1000);
ALTER TABLE public.shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.shared USING (tenant = current_user);
GRANT SELECT ON public.shared TO regress_a_mallory, regress_a_victim;
SET SESSION AUTHORIZATION regress_a_mallory;
SELECT aggjobs_create_rollup('mine', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS total FROM public.shared GROUP BY 1$$,
	schedule => NULL, schema => 'mallory', lookback => 3) > 0 AS made;
SELECT aggjobs_create_job('a_mine', NULL, '[{"kind": "rollup", "rollup": "mine"}]') > 0 AS has_id;
CALL go('a_mine');
SELECT total FROM mallory.mine;
SELECT total FROM mallory.mine_live;
RESET SESSION AUTHORIZATION;
CALL aggjobs_refresh('mine', '2026-01-01 00:00+00', '2026-01-02 00:00+00');
SELECT total FROM mallory.mine;
SELECT count(*) FROM aggjobs_verify('mine');

-- ---------------------------------------------------------- the way back
-- SET ROLE, RESET ROLE and RESET SESSION AUTHORIZATION in a session that runs
-- a job by CALL: only what the session itself could do
SET SESSION AUTHORIZATION regress_a_mallory;
CREATE TABLE mallory.was (step text, session_name name, current_name name);
SELECT aggjobs_create_job('a_back', NULL, '[
	{"kind": "command", "command": "INSERT INTO mallory.was VALUES (''begin'', session_user, current_user)"},
	{"kind": "command", "command": "RESET ROLE; INSERT INTO mallory.was VALUES (''reset role'', session_user, current_user)"}]') > 0 AS has_id;
RESET SESSION AUTHORIZATION;
-- a superuser who only plays the owner would have something to go back to
SET ROLE regress_a_mallory;
CALL aggjobs_run('a_back');
RESET ROLE;
SET SESSION AUTHORIZATION regress_a_mallory;
CALL aggjobs_run('a_back');
RESET SESSION AUTHORIZATION;
CALL aggjobs_run('a_back');
\c - regress_a_mallory
SET client_min_messages = warning;
CALL aggjobs_run('a_back');
SELECT aggjobs_alter_job('a_back', command => 'RESET SESSION AUTHORIZATION');
CALL aggjobs_run('a_back');
SELECT aggjobs_alter_job('a_back', command => 'SET SESSION AUTHORIZATION regress_a_super');
CALL aggjobs_run('a_back');
SELECT aggjobs_alter_job('a_back', settings => '{"ROLE": "regress_a_super"}');
SELECT aggjobs_alter_job('a_back', settings => '{"session_authorization": "regress_a_super"}');
SELECT aggjobs_alter_job('a_back', settings => '{"aggjobs.allow_superuser_jobs": "on"}');
SELECT session_user, current_user;
SELECT * FROM mallory.was ORDER BY 1;
\c - :superuser
SET client_min_messages = warning;

-- ------------------------------------------------------ jobs of other owners
SET SESSION AUTHORIZATION regress_a_mallory;
SELECT s, try(s) FROM unnest(ARRAY[
	'SELECT aggjobs_alter_job(''a_back'', owner => ''regress_a_super'')',
	'SELECT aggjobs_alter_job(''a_back'', owner => ''regress_a_victim'')',
	'SELECT aggjobs_alter_job(''a_back'', owner => ''pg_monitor'')',
	'SELECT aggjobs_sync_jobs(''[{"name": "a_sync", "command": "SELECT 1", "owner": "regress_a_super"}]'')',
	'SELECT aggjobs_alter_job(''a_refresh'', command => ''SELECT 1'')',
	'INSERT INTO aggjobs.job (job_name, owner, owner_name, steps, database_oid) VALUES (''x'', 10, ''x'', ''[]'', 0)',
	'COPY aggjobs.job FROM ''/dev/null''', 'SELECT * FROM aggjobs.job FOR UPDATE',
	'REASSIGN OWNED BY regress_a_mallory TO regress_a_victim', 'REASSIGN OWNED BY regress_a_mallory TO regress_a_super',
	'REASSIGN OWNED BY regress_a_victim TO regress_a_mallory', 'DROP OWNED BY regress_a_victim']) AS s;
RESET SESSION AUTHORIZATION;
-- a row as a dump has it, with another owner: it waits until somebody says so
INSERT INTO aggjobs.job (job_name, owner, owner_name, schedule, steps, database_oid, created_at)
SELECT 'a_dumped', oid, 'regress_a_super', 'every 1 second', '[{"kind": "command", "command": "SELECT public.tell(''dumped'')"}]',
	(SELECT oid FROM pg_database WHERE datname = current_database()), '2020-01-01' FROM pg_roles WHERE rolname = 'regress_a_super';
INSERT INTO aggjobs.job_state (job_id, next_slot) SELECT job_id, '2020-01-01' FROM aggjobs.job WHERE job_name = 'a_dumped';
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'pg_aggjobs scheduler' AND datname = current_database();
SELECT aggjobs_schedule('a_clock', 'every 1 second', 'SELECT 1') > 0 AS has_id;
DO $$ BEGIN LOOP EXIT WHEN EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'a_clock' AND status = 'succeeded'); COMMIT; END LOOP; END $$;
SELECT state, (SELECT count(*) FROM aggjobs.runs r WHERE r.job_name = j.job_name) AS runs FROM aggjobs.jobs j WHERE job_name = 'a_dumped';
SELECT aggjobs_drop_job('a_clock'), aggjobs_drop_job('a_dumped');

-- ------------------------------------------------------ materialized views
-- of another: not refreshed by those who are no member, and never with their rights
SET SESSION AUTHORIZATION regress_a_mallory;
CREATE FUNCTION mallory.who() RETURNS name LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.note('matview'); RETURN current_user; END $$;
CREATE MATERIALIZED VIEW mallory.matview AS SELECT mallory.who() AS who;
CREATE UNIQUE INDEX ON mallory.matview (who);
SET SESSION AUTHORIZATION regress_a_victim;
SELECT aggjobs_create_job('a_victim', NULL, '[{"kind": "refresh_matview", "view": "mallory.matview"}]') > 0 AS has_id;
RESET SESSION AUTHORIZATION;
GRANT USAGE ON SCHEMA mallory TO regress_a_victim;
SET SESSION AUTHORIZATION regress_a_victim;
SELECT aggjobs_create_job('a_victim', NULL, '[{"kind": "refresh_matview", "view": "mallory.matview"}]') > 0 AS has_id;
CALL go('a_victim');
SELECT last_error('a_victim');
RESET SESSION AUTHORIZATION;
SELECT aggjobs_create_job('a_matview', NULL, '[{"kind": "refresh_matview", "view": "mallory.matview"}]') > 0 AS has_id;
CALL go('a_matview');
SELECT level, message FROM aggjobs_logs((SELECT last_run_id FROM aggjobs.jobs WHERE job_name = 'a_matview'));
SELECT who FROM mallory.matview;

-- -------------------------------------------------- functions that look at rows
-- a cheap function in a condition sees only rows that its caller may see
SET SESSION AUTHORIZATION regress_a_victim;
SELECT aggjobs_schedule('a_secret', NULL, 'DO $d$ BEGIN RAISE NOTICE ''secret''; RAISE ''secret''; END $d$') > 0 AS has_id;
CALL go('a_secret');
SET SESSION AUTHORIZATION regress_a_mallory;
CREATE FUNCTION mallory.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE WARNING 'seen: %', $1; RETURN true; END $$;
CREATE FUNCTION mallory.equal(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN IF $1 !~ '^a_(mine|back)$' THEN RAISE WARNING 'compared: %', $1; END IF; RETURN true; END $$;
CREATE OPERATOR mallory.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = mallory.equal, RESTRICT = eqsel);
SELECT count(*) FROM aggjobs.jobs WHERE job_name ~ 'secret|victim' AND mallory.peek(job_name || steps::text);
SELECT count(*) FROM aggjobs.jobs WHERE job_name OPERATOR(mallory.===) 'a_secret' AND job_name ~ 'secret|victim';
SELECT count(*) FROM aggjobs.runs WHERE job_name = 'a_secret' AND mallory.peek(error);
SELECT count(*) FROM aggjobs.run_logs WHERE message = 'secret' AND mallory.peek(message);
SELECT count(*) FROM aggjobs.job_stats WHERE job_name = 'a_secret' AND mallory.peek(job_name);
SELECT count(*) FROM aggjobs.workers WHERE owner = 'regress_a_victim'::regrole AND mallory.peek(job_name);
RESET SESSION AUTHORIZATION;

-- --------------------------------------------- huge names, control characters
-- refused, in short and plain words; but for what the server says itself
SET SESSION AUTHORIZATION regress_a_mallory;
SELECT left(regexp_replace(s, E'[\u0001-\u001f\u007f-\u009f]', '?', 'g'), 60) AS statement, length(e) < 400 AS short, e ~ E'[\u0001-\u001f\u007f-\u009f]' AS control, left(e, 100) AS outcome FROM (SELECT s, try(s) AS e FROM unnest(ARRAY[
	format('SELECT aggjobs_schedule(%L, NULL, ''SELECT 1'')', repeat('x', 1000000)),
	format('SELECT aggjobs_schedule(%L, NULL, ''SELECT 1'')', E'a\nb'),
	format('SELECT aggjobs_schedule(%L, NULL, ''SELECT 1'')', E'a\x1b[31mb'),
	format('SELECT aggjobs_schedule(%L, NULL, ''SELECT 1'')', E'a\u0085b'),
	format('SELECT aggjobs_schedule(%L, NULL, ''SELECT 1'')', E'a\u009b31mb'),
	format('SELECT aggjobs_alter_job(''a_back'', new_name => %L)', E'a\rb'),
	format('SELECT aggjobs_alter_job(%L)', E'a\nLOG:  forged'),
	format('SELECT aggjobs_trigger(%L)', repeat('y', 1000000)),
	format('SELECT aggjobs_schedule(''z'', %L, ''SELECT 1'')', E'* *\n* * *\x1b'),
	format('SELECT aggjobs_schedule(''z'', %L, ''SELECT 1'')', repeat('* ', 500000)),
	format('SELECT aggjobs_schedule(''z'', NULL, ''SELECT 1'', %L)', E'Mars\nLOG:  forged'),
	format('SELECT aggjobs_schedule(''z'', NULL, ''SELECT 1'', %L)', repeat('Z', 1000000)),
	format('SELECT aggjobs_alter_job(''a_back'', description => %L)', repeat('d', 1000000)),
	format('SELECT aggjobs_alter_job(''a_back'', memory_limit => %L)', E'1\nLOG:  forged'),
	format('SELECT aggjobs_alter_job(''a_back'', owner => %L)', E'no\nLOG:  forged'),
	format('SELECT aggjobs_create_job(''z'', NULL, jsonb_build_array(jsonb_build_object(''kind'', %L)))', E'k\nLOG:  forged'),
	format('SELECT aggjobs_create_job(''z'', NULL, jsonb_build_array(jsonb_build_object(''kind'', ''rollup'', ''rollup'', %L)))', E'k\nLOG:  forged'),
	format('SELECT aggjobs_create_job(''z'', NULL, jsonb_build_array(jsonb_build_object(''kind'', ''command'', %L, 1)))', E'k\nLOG:  forged'),
	format('SELECT aggjobs_alter_job(''a_back'', settings => jsonb_build_object(%L, 1))', E'a.b\nLOG:  forged'),
	format('SELECT aggjobs_create_rollup(%L, ''SELECT date_trunc(''''day'''', at, ''''UTC'''') AS d FROM mallory.source GROUP BY 1'')', E'r\nLOG:  forged'),
	format('SELECT aggjobs_create_rollup(%L, ''SELECT date_trunc(''''day'''', at, ''''UTC'''') AS d FROM mallory.source GROUP BY 1'')', repeat('r', 1000000)),
	format('SELECT aggjobs_verify(%L)', E'r\nLOG:  forged')]) AS s) AS tried;
SELECT count(*) FROM aggjobs.jobs WHERE job_name ~ E'[\u0001-\u001f\u007f-\u009f]' OR length(job_name) > 100 OR job_name = 'z';
RESET SESSION AUTHORIZATION;

-- ------------------------------------------------ members of pg_signal_backend
-- may not end launcher and scheduler, which have the rights of a superuser
SELECT string_agg(pid::text, ',') AS ours FROM pg_stat_activity WHERE backend_type IN ('pg_aggjobs launcher', 'pg_aggjobs scheduler') \gset
GRANT pg_signal_backend TO regress_a_mallory;
SET SESSION AUTHORIZATION regress_a_mallory;
SELECT count(*) > 1 AS several, bool_and(try(format('SELECT pg_terminate_backend(%s)', pid)) ~ '^42501') AS refused
FROM unnest(string_to_array(:'ours', ',')) AS pid;
RESET SESSION AUTHORIZATION;
REVOKE pg_signal_backend FROM regress_a_mallory;

-- nobody's code ran as anybody else
SELECT * FROM public.caught;
\c :main
SET client_min_messages = warning;
DROP DATABASE regress_aggjobs_attacks WITH (FORCE);
DROP ROLE regress_a_super, regress_a_mallory, regress_a_victim;
