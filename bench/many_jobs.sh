#!/bin/bash
# 100,000 jobs in one database: what the scheduler needs to start and to hold
# them, what changing one costs, and that a pass costs by what is due, not by
# what there is.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

jobs=${BENCH_JOBS:-100000}

bench_begin
session "CALL pg_temp.settle(0);"
scheduler_of() {
    session "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_aggjobs scheduler' AND datname = current_database();"
}

# Far from now, at times of their own; one in a hundred has another schedule.
session "SELECT count(aggjobs_schedule('bench_' || i,
            CASE WHEN i % 100 = 0 THEN 'every 1 month' ELSE format('%s %s 1 1 *', i % 60, i / 60 % 24) END, 'SELECT 1'))
        FROM generate_series(1, $jobs) AS i \\gset
    ANALYZE aggjobs.job;
    ANALYZE aggjobs.job_state;"

# A new scheduler: from its start to its first sleep, all jobs read.
session "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'pg_aggjobs scheduler' AND datname = current_database();" >/dev/null
started=$(session "DO \$\$
    BEGIN
        LOOP
            PERFORM pg_stat_clear_snapshot();
            EXIT WHEN EXISTS (SELECT FROM pg_stat_activity
                WHERE backend_type = 'pg_aggjobs scheduler' AND datname = current_database()
                  AND wait_event_type = 'Extension');
            PERFORM pg_sleep(0.01);
        END LOOP;
    END \$\$;
    SELECT round(1000 * extract(epoch FROM clock_timestamp() - backend_start)) FROM pg_stat_activity
        WHERE backend_type = 'pg_aggjobs scheduler' AND datname = current_database();")
scheduler=$(scheduler_of)
memory=$(calc "$(awk '/^RssAnon:/ {print $2}' "/proc/$scheduler/status") / 1024" %.0f)

# One job changed, committed by itself; then a job that is due every second.
session "CREATE TABLE bench.alter_cost (ms double precision);
    DO \$\$
    DECLARE
        began timestamptz;
    BEGIN
        FOR i IN 1..101 LOOP
            began := clock_timestamp();
            PERFORM aggjobs_alter_job('bench_' || i * 7, description => 'changed');
            COMMIT;
            INSERT INTO bench.alter_cost VALUES (1000 * extract(epoch FROM clock_timestamp() - began));
            COMMIT;
        END LOOP;
    END \$\$;"
alter=$(session "SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) FROM bench.alter_cost;")
session "DROP TABLE bench.alter_cost; SELECT pg_sleep(1);" >/dev/null
cpu=$(cpu_of "$scheduler")
session "SELECT count(aggjobs_alter_job('bench_' || i * 11, description => 'changed')) FROM generate_series(1, 20) AS i;
    SELECT pg_sleep(1);" >/dev/null
reread=$(calc "($(cpu_of "$scheduler") - $cpu) / 20")

tick() {
    local before
    session "SELECT aggjobs_schedule('bench_tick', '* * * * * *', 'SELECT 1'); SELECT pg_sleep(2);" >/dev/null
    before=$(cpu_of "$(scheduler_of)")
    session "SELECT pg_sleep(20);" >/dev/null
    calc "($(cpu_of "$(scheduler_of)") - $before) / 20"
    session "SELECT aggjobs_drop_job('bench_tick');" >/dev/null
}
many=$(tick)
session "DELETE FROM aggjobs.job WHERE starts_with(job_name, 'bench_');" >/dev/null
session "SELECT pg_terminate_backend($scheduler); SELECT pg_sleep(2);" >/dev/null
few=$(tick)

title "$jobs jobs"
judge "start of the scheduler, all read" "$started" 5000 ms
judge "private memory of the scheduler" "$memory" 200 MB
judge "changing one job, with its commit, median" "$alter" 10 ms
judge "CPU of the scheduler to read one changed job" "$reread" 10 ms
row "CPU of the scheduler per slot, with these jobs" "$many ms"
row "and without them" "$few ms"
judge "ratio" "$(calc "$many / ($few + 0.0001)")" 1.5
verdict
