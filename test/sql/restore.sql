-- What happens to rows that come from a dump; test/t/restore.pl restores whole ones.
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA restore;
SET search_path = restore, public;

-- a job of another time waits, and the hint says for what
SELECT aggjobs_create_job('restored', 'every 1 day', '[{"kind": "command", "command": "SELECT 1"}]') > 0 AS made;
SELECT state FROM aggjobs.jobs WHERE job_name = 'restored';
CREATE TEMP TABLE dumped AS SELECT * FROM aggjobs.job WHERE job_name = 'restored';
SELECT aggjobs_drop_job('restored');
UPDATE dumped SET created_at = created_at - interval '1 day';
SET client_min_messages = notice;
INSERT INTO aggjobs.job OVERRIDING SYSTEM VALUE TABLE dumped;
INSERT INTO aggjobs.job_state (job_id) SELECT job_id FROM dumped;
SELECT state FROM aggjobs.jobs WHERE job_name = 'restored';
SELECT aggjobs_resume('restored');
SELECT state FROM aggjobs.jobs WHERE job_name = 'restored';
SELECT aggjobs_drop_job('restored');
-- one that is paused has nothing to wait for
UPDATE dumped SET enabled = false;
INSERT INTO aggjobs.job OVERRIDING SYSTEM VALUE TABLE dumped;
DELETE FROM aggjobs.job WHERE job_name = 'restored';
SET client_min_messages = warning;

-- a horizon behind the back of writers that know of an older one
CREATE TABLE events (at timestamptz NOT NULL, v integer);
CREATE INDEX ON events (at);
INSERT INTO events VALUES (now() - interval '1 day', 1);
SELECT aggjobs_create_rollup('restore_hourly', $$
	SELECT date_trunc('hour', e.at, 'UTC') AS bucket, count(*) AS n FROM events AS e GROUP BY 1 $$, schedule => NULL) > 0 AS made;
CALL aggjobs_refresh('restore_hourly');
SELECT count(*) FROM aggjobs.change WHERE source = 'events'::regclass;
INSERT INTO events VALUES (now() + interval '30 hours', 1);
SELECT count(*) AS not_noted FROM aggjobs.change WHERE source = 'events'::regclass;
CREATE TEMP TABLE state AS SELECT * FROM aggjobs.rollup_state WHERE rollup_name = 'restore_hourly';
UPDATE state SET horizon = date_trunc('day', now() + interval '3 days', 'UTC');
BEGIN;
DELETE FROM aggjobs.rollup_state WHERE rollup_name = 'restore_hourly';
INSERT INTO aggjobs.rollup_state TABLE state;
COMMIT;
SELECT count(*) AS noted FROM aggjobs.change WHERE source = 'events'::regclass;
SELECT sum(n) FROM restore_hourly_live;
CALL aggjobs_refresh('restore_hourly');
SELECT count(*) FROM aggjobs.change WHERE source = 'events'::regclass;
SELECT sum(n) FROM restore_hourly_live;
INSERT INTO events VALUES (now() + interval '40 hours', 1);
SELECT count(*) AS noted FROM aggjobs.change WHERE source = 'events'::regclass;
SELECT sum(n) FROM restore_hourly_live;
CALL aggjobs_refresh('restore_hourly');
SELECT sum(n) FROM restore_hourly;

SELECT aggjobs_drop_rollup('restore_hourly');
DROP SCHEMA restore CASCADE;
