#!/bin/bash
# 10,000 runs in a row: do scheduler and launcher keep their size, does the
# history keep its, and what does a run cost.
#
# 20 jobs are triggered again and again, 400 runs at a time, and each batch is
# waited for to its end.  Memory is RssAnon: what the process has to itself.
# The first batches are not counted, as they fill caches that stay.
#
# Then 100 jobs are due every second: slots take another way through the
# scheduler than triggers.  Here its own account of its memory is compared,
# which is exact, when nothing goes on before and after.
#
# Last, workers end after 20 runs, so that one often leaves while the next run
# is being given away: none may be lost there.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

runs=${BENCH_RUNS:-10000}
jobs=20
per_job=20
batch=$((jobs * per_job))
keep=100
short_lived=${BENCH_SHORT_LIVED:-2000}
slot_jobs=100
slot_seconds=${BENCH_SLOT_SECONDS:-60}
# the history is pruned when so many runs of a job have ended since
prune_lag=20

open_runs() {
    session "SELECT count(*) FROM aggjobs.run WHERE status IN ('queued', 'running');"
}

run_batch() {
    local left tries=0
    session "SELECT count(aggjobs_trigger('bench_' || j)) FROM generate_series(1, $jobs) AS j, generate_series(1, $per_job);" >/dev/null
    # every look is a statement of its own: a long one would hold back the
    # removal of dead rows, and with it measure itself
    while left=$(open_runs) && [ "$left" -gt 0 ]; do
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || cannot "$left runs do not end"
        sleep 0.1
    done
}

# Memory is looked at when nothing goes on.
private_kb() {
    session "CALL pg_temp.settle(0);"
    status_field "$1" RssAnon
}

# wal bytes | transactions of this database | syncs of the WAL
counters() {
    sleep 1.2 # statistics come late
    session "SELECT pg_current_wal_insert_lsn() - '0/0', d.xact_commit, w.wal_sync
        FROM pg_stat_database AS d, pg_stat_wal AS w WHERE d.datname = current_database();"
}

bench_begin
session "SELECT count(aggjobs_create_job('bench_' || j, NULL, '[{\"kind\": \"command\", \"command\": \"SELECT 1\"}]',
    keep_successes => $keep)) FROM generate_series(1, $jobs) AS j;" >/dev/null
scheduler=$(process_of 'pg_aggjobs scheduler')
launcher=$(process_of 'pg_aggjobs launcher')

run_batch
run_batch
scheduler_before=$(private_kb "$scheduler")
launcher_before=$(private_kb "$launcher")
IFS='|' read -r wal commits syncs < <(counters)
cpu=$(cpu_of_server) scheduler_cpu=$(cpu_of "$scheduler")
rates=()
for ((done_runs = 0; done_runs < runs; done_runs += batch)); do
    began=$EPOCHREALTIME
    run_batch
    rates+=("$(calc "$batch / ($EPOCHREALTIME - $began)" %.0f)")
done
cpu=$(calc "$(cpu_of_server) - $cpu") scheduler_cpu=$(calc "$(cpu_of "$scheduler") - $scheduler_cpu")
IFS='|' read -r wal_after commits_after syncs_after < <(counters)
scheduler_after=$(private_kb "$scheduler")
launcher_after=$(private_kb "$launcher")
[ "$(process_of 'pg_aggjobs scheduler')" = "$scheduler" ] || cannot "the scheduler was started again meanwhile"
IFS='|' read -r most_kept bad why < <(session "SELECT max(kept), sum(bad),
        (SELECT string_agg(DISTINCT status || ': ' || coalesce(error, note, ''), '; ') FROM aggjobs.runs
         WHERE job_name LIKE 'bench\\_%' AND status <> 'succeeded')
    FROM (SELECT count(*) FILTER (WHERE status = 'succeeded') AS kept, count(*) FILTER (WHERE status <> 'succeeded') AS bad
          FROM aggjobs.run WHERE job_name LIKE 'bench\\_%' GROUP BY job_id) AS k;")

# Slots for some seconds; prints the bytes the scheduler has in use after.
slots_for() {
    session "SELECT aggjobs_resume('bench_slot_' || i) FROM generate_series(1, $slot_jobs) AS i;" >/dev/null
    sleep "$1"
    session "SELECT aggjobs_pause('bench_slot_' || i) FROM generate_series(1, $slot_jobs) AS i;
        CALL pg_temp.settle(0);" >/dev/null
    bytes_used "$scheduler"
}

session "SELECT count(aggjobs_create_job('bench_slot_' || i, '* * * * * *',
    '[{\"kind\": \"command\", \"command\": \"SELECT 1\"}]', enabled => false)) FROM generate_series(1, $slot_jobs) AS i;" >/dev/null
slots_before=$(slots_for 10)
slots_after=$(slots_for "$slot_seconds")

session "DELETE FROM aggjobs.run WHERE job_name LIKE 'bench\\_%';"
change_setting aggjobs.worker_max_runs 20
for ((short_runs = 0; short_runs < short_lived; short_runs += batch)); do run_batch; done
IFS='|' read -r short_bad short_why < <(session "SELECT count(*),
        string_agg(DISTINCT status || ': ' || coalesce(error, note, ''), '; ')
    FROM aggjobs.runs WHERE job_name LIKE 'bench\\_%' AND status <> 'succeeded';")

title "$done_runs runs of $jobs jobs, $batch at a time"
row "scheduler, private memory after warm-up" "$scheduler_before kB"
judge "scheduler, growth since" $((scheduler_after - scheduler_before)) 1024 kB
row "launcher, private memory after warm-up" "$launcher_before kB"
judge "launcher, growth since" $((launcher_after - launcher_before)) 1024 kB
judge "rows of history per job, keep_successes = $keep" "$most_kept" $((keep + prune_lag))
judge "runs that did not succeed" "$bad" 0
[ "$bad" -eq 0 ] || echo "    $why"
row "runs per second, median of batches" "$(printf '%s\n' "${rates[@]}" | median)"
row "first and last batch" "${rates[0]}, ${rates[-1]}"
row "CPU of the whole server per run" "$(calc "$cpu / $done_runs") ms"
row "of it the scheduler" "$(calc "$scheduler_cpu / $done_runs") ms"
row "WAL per run" "$(calc "($wal_after - $wal) / $done_runs" %.0f) bytes"
row "transactions per run" "$(calc "($commits_after - $commits) / $done_runs")"
row "syncs of the WAL per run" "$(calc "($syncs_after - $syncs) / $done_runs")"
title "$slot_jobs jobs due every second, for $slot_seconds seconds"
if [ -n "$slots_after" ]; then
    row "scheduler, memory in use before" "$((slots_before / 1024)) kB"
    judge "scheduler, growth since" $(((slots_after - slots_before) / 1024)) 16 kB
else
    row "scheduler, memory in use" "the log is no file"
fi
title "$short_runs runs by workers that end after 20"
judge "runs that did not succeed" "$short_bad" 0
[ "$short_bad" -eq 0 ] || echo "    $short_why"
verdict
