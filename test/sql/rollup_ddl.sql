-- What DDL takes away from rollups, by whichever way it comes.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA ddl;
SET search_path = ddl, public;

CREATE FUNCTION left_over(rollup text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s rollup, %s job, %s source',
		(SELECT count(*) FROM aggjobs.rollups WHERE rollup_name = rollup),
		(SELECT count(*) FROM aggjobs.job WHERE job_name = rollup),
		(SELECT count(*) FROM aggjobs.source WHERE source::text LIKE '%raw')) $$;

-- ------------------------------------- a rollup that goes takes its job along
CREATE TABLE raw (at timestamptz NOT NULL, v integer);
SELECT aggjobs_create_rollup('ddl_sums', $$
	SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS v FROM raw GROUP BY 1 $$) > 0 AS made;
SELECT aggjobs_create_rollup('ddl_days', $$
	SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(v) AS v FROM ddl_sums GROUP BY 1 $$) > 0 AS made;
-- a job of more than that is somebody's own
SELECT aggjobs_create_job('ddl_both', NULL, '[{"kind": "rollup", "rollup": "ddl_sums"}, {"kind": "rollup", "rollup": "ddl_days"}]') > 0 AS made;
SELECT left_over('ddl_sums'), left_over('ddl_days');
DROP TABLE raw CASCADE;
SELECT left_over('ddl_sums'), left_over('ddl_days'), left_over('ddl_both');
SELECT aggjobs_drop_job('ddl_both');
DROP TABLE ddl_sums, ddl_days;

-- ----------------------------- whatever the live view or the source depends on
CREATE PROCEDURE lose(column_type text, measure text, dropped text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE ddl.raw (at timestamptz NOT NULL, v %s)', column_type);
	PERFORM aggjobs_create_rollup('ddl_lost', format($q$
		SELECT date_trunc('hour', at, 'UTC') AS bucket, %s AS v FROM ddl.raw GROUP BY 1 $q$, measure));
	EXECUTE dropped || ' CASCADE';
	RAISE WARNING '%: %', dropped, ddl.left_over('ddl_lost');
	DROP TABLE ddl.raw, ddl.ddl_lost;
END $$;
CREATE DOMAIN word AS text;
CALL lose('ddl.word', 'max(v)', 'DROP DOMAIN ddl.word');
CREATE TYPE mood AS ENUM ('good', 'bad');
CALL lose('ddl.mood', 'max(v)', 'DROP TYPE ddl.mood');
CREATE COLLATION plain (provider = libc, locale = 'C');
CALL lose('text COLLATE ddl.plain', 'max(v)', 'DROP COLLATION ddl.plain');
CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CALL lose('integer', 'sum(ddl.twice(v))', 'DROP FUNCTION ddl.twice(integer)');
CREATE FUNCTION is_more(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > $2';
CREATE OPERATOR >>>> (FUNCTION = is_more, LEFTARG = integer, RIGHTARG = integer);
CALL lose('integer', 'count(*) FILTER (WHERE v OPERATOR(ddl.>>>>) 3)', 'DROP OPERATOR ddl.>>>> (integer, integer)');
CREATE ROLE ddl_owner;
ALTER FUNCTION is_more OWNER TO ddl_owner;
CALL lose('integer', 'count(*) FILTER (WHERE ddl.is_more(v, 3))', 'DROP OWNED BY ddl_owner');
CREATE SCHEMA ddl_other;
CREATE DOMAIN ddl_other.word AS text;
CALL lose('ddl_other.word', 'max(v)', 'DROP SCHEMA ddl_other');
CREATE EXTENSION citext SCHEMA ddl;
CALL lose('ddl.citext', 'max(v)', 'DROP EXTENSION citext');
CREATE TYPE pair AS (at timestamptz, v integer);
CREATE TABLE raw OF pair (at NOT NULL);
SELECT aggjobs_create_rollup('ddl_lost', $$
	SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS v FROM raw GROUP BY 1 $$) > 0 AS made;
ALTER TYPE pair DROP ATTRIBUTE v CASCADE;
SELECT left_over('ddl_lost') AS column_dropped;
DROP TABLE raw, ddl_lost;
DROP TYPE pair;

-- -------------------------------------------- the time column stays NOT NULL
CREATE TABLE whole (at timestamptz NOT NULL, v integer) PARTITION BY RANGE (v);
CREATE TABLE raw PARTITION OF whole FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (v);
CREATE TABLE raw_1 PARTITION OF raw FOR VALUES FROM (0) TO (10);
ALTER TABLE raw ADD CONSTRAINT small CHECK (v < 50);
SELECT aggjobs_create_rollup('ddl_times', $$
	SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS v FROM raw GROUP BY 1 $$, schedule => NULL) > 0 AS made;
INSERT INTO raw SELECT timestamptz '2024-03-01 00:00+00' + i * interval '10 minutes', i % 10 FROM generate_series(1, 20) AS i;
CALL aggjobs_refresh('ddl_times');
ALTER TABLE whole ALTER at DROP NOT NULL;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE whole DETACH PARTITION raw;
\set VERBOSITY default
ALTER TABLE raw ALTER v SET NOT NULL, ALTER at DROP NOT NULL;
\set VERBOSITY terse
ALTER TABLE raw DROP CONSTRAINT small, ALTER v SET NOT NULL;
ALTER TABLE raw ALTER v DROP NOT NULL;
ALTER TABLE whole ALTER at DROP NOT NULL;
-- who switches the event trigger off hears of it from the refresh, and can do other things
ALTER EVENT TRIGGER aggjobs_after_ddl DISABLE;
ALTER TABLE raw ALTER at DROP NOT NULL;
ALTER EVENT TRIGGER aggjobs_after_ddl ENABLE ALWAYS;
CALL aggjobs_refresh('ddl_times');
ALTER TABLE raw ADD w integer;
SELECT problem FROM aggjobs.rollups WHERE rollup_name = 'ddl_times';
ALTER TABLE raw ALTER at SET NOT NULL;
SELECT problem FROM aggjobs.rollups WHERE rollup_name = 'ddl_times';
CALL aggjobs_refresh('ddl_times');
SELECT sum(v), (SELECT sum(v) FROM raw) AS raw FROM ddl_times_live;

-- ---------------------- a trigger of the right name that notes nothing is none
CREATE OR REPLACE TRIGGER aggjobs_capture_delete AFTER DELETE ON raw FOR EACH ROW WHEN (OLD.v < 0)
	EXECUTE FUNCTION aggjobs.capture_row();
ALTER TABLE raw ENABLE ALWAYS TRIGGER aggjobs_capture_delete;
SELECT problem FROM aggjobs.rollups WHERE rollup_name = 'ddl_times';
DELETE FROM raw WHERE v = 3;
CALL aggjobs_refresh('ddl_times');
SELECT problem FROM aggjobs.rollups WHERE rollup_name = 'ddl_times';
SELECT sum(v), (SELECT sum(v) FROM raw) AS raw FROM ddl_times_live;

SELECT aggjobs_drop_rollup('ddl_times');
DROP ROLE ddl_owner;
DROP SCHEMA ddl CASCADE;

-- Writers append to this table without a snapshot, which a TOAST table would want.
SELECT reltoastrelid FROM pg_class WHERE oid = 'aggjobs.change'::regclass;
