-- The tables as a person would want to see them, each within 100 columns.
SET timezone = 'UTC';
SET client_min_messages = warning;
\pset footer off
\pset linestyle ascii

\echo 'The latest hours'
SELECT to_char(bucket, 'Dy DD Mon HH24:MI') AS hour, sum(executions) AS runs, sum(failures) AS failed,
       round(100 * sum(successes) / nullif(sum(successes) + sum(failures), 0), 1) AS "success %",
       sum(total_tokens) AS tokens, round(sum(cost_usd), 2) AS "cost $",
       round(sum(duration_sum_ms) / nullif(sum(duration_count), 0) / 1000, 1) AS "average s"
FROM aggjobs.hourly_analytics GROUP BY bucket ORDER BY bucket DESC LIMIT 6;

\echo 'Models by cost, all days'
SELECT provider, model, sum(calls) AS calls, round(100.0 * sum(failures) / sum(calls), 2) AS "failed %",
       sum(total_tokens) AS tokens, round(sum(cost_usd), 2) AS "cost $",
       rpad('', round(30 * sum(cost_usd) / max(sum(cost_usd)) OVER ())::int, '#') AS share
FROM aggjobs.model_usage_stats GROUP BY 1, 2 ORDER BY sum(cost_usd) DESC LIMIT 8;

\echo 'Week over week'
SELECT to_char(bucket, 'IYYY-"W"IW') AS week, sum(executions) AS runs, sum(failures) AS failed,
       count(DISTINCT user_id) AS users, round(sum(cost_usd), 2) AS "cost $",
       round(100 * (sum(cost_usd) / nullif(lag(sum(cost_usd)) OVER (ORDER BY bucket), 0) - 1), 1) AS "change %"
FROM aggjobs.weekly_analytics GROUP BY bucket ORDER BY bucket DESC LIMIT 5;

\echo 'Users with the most failures, all days'
SELECT user_id, workspace_id AS workspace, sum(executions) AS runs, sum(failures) AS failed,
       round(100 * sum(successes) / nullif(sum(successes) + sum(failures), 0), 1) AS "success %",
       round(sum(cost_usd), 2) AS "cost $"
FROM aggjobs.daily_analytics GROUP BY 1, 2 ORDER BY sum(failures) DESC, user_id LIMIT 5;

\echo 'Jobs'
SELECT job_name, schedule, state, last_status, last_run_at::timestamp(0) AS last_run, next_run_at::timestamp(0) AS next_run
FROM aggjobs.jobs ORDER BY job_name;

\echo 'Latest runs'
SELECT run_id, job_name, status, trigger, started_at::timestamp(0) AS started,
       round(extract(epoch FROM ended_at - started_at), 2) AS seconds, rows_written
FROM aggjobs.runs ORDER BY run_id DESC LIMIT 8;
