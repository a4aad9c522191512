--
-- The schedule language: what is read, what is refused, and where.
--
\set VERBOSITY default
SET TIME ZONE 'UTC';
SET datestyle = 'ISO, YMD';

-- Each form, in words and with its first two slots.
CREATE FUNCTION pg_temp.show(text[]) RETURNS TABLE (schedule text, explained text, first timestamptz, second timestamptz)
LANGUAGE sql AS $$
	SELECT s, aggjobs_explain_schedule(s), slot[1], slot[2]
	FROM unnest($1) WITH ORDINALITY AS u (s, n),
		LATERAL (SELECT array(SELECT aggjobs_preview_schedule(s, 'UTC', 2, '2026-01-07 12:34:56')) AS slot) AS l
	ORDER BY n
$$;

-- cron
SELECT * FROM pg_temp.show(ARRAY[
	'* * * * *', '*/5 * * * *', '*/7 * * * *', '5 * * * *', '5,35 * * * *', '0-10 * * * *', '10-40/10 * * * *',
	'0 */2 * * *', '0 */5 * * *', '0 0-23 * * *', '0 8-18/2 * * *', '30 1,13 * * *', '* 2 * * *', '5 0 * * *', '05 00 * * *',
	'0 0 1 * *', '0 0 1,15 * *', '0 0 L * *', '0 0 1,l * *', '0 0 31 * *', '0 0 29 2 *', '0 0 */10 * *',
	'0 0 * jan *', '0 0 * JAN-Mar,dec *', '0 0 * */3 *', '0 0 1 7 *',
	'0 0 * * 0', '0 0 * * 7', '0 0 * * sun', '0 0 * * mon-fri', '0 0 * * Fri-Sun', '0 0 * * 5-7', '0 0 * * 0-7', '0 0 * * 1-5/2', '0 0 * * */2',
	'0 0 * * 5L', '0 0 * * friL', '0 0 * * FRIl,1', '0 0 * * 0L,7L',
	'0 0 13 * 5', '0 0 L * 5L', '0 0 */2 * 1', '0 0 13 * */6', '0 0 30 2 1',
	E'  0\t0 *\n*   *  ']);
-- with seconds
SELECT * FROM pg_temp.show(ARRAY[
	'* * * * * *', '*/10 * * * * *', '30 * * * * *', '15,45 */10 * * * *', '59 59 23 31 12 *', '0 5 0 * * *']);
-- words
SELECT * FROM pg_temp.show(ARRAY[
	'@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually', '@start', ' @Daily ']);
-- grids, pauses, once
SELECT * FROM pg_temp.show(ARRAY[
	'every minute', 'every 15 minutes', 'EVERY 90 Min', 'every 1 hour 30 minutes', 'every 45sec', 'every second', 'every 7 hours',
	'every 25 hours', 'every day', 'every 3 days', 'every week', 'every 2 weeks', 'every 1 week 3 days', 'every month', 'every 5 months', 'every quarter',
	'every 2 quarters', 'every year', 'every 1 year 6 months', 'every 1000 years',
	'every 15 minutes from 2026-01-01 00:10', 'every hour from 2026-01-07T12:34:57', 'every 2 days from 2026-01-01', 'every month from 2026-01-31 02:30',
	'every month from 2025-08-30', 'every year from 2024-02-29', 'every day from 2030-01-01 06:00',
	'after 10 minutes', 'after minute', 'after 1 day', 'after 1 month', 'after 2 hours 5 seconds',
	'at 2026-12-01 02:00', 'at 2026-12-01 02:00:30', 'At 2026-12-01t02:00', 'at 2026-01-07 12:34:56', 'at 2020-02-29 00:00']);

-- What is refused: column, reason and hint.
CREATE FUNCTION pg_temp.refusal(refused text, OUT "column" integer, OUT reason text, OUT hint text)
LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	PERFORM aggjobs_preview_schedule(refused);
	reason := 'ACCEPTED';
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	"column" := substring(detail FROM '^column (\d+):');
	reason := substring(detail FROM '^column \d+: ([^\n]*)');
END
$$;
CREATE TEMP TABLE refused (n serial, schedule text);
INSERT INTO refused (schedule) VALUES
	(''), ('   '), ('hello'), ('daily'), ('every5 minutes'), ('15 minutes'), ('30 seconds'),
	('*'), ('* * * *'), ('* * * * * * *'), ('1 2 3'),
	('60 * * * *'), ('* 24 * * *'), ('* * 0 * *'), ('* * 32 * *'), ('* * * 0 *'), ('* * * 13 *'), ('* * * * 8'), ('60 * * * * *'),
	('99999999999999999999 * * * *'), ('-1 * * * *'), ('+1 * * * *'), ('1.5 * * * *'),
	('0 5-70 * * *'), ('40-10 * * * *'), ('0 22-2 * * *'), ('0 0 * * sat-mon'), ('0 0 * nov-feb *'),
	('*/0 * * * *'), ('*/60 * * * *'), ('*/90 * * * *'), ('0 */24 * * *'), ('10-20/11 * * * *'), ('*/ * * * *'), ('*/x * * * *'),
	('7/10 * * * *'), ('0 0 * * fri/2'),
	('1, * * * *'), (',1 * * * *'), ('1,,2 * * * *'), ('1- * * * *'), ('1-2-3 * * * *'), ('** * * * *'), ('*5 * * * *'), ('5* * * * *'),
	('0 0 * foo *'), ('0 0 * january *'), ('0 0 * * friday'), ('0 0 * * frix'), ('jan * * * *'), ('0 0 mon * *'), ('0 0 * 5L *'),
	('L * * * *'), ('0 0 L-3 * *'), ('0 0 5L * *'), ('0 0 * * L'), ('0 0 * * 5L/2'), ('0 0 ? * *'), ('0 0 $ * *'), ('0 0 15W * *'), ('0 0 * * 5#2'),
	('0 0 30 2 *'), ('0 0 30,31 feb *'), ('0 0 31 2,4,6,9,11 *'), ('0 0 31 4 */2'), ('0 0 0 31 6 *'), ('0 0 */10 2 5L'),
	('@'), ('@dayly'), ('@reboot'), ('@daily 5'), ('@daily5'), ('@every 5m'),
	('every'), ('every 0 minutes'), ('every -5 minutes'), ('every 1.5 hours'), ('every 5'), ('every 5 fortnights'), ('every m'), ('every 5m'),
	('every minute second'), ('every 1 day 12 hours'), ('every 1 month 1 week'), ('every 1001 years'), ('every 999999999999 seconds'), ('every day at 02:00'),
	('every day from'), ('every day from 2026'), ('every day from 2026-02-30'), ('every day from 2026-13-01'), ('every day from 26-01-01'), ('every day from 2026-1-1'),
	('every day from 2026-01-01 24:00'), ('every day from 2026-01-01 1:00'), ('every day from 2026-01-01 01:60'), ('every day from 2026-01-01T'), ('every day from2026-01-01'),
	('after'), ('after 10'), ('after 10 minutes from 2026-01-01'), ('after 10 minutes 2026'),
	('at'), ('at noon'), ('at 2026-12-01'), ('at 02:00'), ('at 0000-01-01 00:00'), ('at 2026-02-29 00:00'), ('at 2026-12-01 02'), ('at 2026-12-01 02:00:61'),
	('at 2026-12-01 02:00 Europe/Berlin'), ('at 2026-12-01 02:00Z'), ('at 2026-12-01 02:00+01'), ('at 2026-12-01x02:00'),
	('0 0 * * *; drop table x'), (E'0 0 * * \u00fc'), (E'\u00fc'), ('every 5 minütes'), (repeat('9', 200) || ' * * * *'), ('every ' || repeat('x', 300));
SELECT left(schedule, 40) AS schedule, r.* FROM refused, LATERAL pg_temp.refusal(schedule) AS r ORDER BY n;
SELECT count(*) AS accepted FROM refused, LATERAL pg_temp.refusal(schedule) AS r WHERE reason = 'ACCEPTED';

-- As a user sees it.
SELECT aggjobs_preview_schedule('0 0 31 2,4 *');
SELECT aggjobs_preview_schedule('*/15 * * * mon-frx');
SELECT aggjobs_preview_schedule(E'0 0\t* * 9');
SELECT aggjobs_explain_schedule(repeat('* ', 60));
SELECT aggjobs_preview_schedule('every ' || repeat('ü', 100));

-- Time zones.
SELECT name, aggjobs_explain_schedule('@daily', name) FROM unnest(ARRAY[
	'UTC', 'utc', 'Europe/Berlin', 'europe/berlin', 'EST5EDT', 'Etc/GMT+12', 'Etc/GMT-14', 'Etc/GMT0', 'GMT+0']) AS name;
SELECT aggjobs_preview_schedule('@daily', '');
SELECT aggjobs_preview_schedule('@daily', 'Europe/Berlinn');
SELECT aggjobs_preview_schedule('@daily', 'UTC+2');
SELECT aggjobs_preview_schedule('@daily', 'XYZ5');
SELECT aggjobs_preview_schedule('@daily', 'Nowhere/Zone5');
SELECT aggjobs_preview_schedule('@daily', '<+03>-3');
SELECT aggjobs_preview_schedule('@daily', 'Etc/GMT+13');
SELECT aggjobs_preview_schedule('@daily', 'Etc/GMT+05');
SELECT aggjobs_preview_schedule('@daily', '+02:00');
SELECT aggjobs_preview_schedule('@daily', '../../etc/passwd');
SELECT aggjobs_preview_schedule('@daily', repeat('Europe/', 40));

-- The other arguments.
SELECT count(*) FROM aggjobs_preview_schedule('* * * * *');
SELECT count(*) FROM aggjobs_preview_schedule('* * * * *', n => 10000);
SELECT min(slot) > now() - interval '1 minute' AS from_now FROM aggjobs_preview_schedule('* * * * *') AS slot;
SELECT aggjobs_preview_schedule('@daily', n => 0);
SELECT aggjobs_preview_schedule('@daily', n => 10001);
SELECT aggjobs_preview_schedule('@daily', n => -5);
SELECT count(*) FROM aggjobs_preview_schedule(NULL);
SELECT count(*) FROM aggjobs_preview_schedule('@daily', NULL, NULL, NULL);
SELECT aggjobs_explain_schedule(NULL);
