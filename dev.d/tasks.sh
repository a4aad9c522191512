# Everything else a developer asks ./dev for.
# shellcheck shell=bash

# Shown directly, not in a log: the demo's output is the point of it.
cmd_demo() {
    start_all
    cd "$TOP"
    export PLACE
    run_waiting demo/run || { say "the demo failed; the server's log: $PLACE/server/server.log"; exit 1; }
    say "done. The server keeps running: ./dev psql, ./dev stop"
}

cmd_bench() {
    local b names=("$@")
    start_all
    cd "$TOP"
    if [ ${#names[@]} -eq 0 ]; then
        for b in bench/*.sh; do [ ! -e "$b" ] || [ "$b" = bench/lib.sh ] || names+=("$(basename "$b" .sh)"); done
    fi
    [ ${#names[@]} -gt 0 ] || die "nothing in bench/"
    for b in "${names[@]}"; do
        say "bench $b"
        STEP_LIMIT=86400 run_waiting bash "bench/${b%.sh}.sh" || die "bench $b failed"
    done
}

cmd_lint() {
    setup "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}"
    cd "$TOP"
    local status=0
    run_waiting test/lint/fences || status=1
    PG_CONFIG=$PG_CONFIG run_waiting test/lint/lint || status=1
    exit $status
}

cmd_format() {
    need_packages clang-format
    cd "$TOP"
    test/lint/format --fix
}

# Take results as expected outputs.  The results are those of the last ./dev
# test regress or isolation.
cmd_accept() {
    local name tree
    need_place
    [ $# -gt 0 ] || die "name the tests whose output you have read"
    for name in "$@"; do
        if [ -f "$TOP/test/sql/$name.sql" ]; then
            tree=$(tree_of release)
            mkdir -p "$TOP/expected"
            cp "$tree/results/$name.out" "$TOP/expected/$name.out"
        elif [ -f "$TOP/test/isolation/specs/$name.spec" ]; then
            tree=$(tree_of testing)
            mkdir -p "$TOP/test/isolation/expected"
            cp "$tree/output_iso/results/$name.out" "$TOP/test/isolation/expected/$name.out"
        else
            die "no test \"$name\""
        fi
        say "took $name.out"
    done
}

# Suites with a sanitized library, in a place of their own.
#
# The server is not instrumented, so the runtime of the address sanitizer is
# loaded before it (and test/lib/no_gettext.c, which says why), and before no
# other program: initdb and psql wait for ever with it.
# The server never frees its long-lived memory: leaks are not looked for.
# Where the runtime does not work nonetheless, only undefined behaviour is
# looked for, which needs no preload, and the output says so.
#
# A report ends its process by SIGABRT, and is kept in .dev/asan/reports, as not
# every test would notice one more death.
cmd_asan() {
    local suites=("$@") shim preload status=0
    [ $# -gt 0 ] || suites=(regress isolation history inputs missed tap)
    setup "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}"
    use_other_place asan
    need_place
    SANITIZE=address,undefined
    shim=$PLACE/no_gettext.so
    step shim "build the preloaded helper" gcc -shared -fPIC -O1 -fno-builtin -o "$shim" "$TOP/test/lib/no_gettext.c"
    rm -rf "$PLACE/reports"
    mkdir "$PLACE/reports"
    give "$PLACE/reports"
    preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so) $shim"
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:log_path=$PLACE/reports/asan
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:abort_on_error=1:log_path=$PLACE/reports/ubsan
    export ASAN_OPTIONS UBSAN_OPTIONS
    if ! timeout -s KILL 10 env LD_PRELOAD="$preload" "$("$PG_CONFIG" --bindir)/postgres" -V >/dev/null 2>&1; then
        say "the address sanitizer's runtime does not work with this server's libraries:"
        say "only undefined behaviour is checked"
        SANITIZE=undefined
    else
        SERVER_PLAIN='-V | --boot | --check'
        SERVER_TOOL=$(preloaded "$preload")
        export SERVER_PLAIN SERVER_TOOL
    fi
    export EXTRA_COPT="-fsanitize=$SANITIZE -O1"
    cmd_test "${suites[@]}" || status=1
    no_reports "$PLACE/reports" && return $status
}

# How wrap_server starts a server with libraries loaded before its own.
preloaded() {
    printf "LD_PRELOAD='%s' " "$1"
    echo 'exec -a "$0" "$real" "$@"'
}

no_reports() {
    local file
    for file in "$1"/*; do
        [ -e "$file" ] || return 0
        echo "a sanitizer's report: $file"
        head -n 30 "$file"
    done
    return 1
}

# Minutes of random kills; see test/chaos/chaos.pl.  The small disk is one of
# memory, where it can be mounted; where not, temporary files are limited.
cmd_chaos() {
    local disk=
    setup "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}"
    need_build testing || exit 1
    SCRATCH=$PLACE/chaos.$$
    mkdir -p "$SCRATCH/log"
    give "$SCRATCH"
    export SCRATCH
    if small_disk 8m; then
        disk=$SCRATCH/disk/space
        as_root mkdir "$disk"
        give "$disk"
        on_exit "umount -l '$SCRATCH/disk'"
    else
        say "no small disk can be mounted: only temporary files are limited"
    fi
    cd "$(tree_of testing)"
    export CHAOS_MINUTES=${1:-15} CHAOS_SEED=${2:-} CHAOS_TMPFS=$disk
    STEP_LIMIT=86400 run_waiting chaos_run || die "violations: see above; the servers' files are in $SCRATCH"
    on_exit "rm -rf '$SCRATCH'"
}

chaos_run() {
    with_perl_servers CHAOS_MINUTES="$CHAOS_MINUTES" CHAOS_SEED="$CHAOS_SEED" CHAOS_TMPFS="$CHAOS_TMPFS" \
        perl test/chaos/chaos.pl
}

cmd_fuzz() {
    setup "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}"
    cd "$TOP"
    [ -x test/fuzz/run ] || die "nothing in test/fuzz/"
    STEP_LIMIT=86400 FUZZ_DIR=$PLACE/fuzz run_waiting test/fuzz/run "${1:-60}"
}
