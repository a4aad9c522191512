#!/bin/bash
# What a backfill costs, next to the SQL one would write, and what more workers
# and more chunks make of it.
#
# 20,000,000 rows of 30 days; hours by user and type with 8 measures, days over
# them, and the use of models from the raw rows.
#
#   by_hand   three INSERT ... SELECT from the raw rows into keyed tables,
#             against a backfill of all three by one worker
#   workers   a backfill by one worker against one by two
#   chunks    the hours in 31 chunks, the oldest first as one chunk is computed,
#             against that one, by one worker
#   order     the newest of them first against the oldest first
#   polled    the hours in 31 chunks while the views are looked at ten times a
#             second, against nobody looking, and what looking costs by itself
#   memory    private memory of two workers together, at most, and that of a
#             backfill of a third of the days
#
# All are run one right after the other, and the figures are the medians of their
# ratios.  The results are compared.
#
#   ROWS          how many raw rows (default 20000000; 200000 takes seconds)
#   BENCH_PAIRS   how many pairs (default 3)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

rows=${ROWS:-20000000}
pairs=${BENCH_PAIRS:-3}
measures="count(*) AS n, count(*) FILTER (WHERE status = 'error') AS errors, sum(duration_ms) AS duration_ms,
    max(duration_ms) AS slowest, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(cost) AS cost, sum(credits) AS credits"
sums="sum(n) AS n, sum(errors) AS errors, sum(duration_ms) AS duration_ms, max(slowest) AS slowest,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost, sum(credits) AS credits"
hours="SELECT date_trunc('hour', at, 'UTC') AS bucket, user_id, entity_type, $measures FROM bench.raw GROUP BY 1, 2, 3"
days="SELECT date_trunc('day', at, 'UTC') AS bucket, user_id, entity_type, $measures FROM bench.raw GROUP BY 1, 2, 3"
days_over="SELECT date_trunc('day', bucket, 'UTC') AS bucket, user_id, entity_type, $sums FROM bench.bench_hours GROUP BY 1, 2, 3"
models="SELECT date_trunc('hour', at, 'UTC') AS bucket, entity_type, count(*) AS calls, sum(input_tokens) AS input_tokens,
    sum(cost) AS cost FROM bench.raw WHERE entity_type = 'model' GROUP BY 1, 2"

create() {
    session "SELECT aggjobs_create_rollup('$1', \$\$$2\$\$, schedule => NULL, schema => 'bench');" >/dev/null
}

make_rollups() {
    create bench_hours "$hours"
    create bench_days "$days_over"
    create bench_models "$models"
    session "SELECT aggjobs_create_job('bench_all', NULL, '[{\"kind\": \"rollup\", \"rollup\": \"bench_days\"},
        {\"kind\": \"rollup\", \"rollup\": \"bench_models\"}]');" >/dev/null
}

drop_rollups() {
    session "SELECT aggjobs_drop_job('bench_all');" >/dev/null
    for r in bench_days bench_models bench_hours; do session "SELECT aggjobs_drop_rollup('$r');" >/dev/null; done
}

# Look at a backfill and its workers ten times a second, as a console does.
watch() {
    PGAPPNAME=bench_watch psql -qAtX -v id="$1" >/dev/null 2>&1 <<'SQL' &
PREPARE backfill AS SELECT * FROM aggjobs.backfills WHERE backfill_id = :id;
PREPARE workers AS SELECT * FROM aggjobs.backfill_workers WHERE backfill_id = :id;
EXECUTE backfill \; EXECUTE workers
\watch 0.1
SQL
}

# Seconds of a backfill, from its first chunk to its last: backfilled NAME ARGUMENTS
backfilled() {
    local id state
    id=$(session "SELECT aggjobs_backfill('$1'${2:+, $2});")
    [ -z "${watched:-}" ] || watch "$id"
    state=$(session "SET client_min_messages = warning; SELECT aggjobs_wait_backfill($id);")
    [ "$state" = succeeded ] || cannot "backfill $id is $state"
    session "SELECT extract(epoch FROM duration) FROM aggjobs.backfills WHERE backfill_id = $id;"
}

# Private memory, in MB, of all workers of the last backfill, each at its highest.
memory_of_last() {
    session "SELECT sum(peak_memory) / 1048576 FROM aggjobs.runs
        WHERE job_name LIKE format('backfill %s worker %%', (SELECT max(backfill_id) FROM aggjobs.backfills));"
}

# Seconds of CPU of the workers of the last backfill.
cpu_of_last() {
    session "SELECT round(cpu_seconds::numeric, 3) FROM aggjobs.backfills ORDER BY backfill_id DESC LIMIT 1;"
}

# The same, of rollups that were just made.
first_fill() {
    make_rollups
    session "CHECKPOINT;"
    backfilled "$@"
}

# The same, watched; what that costs the server goes to $scratch/watching, as a part
# of the time.
watched_fill() {
    local seconds cpu
    seconds=$(watched=yes && first_fill "$@")
    cpu=$(cpu_of "$(session "SELECT pid FROM pg_stat_activity WHERE application_name = 'bench_watch';")")
    session "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bench_watch';" >/dev/null
    calc "$cpu / 1000 / $seconds" "%.4f\n" >>"$scratch/watching"
    echo "$seconds"
}

seconds_of() {
    local began
    session "CHECKPOINT;"
    began=$(date +%s.%N)
    session "$1"
    calc "$(date +%s.%N) - $began" %.3f
}

by_hand() {
    seconds_of "
        CREATE TABLE bench.h AS $hours WITH NO DATA; ALTER TABLE bench.h ADD UNIQUE NULLS NOT DISTINCT (bucket, user_id, entity_type);
        CREATE TABLE bench.d AS $days WITH NO DATA; ALTER TABLE bench.d ADD UNIQUE NULLS NOT DISTINCT (bucket, user_id, entity_type);
        CREATE TABLE bench.m AS $models WITH NO DATA; ALTER TABLE bench.m ADD UNIQUE NULLS NOT DISTINCT (bucket, entity_type);
        INSERT INTO bench.h $hours; INSERT INTO bench.d $days; INSERT INTO bench.m $models;"
}

# What was backfilled is what was written by hand, but for today.
compare() {
    local wrong ended="WHERE bucket < date_trunc('day', now(), 'UTC')"
    wrong=$(session "WITH ours AS (SELECT * FROM bench.$1 $ended), theirs AS (SELECT * FROM bench.$2 $ended)
        SELECT count(*) FROM ((TABLE ours EXCEPT ALL TABLE theirs) UNION ALL (TABLE theirs EXCEPT ALL TABLE ours)) AS d;")
    [ "$wrong" = 0 ] || cannot "$wrong rows differ between $1 and $2"
}

in_days() {
    pieces=$(first_fill bench_hours "workers => 1, chunk => interval '1 day', \"order\" => 'oldest first'")
    cpu_pieces=$(cpu_of_last)
    drop_rollups
}

in_one() {
    piece=$(first_fill bench_hours "workers => 1, chunk => interval '1000 days'")
    cpu_piece=$(cpu_of_last)
    drop_rollups
}

without() {
    newest=$(first_fill bench_hours "workers => 1, chunk => interval '1 day'")
    drop_rollups
}

with_polling() {
    looked_at=$(watched_fill bench_hours "workers => 1, chunk => interval '1 day'")
    drop_rollups
}

# The pair of that number.
pair() {
    local hand one two pieces piece newest looked_at cpu_pieces cpu_piece
    hand=$(by_hand)
    one=$(first_fill bench_all 'workers => 1')
    compare bench_hours h
    compare bench_days d
    compare bench_models m
    drop_rollups
    session "DROP TABLE bench.h, bench.d, bench.m;"
    two=$(first_fill bench_all 'workers => 2')
    memory_of_last >>"$scratch/memory"
    drop_rollups
    first_fill bench_all 'workers => 2, days => 10' >/dev/null
    memory_of_last >>"$scratch/memory_10"
    drop_rollups
    # in turns, which is first
    if (($1 % 2)); then in_one; in_days; else in_days; in_one; fi
    if (($1 % 2)); then with_polling; without; else without; with_polling; fi
    echo "$hand $one $two $pieces $piece $newest $looked_at" >>"$scratch/seconds"
    calc "$one / $hand" "%.3f\n" >>"$scratch/hand"
    calc "$two / $one" "%.3f\n" >>"$scratch/two"
    calc "$pieces / $piece" "%.3f\n" >>"$scratch/cut"
    calc "$cpu_pieces / $cpu_piece" "%.3f\n" >>"$scratch/cut_cpu"
    calc "$newest / $pieces" "%.3f\n" >>"$scratch/newest"
    calc "$looked_at / $newest" "%.3f\n" >>"$scratch/polled"
}

column() { awk -v n="$1" '{print $n}' "$scratch/seconds" | median; }

bench_begin
change_setting autovacuum off
change_setting aggjobs.max_backfill_workers 4
until=$(ask "SELECT date_trunc('hour', now(), 'UTC')")
psql -qX -v ON_ERROR_STOP=1 -v rows="$rows" -v until="$until" -f "$(dirname "$0")/rollup_data.sql" >/dev/null
for ((i = 0; i < pairs; i++)); do pair "$i"; done

title "hours, days and models of $rows rows ($pairs pairs)"
row "three INSERT ... SELECT, one worker, two" "$(column 1) s, $(column 2) s, $(column 3) s"
judge "one worker to three INSERT ... SELECT, time" "$(median <"$scratch/hand")" 0.71
judge "two workers to one, time" "$(median <"$scratch/two")" 0.59
title "hours alone, by one worker"
row "in days from the oldest, in one piece" "$(column 4) s, $(column 5) s"
judge "in days to in one piece, time" "$(median <"$scratch/cut")" 1.05
row "in days to in one piece, CPU" "$(median <"$scratch/cut_cpu")"
row "in days from the newest" "$(column 6) s"
row "newest first to oldest first, time" "$(median <"$scratch/newest")"
row "in days, looked at ten times a second" "$(column 7) s"
row "looked at to not, time" "$(median <"$scratch/polled")"
judge "CPU of looking, of the time" "$(median <"$scratch/watching")" 0.01
title "private memory of two workers, MB"
row "30 days, 10 days" "$(median <"$scratch/memory"), $(median <"$scratch/memory_10")"
judge "30 days, MB" "$(median <"$scratch/memory")" 1024
verdict
