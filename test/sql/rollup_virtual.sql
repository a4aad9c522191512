-- What PostgreSQL 18 has of its own: columns that are generated when they are
-- read, and NOT NULL that holds for new rows only.
SELECT current_setting('server_version_num')::int < 180000 AS has_neither \gset
\if :has_neither
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA virtual;
SET search_path = virtual, public;
CREATE TABLE raw (id int PRIMARY KEY, at timestamptz NOT NULL, k int, v int, read_at timestamptz GENERATED ALWAYS AS (at) VIRTUAL NOT NULL,
	twice int GENERATED ALWAYS AS (v * 2) VIRTUAL);
INSERT INTO raw SELECT i, '2025-01-01 UTC'::timestamptz + i * interval '1 hour', i % 3, i FROM generate_series(0, 99) i;

-- the time column is one that can have an index
SELECT aggjobs_create_rollup('by_virtual', $$
	SELECT date_trunc('day', read_at, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1 $$, schedule => NULL);
SELECT aggjobs_create_rollup('by_virtual', $$
	SELECT date_trunc('day', read_at, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1 $$, schedule => NULL, lookback => 2) > 0 AS made;

-- as a key and a measure
CREATE VIEW truth AS SELECT date_trunc('day', at, 'UTC') AS bucket, k, twice % 4 AS rest, count(*) AS n, sum(twice) AS twice FROM raw GROUP BY 1, 2, 3;
SELECT aggjobs_create_rollup('daily', $$
	SELECT date_trunc('day', at, 'UTC') AS bucket, k, twice % 4 AS rest, count(*) AS n, sum(twice) AS twice FROM raw GROUP BY 1, 2, 3 $$, schedule => NULL) > 0 AS made;
CREATE VIEW differences AS SELECT count(*) FROM ((TABLE truth EXCEPT ALL TABLE daily_live) UNION ALL (TABLE daily_live EXCEPT ALL TABLE truth)) AS d;
CREATE VIEW stored_differences AS SELECT count(*) FROM ((TABLE truth EXCEPT ALL TABLE daily) UNION ALL (TABLE daily EXCEPT ALL TABLE truth)) AS d;
CALL aggjobs_refresh('daily');
TABLE stored_differences;

-- what it is made from is changed
UPDATE raw SET v = v + 1 WHERE id < 40;
TABLE differences;
CALL aggjobs_refresh('daily');
TABLE stored_differences;
DELETE FROM raw WHERE id < 10;
TABLE differences;
CALL aggjobs_refresh('daily');
TABLE stored_differences;

-- what it says is changed, within a transaction and after it
BEGIN;
ALTER TABLE raw ALTER COLUMN twice SET EXPRESSION AS (v * 2 + 1);
TABLE differences;
COMMIT;
TABLE differences;
CALL aggjobs_refresh('daily');
TABLE stored_differences;

-- of a partition alone, and of all
CREATE TABLE parted (at timestamptz NOT NULL, v int, twice int GENERATED ALWAYS AS (v * 2) VIRTUAL) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-01-03 00:00+00');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2025-01-03 00:00+00') TO ('2025-01-05 00:00+00');
INSERT INTO parted SELECT '2025-01-01 UTC'::timestamptz + i * interval '1 hour', i FROM generate_series(0, 90) i;
SELECT aggjobs_create_rollup('parts', $$
	SELECT date_trunc('day', at, 'UTC') AS bucket, sum(twice) AS twice FROM parted GROUP BY 1 $$, schedule => NULL) > 0 AS made;
CREATE VIEW part_differences AS
	WITH truth AS (SELECT date_trunc('day', at, 'UTC') AS bucket, sum(twice) AS twice FROM parted GROUP BY 1)
	SELECT count(*) FROM ((TABLE truth EXCEPT ALL TABLE parts_live) UNION ALL (TABLE parts_live EXCEPT ALL TABLE truth)) AS d;
CALL aggjobs_refresh('parts');
ALTER TABLE parted_1 ALTER COLUMN twice SET EXPRESSION AS (v * 3);
TABLE part_differences;
CALL aggjobs_refresh('parts');
ALTER TABLE parted ALTER COLUMN twice SET EXPRESSION AS (v * 4);
TABLE part_differences;
CALL aggjobs_refresh('parts');
TABLE part_differences;

-- rows from before may have no time
CREATE TABLE loose (at timestamptz, v int);
INSERT INTO loose VALUES ('2025-01-01 00:00+00', 1), (NULL, 2);
ALTER TABLE loose ADD CONSTRAINT has_time NOT NULL at NOT VALID;
SELECT aggjobs_create_rollup('timed', $$
	SELECT date_trunc('day', at, 'UTC') AS bucket, count(*) AS n FROM loose GROUP BY 1 $$, schedule => NULL);
DELETE FROM loose WHERE at IS NULL;
ALTER TABLE loose VALIDATE CONSTRAINT has_time;
SELECT aggjobs_create_rollup('timed', $$
	SELECT date_trunc('day', at, 'UTC') AS bucket, count(*) AS n FROM loose GROUP BY 1 $$, schedule => NULL) > 0 AS made;
CALL aggjobs_refresh('timed');
ALTER TABLE loose DROP CONSTRAINT has_time;
SELECT rollup_name, problem FROM aggjobs.rollups WHERE problem IS NOT NULL;
ALTER TABLE loose ADD CONSTRAINT has_time NOT NULL at NOT VALID;
SELECT rollup_name, problem FROM aggjobs.rollups WHERE problem IS NOT NULL;
ALTER TABLE loose VALIDATE CONSTRAINT has_time;
SELECT rollup_name, problem FROM aggjobs.rollups WHERE problem IS NOT NULL;

DROP VIEW differences, stored_differences, part_differences;
SELECT count(aggjobs_drop_rollup(rollup_name)) FROM aggjobs.rollups WHERE rollup_name IN ('by_virtual', 'daily', 'parts', 'timed');
DROP SCHEMA virtual CASCADE;
