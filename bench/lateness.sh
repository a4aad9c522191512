#!/bin/bash
# How late runs start: 1,000 jobs whose slots are spread over a minute, with
# workers free; and 200 jobs that are due every second, for a minute, with the
# CPU that the whole server uses for them.
#
# Lateness is from the slot to the start of the run, as the history has it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

spread=${BENCH_SPREAD:-1000}
each_second=${BENCH_JOBS:-200}
seconds=${BENCH_SECONDS:-60}
cores=$(nproc)

drop_jobs() {
    ask "SELECT count(aggjobs_drop_job(job_name)) FROM aggjobs.jobs WHERE starts_with(job_name, 'bench_')" >/dev/null
}

# Wait for an instant, with BENCH_SNAPSHOT=1 in a statement: its snapshot keeps
# old versions of rows from being removed.
wait_until() {
    local rest="greatest(0, extract(epoch FROM timestamptz '$1' - clock_timestamp()))"
    if [ "${BENCH_SNAPSHOT:-0}" = 1 ]; then
        session "SELECT pg_sleep($rest);" >/dev/null
    else
        sleep "$(session "SELECT $rest;")"
    fi
}

# p50 | p95 | p99 | slowest, ms, | runs | not succeeded, of slots in (from, to]
lateness() {
    session "SELECT round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY late)),
               round(1000 * percentile_cont(0.95) WITHIN GROUP (ORDER BY late)),
               round(1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY late)),
               round(1000 * max(late)), count(*) FILTER (WHERE status = 'succeeded'),
               coalesce(sum(slots) FILTER (WHERE status <> 'succeeded'), 0)
        FROM (SELECT status, slots, extract(epoch FROM started_at - slot) AS late FROM aggjobs.runs
              WHERE starts_with(job_name, 'bench_') AND slot > '$1' AND slot <= '$2') AS r;"
}

bench_begin
change_setting aggjobs.max_workers 8
session "CALL pg_temp.settle(0);"

# Second i / 17 of the minute, so that each has about as many.
minute=$(session "SELECT count(aggjobs_schedule('bench_' || i, (i * 60 / $spread) || ' * * * * *', 'SELECT 1'))
        FROM generate_series(0, $spread - 1) AS i \\gset
    SELECT date_trunc('second', clock_timestamp()) + interval '1 second';")
end=$(session "SELECT timestamptz '$minute' + interval '1 minute';")
wait_until "$end"
session "SELECT pg_sleep(2);" >/dev/null
IFS='|' read -r p50 _ p99 slowest ok other < <(lateness "$minute" "$end")
drop_jobs

title "$spread jobs spread over a minute"
row "start after the slot, median" "$p50 ms"
judge "start after the slot, 99 %" "$p99" 200 ms
row "slowest" "$slowest ms"
judge "slots that were not run" $((spread - ok + other)) 0

change_setting aggjobs.keep_successes 1000
first=$(session "SELECT count(aggjobs_schedule('bench_' || i, '*/1 * * * * *', 'SELECT 1'))
        FROM generate_series(1, $each_second) AS i \\gset
    SELECT date_trunc('second', clock_timestamp()) + interval '3 seconds';")
end=$(session "SELECT timestamptz '$first' + interval '$seconds seconds';")
wait_until "$first"
cpu=$(cpu_of_server)
wait_until "$end"
cpu=$(calc "($(cpu_of_server) - $cpu) / 1000 / $seconds * 100 / $cores")
session "SELECT pg_sleep(2);" >/dev/null
IFS='|' read -r p50 p95 p99 slowest ok other < <(lateness "$first" "$end")
drop_jobs

title "$each_second jobs every second, for $seconds seconds"
row "start after the slot, median" "$p50 ms"
judge "start after the slot, 95 %" "$p95" 500 ms
row "99 %; slowest" "$p99; $slowest ms"
judge "slots that were not run" $((each_second * seconds - ok + other)) 0
judge "CPU of the whole server, of all cores" "$cpu" 50 %
row "CPU per run" "$(calc "$cpu * $cores / 100 * 1000 * $seconds / $ok") ms"
verdict
