-- Which columns count: a rollup that comes, or gets another query, may add to
-- what updates are noted for, and never takes away what others read.
\set VERBOSITY terse
\pset footer off
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA columns;
SET search_path = columns, public;

-- Room in the pages: an update is HOT, and only the trigger hears of it.
CREATE TABLE raw (at timestamptz NOT NULL, kind text, amount integer, other integer) WITH (fillfactor = 20);
INSERT INTO raw SELECT timestamptz '2024-01-01 00:30+00' + i * interval '1 hour', 'a', i, 0 FROM generate_series(0, 5) AS i;
SELECT aggjobs_create_rollup('by_kind',
	$$SELECT date_trunc('hour', at, 'UTC') AS bucket, kind, count(*) AS n FROM raw GROUP BY 1, 2$$, schedule => NULL) > 0 AS made;
CREATE FUNCTION compared(source regclass) RETURNS text LANGUAGE sql AS $$
	SELECT substring(pg_get_triggerdef(oid) FROM 'regclass, (.*)\)\) EXECUTE') FROM pg_trigger
	WHERE tgrelid = source AND tgname = 'aggjobs_capture_update'
$$;
CREATE VIEW wrong AS SELECT count(*) AS wrong FROM (
	(TABLE by_kind_live EXCEPT ALL SELECT date_trunc('hour', at, 'UTC'), kind, count(*) FROM raw GROUP BY 1, 2)
	UNION ALL
	(SELECT date_trunc('hour', at, 'UTC'), kind, count(*) FROM raw GROUP BY 1, 2 EXCEPT ALL TABLE by_kind_live)) AS d;

-- one more is compared
SELECT aggjobs_create_rollup('by_other',
	$$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(other) AS other FROM raw GROUP BY 1$$, schedule => NULL) > 0 AS made;
SELECT compared('raw');
SELECT aggjobs_drop_rollup('by_other');
CALL aggjobs_refresh('by_kind');
UPDATE raw SET kind = 'b' WHERE amount = 0;
TABLE wrong;

-- Capture that was broken and put right counts all updates: it still does
-- when a rollup comes that reads other columns.
ALTER TABLE raw DISABLE TRIGGER aggjobs_capture_update;
CALL aggjobs_refresh('by_kind');
SELECT compared('raw');
SELECT aggjobs_create_rollup('by_amount',
	$$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(amount) AS amount FROM raw GROUP BY 1$$, schedule => NULL) > 0 AS made;
SELECT compared('raw');
CALL aggjobs_refresh('by_amount');
UPDATE raw SET kind = 'c' WHERE amount = 1;
SELECT count(*) FROM aggjobs.change WHERE source = 'raw'::regclass;
TABLE wrong;
CALL aggjobs_refresh('by_kind');
TABLE wrong;

-- What a trigger compared is lost with it, and so all updates count again.
SELECT aggjobs_drop_rollup('by_amount');
DROP TRIGGER aggjobs_capture_update ON raw CASCADE;
SELECT aggjobs_create_rollup('by_amount',
	$$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(amount) AS amount FROM raw GROUP BY 1$$, schedule => NULL) > 0 AS made;
SELECT compared('raw'), (SELECT count(*) FROM pg_constraint WHERE conrelid = 'by_kind'::regclass AND contype = 'u') AS keys;
CALL aggjobs_refresh('by_kind');
CALL aggjobs_refresh('by_amount');
UPDATE raw SET kind = 'e' WHERE amount = 4;
TABLE wrong;

-- And they still do when one is given another query.
BEGIN;
SELECT part, change FROM aggjobs_alter_rollup('by_amount',
	$$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(amount) AS amount, max(other) AS most FROM raw GROUP BY 1$$);
CALL aggjobs_refresh('by_amount_next');
COMMIT;
UPDATE raw SET kind = 'd' WHERE amount = 2;
TABLE wrong;
CALL aggjobs_refresh('by_kind');

-- A rollup over one that is replaced: its new table counts what the old one did.
SELECT aggjobs_create_rollup('by_day',
	$$SELECT date_trunc('day', bucket, 'UTC') AS day, sum(amount) AS amount FROM by_amount GROUP BY 1$$, schedule => NULL) > 0 AS made;
CALL aggjobs_refresh('by_day');
SELECT compared('by_amount');
ALTER TABLE by_amount DISABLE TRIGGER aggjobs_capture_update;
CALL aggjobs_refresh('by_day');
BEGIN;
SELECT part, change FROM aggjobs_alter_rollup('by_amount',
	$$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(amount) AS amount, min(other) AS least FROM raw GROUP BY 1$$);
CALL aggjobs_refresh('by_amount_next');
COMMIT;
SELECT compared('by_amount');
CALL aggjobs_refresh('by_day');
UPDATE raw SET amount = 100 WHERE amount = 3;
CALL aggjobs_refresh('by_amount');
SELECT amount, (SELECT sum(amount) FROM raw) AS raw FROM by_day_live;
CALL aggjobs_refresh('by_day');
SELECT amount, (SELECT sum(amount) FROM raw) AS raw FROM by_day;

-- More columns than a condition can compare: all updates count, and go on to.
DO $$
DECLARE
	columns text := (SELECT string_agg(format('c%s integer', i), ', ' ORDER BY i) FROM generate_series(1, 60) AS i);
	sums text := (SELECT string_agg(format('sum(c%s) AS c%1$s', i), ', ' ORDER BY i) FROM generate_series(1, 59) AS i);
BEGIN
	EXECUTE format('CREATE TABLE wide (at timestamptz NOT NULL, %s) WITH (fillfactor = 20)', columns);
	PERFORM aggjobs_create_rollup('most', format('SELECT date_trunc(''hour'', at, ''UTC'') AS bucket, %s FROM wide GROUP BY 1', sums),
		schedule => NULL);
END $$;
INSERT INTO wide (at, c1, c60) VALUES ('2024-01-01 00:30+00', 1, 1);
SELECT compared('wide');
CALL aggjobs_refresh('most');
SELECT aggjobs_create_rollup('last',
	$$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(c60) AS c60 FROM wide GROUP BY 1$$, schedule => NULL) > 0 AS made;
SELECT compared('wide');
UPDATE wide SET c1 = 2;
SELECT c1 FROM most_live;

DROP SCHEMA columns CASCADE;
