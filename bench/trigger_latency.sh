#!/bin/bash
# How long after aggjobs_trigger() a run starts on a server that is idle.
#
# Each trigger is a transaction of its own in one session that stays.  The next
# one waits until the worker of the last has come to rest, so that nothing
# queues: it is latency, not throughput.  From queued_at, set just before the
# trigger commits, to started_at, set by the worker as it begins.
#
#   warm  the worker of the run before is still there and is used again
#   cold  aggjobs.worker_idle = 0: each run gets a new process
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

triggers=${BENCH_TRIGGERS:-200}

measure() {
    local kind=$1 workers=$2 i job=bench_$1
    session "SELECT aggjobs_create_job('$job', NULL, '[{\"kind\": \"command\", \"command\": \"SELECT 1\"}]',
        keep_successes => 100000);" >/dev/null
    # not counted: the first fills caches of the scheduler and, if warm, of the worker
    for ((i = -5; i < triggers; i++)); do
        [ $i -ne 0 ] || session "DELETE FROM aggjobs.run WHERE job_name = '$job';"
        session "SELECT aggjobs_trigger('$job') AS run \\gset
            SELECT aggjobs_wait(:run, '30 seconds') AS status \\gset
            CALL pg_temp.settle($workers);"
    done
    session "SELECT count(*) FILTER (WHERE status = 'succeeded'),
            round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 1),
            round(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms)::numeric, 1),
            round(max(ms)::numeric, 1), count(DISTINCT worker_pid)
        FROM (SELECT *, 1000 * extract(epoch FROM started_at - queued_at) AS ms
              FROM aggjobs.runs WHERE job_name = '$job') AS r;"
}

report() {
    local kind=$1 workers=$2 done_runs p50 p95 worst processes
    IFS='|' read -r done_runs p50 p95 worst processes < <(measure "$kind" "$workers")
    [ "${done_runs:-0}" -eq "$triggers" ] || cannot "$done_runs of $triggers $kind runs succeeded"
    row "$kind: triggers, worker processes" "$done_runs, $processes"
    judge "$kind: median" "$p50" 50 ms
    row "$kind: 95 %" "$p95 ms"
    row "$kind: slowest" "$worst ms"
}

bench_begin
title "from trigger to start, idle server"
row "a commit on this disk, median" "$(commit_ms) ms"
report warm 1
change_setting aggjobs.worker_idle 0
session "CALL pg_temp.settle(0);"
report cold 0
verdict
