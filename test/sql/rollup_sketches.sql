--
-- Sketches of the extensions hll and tdigest: an hour keeps what a day can be
-- merged from, where the count of distinct values or the percentile itself
-- would not do
--
\set VERBOSITY default
SET TIME ZONE 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
CREATE EXTENSION hll;
CREATE EXTENSION tdigest;
CREATE SCHEMA sketches;
SET search_path = sketches, public;

-- 3 days; visitors come back on other hours and days
CREATE TABLE visit (at timestamptz NOT NULL, page text, visitor text, took float8);
CREATE INDEX ON visit (at);
INSERT INTO visit
	SELECT '2025-03-01 UTC'::timestamptz + i * interval '20 seconds', 'page ' || i % 3, 'visitor ' || (i * 7919) % 2500, (i * 31) % 1000
	FROM generate_series(0, 12959) i;

-- -------------------------------------------------------------- definitions
SELECT aggjobs_create_rollup('hours', $$
	SELECT date_trunc('hour', at, 'UTC') AS bucket, page, count(*) AS visits, count(DISTINCT visitor) AS visitors,
		hll_add_agg(hll_hash_text(visitor)) AS visitor_sketch,
		percentile_cont(0.95) WITHIN GROUP (ORDER BY took) AS took_95, tdigest(took, 100) AS took_sketch
	FROM visit GROUP BY 1, 2$$, schema => 'sketches', schedule => NULL) IS NOT NULL AS made;
SELECT aggjobs_create_rollup('days', $$
	SELECT date_trunc('day', bucket, 'UTC') AS bucket, page, sum(visits) AS visits,
		hll_union_agg(visitor_sketch) AS visitor_sketch, tdigest(took_sketch) AS took_sketch
	FROM hours GROUP BY 1, 2$$, schema => 'sketches', schedule => NULL) IS NOT NULL AS made;
-- numbers may be kept beside the sketches
SELECT aggjobs_create_rollup('day_numbers', $$
	SELECT date_trunc('day', bucket, 'UTC') AS bucket, hll_cardinality(hll_union_agg(visitor_sketch)) AS visitors,
		tdigest_percentile(took_sketch, 0.95) AS took_95
	FROM hours GROUP BY 1$$, schema => 'sketches', schedule => NULL) IS NOT NULL AS made;

-- refused: what does not follow from the hours; the hint names the sketches
SELECT aggjobs_create_rollup('no_days', $$
	SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(visitors) AS visitors FROM hours GROUP BY 1$$, schema => 'sketches');
SELECT aggjobs_create_rollup('no_days', $$
	SELECT date_trunc('day', bucket, 'UTC') AS bucket, avg(took_95) AS took_95 FROM hours GROUP BY 1$$, schema => 'sketches');

-- -------------------------------------------------------------- comparison
-- hll has no order, so that sketches are compared as text
CREATE VIEW raw_hours AS
	SELECT date_trunc('hour', at, 'UTC') AS bucket, page, count(*) AS visits, count(DISTINCT visitor) AS visitors,
		hll_add_agg(hll_hash_text(visitor)) AS visitor_sketch,
		percentile_cont(0.95) WITHIN GROUP (ORDER BY took) AS took_95, tdigest(took, 100) AS took_sketch
	FROM visit GROUP BY 1, 2;
CREATE VIEW merged_days AS
	SELECT date_trunc('day', bucket, 'UTC') AS bucket, page, sum(visits) AS visits,
		hll_union_agg(visitor_sketch) AS visitor_sketch, tdigest(took_sketch) AS took_sketch
	FROM (SELECT * FROM hours_live ORDER BY bucket, page) h GROUP BY 1, 2;
CREATE VIEW day_figures AS
	SELECT bucket, page, visits, hll_cardinality(hll_union_agg(visitor_sketch)) AS visitors, tdigest_percentile(took_sketch, 0.95) AS took_95
	FROM days_live GROUP BY 1, 2, 3;
CREATE VIEW exact_days AS
	SELECT date_trunc('day', at, 'UTC') AS bucket, page, count(DISTINCT visitor) AS visitors,
		percentile_cont(0.95) WITHIN GROUP (ORDER BY took) AS took_95
	FROM visit GROUP BY 1, 2;
CREATE FUNCTION differences(a regclass, b regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM ((SELECT a::text FROM %1$s a EXCEPT ALL SELECT b::text FROM %2$s b)
		UNION ALL (SELECT b::text FROM %2$s b EXCEPT ALL SELECT a::text FROM %1$s a)) d', a, b) INTO n;
	RETURN n;
END $$;
CREATE VIEW look AS
	SELECT (SELECT sum(visits) FROM days_live) AS visits, (SELECT sum(visits) FROM days) AS stored,
		differences('hours_live', 'raw_hours') AS hours_differ, differences('days_live', 'merged_days') AS days_differ,
		(SELECT bool_and(abs(f.visitors - e.visitors) <= 0.1 * e.visitors AND abs(f.took_95 - e.took_95) <= 10)
			FROM exact_days e LEFT JOIN day_figures f USING (bucket, page)) AS days_are_near,
		(SELECT count(*) FROM aggjobs_verify('hours')) + (SELECT count(*) FROM aggjobs_verify('days')) AS drift;
-- rows of a table that were written since they were remembered
CREATE TABLE remembered (version text);
CREATE FUNCTION remember() RETURNS void LANGUAGE sql AS $$
	TRUNCATE remembered;
	INSERT INTO remembered SELECT concat_ws(' ', tableoid, ctid, xmin) FROM hours UNION ALL SELECT concat_ws(' ', tableoid, ctid, xmin) FROM days$$;
CREATE VIEW written AS
	SELECT (SELECT count(*) FROM hours WHERE concat_ws(' ', tableoid, ctid, xmin) NOT IN (TABLE remembered)) AS hours,
		(SELECT count(*) FROM days WHERE concat_ws(' ', tableoid, ctid, xmin) NOT IN (TABLE remembered)) AS days;

-- -------------------------------------------------------------- their lives
TABLE look;
CALL aggjobs_refresh('days');
TABLE look;
SELECT bucket, page, f.visits, round(f.visitors) AS about, e.visitors, round(f.took_95) AS about_95, round(e.took_95) AS took_95
FROM day_figures f JOIN exact_days e USING (bucket, page) ORDER BY 1, 2;

-- late rows: a new visitor, and one who was there in that hour
SELECT remember();
INSERT INTO visit VALUES ('2025-03-02 10:10 UTC', 'page 0', 'late visitor', 5000);
INSERT INTO visit SELECT '2025-03-02 11:11 UTC', page, visitor, took FROM visit WHERE at = '2025-03-02 11:10 UTC';
TABLE look;
CALL aggjobs_refresh('days');
TABLE look;
TABLE written;

-- rows that lie elsewhere now, and whose hours are computed again: no sketch differs
SELECT remember();
UPDATE visit SET visitor = visitor || '' WHERE at < '2025-03-01 05:00 UTC';
SELECT aggjobs_mark_changed('visit', '2025-03-01 UTC', '2025-03-01 12:00 UTC');
TABLE look;
CALL aggjobs_refresh('days');
TABLE look;
TABLE written;

-- rows of whole buckets go, and one changes
SELECT remember();
DELETE FROM visit WHERE at BETWEEN '2025-03-03 07:00 UTC' AND '2025-03-03 08:59:59 UTC' AND page = 'page 1';
UPDATE visit SET took = took + 1 WHERE at = '2025-03-01 00:00 UTC';
TABLE look;
CALL aggjobs_refresh('days');
TABLE look;
TABLE written;

-- what somebody wrote into the table is found, and repaired
UPDATE hours SET visitor_sketch = hll_empty() WHERE bucket = '2025-03-02 05:00 UTC' AND page = 'page 2';
SELECT bucket, key, difference, stored ->> 'visitor_sketch' AS stored FROM aggjobs_verify('hours');
CALL aggjobs_refresh('hours', '2025-03-02 05:00 UTC', '2025-03-02 06:00 UTC');
TABLE look;

-- visitors who came back are counted once over all days
SELECT round(hll_cardinality(hll_union_agg(visitor_sketch))) BETWEEN 2300 AND 2700 AS near_2500 FROM days_live;
CALL aggjobs_refresh('day_numbers');
SELECT bucket, round(visitors) = round(live_visitors) AS visitors, took_95 = live_took_95 AS took_95
FROM day_numbers JOIN (SELECT bucket, visitors AS live_visitors, took_95 AS live_took_95 FROM day_numbers_live) l USING (bucket) ORDER BY 1;

DROP VIEW look, written, day_figures, merged_days;
SELECT aggjobs_drop_rollup(r) FROM unnest(ARRAY['day_numbers', 'days', 'hours']) r;
DROP SCHEMA sketches CASCADE;
DROP EXTENSION hll, tdigest;
