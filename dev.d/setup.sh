# What a bare Debian lacks: packages, an unprivileged user, a readable place.
# shellcheck shell=bash

PACKAGES_BUILD=("postgresql-$PG_VERSION" "postgresql-server-dev-$PG_VERSION"
    libcurl4-openssl-dev libcjson-dev gcc make libc6-dev)
PACKAGES_TEST=("postgresql-$PG_VERSION-hll" "postgresql-$PG_VERSION-tdigest"
    build-essential clang clang-format clang-tidy cppcheck shellcheck perl libipc-run-perl python3)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n -E "$@" || sudo -E "$@"
    else
        die "need root or sudo for: $*"
    fi
}

missing_packages() {
    local p
    for p in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
    done
}

# Debian makes and starts a cluster when a server is first installed.  Nobody
# asked for one here; a machine that already has PostgreSQL keeps its settings.
refuse_main_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf
    [ ! -e $conf ] && ! dpkg-query -W postgresql-common >/dev/null 2>&1 || return 0
    mkdir -p "$(dirname $conf)"
    printf '%s\n' '# Written by pg_aggjobs ./dev before PostgreSQL was installed:' \
        '# it needs the programs only, not a cluster that starts by itself.' \
        'create_main_cluster = false' >$conf
}

install_packages() {
    local apt=(apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=300)
    as_root dpkg --configure -a
    as_root bash -c "$(declare -f refuse_main_cluster); refuse_main_cluster"
    if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
        as_root "${apt[@]}" update
    fi
    as_root "${apt[@]}" install "$@" && return
    as_root "${apt[@]}" update
    as_root "${apt[@]}" install "$@"
}

# need_packages NAME...: one step, and only if something is missing.
need_packages() {
    local missing
    command -v dpkg-query >/dev/null || return 0
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || sudo -v || die "sudo is needed to install: ${missing[*]}"
    step apt "install ${#missing[@]} packages (${missing[0]} ...)" install_packages "${missing[@]}"
}

# The server refuses to run as root, so root lends it a user of its own.
SERVER_USER=$(id -un)
[ "$(id -u)" -ne 0 ] || SERVER_USER=aggjobs_dev

as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        HOME=$PLACE/home setpriv --reuid="$SERVER_USER" --regid="$SERVER_USER" --clear-groups -- "$@"
    else
        "$@"
    fi
}

can_server_read() {
    setpriv --reuid="$SERVER_USER" --regid="$SERVER_USER" --clear-groups -- \
        test -r "$1" -a -x "$1" 2>/dev/null
}

need_user() {
    [ "$(id -u)" -eq 0 ] || return 0
    getent passwd "$SERVER_USER" >/dev/null && return
    step user "create system user $SERVER_USER" \
        useradd --system --user-group --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin "$SERVER_USER"
}

# PLACE holds what the server must read: .dev itself, or, when the checkout
# lies where its user may not look (such as /root), a directory recorded there.
need_place() {
    if [ -s "$DEV/place" ] && [ -d "$(cat "$DEV/place")" ]; then
        PLACE=$(cat "$DEV/place")
    elif [ "$(id -u)" -ne 0 ] || can_server_read "$DEV"; then
        PLACE=$DEV
    else
        PLACE=$(mktemp -d /var/tmp/aggjobs_dev.XXXXXX)
        chmod 755 "$PLACE"
        echo "$PLACE" >"$DEV/place"
    fi
    if [ ! -d "$PLACE/home" ]; then
        mkdir -p "$PLACE/home"
        give "$PLACE/home"
    fi
    # the server's programs complain about a working directory they can't enter
    cd "$PLACE"
}

# From here on everything is built and run in a place below .dev, slowly.
use_other_place() {
    DEV=$DEV/$1
    AGGJOBS_DEV=$DEV
    LOGS=$DEV/log
    PLACE=
    AGGJOBS_SUITE_LIMIT=${AGGJOBS_SUITE_LIMIT:-7200}
    export AGGJOBS_SUITE_LIMIT
    mkdir -p "$LOGS"
}

# Make a file or directory the server's own.
give() {
    [ "$(id -u)" -ne 0 ] || chown -R "$SERVER_USER:$SERVER_USER" "$@"
}

setup() {
    umask 022
    need_packages "$@"
    [ -x "$PG_CONFIG" ] || die "no pg_config at $PG_CONFIG (set PG_CONFIG)"
    need_user
    need_place
}
