#!/bin/bash
# What it costs to keep a rollup fresh, next to the SQL one would write without
# it, into a table with the same key.
#
# 20,000,000 rows of 30 days that end at the present hour, about 5,000,000
# groups by hour, user and type, with 8 measures.
#
#   first     CALL aggjobs_refresh of a new rollup against one
#             INSERT ... SELECT ... GROUP BY
#   days      a rollup by day over the hours against one over the raw rows
#   hour      one more hour of 100,000 rows has come: refresh against
#             INSERT ... SELECT of that hour
#   late      such an hour and 1,000 late rows, in 120 hours of five old days,
#             each in a transaction of its own or all in one: refresh against
#             DELETE and INSERT ... SELECT of just the hours touched
#   nothing   a refresh that has nothing to do
#
# Each pair is run one right after the other, in turns which goes first, and
# the figure is the median of the pairs' ratios.  The results are compared.
#
#   ROWS          how many raw rows (default 20000000; 200000 takes seconds);
#                 the hour that comes has a 200th of them
#   BENCH_PAIRS   how many pairs (default 3)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

rows=${ROWS:-20000000}
pairs=${BENCH_PAIRS:-3}
hour_rows=$((rows / 200))
late_rows=1000
variants="hour late_each late_one"

measures="count(*) AS n, count(*) FILTER (WHERE status = 'error') AS errors, sum(duration_ms) AS duration_ms,
    max(duration_ms) AS slowest, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(cost) AS cost, sum(credits) AS credits"
by_hour="SELECT date_trunc('hour', at, 'UTC') AS bucket, user_id, entity_type, $measures FROM bench.raw"

create() {
    session "SELECT aggjobs_create_rollup('$1', \$\$$2\$\$, schedule => NULL, schema => 'bench');" >/dev/null
}

drop() { session "SELECT aggjobs_drop_rollup('$1');" >/dev/null; }

wal() { session "SELECT pg_current_wal_insert_lsn() - '0/0';"; }

# cost_of TEXT: let the session do it; prints CPU milliseconds of the server,
# seconds and bytes of WAL.  Full page images count alike on both sides.
cost_of() {
    local cpu began seconds bytes
    session "CHECKPOINT;" >&2
    bytes=$(wal)
    cpu=$(cpu_of_server)
    began=$EPOCHREALTIME
    session "$1" >&2
    seconds=$(calc "$EPOCHREALTIME - $began" %.6f)
    echo "$(calc "$(cpu_of_server) - $cpu" %.0f)|$seconds|$(calc "$(wal) - $bytes" %.0f)"
}

# pair NAME NUMBER OURS PLAIN: two texts
pair() {
    local ours plain
    if (($2 % 2)); then
        ours=$(cost_of "$3")
        plain=$(cost_of "$4")
    else
        plain=$(cost_of "$4")
        ours=$(cost_of "$3")
    fi
    for figure in cpu time wal; do
        calc "$(field "$ours" $figure) / ($(field "$plain" $figure) + 1e-9)" "%.4f\n" >>"$scratch/$1.$figure"
        field "$ours" $figure >>"$scratch/$1.$figure.ours"
        field "$plain" $figure >>"$scratch/$1.$figure.plain"
    done
}

field() {
    case $2 in
        cpu) echo "$1" | cut -d'|' -f1 ;;
        time) echo "$1" | cut -d'|' -f2 ;;
        wal) echo "$1" | cut -d'|' -f3 ;;
    esac
}

# same WHERE: rollup and plain table agree there
same() {
    [ "$(session "WITH ours AS (SELECT * FROM bench.bench_hour WHERE $1), plain AS (SELECT * FROM bench.plain_hour WHERE $1)
        SELECT count(*) FROM (TABLE ours EXCEPT TABLE plain UNION ALL (TABLE plain EXCEPT TABLE ours)) AS d;")" = 0 ] ||
        cannot "rollup and plain SQL do not agree"
}

prepare() {
    local present
    # hours that come one after the other, later on
    present=$(session "SELECT date_trunc('hour', now(), 'UTC') - $((3 * pairs + 3)) * interval '1 hour';")
    psql -qX -v ON_ERROR_STOP=1 -v rows="$rows" -v until="$present" -f "$(dirname "$0")/rollup_data.sql" >/dev/null
    next_hour=$present
    create bench_hour "$by_hour GROUP BY 1, 2, 3"
    session "CREATE TABLE bench.plain_hour (LIKE bench.bench_hour INCLUDING ALL);
        CREATE TABLE bench.late (LIKE bench.raw);
        CREATE TABLE bench.touched (hour timestamptz);"
}

first_pair() {
    drop bench_hour
    create bench_hour "$by_hour GROUP BY 1, 2, 3"
    session "TRUNCATE bench.plain_hour;"
    pair first "$1" "CALL aggjobs_refresh('bench_hour');" "INSERT INTO bench.plain_hour $by_hour GROUP BY 1, 2, 3;"
}

day_pair() {
    create bench_day "SELECT date_trunc('day', bucket, 'UTC') AS bucket, user_id, entity_type, sum(n) AS n,
        sum(errors) AS errors, sum(duration_ms) AS duration_ms, max(slowest) AS slowest, sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens, sum(cost) AS cost, sum(credits) AS credits
        FROM bench.bench_hour GROUP BY 1, 2, 3"
    create bench_raw_day "${by_hour/\'hour\'/\'day\'} GROUP BY 1, 2, 3"
    pair days "$1" "CALL aggjobs_refresh('bench_day');" "CALL aggjobs_refresh('bench_raw_day');"
    [ "$(session "SELECT count(*) FROM (TABLE bench.bench_day EXCEPT TABLE bench.bench_raw_day
        UNION ALL (TABLE bench.bench_raw_day EXCEPT TABLE bench.bench_day)) AS d;")" = 0 ] || cannot "the days do not agree"
    drop bench_day
    drop bench_raw_day
}

# An hour comes, and late rows into five days that ended long ago.
write_more() {
    session "INSERT INTO bench.raw SELECT * FROM bench.make_rows($hour_rows, '$next_hour', interval '1 hour', bench.users());
        TRUNCATE bench.touched, bench.late;
        INSERT INTO bench.touched VALUES ('$next_hour');"
    next_hour=$(session "SELECT timestamptz '$next_hour' + interval '1 hour';")
    [ "$1" != hour ] || return 0
    session "INSERT INTO bench.late
            SELECT date_trunc('day', now(), 'UTC') - interval '15 days' + random() * interval '5 days', user_id, entity_type,
                status, duration_ms, input_tokens, output_tokens, cost, credits
            FROM bench.make_rows($late_rows, now(), interval '1 hour', bench.users());
        INSERT INTO bench.touched SELECT DISTINCT date_trunc('hour', at, 'UTC') FROM bench.late;
        ANALYZE bench.touched;"
    if [ "$1" = late_one ]; then
        session "INSERT INTO bench.raw SELECT * FROM bench.late;"
    else
        session "DO \$\$
            DECLARE
                late bench.late;
            BEGIN
                FOR late IN SELECT * FROM bench.late LOOP
                    INSERT INTO bench.raw SELECT late.*;
                    COMMIT;
                END LOOP;
            END \$\$;"
    fi
}

more_pair() {
    local plain hour
    write_more "$1"
    plain="BEGIN;
        DELETE FROM bench.plain_hour USING bench.touched WHERE bucket = hour;
        INSERT INTO bench.plain_hour $by_hour JOIN bench.touched ON at >= hour AND at < hour + interval '1 hour'
            GROUP BY 1, 2, 3;
        COMMIT;"
    if [ "$1" = hour ]; then
        hour=$(session "SELECT hour FROM bench.touched;")
        plain="INSERT INTO bench.plain_hour $by_hour
            WHERE at >= '$hour' AND at < timestamptz '$hour' + interval '1 hour' GROUP BY 1, 2, 3;"
    fi
    pair "$1" "$2" "CALL aggjobs_refresh('bench_hour');" "$plain"
    same "bucket IN (SELECT hour FROM bench.touched)"
    session "SELECT count(*) FROM bench.touched;" >>"$scratch/$1.hours"
}

nothing() {
    local i
    for ((i = 0; i < 21; i++)); do
        session "SELECT clock_timestamp() AS began \\gset
            CALL aggjobs_refresh('bench_hour');
            SELECT 1000 * extract(epoch FROM clock_timestamp() - :'began');" >>"$scratch/nothing"
    done
}

show() {
    row "refresh, medians" "$(calc "$(median <"$scratch/$1.time.ours")" %.2f) s, $(calc "$(median <"$scratch/$1.cpu.ours") / 1000" %.2f) s CPU, $(calc "$(median <"$scratch/$1.wal.ours") / 1e6" %.1f) MB WAL"
    row "$2, medians" "$(calc "$(median <"$scratch/$1.time.plain")" %.2f) s, $(calc "$(median <"$scratch/$1.cpu.plain") / 1000" %.2f) s CPU, $(calc "$(median <"$scratch/$1.wal.plain") / 1e6" %.1f) MB WAL"
    judge "time, ratio" "$(median <"$scratch/$1.time")" "$3"
    row "of pairs, least to greatest" "$(least <"$scratch/$1.time") - $(greatest <"$scratch/$1.time")"
    row "CPU, ratio" "$(median <"$scratch/$1.cpu")"
}

bench_begin
change_setting autovacuum off
prepare
for ((i = 0; i < pairs; i++)); do first_pair $i; done
same true
session "VACUUM ANALYZE bench.bench_hour; VACUUM ANALYZE bench.plain_hour;"
for ((i = 0; i < pairs; i++)); do day_pair $i; done
# not counted: fills caches
more_pair hour 0
rm -f "$scratch"/hour.*
for ((i = 0; i < pairs; i++)); do
    for variant in $variants; do more_pair $variant $i; done
done
nothing
same true

title "first: $rows rows, $(session "SELECT count(*) FROM bench.plain_hour;") groups ($pairs pairs)"
show first "INSERT ... SELECT" 0.75
title "days: over the rollup by hour against over raw rows ($pairs pairs)"
show days "over raw rows" 0.5
title "hour: $hour_rows rows in one more hour ($pairs pairs)"
show hour "INSERT ... SELECT" 1.1
for variant in late_each late_one; do
    title "$variant: such an hour and $late_rows late rows, $(median <"$scratch/$variant.hours" | cut -d. -f1) hours touched ($pairs pairs)"
    show $variant "DELETE, INSERT ... SELECT" 0.2
    judge "WAL, ratio" "$(median <"$scratch/$variant.wal")" 0.05
done
title "nothing to do (21 times)"
judge "time, median" "$(median <"$scratch/nothing")" 5 ms
verdict
