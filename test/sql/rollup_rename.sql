-- Names change: the rollup follows, and live view and table stay right.
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA rename;
SET search_path = rename, public;
CREATE TABLE events (at timestamptz NOT NULL, kind text, place text, amount integer);
CREATE INDEX ON events (at);
INSERT INTO events
SELECT timestamptz '2024-03-01 00:00+00' + i * interval '10 minutes', 'k' || i % 3, 'p' || i % 2, i FROM generate_series(0, 299) AS i;
SELECT aggjobs_create_rollup('hourly', $$
	SELECT date_trunc('hour', e.at, 'UTC') AS bucket, e.kind, e.place, count(*) AS n, sum(e.amount) AS total
	FROM events AS e GROUP BY 1, 2, 3 $$, schedule => NULL) > 0 AS made;
SELECT aggjobs_create_rollup('daily', $$
	SELECT date_trunc('day', h.bucket, 'UTC') AS bucket, h.kind, sum(h.n) AS n, sum(h.total) AS total
	FROM hourly AS h GROUP BY 1, 2 $$, schedule => NULL) > 0 AS made;
SELECT aggjobs_create_rollup('back', $$
	SELECT date_trunc('day', e.at, 'UTC') AS bucket, count(*) AS n FROM events AS e GROUP BY 1 $$,
	schedule => NULL, lookback => 10000) > 0 AS made;
CALL aggjobs_refresh('daily');
CALL aggjobs_refresh('back');

/*
 * Late rows, updates and deletes; and how many rows of the live views are not
 * what the raw rows say.
 */
CREATE FUNCTION relation_of(what text, rollup text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE what WHEN 'live' THEN live ELSE target END::text FROM aggjobs.rollup AS r WHERE r.rollup_name = relation_of.rollup $$;
CREATE FUNCTION differences(refreshed boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	time text := (SELECT time_column FROM aggjobs.rollup WHERE rollup_name = 'back');
	n bigint;
BEGIN
	EXECUTE format('CREATE TEMP VIEW truth AS SELECT date_trunc(''day'', %I, ''UTC'') AS b, kind, count(*)::numeric AS n, sum(amount)::numeric AS total FROM %s GROUP BY 1, 2',
		time, (SELECT source FROM aggjobs.rollup WHERE rollup_name = 'back'));
	EXECUTE format('SELECT count(*) FROM ((TABLE truth EXCEPT ALL TABLE %1$s) UNION ALL (TABLE %1$s EXCEPT ALL TABLE truth)) AS d',
		relation_of('live', 'daily')) INTO n;
	-- without capture only a refresh looks back
	IF refreshed AND n = 0 THEN
		EXECUTE format('SELECT count(*) FROM ((SELECT b, sum(n) FROM truth GROUP BY 1 EXCEPT ALL TABLE %1$s) UNION ALL (TABLE %1$s EXCEPT ALL SELECT b, sum(n) FROM truth GROUP BY 1)) AS d',
			relation_of('live', 'back')) INTO n;
	END IF;
	DROP VIEW truth;
	RETURN n;
END $$;
CREATE PROCEDURE write_late() LANGUAGE plpgsql AS $$
DECLARE
	source text := (SELECT source FROM aggjobs.rollup WHERE rollup_name = 'back');
	time text := (SELECT time_column FROM aggjobs.rollup WHERE rollup_name = 'back');
BEGIN
	EXECUTE format('INSERT INTO %s VALUES (''2024-03-01 03:00+00'', ''late'', ''p0'', 1)', source);
	EXECUTE format('UPDATE %s SET amount = amount + 1 WHERE %I = ''2024-03-02 00:00+00''', source, time);
	EXECUTE format('DELETE FROM %s WHERE %I = (SELECT max(%2$I) FROM %1$s)', source, time);
END $$;
CREATE VIEW names AS
SELECT r.rollup_name, r.target, r.live, r.source, r.time_column, r.bucket_column, r.keys,
	(SELECT string_agg(m ->> 'name', ' ') FROM jsonb_array_elements(r.measures) AS m) AS measures,
	(SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = r.target AND attnum > 0) AS of_table,
	(SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = r.live AND attnum > 0) AS of_view
FROM aggjobs.rollup AS r WHERE r.rollup_name IN ('hourly', 'daily', 'back') ORDER BY r.rollup_id;
SELECT differences(true);

-- key, bucket and measure of the table
ALTER TABLE hourly RENAME COLUMN kind TO "Kind of";
ALTER TABLE hourly RENAME bucket TO hour;
ALTER TABLE hourly RENAME COLUMN n TO events;
\x on
TABLE names;
\x off
CALL write_late();
SELECT differences(false) AS live_differs;
CALL aggjobs_refresh('daily');
CALL aggjobs_refresh('back');
SELECT differences(true);
SELECT count(*) FROM aggjobs_verify('hourly');
SELECT count(*) FROM aggjobs_verify('daily');

-- columns of the live view: the table follows; two that swap names
ALTER VIEW hourly_live RENAME COLUMN hour TO "when";
ALTER TABLE daily_live RENAME COLUMN bucket TO day;
ALTER TABLE hourly RENAME COLUMN "Kind of" TO swapped;
ALTER TABLE hourly RENAME COLUMN place TO "Kind of";
ALTER TABLE hourly RENAME COLUMN swapped TO place;
-- one that is neither
ALTER TABLE events RENAME COLUMN amount TO price;
ALTER TABLE events RENAME COLUMN price TO amount;
\x on
TABLE names;
\x off
CALL write_late();
SELECT differences(false) AS live_differs;
CALL aggjobs_refresh('daily');
CALL aggjobs_refresh('back');
SELECT differences(true);
SELECT count(*) FROM aggjobs_verify('hourly');
SELECT count(*) FROM aggjobs_verify('daily');

-- the time of the source, and all names of tables, views and schemas
ALTER TABLE events RENAME COLUMN at TO moment;
ALTER TABLE events RENAME TO happenings;
ALTER TABLE hourly RENAME TO by_hour;
ALTER VIEW hourly_live RENAME TO by_hour_now;
ALTER TABLE daily RENAME TO "By Day";
ALTER VIEW daily_live RENAME TO "By Day now";
ALTER SCHEMA rename RENAME TO "Renamed";
SET search_path = "Renamed", public;
\x on
TABLE names;
\x off
CALL write_late();
SELECT differences(false) AS live_differs;
CALL aggjobs_refresh('daily');
CALL aggjobs_refresh('back');
SELECT differences(true);
SELECT count(*) FROM aggjobs_verify('hourly');
SELECT count(*) FROM aggjobs_verify('daily');
SELECT problem FROM aggjobs.rollups WHERE rollup_name IN ('hourly', 'daily');
SELECT aggjobs_retire('happenings', '2024-03-01 12:00+00') AT TIME ZONE 'UTC' AS retired;

-- undone, and refused where the other belongs to somebody else
BEGIN;
ALTER TABLE by_hour RENAME COLUMN events TO gone;
ROLLBACK;
CREATE ROLE regress_rename_owner;
GRANT CREATE, USAGE ON SCHEMA "Renamed" TO regress_rename_owner;
ALTER TABLE by_hour OWNER TO regress_rename_owner;
SET ROLE regress_rename_owner;
ALTER TABLE by_hour RENAME COLUMN events TO gone;
RESET ROLE;
ALTER VIEW by_hour_now OWNER TO regress_rename_owner;
SET ROLE regress_rename_owner;
ALTER TABLE by_hour RENAME COLUMN events TO n;
RESET ROLE;
SELECT bucket_column, keys, measures FROM names WHERE rollup_name = 'hourly';

-- a partition has the time of its parent
CREATE TABLE whole (at timestamptz NOT NULL, v integer) PARTITION BY RANGE (at);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00');
SELECT aggjobs_create_rollup('of_part', $$
	SELECT date_trunc('day', p.at, 'UTC') AS bucket, count(*) AS n FROM part AS p GROUP BY 1 $$, schedule => NULL) > 0 AS made;
ALTER TABLE whole RENAME COLUMN at TO moment;
SELECT time_column FROM aggjobs.rollup WHERE rollup_name = 'of_part';
INSERT INTO whole VALUES ('2024-05-05 00:00+00', 1);
CALL aggjobs_refresh('of_part');
INSERT INTO whole VALUES ('2024-05-05 00:00+00', 1);
CALL aggjobs_refresh('of_part');
SELECT n FROM of_part;

SELECT aggjobs_drop_rollup('of_part');
SELECT aggjobs_drop_rollup('daily');
SELECT aggjobs_drop_rollup('hourly');
SELECT aggjobs_drop_rollup('back');
RESET search_path;
DROP SCHEMA "Renamed" CASCADE;
DROP ROLE regress_rename_owner;
