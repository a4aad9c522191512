-- Looking after rollups: verify, repair, mark changed, retire.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA care;
SET search_path = care, public;
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, kind text, amount integer);
CREATE INDEX ON events (at);
INSERT INTO events (at, kind, amount)
SELECT timestamptz '2024-03-01 00:00+00' + i * interval '10 minutes', CASE i % 3 WHEN 0 THEN NULL ELSE 'k' || i % 3 END, i
FROM generate_series(0, 999) AS i;
SELECT aggjobs_create_rollup('care_hourly', $$
	SELECT date_trunc('hour', e.at, 'UTC') AS bucket, e.kind, count(*) AS n, sum(e.amount) AS total
	FROM events AS e GROUP BY 1, 2 $$, schedule => NULL) > 0 AS made;
SELECT aggjobs_create_rollup('care_daily', $$
	SELECT date_trunc('day', h.bucket, 'UTC') AS bucket, h.kind, sum(h.n) AS n, sum(h.total) AS total
	FROM care_hourly AS h GROUP BY 1, 2 $$, schedule => NULL) > 0 AS made;
CALL aggjobs_refresh('care_daily');
CREATE VIEW differences AS
SELECT count(*) FROM (
	(TABLE care_daily_live EXCEPT ALL SELECT date_trunc('day', at, 'UTC'), kind, count(*), sum(amount) FROM events GROUP BY 1, 2)
	UNION ALL
	(SELECT date_trunc('day', at, 'UTC'), kind, count(*), sum(amount) FROM events GROUP BY 1, 2 EXCEPT ALL TABLE care_daily_live)) AS d;
TABLE differences;

-- nothing is wrong; then somebody writes the table
SELECT * FROM aggjobs_verify('care_hourly');
SELECT count(*) FROM aggjobs_verify('care_daily');
-- a sample of so few buckets that it has all of them, the notice says which; else some
SET client_min_messages = notice;
SET timezone = 'UTC';
\set VERBOSITY default
SELECT * FROM aggjobs_verify('care_hourly', '2024-03-02 03:30+00', '2024-03-02 06:00+00', sample => 3);
SELECT * FROM aggjobs_verify('care_hourly', '2034-03-02 03:00+00', sample => 3);
\set VERBOSITY terse
SELECT * FROM aggjobs_verify('care_hourly', sample => 20);
SELECT * FROM aggjobs_verify('care_daily', '2024-03-01 00:00+00', '2024-03-08 00:00+00', sample => 1000);
SELECT * FROM aggjobs_verify('care_hourly', sample => 0);
SELECT * FROM aggjobs_verify('care_hourly', sample => 1001);
SET client_min_messages = warning;
RESET timezone;
UPDATE care_hourly SET n = n + 1 WHERE bucket = '2024-03-02 05:00+00' AND kind = 'k1';
DELETE FROM care_hourly WHERE bucket = '2024-03-03 06:00+00' AND kind IS NULL;
INSERT INTO care_hourly VALUES ('2024-03-04 07:00+00', 'nobody', 1, 1);
SELECT bucket::timestamptz AT TIME ZONE 'UTC' AS bucket, key, difference, stored -> 'n' AS stored, computed -> 'n' AS computed
FROM aggjobs_verify('care_hourly');
SELECT count(*) FROM aggjobs_verify('care_hourly', '2024-03-03 00:00+00', '2024-03-04 00:00+00');
SELECT bucket::timestamptz AT TIME ZONE 'UTC' AS bucket, difference
FROM aggjobs_verify('care_hourly', '2024-03-02 00:00+00', '2024-03-05 00:00+00', sample => 1000);
SELECT aggjobs_repair('care_hourly', '2024-03-03 00:00+00', '2024-03-04 00:00+00') AS repair \gset
SELECT aggjobs_wait_backfill(:repair, '60 s');
SELECT sum(rows_written + rows_deleted) AS rows FROM aggjobs.chunks WHERE backfill_id = :repair;
SELECT count(*) FROM aggjobs_verify('care_hourly');
SELECT aggjobs_repair('care_hourly') AS repair \gset
SELECT aggjobs_wait_backfill(:repair, '60 s');
SELECT sum(rows_written + rows_deleted) AS rows FROM aggjobs.chunks WHERE backfill_id = :repair;
SELECT count(*) FROM aggjobs_verify('care_hourly');
CALL aggjobs_refresh('care_daily');
SELECT count(*) FROM aggjobs_verify('care_daily');
TABLE differences;

-- arguments
SELECT * FROM aggjobs_verify('no such rollup');
SELECT * FROM aggjobs_verify(NULL);
SELECT aggjobs_repair('care_hourly', '2024-03-04', '2024-03-03');
SELECT aggjobs_repair('no such rollup');
SELECT aggjobs_repair('hourly');
SELECT aggjobs_repair('care_hourly', workers => 0);
SELECT aggjobs_repair('care_hourly', '2124-03-04');
SELECT aggjobs_mark_changed('care_hourly', '2024-03-04', '2024-03-04');
SELECT aggjobs_mark_changed('pg_class');
SELECT aggjobs_retire('pg_class', now());

-- a range counts as changed, and is computed by the view until the refresh
SELECT aggjobs_mark_changed('events', '2024-03-02 00:00+00', '2024-03-02 02:30+00');
SELECT stale_ranges > 0 AS stale FROM aggjobs.rollups WHERE rollup_name = 'care_hourly';
SELECT count(*) FROM aggjobs.dirty_buckets('care_hourly', NULL::timestamptz) d
WHERE d.from_time < aggjobs.open_from('care_hourly', NULL::timestamptz);
TABLE differences;
CALL aggjobs_refresh('care_hourly');
SELECT count(*) FROM aggjobs.dirty_buckets('care_hourly', NULL::timestamptz) d
WHERE d.from_time < aggjobs.open_from('care_hourly', NULL::timestamptz);

-- rows of the present and of the future: open buckets up to the present one by one, the rest in one go
INSERT INTO events (at, kind, amount) VALUES (now(), 'k1', 1), (now() + interval '100 hours', 'k1', 2), ('infinity', NULL, 3);
SELECT aggjobs.open_beyond('care_hourly', NULL::timestamptz) > aggjobs.open_from('care_hourly', NULL::timestamptz) AS one_by_one;
TABLE differences;
DELETE FROM events WHERE at >= '2025-01-01';

-- a measure made of the bucket, and keys made of the time
SELECT aggjobs_create_rollup('care_forms', $$
	SELECT date_trunc('hour', e.at, 'UTC') AS bucket, extract(minute FROM e.at AT TIME ZONE 'UTC')::int / 30 AS half,
		date_trunc('hour', e.at, 'UTC') AT TIME ZONE 'UTC' AS utc, count(*) AS n, max(e.at) AS latest
	FROM events AS e GROUP BY date_trunc('hour', e.at, 'UTC'), half $$, schedule => NULL) > 0 AS made;
CREATE VIEW care_forms_raw AS
SELECT date_trunc('hour', at, 'UTC') AS bucket, extract(minute FROM at AT TIME ZONE 'UTC')::int / 30 AS half, date_trunc('hour', at, 'UTC') AT TIME ZONE 'UTC' AS utc,
	count(*), max(at) FROM events GROUP BY 1, 2;
CALL aggjobs_refresh('care_forms');
INSERT INTO events (at, kind, amount) VALUES ('2024-03-02 05:05+00', 'k2', 100007), (now(), 'k2', 8);
SELECT count(*) FROM ((TABLE care_forms_live EXCEPT ALL TABLE care_forms_raw)
	UNION ALL (TABLE care_forms_raw EXCEPT ALL TABLE care_forms_live)) AS d;
CALL aggjobs_refresh('care_forms');
SELECT count(*) FROM (TABLE care_forms EXCEPT ALL TABLE care_forms_raw) AS d;
DELETE FROM events WHERE at >= '2025-01-01' OR amount = 100007;
DROP VIEW care_forms_raw;
SELECT aggjobs_drop_rollup('care_forms');
CALL aggjobs_refresh('care_daily');

-- nothing to do writes nothing
SELECT pg_current_wal_insert_lsn() AS before \gset
CALL aggjobs_refresh('care_daily');
SELECT pg_current_wal_insert_lsn() = :'before' AS nothing_written;

-- rows go, what was computed from them stays
SELECT count(*), sum(n) FROM care_daily_live \gset kept_
SELECT aggjobs_retire('events', '2024-03-03 11:30+00') AT TIME ZONE 'UTC' AS retired;
SELECT min(at) AT TIME ZONE 'UTC' AS first FROM events;
SELECT count(*) = :kept_count AS same_rows, sum(n) = :kept_sum AS same_sum FROM care_daily_live;
SELECT frozen_before AT TIME ZONE 'UTC' AS frozen_before, late_rows FROM aggjobs.rollups WHERE rollup_name = 'care_hourly';
INSERT INTO events (at, kind, amount) VALUES ('2024-03-01 10:00+00', 'too late', 1), ('2024-03-03 12:00+00', 'late', 1);
CALL aggjobs_refresh('care_daily');
SELECT late_rows FROM aggjobs.rollups WHERE rollup_name = 'care_hourly';
SELECT kind, n FROM care_daily_live WHERE kind LIKE '%late';

-- a delete by hand is followed
DELETE FROM events WHERE at >= '2024-03-06 00:00+00' AND at < '2024-03-07 00:00+00';
SELECT count(*) FROM care_daily_live WHERE bucket = '2024-03-06 00:00+00';
CALL aggjobs_refresh('care_daily');
SELECT count(*) FROM care_daily WHERE bucket = '2024-03-06 00:00+00';
SELECT count(*) FROM aggjobs_verify('care_hourly');

-- partitions that are old enough are dropped as a whole
CREATE TABLE parts (at timestamptz NOT NULL, v integer) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-02-01 00:00+00');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2024-02-01 00:00+00') TO ('2024-03-01 00:00+00');
INSERT INTO parts SELECT timestamptz '2024-01-01 00:00+00' + i * interval '6 hours', i FROM generate_series(0, 200) AS i;
SELECT aggjobs_create_rollup('care_parts', $$
	SELECT date_trunc('day', p.at, 'UTC') AS bucket, count(*) AS n FROM parts AS p GROUP BY 1 $$, schedule => NULL) > 0 AS made;
CALL aggjobs_refresh('care_parts');
SELECT aggjobs_retire('parts', '2024-02-10 00:00+00') AT TIME ZONE 'UTC' AS retired;
SELECT to_regclass('parts_1') IS NULL AS dropped, count(*) FROM parts;
SELECT count(*), sum(n) FROM care_parts_live;
CALL aggjobs_refresh('care_parts');
SELECT count(*), sum(n) FROM care_parts_live;
-- dropping one by hand is followed
DROP TABLE parts_2;
SELECT count(*), sum(n) FROM care_parts_live;
CALL aggjobs_refresh('care_parts');
SELECT count(*), sum(n) FROM care_parts;

SELECT aggjobs_drop_rollup('care_daily');
DROP VIEW differences;
SELECT aggjobs_drop_rollup('care_hourly');
SELECT aggjobs_drop_rollup('care_daily');
SELECT aggjobs_drop_rollup('care_hourly');
SELECT aggjobs_drop_rollup('care_parts');
DROP SCHEMA care CASCADE;
