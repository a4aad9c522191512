--
-- The ready-made pipeline: what its jobs compute, against other SQL over the
-- raw rows, through late rows, moved rows and deletes.
--
-- All rows carry the workspace or the provider "pipeline_test" and old, fixed
-- times, so rows of other tests do not matter.  Removed at the end.
--
\set VERBOSITY terse
SET client_min_messages = warning;
SET datestyle = 'ISO';
-- Not UTC, and with a change of daylight saving: it must not show.
SET timezone = 'America/New_York';

-- If another test has retired these days already, nothing below can be right.
SELECT coalesce(bool_or(frozen_before > '2026-01-01 00:00+00'), false) AS frozen
FROM aggjobs.rollup JOIN aggjobs.rollup_state USING (rollup_name) WHERE builtin;

-- What may be written.  Refused: what would spoil or fail a whole hour.
INSERT INTO aggjobs.execution_spans (span_type, status, started_at) VALUES ('agent_run', 'ok', 'infinity');
INSERT INTO aggjobs.execution_spans (span_type, status, started_at, ended_at)
VALUES ('agent_run', 'ok', '2026-01-05 10:00+00', 'infinity');
INSERT INTO aggjobs.execution_spans (span_type, status, started_at, cost_usd)
VALUES ('agent_run', 'ok', '2026-01-05 10:00+00', 'NaN');
INSERT INTO aggjobs.execution_spans (span_type, status, started_at, credits)
VALUES ('agent_run', 'ok', '2026-01-05 10:00+00', '-Infinity');
INSERT INTO aggjobs.execution_spans (span_type, status, started_at, input_tokens)
VALUES ('agent_run', 'ok', '2026-01-05 10:00+00', -1);
INSERT INTO aggjobs.execution_spans (span_type, started_at) VALUES ('agent_run', '2026-01-05 10:00+00');
INSERT INTO aggjobs.user_activity_events (event_type, occurred_at) VALUES ('login', '-infinity');
INSERT INTO aggjobs.model_pricing (provider, model, input_per_million) VALUES ('pipeline_test', 'm', -1);

SELECT s AS status, aggjobs.is_success(s) AS success, aggjobs.is_failure(s) AS failure, aggjobs.is_running(s) AS running
FROM unnest('{success,SUCCEEDED,completed,OK,error,Failed,failure,timeout,timed_out,crashed,
	running,started,in_progress,pending,queued,cancelled,skipped}'::text[]) AS s;
SELECT aggjobs.span_duration('2026-01-01 00:00+00', '2026-01-02 00:00:01+00') AS day,
	aggjobs.span_duration('2026-01-01 00:00+00', NULL) AS unfinished,
	aggjobs.span_duration('2026-01-01 00:00:05+00', '2026-01-01 00:00:04+00') AS backwards,
	aggjobs.milliseconds('1 day 00:00:00.000123') AS ms;

-- A writer needs nothing but INSERT.
CREATE ROLE regress_pipeline_writer;
GRANT USAGE ON SCHEMA aggjobs TO regress_pipeline_writer;
GRANT INSERT ON aggjobs.execution_spans, aggjobs.user_activity_events TO regress_pipeline_writer;

INSERT INTO aggjobs.model_pricing (provider, model, valid_from, input_per_million, output_per_million) VALUES
	('pipeline_test', 'big', '-infinity', 10, 30),
	('pipeline_test', 'big', '2026-01-12 09:30+00', 5, 15),
	('pipeline_test', 'new', '2026-01-20 00:00+00', 1, 0);

SET ROLE regress_pipeline_writer;
-- A few rows to read by eye, in the hour of 9 on Monday, January 12 ...
INSERT INTO aggjobs.execution_spans (trace_id, workspace_id, user_id, entity_type, entity_id, span_type,
	provider, model, status, started_at, ended_at, input_tokens, output_tokens, cost_usd, credits) VALUES
	('t1', 'pipeline_test', 'ann', 'workflow', 'w1', 'workflow_run', NULL, NULL, 'success',
		'2026-01-12 09:00:00+00', '2026-01-12 09:00:10.5+00', NULL, NULL, NULL, 3),
	('t1', 'pipeline_test', 'ann', 'workflow', 'w1', 'model_call', 'pipeline_test', 'big', 'ok',
		'2026-01-12 09:29:59.999999+00', '2026-01-12 09:30:01+00', 1000, 100, NULL, NULL),
	('t1', 'pipeline_test', 'ann', 'workflow', 'w1', 'model_call', 'pipeline_test', 'big', 'ok',
		'2026-01-12 09:30:00+00', '2026-01-12 09:30:01+00', 1000, 100, NULL, NULL),
	('t1', 'pipeline_test', 'ann', 'workflow', 'w1', 'model_call', 'pipeline_test', 'big', 'ok',
		'2026-01-12 09:31:00+00', '2026-01-12 09:31:01+00', 1000, 100, 0.5, 0.25),
	('t1', 'pipeline_test', 'ann', 'workflow', 'w1', 'model_call', 'pipeline_test', 'new', 'error',
		'2026-01-12 09:32:00+00', NULL, 500, 0, NULL, NULL),
	('t2', 'pipeline_test', 'ann', 'workflow', 'w1', 'workflow_run', NULL, NULL, 'TIMEOUT',
		'2026-01-12 09:40:00+00', '2026-01-12 09:39:59+00', NULL, NULL, NULL, NULL),
	('t3', 'pipeline_test', 'ann', 'workflow', 'w1', 'workflow_run', NULL, NULL, 'running',
		'2026-01-12 09:59:59.999999+00', NULL, NULL, NULL, NULL, NULL),
	('t4', 'pipeline_test', NULL, NULL, NULL, 'agent_run', NULL, NULL, 'cancelled',
		'2026-01-12 10:00:00+00', '2026-01-12 10:00:00.25+00', 0, 0, 0, -1);
-- ... and many more, over the ends of days, weeks and months.
INSERT INTO aggjobs.execution_spans (workspace_id, user_id, entity_type, entity_id, span_type,
	provider, model, status, started_at, ended_at, input_tokens, output_tokens, cost_usd, credits)
SELECT 'pipeline_test',
	(ARRAY['ann', 'bob', NULL, 'eve'])[1 + i % 4],
	(ARRAY['workflow', 'agent', NULL])[1 + i % 3],
	'e' || i % 2,
	(ARRAY['workflow_run', 'model_call', 'agent_run', 'model_call', 'tool_call', 'other'])[1 + i % 6],
	CASE WHEN i % 7 <> 0 THEN 'pipeline_test' END,
	(ARRAY['big', 'new', NULL, 'unknown', 'big'])[1 + i % 5],
	(ARRAY['ok', 'SUCCESS', 'failed', 'running', 'cancelled', 'succeeded', 'crashed'])[1 + i % 7],
	s.started_at,
	CASE WHEN i % 9 <> 0 THEN s.started_at + (i % 50 - 2) * interval '0.777 seconds' END,
	CASE WHEN i % 4 <> 1 THEN i * 13 % 5000 END,
	CASE WHEN i % 8 <> 3 THEN i * 7 % 900 END,
	CASE WHEN i % 10 < 5 THEN (i % 31) * 0.01 END,
	CASE WHEN i % 3 = 0 THEN (i % 17) * 0.25 END
FROM generate_series(1, 3000) AS i,
	LATERAL (SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '22 minutes 13.000517 seconds') AS s (started_at);
INSERT INTO aggjobs.user_activity_events (workspace_id, user_id, event_type, occurred_at)
SELECT 'pipeline_test', CASE WHEN i % 5 <> 0 THEN 'u' || i % 3 END, (ARRAY['login', 'edit'])[1 + i % 2],
	'2026-01-01 00:00+00'::timestamptz + i * interval '97 minutes'
FROM generate_series(1, 400) AS i;
RESET ROLE;

--
-- The same figures by other means: no price ranges, no shared functions,
-- every level straight from the raw rows.
--
CREATE TEMP VIEW raw AS
SELECT s.*,
	date_bin('1 hour', s.started_at, '2001-01-01 00:00+00') AS hour,
	(s.started_at AT TIME ZONE 'UTC')::date AS day,
	right(s.span_type, 4) = '_run' AS root,
	upper(s.status) IN ('OK', 'SUCCESS', 'SUCCEEDED') AS good,
	upper(s.status) IN ('FAILED', 'CRASHED', 'TIMEOUT', 'ERROR') AS bad,
	1000 * CASE WHEN s.ended_at < s.started_at THEN 0
		ELSE extract(epoch FROM s.ended_at) - extract(epoch FROM s.started_at) END AS ms,
	price.model IS NOT NULL AS priced,
	coalesce(s.cost_usd, (coalesce(s.input_tokens, 0) * price.input_per_million
		+ coalesce(s.output_tokens, 0) * price.output_per_million) / 1000000, 0) AS cost
FROM aggjobs.execution_spans AS s
LEFT JOIN LATERAL (
	SELECT * FROM aggjobs.model_pricing AS p
	WHERE p.provider = s.provider AND p.model = s.model AND p.valid_from <= s.started_at
	ORDER BY p.valid_from DESC LIMIT 1) AS price ON true
WHERE s.workspace_id = 'pipeline_test';

CREATE TEMP VIEW wanted_analytics AS
SELECT b.level, b.bucket, workspace_id, user_id, entity_type, entity_id,
	count(CASE WHEN root THEN 1 END) AS executions,
	count(CASE WHEN root AND good THEN 1 END) AS successes,
	count(CASE WHEN root AND bad THEN 1 END) AS failures,
	count(CASE WHEN root AND status = 'running' THEN 1 END) AS running,
	sum(coalesce(input_tokens, 0)) AS input_tokens,
	sum(coalesce(output_tokens, 0)) AS output_tokens,
	sum(cost) AS cost_usd,
	sum(coalesce(credits, 0)) AS credits,
	sum(CASE WHEN root AND ms IS NOT NULL THEN ms ELSE 0 END) AS duration_sum_ms,
	count(CASE WHEN root THEN ms END) AS duration_count,
	min(CASE WHEN root THEN ms END) AS min_duration_ms,
	max(CASE WHEN root THEN ms END) AS max_duration_ms,
	sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS total_tokens,
	round(avg(CASE WHEN root THEN ms END), 3) AS avg_duration_ms,
	round(avg(CASE WHEN root AND good THEN 1 WHEN root AND bad THEN 0 END), 6) AS success_rate
FROM raw
CROSS JOIN LATERAL (VALUES
	('hour', hour),
	('day', day::timestamp AT TIME ZONE 'UTC'),
	('week', (day - extract(isodow FROM day)::int + 1)::timestamp AT TIME ZONE 'UTC'),
	('month', (day - extract(day FROM day)::int + 1)::timestamp AT TIME ZONE 'UTC')
) AS b (level, bucket)
GROUP BY 1, 2, 3, 4, 5, 6;

CREATE TEMP VIEW wanted_models AS
SELECT day::timestamp AT TIME ZONE 'UTC' AS bucket, provider, model, count(*) AS calls,
	count(CASE WHEN good THEN 1 END) AS successes,
	count(CASE WHEN bad THEN 1 END) AS failures,
	sum(coalesce(input_tokens, 0)) AS input_tokens,
	sum(coalesce(output_tokens, 0)) AS output_tokens,
	sum(cost) AS cost_usd,
	count(CASE WHEN cost_usd IS NULL AND NOT priced
		AND coalesce(input_tokens, 0) + coalesce(output_tokens, 0) > 0 THEN 1 END) AS unpriced_calls,
	sum(coalesce(credits, 0)) AS credits,
	coalesce(sum(ms), 0) AS duration_sum_ms, count(ms) AS duration_count,
	min(ms) AS min_duration_ms, max(ms) AS max_duration_ms,
	sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS total_tokens,
	round(avg(ms), 3) AS avg_duration_ms,
	round(avg(CASE WHEN good THEN 1 WHEN bad THEN 0 END), 6) AS success_rate
FROM raw WHERE span_type = 'model_call' AND provider = 'pipeline_test'
GROUP BY 1, 2, 3;

CREATE TEMP VIEW wanted_credits AS
SELECT hour, workspace_id, user_id, entity_type, count(*) AS spans,
	count(CASE WHEN coalesce(credits, 0) <> 0 THEN 1 END) AS credit_spans,
	sum(coalesce(credits, 0)) AS credits, sum(cost) AS cost_usd
FROM raw GROUP BY 1, 2, 3, 4;

CREATE TEMP VIEW wanted_activity AS
SELECT date_bin('1 hour', occurred_at, '2001-01-01 00:00+00'), workspace_id, user_id, event_type,
	count(*), min(occurred_at), max(occurred_at)
FROM aggjobs.user_activity_events WHERE workspace_id = 'pipeline_test' GROUP BY 1, 2, 3, 4;

CREATE TEMP VIEW got_analytics AS
SELECT 'hour' AS level, a.* FROM aggjobs.hourly_analytics AS a WHERE workspace_id = 'pipeline_test'
UNION ALL
SELECT 'day', a.* FROM aggjobs.daily_analytics AS a WHERE workspace_id = 'pipeline_test'
UNION ALL
SELECT 'week', a.* FROM aggjobs.weekly_analytics AS a WHERE workspace_id = 'pipeline_test'
UNION ALL
SELECT 'month', a.* FROM aggjobs.monthly_analytics AS a WHERE workspace_id = 'pipeline_test';
CREATE TEMP VIEW got_models AS
SELECT * FROM aggjobs.model_usage_stats WHERE provider = 'pipeline_test';
CREATE TEMP VIEW got_credits AS
SELECT * FROM aggjobs.credit_consumption_hourly WHERE workspace_id = 'pipeline_test';
CREATE TEMP VIEW got_activity AS
SELECT * FROM aggjobs.user_activity_hourly WHERE workspace_id = 'pipeline_test';

CREATE TEMP VIEW differences AS
SELECT l.level AS rollup,
	(SELECT count(*) FROM got_analytics WHERE level = l.level) AS rows,
	(SELECT count(*) FROM (SELECT * FROM wanted_analytics WHERE level = l.level EXCEPT ALL
		SELECT * FROM got_analytics) AS d) AS missing,
	(SELECT count(*) FROM (SELECT * FROM got_analytics WHERE level = l.level EXCEPT ALL
		SELECT * FROM wanted_analytics) AS d) AS extra
FROM unnest('{hour,day,week,month}'::text[]) AS l (level)
UNION ALL
SELECT 'models', (SELECT count(*) FROM got_models),
	(SELECT count(*) FROM (TABLE wanted_models EXCEPT ALL TABLE got_models) AS d),
	(SELECT count(*) FROM (TABLE got_models EXCEPT ALL TABLE wanted_models) AS d)
UNION ALL
SELECT 'credits', (SELECT count(*) FROM got_credits),
	(SELECT count(*) FROM (TABLE wanted_credits EXCEPT ALL TABLE got_credits) AS d),
	(SELECT count(*) FROM (TABLE got_credits EXCEPT ALL TABLE wanted_credits) AS d)
UNION ALL
SELECT 'activity', (SELECT count(*) FROM got_activity),
	(SELECT count(*) FROM (TABLE wanted_activity EXCEPT ALL TABLE got_activity) AS d),
	(SELECT count(*) FROM (TABLE got_activity EXCEPT ALL TABLE wanted_activity) AS d);

CALL aggjobs_run('hourly');
CALL aggjobs_run('daily');
CALL aggjobs_run('weekly');
CALL aggjobs_run('monthly');
TABLE differences;

\x on
SELECT bucket AT TIME ZONE 'UTC' AS hour, a.*
FROM aggjobs.hourly_analytics AS a
WHERE workspace_id = 'pipeline_test' AND user_id = 'ann' AND entity_id = 'w1' ORDER BY bucket;
\x off
SELECT bucket AT TIME ZONE 'UTC' AS day, model, calls, failures, total_tokens, cost_usd, unpriced_calls, avg_duration_ms
FROM aggjobs.model_usage_stats
WHERE provider = 'pipeline_test' AND bucket = '2026-01-12 00:00+00' ORDER BY model;
SELECT bucket AT TIME ZONE 'UTC' AS week, sum(executions) AS executions, sum(successes) AS successes, sum(failures) AS failures
FROM aggjobs.weekly_analytics WHERE workspace_id = 'pipeline_test' GROUP BY 1 ORDER BY 1;
SELECT bucket AT TIME ZONE 'UTC' AS month, sum(executions) AS executions, sum(successes) AS successes, sum(failures) AS failures
FROM aggjobs.monthly_analytics WHERE workspace_id = 'pipeline_test' GROUP BY 1 ORDER BY 1;

-- Nothing has changed: a second run finds nothing to do and changes nothing.
CALL aggjobs_run('hourly');
CALL aggjobs_run('daily');
SELECT sum(missing) AS missing, sum(extra) AS extra FROM differences;

-- Late rows, one by replication and one in an hour that had none.
INSERT INTO aggjobs.execution_spans (workspace_id, user_id, span_type, status, started_at, ended_at, credits)
VALUES ('pipeline_test', 'ann', 'agent_run', 'ok', '2026-01-12 09:05+00', '2026-01-12 09:06+00', 7);
SET session_replication_role = replica;
INSERT INTO aggjobs.execution_spans (workspace_id, user_id, span_type, status, started_at)
VALUES ('pipeline_test', 'zoe', 'agent_run', 'running', '2025-12-31 23:59:59.999999+00');
RESET session_replication_role;
INSERT INTO aggjobs.user_activity_events (workspace_id, user_id, event_type, occurred_at)
VALUES ('pipeline_test', 'zoe', 'login', '2026-01-03 03:03+00');
-- A run that was going on has ended, and had started in another hour.
UPDATE aggjobs.execution_spans
SET status = 'success', started_at = '2026-01-12 11:00+00', ended_at = '2026-01-12 11:30+00'
WHERE workspace_id = 'pipeline_test' AND trace_id = 't3';
-- Moved over the end of a month, a week and a day at once.
UPDATE aggjobs.execution_spans SET started_at = '2026-02-02 00:00+00', ended_at = NULL
WHERE workspace_id = 'pipeline_test' AND trace_id = 't2';
-- Tokens that were counted late.
UPDATE aggjobs.execution_spans SET output_tokens = output_tokens + 50
WHERE workspace_id = 'pipeline_test' AND started_at = '2026-01-12 09:30+00';
-- The only row of its group.
DELETE FROM aggjobs.execution_spans WHERE workspace_id = 'pipeline_test' AND trace_id = 't4';
DELETE FROM aggjobs.user_activity_events
WHERE workspace_id = 'pipeline_test' AND occurred_at < '2026-01-01 06:00+00';
-- What is rolled back was never there.
BEGIN;
INSERT INTO aggjobs.execution_spans (workspace_id, span_type, status, started_at)
VALUES ('pipeline_test', 'agent_run', 'ok', '2026-01-20 09:05+00');
ROLLBACK;

SELECT rollup, missing > 0 AS missing, extra > 0 AS extra FROM differences;
CALL aggjobs_run('hourly');
CALL aggjobs_run('daily');
CALL aggjobs_run('weekly');
CALL aggjobs_run('monthly');
TABLE differences;
SELECT bucket AT TIME ZONE 'UTC' AS hour, user_id, executions, successes, failures, running, duration_sum_ms
FROM aggjobs.hourly_analytics
WHERE workspace_id = 'pipeline_test' AND (entity_id = 'w1' OR user_id = 'zoe') ORDER BY bucket;

-- Views look at the last days only: rows of long ago are not in them.
CALL aggjobs_run('refresh_views');
SELECT (SELECT count(*) FROM aggjobs.recent_activity_summary WHERE workspace_id = 'pipeline_test') AS recent,
	(SELECT count(*) FROM aggjobs.mv_hourly_execution_stats WHERE workspace_id = 'pipeline_test') AS hourly,
	(SELECT count(*) FROM aggjobs.mv_workspace_summary WHERE workspace_id = 'pipeline_test') AS workspace;

-- The job "verify" has nothing to say; then somebody writes a table.
CALL aggjobs_run('verify');
SELECT last_status FROM aggjobs.jobs WHERE job_name = 'verify';
SELECT s ->> 'kind' AS kind, s -> 'rollups' AS rollups, (s -> 'buckets')::int > 100 AS many, s -> 'differences' AS differences
FROM aggjobs.runs, jsonb_array_elements(steps) AS s WHERE job_name = 'verify' ORDER BY run_id DESC LIMIT 1;
SELECT aggjobs_create_job('pipeline_verify', NULL,
	'[{"kind": "verify", "rollups": ["weekly_analytics", "daily_analytics", "model_usage_stats"]}]') > 0 AS made;
UPDATE aggjobs.weekly_analytics SET executions = executions + 1 WHERE workspace_id = 'pipeline_test' AND user_id = 'zoe';
UPDATE aggjobs.model_usage_stats SET calls = calls + 1
WHERE provider = 'pipeline_test' AND model = 'big' AND bucket = '2026-01-12 00:00+00';
\set VERBOSITY default
CALL aggjobs_run('pipeline_verify');
\set VERBOSITY terse
SELECT status, sqlstate, detail LIKE '%weekly_analytics%' AS detail, hint LIKE '%aggjobs_repair(''weekly_analytics''%' AS hint
FROM aggjobs.runs WHERE job_name = 'pipeline_verify';
SELECT aggjobs_repair('weekly_analytics') AS weekly, aggjobs_repair('model_usage_stats', workers => 1) AS models \gset
SELECT aggjobs_wait_backfill(:weekly, '60 s') AS weekly, aggjobs_wait_backfill(:models, '60 s') AS models;
CALL aggjobs_run('pipeline_verify');
SELECT aggjobs_alter_job('pipeline_verify', steps => '[{"kind": "verify", "rollup": "weekly_analytics", "sample": 3}]');
SET client_min_messages = notice;
SELECT aggjobs_trigger('pipeline_verify', NULL, true);
SET client_min_messages = warning;
SELECT aggjobs_alter_job('pipeline_verify', steps => '[{"kind": "verify", "rollup": "weekly_analytics", "sample": 0}]');
SELECT aggjobs_alter_job('pipeline_verify', steps => '[{"kind": "verify", "rollup": "weekly_analytics", "sample": 2.5}]');
SELECT aggjobs_alter_job('pipeline_verify', steps => '[{"kind": "verify", "sample": 3}]');
SELECT aggjobs_alter_job('pipeline_verify', steps => '[{"kind": "verify", "rollups": ["weekly_analytics", "nothing"]}]');
SELECT aggjobs_drop_job('pipeline_verify');

-- Cleaning up is one more test: all figures go with their rows.
DELETE FROM aggjobs.execution_spans WHERE workspace_id = 'pipeline_test';
DELETE FROM aggjobs.user_activity_events WHERE workspace_id = 'pipeline_test';
DELETE FROM aggjobs.model_pricing WHERE provider = 'pipeline_test';
CALL aggjobs_run('hourly');
CALL aggjobs_run('daily');
CALL aggjobs_run('weekly');
CALL aggjobs_run('monthly');
TABLE differences;

-- Removal: refused while something reads it, else complete; then undone.
DROP VIEW differences, got_analytics, got_models, got_credits, got_activity,
	wanted_analytics, wanted_models, wanted_credits, wanted_activity, raw;
CREATE TEMP VIEW reader AS SELECT user_id FROM aggjobs.daily_analytics;
SELECT aggjobs_drop_pipeline();
DROP VIEW reader;
SET ROLE regress_pipeline_writer;
SELECT aggjobs_drop_pipeline();
RESET ROLE;
BEGIN;
SET LOCAL client_min_messages = notice;
SELECT aggjobs_drop_pipeline();
SELECT to_regclass('aggjobs.execution_spans') AS spans, to_regclass('aggjobs.mv_workspace_summary') AS summary,
	(SELECT count(*) FROM aggjobs.job WHERE builtin) AS jobs,
	(SELECT count(*) FROM aggjobs.rollup WHERE builtin) AS rollups,
	(SELECT count(*) FROM aggjobs.setting WHERE name IN ('retention.execution_spans', 'retention.daily_analytics')) AS settings;
SELECT aggjobs_drop_pipeline();
ROLLBACK;

REVOKE ALL ON aggjobs.execution_spans, aggjobs.user_activity_events FROM regress_pipeline_writer;
REVOKE USAGE ON SCHEMA aggjobs FROM regress_pipeline_writer;
DROP ROLE regress_pipeline_writer;
