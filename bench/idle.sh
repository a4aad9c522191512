#!/bin/bash
# Nothing is due: scheduler and launcher must not wake at all.
#
# All jobs are paused.  Voluntary context switches of both are counted over 60
# seconds, and, where strace may attach, the waits that return.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

seconds=${BENCH_SECONDS:-60}

switches() { status_field "$1" voluntary_ctxt_switches; }

# Calls of a process within the last $3 seconds of a trace that begins with an
# interrupted wait: attaching does that.
calls() {
    local pid=$1 out=$scratch/trace.$1
    strace -f -ttt -o "$out" -p "$pid" >/dev/null 2>&1 &
    local tracer=$!
    sleep 1
    if ! kill -0 $tracer 2>/dev/null; then
        echo "no strace"
        return
    fi
    local since=$EPOCHREALTIME
    sleep $((seconds / 4))
    local until=$EPOCHREALTIME
    kill -INT $tracer
    wait $tracer 2>/dev/null || true
    awk -v a="$since" -v b="$until" '$2 > a && $2 < b && !/<unfinished|<detached/ {n++} END {print n + 0}' "$out"
}

bench_begin
scheduler=$(process_of 'pg_aggjobs scheduler')
launcher=$(process_of 'pg_aggjobs launcher')
session "CALL pg_temp.settle(0);"
sleep 3
next=$(session "SELECT count(*) FROM aggjobs.jobs WHERE enabled;")
[ "$next" = 0 ] || cannot "$next jobs are enabled"

before_s=$(switches "$scheduler") before_l=$(switches "$launcher")
cpu_s=$(cpu_of "$scheduler") cpu_l=$(cpu_of "$launcher")
sleep "$seconds"
woke_s=$(($(switches "$scheduler") - before_s)) woke_l=$(($(switches "$launcher") - before_l))
cpu_s=$(calc "$(cpu_of "$scheduler") - $cpu_s" %.3f) cpu_l=$(calc "$(cpu_of "$launcher") - $cpu_l" %.3f)

title "$seconds seconds with no job due"
judge "scheduler: wake-ups" "$woke_s" 0
judge "launcher: wake-ups" "$woke_l" 0
row "scheduler, launcher: CPU" "$cpu_s, $cpu_l ms"
if command -v strace >/dev/null; then
    row "scheduler: system calls in $((seconds / 4)) s" "$(calls "$scheduler")"
    row "launcher: system calls in $((seconds / 4)) s" "$(calls "$launcher")"
else
    row "system calls" "no strace"
fi
judge "scheduler: private memory" "$(status_field "$scheduler" RssAnon)" 10240 kB
row "launcher: private memory" "$(status_field "$launcher" RssAnon) kB"
verdict
