--
-- Who may do what, and as whom jobs run
--
-- In databases of its own, so that the extension belongs to another superuser
-- than the one who looks, and that hostile things can be there before it.
--
\set VERBOSITY terse
\pset footer off
\pset null ~
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_aggjobs_privileges;
CREATE ROLE regress_p_ext SUPERUSER LOGIN;
CREATE ROLE regress_p_super SUPERUSER LOGIN;
CREATE ROLE regress_p_alice LOGIN;
CREATE ROLE regress_p_bob LOGIN;
CREATE ROLE regress_p_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_p_nobody LOGIN;
CREATE DATABASE regress_aggjobs_privileges;
\set main :DBNAME
\set superuser :USER
\c regress_aggjobs_privileges
SET client_min_messages = warning;

-- ------------------------------------------------- before CREATE EXTENSION
-- a schema of our name that is there already is not adopted
CREATE SCHEMA aggjobs AUTHORIZATION regress_p_alice;
CREATE EXTENSION pg_aggjobs;
SELECT count(*) FROM pg_class WHERE relnamespace = 'aggjobs'::regnamespace;
DROP SCHEMA aggjobs;
-- nor is a function that would be taken for one of ours
CREATE FUNCTION public.aggjobs_create_job(text, text, text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
CREATE EXTENSION pg_aggjobs;
DROP FUNCTION public.aggjobs_create_job(text, text, text);
-- operators that fit our arguments better than the server's own are not used:
-- one for each pair of types for which the server has none, each tells when it runs
SET search_path = pg_catalog;
DO $$
DECLARE
	types text[] := ARRAY['int4', 'int8', 'numeric', 'text', 'name', 'interval', 'timestamptz', 'oid',
	                      'regclass', 'regrole', 'regnamespace', 'regproc', 'jsonb', 'bool', 'text[]', '"char"'];
	operator text;
	l text;
	r text;
BEGIN
	FOREACH l IN ARRAY types LOOP FOREACH r IN ARRAY types LOOP
		EXECUTE format('CREATE FUNCTION public.%I(l %s, r %s) RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN RAISE WARNING ''planted operator ran as %%'', current_user; RETURN l::text = r::text; END $f$', 'planted_bool_' || l || r, l, r);
		EXECUTE format('CREATE FUNCTION public.%I(l %s, r %s) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN RAISE WARNING ''planted operator ran as %%'', current_user; RETURN concat(l, r); END $f$', 'planted_text_' || l || r, l, r);
		FOREACH operator IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/', '||', '~~', '~', '->>', '?', '?|'] LOOP
			CONTINUE WHEN EXISTS (SELECT FROM pg_operator o WHERE o.oprname = operator AND o.oprleft = l::regtype AND o.oprright = r::regtype);
			EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.%I)', operator, l, r,
				CASE WHEN operator IN ('+', '-', '*', '/', '||', '->>') THEN 'planted_text_' ELSE 'planted_bool_' END || l || r);
		END LOOP;
	END LOOP; END LOOP;
END $$;
CREATE FUNCTION public.format(text, bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'planted function ran as %', current_user; RETURN 'x'; END $$;
CREATE AGGREGATE public.count(bigint) (SFUNC = int8pl, STYPE = int8);
SET search_path = public;
SET SESSION AUTHORIZATION regress_p_ext;
CREATE EXTENSION pg_aggjobs;
RESET SESSION AUTHORIZATION;
SET search_path = pg_catalog;
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS uses, pg_describe_object(d.refclassid, d.refobjid, 0) AS planted
FROM pg_depend d
WHERE (d.refclassid = 'pg_operator'::regclass AND d.refobjid IN (SELECT oid FROM pg_operator WHERE oprnamespace = 'public'::regnamespace)
       OR d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (SELECT p.oid FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND proname !~ '^aggjobs'))
  AND d.classid <> 'pg_operator'::regclass AND d.objid NOT IN (SELECT oid FROM pg_proc WHERE proname = 'count');
SELECT extowner::regrole FROM pg_extension WHERE extname = 'pg_aggjobs';
DO $$
DECLARE
	o regoperator;
BEGIN
	FOR o IN SELECT oid FROM pg_operator WHERE oprnamespace = 'public'::regnamespace LOOP
		EXECUTE format('DROP OPERATOR %s', o);
	END LOOP;
END $$;
RESET search_path;
SET timezone = 'UTC';

-- ------------------------------------------------------------- the matrix
SET SESSION AUTHORIZATION regress_p_ext;
SELECT aggjobs_grant('regress_p_alice'), aggjobs_grant('regress_p_bob');
RESET SESSION AUTHORIZATION;
CREATE VIEW members AS
SELECT d.classid, d.objid, CASE WHEN c.oid IS NULL THEN p.oid::regprocedure::text ELSE c.oid::regclass::text END AS member,
       p.oid AS routine, c.oid AS relation, c.relkind
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
     LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE e.extname = 'pg_aggjobs' AND d.deptype = 'e' AND (p.oid IS NOT NULL OR c.oid IS NOT NULL);
-- who may call what: each function and procedure of the extension is here
SELECT member,
       has_function_privilege('regress_p_ext', routine, 'EXECUTE') AND has_function_privilege('regress_p_super', routine, 'EXECUTE') AS superusers,
       has_function_privilege('regress_p_alice', routine, 'EXECUTE') AS job_owner,
       has_function_privilege('regress_p_monitor', routine, 'EXECUTE') AS monitor,
       has_function_privilege('regress_p_nobody', routine, 'EXECUTE') AS nobody,
       prosecdef AS definer
FROM members JOIN pg_proc ON pg_proc.oid = routine ORDER BY member COLLATE "C";
-- who may read what: each table, view and sequence is here
SELECT relkind AS kind, member,
       has_table_privilege('regress_p_ext', relation, 'SELECT') AND has_table_privilege('regress_p_super', relation, 'SELECT') AS superusers,
       has_table_privilege('regress_p_alice', relation, 'SELECT') AS job_owner,
       has_table_privilege('regress_p_monitor', relation, 'SELECT') AS monitor,
       has_table_privilege('regress_p_nobody', relation, 'SELECT') AS nobody
FROM members WHERE relkind IN ('r', 'v', 'm', 'S') ORDER BY 1, member COLLATE "C";
-- nobody but superusers may write any of them, nor make triggers on them
SELECT member, role, privilege
FROM members, unnest(ARRAY['regress_p_alice', 'regress_p_monitor', 'regress_p_nobody']) AS role,
     unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
WHERE relkind IN ('r', 'v', 'm') AND has_table_privilege(role, relation, privilege);
SELECT member, role, privilege
FROM members, unnest(ARRAY['regress_p_alice', 'regress_p_monitor', 'regress_p_nobody']) AS role, unnest(ARRAY['USAGE', 'UPDATE']) AS privilege
WHERE relkind = 'S' AND has_sequence_privilege(role, relation, privilege);
-- nobody but superusers makes anything in our schema; nothing is granted to all
SELECT role, has_schema_privilege(role, 'aggjobs', 'USAGE') AS usage, has_schema_privilege(role, 'aggjobs', 'CREATE') AS create
FROM unnest(ARRAY['regress_p_alice', 'regress_p_monitor', 'regress_p_nobody']) AS role;
SELECT relname FROM pg_class, aclexplode(relacl) a WHERE relnamespace = 'aggjobs'::regnamespace AND a.grantee = 0;
-- views that hide rows do not leak them through functions of the reader
SELECT member FROM members JOIN pg_class c ON c.oid = relation
WHERE c.relkind = 'v' AND member ~ '(jobs|runs|logs|workers|stats)$' AND NOT coalesce(reloptions @> '{security_barrier=true}', false);

-- -------------------------------------------------------------- real calls
-- Run a statement and tell how it went.
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
CREATE SCHEMA alice AUTHORIZATION regress_p_alice;
SET SESSION AUTHORIZATION regress_p_alice;
CREATE TABLE alice.seen (step int, session_name name, current_name name);
SELECT aggjobs_schedule('p_alice', '@yearly', 'SELECT ''secret of alice''; DO $d$ BEGIN RAISE NOTICE ''secret notice''; RAISE EXCEPTION ''secret error''; END $d$') > 0 AS has_id;
CALL go('p_alice');
SET SESSION AUTHORIZATION regress_p_bob;
SELECT aggjobs_schedule('p_bob', NULL, 'SELECT 1') > 0 AS has_id;
CALL go('p_bob');
RESET SESSION AUTHORIZATION;
SELECT last_run_id AS run FROM aggjobs.jobs WHERE job_name = 'p_alice' \gset

-- one who was granted nothing gets nothing
SET SESSION AUTHORIZATION regress_p_nobody;
SELECT s, try(s) FROM unnest(ARRAY[
	'SELECT aggjobs_schedule(''x'', NULL, ''SELECT 1'')', 'SELECT aggjobs_create_job(''x'', NULL, ''[]'')',
	'SELECT aggjobs_alter_job(''p_alice'')', 'SELECT aggjobs_drop_job(''p_alice'')', 'SELECT aggjobs_pause(NULL)',
	'SELECT aggjobs_resume(NULL)', 'SELECT aggjobs_sync_jobs(''[]'')', 'SELECT aggjobs_set(''a'', ''b'')',
	'SELECT aggjobs_trigger(''p_alice'')', 'CALL aggjobs_run(''p_alice'')', 'SELECT aggjobs_wait(1)', 'SELECT aggjobs_cancel(1)',
	'SELECT aggjobs_retry(1)', 'SELECT aggjobs_status()', 'SELECT aggjobs_history()', 'SELECT aggjobs_logs(1)',
	'SELECT aggjobs_preview_schedule(''@daily'')', 'SELECT aggjobs_grant(''regress_p_nobody'')', 'SELECT aggjobs_drop_pipeline()',
	'SELECT * FROM aggjobs.jobs', 'SELECT aggjobs.installed()', 'SELECT aggjobs.worker_slots()']) AS s;
CREATE TEMP TABLE t (bucket timestamptz);
SELECT try('CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION aggjobs.capture_row(''bucket'')');
-- a job owner sees own rows only, and acts on own jobs only
SET SESSION AUTHORIZATION regress_p_bob;
SELECT job_name FROM aggjobs.jobs;
SELECT DISTINCT job_name FROM aggjobs.runs;
SELECT job_name FROM aggjobs.job_stats;
SELECT count(*) FROM aggjobs.run_logs;
SELECT count(*) FROM aggjobs_logs(:run);
SELECT count(*) FROM aggjobs.workers WHERE owner = 'regress_p_alice'::regrole;
SELECT regexp_replace(s, '\y' || :'run' || '\y', 'N') AS statement, regexp_replace(try(s), '\y' || :'run' || '\y', 'N') AS outcome FROM unnest(ARRAY[
	'SELECT aggjobs_alter_job(''p_alice'', command => ''SELECT true'')', 'SELECT aggjobs_drop_job(''p_alice'')',
	'SELECT aggjobs_pause(''p_alice'')', 'SELECT aggjobs_resume(''p_alice'')', 'SELECT aggjobs_trigger(''p_alice'')',
	'SELECT aggjobs_trigger(''p_alice'', dry_run => true)', 'CALL aggjobs_run(''p_alice'')', 'CALL aggjobs_run(''hourly'', dry_run => true)',
	'SELECT aggjobs_sync_jobs(''[{"name": "p_alice", "command": "SELECT true"}]'')', 'SELECT aggjobs_wait(' || :run || ')',
	'SELECT aggjobs_cancel(' || :run || ')', 'SELECT aggjobs_retry(' || :run || ')', 'SELECT aggjobs_set(''retention.execution_spans'', ''0'')',
	'SELECT aggjobs_set(''a'', NULL)', 'SELECT aggjobs_drop_pipeline()', 'SELECT aggjobs_grant(''regress_p_bob'')',
	'SELECT aggjobs_schedule(''p_alice'', NULL, ''SELECT true'')',
	'SELECT aggjobs_create_job(''x'', NULL, ''[{"kind": "health"}]'', owner => ''regress_p_alice'')',
	'SELECT aggjobs_alter_job(''p_bob'', owner => ''regress_p_super'')', 'SELECT aggjobs_alter_job(''p_bob'', owner => ''nope'')',
	'SELECT aggjobs_alter_job(''p_bob'', settings => ''{"session_replication_role": "replica"}'')',
	'SELECT aggjobs_alter_job(''p_bob'', settings => ''{"aggjobs.enabled": "off"}'')',
	'SELECT * FROM aggjobs.job', 'UPDATE aggjobs.setting SET value = ''x''', 'DELETE FROM aggjobs.run', 'TRUNCATE aggjobs.change',
	'CREATE TRIGGER t AFTER INSERT ON aggjobs.job EXECUTE FUNCTION suppress_redundant_updates_trigger()', 'CREATE VIEW aggjobs.x AS SELECT true']) AS s;
SELECT aggjobs_pause(NULL) AS own_job_only;
SELECT aggjobs_resume(NULL) AS own_job_only;
SELECT * FROM aggjobs_sync_jobs('[{"name": "p_bob"}]', prune => true);
-- members of pg_monitor see that there are jobs of others and how they fare, not what is in them
SET SESSION AUTHORIZATION regress_p_monitor;
SELECT job_name, last_status, steps FROM aggjobs.jobs WHERE job_name ~ '^p_';
SELECT job_name, status, sqlstate, error, detail, hint, context, steps FROM aggjobs.runs WHERE job_name ~ '^p_' ORDER BY run_id;
SELECT outcome FROM aggjobs_history('p_alice');
SELECT count(*) FROM aggjobs.run_logs;
SELECT count(*) FROM aggjobs_logs(:run);
SELECT try('SELECT aggjobs_trigger(''p_alice'')'), try('SELECT aggjobs_cancel(1)'), try('SELECT aggjobs_pause(NULL)'), try('SELECT * FROM aggjobs.job');
-- the names of failing jobs are not told to others by the health view, nor by a health job
RESET SESSION AUTHORIZATION;
CALL go('p_alice');
CALL go('p_alice');
SET SESSION AUTHORIZATION regress_p_bob;
SELECT detail FROM aggjobs.health WHERE check_name = 'failures';
SELECT aggjobs_create_job('p_bob_health', NULL, '[{"kind": "health"}]') > 0 AS has_id;
CALL go('p_bob_health');
SELECT count(*) FROM aggjobs.run_logs WHERE message ~ 'p_alice';
SET SESSION AUTHORIZATION regress_p_monitor;
SELECT detail FROM aggjobs.health WHERE check_name = 'failures';
RESET SESSION AUTHORIZATION;

-- ------------------------------------------------------- as whom jobs run
-- session and current user are the owner, also when a superuser triggers the run
SET SESSION AUTHORIZATION regress_p_alice;
SELECT aggjobs_create_job('p_who', NULL, '[
	{"kind": "command", "command": "INSERT INTO alice.seen VALUES (1, session_user, current_user)"},
	{"kind": "command", "command": "RESET ROLE; INSERT INTO alice.seen VALUES (2, session_user, current_user)"},
	{"kind": "command", "command": "RESET SESSION AUTHORIZATION; INSERT INTO alice.seen VALUES (3, session_user, current_user)"},
	{"kind": "command", "command": "DISCARD ALL"},
	{"kind": "command", "command": "INSERT INTO alice.seen VALUES (4, session_user, current_user)"}]') > 0 AS has_id;
CALL go('p_who');
SET SESSION AUTHORIZATION regress_p_super;
CALL go('p_who');
SELECT try('CALL aggjobs_run(''p_who'')');
RESET SESSION AUTHORIZATION;
SELECT step, session_name, current_name, count(*) FROM alice.seen GROUP BY 1, 2, 3 ORDER BY 1;
SELECT status, triggered_by FROM aggjobs.runs WHERE job_name = 'p_who' ORDER BY run_id;
-- another user can't be reached
SET SESSION AUTHORIZATION regress_p_alice;
SELECT aggjobs_alter_job('p_who', command => 'SET SESSION AUTHORIZATION regress_p_super');
CALL go('p_who');
SELECT aggjobs_alter_job('p_who', command => 'SET ROLE regress_p_ext');
CALL go('p_who');
SELECT aggjobs_alter_job('p_who', command => 'SELECT * FROM aggjobs.setting');
CALL go('p_who');
SELECT aggjobs_alter_job('p_who', command => 'UPDATE aggjobs.job SET owner = 10');
CALL go('p_who');
SELECT aggjobs_alter_job('p_who', command => 'SELECT aggjobs_trigger(''p_bob'')');
CALL go('p_who');
SELECT status, sqlstate, error FROM aggjobs.runs WHERE job_name = 'p_who' AND status = 'failed' ORDER BY run_id;
-- a rollup is not refreshed, nor its horizon or frozen line moved, by one who may not write it
RESET SESSION AUTHORIZATION;
CALL go('hourly');
CALL go('daily');
UPDATE aggjobs.rollup_state SET horizon = horizon - interval '1 day' WHERE rollup_name = 'hourly_analytics';
SELECT horizon FROM aggjobs.rollups WHERE rollup_name = 'hourly_analytics' \gset
SET SESSION AUTHORIZATION regress_p_alice;
SELECT aggjobs_alter_job('p_who', steps => '[{"kind": "rollup", "rollup": "hourly_analytics"}]');
CALL go('p_who');
SELECT aggjobs_alter_job('p_who', steps => '[{"kind": "retention", "table": "execution_spans", "column": "started_at", "keep": "0"}]');
CALL go('p_who');
SELECT aggjobs_alter_job('p_who', steps => '[{"kind": "refresh_matview", "view": "aggjobs.mv_workspace_summary"}]');
CALL go('p_who');
RESET SESSION AUTHORIZATION;
SELECT sqlstate, error FROM aggjobs.runs WHERE job_name = 'p_who' ORDER BY run_id DESC LIMIT 3;
SELECT horizon = :'horizon' AS as_before, frozen_before FROM aggjobs.rollups WHERE rollup_name = 'hourly_analytics';
-- writers need no right on our tables for their writes to be noted
GRANT USAGE ON SCHEMA aggjobs TO regress_p_nobody;
GRANT INSERT ON aggjobs.user_activity_events TO regress_p_nobody;
SET SESSION AUTHORIZATION regress_p_nobody;
INSERT INTO aggjobs.user_activity_events (event_type, occurred_at) VALUES ('login', '2022-02-02 02:02+00');
RESET SESSION AUTHORIZATION;
SELECT from_time, to_time FROM aggjobs.change WHERE source = 'aggjobs.user_activity_events'::regclass;

-- ----------------------------------------------------- planted in the path
-- functions, operators and tables that come first in the path of the owner,
-- or of a careless superuser, are not used by us
CREATE TABLE public.caught (who name DEFAULT current_user, what text);
GRANT INSERT, SELECT ON public.caught TO PUBLIC;
SET SESSION AUTHORIZATION regress_p_alice;
CREATE FUNCTION alice.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR alice.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = alice.equal);
CREATE FUNCTION alice.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR alice.= (LEFTARG = text, RIGHTARG = text, FUNCTION = alice.equal);
CREATE FUNCTION alice.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('now'); RETURN 'epoch'; END $$;
CREATE FUNCTION alice.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('clock_timestamp'); RETURN 'epoch'; END $$;
CREATE FUNCTION alice.format(text, text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('format'); RETURN 'x'; END $$;
CREATE FUNCTION alice.format(text, bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('format'); RETURN 'x'; END $$;
CREATE FUNCTION alice.pg_has_role(oid, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('pg_has_role'); RETURN true; END $$;
CREATE FUNCTION alice.jsonb_build_array(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught (what) VALUES ('jsonb_build_array'); RETURN '[]'; END $$;
CREATE TABLE alice.job (LIKE pg_class);
CREATE TABLE alice.pg_class (oid oid);
CREATE TABLE alice.pg_stat_activity (pid int);
RESET SESSION AUTHORIZATION;
ALTER ROLE regress_p_alice SET search_path = alice, public, pg_catalog;
SET SESSION AUTHORIZATION regress_p_alice;
SET search_path = alice, public, pg_catalog;
SELECT aggjobs_schedule('p_path', '@yearly', 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_alter_job('p_path', timeout => '1 min');
SELECT aggjobs_pause('p_path'), aggjobs_resume('p_path');
SELECT action, job_name FROM aggjobs_sync_jobs('[{"name": "p_path"}]');
-- ... in a session that has never been anybody else
\c - regress_p_alice
SHOW search_path;
SET client_min_messages = warning;
CALL aggjobs_run('p_path');
SELECT last_status FROM aggjobs_status('p_path');
CALL go('p_path');
SELECT state, last_status FROM aggjobs_status('p_path');
SELECT status FROM aggjobs_history('p_path');
SELECT count(*) > 0 AS some FROM aggjobs.health;
SELECT count(*) > 0 AS some FROM aggjobs.job_stats;
RESET search_path;
\c - :superuser
SET client_min_messages = warning;
SET timezone = 'UTC';
SET search_path = alice, public, pg_catalog;
CALL go('p_path');
SELECT aggjobs_set('p_setting', '1'), aggjobs_set('p_setting', NULL);
SELECT count(*) OPERATOR(pg_catalog.>) 0 AS some FROM aggjobs_status();
CALL go('health_check');
CALL go('cleanup');
CALL go('verify');
RESET search_path;
SELECT DISTINCT who, what FROM public.caught;

-- ------------------------------------------------- owners who go or change
-- a role that may not log in: the run fails with the reason, and others go on
-- (in the words of the server, or of ours where a worker of the role is there still)
CREATE FUNCTION last_error(job text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', status, sqlstate, error) FROM aggjobs.runs WHERE job_name = job ORDER BY run_id DESC LIMIT 1
$$;
SET client_min_messages = warning;
ALTER ROLE regress_p_alice NOLOGIN;
CALL go('p_path');
SELECT last_error('p_path') ~ 'role "regress_p_alice".* is not (allowed|permitted) to log in' AS reason;
CALL go('p_bob');
-- ... and the job can still be paused, alone and with all others
SELECT aggjobs_pause('p_path');
SELECT try('SELECT aggjobs_resume(''p_path'')');
ALTER ROLE regress_p_alice LOGIN;
SELECT aggjobs_resume('p_path');
-- one that may not connect
REVOKE CONNECT ON DATABASE regress_aggjobs_privileges FROM PUBLIC;
GRANT CONNECT ON DATABASE regress_aggjobs_privileges TO regress_p_bob;
CALL go('p_path');
SELECT last_error('p_path') ~ '42501 (role "regress_p_alice".* may not connect to|permission denied for) (the )?database' AS reason;
CALL go('p_bob');
GRANT CONNECT ON DATABASE regress_aggjobs_privileges TO PUBLIC;
-- one that has got another name
ALTER ROLE regress_p_alice RENAME TO regress_p_alicia;
CALL go('p_path');
SELECT last_error('p_path');
ALTER ROLE regress_p_alicia RENAME TO regress_p_alice;
CALL go('p_path');
-- one that is dropped: another role of that name does not get the jobs; nor is
-- what is done with a role of another name done with them
ALTER ROLE regress_p_alice RENAME TO regress_p_alicia;
REASSIGN OWNED BY regress_p_alicia TO regress_p_ext;
DROP OWNED BY regress_p_alicia;
DROP ROLE regress_p_alicia;
CREATE ROLE regress_p_alice LOGIN;
CALL go('p_path');
SELECT last_error('p_path') ~ 'role ("regress_p_alice".*|with OID \d+) does not exist' AS reason;
SELECT aggjobs_grant('regress_p_alice');
SET SESSION AUTHORIZATION regress_p_alice;
SELECT count(*) FROM aggjobs.jobs;
SELECT try('SELECT aggjobs_drop_job(''p_path'')');
RESET SESSION AUTHORIZATION;
-- it can be given to somebody else
SELECT aggjobs_alter_job('p_path', owner => 'regress_p_alice');
CALL go('p_path');

-- ---------------------------------------------------- jobs of superusers
-- what a superuser makes runs as that superuser, and only while it is allowed
SELECT aggjobs_create_job('p_super', NULL, '[{"kind": "command", "command": "SELECT 1"}]', owner => 'regress_p_super') > 0 AS has_id;
CALL go('p_super');
CREATE PROCEDURE until(wanted text) LANGUAGE plpgsql AS $$
DECLARE
	status text;
BEGIN
	LOOP
		CALL public.go('p_super', status);
		EXIT WHEN status = wanted;
	END LOOP;
END $$;
ALTER SYSTEM SET aggjobs.allow_superuser_jobs = off;
SELECT pg_reload_conf();
CALL until('failed');
SELECT last_error('p_super');
CALL go('p_bob');
-- a job that may not run can still be paused
SELECT aggjobs_pause('p_super');
ALTER SYSTEM RESET aggjobs.allow_superuser_jobs;
SELECT pg_reload_conf();
CALL until('succeeded');

-- ------------------------------------------------------------- take back
SELECT aggjobs_revoke('regress_p_bob');
SELECT count(*) FROM members WHERE routine IS NOT NULL AND has_function_privilege('regress_p_bob', routine, 'EXECUTE')
	AND NOT has_function_privilege('public', routine, 'EXECUTE')
   OR relkind IN ('r', 'v', 'm') AND has_table_privilege('regress_p_bob', relation, 'SELECT');
SELECT aggjobs_grant('no such role');
SELECT aggjobs_grant(NULL);

\c :main
SET client_min_messages = warning;
DROP DATABASE regress_aggjobs_privileges WITH (FORCE);
DROP ROLE regress_p_ext, regress_p_super, regress_p_alice, regress_p_bob, regress_p_monitor, regress_p_nobody;
