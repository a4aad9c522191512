-- Is every table of the pipeline equal to the raw answer?
--
-- For each rollup, a plain GROUP BY over the raw rows (written apart from the
-- pipeline's own queries) is compared with the table, row by row and column by
-- column, for all buckets that had closed when its job last ran.  Prints one
-- line per table, and fails at the first that differs.
\set ON_ERROR_STOP on
SET timezone = 'UTC';
SET client_min_messages = notice;
SET jit = off;
SET work_mem = '128MB';

-- When each job last began a run that succeeded: later buckets may be missing.
-- A coarser rollup can't be ahead of the one it is made from.
CREATE TEMP TABLE demo_bound AS
WITH last AS (
    SELECT job_name, max(started_at) AS began FROM aggjobs.runs WHERE status = 'succeeded' GROUP BY job_name
)
SELECT date_trunc('hour', h.began) AS hour,
       date_trunc('day', least(h.began, d.began)) AS day,
       date_trunc('week', least(h.began, d.began, w.began)) AS week,
       date_trunc('month', least(h.began, d.began, m.began)) AS month
FROM last AS h, last AS d, last AS w, last AS m
WHERE (h.job_name, d.job_name, w.job_name, m.job_name) = ('hourly', 'daily', 'weekly', 'monthly');

-- What one span is worth: the writer's cost, else tokens at the price that
-- held when it began.
CREATE TEMP TABLE demo_span AS
SELECT s.*,
       s.span_type IN ('workflow_run', 'agent_run') AS is_root,
       s.status IN ('succeeded') AS good,
       s.status IN ('failed') AS bad,
       extract(epoch FROM s.ended_at - s.started_at) * 1000 AS ms,
       price.provider IS NULL AS no_price,
       coalesce(s.cost_usd, (coalesce(s.input_tokens, 0) * price.input_per_million
                             + coalesce(s.output_tokens, 0) * price.output_per_million) / 1000000, 0) AS cost
FROM aggjobs.execution_spans AS s
LEFT JOIN LATERAL (
    SELECT p.provider, p.input_per_million, p.output_per_million
    FROM aggjobs.model_pricing AS p
    WHERE p.provider = s.provider AND p.model = s.model AND p.valid_from <= s.started_at
    ORDER BY p.valid_from DESC LIMIT 1) AS price ON true;

CREATE PROCEDURE pg_temp.compare(rollup text, bound timestamptz, raw_query text)
    LANGUAGE plpgsql AS $$
DECLARE
    columns text;
    target regclass := 'aggjobs.' || rollup;
    total bigint;
    wrong bigint;
    example record;
BEGIN
    EXECUTE format('CREATE TEMP TABLE demo_raw AS SELECT * FROM (%s) AS q WHERE bucket < %L', raw_query, bound);
    -- every column of the table must have been computed here
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) INTO columns
    FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('CREATE TEMP TABLE demo_wrong AS
        (SELECT ''only raw'' AS side, q.* FROM (SELECT %1$s FROM demo_raw EXCEPT ALL SELECT %1$s FROM %2$s WHERE bucket < %3$L) AS q)
        UNION ALL
        (SELECT ''only in the table'', q.* FROM (SELECT %1$s FROM %2$s WHERE bucket < %3$L EXCEPT ALL SELECT %1$s FROM demo_raw) AS q)',
        columns, target, bound);
    SELECT count(*) INTO total FROM demo_raw;
    SELECT count(*) INTO wrong FROM demo_wrong;
    IF wrong > 0 THEN
        FOR example IN SELECT * FROM demo_wrong ORDER BY bucket, 3, 4, 1 LIMIT 6 LOOP
            RAISE WARNING '%', row_to_json(example);
        END LOOP;
        RAISE EXCEPTION '%: % rows differ from the raw answer (% expected)', rollup, wrong, total;
    END IF;
    RAISE NOTICE '%', rpad(rollup || ':', 28) || lpad(total::text, 8) || ' rows equal to the raw answer, up to '
        || to_char(bound, 'YYYY-MM-DD HH24:MI');
    DROP TABLE demo_raw, demo_wrong;
END
$$;

-- The four levels differ by the width of the bucket only, and all are compared
-- with the raw spans, not with one another.
CREATE PROCEDURE pg_temp.compare_analytics(rollup text, width text, bound timestamptz)
    LANGUAGE sql AS $$
CALL pg_temp.compare(rollup, bound, format($q$
    SELECT date_trunc(%L, started_at) AS bucket, workspace_id, user_id, entity_type, entity_id,
           count(*) FILTER (WHERE is_root) AS executions,
           count(*) FILTER (WHERE is_root AND good) AS successes,
           count(*) FILTER (WHERE is_root AND bad) AS failures,
           count(*) FILTER (WHERE is_root AND status = 'running') AS running,
           coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
           coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
           (coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0))::bigint AS total_tokens,
           sum(cost) AS cost_usd,
           coalesce(sum(credits), 0) AS credits,
           coalesce(sum(ms) FILTER (WHERE is_root), 0) AS duration_sum_ms,
           count(ms) FILTER (WHERE is_root) AS duration_count,
           min(ms) FILTER (WHERE is_root) AS min_duration_ms,
           max(ms) FILTER (WHERE is_root) AS max_duration_ms,
           round(sum(ms) FILTER (WHERE is_root) / nullif(count(ms) FILTER (WHERE is_root), 0), 3) AS avg_duration_ms,
           CASE WHEN count(*) FILTER (WHERE is_root AND (good OR bad)) > 0 THEN
               round(count(*) FILTER (WHERE is_root AND good)::numeric
                     / count(*) FILTER (WHERE is_root AND (good OR bad)), 6) END AS success_rate
    FROM demo_span GROUP BY 1, 2, 3, 4, 5$q$, width));
$$;

SELECT hour, day, week, month FROM demo_bound \gset
CALL pg_temp.compare_analytics('hourly_analytics', 'hour', :'hour');
CALL pg_temp.compare_analytics('daily_analytics', 'day', :'day');
CALL pg_temp.compare_analytics('weekly_analytics', 'week', :'week');
CALL pg_temp.compare_analytics('monthly_analytics', 'month', :'month');

CALL pg_temp.compare('model_usage_stats', :'day', $q$
    SELECT date_trunc('day', started_at) AS bucket, provider, model,
           count(*) AS calls,
           count(*) FILTER (WHERE good) AS successes,
           count(*) FILTER (WHERE bad) AS failures,
           coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
           coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
           (coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0))::bigint AS total_tokens,
           sum(cost) AS cost_usd,
           count(*) FILTER (WHERE cost_usd IS NULL AND no_price
                            AND (input_tokens IS NOT NULL OR output_tokens IS NOT NULL)) AS unpriced_calls,
           coalesce(sum(credits), 0) AS credits,
           coalesce(sum(ms), 0) AS duration_sum_ms,
           count(ms) AS duration_count,
           min(ms) AS min_duration_ms,
           max(ms) AS max_duration_ms,
           round(sum(ms) / nullif(count(ms), 0), 3) AS avg_duration_ms,
           round(count(*) FILTER (WHERE good)::numeric / nullif(count(*) FILTER (WHERE good OR bad), 0), 6)
               AS success_rate
    FROM demo_span WHERE span_type = 'model_call' GROUP BY 1, 2, 3$q$);

CALL pg_temp.compare('user_activity_hourly', :'hour', $q$
    SELECT date_trunc('hour', occurred_at) AS bucket, workspace_id, user_id, event_type,
           count(*) AS events, min(occurred_at) AS first_event_at, max(occurred_at) AS last_event_at
    FROM aggjobs.user_activity_events GROUP BY 1, 2, 3, 4$q$);

CALL pg_temp.compare('credit_consumption_hourly', :'hour', $q$
    SELECT date_trunc('hour', started_at) AS bucket, workspace_id, user_id, entity_type,
           count(*) AS spans, count(credits) AS credit_spans,
           coalesce(sum(credits), 0) AS credits, sum(cost) AS cost_usd
    FROM demo_span GROUP BY 1, 2, 3, 4$q$);
