--
-- Rollups as they are defined: every form that is accepted, what is made of it,
-- and that the live view equals the query whatever has been computed
--
\set VERBOSITY terse
\pset footer off
\pset null ~
SET client_min_messages = warning;
CREATE SCHEMA define_test;
CREATE SCHEMA define_test2;
SET search_path = define_test, public;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

CREATE TABLE raw (id bigint, t timestamptz NOT NULL, ts timestamp NOT NULL, day date NOT NULL, n bigint NOT NULL,
	ended timestamptz, k text, v numeric, j jsonb);
CREATE TABLE dim (id bigint PRIMARY KEY, name text);
INSERT INTO dim SELECT i, 'name ' || i FROM generate_series(0, 6) AS i;

-- Rows around both changes of the clocks, hourly, in Berlin and New York, and a few on the edges.
CREATE FUNCTION fill(from_time timestamptz, to_time timestamptz, step interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO raw
	SELECT i % 7, t, t AT TIME ZONE 'UTC', (t AT TIME ZONE 'UTC')::date, extract(epoch FROM t)::bigint, t + i * interval '1 s',
	       CASE WHEN i % 5 > 0 THEN 'k' || i % 5 END, i * 1.5, jsonb_build_object('i', i % 3)
	FROM generate_series(from_time, to_time, step) WITH ORDINALITY AS g (t, i) $$;
SELECT fill('2024-03-29', '2024-04-01', '37 min'), fill('2024-10-25', '2024-10-28', '41 min'), fill('2024-12-30', '2025-01-03', '1 h');

-- In which rows does a live view differ from a query?
CREATE FUNCTION differences(live text, query text, OUT rows bigint, OUT missing bigint, OUT extra bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('WITH q AS MATERIALIZED (%s), l AS MATERIALIZED (SELECT * FROM %s)
		SELECT (SELECT count(*) FROM q), (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE l) a), (SELECT count(*) FROM (TABLE l EXCEPT ALL TABLE q) b)',
		query, live) INTO rows, missing, extra;
END $$;

CREATE TABLE cases (name text PRIMARY KEY, query text, epoch text);
CREATE VIEW checked AS
SELECT c.name, d.rows > 0 AS has_rows, d.missing, d.extra
FROM cases c, differences(quote_ident(c.name || '_live'), rtrim(c.query, E';\n')) d;

-- ------------------------------------------------------- every form of bucket
INSERT INTO cases (name, query) SELECT 't_trunc_' || unit,
	format('SELECT date_trunc(%L, t, %L) AS bucket, count(*) AS n FROM raw GROUP BY 1', unit, zone)
FROM (VALUES ('minute', 'UTC'), ('hour', 'Asia/Kolkata'), ('day', 'Europe/Berlin'), ('week', 'America/New_York'),
	('month', 'UTC'), ('quarter', 'Europe/Berlin'), ('year', 'UTC')) AS u (unit, zone);
INSERT INTO cases VALUES
	('t_bin', $$SELECT date_bin('15 minutes', t, '2000-01-01 00:05:00+00') AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('t_folded', $$SELECT date_bin('15 minutes'::interval * 2, t, '2000-01-01'::timestamptz) AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('t_width', $$SELECT aggjobs_bucket('2 hours', t) AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('t_width_zone', $$SELECT aggjobs_bucket('1 day', t, 'America/New_York') AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('t_width_origin', $$SELECT aggjobs_bucket('1 month', t, 'UTC', '2025-01-15') AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('t_width_named', $$SELECT aggjobs_bucket(zone => 'Europe/Berlin', "time" => t, width => '7 days') AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('t_by_expression', $$SELECT count(*) AS n, date_trunc('hour', t, 'UTC') AS bucket FROM raw GROUP BY date_trunc('hour', t, 'UTC')$$),
	('t_by_name', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY bucket$$),
	('ts_trunc', $$SELECT date_trunc('day', ts) AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('ts_bin', $$SELECT date_bin('1 hour', ts, '2000-01-01') AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('ts_width', $$SELECT aggjobs_bucket('2 weeks', ts) AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('ts_width_origin', $$SELECT aggjobs_bucket('1 day', ts, '2025-01-01 06:00') AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('day_width', $$SELECT aggjobs_bucket('1 month', day) AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('day_width_origin', $$SELECT aggjobs_bucket('7 days', day, '2025-01-05') AS bucket, count(*) AS n FROM raw GROUP BY 1$$),
	('n_count', $$SELECT aggjobs_bucket(3600, n) AS bucket, count(*) AS c FROM raw GROUP BY 1$$);
INSERT INTO cases VALUES
	('n_count_epoch', $$SELECT aggjobs_bucket(60000, n, 17) AS bucket, count(*) AS c FROM raw_ms GROUP BY 1$$, 'millisecond');

-- a table has one time column, so each type has a table of its own
CREATE TABLE raw_ts (LIKE raw INCLUDING ALL);
CREATE TABLE raw_day (LIKE raw INCLUDING ALL);
CREATE TABLE raw_n (LIKE raw INCLUDING ALL);
CREATE TABLE raw_ms (LIKE raw INCLUDING ALL);
INSERT INTO raw_ts TABLE raw;
INSERT INTO raw_day TABLE raw;
INSERT INTO raw_n TABLE raw;
INSERT INTO raw_ms SELECT id, t, ts, day, n * 1000, ended, k, v, j FROM raw;
UPDATE cases SET query = replace(query, 'FROM raw ', 'FROM raw_' || split_part(name, '_', 1) || ' ') WHERE name !~ '^t_';

SELECT count(aggjobs_create_rollup(name, query, NULL, epoch => epoch)) AS made FROM cases;
SELECT rollup_name, source, time_column AS time, time_type, epoch, bucket_kind AS kind, bucket_unit AS unit, bucket_width AS width,
       bucket_count AS count, time_zone, origin, count_origin AS c_origin
FROM aggjobs.rollup WHERE rollup_name IN (SELECT name FROM cases) ORDER BY 1;
-- the bucket has the type of the time, also in the view
SELECT r.rollup_name, r.bucket_type, (SELECT string_agg(DISTINCT a.atttypid::regtype::text, ', ') FROM pg_attribute a
       WHERE a.attrelid IN (r.target, r.live, r.source) AND a.attname IN (CASE a.attrelid WHEN r.source THEN r.time_column ELSE r.bucket_column END)) AS types
FROM aggjobs.rollup r WHERE rollup_name IN ('t_bin', 'ts_bin', 'day_width', 'n_count') ORDER BY 1;

-- all is open: the live views equal their queries
SELECT * FROM checked ORDER BY 1;
-- computed
SELECT format('CALL aggjobs_refresh(%L)', name) FROM cases ORDER BY 1 \gexec
SELECT * FROM checked WHERE missing + extra > 0;
SELECT count(*) FROM t_trunc_day;
-- late rows, changed and moved and deleted ones: some buckets are dirty
SELECT fill('2024-03-31', '2024-03-31 03:00', '17 min'), fill('2024-10-27', '2024-10-27 03:00', '13 min');
UPDATE raw SET t = t - interval '1 day' WHERE id = 3 AND t > '2025-01-01';
DELETE FROM raw WHERE t BETWEEN '2024-10-27 01:00' AND '2024-10-27 02:00';
INSERT INTO raw_ts SELECT * FROM raw WHERE id = 4;
UPDATE raw_day SET day = day - 40 WHERE id = 5;
DELETE FROM raw_n WHERE id = 2 AND n % 7 = 0;
UPDATE raw_ms SET n = n + 3600000 WHERE id = 1;
SELECT * FROM checked WHERE missing + extra > 0;
SELECT count(*) > 0 AS some_are_dirty FROM aggjobs.rollups WHERE rollup_name IN (SELECT name FROM cases) AND stale_ranges > 0;
-- and a table that is emptied
TRUNCATE raw_ms;
SELECT * FROM checked WHERE missing + extra > 0 OR NOT has_rows;
SELECT count(aggjobs_drop_rollup(name)) AS dropped FROM cases;
TRUNCATE cases;

-- ------------------------------------------------- what a query may be made of
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN short AS varchar(3);
CREATE TYPE pair AS (a integer, b text);
CREATE FUNCTION keep_least(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT least($1, $2)';
CREATE AGGREGATE least_of(numeric) (sfunc = keep_least, stype = numeric);
CREATE TABLE parted (LIKE raw) PARTITION BY RANGE (t);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2024-07-01') TO ('2026-01-01');
INSERT INTO parted TABLE raw;
CREATE TABLE parted2 (LIKE raw) PARTITION BY RANGE (t);
CREATE TABLE parted2_1 PARTITION OF parted2 DEFAULT;
INSERT INTO parted2 TABLE raw;
CREATE TABLE "Odd ""Table" ("Time" timestamptz NOT NULL, "ключ" text, "select" bigint);
INSERT INTO "Odd ""Table" SELECT t, k, id FROM raw;

INSERT INTO cases VALUES
	('q_joins', $$SELECT date_trunc('day', t, 'UTC') AS bucket, name, count(*) AS n FROM raw JOIN dim USING (id) GROUP BY 1, 2$$),
	('q_left', $$SELECT date_trunc('day', r.t, 'UTC') AS bucket, d.name, count(d.id) AS n FROM raw AS r LEFT JOIN dim AS d ON d.id = r.id AND d.id < 3 GROUP BY 1, 2$$),
	('q_right', $$SELECT date_trunc('day', t, 'UTC') AS bucket, name, count(*) AS n FROM dim RIGHT JOIN raw USING (id) GROUP BY 1, 2$$),
	('q_comma', $$SELECT date_trunc('day', t, 'UTC') AS bucket, name, count(*) AS n FROM dim, raw WHERE dim.id = raw.id GROUP BY 1, 2$$),
	('q_two', $$SELECT date_trunc('day', t, 'UTC') AS bucket, a.name, b.name AS other, count(*) AS n FROM raw JOIN dim a USING (id) CROSS JOIN dim b WHERE b.id < 2 GROUP BY 1, 2, 3$$),
	('q_dependent', $$SELECT date_trunc('day', t, 'UTC') AS bucket, dim.id, name, count(*) AS n FROM raw JOIN dim USING (id) GROUP BY 1, dim.id$$),
	('q_where', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw WHERE v > 10 AND k IS NOT NULL OR t >= '2024-12-31' GROUP BY 1$$),
	('q_filter', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) FILTER (WHERE v > 50) AS big, sum(v) FILTER (WHERE k = 'k1') AS k1 FROM raw GROUP BY 1$$),
	('q_distinct', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(DISTINCT k) AS ks, sum(DISTINCT id) AS ids, array_agg(DISTINCT k) AS which FROM raw GROUP BY 1$$),
	('q_ordered', $$SELECT date_trunc('day', t, 'UTC') AS bucket, percentile_cont(0.95) WITHIN GROUP (ORDER BY v) AS p95, percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY v) AS ps,
		mode() WITHIN GROUP (ORDER BY k) AS common, rank(20) WITHIN GROUP (ORDER BY v) AS rank_of_20 FROM raw GROUP BY 1$$),
	('q_lists', $$SELECT date_trunc('day', t, 'UTC') AS bucket, string_agg(k, ',' ORDER BY t, v) AS ks, jsonb_agg(v ORDER BY t, v) AS vs, array_agg(ended ORDER BY t, v) AS ends FROM raw GROUP BY 1$$),
	('q_combined', $$SELECT date_trunc('day', t, 'UTC') AS bucket, round(sum(v) / nullif(count(*), 0), 2) AS mean, coalesce(max(v), 0)::double precision AS most, sum(v)::bigint AS total,
		avg(v) AS average, max(v) - min(v) AS spread, stddev(v) AS deviation, least_of(v) AS own, avg(ended - t) AS duration, 42 AS answer FROM raw GROUP BY 1$$),
	('q_keys', $$SELECT lower(k) AS small, date_trunc('day', t, 'UTC') AS bucket, CASE WHEN v > 50 THEN 'big' ELSE 'small' END AS size, j ->> 'i' AS i, concat(k, '/', id) AS path,
		ended IS NULL AS open, (t AT TIME ZONE 'Europe/Berlin')::date AS berlin_day, extract(isodow FROM ts) AS weekday, 'fixed' AS fixed, NULL::integer AS nothing, count(*) AS n
		FROM raw GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10$$),
	('q_types', $$SELECT date_trunc('day', t, 'UTC') AS bucket, k::varchar(3) AS vc, left(k, 3)::short AS d, (CASE WHEN v > 50 THEN 'happy' ELSE 'sad' END)::mood AS m, k COLLATE "C" AS c,
		min(k COLLATE "POSIX") AS least, ARRAY[id] AS ids, sum(v)::numeric(12, 2) AS total, min(v)::real AS r, (count(*)::integer, 'x')::pair AS p, min(k)::char(4) AS padded FROM raw GROUP BY 1, 2, 3, 4, 5, 7$$),
	('q_bucket_only', $$SELECT date_trunc('day', t, 'UTC') AS bucket FROM raw GROUP BY 1$$),
	('q_schema', $$SELECT date_trunc('day', define_test.raw.t, 'UTC') AS bucket, count(define_test.raw.k) AS n, count(define_test.raw.*) AS rows FROM define_test.raw GROUP BY 1$$),
	('q_columns', $$SELECT date_trunc('day', c, 'UTC') AS bucket, count(k) AS n FROM raw AS x (a, c) GROUP BY 1$$),
	('q_parted', $$SELECT date_trunc('day', t, 'UTC') AS bucket, k, count(*) AS n FROM parted GROUP BY 1, 2$$),
	('q_part', $$SELECT date_trunc('day', t, 'UTC') AS bucket, k, count(*) AS n FROM parted2_1 GROUP BY 1, 2$$),
	-- names that our own parts of the view have, too
	('q_clash', $$SELECT date_trunc('day', dirty.t, 'UTC') AS bucket, computed.name AS dirty_bucket, count(dirty) AS dirty_from, count(*) AS dirty_to FROM raw AS dirty JOIN dim AS computed USING (id) GROUP BY 1, 2$$),
	('q_clash2', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(DIRTY_) AS t FROM raw AS dirty_ GROUP BY 1$$),
	('Odd rollup"s', $$SELECT date_trunc('day', "Time", 'UTC') AS "Büc'ket", "ключ" AS "SELECT", sum("select") AS "a ""b" FROM "Odd ""Table" GROUP BY 1, 2$$),
	('q_comment', E'-- what is counted\nSELECT date_trunc(''day'', t, ''UTC'') AS bucket, /* all */ count(*) AS n\nFROM raw\nGROUP BY 1;\n');
SELECT count(aggjobs_create_rollup(name, query, NULL)) AS made FROM cases;

-- names, types and kinds of the columns, as in the table
SELECT r.rollup_name, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation END AS collation,
       CASE WHEN a.attname = r.bucket_column THEN 'bucket' WHEN a.attname = ANY (r.keys) THEN 'key ' || array_position(r.keys, a.attname)
       ELSE (SELECT m ->> 'kind' FROM jsonb_array_elements(r.measures) m WHERE m ->> 'name' = a.attname) END AS role, a.attnotnull AS not_null
FROM aggjobs.rollup r JOIN pg_attribute a ON a.attrelid = r.target AND a.attnum > 0 JOIN pg_type t ON t.oid = a.atttypid
WHERE r.rollup_name IN (SELECT name FROM cases) ORDER BY r.rollup_name COLLATE "C", a.attnum;
-- the view has the same columns in the same order
SELECT r.rollup_name FROM aggjobs.rollup r WHERE r.rollup_name IN (SELECT name FROM cases)
AND (SELECT array_agg((a.attname, a.atttypid) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = r.target AND a.attnum > 0)
    <> (SELECT array_agg((a.attname, a.atttypid) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = r.live AND a.attnum > 0);
SELECT * FROM checked WHERE missing + extra > 0 OR NOT has_rows;
SELECT format('CALL aggjobs_refresh(%L)', name) FROM cases ORDER BY 1 \gexec
SELECT fill('2024-03-31', '2024-03-31 03:00', '19 min');
UPDATE raw SET v = v + 1, k = 'k9' WHERE t BETWEEN '2024-10-27 20:00' AND '2024-10-28 03:00';
INSERT INTO parted SELECT * FROM raw WHERE k = 'k9';
INSERT INTO parted2 SELECT * FROM raw WHERE k = 'k9';
DELETE FROM "Odd ""Table" WHERE "select" = 2 AND "Time" > '2025-01-01';
SELECT * FROM checked WHERE missing + extra > 0;
SELECT format('CALL aggjobs_refresh(%L)', name) FROM cases ORDER BY 1 \gexec
SELECT * FROM checked WHERE missing + extra > 0;

-- the table, its key, the view and what is said of them
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('q_keys'::regclass, '"Odd rollup""s"'::regclass) AND contype <> 'n' ORDER BY conname COLLATE "C";
SELECT pg_get_viewdef('q_clash_live');
SELECT obj_description('q_joins'::regclass, 'pg_class'), obj_description('q_joins_live'::regclass, 'pg_class');
-- the query is kept as it was written
SELECT query FROM aggjobs.rollup WHERE rollup_name = 'q_comment';
-- what capture compares: the time and the columns that are read
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = '"Odd ""Table"'::regclass AND tgname LIKE '%update';
SELECT count(aggjobs_drop_rollup(name)) AS dropped FROM cases;
SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('raw'::regclass, 'parted'::regclass, '"Odd ""Table"'::regclass);
TRUNCATE cases;

-- ------------------------------------------------------------ what is told
SET client_min_messages = notice;
\set VERBOSITY default
SET timezone = 'Europe/Berlin';
-- a zone that is not named is that of the session, and stays so
SELECT aggjobs_create_rollup('t_zone', $$SELECT date_trunc('day', t) AS bucket, count(*) AS n, min(date_trunc('hour', ended)) AS first FROM raw GROUP BY 1$$, NULL) > 0 AS has_id;
SET timezone = 'UTC';
SELECT time_zone FROM aggjobs.rollup WHERE rollup_name = 't_zone';
SELECT * FROM differences('t_zone_live', $$SELECT date_trunc('day', t, 'Europe/Berlin'), count(*), min(date_trunc('hour', ended, 'Europe/Berlin')) FROM raw GROUP BY 1$$);
-- changes of joined tables are not followed, but can be told
SELECT aggjobs_create_rollup('t_join', $$SELECT date_trunc('day', t, 'UTC') AS bucket, name, count(*) AS n FROM raw JOIN dim USING (id) GROUP BY 1, 2$$, NULL) > 0 AS has_id;
\set VERBOSITY terse
SET client_min_messages = warning;
CALL aggjobs_refresh('t_join');
UPDATE dim SET name = 'other' WHERE id = 1;
SELECT missing > 0 AS differs FROM differences('t_join_live', $$SELECT date_trunc('day', t, 'UTC') AS bucket, name, count(*) AS n FROM raw JOIN dim USING (id) GROUP BY 1, 2$$);
SELECT aggjobs_mark_changed('define_test.raw');
SELECT missing, extra FROM differences('t_join_live', $$SELECT date_trunc('day', t, 'UTC') AS bucket, name, count(*) AS n FROM raw JOIN dim USING (id) GROUP BY 1, 2$$);
SELECT aggjobs_drop_rollup('t_zone'), aggjobs_drop_rollup('t_join');

-- ---------------------------------------------------------- schemas and jobs
-- names are resolved when the rollup is made, by the search_path of that time
CREATE TABLE define_test2.raw (t timestamptz NOT NULL);
SET search_path = define_test2, define_test, public;
SELECT aggjobs_create_rollup('t_here', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, NULL) > 0 AS has_id;
SET search_path = define_test, public;
SELECT aggjobs_create_rollup('t_there', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, NULL, 'define_test2') > 0 AS has_id;
SELECT rollup_name, source, target, live FROM aggjobs.rollup WHERE rollup_name IN ('t_here', 't_there') ORDER BY 1;
SET search_path = pg_catalog;
SELECT count(*) FROM define_test2.t_here_live;
SELECT count(*) > 0 AS has_rows FROM define_test2.t_there_live;
SET search_path = define_test, public;
-- the longest name
SELECT aggjobs_create_rollup(repeat('x', 58), $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, NULL) > 0 AS has_id;
SELECT length(relname) FROM pg_class WHERE relname LIKE 'xxxxx%' ORDER BY 1;
SELECT aggjobs_drop_rollup(repeat('x', 58));
-- a job that refreshes it, or none
SELECT job_name, schedule, time_zone, steps, description FROM aggjobs.jobs WHERE job_name LIKE 't!_%' ESCAPE '!';
SELECT aggjobs_create_rollup('t_job', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$) > 0 AS has_id;
SELECT aggjobs_create_rollup('t_job2', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, '5 0 * * *', time_zone => 'Europe/Berlin') > 0 AS has_id;
SELECT job_name, schedule, time_zone, steps, description, next_run_at IS NOT NULL AS planned FROM aggjobs.jobs WHERE job_name LIKE 't!_%' ESCAPE '!' ORDER BY 1;
-- its own job goes with it, but not one that does more
SELECT aggjobs_alter_job('t_job2', steps => '[{"kind": "rollup", "rollup": "t_job2"}, {"kind": "health"}]');
SELECT aggjobs_drop_rollup('t_job'), aggjobs_drop_rollup('t_job2');
SELECT job_name FROM aggjobs.jobs WHERE job_name LIKE 't!_%' ESCAPE '!';
SELECT aggjobs_drop_job('t_job2');
-- a table that is kept is a plain table
CALL aggjobs_refresh('t_there');
SELECT aggjobs_drop_rollup('t_there', keep_table => true), aggjobs_drop_rollup('t_here');
SELECT count(*) > 0 AS has_rows FROM define_test2.t_there;
SELECT to_regclass('define_test2.t_there_live'), to_regclass('define_test2.t_here');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'raw'::regclass;
DROP TABLE define_test2.t_there;
-- the name of a rollup whose table was dropped can be used again
SELECT aggjobs_create_rollup('t_gone', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, NULL) > 0 AS has_id;
DROP TABLE t_gone CASCADE;
SELECT aggjobs_create_rollup('t_gone', $$SELECT date_trunc('day', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, NULL) > 0 AS has_id;
SELECT aggjobs_drop_rollup('t_gone');

-- ---------------------------------------------------- a rollup over another
SELECT aggjobs_create_rollup('t_hour', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, k, id, count(*) AS n, sum(v) AS total, min(v) AS least, max(v) AS most, avg(v) AS mean,
	count(DISTINCT ended) AS ends, array_agg(DISTINCT id) AS ids, least_of(v) AS own FROM raw GROUP BY 1, 2, 3$$, NULL) > 0 AS has_id;
SELECT aggjobs_create_rollup('t_day', $$SELECT date_trunc('day', define_test.t_hour.bucket, 'UTC') AS day, k, sum(n) AS n, sum(total) AS total, min(least) AS least, max(most) AS most,
	sum(total) / nullif(sum(n), 0) AS mean, sum(mean * n) / sum(n) AS mean2, count(*) AS groups, count(DISTINCT id) AS people, least_of(own) AS own
	FROM define_test.t_hour GROUP BY 1, 2$$, NULL) > 0 AS has_id;
SELECT aggjobs_create_rollup('t_month', $$SELECT aggjobs_bucket('1 month', d.day) AS month, upper(k) AS k, name, sum(d.n) AS n, sum(groups) AS groups, max(most) AS most
	FROM t_day AS d CROSS JOIN dim WHERE dim.id = 2 GROUP BY 1, 2, 3$$, NULL) > 0 AS has_id;
SELECT rollup_name, source, source_rollup, time_column, measures FROM aggjobs.rollup WHERE rollup_name IN ('t_hour', 't_day', 't_month') ORDER BY rollup_id;
CREATE VIEW levels AS
SELECT l.level, d.*
FROM (VALUES ('day', '(SELECT day, k, n, total, least, most, round(mean, 6), round(mean2, 6), groups, people, own FROM t_day_live) x',
	$$SELECT date_trunc('day', t, 'UTC'), k, count(*)::numeric, sum(v), min(v), max(v), round(sum(v) / count(*), 6), round(sum(v) / count(*), 6),
	count(DISTINCT (date_trunc('hour', t, 'UTC'), id)), count(DISTINCT id), min(v) FROM raw GROUP BY 1, 2$$),
	('month', 't_month_live',
	$$SELECT date_trunc('month', t, 'UTC'), upper(k), 'name 2', count(*)::numeric, count(DISTINCT (date_trunc('hour', t, 'UTC'), id, k))::numeric, max(v) FROM raw GROUP BY 1, 2$$)
	) AS l (level, live, query), differences(l.live, l.query) d;
TABLE levels;
-- computed from below, in part, and changed since
CALL aggjobs_refresh('t_hour');
TABLE levels;
CALL aggjobs_refresh('t_month');
TABLE levels;
SELECT (SELECT count(*) FROM t_hour) > 0 AS hours, (SELECT count(*) FROM t_day) > 0 AS days, (SELECT count(*) FROM t_month) > 0 AS months;
DELETE FROM raw WHERE id = 3;
UPDATE raw SET t = t + interval '1 month' WHERE id = 4 AND t < '2024-04-01';
TABLE levels;
CALL aggjobs_refresh('t_hour');
TABLE levels;
CALL aggjobs_refresh('t_month');
TABLE levels;
-- in zones whose days begin on whole hours of the child, a parent may count the days of the zone
SELECT aggjobs_create_rollup('t_berlin', $$SELECT date_trunc('day', bucket, 'Europe/Berlin') AS day, sum(n) AS n FROM t_hour GROUP BY 1$$, NULL) > 0 AS has_id;
SELECT * FROM differences('t_berlin_live', $$SELECT date_trunc('day', t, 'Europe/Berlin'), count(*)::numeric FROM raw GROUP BY 1$$);
SELECT aggjobs_drop_rollup('t_berlin'), aggjobs_drop_rollup('t_month'), aggjobs_drop_rollup('t_day'), aggjobs_drop_rollup('t_hour');

-- ----------------------------------------------------------------- lookback
CREATE VIEW seen AS SELECT t, k, v FROM raw WHERE v > 20;
SELECT aggjobs_create_rollup('t_view', $$SELECT date_trunc('day', t, 'UTC') AS bucket, k, sum(v) AS total FROM seen GROUP BY 1, 2$$, NULL, lookback => 2) > 0 AS has_id;
SELECT rollup_name, tracking, exact FROM aggjobs.rollups WHERE rollup_name = 't_view';
SELECT lookback FROM aggjobs.rollup WHERE rollup_name = 't_view';
SELECT missing, extra FROM differences('t_view_live', $$SELECT date_trunc('day', t, 'UTC'), k, sum(v) FROM seen GROUP BY 1, 2$$);
CALL aggjobs_refresh('t_view');
SELECT missing, extra FROM differences('t_view_live', $$SELECT date_trunc('day', t, 'UTC'), k, sum(v) FROM seen GROUP BY 1, 2$$);
SELECT obj_description('t_view_live'::regclass, 'pg_class');
SELECT aggjobs_drop_rollup('t_view');

-- ------------------------------------------------------------- left behind
SELECT rollup_name FROM aggjobs.rollups WHERE rollup_name ~ '^[a-z]+_' AND source::text NOT LIKE 'aggjobs.%';
SELECT source FROM aggjobs.source WHERE source::text NOT LIKE 'aggjobs.%';
DROP SCHEMA define_test, define_test2 CASCADE;
