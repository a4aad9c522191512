--
-- Queries that can't be kept as rollups: each reason, with its SQLSTATE, the
-- place in the query, why, and what to write instead
--
\pset footer off
\pset null ~
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_refuse_other;
SELECT aggjobs_grant('regress_refuse_other');
CREATE SCHEMA refuse_test;
SET search_path = refuse_test, public;
SET timezone = 'UTC';
SET intervalstyle = 'postgres';

CREATE TABLE raw (id bigint, t timestamptz NOT NULL, maybe timestamptz, ts timestamp NOT NULL, day date NOT NULL,
	n bigint NOT NULL, small integer NOT NULL, k text, c text COLLATE "C", d text COLLATE "POSIX", v numeric, j jsonb);
CREATE TABLE dim (id bigint PRIMARY KEY, name text, since timestamptz NOT NULL);

-- A rollup to be made; none is, below.
CREATE FUNCTION make(query text, lookback integer DEFAULT NULL, epoch text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS
	$$SELECT aggjobs_create_rollup('t_refused', query, NULL, lookback => lookback, epoch => epoch)$$;

-- ------------------------------------------------------ what the text shows
-- NOT_ONE_QUERY: none, or two
SELECT make('');
\echo :LAST_ERROR_SQLSTATE
SELECT make('SELECT 1 AS a FROM raw; SELECT 2');
\echo :LAST_ERROR_SQLSTATE
-- NOT_SELECT
SELECT make('  DELETE FROM raw');
\echo :LAST_ERROR_SQLSTATE
-- what is no SQL at all, or names what is not there, gets the server's error in its place
SELECT make('SELECT date_trunc(''hour'', t) FORM raw');
\echo :LAST_ERROR_SQLSTATE
SELECT make('SELECT date_trunc(''hour'', t) AS bucket FROM missing GROUP BY 1');
\echo :LAST_ERROR_SQLSTATE
SELECT make('SELECT date_trunc(''hour'', t) AS bucket, count(nothing) AS n FROM raw GROUP BY 1');
\echo :LAST_ERROR_SQLSTATE
-- a position counts characters, not bytes
SELECT make('SELECT date_trunc(''hour'', t) AS "bücket", ''ÄÖÜ''::text AS k, count(nothing) AS n FROM raw GROUP BY 1');
SELECT make('SELECT date_trunc(''hour'', t) AS "bücket", ''ÄÖÜ''::text AS k, random() AS n FROM raw GROUP BY 1');
-- WITH
SELECT make($$WITH w AS (TABLE raw) SELECT date_trunc('hour', t) AS bucket FROM w GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- SET_OPERATION
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 UNION ALL SELECT t FROM raw$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 EXCEPT SELECT t FROM raw$$);
-- VALUES
SELECT make($$VALUES (now(), 1)$$);
\echo :LAST_ERROR_SQLSTATE
-- INTO
SELECT make($$SELECT date_trunc('hour', t) AS bucket INTO other FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- LOCKING
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 FOR UPDATE$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 FOR KEY SHARE OF raw$$);
-- ORDER_BY
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 ORDER BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- LIMIT
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 LIMIT 10$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 OFFSET 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 FETCH FIRST 3 ROWS ONLY$$);
-- DISTINCT
SELECT make($$SELECT DISTINCT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- WINDOW
SELECT make($$SELECT date_trunc('hour', t) AS bucket, count(*) AS n, sum(count(*)) OVER () AS all_n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 WINDOW w AS (PARTITION BY k)$$);
-- HAVING
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw GROUP BY 1 HAVING count(*) > 1$$);
\echo :LAST_ERROR_SQLSTATE
-- GROUPING_SETS
SELECT make($$SELECT date_trunc('hour', t) AS bucket, k FROM raw GROUP BY ROLLUP (1, 2)$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket, k FROM raw GROUP BY 1, GROUPING SETS ((k), ())$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket, k FROM raw GROUP BY 1, CUBE (k)$$);
-- NO_GROUP_BY
SELECT make($$SELECT count(*) AS n FROM raw$$);
\echo :LAST_ERROR_SQLSTATE
-- NO_FROM
SELECT make($$SELECT date_trunc('hour', timestamp '2026-01-01') AS bucket GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- PARAMETER
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw WHERE k = $1 GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- SUBQUERY: in expressions and in FROM
SELECT make($$SELECT date_trunc('hour', t) AS bucket, (SELECT count(*) FROM dim) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw WHERE id IN (SELECT id FROM dim) GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw WHERE EXISTS (SELECT FROM dim) GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket, sum(cardinality(ARRAY(SELECT id FROM dim))) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM (SELECT * FROM raw) AS x GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw JOIN LATERAL (SELECT raw.k) AS x ON true GROUP BY 1$$);
-- NOT_A_TABLE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw, generate_series(1, 3) AS g GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw JOIN (VALUES (1)) AS x (id) USING (id) GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw, XMLTABLE('/a' PASSING ('<a/>'::xml) COLUMNS a text) GROUP BY 1$$);
-- TABLESAMPLE
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw TABLESAMPLE system (10) GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- JOIN_ALIAS
SELECT make($$SELECT date_trunc('hour', x.t) AS bucket FROM (raw JOIN dim USING (id)) AS x GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- CURRENT_TIME
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw WHERE t < CURRENT_TIMESTAMP GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t) AS bucket, sum(v) FILTER (WHERE t < now()) AS v FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket FROM raw WHERE maybe > now() - interval '1 day' GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket, current_user AS k FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t) AS bucket, max(clock_timestamp() - t) AS lag FROM raw GROUP BY 1$$);

-- --------------------------------------------------------------- the bucket
-- NO_BUCKET
SELECT make($$SELECT k, count(*) AS n FROM raw GROUP BY k$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT t, count(*) AS n FROM raw GROUP BY t$$);
SELECT make($$SELECT extract(hour FROM date_trunc('hour', ts)) AS hour, count(*) AS n FROM raw GROUP BY 1$$);
-- TWO_BUCKETS
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS hour, date_trunc('day', t, 'UTC') AS day, count(*) AS n FROM raw GROUP BY 1, 2$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS hour, date_trunc('month', since, 'UTC') AS cohort FROM raw JOIN dim USING (id) GROUP BY 1, 2$$);
-- BUCKET_CAST
SELECT make($$SELECT t::date AS day, count(*) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT (t AT TIME ZONE 'Europe/Berlin')::date AS day, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('day', t AT TIME ZONE 'Europe/Berlin') AS day, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('day', t, 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS day, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('day', t::timestamp) AS day, count(*) AS n FROM raw GROUP BY 1$$);
-- BUCKET_DATE
SELECT make($$SELECT date_trunc('month', day) AS month, count(*) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_bin('7 days', day, timestamp '2026-01-05') AS week, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_bin('7 days', day, date '2026-01-05') AS week, count(*) AS n FROM raw GROUP BY 1$$);
-- BUCKET_CONVERTED
SELECT make($$SELECT date_trunc('day', ts, 'Europe/Berlin') AS day, count(*) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- BUCKET_EXPRESSION
SELECT make($$SELECT date_trunc('hour', t + '30 min'::interval, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT aggjobs_bucket(60, small) AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', greatest(t, maybe), 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', timestamp '2026-01-01') AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
-- BUCKET_NOT_CONSTANT
SELECT make($$SELECT date_trunc(k, t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1, k$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, k) AS bucket, count(*) AS n FROM raw GROUP BY 1, k$$);
SELECT make($$SELECT date_bin('1 hour', t, now()) AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_bin('1 hour', t, maybe) AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT aggjobs_bucket(NULL::interval, t) AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, NULL) AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
-- BUCKET_UNIT
SELECT make($$SELECT date_trunc('fortnight', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- widths and zones that buckets can't have
SELECT make($$SELECT aggjobs_bucket('0 hours', t) AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_bin('1 month', t, '2000-01-01') AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT aggjobs_bucket('1 hour', t, 'Nowhere/Land') AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT aggjobs_bucket(0, n) AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
-- an epoch for what is no number, and one that there isn't
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, epoch => 'second');
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT aggjobs_bucket(60, n) AS bucket, count(*) AS c FROM raw GROUP BY 1$$, epoch => 'fortnight');
\echo :LAST_ERROR_SQLSTATE

-- -------------------------------------------------------------- expressions
-- SET_RETURNING
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, unnest(ARRAY[1, 2]) AS i FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, jsonb_object_keys(j) AS k FROM raw GROUP BY 1, 2$$);
-- VOLATILE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, sum(v * random()) AS v FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw WHERE random() < 0.1 GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw JOIN dim ON raw.id = dim.id AND random() < 0.1 GROUP BY 1$$);
-- STABLE: functions, casts, operators, and what writes times as text
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, to_char(t, 'HH24') AS hour FROM raw GROUP BY 1, 2$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, max(t::text) AS last FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, t::date AS day FROM raw GROUP BY 1, 2$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) FILTER (WHERE t < ts) AS n FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw WHERE maybe > t - interval '1 day' GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw WHERE k::timestamptz > t GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, jsonb_agg(maybe ORDER BY t) AS all_of_them FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, concat(k, ' at ', maybe) AS what FROM raw GROUP BY 1, 2$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) FILTER (WHERE maybe = ANY (ARRAY['2026-01-01'::date])) AS n FROM raw GROUP BY 1$$);
-- ORDER_DEPENDENT: each of them
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, array_agg(k) AS x FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, string_agg(k, ',') AS x FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, json_agg(k) AS x FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, jsonb_agg(k) AS x FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, json_object_agg(k, v) AS x FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, jsonb_object_agg(k, v) AS x FROM raw GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, xmlagg(xmlelement(name a, k)) AS x FROM raw GROUP BY 1$$);
-- SYSTEM_COLUMN
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, max(raw.ctid) AS last FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, raw.tableoid::text AS part FROM raw GROUP BY 1, 2$$);

-- HIDDEN_OPERATOR: an operator of the same name as the server's, for a type that is taken for text without it
CREATE TYPE word;
CREATE FUNCTION word_in(cstring) RETURNS word LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION word_out(word) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE word (INPUT = word_in, OUTPUT = word_out, LIKE = text, CATEGORY = 'S');
CREATE CAST (word AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION same_word(word, word) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT lower($1::text) = lower($2::text)';
CREATE OPERATOR = (LEFTARG = word, RIGHTARG = word, FUNCTION = same_word, COMMUTATOR = =);
CREATE TABLE words (t timestamptz NOT NULL, w word);
CREATE TABLE word_dim (w word);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) FILTER (WHERE w IS DISTINCT FROM 'a') AS n FROM words GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(nullif(w, 'a')) AS n FROM words GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(CASE w WHEN 'a' THEN 1 END) AS n FROM words GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM words JOIN word_dim USING (w) GROUP BY 1$$);
-- ... which, if named, is kept
SELECT aggjobs_create_rollup('t_words', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) FILTER (WHERE w = 'a') AS n, count(CASE WHEN w = 'b' THEN 1 END) AS b FROM words GROUP BY 1$$, NULL) > 0 AS has_id;
INSERT INTO words VALUES ('2025-01-01', 'A'), ('2025-01-01', 'b'), ('2025-01-01', 'a');
CALL aggjobs_refresh('t_words');
SELECT n, b FROM t_words;
SELECT aggjobs_drop_rollup('t_words');

-- ---------------------------------------------------- columns of the result
-- NOT_SELECTED: the bucket, and a key
SELECT make($$SELECT k, count(*) AS n FROM raw GROUP BY k, date_trunc('hour', t, 'UTC')$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1, k$$);
SELECT make($$SELECT k, count(*) AS n FROM raw GROUP BY k, date_trunc('hour', t)$$);
-- UNNAMED
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) + 1 FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- DUPLICATE_NAME
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, sum(v), sum(n) FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- SYSTEM_NAME
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS xmin FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- PSEUDO_TYPE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, ROW(count(*), sum(v)) AS pair FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- where collations conflict, the server objects
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, c || d AS cd FROM raw GROUP BY 1, 2$$);
\echo :LAST_ERROR_SQLSTATE
-- KEY_TYPE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, k::xid AS x FROM raw GROUP BY 1, 2$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, ARRAY[k::xid] AS x FROM raw GROUP BY 1, 2$$);
-- TOO_MANY_KEYS
SELECT make(format($$SELECT date_trunc('hour', t, 'UTC') AS bucket, %s FROM raw GROUP BY 1, %s$$,
	string_agg('small + ' || i || ' AS k' || i, ', ' ORDER BY i), string_agg((i + 1)::text, ', ' ORDER BY i))) FROM generate_series(1, 32) AS i;
\echo :LAST_ERROR_SQLSTATE

-- ------------------------------------------------------------------- tables
CREATE SCHEMA refuse_test2;
CREATE TABLE refuse_test2.raw (id bigint);
CREATE TEMP TABLE passing (t timestamptz NOT NULL, id bigint);
CREATE VIEW some_view AS TABLE raw;
CREATE MATERIALIZED VIEW some_matview AS TABLE raw;
CREATE UNLOGGED TABLE some_unlogged (t timestamptz NOT NULL);
CREATE TABLE parent (t timestamptz NOT NULL, secret text);
CREATE TABLE child () INHERITS (parent);
CREATE TABLE strict (t timestamptz NOT NULL);
ALTER TABLE strict ENABLE ROW LEVEL SECURITY;
ALTER TABLE strict FORCE ROW LEVEL SECURITY;
CREATE FOREIGN DATA WRAPPER regress_refuse_wrapper;
CREATE SERVER regress_refuse_server FOREIGN DATA WRAPPER regress_refuse_wrapper;
CREATE FOREIGN TABLE far_away (t timestamptz NOT NULL) SERVER regress_refuse_server;
CREATE TABLE parts (t timestamptz NOT NULL) PARTITION BY RANGE (t);
CREATE FOREIGN TABLE parts_far PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') SERVER regress_refuse_server;
CREATE TABLE parts2 (t timestamptz NOT NULL) PARTITION BY RANGE (t);
CREATE UNLOGGED TABLE parts2_fast PARTITION OF parts2 DEFAULT;

-- SAME_NAME
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw, refuse_test2.raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- SOURCE_TWICE
SELECT make($$SELECT date_trunc('hour', a.t, 'UTC') AS bucket, count(*) AS n FROM raw a JOIN raw b ON a.id = b.id + 1 GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- NULLABLE_SIDE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM dim LEFT JOIN raw USING (id) GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw RIGHT JOIN dim USING (id) GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw FULL JOIN dim USING (id) GROUP BY 1$$);
-- TIME_NULLABLE
SELECT make($$SELECT date_trunc('hour', maybe, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- TIME_VIRTUAL: see rollup_virtual
-- TEMPORARY: as the source, and as another table
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM passing GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', raw.t, 'UTC') AS bucket, count(*) AS n FROM raw JOIN passing USING (id) GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM passing GROUP BY 1$$, lookback => 3);
-- SYSTEM_TABLE
SELECT make($$SELECT date_trunc('hour', rolvaliduntil, 'UTC') AS bucket, count(*) AS n FROM pg_authid GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', rolvaliduntil, 'UTC') AS bucket, count(*) AS n FROM pg_authid GROUP BY 1$$, lookback => 3);
-- BOOKKEEPING
SELECT make($$SELECT date_trunc('hour', queued_at, 'UTC') AS bucket, count(*) AS n FROM aggjobs.run GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- NEEDS_LOOKBACK
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM some_view GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM some_matview GROUP BY 1$$);
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM far_away GROUP BY 1$$);
-- UNLOGGED
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM some_unlogged GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- ONLY
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM ONLY raw GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- INHERITANCE: on top, and below
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parent GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM child GROUP BY 1$$);
-- FOREIGN_PARTITION: foreign, and unlogged
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parts GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parts2 GROUP BY 1$$);
-- OVERLAPPING_SOURCE: a partition of a source, and the parent of one
CREATE TABLE parts3 (t timestamptz NOT NULL) PARTITION BY RANGE (t);
CREATE TABLE parts3_1 PARTITION OF parts3 DEFAULT;
SELECT aggjobs_create_rollup('t_part', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parts3_1 GROUP BY 1$$, NULL) > 0 AS has_id;
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parts3 GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_drop_rollup('t_part');
SELECT aggjobs_create_rollup('t_part', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parts3 GROUP BY 1$$, NULL) > 0 AS has_id;
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parts3_1 GROUP BY 1$$);
SELECT aggjobs_drop_rollup('t_part');
-- ROW_SECURITY
SELECT make($$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM strict GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- NOT_OWNER: whoever reads a table may keep a rollup of it by looking back, if he reads all that the query does
CREATE SCHEMA refuse_test3 AUTHORIZATION regress_refuse_other;
GRANT USAGE ON SCHEMA refuse_test TO regress_refuse_other;
GRANT SELECT ON raw TO regress_refuse_other;
GRANT SELECT (t) ON parent TO regress_refuse_other;
SET ROLE regress_refuse_other;
SET search_path = refuse_test3, refuse_test, public;
SELECT aggjobs_create_rollup('t_refused', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$$, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('t_refused', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(name) AS n FROM raw JOIN dim USING (id) GROUP BY 1$$, NULL, lookback => 3);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('t_refused', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(parent) AS n FROM parent GROUP BY 1$$, NULL, lookback => 3);
SELECT aggjobs_create_rollup('t_lookback', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parent GROUP BY 1$$, NULL, lookback => 3) > 0 AS has_id;
-- nor does a right to make rollups help where tables can't be made
SELECT aggjobs_create_rollup('t_refused', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM parent GROUP BY 1$$, NULL, 'refuse_test', lookback => 3);
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SET search_path = refuse_test, public;

-- ------------------------------------------------------ a rollup over another
SELECT aggjobs_create_rollup('t_hour', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, k, count(*) AS n, sum(v) AS total, min(v) AS least,
	max(v) AS most, avg(v) AS mean, count(DISTINCT id) AS people, percentile_cont(0.95) WITHIN GROUP (ORDER BY n) AS p95,
	sum(v) / count(*) AS ratio, max(maybe) AS last FROM raw GROUP BY 1, 2$$, NULL) > 0 AS has_id;
-- LIVE_VIEW
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(n) AS n FROM t_hour_live GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
-- PARENT_TIME
ALTER TABLE t_hour ALTER last SET NOT NULL;
SELECT make($$SELECT date_trunc('day', last, 'UTC') AS bucket, sum(n) AS n FROM t_hour GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE t_hour ALTER last DROP NOT NULL;
-- PARENT_BUCKET: pieces of the child's, beside them, and across in some years only
SELECT make($$SELECT date_trunc('minute', bucket, 'UTC') AS bucket, sum(n) AS n FROM t_hour GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('day', bucket, 'Asia/Kolkata') AS bucket, sum(n) AS n FROM t_hour GROUP BY 1$$);
SELECT make($$SELECT date_bin('90 minutes', bucket, '2000-01-01') AS bucket, sum(n) AS n FROM t_hour GROUP BY 1$$);
SELECT make($$SELECT aggjobs_bucket('1 day', bucket, 'UTC', '2026-01-01 00:30:00+00') AS bucket, sum(n) AS n FROM t_hour GROUP BY 1$$);
SELECT make($$SELECT date_trunc('day', bucket, 'Africa/Monrovia') AS bucket, sum(n) AS n FROM t_hour GROUP BY 1$$);
-- NOT_DERIVABLE
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, avg(mean) AS mean FROM t_hour GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(people) AS people FROM t_hour GROUP BY 1$$);
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, max(p95) AS p95 FROM t_hour GROUP BY 1$$);
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, round(avg(ratio), 2) AS ratio FROM t_hour GROUP BY 1$$);
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, percentile_disc(0.5) WITHIN GROUP (ORDER BY mean) AS median FROM t_hour GROUP BY 1$$);
-- AVERAGE_OF_SUMS
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, avg(total) AS mean FROM t_hour GROUP BY 1$$);
\echo :LAST_ERROR_SQLSTATE
SELECT make($$SELECT date_trunc('day', bucket, 'UTC') AS bucket, avg(n::numeric) AS mean FROM t_hour GROUP BY 1$$);

-- --------------------------------------------------------- names and numbers
\set q '$$SELECT date_trunc(\'hour\', t, \'UTC\') AS bucket, count(*) AS n FROM raw GROUP BY 1$$'
SELECT aggjobs_create_rollup(NULL, :q, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('t_refused', NULL, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('', :q, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup(E'two\nlines', :q, NULL);
SELECT aggjobs_create_rollup(repeat('x', 59), :q, NULL);
SELECT aggjobs_create_rollup('refuse_test.t_refused', :q, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('t_hour', :q, NULL);
\echo :LAST_ERROR_SQLSTATE
-- the name of the table or of the live view may be taken
SELECT aggjobs_create_rollup('dim', :q, NULL);
\echo :LAST_ERROR_SQLSTATE
CREATE VIEW t_refused_live AS SELECT 1 AS one;
SELECT aggjobs_create_rollup('t_refused', :q, NULL);
\echo :LAST_ERROR_SQLSTATE
DROP VIEW t_refused_live;
SELECT aggjobs_create_rollup('t_refused', :q, NULL, 'no_such_schema');
\echo :LAST_ERROR_SQLSTATE
SELECT nspname AS temp FROM pg_namespace WHERE oid = pg_my_temp_schema() \gset
\set VERBOSITY terse
SELECT aggjobs_create_rollup('t_refused', :q, NULL, :'temp');
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('t_refused', :q, NULL, lookback => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('t_refused', :q, NULL, lookback => -1);
SELECT aggjobs_create_rollup('t_refused', :q, 'every now and then');
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_create_rollup('t_refused', :q, time_zone => 'Nowhere/Land');
\echo :LAST_ERROR_SQLSTATE
-- one time column for all rollups of a table
SELECT aggjobs_create_rollup('t_refused', $$SELECT date_trunc('hour', ts) AS bucket, count(*) AS n FROM raw GROUP BY 1$$, NULL);
\echo :LAST_ERROR_SQLSTATE
-- a job of that name stands in the way, and all is undone
SELECT aggjobs_schedule('t_refused', NULL, 'SELECT 1') > 0 AS has_id;
SELECT aggjobs_create_rollup('t_refused', :q);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_drop_job('t_refused');

-- --------------------------------------------------------------------- drop
SELECT aggjobs_drop_rollup(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT aggjobs_drop_rollup('t_nothing');
\echo :LAST_ERROR_SQLSTATE
SET ROLE regress_refuse_other;
SELECT aggjobs_drop_rollup('t_hour');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT aggjobs_create_rollup('t_day', $$SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(n) AS n FROM t_hour GROUP BY 1$$, NULL) > 0 AS has_id;
SELECT aggjobs_drop_rollup('t_hour');
\echo :LAST_ERROR_SQLSTATE
CREATE VIEW report AS SELECT * FROM t_day_live;
SELECT aggjobs_drop_rollup('t_day');
\echo :LAST_ERROR_SQLSTATE
DROP VIEW report;
SELECT aggjobs_drop_rollup('t_day'), aggjobs_drop_rollup('t_hour'), aggjobs_drop_rollup('t_lookback');

-- no reason of src/rollup/refuse.h is missing above
\set missing `cd "$PG_ABS_SRCDIR" && sed -n 's/^\tAJ_REFUSE_\([A-Z_]*\),*$/\1/p' ../src/rollup/refuse.h | while read -r r; do grep -q "^-- $r" sql/rollup_refuse.sql || echo "$r"; done`
\echo missing: :missing
-- of all that was refused, nothing is left
SELECT rollup_name FROM aggjobs.rollups WHERE rollup_name LIKE 't!_%' ESCAPE '!';
SELECT relname FROM pg_class WHERE relname LIKE 't!_refused%' ESCAPE '!';
SELECT job_name FROM aggjobs.jobs WHERE job_name LIKE 't!_%' ESCAPE '!';

SET client_min_messages = warning;
DROP SCHEMA refuse_test, refuse_test2, refuse_test3 CASCADE;
DROP FOREIGN DATA WRAPPER regress_refuse_wrapper CASCADE;
SELECT aggjobs_revoke('regress_refuse_other');
DROP ROLE regress_refuse_other;
