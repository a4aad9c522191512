# The test suites.
#
# Each suite is a function suite_NAME that runs its tests and ends with a line
# "N passed, M failed"; ./dev test adds these lines up.  A suite that ends
# without one, or with no test at all, counts as one failure, so that nothing
# can pass by not running.  Every test/NAME/run is a suite NAME, too: it finds a
# server in PGHOST and so on, a scratch directory in TMPDIR, and may print such
# a line (else its exit status counts as one test).
#
# Regress runs on a release build; isolation and TAP run on a test build, which
# has the virtual clock and wait points (release: AGGJOBS_RELEASE_BIN).
# shellcheck shell=bash

PASSED=0
FAILED=0

# Quick ones first, so that a typing mistake is known at once.
all_suites() {
    local d
    echo fences build regress
    [ -z "$(ls "$TOP"/test/isolation/specs/*.spec 2>/dev/null)" ] || echo isolation
    for d in "$TOP"/test/*/run; do
        case $d in
            */fuzz/run) ;;
            *) [ ! -x "$d" ] || basename "$(dirname "$d")" ;;
        esac
    done
    echo docs demo-check tap lint
}

# A suite's figures, from the last such line of its log.
figures() {
    sed -nE 's/.*\b([0-9]+) passed, ([0-9]+) failed.*/\1 \2/p' "$1" | tail -n 1
}

run_suite() {
    local name=$1 log=$LOGS/suite-$1.log since=$SECONDS status=0 counts ok bad
    printf '[%4ds] suite %-11s' $((SECONDS - BEGAN)) "$name"
    STEP_LIMIT=${AGGJOBS_SUITE_LIMIT:-600} run_waiting suite "$name" >"$log" 2>&1 || status=$?
    [ $status -ne 124 ] || echo "FAIL suite $name was ended: it took too long" >>"$log"
    counts=$(figures "$log")
    # a test/NAME/run that counts nothing is one test
    if [ -z "$counts" ] && [ $status -eq 0 ] && [ -x "$TOP/test/$name/run" ]; then
        counts="1 0"
    fi
    read -r ok bad <<<"${counts:-0 0}"
    if [ $((ok + bad)) -eq 0 ] || { [ $status -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        bad=$((bad + 1))
    fi
    PASSED=$((PASSED + ok))
    FAILED=$((FAILED + bad))
    printf ' %4d passed, %d failed (%d s)\n' "$ok" "$bad" $((SECONDS - since))
    grep '^left out: ' "$log" || true
    if [ "$bad" -ne 0 ]; then
        grep -nE '^(not ok|FAIL|ERROR|# +(Failed|got|expected)|test .*FAILED)' "$log" | head -n 30 | cut -c1-300 || true
        show_tail "$log" 40
    fi
}

# Suites that need a server get it from the environment that run_suite's caller
# has set up; here only the name is turned into a command.
suite() {
    case $1 in
        fences | build | regress | isolation | tap | docs | lint | valgrind) "suite_$1" ;;
        demo-check) suite_demo_check ;;
        matrix-*) suite_matrix "${1#matrix-}" ;;
        history) suite_history ;;
        *) cd "$(tree_of release)" && TMPDIR=$SCRATCH "test/$1/run" ;;
    esac
}

# The fences, and that each of them can object.
suite_fences() {
    local status=0
    cd "$(tree_of release)"
    { test/lint/fences && test/lint/fences --prove; } >"$LOGS/fences.report" 2>&1 || status=1
    cat "$LOGS/fences.report"
    awk '/^[0-9]+ passed, [0-9]+ failed$/ { ok += $1; bad += $3 } END { print ok + 0 " passed, " bad + 0 " failed" }' \
        "$LOGS/fences.report"
    return $status
}

suite_lint() {
    cd "$(tree_of release)"
    PG_CONFIG=$PG_CONFIG test/lint/lint
}

# Warnings are errors with both compilers; the script is joined and the
# exported symbols are looked at along the way.
suite_build() {
    local cc ok=0 bad=0
    cd "$TOP"
    for cc in gcc clang; do
        if locked build_variant "$cc" CC="$cc" && test/lint/check_exports "$(tree_of "$cc")/pg_aggjobs.so"; then
            echo "ok build with $cc"
            ok=$((ok + 1))
        else
            echo "FAIL build with $cc"
            bad=$((bad + 1))
        fi
    done
    echo "$ok passed, $bad failed"
    [ $bad -eq 0 ]
}

# pg_regress's report differs between majors; both forms are counted here.
count_regress() {
    local ok bad
    ok=$(grep -cE '^(test .* \.\.\. ok|ok [0-9])|^ {5}[a-z0-9_]+ +\.\.\. ok' "$1") || true
    bad=$(grep -cE '^(test .*FAILED|not ok [0-9])|^ {5}[a-z0-9_]+ +\.\.\. FAILED' "$1") || true
    echo "$ok passed, $bad failed"
    [ "$bad" -eq 0 ] && [ "$ok" -gt 0 ]
}

run_regress() {
    local tree=$1 out=$2 status=0
    shift 2
    make -s -C "$tree" PG_CONFIG="$PG_CONFIG" installcheck ${EXTRA_COPT:+COPT="$EXTRA_COPT"} "$@" \
        >"$out.report" 2>&1 || status=$?
    cat "$out.report"
    [ ! -s "$out/regression.diffs" ] || head -n 300 "$out/regression.diffs"
    count_regress "$out.report" || return 1
    return $status
}

# Without an expected output pg_regress ends at once, and the tests after it
# do not run: an empty one makes the test fail instead (see ./dev accept).
expect_something() {
    local in out=$2
    for in in "$1"/*; do
        in=${in##*/}
        [ -e "$out/${in%.*}.out" ] || { mkdir -p "$out" && : >"$out/${in%.*}.out"; }
    done
}

suite_regress() {
    local tree
    tree=$(tree_of release)
    rm -f "$tree/regression.diffs"
    expect_something "$tree/test/sql" "$tree/expected"
    run_regress "$tree" "$tree" ISOLATION=
}

suite_isolation() {
    local tree
    tree=$(tree_of testing)
    rm -rf "$tree/output_iso"
    expect_something "$tree/test/isolation/specs" "$tree/test/isolation/expected"
    run_regress "$tree" "$tree/output_iso" TESTING=1 REGRESS=
}

# PostgreSQL::Test starts servers itself, so it runs as the server's user, out
# of the copied sources, with the test build's programs first in PATH.
suite_tap() {
    local files status=0
    cd "$(tree_of testing)"
    files=(test/t/*.pl)
    [ -e "${files[0]}" ] || { echo "no test/t/*.pl"; return 1; }
    small_disk 64m || echo "left out: full_disk.pl, as no small disk can be mounted"
    with_perl_servers AGGJOBS_SMALL_DISK="$SMALL_DISK" test/lib/tap_run 2 "${files[@]}" || status=$?
    [ -z "$SMALL_DISK" ] || as_root umount -l "$SMALL_DISK"
    return $status
}

# A disk of memory in $SCRATCH/disk, for tests that fill it: SMALL_DISK.
small_disk() {
    SMALL_DISK=
    mkdir -p "$SCRATCH/disk"
    as_root mount -t tmpfs -o "size=$1,mode=700,uid=$(stat -c %u "$SCRATCH")" aggjobs "$SCRATCH/disk" 2>/dev/null ||
        return 1
    SMALL_DISK=$SCRATCH/disk
}

# A program of the test build's tree that starts servers with PostgreSQL::Test.
with_perl_servers() {
    local tree perl
    tree=$(tree_of testing)
    perl=$(dirname "$("$PG_CONFIG" --pgxs)")/../../src/test
    unset PGHOST PGPORT PGUSER PGDATABASE
    as_server env PATH="$(bin_of testing):$PATH" AGGJOBS_RELEASE_BIN="$(bin_of release)" \
        PERL5LIB="$perl/perl:$tree/test/lib" PG_REGRESS="$perl/regress/pg_regress" \
        TESTDIR="$SCRATCH" TESTDATADIR="$SCRATCH" TESTLOGDIR="$SCRATCH/log" TMPDIR=/tmp "$@"
}

# Histories need the settings of the test build; the server is their own.
suite_history() {
    cd "$(tree_of testing)"
    PG_BINDIR=$(bin_of testing) TMPDIR=$SCRATCH test/history/run
}

suite_docs() {
    cd "$(tree_of release)"
    test/lint/docs
}

# The demo on a small month, in a database of its own: each job that succeeds
# and each table that equals the raw answer is a test, and so is the schedule.
suite_demo_check() {
    local status=0 ok
    cd "$(tree_of release)"
    psql -qX -v ON_ERROR_STOP=1 -c 'CREATE DATABASE demo_check'
    export PGDATABASE=demo_check
    psql -qX -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pg_aggjobs'
    AGGJOBS_DEV_ROWS=20000 demo/run >"$LOGS/demo-check.report" 2>&1 || status=1
    cat "$LOGS/demo-check.report"
    ok=$(grep -cE 'rows equal to the raw answer|^  [a-z_]+ +run [0-9]+: succeeded|^== done' "$LOGS/demo-check.report") || true
    psql -qX -d postgres -v ON_ERROR_STOP=1 -c 'DROP DATABASE demo_check WITH (FORCE)' || status=1
    echo "$ok passed, $status failed"
    return $status
}

known_suite() {
    case $1 in
        fences | lint | build | regress | isolation | tap | docs | demo-check) ;;
        *) [ -x "$TOP/test/$1/run" ] || die "no suite \"$1\"; see ./dev help" ;;
    esac
}

# Which of the chosen suites need what.
chosen() {
    local s w
    for s in "${SUITES[@]}"; do
        for w in "$@"; do [ "$s" != "$w" ] || return 0; done
    done
    return 1
}

needs_server() {
    local s
    for s in "${SUITES[@]}"; do
        case $s in fences | lint | build | tap | isolation) ;; *) return 0 ;; esac
    done
    return 1
}

cmd_test() {
    local s broken=0
    SUITES=("$@")
    for s in "$@"; do known_suite "$s"; done
    [ $# -gt 0 ] || mapfile -t SUITES < <(all_suites | tr ' ' '\n')
    setup "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}"
    SCRATCH=$PLACE/scratch.$$
    mkdir -p "$SCRATCH/log"
    give "$SCRATCH"
    export SCRATCH
    on_exit "rm -rf '$SCRATCH'"
    step tree "copy the sources" locked sync_tree "$(tree_of release)"
    if needs_server || chosen tap; then need_build release || broken=1; fi
    if [ $broken = 0 ] && chosen isolation tap history; then need_build testing || broken=1; fi
    for s in "${SUITES[@]}"; do
        case $s in
            fences | lint | build) run_suite "$s" ;;
            tap) run_if_built "$s" ;;
            isolation | history) run_on testing "$s" ;;
            *) run_on release "$s" ;;
        esac
    done
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" -eq 0 ]
}

run_if_built() {
    if [ "$broken" = 0 ]; then
        run_suite "$1"
    else
        say "suite $1 can't run: see above"
        FAILED=$((FAILED + 1))
    fi
}

# The server of a variant is started when a suite first needs it.
declare -A SERVER_STATE=()
run_on() {
    local variant=$1
    if [ "$broken" = 0 ] && [ -z "${SERVER_STATE[$variant]:-}" ]; then
        SERVER_STATE[$variant]=up
        need_test_server "$variant" || SERVER_STATE[$variant]=failed
    fi
    if [ "${SERVER_STATE[$variant]:-}" = up ]; then
        use_server "$PLACE/test.$$/$variant"
        run_suite "$2"
    else
        say "suite $2 can't run: see above"
        FAILED=$((FAILED + 1))
    fi
}
