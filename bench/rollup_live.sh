#!/bin/bash
# What it costs to read the live view.
#
# 20,000,000 rows of 30 days, and the hour that is open now.
#
#   day       the last 24 hours, by the hour, against the same query on the
#             target alone and a query on the raw rows of the open hour
#   late      1,000 late rows have come into 120 old hours, each in a
#             transaction of its own, and nothing was refreshed: all 30 days by
#             the hour, against the same query on the raw rows
#   minutes   the same of a rollup by the minute, 1,000 minutes being stale
#
# In each case the answer must be that of the raw rows, and no raw rows may be
# read but those of open and stale buckets, by the server's own count.
#
#   ROWS          how many raw rows (default 20000000; 200000 takes seconds)
#   BENCH_PAIRS   how many pairs (default 9)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

rows=${ROWS:-20000000}
pairs=${BENCH_PAIRS:-9}
late_rows=1000

create() {
    session "SELECT aggjobs_create_rollup('$1', \$\$$2\$\$, schedule => NULL, schema => 'bench');
        CALL aggjobs_refresh('$1');
        VACUUM ANALYZE bench.$1;" >/dev/null
}

prepare() {
    local present
    present=$(session "SELECT date_trunc('hour', now(), 'UTC');")
    psql -qX -v ON_ERROR_STOP=1 -v rows="$rows" -v until="$present" -f "$(dirname "$0")/rollup_data.sql" >/dev/null
    # a second hour, lest the first ends meanwhile
    session "INSERT INTO bench.raw SELECT * FROM bench.make_rows($((rows / 720 * 2)), '$present', interval '2 hours', bench.users());"
    create bench_hour "SELECT date_trunc('hour', at, 'UTC') AS bucket, user_id, entity_type, count(*) AS n,
        count(*) FILTER (WHERE status = 'error') AS errors, sum(duration_ms) AS duration_ms, max(duration_ms) AS slowest,
        sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost, sum(credits) AS credits
        FROM bench.raw GROUP BY 1, 2, 3"
    create bench_minute "SELECT date_trunc('minute', at, 'UTC') AS bucket, entity_type, count(*) AS n, sum(cost) AS cost
        FROM bench.raw GROUP BY 1, 2"
    horizon=$(session "SELECT horizon FROM aggjobs.rollups WHERE rollup_name = 'bench_hour';")
    session "DELETE FROM bench.raw WHERE at >= timestamptz '$horizon' + interval '1 hour';
        VACUUM ANALYZE bench.raw;
        CREATE TABLE bench.late (LIKE bench.raw);
        CREATE FUNCTION bench.raw_rows_read() RETURNS bigint LANGUAGE sql
            RETURN (SELECT pg_stat_get_xact_tuples_returned('bench.raw'::regclass) + pg_stat_get_xact_tuples_fetched('bench.raw'::regclass)
                + sum(pg_stat_get_xact_tuples_fetched(indexrelid)) FROM pg_index WHERE indrelid = 'bench.raw'::regclass);
        CREATE FUNCTION bench.raw_rows_read(query text) RETURNS bigint LANGUAGE plpgsql
            SET max_parallel_workers_per_gather = 0 AS \$\$
            DECLARE
                before bigint := bench.raw_rows_read();
            BEGIN
                EXECUTE 'SELECT FROM (' || query || ' OFFSET 0) AS q';
                RETURN bench.raw_rows_read() - before;
            END \$\$;"
}

# by_bucket TABLE BUCKET FROM: rows per hour of a rollup, in which that is BUCKET
by_bucket() {
    echo "SELECT $2 AS b, sum(n) AS n, sum(cost) AS cost FROM bench.$1 WHERE bucket >= '$3' GROUP BY 1 ORDER BY 1"
}

raw_by_bucket() {
    echo "SELECT date_trunc('$1', at, 'UTC') AS b, count(*) AS n, sum(cost) AS cost FROM bench.raw WHERE at >= '$2' GROUP BY 1 ORDER BY 1"
}

run() { timed "$1 \\g /dev/null"; }

# pair NAME NUMBER LIVE PLAIN...: the time of one query against that of others
pair() {
    local name=$1 number=$2 live=$3 ours plain='0|0' one
    shift 3
    ((number % 2 == 0)) || ours=$(run "$live")
    for query in "$@"; do
        one=$(run "$query")
        plain="$(calc "${plain%|*} + ${one%|*}" %.3f)|$(calc "${plain#*|} + ${one#*|}" %.6f)"
    done
    ((number % 2)) || ours=$(run "$live")
    calc "${ours%|*} / ${plain%|*}" "%.4f\n" >>"$scratch/$name.cpu"
    calc "${ours#*|} / ${plain#*|}" "%.4f\n" >>"$scratch/$name.time"
    calc "1000 * ${ours#*|}" "%.2f\n" >>"$scratch/$name.ours"
    calc "1000 * ${plain#*|}" "%.2f\n" >>"$scratch/$name.plain"
}

same() {
    [ "$(session "WITH a AS ($1), b AS ($2)
        SELECT count(*) FROM (TABLE a EXCEPT TABLE b UNION ALL (TABLE b EXCEPT TABLE a)) AS d;")" = 0 ] ||
        cannot "live view and raw rows do not agree"
}

# measure NAME LIVE RAW PLAIN...: RAW is what LIVE must be equal to
measure() {
    local name=$1 live=$2 raw=$3 i
    shift 3
    same "$live" "$raw"
    session "SELECT bench.raw_rows_read(\$\$$live\$\$);" >"$scratch/$name.read"
    # not counted: fills caches
    pair "$name" 0 "$live" "$@"
    rm -f "$scratch/$name".{cpu,time,ours,plain}
    for ((i = 0; i < pairs; i++)); do pair "$name" $i "$live" "$@"; done
}

# Raw rows in the open hour, and in the buckets of late rows.
dirty_rows() {
    session "SELECT count(*) FROM bench.raw WHERE at >= (SELECT horizon FROM aggjobs.rollups WHERE rollup_name = 'bench_$1')
        OR at < '$horizon' AND date_trunc('$1', at, 'UTC') IN (SELECT date_trunc('$1', at, 'UTC') FROM bench.late);"
}

# Each in a transaction of its own.  write_late FROM LENGTH
write_late() {
    session "TRUNCATE bench.late;
        INSERT INTO bench.late
            SELECT $1 + random() * interval '$2', user_id, entity_type,
                status, duration_ms, input_tokens, output_tokens, cost, credits
            FROM bench.make_rows($late_rows, now(), interval '1 hour', bench.users());
        DO \$\$
            DECLARE
                late bench.late;
            BEGIN
                FOR late IN SELECT * FROM bench.late LOOP
                    INSERT INTO bench.raw SELECT late.*;
                    COMMIT;
                END LOOP;
            END \$\$;"
}

show() {
    row "live, $2 (medians)" "$(median <"$scratch/$1.ours" | sed 's/..$//'), $(median <"$scratch/$1.plain" | sed 's/..$//') ms"
    judge "time, ratio" "$(median <"$scratch/$1.time")" "$3"
    row "of pairs, least to greatest" "$(least <"$scratch/$1.time") - $(greatest <"$scratch/$1.time")"
    row "CPU of the backend, ratio" "$(median <"$scratch/$1.cpu")"
    judge "raw rows read / those in open and stale buckets" "$(calc "$(cat "$scratch/$1.read") / $(cat "$scratch/$1.dirty")" %.3f)" 1.01
}

bench_begin
change_setting autovacuum off
prepare
since=$(session "SELECT timestamptz '$horizon' - interval '23 hours';")
month=$(session "SELECT timestamptz '$horizon' - interval '31 days';")

live=$(by_bucket bench_hour_live bucket "$since")
dirty_rows hour >"$scratch/day.dirty"
measure day "$live" "$(raw_by_bucket hour "$since")" "$(by_bucket bench_hour bucket "$since")" "$(raw_by_bucket hour "$horizon")"

write_late "date_trunc('day', now(), 'UTC') - interval '15 days'" '5 days'
live=$(by_bucket bench_hour_live bucket "$month")
dirty_rows hour >"$scratch/late.dirty"
measure late "$live" "$(raw_by_bucket hour "$month")" "$(raw_by_bucket hour "$month")"

session "CALL aggjobs_refresh('bench_hour'); CALL aggjobs_refresh('bench_minute');"
write_late "timestamptz '$horizon' - interval '29 days'" '29 days'
live=$(by_bucket bench_minute_live "date_trunc('hour', bucket, 'UTC')" "$month")
dirty_rows minute >"$scratch/minutes.dirty"
measure minutes "$live" "$(raw_by_bucket hour "$month")" "$(raw_by_bucket hour "$month")"

title "day: the last 24 hours by the hour, $rows rows ($pairs pairs)"
show day "target + open hour" 1.3
title "late: 30 days by the hour, 120 hours stale by $late_rows late rows ($pairs pairs)"
show late "raw" 1
title "minutes: 30 days by the hour from minutes, $late_rows of them stale ($pairs pairs)"
show minutes "raw" 1
verdict
