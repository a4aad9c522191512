--
-- Buckets: aggjobs_bucket() in its four forms
--
\set VERBOSITY default
\pset null ~
SET TIME ZONE 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';

-- Random instants of 1900 to 2100, half of them close to a jump of some clock.
\set seed 0.1876
\echo seed :seed
SELECT setseed(:seed);
CREATE TEMP TABLE instant AS
SELECT timestamptz '1900-01-01' + random() * interval '200 years' AS t FROM generate_series(1, 600)
UNION ALL
SELECT jump + (random() - 0.5) * span
FROM unnest(ARRAY['2024-03-31 01:00+00', '2024-10-27 01:00+00', '2025-03-09 07:00+00', '2025-11-02 06:00+00',
		'2026-04-04 15:00+00', '2026-10-03 15:30+00', '2011-12-30 10:00+00', '2015-08-14 15:00+00']::timestamptz[]) AS jump,
	unnest(ARRAY['2 seconds', '3 hours', '60 hours']::interval[]) AS span, generate_series(1, 25);

-- A width of time is date_bin, of days and months date_trunc.
CREATE TEMP TABLE zone AS
SELECT unnest(ARRAY['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Asia/Kathmandu', 'Australia/Lord_Howe',
	'Pacific/Apia', 'Antarctica/Troll', 'Pacific/Kiritimati', 'America/Sao_Paulo', 'Africa/Cairo']) AS zone;
SELECT width, count(*) > 10000 AS many,
	count(*) FILTER (WHERE aggjobs_bucket(width, t, zone) <> date_bin(width, t, timestamp '2000-01-03' AT TIME ZONE zone)) AS wrong
FROM instant, zone, unnest(ARRAY['1 microsecond', '1 second', '7 seconds', '1 minute', '15 minutes', '1 hour', '5 hours', '36 hours']::interval[]) AS width
GROUP BY width ORDER BY width;
SELECT unit, count(*) > 6000 AS many,
	count(*) FILTER (WHERE aggjobs_bucket(width, t, zone) <> date_trunc(unit, t, zone)) AS wrong
FROM instant, zone, (VALUES ('day', interval '1 day'), ('week', '1 week'), ('month', '1 month'), ('quarter', '3 months'), ('year', '1 year')) AS v (unit, width)
WHERE t > '1970-01-01'
GROUP BY unit ORDER BY unit;
SELECT unit, count(*) FILTER (WHERE aggjobs_bucket(width, t::timestamp) <> date_trunc(unit, t::timestamp)) AS wrong,
	count(*) FILTER (WHERE aggjobs_bucket(greatest(width, '1 day'), t::date) <> date_trunc(unit, t::date::timestamp)) AS wrong_dates
FROM instant, (VALUES ('minute', interval '1 minute'), ('hour', '1 hour'), ('day', interval '1 day'), ('week', '1 week'), ('month', '1 month'), ('quarter', '3 months'), ('year', '1 year')) AS v (unit, width)
GROUP BY unit ORDER BY unit;
SELECT count(*) FILTER (WHERE aggjobs_bucket(width, n, origin) <> origin + floor((n - origin)::numeric / width) * width) AS wrong
FROM (SELECT ((random() - 0.5) * 1e12)::bigint AS n, (random() * 1000)::bigint - 500 AS origin FROM instant) AS numbers,
	unnest(ARRAY[1, 2, 7, 60, 3600, 86400000]::bigint[]) AS width;

-- Clocks go on to jump beyond the server's table of jumps, which is repeated after 400 years.
SELECT count(*) FILTER (WHERE aggjobs_bucket('1 day', t, zone) <> date_trunc('day', t, zone)) AS wrong
FROM unnest(ARRAY['Europe/Berlin', 'America/New_York']) AS zone,
	unnest(ARRAY['2768-01-01 05:00+00', '2768-01-01 06:00+00', '2768-01-01 23:00+00']::timestamptz[]) AS begins,
	generate_series(begins, '2774-01-01', interval '24 hours') AS t;

-- Buckets cover time without overlap: a start is its own, the microsecond
-- before it belongs to an earlier bucket, and order is kept.
SELECT width, count(*) > 10000 AS many, count(*) FILTER (WHERE start > t) AS late,
	count(*) FILTER (WHERE aggjobs_bucket(width, start, zone, origin) <> start) AS moving,
	count(*) FILTER (WHERE aggjobs_bucket(width, start - interval '1 microsecond', zone, origin) >= start) AS overlapping,
	count(*) FILTER (WHERE start < earlier) AS disordered
FROM (
	SELECT width, zone, origin, t, start, lag(start) OVER (PARTITION BY width, zone, origin ORDER BY t) AS earlier
	FROM zone, unnest(ARRAY['15 minutes', '5 hours', '1 day', '3 days', '1 week', '1 month', '5 months', '10 years']::interval[]) AS width,
		unnest(ARRAY[NULL, '2016-02-29 12:00+00', '1890-12-31 11:59:59.999999+00']::timestamptz[]) AS origin,
		instant, aggjobs_bucket(width, t, zone, origin) AS start
) AS b
GROUP BY width ORDER BY width;

-- Days of 23, 24 and 25 hours, and half an hour more or less.
CREATE FUNCTION pg_temp.buckets(width interval, zone text, begins text, ends text)
RETURNS TABLE (local timestamp, utc timestamptz, length interval)
LANGUAGE sql AS $$
	SELECT b AT TIME ZONE zone, b, lead(b) OVER (ORDER BY b) - b
	FROM (SELECT DISTINCT aggjobs_bucket(width, t, zone) AS b
		FROM generate_series(begins::timestamp AT TIME ZONE zone, ends::timestamp AT TIME ZONE zone, interval '15 minutes') AS t) AS distinct_buckets
	ORDER BY b
$$;
SELECT * FROM pg_temp.buckets('1 day', 'Europe/Berlin', '2026-03-28', '2026-03-30');
SELECT * FROM pg_temp.buckets('1 day', 'Europe/Berlin', '2026-10-24', '2026-10-26');
SELECT * FROM pg_temp.buckets('1 day', 'America/New_York', '2026-03-07', '2026-03-09');
SELECT * FROM pg_temp.buckets('1 day', 'America/New_York', '2026-10-31', '2026-11-02');
SELECT * FROM pg_temp.buckets('1 day', 'Australia/Lord_Howe', '2026-04-04', '2026-04-06');
SELECT * FROM pg_temp.buckets('1 hour', 'Australia/Lord_Howe', '2026-04-05 00:00', '2026-04-05 03:00');
SELECT * FROM pg_temp.buckets('1 hour', 'Europe/Berlin', '2026-10-25 01:00', '2026-10-25 04:00');
SELECT * FROM pg_temp.buckets('6 hours', 'Europe/Berlin', '2026-03-28 12:00', '2026-03-29 18:00');
-- Zones that are not whole hours from UTC.
SELECT * FROM pg_temp.buckets('1 hour', 'Asia/Kolkata', '2026-01-01 00:00', '2026-01-01 02:00');
SELECT * FROM pg_temp.buckets('1 hour', 'Asia/Kathmandu', '2026-01-01 00:00', '2026-01-01 02:00');
SELECT * FROM pg_temp.buckets('1 day', 'Asia/Kathmandu', '2026-01-01 00:00', '2026-01-02 00:00');
-- Midnight that is skipped, shown twice, and a day that never was.
SELECT * FROM pg_temp.buckets('1 day', 'America/Santiago', '2026-09-05', '2026-09-07');
SELECT * FROM pg_temp.buckets('1 day', 'America/Santiago', '2026-04-03', '2026-04-06');
SELECT * FROM pg_temp.buckets('1 day', 'Atlantic/Azores', '2026-10-24', '2026-10-26');
SELECT * FROM pg_temp.buckets('1 day', 'Pacific/Apia', '2011-12-29', '2012-01-01');
-- Weeks begin on Monday, months on the 1st; leap years.
SELECT * FROM pg_temp.buckets('1 week', 'Europe/Berlin', '2026-03-18', '2026-04-01');
SELECT * FROM pg_temp.buckets('1 month', 'Europe/Berlin', '2024-01-15', '2024-04-15');
SELECT * FROM pg_temp.buckets('2 months', 'UTC', '1900-02-15', '1900-06-15');
SELECT * FROM pg_temp.buckets('3 months', 'America/New_York', '1999-11-15', '2000-07-15');

-- Origins: where buckets begin, before and after.
SELECT aggjobs_bucket('15 minutes', timestamptz '2026-01-01 10:07:30+00', origin => '2026-01-01 00:05+00') AS after,
	aggjobs_bucket('15 minutes', timestamptz '2025-12-31 10:07:30+00', origin => '2026-01-01 00:05+00') AS before,
	aggjobs_bucket('15 minutes', timestamptz '2025-12-31 10:05:00+00', origin => '2026-01-01 00:05+00') AS just_then;
-- days that begin at six on the clock, all the year
SELECT t, aggjobs_bucket('1 day', t, 'Europe/Berlin', '2026-01-01 06:00+01') AT TIME ZONE 'Europe/Berlin' AS local
FROM unnest(ARRAY['2026-03-29 03:59:59.999999+00', '2026-03-29 04:00+00', '2026-10-25 04:59+00', '2026-10-25 05:00+00']::timestamptz[]) AS t;
-- a month that begins on the 31st begins on the last day of others
SELECT t, aggjobs_bucket('1 month', t, origin => '2026-01-31') AS bucket
FROM unnest(ARRAY['2026-02-27', '2026-02-28', '2026-03-30', '2026-03-31', '2024-02-28', '2024-02-29']::timestamp[]) AS t;
SELECT aggjobs_bucket('1 week', date '2026-01-01'), aggjobs_bucket('1 week', date '2026-01-01', '2026-01-04'),
	aggjobs_bucket('10 days', date '1969-12-31', '1970-01-01'), aggjobs_bucket('1 year', date '1999-12-31'),
	aggjobs_bucket('1 year', date '2026-03-31', '2000-04-01');
SELECT aggjobs_bucket(10, -1), aggjobs_bucket(10, -10), aggjobs_bucket(10, 9), aggjobs_bucket(10, 9, 7), aggjobs_bucket(10, 6, 7), aggjobs_bucket(10, -14, NULL);

-- The ends of time, and before Christ.
SELECT t, aggjobs_bucket('1 hour', t), aggjobs_bucket('1 day', t, 'Europe/Berlin'), aggjobs_bucket('1 month', t::timestamp)
FROM unnest(ARRAY['-infinity', '0044-03-15 12:34+00 BC', '0001-01-01 00:00+00', '294276-12-31 23:59:59.999999+00', 'infinity']::timestamptz[]) AS t;
SELECT aggjobs_bucket('1 day', date '-infinity'), aggjobs_bucket('1 week', date 'infinity'), aggjobs_bucket('100 years', date '0044-03-15 BC');
SELECT aggjobs_bucket('1 hour', timestamptz '4714-11-24 00:00:00+00 BC'), aggjobs_bucket('106751991 days', timestamp '2026-01-01');
SELECT aggjobs_bucket(9223372036854775807, 9223372036854775806), aggjobs_bucket(9223372036854775807, -9223372036854775807),
	aggjobs_bucket(2, -9223372036854775808), aggjobs_bucket(1000, 9223372036854775807, -9223372036854775808);
SELECT aggjobs_bucket('1 month', timestamptz '4714-11-24 00:00:00+00 BC');
SELECT aggjobs_bucket('1 day', timestamptz '4714-11-24 00:00:00+00 BC', 'America/New_York');
SELECT aggjobs_bucket('1 day', date '294277-01-01');
SELECT aggjobs_bucket(10, -9223372036854775808);

-- NULLs.
SELECT aggjobs_bucket(NULL, timestamptz '2026-01-01'), aggjobs_bucket('1 hour', NULL::timestamptz), aggjobs_bucket('1 hour', timestamptz '2026-01-01', NULL),
	aggjobs_bucket('1 hour', timestamptz '2026-01-01', 'UTC', NULL) AS not_null;
SELECT aggjobs_bucket(NULL, timestamp '2026-01-01'), aggjobs_bucket('1 hour', NULL::timestamp), aggjobs_bucket('1 hour', timestamp '2026-01-01', NULL) AS not_null;
SELECT aggjobs_bucket(NULL, date '2026-01-01'), aggjobs_bucket('1 day', NULL::date), aggjobs_bucket('1 day', date '2026-01-01', NULL) AS not_null;
SELECT aggjobs_bucket(NULL, 1), aggjobs_bucket(1, NULL::bigint);

-- What changes from row to row is noticed.
SELECT width, zone, origin, aggjobs_bucket(width, timestamptz '2026-06-15 13:37+00', zone, origin)
FROM unnest(ARRAY['1 hour', '1 day']::interval[]) AS width, unnest(ARRAY['UTC', 'Asia/Kolkata', 'Asia/Tokyo', NULL]) AS zone,
	unnest(ARRAY[NULL, '2026-01-01 00:15+00']::timestamptz[]) AS origin
ORDER BY width, zone, origin;

-- Usable in an index and in parallel.
CREATE TEMP TABLE indexed (t timestamptz);
CREATE INDEX ON indexed (aggjobs_bucket('1 day', t, 'Europe/Berlin'));
SELECT provolatile, proparallel, proisstrict, count(*) FROM pg_proc WHERE proname = 'aggjobs_bucket' GROUP BY 1, 2, 3;
-- ... by everybody
CREATE ROLE regress_bucket_nobody;
SET ROLE regress_bucket_nobody;
SELECT aggjobs_bucket('1 hour', timestamptz '2026-01-01 10:59+00');
RESET ROLE;
DROP ROLE regress_bucket_nobody;

-- Refusals.
SET TIME ZONE 'Asia/Tokyo';
\set VERBOSITY default
SELECT aggjobs_bucket('1 day', timestamptz '2026-01-01', 'America/St_Johns');
SELECT aggjobs_bucket('1 month', timestamptz '2026-01-01', 'America/St_Johns');
SELECT aggjobs_bucket('1 hour', timestamptz '2026-01-01 12:34+00', 'America/St_Johns') AS hours_work,
	aggjobs_bucket('1 week', timestamptz '2026-01-01 12:34+00', 'America/St_Johns') AS weeks_work;
SELECT aggjobs_bucket('1 day', timestamptz '2026-01-01', 'Europe/Berlin', '2026-01-01 02:30+01');
SELECT aggjobs_bucket('1 day', timestamptz '2026-01-01', 'Mars/Olympus');
SELECT aggjobs_bucket('1 day', timestamptz '2026-01-01', '');
SELECT aggjobs_bucket('1 day', timestamptz '2026-01-01', 'PDT');
SELECT aggjobs_bucket('1 month 1 day', timestamptz '2026-01-01');
SELECT aggjobs_bucket('1 day 12 hours', timestamp '2026-01-01');
SELECT aggjobs_bucket('24 hours', date '2026-01-01');
SELECT aggjobs_bucket('200000000 days', timestamp '2026-01-01');
CREATE FUNCTION pg_temp.refused(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT aggjobs_bucket(' || call || ')';
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT call, pg_temp.refused(call) FROM unnest(ARRAY[
	$$'0', now()$$, $$'-1 hour', now()$$, $$'-1 day', localtimestamp$$, $$'-1 month', current_date$$, $$'0 days', current_date$$,
	'0, 1', '-5, 1', '-9223372036854775808, 1',
	$$'1 hour', now(), 'UTC', 'infinity'$$, $$'1 day', localtimestamp, '-infinity'$$, $$'1 day', current_date, 'infinity'$$,
	$$'1 day', now(), 'Nowhere'$$, $$'1 day', now(), 'UTC+2'$$, $$'1 day', now(), 'America/St_Johns'$$, $$'1 month', now(), 'America/Goose_Bay'$$,
	$$'1 month 1 day', now()$$, $$'1 month -1 second', localtimestamp$$, $$'1 day 1 second', now()$$,
	$$'1 second', current_date$$, $$'200000000 days', now()$$,
	$$'1 year', timestamptz '4714-11-24 00:00:00+00 BC'$$, $$'1 day', date '1000000-01-01'$$, '10, -9223372036854775808']) AS call;
