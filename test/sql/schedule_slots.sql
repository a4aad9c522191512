--
-- The slots of schedules where clocks jump.  The rules: doc/dev/dst.md
--
\set VERBOSITY default
SET TIME ZONE 'UTC';
SET datestyle = 'ISO, YMD';

-- Slots with the time that the clock of the zone shows then.
CREATE FUNCTION pg_temp.slots(schedule text, zone text, after text, n integer)
RETURNS TABLE (local timestamp, utc timestamptz)
LANGUAGE sql AS $$
	SELECT slot AT TIME ZONE zone, slot
	FROM aggjobs_preview_schedule(schedule, zone, n, after::timestamp AT TIME ZONE zone) AS slot
$$;

-- Gap at 02:00: a fixed time in it is due at its end, several of them once.
SELECT * FROM pg_temp.slots('30 2 * * *', 'Europe/Berlin', '2026-03-28', 3);
SELECT * FROM pg_temp.slots('0,15,30,45 2 * * *', 'Europe/Berlin', '2026-03-28 03:00', 6);
SELECT * FROM pg_temp.slots('0 2,3 * * *', 'Europe/Berlin', '2026-03-28 12:00', 4);
SELECT * FROM pg_temp.slots('30 2 29 3 *', 'Europe/Berlin', '2025-12-01', 2);
-- An hour field that spans the day follows the clock.
SELECT * FROM pg_temp.slots('30 * * * *', 'Europe/Berlin', '2026-03-29 00:00', 4);
SELECT * FROM pg_temp.slots('0 */2 * * *', 'Europe/Berlin', '2026-03-28 22:30', 4);
SELECT * FROM pg_temp.slots('30 0-23/2 * * *', 'Europe/Berlin', '2026-03-29 00:00', 3);
-- 02:00 to 03:00 comes twice: fixed times are due the first time only.
SELECT * FROM pg_temp.slots('30 2 * * *', 'Europe/Berlin', '2026-10-24 12:00', 3);
SELECT * FROM pg_temp.slots('0,30 1-3 * * *', 'Europe/Berlin', '2026-10-25 00:00', 7);
SELECT slot FROM aggjobs_preview_schedule('0,30 1-3 * * *', 'Europe/Berlin', 2, '2026-10-25 01:15+00') AS slot;
SELECT * FROM pg_temp.slots('30 * * * *', 'Europe/Berlin', '2026-10-25 01:00', 4);
SELECT * FROM pg_temp.slots('0 */2 * * *', 'Europe/Berlin', '2026-10-25 00:00', 4);

-- Gap at midnight: the day begins at 01:00.
SELECT * FROM pg_temp.slots('0 0 * * *', 'America/Santiago', '2026-09-04', 4);
SELECT * FROM pg_temp.slots('0 0 * * 0', 'America/Santiago', '2026-08-30', 3);
SELECT * FROM pg_temp.slots('0 0 * * *', 'Africa/Cairo', '2026-04-22', 4);
SELECT * FROM pg_temp.slots('0 0 * * *', 'Asia/Beirut', '2026-03-27', 4);
SELECT * FROM pg_temp.slots('every day', 'Asia/Beirut', '2026-03-27', 4);
SELECT * FROM pg_temp.slots('15 * * * *', 'Asia/Beirut', '2026-03-28 22:30', 3);
-- 23:00 to midnight comes twice: the day is not left again.
SELECT * FROM pg_temp.slots('0 0 * * *', 'America/Santiago', '2026-04-03', 4);
SELECT * FROM pg_temp.slots('30 23 * * *', 'America/Santiago', '2026-04-03 12:00', 3);
SELECT * FROM pg_temp.slots('0 0 * * *', 'Africa/Cairo', '2026-10-28', 4);

-- A whole day that never was: 30 December 2011 in Samoa.
SELECT * FROM pg_temp.slots('0 9 * * *', 'Pacific/Apia', '2011-12-28 12:00', 4);
SELECT * FROM pg_temp.slots('0 0 * * *', 'Pacific/Apia', '2011-12-28 12:00', 4);
SELECT * FROM pg_temp.slots('0 0 30 12 *', 'Pacific/Apia', '2010-12-31', 3);
SELECT * FROM pg_temp.slots('0 */8 * * *', 'Pacific/Apia', '2011-12-29 07:00', 4);
SELECT * FROM pg_temp.slots('every 1 day from 2011-12-01 12:00', 'Pacific/Apia', '2011-12-28 13:00', 4);
SELECT * FROM pg_temp.slots('at 2011-12-30 12:00', 'Pacific/Apia', '2011-12-01', 1);
-- A day that came twice: 30 September 1969 on Kwajalein.
SELECT * FROM pg_temp.slots('0 12 * * *', 'Pacific/Kwajalein', '1969-09-28 18:00', 5);

-- Half an hour: Lord Howe.
SELECT * FROM pg_temp.slots('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03', 3);
SELECT * FROM pg_temp.slots('0,30 * * * *', 'Australia/Lord_Howe', '2026-10-04 01:00', 4);
SELECT * FROM pg_temp.slots('45 1 * * *', 'Australia/Lord_Howe', '2026-04-04', 3);
SELECT * FROM pg_temp.slots('*/15 * * * *', 'Australia/Lord_Howe', '2026-04-05 01:15', 6);
-- Two hours: Troll.  Offsets of 45 minutes: Nepal, Chatham.
SELECT * FROM pg_temp.slots('0,30 1-3 * * *', 'Antarctica/Troll', '2026-03-29 00:30', 4);
SELECT * FROM pg_temp.slots('0 0 * * *', 'Asia/Kathmandu', '1985-12-30', 4);
SELECT * FROM pg_temp.slots('every 6 hours', 'Asia/Kathmandu', '2026-01-01', 3);
SELECT * FROM pg_temp.slots('0 3 * * *', 'Pacific/Chatham', '2026-09-25 12:00', 3);
-- Offsets with seconds.
SELECT * FROM pg_temp.slots('0 * * * *', 'Africa/Monrovia', '1972-01-06 21:30', 5);
SELECT * FROM pg_temp.slots('0 0 * * *', 'Africa/Monrovia', '1972-01-05 12:00', 4);

-- Grids: hours count true time, days and months keep the time on the clock.
SELECT * FROM pg_temp.slots('every 12 hours', 'Europe/Berlin', '2026-03-28 00:00', 4);
SELECT * FROM pg_temp.slots('every day', 'Europe/Berlin', '2026-03-28 00:00', 3);
SELECT * FROM pg_temp.slots('every 2 days from 2026-03-27 02:30', 'Europe/Berlin', '2026-01-01', 3);
SELECT * FROM pg_temp.slots('every week', 'Europe/Berlin', '2026-03-18', 3);
SELECT * FROM pg_temp.slots('every month from 2025-10-31 02:30', 'Europe/Berlin', '2026-02-01', 4);
SELECT * FROM pg_temp.slots('every quarter', 'America/New_York', '2026-01-01', 3);
SELECT * FROM pg_temp.slots('every 1 hour from 2026-03-29 02:30', 'Europe/Berlin', '2026-01-01', 3);
SELECT * FROM pg_temp.slots('after 1 day', 'Europe/Berlin', '2026-03-28 12:00:00.25', 3);
SELECT * FROM pg_temp.slots('after 1 month', 'Europe/Berlin', '2026-01-31 12:00:00.25', 3);
-- Once.
SELECT * FROM pg_temp.slots('at 2026-03-29 02:30', 'Europe/Berlin', '2026-01-01', 5);
SELECT * FROM pg_temp.slots('at 2026-10-25 02:30', 'Europe/Berlin', '2026-01-01', 5);
SELECT * FROM pg_temp.slots('at 2026-10-25 02:30', 'Europe/Berlin', '2026-10-25 02:30', 5);

-- Rare dates: the leap day around 2100, leap days that are Sundays.
SELECT * FROM pg_temp.slots('0 0 29 2 *', 'UTC', '2094-01-01', 3);
SELECT * FROM pg_temp.slots('0 0 29 2 */6', 'UTC', '2060-01-01', 3);
SELECT * FROM pg_temp.slots('0 * 29 2 *', 'Europe/Berlin', '2096-02-29 22:00', 2);

-- The ends of time.
SELECT s, a, array(SELECT aggjobs_preview_schedule(s, z, 2, a::timestamptz))
FROM unnest(ARRAY['* * * * *', '0 0 * * *', '0 0 29 2 *', 'every 5 minutes', 'every day', 'every month', 'after 1 hour', 'after 5 years', 'at 2026-01-01 00:00', 'every day from 2026-01-01', '@start']) WITH ORDINALITY AS s (s, i),
	unnest(ARRAY['-infinity', 'infinity', '4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00', '294276-12-30 00:00+00']) WITH ORDINALITY AS a (a, j),
	unnest(ARRAY['America/New_York']) AS z (z)
ORDER BY i, j;

-- Walking on from any instant repeats nothing and leaves nothing out.
SELECT count(*) AS instants, count(*) FILTER (WHERE following IS DISTINCT FROM expected) AS wrong
FROM (
	SELECT (SELECT aggjobs_preview_schedule(s, z, 1, a)) AS following,
		(SELECT min(slot) FROM aggjobs_preview_schedule(s, z, 2000, '2026-10-20') AS slot WHERE slot > a) AS expected
	FROM unnest(ARRAY['*/20 * * * *', '10,30 1-2 * * *', '30 2 * * *', 'every day', 'every 40 minutes']) AS s,
		unnest(ARRAY['Europe/Berlin', 'Australia/Lord_Howe', 'America/St_Johns', 'Africa/Cairo']) AS z,
		generate_series('2026-10-24 20:00+00'::timestamptz, '2026-10-25 06:00', '7 minutes 3.5 seconds') AS a
) AS walk;
