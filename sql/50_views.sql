/*
 * What people read.  Rows are those of jobs that the reader may act on, or
 * all of them for members of pg_monitor; what others wrote and what went
 * wrong in their SQL (steps, commands, errors, log lines) is shown to nobody
 * but them.
 *
 * The views run with the rights of their owner on the tables, so readers need
 * no right on those.
 */

-- -------------------------------------------------------------------- jobs

CREATE VIEW aggjobs.jobs WITH (security_barrier) AS
SELECT j.job_name,
       j.schedule,
       j.time_zone,
       j.enabled,
       CASE WHEN r.status IS NOT NULL THEN r.status
            WHEN NOT j.enabled THEN 'paused'
            WHEN j.database_oid <> (SELECT d.oid FROM pg_catalog.pg_database d
                                    WHERE d.datname = pg_catalog.current_database()) THEN 'copied'
            WHEN j.schedule IS NULL AND EXISTS (SELECT FROM aggjobs.job_after a WHERE a.job_id = j.job_id)
            THEN 'after others'
            WHEN j.schedule IS NULL THEN 'by hand'
            WHEN s.next_slot IS NULL THEN 'unplanned'
            ELSE 'scheduled' END AS state,
       s.last_status,
       s.last_run_at,
       s.next_slot AS next_run_at,
       s.failures_in_a_row,
       j.owner,
       j.description,
       CASE WHEN pg_catalog.pg_has_role(j.owner::oid, 'USAGE') THEN j.steps END AS steps,
       j.timeout,
       j.memory_limit,
       j.settings,
       s.last_slot,
       s.last_run_id,
       j.keep_successes,
       j.keep_failures,
       j.keep_age,
       j.catch_up,
       j.catch_up_limit,
       j.start_deadline,
       j.overlap,
       j.retries,
       j.retry_delay,
       j.retry_delay_limit,
       j.queue,
       j.priority,
       j.nice,
       ARRAY(SELECT o.job_name FROM aggjobs.job_after a JOIN aggjobs.job o ON o.job_id = a.after_job_id
             WHERE a.job_id = j.job_id ORDER BY 1) AS "after",
       j.created_by,
       j.created_at,
       j.changed_by,
       j.changed_at,
       j.job_id
FROM aggjobs.job j
     JOIN aggjobs.job_state s USING (job_id)
     LEFT JOIN LATERAL (SELECT r.status FROM aggjobs.run r
                        WHERE r.job_id = j.job_id AND r.status IN ('queued', 'running')
                        ORDER BY r.status DESC LIMIT 1) r ON true
WHERE j.backfill_id IS NULL
  AND (pg_catalog.pg_has_role(j.owner::oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE'));
COMMENT ON VIEW aggjobs.jobs IS 'jobs: definition, state, last and next run';
COMMENT ON COLUMN aggjobs.jobs.job_name IS 'name, unique in the database';
COMMENT ON COLUMN aggjobs.jobs.schedule IS 'when it runs, as written; NULL: only by hand';
COMMENT ON COLUMN aggjobs.jobs.time_zone IS 'zone of the schedule';
COMMENT ON COLUMN aggjobs.jobs.enabled IS 'false while paused';
COMMENT ON COLUMN aggjobs.jobs.state IS
	'running, queued, scheduled, by hand, after others, paused, unplanned (no slot will come), or copied (made in another database: aggjobs_resume() starts it here)';
COMMENT ON COLUMN aggjobs.jobs.last_status IS 'outcome of the last run that ended';
COMMENT ON COLUMN aggjobs.jobs.last_run_at IS 'start of the last run that ended';
COMMENT ON COLUMN aggjobs.jobs.next_run_at IS 'next planned slot';
COMMENT ON COLUMN aggjobs.jobs.failures_in_a_row IS 'failed, timed-out and crashed runs since the last success';
COMMENT ON COLUMN aggjobs.jobs.owner IS 'role as which it runs';
COMMENT ON COLUMN aggjobs.jobs.description IS 'what it is for';
COMMENT ON COLUMN aggjobs.jobs.steps IS 'what it does; NULL for jobs of others';
COMMENT ON COLUMN aggjobs.jobs.timeout IS 'time limit of a run; NULL: aggjobs.default_timeout';
COMMENT ON COLUMN aggjobs.jobs.memory_limit IS 'bytes of private memory a run may use; NULL: no limit';
COMMENT ON COLUMN aggjobs.jobs.settings IS 'server settings of its runs';
COMMENT ON COLUMN aggjobs.jobs.last_slot IS 'last planned slot that came';
COMMENT ON COLUMN aggjobs.jobs.last_run_id IS 'last run that ended';
COMMENT ON COLUMN aggjobs.jobs.keep_successes IS 'successful runs to keep; NULL: aggjobs.keep_successes';
COMMENT ON COLUMN aggjobs.jobs.keep_failures IS 'other runs to keep; NULL: aggjobs.keep_failures';
COMMENT ON COLUMN aggjobs.jobs.keep_age IS 'age at which runs are removed; NULL: aggjobs.keep_age';
COMMENT ON COLUMN aggjobs.jobs.catch_up IS 'what is run of slots that passed: skip, last or all';
COMMENT ON COLUMN aggjobs.jobs.catch_up_limit IS 'most slots that are run late with catch_up all';
COMMENT ON COLUMN aggjobs.jobs.start_deadline IS 'a slot that has not started so long after its time is missed; NULL: no limit';
COMMENT ON COLUMN aggjobs.jobs.overlap IS 'what a slot does while a run of the job is not over: skip, queue or replace';
COMMENT ON COLUMN aggjobs.jobs.retries IS 'further attempts after a failure; NULL: three after errors that pass by themselves, none after others';
COMMENT ON COLUMN aggjobs.jobs.retry_delay IS 'time before the second attempt, doubled for each further one; NULL: 1 second';
COMMENT ON COLUMN aggjobs.jobs.retry_delay_limit IS 'longest time between two attempts; NULL: 30 seconds';
COMMENT ON COLUMN aggjobs.jobs.queue IS 'queue whose limits count for its runs; NULL: none';
COMMENT ON COLUMN aggjobs.jobs.priority IS 'each point counts as a minute of waiting';
COMMENT ON COLUMN aggjobs.jobs.nice IS 'nice value of the process of a run';
COMMENT ON COLUMN aggjobs.jobs."after" IS 'jobs after whose success it runs';
COMMENT ON COLUMN aggjobs.jobs.created_by IS 'session user who made it';
COMMENT ON COLUMN aggjobs.jobs.created_at IS 'when it was made';
COMMENT ON COLUMN aggjobs.jobs.changed_by IS 'session user who last changed it';
COMMENT ON COLUMN aggjobs.jobs.changed_at IS 'when it was last changed';
COMMENT ON COLUMN aggjobs.jobs.job_id IS 'id';

-- -------------------------------------------------------------------- runs

CREATE VIEW aggjobs.runs WITH (security_barrier) AS
SELECT r.run_id,
       r.job_name,
       r.slot,
       r.attempt,
       r.status,
       r.trigger,
       r.triggered_by,
       r.queued_at,
       r.started_at,
       r.ended_at,
       coalesce(r.ended_at, CASE WHEN r.status = 'running' THEN pg_catalog.clock_timestamp() END) - r.started_at AS duration,
       r.rows_written,
       CASE WHEN mine THEN r.error END AS error,
       r.sqlstate,
       CASE WHEN mine THEN r.detail END AS detail,
       CASE WHEN mine THEN r.hint END AS hint,
       CASE WHEN mine THEN r.context END AS context,
       r.note,
       r."at",
       CASE WHEN mine THEN r.steps END AS steps,
       r.cpu_seconds,
       r.peak_memory,
       r.wal_bytes,
       r.buffers_hit,
       r.buffers_read,
       r.buffers_written,
       r.log_lines,
       r.log_dropped,
       r.worker_pid,
       r.owner,
       r.job_id,
       r.slots,
       r.until_slot,
       r.ready_at,
       r.retry_of
FROM aggjobs.run r
     CROSS JOIN LATERAL (SELECT pg_catalog.pg_has_role(r.owner::oid, 'USAGE') AS mine) m
WHERE mine OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW aggjobs.runs IS 'runs: what was run, is running and waits to run, with outcome and figures';
COMMENT ON COLUMN aggjobs.runs.run_id IS 'id; later runs have greater ones';
COMMENT ON COLUMN aggjobs.runs.job_name IS 'job as it was called when the run was queued';
COMMENT ON COLUMN aggjobs.runs.slot IS 'planned instant; NULL for runs by hand';
COMMENT ON COLUMN aggjobs.runs.attempt IS '1, or more for a retry';
COMMENT ON COLUMN aggjobs.runs.status IS
	'queued, running, succeeded, failed, timed_out, cancelled, crashed, skipped (an earlier run was not over) or missed (not started in time)';
COMMENT ON COLUMN aggjobs.runs.trigger IS 'schedule, manual, retry, dependency or backfill';
COMMENT ON COLUMN aggjobs.runs.triggered_by IS 'session user who asked for it, or scheduler';
COMMENT ON COLUMN aggjobs.runs.queued_at IS 'when it was queued';
COMMENT ON COLUMN aggjobs.runs.started_at IS 'when its worker began with it';
COMMENT ON COLUMN aggjobs.runs.ended_at IS 'when it ended';
COMMENT ON COLUMN aggjobs.runs.duration IS 'from start to end, or until now';
COMMENT ON COLUMN aggjobs.runs.rows_written IS 'rows written or returned by its steps';
COMMENT ON COLUMN aggjobs.runs.error IS 'message of the error that ended it; NULL for runs of others';
COMMENT ON COLUMN aggjobs.runs.sqlstate IS 'SQLSTATE of that error';
COMMENT ON COLUMN aggjobs.runs.detail IS 'DETAIL of that error';
COMMENT ON COLUMN aggjobs.runs.hint IS 'HINT of that error';
COMMENT ON COLUMN aggjobs.runs.context IS 'CONTEXT of that error';
COMMENT ON COLUMN aggjobs.runs.note IS 'why it was cancelled, skipped or missed';
COMMENT ON COLUMN aggjobs.runs."at" IS 'instant whose hour, day, ... it computes; NULL: what is due';
COMMENT ON COLUMN aggjobs.runs.steps IS 'results of its finished steps; NULL for runs of others';
COMMENT ON COLUMN aggjobs.runs.cpu_seconds IS 'CPU time of its process, without parallel workers';
COMMENT ON COLUMN aggjobs.runs.peak_memory IS 'bytes of private memory at its peak, about';
COMMENT ON COLUMN aggjobs.runs.wal_bytes IS 'bytes of WAL written';
COMMENT ON COLUMN aggjobs.runs.buffers_hit IS 'shared buffers found';
COMMENT ON COLUMN aggjobs.runs.buffers_read IS 'shared buffers read';
COMMENT ON COLUMN aggjobs.runs.buffers_written IS 'shared buffers written';
COMMENT ON COLUMN aggjobs.runs.log_lines IS 'lines in aggjobs.run_logs';
COMMENT ON COLUMN aggjobs.runs.log_dropped IS 'lines above aggjobs.log_lines, which were not kept';
COMMENT ON COLUMN aggjobs.runs.worker_pid IS 'process that ran it';
COMMENT ON COLUMN aggjobs.runs.owner IS 'role as which it ran';
COMMENT ON COLUMN aggjobs.runs.job_id IS 'id of its job';
COMMENT ON COLUMN aggjobs.runs.slots IS 'slots that the row stands for: more than 1 where a sequence was missed or skipped';
COMMENT ON COLUMN aggjobs.runs.until_slot IS 'the last of them; NULL: there is but one';
COMMENT ON COLUMN aggjobs.runs.ready_at IS 'a queued run does not start before; NULL: at once';
COMMENT ON COLUMN aggjobs.runs.retry_of IS 'run that this one tries again';

CREATE VIEW aggjobs.run_logs WITH (security_barrier) AS
SELECT l.run_id, l.seq, l.logged_at, l.level, l.message
FROM aggjobs.run_log l
     JOIN aggjobs.run r USING (run_id)
WHERE pg_catalog.pg_has_role(r.owner::oid, 'USAGE');
COMMENT ON VIEW aggjobs.run_logs IS 'messages of runs, NOTICE and above, readable while a run goes on';
COMMENT ON COLUMN aggjobs.run_logs.run_id IS 'run';
COMMENT ON COLUMN aggjobs.run_logs.seq IS 'number of the line in its run, from 1';
COMMENT ON COLUMN aggjobs.run_logs.logged_at IS 'when it was raised';
COMMENT ON COLUMN aggjobs.run_logs.level IS 'NOTICE, WARNING, ERROR';
COMMENT ON COLUMN aggjobs.run_logs.message IS 'text, at most 2 kB';

CREATE VIEW aggjobs.workers WITH (security_barrier) AS
SELECT w.pid,
       w.state,
       w.owner::regrole AS owner,
       r.job_name,
       w.run_id,
       w.started_at,
       w.deadline,
       w.runs_done,
       a.wait_event_type,
       a.wait_event,
       pg_catalog.pg_blocking_pids(w.pid) AS blocked_by
FROM aggjobs.worker_slots() w
     LEFT JOIN aggjobs.run r USING (run_id)
     LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE pg_catalog.pg_has_role(w.owner, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW aggjobs.workers IS 'worker processes of this database and what they do now';
COMMENT ON COLUMN aggjobs.workers.pid IS 'process id; NULL while it starts';
COMMENT ON COLUMN aggjobs.workers.state IS 'starting, running, cancelling, terminating, unresponsive (does not react to SIGTERM), idle or ended';
COMMENT ON COLUMN aggjobs.workers.owner IS 'role it is connected as';
COMMENT ON COLUMN aggjobs.workers.job_name IS 'job it runs';
COMMENT ON COLUMN aggjobs.workers.run_id IS 'run it is at';
COMMENT ON COLUMN aggjobs.workers.started_at IS 'when it began with that run';
COMMENT ON COLUMN aggjobs.workers.deadline IS 'when the time limit of that run is over';
COMMENT ON COLUMN aggjobs.workers.runs_done IS 'runs it has ended since its start';
COMMENT ON COLUMN aggjobs.workers.wait_event_type IS 'kind of what it waits for';
COMMENT ON COLUMN aggjobs.workers.wait_event IS 'what it waits for';
COMMENT ON COLUMN aggjobs.workers.blocked_by IS 'processes whose locks it waits for';

CREATE VIEW aggjobs.queues AS
WITH runs AS (
    SELECT j.queue,
           count(*) FILTER (WHERE r.status = 'running') AS running,
           count(*) FILTER (WHERE r.status = 'queued') AS waiting,
           min(coalesce(r.ready_at, r.queued_at)) FILTER (WHERE r.status = 'queued') AS since
    FROM aggjobs.run r JOIN aggjobs.job j USING (job_id)
    WHERE r.status IN ('queued', 'running') AND j.backfill_id IS NULL
    GROUP BY j.queue),
jobs AS (
    SELECT j.queue, count(*) AS jobs FROM aggjobs.job j WHERE j.backfill_id IS NULL GROUP BY j.queue)
SELECT q.queue_name,
       q.min_workers,
       q.max_workers,
       coalesce(j.jobs, 0) AS jobs,
       coalesce(r.running, 0) AS running,
       coalesce(r.waiting, 0) AS waiting,
       CASE WHEN r.since <= pg_catalog.clock_timestamp()
            THEN pg_catalog.clock_timestamp() - r.since END AS longest_wait
FROM (SELECT g.queue_name, g.min_workers, g.max_workers FROM aggjobs.queue g
      UNION ALL
      SELECT NULL, 0, pg_catalog.current_setting('aggjobs.max_workers', true)::integer) q
     LEFT JOIN runs r ON r.queue IS NOT DISTINCT FROM q.queue_name
     LEFT JOIN jobs j ON j.queue IS NOT DISTINCT FROM q.queue_name;
COMMENT ON VIEW aggjobs.queues IS 'queues: limits, and what runs and waits in them; and the same of jobs without queue';
COMMENT ON COLUMN aggjobs.queues.queue_name IS 'name; NULL: jobs without queue';
COMMENT ON COLUMN aggjobs.queues.min_workers IS 'idle workers that are kept for it';
COMMENT ON COLUMN aggjobs.queues.max_workers IS 'runs that may go on at once; aggjobs.max_workers limits those of all queues';
COMMENT ON COLUMN aggjobs.queues.jobs IS 'jobs that use it';
COMMENT ON COLUMN aggjobs.queues.running IS 'runs that go on';
COMMENT ON COLUMN aggjobs.queues.waiting IS 'runs that are queued';
COMMENT ON COLUMN aggjobs.queues.longest_wait IS 'how long the oldest of them has waited for a worker; NULL: none waits';

CREATE VIEW aggjobs.job_stats WITH (security_barrier) AS
SELECT j.job_name,
       count(r.run_id) FILTER (WHERE r.status NOT IN ('queued', 'running', 'skipped', 'missed')) AS runs,
       count(r.run_id) FILTER (WHERE r.status = 'succeeded') AS succeeded,
       count(r.run_id) FILTER (WHERE r.status IN ('failed', 'timed_out', 'crashed')) AS failed,
       round(100.0 * count(r.run_id) FILTER (WHERE r.status = 'succeeded')
             / nullif(count(r.run_id) FILTER (WHERE r.status IN ('succeeded', 'failed', 'timed_out', 'crashed')), 0), 1)
           AS success_percent,
       avg(r.ended_at - r.started_at) AS average_duration,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY r.ended_at - r.started_at) AS p95_duration,
       max(r.ended_at - r.started_at) AS slowest_duration,
       s.failures_in_a_row,
       s.last_slot,
       s.next_slot
FROM aggjobs.job j
     JOIN aggjobs.job_state s USING (job_id)
     LEFT JOIN aggjobs.run r USING (job_id)
WHERE j.backfill_id IS NULL
  AND (pg_catalog.pg_has_role(j.owner::oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE'))
GROUP BY j.job_id, j.job_name, s.failures_in_a_row, s.last_slot, s.next_slot;
COMMENT ON VIEW aggjobs.job_stats IS 'figures per job over the history that is kept';
COMMENT ON COLUMN aggjobs.job_stats.job_name IS 'job';
COMMENT ON COLUMN aggjobs.job_stats.runs IS 'runs that started and ended';
COMMENT ON COLUMN aggjobs.job_stats.succeeded IS 'those that succeeded';
COMMENT ON COLUMN aggjobs.job_stats.failed IS 'those that failed, timed out or crashed';
COMMENT ON COLUMN aggjobs.job_stats.success_percent IS 'succeeded, of succeeded and failed';
COMMENT ON COLUMN aggjobs.job_stats.average_duration IS 'mean time from start to end';
COMMENT ON COLUMN aggjobs.job_stats.p95_duration IS 'time within which 95 % of them ended';
COMMENT ON COLUMN aggjobs.job_stats.slowest_duration IS 'longest time';
COMMENT ON COLUMN aggjobs.job_stats.failures_in_a_row IS 'failures since the last success';
COMMENT ON COLUMN aggjobs.job_stats.last_slot IS 'last planned slot that came';
COMMENT ON COLUMN aggjobs.job_stats.next_slot IS 'next planned slot';

-- ------------------------------------------------------ settings, rollups

CREATE VIEW aggjobs.settings AS
SELECT DISTINCT ON (s.name) s.name, s.value, s.builtin, s.changed_by, s.changed_at
FROM aggjobs.setting s
ORDER BY s.name, s.builtin;
COMMENT ON VIEW aggjobs.settings IS 'values that aggjobs_set() sets, and built-in ones that were not changed';
COMMENT ON COLUMN aggjobs.settings.name IS 'name; ${name} in a schedule stands for the value';
COMMENT ON COLUMN aggjobs.settings.value IS 'value';
COMMENT ON COLUMN aggjobs.settings.builtin IS 'true while it is as the extension came';
COMMENT ON COLUMN aggjobs.settings.changed_by IS 'session user who set it';
COMMENT ON COLUMN aggjobs.settings.changed_at IS 'when it was set';

CREATE VIEW aggjobs.rollups AS
SELECT r.rollup_name,
       r.source,
       coalesce(r.bucket_width::text, r.bucket_unit, r.bucket_count || ' units of ' || coalesce(r.epoch, 'time')) AS bucket,
       t.horizon,
       pg_catalog.clock_timestamp() - t.horizon AS lag,
       (SELECT count(*) FROM aggjobs.stale s WHERE s.rollup_id = r.rollup_id)
       + (SELECT count(*) FROM aggjobs.change c WHERE c.source = r.source) AS stale_ranges,
       CASE WHEN r.lookback IS NULL THEN 'changes' ELSE 'lookback' END AS tracking,
       r.lookback IS NULL AS exact,
       t.frozen_before,
       coalesce(t.late_rows, 0) AS late_rows,
       t.problem,
       r.target,
       r.live AS live_view,
       r.source_rollup,
       r.time_zone,
       r.replaces,
       CASE WHEN t.horizon IS NOT NULL
            THEN coalesce((SELECT pg_catalog.max(s.to_time) FROM aggjobs.stale s
                           WHERE s.rollup_id = r.rollup_id AND s.from_time < t.horizon), '-infinity')
       END AS complete_from
FROM aggjobs.rollup r
     LEFT JOIN aggjobs.rollup_state t USING (rollup_name);
COMMENT ON VIEW aggjobs.rollups IS 'rollups: up to where they are computed, and what is out of date';
COMMENT ON COLUMN aggjobs.rollups.rollup_name IS 'name';
COMMENT ON COLUMN aggjobs.rollups.source IS 'table it is computed from';
COMMENT ON COLUMN aggjobs.rollups.bucket IS 'length of a bucket';
COMMENT ON COLUMN aggjobs.rollups.horizon IS
	'buckets that end by then are in the target, unless they are stale; NULL: none yet; times without zone are taken as UTC';
COMMENT ON COLUMN aggjobs.rollups.lag IS 'time since the horizon';
COMMENT ON COLUMN aggjobs.rollups.stale_ranges IS 'ranges below the horizon that are still to be computed; the live view computes them itself';
COMMENT ON COLUMN aggjobs.rollups.tracking IS
	'changes: what is written to the source is captured; lookback: the last buckets are computed again each time';
COMMENT ON COLUMN aggjobs.rollups.exact IS 'does the live view equal the query on the raw rows, but for what is frozen? false with lookback';
COMMENT ON COLUMN aggjobs.rollups.frozen_before IS 'buckets before are kept as they are: their raw rows were retired';
COMMENT ON COLUMN aggjobs.rollups.late_rows IS 'rows that were written before frozen_before after it was set, and are not in the rollup';
COMMENT ON COLUMN aggjobs.rollups.problem IS
	'what is amiss with the capture of the source, so that all is computed from raw rows; NULL: nothing';
COMMENT ON COLUMN aggjobs.rollups.target IS 'table it fills';
COMMENT ON COLUMN aggjobs.rollups.live_view IS 'view that equals the query on the raw rows in every snapshot';
COMMENT ON COLUMN aggjobs.rollups.source_rollup IS 'rollup that fills the source';
COMMENT ON COLUMN aggjobs.rollups.time_zone IS 'zone of its days, weeks and months';
COMMENT ON COLUMN aggjobs.rollups.replaces IS 'rollup whose place this one takes once it is computed; see aggjobs_alter_rollup()';
COMMENT ON COLUMN aggjobs.rollups.complete_from IS
	'from here up to the horizon everything is in the table, nothing stale; -infinity: everything there is; NULL: nothing computed yet';

-- --------------------------------------------------------------- backfills

CREATE VIEW aggjobs.chunks WITH (security_barrier) AS
SELECT c.backfill_id, c.chunk_no, c.state, c.kind, c.rollup_name,
       c.from_time AS "from", c.to_time AS "to", c.worker, c.attempts,
       c.started_at, c.ended_at, c.ended_at - c.started_at AS duration,
       c.rows_read, c.rows_deleted, c.rows_written, c.rows_skipped,
       c.bytes_read, c.wal_bytes, c.cpu_seconds,
       CASE WHEN o.mine THEN c.error END AS error,
       c.sqlstate,
       CASE WHEN o.mine THEN c.sample END AS sample,
       c.ready_at, c.stage, c.run_id,
       CASE WHEN o.mine THEN c.step END AS step
FROM aggjobs.chunk c
     CROSS JOIN LATERAL (SELECT pg_catalog.pg_has_role(j.owner::oid, 'USAGE') AS mine FROM aggjobs.job j
                         WHERE j.backfill_id = c.backfill_id LIMIT 1) o
WHERE o.mine OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW aggjobs.chunks IS 'chunks of backfills: their ranges, who has computed them, and what was done';
COMMENT ON COLUMN aggjobs.chunks.backfill_id IS 'backfill';
COMMENT ON COLUMN aggjobs.chunks.chunk_no IS 'number in it, from 1';
COMMENT ON COLUMN aggjobs.chunks.state IS 'waiting, running, done, skipped (its command said so) or failed';
COMMENT ON COLUMN aggjobs.chunks.kind IS 'copy (of what a rollup says), prepare (a rollup, before its ranges), range, step (of a job), or part (of a job of parts)';
COMMENT ON COLUMN aggjobs.chunks.rollup_name IS 'rollup; NULL for a step';
COMMENT ON COLUMN aggjobs.chunks."from" IS 'first instant';
COMMENT ON COLUMN aggjobs.chunks."to" IS 'first instant after it';
COMMENT ON COLUMN aggjobs.chunks.worker IS 'worker that took it last';
COMMENT ON COLUMN aggjobs.chunks.attempts IS 'how often it was taken';
COMMENT ON COLUMN aggjobs.chunks.started_at IS 'when it was taken last';
COMMENT ON COLUMN aggjobs.chunks.ended_at IS 'when it was done or given up';
COMMENT ON COLUMN aggjobs.chunks.duration IS 'time between';
COMMENT ON COLUMN aggjobs.chunks.rows_read IS 'rows of the source that were read';
COMMENT ON COLUMN aggjobs.chunks.rows_deleted IS 'rows deleted from the rollup';
COMMENT ON COLUMN aggjobs.chunks.rows_written IS 'rows inserted into the rollup and updated';
COMMENT ON COLUMN aggjobs.chunks.rows_skipped IS 'rows of the source in a range that was given up';
COMMENT ON COLUMN aggjobs.chunks.bytes_read IS 'bytes of the blocks that were looked at, wherever they were found';
COMMENT ON COLUMN aggjobs.chunks.wal_bytes IS 'bytes of write-ahead log';
COMMENT ON COLUMN aggjobs.chunks.cpu_seconds IS 'CPU time';
COMMENT ON COLUMN aggjobs.chunks.error IS 'what went wrong last; NULL for backfills of others';
COMMENT ON COLUMN aggjobs.chunks.sqlstate IS 'its SQLSTATE';
COMMENT ON COLUMN aggjobs.chunks.sample IS 'some rows of a range that was given up; NULL for backfills of others';
COMMENT ON COLUMN aggjobs.chunks.ready_at IS 'a chunk that failed is not taken before';
COMMENT ON COLUMN aggjobs.chunks.stage IS 'it waits for all chunks of lower stages that overlap its range';
COMMENT ON COLUMN aggjobs.chunks.run_id IS 'run of the worker that took it last';
COMMENT ON COLUMN aggjobs.chunks.step IS 'the step, if it is one; of a part, its columns and their values';

/*
 * How long the rest takes is told from the chunks of each rollup that are done:
 * those of one rollup are alike, those of two are not.
 */
CREATE VIEW aggjobs.backfills WITH (security_barrier) AS
SELECT b.backfill_id,
       b.backfill_name AS name,
       b.state,
       round(100.0 * (c.done + c.skipped) / nullif(c.chunks, 0), 1) AS percent,
       c.chunks, c.done, c.running, c.skipped, c.failed,
       c.rows_read + coalesce(w.rows_read, 0) AS rows_read,
       c.rows_written, c.rows_skipped,
       round((c.rows_read + coalesce(w.rows_read, 0))
             / nullif(extract(epoch FROM coalesce(b.ended_at, pg_catalog.clock_timestamp()) - b.started_at), 0)) AS rate,
       CASE WHEN b.state = 'running' AND e.left_seconds IS NOT NULL
            THEN pg_catalog.make_interval(secs => round((e.left_seconds / greatest(c.running, 1))::numeric, 1)::double precision) END AS eta,
       CASE WHEN b.state = 'running' AND e.left_seconds IS NOT NULL
            THEN pg_catalog.format('%s chunks are left, at the pace of the %s of their rollups that are done, by %s workers',
                                   c.chunks - c.done - c.skipped - c.failed, e.known, greatest(c.running, 1)) END AS eta_basis,
       b.workers,
       b.from_time AS "from", b.to_time AS "to",
       b.started_at, b.ended_at,
       coalesce(b.ended_at, pg_catalog.clock_timestamp()) - b.started_at AS duration,
       c.bytes_read, c.wal_bytes, c.cpu_seconds,
       CASE WHEN b.newest_first THEN 'newest first' ELSE 'oldest first' END AS "order",
       b.run_id,
       ARRAY(SELECT p.copy FROM aggjobs.backfill_copy p WHERE p.backfill_id = b.backfill_id ORDER BY p.rollup_name) AS copies,
       j.owner, b.created_by, b.created_at
FROM aggjobs.backfill b
     CROSS JOIN LATERAL (SELECT count(*) AS chunks,
                                count(*) FILTER (WHERE k.state = 'done') AS done,
                                count(*) FILTER (WHERE k.state = 'running') AS running,
                                count(*) FILTER (WHERE k.state = 'skipped') AS skipped,
                                count(*) FILTER (WHERE k.state = 'failed') AS failed,
                                coalesce(sum(k.rows_read), 0) AS rows_read,
                                coalesce(sum(k.rows_written), 0) AS rows_written,
                                coalesce(sum(k.rows_skipped), 0) AS rows_skipped,
                                sum(k.bytes_read) AS bytes_read,
                                sum(k.wal_bytes) AS wal_bytes,
                                sum(k.cpu_seconds) AS cpu_seconds
                         FROM aggjobs.chunk k WHERE k.backfill_id = b.backfill_id) c
     LEFT JOIN LATERAL (SELECT sum(a.seconds * a.open) AS left_seconds, sum(a.known) AS known
                        FROM (SELECT avg(extract(epoch FROM k.ended_at - k.started_at)) FILTER (WHERE k.state = 'done') AS seconds,
                                     count(*) FILTER (WHERE k.state IN ('waiting', 'running')) AS open,
                                     count(*) FILTER (WHERE k.state = 'done') AS known
                              FROM aggjobs.chunk k WHERE k.backfill_id = b.backfill_id
                              GROUP BY k.rollup_name, k.kind) a) e ON true
     LEFT JOIN LATERAL (SELECT sum(s.rows_read) AS rows_read
                        FROM aggjobs.worker_slots() s JOIN aggjobs.chunk k USING (run_id)
                        WHERE k.backfill_id = b.backfill_id AND k.state = 'running' AND k.chunk_no = s.chunk_no) w ON true
     LEFT JOIN LATERAL (SELECT g.owner FROM aggjobs.job g WHERE g.backfill_id = b.backfill_id LIMIT 1) j ON true
WHERE pg_catalog.pg_has_role(j.owner::oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW aggjobs.backfills IS 'backfills: how far each is, and how fast';
COMMENT ON COLUMN aggjobs.backfills.backfill_id IS 'number';
COMMENT ON COLUMN aggjobs.backfills.name IS 'job or rollup that was asked for, or whose run began it';
COMMENT ON COLUMN aggjobs.backfills.state IS 'running, paused, succeeded, failed (some chunks were given up) or cancelled';
COMMENT ON COLUMN aggjobs.backfills.percent IS 'chunks that are done or skipped, of all';
COMMENT ON COLUMN aggjobs.backfills.chunks IS 'how many there are';
COMMENT ON COLUMN aggjobs.backfills.done IS 'how many are done';
COMMENT ON COLUMN aggjobs.backfills.running IS 'how many are at work';
COMMENT ON COLUMN aggjobs.backfills.skipped IS 'how many parts their command has skipped';
COMMENT ON COLUMN aggjobs.backfills.failed IS 'how many were given up';
COMMENT ON COLUMN aggjobs.backfills.rows_read IS 'rows of sources that were read, those of chunks at work included';
COMMENT ON COLUMN aggjobs.backfills.rows_written IS 'rows of rollups that were written by chunks that are done';
COMMENT ON COLUMN aggjobs.backfills.rows_skipped IS 'rows of sources in ranges that were given up';
COMMENT ON COLUMN aggjobs.backfills.rate IS 'rows read per second since the start';
COMMENT ON COLUMN aggjobs.backfills.eta IS 'about how long it still takes; NULL while nothing is known of a rollup';
COMMENT ON COLUMN aggjobs.backfills.eta_basis IS 'how that was found';
COMMENT ON COLUMN aggjobs.backfills.workers IS 'how many are wanted';
COMMENT ON COLUMN aggjobs.backfills."from" IS 'first instant that was asked for';
COMMENT ON COLUMN aggjobs.backfills."to" IS 'first instant after what was asked for';
COMMENT ON COLUMN aggjobs.backfills.started_at IS 'when the first chunk was taken';
COMMENT ON COLUMN aggjobs.backfills.ended_at IS 'when the last was over';
COMMENT ON COLUMN aggjobs.backfills.duration IS 'time between, or until now';
COMMENT ON COLUMN aggjobs.backfills.bytes_read IS 'bytes of blocks that were looked at';
COMMENT ON COLUMN aggjobs.backfills.wal_bytes IS 'bytes of write-ahead log';
COMMENT ON COLUMN aggjobs.backfills.cpu_seconds IS 'CPU time of the workers';
COMMENT ON COLUMN aggjobs.backfills."order" IS 'which chunks are taken first';
COMMENT ON COLUMN aggjobs.backfills.run_id IS 'run that began it, is its first worker and needs its outcome; NULL: somebody asked for it';
COMMENT ON COLUMN aggjobs.backfills.copies IS 'tables with what rollups said before, until it is confirmed or undone';
COMMENT ON COLUMN aggjobs.backfills.owner IS 'role as which it is done';
COMMENT ON COLUMN aggjobs.backfills.created_by IS 'session user who asked for it';
COMMENT ON COLUMN aggjobs.backfills.created_at IS 'when';

CREATE VIEW aggjobs.backfill_workers WITH (security_barrier) AS
SELECT j.backfill_id,
       (j.steps -> 0 ->> 'worker')::integer AS worker,
       CASE WHEN r.status IS NULL THEN 'ended'
            WHEN r.status = 'queued' THEN 'queued'
            WHEN c.chunk_no IS NULL THEN 'waiting'
            ELSE 'at work' END AS state,
       w.pid,
       d.done, d.skipped, d.failed, d.rows_read + coalesce(w.rows_read, 0) AS rows_read, d.rows_written,
       c.chunk_no, c.rollup_name, c.from_time AS "from", c.to_time AS "to",
       w.phase,
       c.started_at AS chunk_started_at,
       w.rows_read AS chunk_rows_read,
       w.blocks_read AS chunk_blocks_read,
       coalesce(w.seen_at, d.seen_at) AS seen_at,
       r.run_id
FROM aggjobs.job j
     JOIN aggjobs.backfill b USING (backfill_id)
     LEFT JOIN LATERAL (SELECT o.run_id, o.status FROM aggjobs.run o
                        WHERE (o.job_id = j.job_id OR o.run_id = b.run_id AND (j.steps -> 0 ->> 'worker')::integer = 1)
                          AND o.status IN ('queued', 'running')
                        ORDER BY o.status DESC LIMIT 1) r ON true
     LEFT JOIN aggjobs.worker_slots() w ON w.run_id = r.run_id
     LEFT JOIN aggjobs.chunk c ON c.backfill_id = j.backfill_id AND c.run_id = r.run_id AND c.state = 'running'
     CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE k.state = 'done') AS done,
                                count(*) FILTER (WHERE k.state = 'skipped') AS skipped,
                                count(*) FILTER (WHERE k.state = 'failed') AS failed,
                                coalesce(sum(k.rows_read), 0) AS rows_read,
                                coalesce(sum(k.rows_written), 0) AS rows_written,
                                greatest(max(k.started_at), max(k.ended_at)) AS seen_at
                         FROM aggjobs.chunk k
                         WHERE k.backfill_id = j.backfill_id
                           AND k.worker = (j.steps -> 0 ->> 'worker')::integer) d
WHERE j.backfill_id IS NOT NULL
  AND (pg_catalog.pg_has_role(j.owner::oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE'));
COMMENT ON VIEW aggjobs.backfill_workers IS 'workers of backfills: what each has done and what it does now';
COMMENT ON COLUMN aggjobs.backfill_workers.backfill_id IS 'backfill';
COMMENT ON COLUMN aggjobs.backfill_workers.worker IS 'number in it, from 1';
COMMENT ON COLUMN aggjobs.backfill_workers.state IS
	'queued, at work, waiting (for chunks that others have), or ended';
COMMENT ON COLUMN aggjobs.backfill_workers.pid IS 'process id';
COMMENT ON COLUMN aggjobs.backfill_workers.done IS 'chunks that it has done';
COMMENT ON COLUMN aggjobs.backfill_workers.skipped IS 'parts that their command has skipped';
COMMENT ON COLUMN aggjobs.backfill_workers.failed IS 'chunks that it was the last to try, and that were given up';
COMMENT ON COLUMN aggjobs.backfill_workers.rows_read IS 'rows of sources that it has read, those of its chunk included';
COMMENT ON COLUMN aggjobs.backfill_workers.rows_written IS 'rows of rollups that it has written in chunks that are done';
COMMENT ON COLUMN aggjobs.backfill_workers.chunk_no IS 'chunk that it is at';
COMMENT ON COLUMN aggjobs.backfill_workers.rollup_name IS 'rollup of that chunk';
COMMENT ON COLUMN aggjobs.backfill_workers."from" IS 'first instant of that chunk';
COMMENT ON COLUMN aggjobs.backfill_workers."to" IS 'first instant after it';
COMMENT ON COLUMN aggjobs.backfill_workers.phase IS
	'starting, computing or writing; waiting: locks, or WAL, while no chunk is begun as others come first';
COMMENT ON COLUMN aggjobs.backfill_workers.chunk_started_at IS 'when it took that chunk';
COMMENT ON COLUMN aggjobs.backfill_workers.chunk_rows_read IS 'rows of the source read in that chunk, as of the last bucket';
COMMENT ON COLUMN aggjobs.backfill_workers.chunk_blocks_read IS 'blocks looked at in that chunk, as of the last sign of life';
COMMENT ON COLUMN aggjobs.backfill_workers.seen_at IS 'last sign of life, four a second while it is at work';
COMMENT ON COLUMN aggjobs.backfill_workers.run_id IS 'its run: aggjobs_logs(run_id) shows what it says';

-- ------------------------------------------------------------------ health

/*
 * Each row is one question; "failing" wants somebody now, "degraded" soon.
 * Silence counts as bad news: no scheduler, overdue slots and old rollups are
 * all told.
 */
CREATE VIEW aggjobs.health AS
SELECT 'scheduler'::text AS check_name,
       CASE WHEN s.state = 'running' THEN 'ok' ELSE 'failing' END AS state,
       CASE s.state
            WHEN 'running' THEN 'the scheduler of this database is at work'
            WHEN 'starting' THEN 'this database has no scheduler at the moment'
            ELSE 'the library is not preloaded: add shared_preload_libraries = ''pg_aggjobs'' to postgresql.conf and restart the server'
       END AS detail
FROM (SELECT aggjobs.scheduler_state() AS state) s
UNION ALL
SELECT 'version',
       CASE v.state WHEN 'same' THEN 'ok' WHEN 'script older' THEN 'degraded' ELSE 'failing' END,
       CASE v.state
            WHEN 'same' THEN pg_catalog.format('version %s', v.script)
            WHEN 'script older' THEN pg_catalog.format('the library has version %s, the extension here %s: run ALTER EXTENSION pg_aggjobs UPDATE', v.library, v.script)
            ELSE pg_catalog.format('the extension here has version %s, the library that the server has loaded %s, and jobs wait: restart the server', v.script, v.library)
       END
FROM aggjobs.version() v
UNION ALL
SELECT 'enabled',
       CASE WHEN pg_catalog.current_setting('aggjobs.enabled', true) = 'off' THEN 'degraded' ELSE 'ok' END,
       CASE WHEN pg_catalog.current_setting('aggjobs.enabled', true) = 'off'
            THEN 'aggjobs.enabled is off: nothing starts' ELSE 'runs may start' END
UNION ALL
SELECT 'overdue',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'failing' END,
       CASE WHEN count(*) = 0 THEN 'no planned slot has been passed over'
            ELSE pg_catalog.format('%s jobs should have started, the first at %s', count(*), min(s.next_slot)) END
FROM aggjobs.job j JOIN aggjobs.job_state s USING (job_id)
WHERE j.enabled AND s.next_slot < pg_catalog.clock_timestamp() - interval '5 minutes'
  AND j.database_oid = (SELECT d.oid FROM pg_catalog.pg_database d
                        WHERE d.datname = pg_catalog.current_database())
UNION ALL
SELECT 'waiting',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'degraded' END,
       CASE WHEN count(*) = 0 THEN 'no run waits for a worker'
            ELSE pg_catalog.format('%s runs have waited for a worker since %s', count(*), min(coalesce(r.ready_at, r.queued_at))) END
FROM aggjobs.run r
-- an attempt that is not ready waits for its time
WHERE r.status = 'queued' AND coalesce(r.ready_at, r.queued_at) < pg_catalog.clock_timestamp() - interval '5 minutes'
UNION ALL
SELECT 'unresponsive',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'failing' END,
       CASE WHEN count(*) = 0 THEN 'all workers that were asked to end have done so'
            ELSE 'workers that do not react to SIGTERM: '
                 || pg_catalog.string_agg(pg_catalog.format('PID %s, run %s', w.pid, w.run_id), '; ' ORDER BY w.pid) END
FROM aggjobs.worker_slots() w
WHERE w.state = 'unresponsive'
UNION ALL
SELECT 'failures',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'failing' END,
       CASE WHEN count(*) = 0 THEN 'no job has failed three times in a row'
            ELSE pg_catalog.format('%s jobs failed three times or more in a row%s', count(*),
                                   -- names only of jobs that the reader may see
                                   ': ' || pg_catalog.string_agg(j.job_name, ', ' ORDER BY j.job_name)
                                           FILTER (WHERE pg_catalog.pg_has_role(j.owner::oid, 'USAGE')
                                                      OR pg_catalog.pg_has_role('pg_monitor', 'USAGE'))) END
FROM aggjobs.job j JOIN aggjobs.job_state s USING (job_id)
WHERE j.enabled AND s.failures_in_a_row >= 3
UNION ALL
SELECT 'owners',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'failing' END,
       CASE WHEN count(*) = 0 THEN 'the owners of all jobs may run them'
            ELSE pg_catalog.format('%s jobs can''t run, because their owner is gone, has got another name, or may not log in or connect%s', count(*),
                                   -- names only of jobs that the reader may see
                                   ': ' || pg_catalog.string_agg(j.job_name || ' (' || j.owner_name || ')', ', ' ORDER BY j.job_name)
                                           FILTER (WHERE pg_catalog.pg_has_role(j.owner::oid, 'USAGE')
                                                      OR pg_catalog.pg_has_role('pg_monitor', 'USAGE'))) END
FROM aggjobs.job j LEFT JOIN pg_catalog.pg_roles o ON o.oid = j.owner::oid
WHERE j.enabled
  AND j.database_oid = (SELECT d.oid FROM pg_catalog.pg_database d
                        WHERE d.datname = pg_catalog.current_database())
  AND (o.rolname IS DISTINCT FROM j.owner_name
       OR NOT o.rolcanlogin
       OR o.rolsuper AND pg_catalog.current_setting('aggjobs.allow_superuser_jobs', true) = 'off'
       OR NOT pg_catalog.has_database_privilege(o.oid, pg_catalog.current_database(), 'CONNECT'))
UNION ALL
SELECT 'copied',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'degraded' END,
       CASE WHEN count(*) = 0 THEN 'all jobs belong to this database'
            ELSE pg_catalog.format('%s jobs were copied from another database and wait for SELECT aggjobs_resume(NULL)', count(*)) END
FROM aggjobs.job j
WHERE j.enabled AND j.backfill_id IS NULL
  AND j.database_oid <> (SELECT d.oid FROM pg_catalog.pg_database d
                         WHERE d.datname = pg_catalog.current_database())
UNION ALL
SELECT 'freshness',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'degraded' END,
       CASE WHEN count(*) = 0 THEN 'all rollups that have been computed are up to date'
            ELSE 'not computed for two buckets: ' || pg_catalog.string_agg(r.rollup_name, ', ' ORDER BY r.rollup_name) END
FROM aggjobs.rollup r JOIN aggjobs.rollup_state t USING (rollup_name)
WHERE t.horizon < pg_catalog.clock_timestamp() - interval '3 hours'
                  - 2 * coalesce(r.bucket_width,
                                 CASE r.bucket_unit WHEN 'quarter' THEN interval '3 months'
                                                    WHEN 'millennium' THEN interval '1000 years'
                                                    ELSE ('1 ' || r.bucket_unit)::interval END,
                                 interval '1 day')
UNION ALL
SELECT 'capture',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'failing' END,
       CASE WHEN count(*) = 0 THEN 'changes of all sources of rollups are captured'
            ELSE 'changes are not captured, and live views read raw rows: '
                 || pg_catalog.string_agg(t.rollup_name || ' (' || t.problem || ')', ', ' ORDER BY t.rollup_name) END
FROM aggjobs.rollup_state t
WHERE t.problem IS NOT NULL
UNION ALL
SELECT 'retention',
       CASE WHEN count(*) = 0 THEN 'ok' ELSE 'degraded' END,
       CASE WHEN count(*) = 0 THEN 'no retention has left rows twice in a row that should have gone'
            ELSE pg_catalog.format('%s jobs left rows twice in a row that should have gone%s', count(*),
                                   -- names only of jobs that the reader may see
                                   ': ' || pg_catalog.string_agg(j.job_name, ', ' ORDER BY j.job_name)
                                           FILTER (WHERE pg_catalog.pg_has_role(j.owner::oid, 'USAGE')
                                                      OR pg_catalog.pg_has_role('pg_monitor', 'USAGE'))) END
FROM aggjobs.job j
WHERE j.enabled AND j.steps @> '[{"kind": "retention"}]'
  AND 2 = (SELECT count(*) FILTER (WHERE r.steps @? '$[*] ? (@.kind == "retention").tables.*.stopped')
           FROM (SELECT r.steps FROM aggjobs.run r
                 WHERE r.job_id = j.job_id AND r.status = 'succeeded'
                 ORDER BY r.run_id DESC LIMIT 2) r);
COMMENT ON VIEW aggjobs.health IS 'how things stand, one row per question';
COMMENT ON COLUMN aggjobs.health.check_name IS 'what was looked at';
COMMENT ON COLUMN aggjobs.health.state IS 'ok, degraded or failing';
COMMENT ON COLUMN aggjobs.health.detail IS 'what was found, in words';

-- --------------------------------------------------------- short functions

CREATE FUNCTION @extschema@.aggjobs_status(name text DEFAULT NULL)
RETURNS TABLE (job_name text, state text, last_status text, last_run_at timestamptz, next_run_at timestamptz, fails integer)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT j.job_name, j.state, j.last_status, j.last_run_at::timestamptz(0),
	       j.next_run_at::timestamptz(0), j.failures_in_a_row
	FROM aggjobs.jobs j
	WHERE name IS NULL OR j.job_name = name
	ORDER BY j.job_name;
END;
COMMENT ON FUNCTION @extschema@.aggjobs_status(text) IS 'how all jobs stand, or one, in 100 columns';

CREATE FUNCTION @extschema@.aggjobs_history(name text DEFAULT NULL, max integer DEFAULT 20)
RETURNS TABLE (run_id bigint, job_name text, status text, started_at timestamptz, seconds numeric, outcome text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT r.run_id, r.job_name, r.status, coalesce(r.started_at, r.queued_at)::timestamptz(0),
	       round(extract(epoch FROM r.duration)::numeric, 3),
	       CASE WHEN r.status = 'succeeded' THEN r.rows_written || ' rows'
	            ELSE left(coalesce(r.error, r.note), 24) END
	FROM aggjobs.runs r
	WHERE name IS NULL OR r.job_name = name
	ORDER BY r.run_id DESC
	LIMIT CASE WHEN max < 0 THEN 0 ELSE max END;
END;
COMMENT ON FUNCTION @extschema@.aggjobs_history(text, integer) IS 'the last runs of all jobs, or of one, the newest first, in 100 columns';

CREATE FUNCTION @extschema@.aggjobs_logs(run_id bigint, tail integer DEFAULT NULL, since timestamptz DEFAULT NULL)
RETURNS TABLE (logged_at timestamptz, level text, message text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT t.logged_at, t.level, t.message
	FROM (SELECT l.seq, l.logged_at, l.level, l.message
	      FROM aggjobs.run_logs l
	      WHERE l.run_id = aggjobs_logs.run_id
	        AND (since IS NULL OR l.logged_at > since)
	      ORDER BY l.seq DESC
	      LIMIT tail) t
	ORDER BY t.seq;
END;
COMMENT ON FUNCTION @extschema@.aggjobs_logs(bigint, integer, timestamptz) IS
	'log lines of a run, in order; tail gives the last ones, since those raised later';

/* A run is a worker's whose job it is of, or if it has done a chunk as worker 1. */
CREATE FUNCTION @extschema@.aggjobs_backfill_logs(backfill_id bigint, worker integer DEFAULT NULL, tail integer DEFAULT NULL, since timestamptz DEFAULT NULL)
RETURNS TABLE (logged_at timestamptz, worker_no integer, run_id bigint, level text, message text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT t.logged_at, t.worker, t.run_id, t.level, t.message
	FROM (SELECT l.seq, l.logged_at, r.worker, l.run_id, l.level, l.message
	      FROM (SELECT o.run_id, (j.steps -> 0 ->> 'worker')::integer AS worker
	            FROM aggjobs.job j JOIN aggjobs.run o USING (job_id)
	            WHERE j.backfill_id = aggjobs_backfill_logs.backfill_id
	            UNION SELECT b.run_id, 1 FROM aggjobs.backfill b
	            WHERE b.backfill_id = aggjobs_backfill_logs.backfill_id AND b.run_id IS NOT NULL
	            UNION SELECT c.run_id, c.worker FROM aggjobs.chunk c
	            WHERE c.backfill_id = aggjobs_backfill_logs.backfill_id AND c.run_id IS NOT NULL) r
	           JOIN aggjobs.run_logs l USING (run_id)
	      WHERE (aggjobs_backfill_logs.worker IS NULL OR r.worker = aggjobs_backfill_logs.worker)
	        AND (since IS NULL OR l.logged_at > since)
	      ORDER BY l.logged_at DESC, l.run_id DESC, l.seq DESC
	      LIMIT tail) t
	ORDER BY t.logged_at, t.run_id, t.seq;
END;
COMMENT ON FUNCTION @extschema@.aggjobs_backfill_logs(bigint, integer, integer, timestamptz) IS
	'log lines of all workers of a backfill by time, or of one; tail gives the last ones, since those raised later';
