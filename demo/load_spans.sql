-- A month of sample data for the demo and the benchmarks.
--
--   psql -v rows=1000000 -f demo/load_spans.sql
--
-- Loads :rows spans of the last 30 days up to the present minute, a fifth as
-- many user activity events, and the prices of 12 models of 4 providers.  There
-- is no chance in it: every figure is a hash of a row's number, so two loads
-- that begin in the same minute are equal.  What is loaded before is removed.
--
-- The product it imitates: 1,500 users in 40 workspaces start runs of
-- workflows and agents.  A run is a root span with two to six children, calls
-- of models and of tools.  Work follows the day and the week, some runs fail,
-- one provider has a bad afternoon, and what began just now is still running.
\set ON_ERROR_STOP on
\if :{?rows} \else \set rows 1000000 \endif
SET timezone = 'UTC';
-- The planner can't guess series; compiling these expressions takes longer
-- than running them.
SET jit = off;
SELECT set_config('demo.rows', :'rows', false) AS "spans to load";

-- A number in [0, 1) that belongs to row "n" and property "seed".
CREATE FUNCTION pg_temp.u(n bigint, seed bigint) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashint8extended(n, seed) & 9007199254740991)::double precision / 9007199254740992;

TRUNCATE aggjobs.execution_spans, aggjobs.user_activity_events RESTART IDENTITY;
DELETE FROM aggjobs.model_pricing;

CREATE TEMP TABLE demo_model AS
    SELECT row_number() OVER () - 1 AS no, provider, provider || '-' || size AS model, price_in, price_out
    FROM (VALUES ('aurora', 3.0), ('borealis', 2.0), ('cirrus', 1.0), ('dune', 0.5)) AS p (provider, factor),
         LATERAL (VALUES ('large', 5 * factor, 15 * factor), ('medium', factor, 4 * factor),
                         ('small', 0.15 * factor, 0.6 * factor)) AS m (size, price_in, price_out);
INSERT INTO aggjobs.model_pricing (provider, model, valid_from, input_per_million, output_per_million)
    SELECT provider, model, '-infinity', price_in, price_out FROM demo_model;
-- One price falls in the middle of the month.
INSERT INTO aggjobs.model_pricing (provider, model, valid_from, input_per_million, output_per_million)
    SELECT provider, model, date_trunc('day', now(), 'UTC') - interval '15 days', price_in * 0.8, price_out * 0.8
    FROM demo_model WHERE model = 'aurora-large';

-- Hours of the month with their share of the work: two peaks a day, little at
-- night, a third at weekends.  The present hour counts by its minutes.
CREATE TEMP TABLE demo_hour AS
    WITH span AS (
        SELECT date_trunc('day', now(), 'UTC') - interval '30 days' AS from_time,
               date_trunc('minute', now(), 'UTC') AS to_time
    ), hour AS (
        SELECT h AS hour, least(interval '1 hour', s.to_time - h) AS width,
               (0.15 + exp(-(((extract(hour FROM h) - 10)::float / 2.5) ^ 2))
                     + 0.9 * exp(-(((extract(hour FROM h) - 15)::float / 3) ^ 2)))
               * CASE WHEN extract(isodow FROM h) >= 6 THEN 0.33 ELSE 1 END AS weight
        FROM span AS s, generate_series(s.from_time, s.to_time, interval '1 hour') AS h
        WHERE h < s.to_time
    ), share AS (
        SELECT hour, width, weight * extract(epoch FROM width)::float AS weight FROM hour
    )
    SELECT hour, width,
           coalesce(sum(weight) OVER (ORDER BY hour ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
               / sum(weight) OVER () AS lo,
           sum(weight) OVER (ORDER BY hour) / sum(weight) OVER () AS hi,
           ntile(10) OVER (ORDER BY hour) AS batch
    FROM share;
ANALYZE demo_hour;

-- Ten runs have 50 spans, so :rows spans are :rows / 5 runs.
CREATE PROCEDURE pg_temp.load_runs(first_batch int, runs bigint)
    LANGUAGE sql AS $sql$
    INSERT INTO aggjobs.execution_spans (span_id, trace_id, parent_span_id, workspace_id, user_id,
        entity_type, entity_id, span_type, name, provider, model, status, error,
        started_at, ended_at, input_tokens, output_tokens, cost_usd, credits, attributes)
    WITH run AS (
        SELECT t,
               (t / 10) * 50 + (ARRAY[0, 3, 7, 12, 18, 25, 30, 34, 40, 43])[t % 10 + 1] + 1 AS root_id,
               (ARRAY[3, 4, 5, 6, 7, 5, 4, 6, 3, 7])[t % 10 + 1] AS spans,
               floor(1500 * pg_temp.u(t, 1) ^ 1.6)::int AS user_no,
               pg_temp.u(t, 2) < 0.6 AS is_workflow,
               h.hour + h.width * ((t + pg_temp.u(t, 3) - h.lo * runs) / ((h.hi - h.lo) * runs + 2)) AS started_at,
               interval '1 second' * round((0.4 * exp(6.5 * pg_temp.u(t, 4)))::numeric, 3) AS duration,
               pg_temp.u(t, 5) AS fate
        FROM demo_hour AS h,
             generate_series(ceil(h.lo * runs)::bigint, ceil(h.hi * runs)::bigint - 1) AS t
        WHERE h.batch = first_batch
    ), span AS (
        SELECT r.*, k, r.root_id + k AS span_id, user_no % 40 AS workspace_no,
               CASE WHEN k = 0 THEN CASE WHEN is_workflow THEN 'workflow_run' ELSE 'agent_run' END
                    WHEN k = 1 OR pg_temp.u(r.root_id + k, 6) < 0.55 THEN 'model_call'
                    ELSE 'tool_call' END AS span_type,
               r.started_at + CASE WHEN k = 0 THEN interval '0' ELSE r.duration * ((k - 1.0) / r.spans) END AS begins,
               CASE WHEN k = 0 THEN r.duration
                    ELSE r.duration * ((0.3 + 0.7 * pg_temp.u(r.root_id + k, 7)) / r.spans) END AS takes,
               floor(12 * pg_temp.u(r.root_id + k, 8) ^ 1.5)::int AS model_no,
               floor(200 + 6000 * pg_temp.u(r.root_id + k, 9) ^ 3)::bigint AS tokens_in,
               floor(20 + 1800 * pg_temp.u(r.root_id + k, 10) ^ 2)::bigint AS tokens_out
        FROM run AS r, generate_series(0, r.spans - 1) AS k
    ), told AS (
        SELECT s.*, m.provider, m.model,
               CASE WHEN (SELECT max(hour + width) FROM demo_hour) < s.begins + s.takes OR s.fate < 0.0003 THEN 'running'
                    WHEN s.fate > 0.99 THEN 'cancelled'
                    -- the last span of a failed run is the one that failed, and the root with it
                    WHEN s.k IN (0, s.spans - 1)
                         AND s.fate > CASE WHEN s.user_no % 97 = 0 THEN 0.7 ELSE 0.95 END THEN 'failed'
                    WHEN m.provider = 'borealis'
                         AND s.begins >= date_trunc('day', now(), 'UTC') - interval '11 days' + interval '13 hours'
                         AND s.begins < date_trunc('day', now(), 'UTC') - interval '11 days' + interval '16 hours'
                         AND pg_temp.u(s.span_id, 11) < 0.4 THEN 'failed'
                    ELSE 'succeeded' END AS status
        FROM span AS s
        LEFT JOIN demo_model AS m ON s.span_type = 'model_call' AND m.no = s.model_no
    )
    SELECT span_id,
           'tr-' || lpad(to_hex(t), 8, '0'),
           CASE WHEN k > 0 THEN root_id END,
           'ws-' || lpad(workspace_no::text, 2, '0'),
           'user-' || lpad(user_no::text, 4, '0'),
           CASE WHEN is_workflow THEN 'workflow' ELSE 'agent' END,
           CASE WHEN is_workflow THEN 'wf-' ELSE 'ag-' END || workspace_no || '-'
               || floor(CASE WHEN is_workflow THEN 6 ELSE 3 END * pg_temp.u(t, 12))::int,
           span_type,
           CASE span_type WHEN 'model_call' THEN 'complete' WHEN 'tool_call'
               THEN (ARRAY['search', 'fetch page', 'run query', 'send mail'])[span_id % 4 + 1] END,
           provider, model, status,
           CASE WHEN status = 'failed' THEN
               (ARRAY['rate limit exceeded', 'upstream timed out after 30 s', 'context length exceeded',
                      'tool returned status 502', 'output did not match the schema'])[span_id % 5 + 1] END,
           begins,
           CASE WHEN status <> 'running' THEN begins + takes END,
           CASE WHEN span_type = 'model_call' THEN tokens_in END,
           CASE WHEN span_type = 'model_call' AND status <> 'running' THEN tokens_out END,
           -- three writers of ten leave the cost to the price list
           CASE WHEN span_type = 'model_call' AND status <> 'running' AND span_id % 10 >= 3 THEN
               round((0.0000012 * tokens_in + 0.0000051 * tokens_out)::numeric, 6) END,
           CASE WHEN status <> 'running' AND span_type = 'model_call' THEN round((tokens_in + tokens_out) / 1000.0, 2)
                WHEN status <> 'running' AND span_type = 'tool_call' THEN 0.5 END,
           CASE WHEN k = 0 THEN jsonb_build_object('region', (ARRAY['eu', 'us', 'ap'])[t % 3 + 1], 'attempt', 1) END
    FROM told
    $sql$;

DO $do$
DECLARE
    runs bigint := current_setting('demo.rows')::bigint / 5;
    began timestamptz := clock_timestamp();
    loaded bigint;
BEGIN
    FOR batch IN 1..10 LOOP
        CALL pg_temp.load_runs(batch, runs);
        COMMIT;
        SELECT max(span_id) INTO loaded FROM aggjobs.execution_spans;
        RAISE NOTICE '% of % spans, % s', lpad(loaded::text, 8), runs * 5,
            round(extract(epoch FROM clock_timestamp() - began));
    END LOOP;
END
$do$;

SELECT setval(pg_get_serial_sequence('aggjobs.execution_spans', 'span_id'), max(span_id)) AS "last span"
FROM aggjobs.execution_spans;

INSERT INTO aggjobs.user_activity_events (workspace_id, user_id, event_type, occurred_at, attributes)
SELECT 'ws-' || lpad((user_no % 40)::text, 2, '0'),
       'user-' || lpad(user_no::text, 4, '0'),
       (ARRAY['login', 'edit', 'edit', 'run', 'run', 'run', 'share', 'export'])[floor(8 * pg_temp.u(e, 21))::int + 1],
       hour + width * ((e + pg_temp.u(e, 22) - lo * events) / ((hi - lo) * events + 2)),
       jsonb_build_object('client', (ARRAY['web', 'api', 'mobile'])[e % 3 + 1])
FROM (
    SELECT h.*, e, s.events, floor(1500 * pg_temp.u(e, 20) ^ 1.6)::int AS user_no
    FROM (SELECT current_setting('demo.rows')::bigint / 5 AS events) AS s, demo_hour AS h,
         generate_series(ceil(h.lo * s.events)::bigint, ceil(h.hi * s.events)::bigint - 1) AS e
) AS x;

VACUUM (ANALYZE) aggjobs.execution_spans, aggjobs.user_activity_events;
