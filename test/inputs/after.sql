-- Nothing was lost or added, and everything still works.
SELECT CASE WHEN pg_postmaster_start_time() = started THEN 'ok' ELSE 'FAIL' END || ' the server has not restarted' FROM inputs.server;
SELECT CASE WHEN count(*) = 0 THEN 'ok' ELSE 'FAIL' END || ' no job, run, setting or rollup was lost, added or changed'
       || coalesce(': ' || string_agg(left(d::text, 300), '; '), '')
FROM ((TABLE inputs.state EXCEPT ALL TABLE inputs.before) UNION ALL (TABLE inputs.before EXCEPT ALL TABLE inputs.state)) AS d;
SELECT CASE WHEN count(*) = 0 THEN 'ok' ELSE 'FAIL' END || ' no run ended with an internal error'
       || coalesce(': ' || string_agg(format('%s: %s', job_name, error), '; '), '')
FROM aggjobs.run WHERE sqlstate LIKE 'XX%';
SELECT CASE WHEN count(*) = 0 THEN 'ok' ELSE 'FAIL' END || ' no run is left queued or running'
FROM aggjobs.run WHERE status IN ('queued', 'running') AND trigger <> 'schedule';
-- The scheduler fires a slot, and a worker runs it.
SELECT aggjobs_schedule('every_second', '* * * * * *', 'INSERT INTO inputs.work DEFAULT VALUES') > 0 AS has_id \gset
CREATE PROCEDURE inputs.until_run(wanted text, INOUT came boolean) LANGUAGE plpgsql AS $$
BEGIN
	came := false;
	FOR i IN 1 .. 1000000 LOOP
		came := EXISTS (SELECT FROM aggjobs.runs WHERE job_name = wanted AND trigger = 'schedule' AND status = 'succeeded');
		EXIT WHEN came OR clock_timestamp() > statement_timestamp() + interval '30 s';
		COMMIT;
	END LOOP;
END $$;
CALL inputs.until_run('every_second', NULL) \gset
SELECT CASE WHEN :'came' THEN 'ok' ELSE 'FAIL' END || ' the scheduler still runs a job';
SELECT CASE WHEN aggjobs.scheduler_state() = 'running' THEN 'ok' ELSE 'FAIL' END || ' the scheduler is at work';
