#!/bin/bash
# 200 jobs that are due in the same second, with 8 workers: how late the last
# one starts, whether any is lost, and what a run costs.
#
# Each job runs one statement, once, at an instant a few seconds ahead.  No
# worker is there when the slot comes, so starting them is part of it.  Workers
# are counted from inside every few milliseconds; overlap is what the history
# says of the runs themselves.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

jobs=${BENCH_JOBS:-200}
rounds=${BENCH_ROUNDS:-5}
max_workers=8

# The jobs, in one transaction; prints their slot.
make_jobs() {
    session "SELECT to_char(now() + interval '6 seconds', 'YYYY-MM-DD HH24:MI:SS') AS slot \\gset
        BEGIN;
        SELECT count(aggjobs_schedule('bench_$1_' || i, 'at ' || :'slot', 'SELECT 1')) AS made
            FROM generate_series(1, $jobs) AS i \\gset
        COMMIT;
        SELECT CASE WHEN now() < :'slot' THEN :'slot' END;"
}

# Wait for the end of all; prints the greatest number of workers seen.
watch() {
    session "CREATE PROCEDURE bench.watch(prefix text, wanted int, OUT most int) LANGUAGE plpgsql AS \$\$
        DECLARE
            n int;
        BEGIN
            most := 0;
            FOR i IN 1..12000 LOOP
                SELECT count(*) INTO n FROM aggjobs.worker_slots() WHERE state <> 'ended';
                most := greatest(most, n);
                IF i % 10 = 0 AND n = 0 OR i % 50 = 0 THEN
                    SELECT count(*) INTO n FROM aggjobs.run
                        WHERE starts_with(job_name, prefix) AND status NOT IN ('queued', 'running');
                    EXIT WHEN n >= wanted;
                END IF;
                PERFORM pg_sleep(0.01);
            END LOOP;
        END \$\$;
        CALL bench.watch('bench_$1_', $jobs, NULL);
        DROP PROCEDURE bench.watch;"
}

# late_ms | first_ms | succeeded | rows | distinct slots | overlap | processes
results() {
    session "WITH r AS (
            SELECT * FROM aggjobs.runs WHERE starts_with(job_name, 'bench_$1_')
        ), moment AS (
            SELECT started_at AS t, 1 AS step FROM r UNION ALL SELECT ended_at, -1 FROM r
        ), level AS (
            SELECT sum(step) OVER (ORDER BY t, step) AS n FROM moment
        )
        SELECT round(1000 * extract(epoch FROM max(started_at - slot))),
               round(1000 * extract(epoch FROM min(started_at - slot))),
               count(*) FILTER (WHERE status = 'succeeded'),
               count(*), count(DISTINCT (job_id, slot)),
               (SELECT max(n) FROM level), count(DISTINCT worker_pid)
        FROM r;"
}

bench_begin
change_setting aggjobs.max_workers $max_workers
late=() first=() cost=() lost=0 most=0 overlap=0 processes=0
for ((round = 1; round <= rounds; round++)); do
    session "CALL pg_temp.settle(0);"
    slot=$(make_jobs $round)
    [ -n "$slot" ] || cannot "making $jobs jobs took more than 6 seconds"
    cpu=$(cpu_of_server) watcher=$(cpu_of "$session_backend")
    seen=$(watch $round)
    watcher=$(calc "$(cpu_of "$session_backend") - $watcher")
    cpu=$(calc "$(cpu_of_server) - $cpu - $watcher")
    IFS='|' read -r l f ok rows slots o p < <(results $round)
    late+=("$l") first+=("$f")
    cost+=("$(calc "$cpu / $jobs")")
    lost=$((lost + (jobs - ok) + (rows - slots)))
    most=$((seen > most ? seen : most))
    overlap=$((o > overlap ? o : overlap))
    processes=$((p > processes ? p : processes))
    ask "SELECT count(aggjobs_drop_job(job_name)) FROM aggjobs.jobs WHERE starts_with(job_name, 'bench_${round}_')" >/dev/null
done

title "$jobs jobs in one second, $max_workers workers, $rounds times"
row "first start after the slot, median" "$(printf '%s\n' "${first[@]}" | median) ms"
row "last start after the slot, median" "$(printf '%s\n' "${late[@]}" | median) ms"
judge "last start after the slot, slowest time" "$(printf '%s\n' "${late[@]}" | greatest)" 3000 ms
judge "runs lost, failed or doubled" "$lost" 0
judge "most workers seen at once" "$most" $max_workers
judge "most runs at once, by the history" "$overlap" $max_workers
row "processes used, most" "$processes"
row "CPU of the whole server per run, median" "$(printf '%s\n' "${cost[@]}" | median) ms"
verdict
