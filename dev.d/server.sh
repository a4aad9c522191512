# Private servers: one that stays (./dev start) and short-lived ones of tests.
#
# A server is a directory: data/, log, and the small files sock, port and inst
# that say where it listens and which installation it runs.  It accepts local
# sockets only, in a directory that only its user (and root) can enter; that
# is why its authentication may be "trust".
# shellcheck shell=bash

# Names of files in a socket directory need 15 bytes of the 107.
short_socket_dir() {
    local dir=$1 sock=$1/sock.d
    if [ ${#sock} -le 90 ]; then
        mkdir -p "$sock"
    else
        sock=$(mktemp -d /tmp/aggjobs.XXXXXX)
    fi
    chmod 700 "$sock"
    give "$sock"
    echo "$sock" >"$dir/sock"
}

# No TCP port is opened; the number only names the socket.  Still take one
# that nobody listens on, for clients that fall back to TCP by mistake.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo $port
}

server_init() {
    local dir=$1 variant=$2 fsync=$3 bin
    bin=$(bin_of "$variant")
    rm -rf "$dir"
    mkdir -p "$dir"
    echo "$variant" >"$dir/inst"
    free_port >"$dir/port"
    short_socket_dir "$dir"
    mkdir "$dir/data"
    : >"$dir/server.log"
    give "$dir/data" "$dir/server.log"
    as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync
    cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$(cat "$dir/sock")'
unix_socket_permissions = 0700
port = $(cat "$dir/port")
shared_preload_libraries = 'pg_aggjobs'
max_connections = 100
max_worker_processes = 32
max_prepared_transactions = 20
shared_buffers = 256MB
max_wal_size = 2GB
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %b %a '
fsync = $fsync
CONF
}

server_running() {
    [ -f "$1/data/postmaster.pid" ] &&
        as_server "$(bin_of "$(cat "$1/inst")")/pg_ctl" -D "$1/data" status >/dev/null 2>&1
}

# The lock of a build (9) must not stay with the server.
server_start() {
    local dir=$1
    server_running "$dir" && return
    as_server "$(bin_of "$(cat "$dir/inst")")/pg_ctl" -D "$dir/data" \
        -l "$dir/server.log" -w -t 60 start 9>&- && return
    tail -n 30 "$dir/server.log"
    return 1
}

server_stop() {
    local dir=$1
    [ -d "$dir/data" ] && server_running "$dir" || return 0
    as_server "$(bin_of "$(cat "$dir/inst")")/pg_ctl" -D "$dir/data" -w -t 60 -m fast stop ||
        as_server "$(bin_of "$(cat "$dir/inst")")/pg_ctl" -D "$dir/data" -w -m immediate stop
}

server_remove() {
    local dir=$1
    server_stop "$dir"
    case $(cat "$dir/sock" 2>/dev/null) in
        /tmp/aggjobs.*) rm -rf "$(cat "$dir/sock")" ;;
    esac
    rm -rf "$dir"
}

# Point this shell, and what it starts, at a server.
use_server() {
    PGHOST=$(cat "$1/sock")
    PGPORT=$(cat "$1/port")
    PGUSER=postgres
    PGDATABASE=${2:-aggjobs}
    PATH=$(bin_of "$(cat "$1/inst")"):$PATH
    export PGHOST PGPORT PGUSER PGDATABASE PATH
}

# need_test_server VARIANT: a fresh server for the rest of this command, without
# fsync; it and its files go when ./dev ends, however it ends.
need_test_server() {
    local dir=$PLACE/test.$$/$1
    mkdir -p "$PLACE/test.$$"
    on_exit "server_remove '$dir'; rmdir '$PLACE/test.$$'"
    try "server-$1" "start a private server ($1)" server_fresh "$dir" "$1" || return
    use_server "$dir"
}

server_fresh() {
    server_init "$1" "$2" off
    server_start "$1"
    (
        use_server "$1" postgres
        psql -qX -v ON_ERROR_STOP=1 -c 'CREATE DATABASE aggjobs'
        psql -qX -v ON_ERROR_STOP=1 -d aggjobs -c 'CREATE EXTENSION pg_aggjobs'
    )
}

# The server of ./dev start.  A changed library needs a restart.  A changed
# extension script of an unreleased version has no update path, so the database
# is made again, and says so.
server_up() {
    local dir=$PLACE/server so sql
    so=$(fingerprint release)
    sql=$(script_fingerprint release)
    if [ ! -s "$dir/data/PG_VERSION" ] || [ ! -s "$dir/ready" ]; then
        server_remove "$dir"
        server_init "$dir" release on
        echo ready >"$dir/ready"
    fi
    if [ "$(cat "$dir/so" 2>/dev/null)" != "$so" ]; then
        server_stop "$dir"
    fi
    server_start "$dir"
    echo "$so" >"$dir/so"
    (
        use_server "$dir" postgres
        if [ "$(cat "$dir/script" 2>/dev/null)" != "$sql" ]; then
            echo "new extension script: database aggjobs is made again"
            psql -qX -v ON_ERROR_STOP=1 -c 'DROP DATABASE IF EXISTS aggjobs WITH (FORCE)'
            psql -qX -v ON_ERROR_STOP=1 -c 'CREATE DATABASE aggjobs'
            psql -qX -v ON_ERROR_STOP=1 -d aggjobs -c 'CREATE EXTENSION pg_aggjobs'
            echo "$sql" >"$dir/script"
        fi
    )
}

start_all() {
    setup "${PACKAGES_BUILD[@]}"
    need_build release || exit 1
    step server "start the private server" locked server_up
    use_server "$PLACE/server"
}

cmd_start() {
    start_all
    say "running; connect with ./dev psql, or: eval \"\$(./dev env)\""
}

cmd_stop() {
    need_place
    [ -d "$PLACE/server/data" ] || { say "no server"; return; }
    step server "stop the private server" server_stop "$PLACE/server"
}

cmd_env() {
    start_all >&2
    printf 'export PGHOST=%q\nexport PGPORT=%q\nexport PGUSER=%q\nexport PGDATABASE=%q\n' \
        "$PGHOST" "$PGPORT" "$PGUSER" "$PGDATABASE"
}

cmd_psql() {
    start_all >&2
    unset PSQL_HISTORY PSQLRC
    psql "$@"
}

cmd_clean() {
    local place=$DEV
    [ ! -s "$DEV/place" ] || place=$(cat "$DEV/place")
    PLACE=$place
    cd "$PLACE"
    server_remove "$PLACE/server" >/dev/null
    cd "$TOP"
    rm -rf "$PLACE" "$DEV"
    if [ -x "$PG_CONFIG" ]; then
        make -s -C "$TOP" PG_CONFIG="$PG_CONFIG" clean
    fi
    echo "removed .dev and everything built"
}
