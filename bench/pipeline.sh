#!/bin/bash
# What the pipeline costs next to the SQL one would write without it.
#
# Refresh: all hours of a month are stale and the target is empty.  A job with
# the step hourly_analytics against one INSERT ... SELECT of the same query into
# a copy of the target with the same constraints; then the same for
# daily_analytics, which reads the hours.  What comes out is compared.
#
# Writers: 100,000 spans into two copies of the source that differ in the
# capture triggers only, by INSERT ... SELECT and by COPY; CPU of the backend,
# commit included.
#
# Each pair is run one right after the other, in turns which goes first, and
# the figure is the median of the pairs' ratios.  AGGJOBS_DEV_ROWS says how many
# spans there are.  Like the demo, this replaces sample data and refuses others.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

rows=${AGGJOBS_DEV_ROWS:-1000000}
refresh_pairs=${BENCH_REFRESH_PAIRS:-7}
writer_pairs=${BENCH_WRITER_PAIRS:-21}
writer_rows=$((rows < 100000 ? rows : 100000))

load() {
    local have
    [ "$(ask "SELECT count(*) FROM aggjobs.execution_spans WHERE trace_id !~ '^tr-[0-9a-f]{8}\$' OR trace_id IS NULL")" = 0 ] ||
        cannot "aggjobs.execution_spans holds rows that are not sample data"
    have=$(ask "SELECT count(*) FROM aggjobs.execution_spans")
    [ "$have" -ne $((rows / 50 * 50)) ] || return 0
    psql -qX -v ON_ERROR_STOP=1 -v rows="$rows" -f demo/load_spans.sql >"$scratch/load" 2>&1 ||
        { tail -n 5 "$scratch/load"; cannot "sample data could not be loaded"; }
}

# The stored query of a rollup over closed buckets only, with its bounds in it.
plain_sql() {
    ask "SELECT format('INSERT INTO bench.%I (%s) %s', rollup_name,
            (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = target AND attnum > 0 AND attgenerated = '' AND NOT attisdropped),
            replace(replace(query, '\$1', quote_literal(bounds.lo) || '::timestamptz'),
                    '\$2', quote_literal(bounds.hi) || '::timestamptz'))
        FROM aggjobs.rollup JOIN bench.bounds USING (unit) WHERE rollup_name = '$1'"
}

make_stale() {
    session "TRUNCATE aggjobs.$1;
        DELETE FROM aggjobs.stale USING aggjobs.rollup AS r
            WHERE stale.rollup_id = r.rollup_id AND r.rollup_name = '$1';
        INSERT INTO aggjobs.stale (rollup_id, from_time, to_time)
            SELECT rollup_id, lo, hi FROM aggjobs.rollup JOIN bench.bounds USING (unit)
            WHERE rollup_name = '$1';
        CHECKPOINT;"
}

# Both print: CPU milliseconds of the server | seconds
by_job() {
    local cpu status seconds
    make_stale "$1"
    cpu=$(cpu_of_server)
    IFS='|' read -r status seconds < <(session "SELECT aggjobs_trigger('bench_$1') AS run \\gset
        SELECT aggjobs_wait(:run, '30 minutes') AS status \\gset
        SELECT status, extract(epoch FROM ended_at - started_at) FROM aggjobs.runs WHERE run_id = :run;")
    cpu=$(calc "$(cpu_of_server) - $cpu" %.0f)
    [ "$status" = succeeded ] || cannot "the run of $1 $status: $(ask "SELECT error FROM aggjobs.runs
        WHERE job_name = 'bench_$1' ORDER BY run_id DESC LIMIT 1")"
    echo "$cpu|$seconds"
}

by_hand() {
    local cpu seconds
    session "TRUNCATE bench.$1; CHECKPOINT;"
    cpu=$(cpu_of_server)
    seconds=$(session "SELECT clock_timestamp() AS began \\gset
        $(plain_sql "$1");
        SELECT extract(epoch FROM clock_timestamp() - :'began');")
    cpu=$(calc "$(cpu_of_server) - $cpu" %.0f)
    echo "$cpu|$seconds"
}

same_result() {
    [ "$(session "SELECT count(*) FROM ((TABLE aggjobs.$1 EXCEPT TABLE bench.$1) UNION ALL (TABLE bench.$1 EXCEPT TABLE aggjobs.$1)) AS d;")" = 0 ] ||
        cannot "job and plain SQL do not agree on $1"
}

# One pair of a rollup; its ratios are appended to files.
refresh_pair() {
    local ours plain
    if (($2 % 2)); then
        ours=$(by_job "$1")
        plain=$(by_hand "$1")
    else
        plain=$(by_hand "$1")
        ours=$(by_job "$1")
    fi
    same_result "$1"
    calc "${ours%|*} / ${plain%|*}" "%.3f\n" >>"$scratch/$1.cpu"
    calc "${ours#*|} / ${plain#*|}" "%.3f\n" >>"$scratch/$1.time"
    echo "${ours%|*}" >>"$scratch/$1.ours"
    echo "${plain%|*}" >>"$scratch/$1.plain"
}

# CPU milliseconds of our backend for one way of writing into one table.
writer_cpu() {
    local cpu
    session "TRUNCATE bench.$2; CHECKPOINT;"
    cpu=$(cpu_of "$session_backend")
    case $1 in
        insert) session "INSERT INTO bench.$2 OVERRIDING SYSTEM VALUE SELECT * FROM bench.staged;" ;;
        copy) session "\\copy bench.$2 FROM '$scratch/spans'" ;;
    esac
    calc "$(cpu_of "$session_backend") - $cpu" %.3f
}

writer_pair() {
    local with without
    if (($2 % 2)); then
        with=$(writer_cpu "$1" captured)
        without=$(writer_cpu "$1" bare)
    else
        without=$(writer_cpu "$1" bare)
        with=$(writer_cpu "$1" captured)
    fi
    calc "$with / $without" "%.3f\n" >>"$scratch/$1.ratio"
}

prepare_refresh() {
    local name
    # fixed here, so that an hour that ends meanwhile changes nothing
    session "CREATE TABLE bench.bounds AS
        SELECT unit, min(date_trunc(unit, started_at, 'UTC')) AS lo, date_trunc(unit, now(), 'UTC') AS hi
        FROM aggjobs.execution_spans, (VALUES ('hour'), ('day')) AS u (unit) GROUP BY unit;"
    for name in hourly_analytics daily_analytics; do
        session "CREATE TABLE bench.$name (LIKE aggjobs.$name INCLUDING ALL);
            SELECT aggjobs_create_job('bench_$name', NULL, '[{\"kind\": \"rollup\", \"rollup\": \"$name\"}]');" >/dev/null
    done
    # not counted: note what the load has changed, fill caches
    for name in hourly_analytics daily_analytics; do
        by_hand $name >/dev/null
        by_job $name >/dev/null
    done
}

prepare_writers() {
    session "CREATE TABLE bench.bare (LIKE aggjobs.execution_spans INCLUDING ALL);
        CREATE TABLE bench.captured (LIKE aggjobs.execution_spans INCLUDING ALL);
        CREATE TABLE bench.staged AS SELECT * FROM aggjobs.execution_spans ORDER BY started_at DESC LIMIT $writer_rows;
        VACUUM ANALYZE bench.staged;
        CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON bench.captured
            FOR EACH ROW EXECUTE FUNCTION aggjobs.capture_row('started_at');
        ALTER TABLE bench.captured ENABLE ALWAYS TRIGGER capture;
        \\copy bench.staged TO '$scratch/spans'"
    writer_cpu insert captured >/dev/null
    writer_cpu insert bare >/dev/null
}

forget_writers() {
    session "DELETE FROM aggjobs.change WHERE source = 'bench.captured'::regclass;"
}

bench_begin
change_setting autovacuum off
load
prepare_refresh
for ((i = 0; i < refresh_pairs; i++)); do
    refresh_pair hourly_analytics $i
    session "ANALYZE aggjobs.hourly_analytics;"
    refresh_pair daily_analytics $i
done
prepare_writers
for ((i = 0; i < writer_pairs; i++)); do
    writer_pair insert $i
    writer_pair copy $i
done
forget_writers

for name in hourly_analytics daily_analytics; do
    title "$name: all of $rows spans, job against plain INSERT ... SELECT ($refresh_pairs pairs)"
    row "groups" "$(session "SELECT count(*) FROM aggjobs.$name;")"
    row "CPU of the server: job, plain (medians)" "$(median <"$scratch/$name.ours" | cut -d. -f1), $(median <"$scratch/$name.plain" | cut -d. -f1) ms"
    judge "CPU, job / plain, median of pairs" "$(median <"$scratch/$name.cpu")" 1.1
    row "of pairs, least to greatest" "$(least <"$scratch/$name.cpu") - $(greatest <"$scratch/$name.cpu")"
    judge "time, job / plain, median of pairs" "$(median <"$scratch/$name.time")" 1.1
done
title "$writer_rows spans written with capture against without ($writer_pairs pairs)"
for way in insert copy; do
    judge "CPU, $way, with / without, median of pairs" "$(median <"$scratch/$way.ratio")" 1.15
    row "of pairs, least to greatest" "$(least <"$scratch/$way.ratio") - $(greatest <"$scratch/$way.ratio")"
done
verdict
