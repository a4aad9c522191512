# What the measurements share: a session, figures from /proc, medians, verdicts.
# shellcheck shell=bash
#
# A measurement sources this file and gets a server from PGHOST, PGPORT, PGUSER
# and PGDATABASE, which must run on this machine, with the extension in its
# shared_preload_libraries and a superuser to connect as.  `./dev bench` brings
# one.  It pauses all jobs and resumes them at its end; its own jobs are named
# bench_*, its tables are in schema bench, both go when it ends.
#
# Exit status: 0 measured, whatever the verdict; 2 could not measure.
set -euo pipefail
export PSQLRC=/dev/null PGTZ=UTC PAGER='' LC_ALL=C.UTF-8 PGAPPNAME=bench

judged=0
missed=0
resume_list=

# Output of the script itself, also for functions whose output is captured.
exec {script_out}>&1

cannot() {
    echo "could not measure: $*" >&"$script_out"
    exit 2
}

# One statement in a connection of its own.
ask() { psql -qXAt -v ON_ERROR_STOP=1 -c "$1"; }

# ---------------------------------------------------------------- a session

# One psql that stays, fed through a pipe: what it is asked costs no connection.
session_open() {
    local own
    coproc SESSION { exec psql -qXAt -v ON_ERROR_STOP=1 2>&1; }
    # bash closes the coprocess' own descriptors when it ends, unasked
    exec {session_in}>&"${SESSION[1]}" {session_out}<&"${SESSION[0]}"
    own=${SESSION[1]}
    exec {own}>&-
    # shellcheck disable=SC2034  # read by those who source this
    session_backend=$(session 'SELECT pg_backend_pid();')
}

# session TEXT: send it, print the answer.  The mark tells where that ends.
session() {
    local line
    printf '%s\n\\echo ~~end\n' "$1" >&"$session_in"
    while IFS= read -r line <&"$session_out"; do
        [ "$line" != '~~end' ] || return 0
        printf '%s\n' "$line"
    done
    cannot "the session ended"
}

# ------------------------------------------------------------ begin and end

bench_begin() {
    [ -n "${PGHOST:-}" ] || cannot "PGHOST is not set; use ./dev bench NAME"
    [ "$(ask "SELECT count(*) FROM pg_extension WHERE extname = 'pg_aggjobs'")" = 1 ] ||
        cannot "no extension pg_aggjobs in database ${PGDATABASE:-}"
    postmaster=$(parent_of "$(process_of checkpointer)" 2>/dev/null) || true
    [ "$(cat "/proc/${postmaster:-none}/comm" 2>/dev/null)" = postgres ] || cannot "the server does not run on this machine"
    trap bench_end EXIT
    trap 'exit 2' INT TERM HUP
    scratch=$(mktemp -d)
    clean_up
    resume_list=$(ask "SELECT string_agg(quote_literal(job_name), ',') FROM aggjobs.jobs WHERE enabled")
    ask "SELECT aggjobs_pause(NULL)" >/dev/null
    ask "CREATE SCHEMA bench"
    session_open
    # Settling is looked at from inside: a look costs no transaction.
    session "CREATE PROCEDURE pg_temp.settle(workers int) LANGUAGE plpgsql AS \$\$
        BEGIN
            FOR i IN 1..6000 LOOP
                IF (SELECT count(*) FILTER (WHERE state = 'idle') = workers AND count(*) = workers
                        FROM aggjobs.worker_slots()) THEN
                    -- an idle worker may still reset its session
                    PERFORM pg_sleep(0.03);
                    RETURN;
                END IF;
                PERFORM pg_sleep(0.005);
            END LOOP;
            RAISE 'the workers did not settle';
        END \$\$;"
}

clean_up() {
    ask "DO \$\$
        DECLARE
            name text;
        BEGIN
            FOR name IN SELECT job_name FROM aggjobs.jobs WHERE job_name LIKE 'bench\\_%' LOOP
                PERFORM aggjobs_drop_job(name);
            END LOOP;
            DELETE FROM aggjobs.run_log l USING aggjobs.run r
                WHERE r.run_id = l.run_id AND r.job_name LIKE 'bench\\_%';
            DELETE FROM aggjobs.run WHERE job_name LIKE 'bench\\_%';
            FOR name IN SELECT rollup_name FROM aggjobs.rollup JOIN pg_class ON oid = target
                    WHERE rollup_name LIKE 'bench\\_%' ORDER BY rollup_id DESC LOOP
                PERFORM aggjobs_drop_rollup(name);
            END LOOP;
        END \$\$"
    PGOPTIONS='-c client_min_messages=error' ask "DROP SCHEMA IF EXISTS bench CASCADE"
}

changed_settings=()

bench_end() {
    local status=$? setting
    trap - EXIT
    trap '' INT TERM HUP
    set +e
    [ -z "${session_in:-}" ] || exec {session_in}>&-
    for setting in "${changed_settings[@]}"; do restore_setting "$setting"; done
    clean_up >/dev/null 2>&1 || { sleep 2; clean_up >/dev/null; }
    [ -z "$resume_list" ] || ask "SELECT aggjobs_resume(name) FROM unnest(ARRAY[$resume_list]) AS name" >/dev/null
    rm -rf "${scratch:-}"
    [ $status -eq 0 ] || status=2
    exit $status
}

# A setting of the server, for the length of the measurement.
change_setting() {
    local name=$1 value=$2 pid
    changed_settings+=("$name=$(ask "SELECT setting FROM pg_file_settings
        WHERE name = '$name' AND sourcefile LIKE '%postgresql.auto.conf' ORDER BY seqno DESC LIMIT 1")")
    ask "ALTER SYSTEM SET $name = '$value'"
    ask "SELECT pg_reload_conf()" >/dev/null
    # the reload reaches the scheduler through the postmaster, in its own time
    for pid in {1..50}; do
        sleep 0.1
        [ "$(ask "SHOW $name")" != "$value" ] || break
    done
    sleep 0.2
}

restore_setting() {
    local name=${1%%=*} value=${1#*=}
    if [ -n "$value" ]; then
        ask "ALTER SYSTEM SET $name = '$value'"
    else
        ask "ALTER SYSTEM RESET $name"
    fi
    ask "SELECT pg_reload_conf()" >/dev/null
}

# ---------------------------------------------------------------- processes

process_of() {
    ask "SELECT pid FROM pg_stat_activity WHERE backend_type = '$1' AND coalesce(datname, current_database()) = current_database()"
}

parent_of() { awk '/^PPid:/ {print $2}' "/proc/$1/status"; }

status_field() { awk -v name="$2:" '$1 == name {print $2}' "/proc/$1/status"; }

# CPU milliseconds of one process, finer than clock ticks where the kernel
# keeps such a figure.
cpu_of() {
    local ns
    if read -r ns _ <"/proc/$1/schedstat" 2>/dev/null && [ "$ns" -gt 0 ]; then
        awk -v ns="$ns" 'BEGIN {printf "%.3f", ns / 1e6}'
    else
        sed 's/.*) //' "/proc/$1/stat" | awk -v hz="$(getconf CLK_TCK)" '{printf "%.3f", ($12 + $13) * 1000 / hz}'
    fi
}

# CPU milliseconds of the whole server: those of living processes and those
# that the postmaster has inherited from ended ones.
cpu_of_server() {
    local pid
    {
        sed 's/.*) //' "/proc/$postmaster/stat" | awk '{print $12 + $13 + $14 + $15}'
        for pid in $(ps -o pid= --ppid "$postmaster"); do
            # a process may end meanwhile
            sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk '{print $12 + $13}' || true
        done
    } | awk -v hz="$(getconf CLK_TCK)" '{ticks += $1} END {printf "%.0f", ticks * 1000 / hz}'
}

# Bytes that a server process has allocated and not given back, by its own
# account: it goes to the server's log, so nothing is printed where that is no
# file.  Finer than RssAnon, in which a slow leak hides behind free chunks.
bytes_used() {
    local log from i
    log=$(readlink "/proc/$postmaster/fd/2")
    [ -f "$log" ] || return 0
    from=$(stat -c %s "$log")
    ask "SELECT pg_log_backend_memory_contexts($1)" >/dev/null
    for ((i = 0; i < 50; i++)); do
        sleep 0.1
        tail -c "+$((from + 1))" "$log" | sed -nE "s/.*\[$1\].*Grand total: .* ([0-9]+) used.*/\1/p" | grep . && return 0
    done
}

# timed TEXT: let the session do it.  Prints the CPU milliseconds of its backend
# and the seconds it took, with a bar between.
timed() {
    local cpu began seconds
    cpu=$(cpu_of "$session_backend")
    began=$EPOCHREALTIME
    session "$1" >&2
    seconds=$(calc "$EPOCHREALTIME - $began" %.6f)
    echo "$(calc "$(cpu_of "$session_backend") - $cpu" %.3f)|$seconds"
}

# ------------------------------------------------------------------ figures

# calc EXPRESSION [FORMAT]
calc() { awk "BEGIN {printf \"${2:-%.2f}\", $1}"; }

# The median of numbers, one a line.
median() { sort -g | awk '{v[NR] = $1} END {if (NR) printf "%.3f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2}'; }

greatest() { sort -g | tail -n 1; }
least() { sort -g | head -n 1; }

# What a commit that writes costs here, in milliseconds: the floor under all
# that waits for commits.
commit_ms() {
    session "CREATE TABLE bench.commit_cost (ms double precision);
        DO \$\$
        DECLARE
            began timestamptz;
            took double precision := 0;
        BEGIN
            FOR i IN 1..101 LOOP
                INSERT INTO bench.commit_cost VALUES (took);
                began := clock_timestamp();
                COMMIT;
                took := 1000 * extract(epoch FROM clock_timestamp() - began);
            END LOOP;
        END \$\$;
        SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) FROM bench.commit_cost WHERE ms > 0;
        DROP TABLE bench.commit_cost;"
}

title() { printf '\n%s\n' "$*"; }
row() { printf '  %-50s %12s\n' "$1" "$2"; }

# judge WHAT FIGURE LIMIT [UNIT]: a row whose figure must not be above a limit.
judge() {
    local word=met
    judged=$((judged + 1))
    if ! awk -v x="$2" -v y="$3" 'BEGIN {exit !(x + 0 <= y + 0)}'; then
        word=MISSED
        missed=$((missed + 1))
    fi
    printf '  %-50s %12s   target %s: %s\n' "$1" "$2${4:+ $4}" "<= $3${4:+ $4}" "$word"
}

verdict() {
    if [ $missed -eq 0 ]; then
        echo "verdict: met ($judged of $judged targets)"
    else
        echo "verdict: MISSED ($missed of $judged targets)"
    fi
}
