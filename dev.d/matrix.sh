# Other PostgreSQL majors, each in a lean chroot made once and kept.
#
# Only the packages a server and a build need go in; server-dev is unpacked
# rather than installed, since installing it pulls in all of LLVM.  Nothing of
# the host is mounted, so that a chroot can be removed without a second thought.
# By hand only: a chroot takes two minutes and some 700 MB of downloads.  16 is
# not there, for no release of Debian has it.
# shellcheck shell=bash

CHROOTS=${AGGJOBS_CHROOTS:-/var/cache/aggjobs_dev}
MIRROR=${AGGJOBS_MIRROR:-http://deb.debian.org/debian}

suite_of_major() {
    case $1 in
        13) echo bullseye ;;
        15) echo bookworm ;;
        17) echo trixie ;;
        18) echo sid ;;
        *) return 1 ;;
    esac
}

make_chroot() {
    local major=$1 root=$2 debian
    debian=$(suite_of_major "$major")
    mkdir -p "$CHROOTS"
    rm -rf --one-file-system "$root.new"
    mmdebstrap --variant=apt --mode=root \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='force-unsafe-io' --dpkgopt='path-exclude=/usr/share/{doc,man,locale,info}/*' \
        --essential-hook='mkdir -p "$1/etc/postgresql-common";
            echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
        --include="postgresql-$major,postgresql-$major-hll,postgresql-$major-tdigest" \
        --include="libpq-dev,gcc,make,libc6-dev,libcurl4-openssl-dev,libcjson-dev" \
        --customize-hook='chroot "$1" sh -c "cd /tmp && apt-get download postgresql-server-dev-'"$major"' &&
            dpkg-deb -x postgresql-server-dev-*.deb / && rm postgresql-server-dev-*.deb"' \
        --customize-hook='chroot "$1" useradd -m -u 5432 pgtest' \
        "$debian" "$root.new" "$MIRROR"
    mv "$root.new" "$root"
}

# Runs inside the chroot: build and install as root, all else as pgtest.  The
# arguments after the first two are make's.
check_in_chroot() {
    local major=$1 root=$2
    shift 2
    rm -rf "$root/home/pgtest/tree" "$root/home/pgtest/run"
    mkdir -p "$root/home/pgtest/tree" "$root/home/pgtest/run"
    tar -C "$TOP" -cf - -T "$(tree_of release).list" | tar -C "$root/home/pgtest/tree" --no-same-owner -xf -
    cat >"$root/home/pgtest/check.sh" <<'SCRIPT'
set -eu
cd /home/pgtest/tree
trap 'pg_ctl -D ../run/data -m fast -w stop >/dev/null' EXIT
initdb -D ../run/data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >../run/initdb.log
cat >>../run/data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '/home/pgtest/run'
shared_preload_libraries = 'pg_aggjobs'
max_worker_processes = 32
max_prepared_transactions = 20
timezone = 'UTC'
fsync = off
CONF
pg_ctl -D ../run/data -l ../run/server.log -w start >/dev/null || { tail -n 30 ../run/server.log; exit 1; }
export PGHOST=/home/pgtest/run PGUSER=postgres
make -s PG_CONFIG="$(command -v pg_config)" installcheck "$@" || {
    head -n 200 regression.diffs output_iso/regression.diffs 2>/dev/null
    exit 1
}
SCRIPT
    chroot "$root" env -i LC_ALL=C.UTF-8 HOME=/root PATH="/usr/lib/postgresql/$major/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        sh -c 'cd /home/pgtest/tree && make -s -j2 "$@" all && make -s "$@" install && chown -R pgtest: /home/pgtest' sh "$@" ||
        return
    chroot --userspec=pgtest:pgtest "$root" env -i LC_ALL=C.UTF-8 HOME=/home/pgtest \
        PATH="/usr/lib/postgresql/$major/bin:/usr/bin:/bin" sh /home/pgtest/check.sh "$@"
}

# Regress tests of a release build, then isolation tests of a test build.
suite_matrix() {
    local root=$CHROOTS/pg$1 log=$LOGS/matrix-$1.report status=0
    check_in_chroot "$1" "$root" ISOLATION= >"$log" 2>&1 || status=$?
    check_in_chroot "$1" "$root" TESTING=1 REGRESS= >>"$log" 2>&1 || status=$?
    cat "$log"
    count_regress "$log" && return $status
}

cmd_matrix() {
    local major majors=("$@")
    [ $# -gt 0 ] || majors=(17 18)
    [ "$(id -u)" -eq 0 ] || die "chroots need root: sudo ./dev matrix"
    setup "${PACKAGES_BUILD[@]}" mmdebstrap
    step tree "copy the sources" locked sync_tree "$(tree_of release)"
    for major in "${majors[@]}"; do
        suite_of_major "$major" >/dev/null || die "no Debian release has PostgreSQL $major"
        [ -d "$CHROOTS/pg$major" ] ||
            step "chroot-$major" "make a chroot with PostgreSQL $major" make_chroot "$major" "$CHROOTS/pg$major"
        run_suite "matrix-$major"
    done
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" -eq 0 ]
}
