# A server that checks itself: assertions on, memory contexts known to Valgrind.
#
# Built once from Debian's source package, with a private list of sources, so
# that the machine's own package lists stay as they are; kept beside the chroots
# of the matrix.  The suites then run as ever, in a place of their own below
# .dev.  By hand only: the build takes five minutes, the suites twice as long
# as usual, regress under Valgrind an hour.
# shellcheck shell=bash

ASSERTS=$CHROOTS/asserts$PG_VERSION
PACKAGES_ASSERTS=(dpkg-dev libicu-dev libssl-dev libxml2-dev libreadline-dev zlib1g-dev valgrind)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# A mirror may no longer have the sources of the newest package, so the newest
# that it has is taken: all of one major are alike here.  Debian's patches are
# left out, for with them all is installed among the machine's own files.
fetch_server_source() {
    local dir=$1 version release
    local apt=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$dir/lists" -o APT::Sandbox::User=root)
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    rm -rf "$dir"
    mkdir -p "$dir/lists/partial"
    cd "$dir"
    printf "deb-src [signed-by=$KEYRING] %s main\n" "$MIRROR $release" "$MIRROR-security $release-security" >sources.list
    apt-get -q "${apt[@]}" update
    apt-cache "${apt[@]}" showsrc --only-source "postgresql-$PG_VERSION" | sed -n 's/^Version: //p' | sort -rV >versions
    while read -r version; do
        apt-get -q "${apt[@]}" source --only-source --download-only "postgresql-$PG_VERSION=$version" && break
    done <versions
    dpkg-source --no-check --skip-patches -x ./*.dsc source
}

# As a user who can write there and nowhere else.
make_assert_server() {
    local dir=$ASSERTS.source
    fetch_server_source "$dir"
    rm -rf "$ASSERTS"
    mkdir "$ASSERTS"
    give "$dir" "$ASSERTS"
    cd "$dir/source"
    as_server ./configure --prefix="$ASSERTS" --enable-cassert --enable-debug --enable-tap-tests \
        --with-icu --with-libxml --with-openssl --with-system-tzdata=/usr/share/zoneinfo \
        CPPFLAGS=-DUSE_VALGRIND CFLAGS='-Og -fno-omit-frame-pointer'
    as_server make -s -j"$(nproc)" world-bin
    as_server make -s install-world-bin
    cp src/tools/valgrind.supp "$ASSERTS/"
    link_packaged_extensions
    touch "$ASSERTS/complete"
}

# Debian's own builds of what our tests need: assertions do not change the ABI.
link_packaged_extensions() {
    local name packaged=/usr/lib/postgresql/$PG_VERSION/bin/pg_config config=$ASSERTS/bin/pg_config
    for name in hll tdigest; do
        ln -s "$("$packaged" --sharedir)/extension/$name"* "$("$config" --sharedir)/extension/"
        ln -s "$("$packaged" --pkglibdir)/$name.so" "$("$config" --pkglibdir)/"
    done
}

# From here on everything is built for that server.
use_assert_server() {
    setup "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}" "${PACKAGES_ASSERTS[@]}"
    if [ ! -e "$ASSERTS/complete" ]; then
        STEP_LIMIT=7200
        step asserts "build a server with assertions" make_assert_server
    fi
    PG_CONFIG=$ASSERTS/bin/pg_config
    use_other_place asserts
}

cmd_asserts() {
    local suites=("$@")
    [ $# -gt 0 ] || suites=(regress isolation history inputs missed oracle demo-check tap)
    use_assert_server
    cmd_test "${suites[@]}"
}

# Each process of the server writes a log of its own.
valgrind_tool() {
    printf '%s ' exec valgrind --quiet --leak-check=no --track-origins=yes --gen-suppressions=all --trace-children=yes \
        "--suppressions='$ASSERTS/valgrind.supp'" --error-markers=ERROR-BEGINS,ERROR-ENDS "--log-file='$1/%p.log'"
    echo '"$real" "$@"'
}

# Reports whose stack has a frame of ours; all others are the server's own.
valgrind_reports() {
    cat "$PLACE"/valgrind/*.log | awk -v ours="$1" '
        /ERROR-BEGINS/ { text = ""; hit = 0 }
        { text = text $0 "\n" }
        /pg_aggjobs/ { hit = 1 }
        /ERROR-ENDS/ { if (hit == ours) print text }'
}

suite_valgrind() {
    local tree status=0 reports
    tree=$(tree_of valgrind)
    expect_something "$tree/test/sql" "$tree/expected"
    run_regress "$tree" "$tree" ISOLATION= ${VALGRIND_TESTS:+"$VALGRIND_TESTS"} || status=1
    reports=$(valgrind_reports 1 | grep -c ERROR-BEGINS) || true
    valgrind_reports 0 >"$LOGS/valgrind-server.report"
    valgrind_reports 1
    [ "$reports" -eq 0 ] || { echo "FAIL Valgrind reports $reports errors in code of ours"; return 1; }
    return $status
}

cmd_valgrind() {
    use_assert_server
    need_place
    rm -rf "$PLACE/valgrind"
    mkdir "$PLACE/valgrind"
    give "$PLACE/valgrind"
    SERVER_PLAIN='-V | --boot | --single | --check'
    SERVER_TOOL=$(valgrind_tool "$PLACE/valgrind")
    export SERVER_PLAIN SERVER_TOOL
    need_build valgrind || exit 1
    export STEP_LIMIT=14400 AGGJOBS_SUITE_LIMIT=14400
    need_test_server valgrind || exit 1
    VALGRIND_TESTS=${*:+REGRESS=$*}
    export VALGRIND_TESTS
    run_suite valgrind
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" -eq 0 ]
}
