--
-- What a live view reads: clean buckets come from the table, without a look at
-- their raw rows; open and dirty ones from raw rows, by the index on the time,
-- in those partitions only that can hold them
--
SET TIME ZONE 'UTC';
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
CREATE SCHEMA plans;
SET search_path = plans, public;

CREATE TABLE raw (at timestamptz NOT NULL, k int, v int) PARTITION BY RANGE (at);
CREATE TABLE raw_1 PARTITION OF raw FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE raw_2 PARTITION OF raw FOR VALUES FROM ('2025-02-01') TO ('2025-03-01');
CREATE TABLE raw_3 PARTITION OF raw FOR VALUES FROM ('2025-03-01') TO ('2025-04-01');
CREATE TABLE raw_open PARTITION OF raw FOR VALUES FROM ('2025-04-01') TO (MAXVALUE);
CREATE INDEX ON raw (at);
INSERT INTO raw SELECT '2025-01-01'::timestamptz + i * interval '1 minute', i % 5, i FROM generate_series(0, 129599) i;
INSERT INTO raw SELECT now() - i * interval '1 minute', i % 5, i FROM generate_series(0, 50000) i;
ANALYZE raw;
SELECT aggjobs_create_rollup('hours', $$
	SELECT date_trunc('hour', at, 'UTC') AS bucket, k, count(*) AS n, sum(v) AS v FROM raw GROUP BY 1, 2$$, schema => 'plans', schedule => NULL) IS NOT NULL AS made;

-- The tables that a query really read, how, and whether more than some rows of
-- them: an hour has 60, and each dirty or open one may be read twice.
CREATE FUNCTION reads(query text) RETURNS TABLE (relation text, how text, many boolean) LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) ' || query INTO plan;
	RETURN QUERY
		SELECT s ->> 'Relation Name', CASE s ->> 'Node Type' WHEN 'Seq Scan' THEN 'whole' ELSE 'by index' END,
			sum((s -> 'Actual Loops')::numeric * ((s -> 'Actual Rows')::numeric
				+ coalesce((s -> 'Rows Removed by Filter')::numeric, 0))) > 400
		FROM jsonb_path_query(plan, 'strict $.** ? (@."Relation Name" like_regex "." && @."Actual Loops" > 0)') s
		GROUP BY 1, 2 ORDER BY 1, 2;
END $$;

-- nothing has been computed: all is raw
SELECT relation, many FROM reads('SELECT count(*) FROM hours_live');
CALL aggjobs_refresh('hours');
ANALYZE hours;

-- all is clean but the open hour
SELECT * FROM reads('SELECT * FROM hours_live');
SELECT * FROM reads($$SELECT * FROM hours_live WHERE bucket >= '2025-01-10' AND bucket < '2025-01-11'$$);
SELECT * FROM reads($$SELECT * FROM hours_live WHERE bucket >= now() - interval '1 day'$$);
SELECT * FROM reads($$SELECT bucket, sum(n) FROM hours_live WHERE bucket < '2025-02-03' AND k = 1 GROUP BY 1$$);

-- an hour of a month is dirty, before it is computed again
INSERT INTO raw VALUES ('2025-02-10 10:10', 1, 1);
SELECT * FROM reads('SELECT * FROM hours_live');
SELECT * FROM reads($$SELECT * FROM hours_live WHERE bucket >= '2025-02-10' AND bucket < '2025-02-11'$$);
SELECT * FROM reads($$SELECT * FROM hours_live WHERE bucket >= '2025-03-10' AND bucket < '2025-03-11'$$);

-- and some of several months
UPDATE raw SET v = v + 1 WHERE at IN ('2025-01-05 05:05', '2025-01-06 05:05', '2025-03-05 05:05');
SELECT * FROM reads('SELECT * FROM hours_live');
CALL aggjobs_refresh('hours');
SELECT * FROM reads('SELECT * FROM hours_live');

-- a prepared statement that is planned once goes by the state of each execution
SET plan_cache_mode = force_generic_plan;
PREPARE a_day(timestamptz) AS SELECT * FROM hours_live WHERE bucket >= $1 AND bucket < $1 + interval '1 day';
SELECT * FROM reads($$EXECUTE a_day('2025-03-05')$$);
DELETE FROM raw WHERE at = '2025-03-05 06:06';
SELECT * FROM reads($$EXECUTE a_day('2025-03-05')$$);
SELECT * FROM reads($$EXECUTE a_day('2025-03-06')$$);

DROP FUNCTION reads;
SELECT aggjobs_drop_rollup('hours');
DROP SCHEMA plans CASCADE;
