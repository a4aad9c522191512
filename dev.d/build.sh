# Builds and private installations.
#
# Each variant (release, testing, clang, valgrind) is built in its own copy of the
# sources, so that objects of one never meet another and the checkout stays
# clean, and is installed into its own copy of the server's programs.  The
# programs find their libraries and extension files relative to themselves, so
# a copy under another root is a complete server; all but the programs and the
# extension's own files are links.
# shellcheck shell=bash

tree_of() { echo "$PLACE/build/$1"; }
bin_of() { echo "$PLACE/inst/$1$("$PG_CONFIG" --bindir)"; }
lib_of() { echo "$PLACE/inst/$1$("$PG_CONFIG" --pkglibdir)"; }

# What build and tests read; the rest of the checkout is not copied.
source_files() {
    cd "$TOP"
    find . \( -path ./.git -o -path ./.dev -o -path ./results -o -path ./output_iso \
        -o -path ./tmp_check -o -path ./log \) -prune -o -type f \
        ! -name '*.o' ! -name '*.d' ! -name '*.so' ! -name '*.bc' ! -name '.build-flags' \
        ! -path './pg_aggjobs--*' -print | LC_ALL=C sort
}

# Bring a copy up to date: times are kept, so that make builds only what changed.
sync_tree() {
    local tree=$1
    mkdir -p "$tree"
    source_files >"$tree.new"
    if [ -f "$tree.list" ]; then
        LC_ALL=C comm -23 "$tree.list" "$tree.new" | (cd "$tree" && xargs -r -d '\n' rm -f --)
    fi
    mv "$tree.new" "$tree.list"
    tar -C "$TOP" --ignore-failed-read -cf - -T "$tree.list" |
        tar -C "$tree" --no-same-owner -xf -
    chmod -R a+rX "$tree"
}

link_all() {
    local from=$1 to=$2 f
    mkdir -p "$to"
    for f in "$from"/*; do
        case ${f##*/} in
            pg_aggjobs*) ;;
            *) ln -sfn "$f" "$to/" ;;
        esac
    done
}

# A private copy of the server's programs; made again when they are upgraded,
# or other extensions come or go.
make_installation() {
    local root=$PLACE/inst/$1 bin share stamp
    bin=$("$PG_CONFIG" --bindir)
    share=$("$PG_CONFIG" --sharedir)
    stamp=$("$bin/postgres" --version; cd "$share/extension" && ls -- *.control)
    [ "$(cat "$root/version" 2>/dev/null)" != "$stamp" ] || return 0
    rm -rf "$root"
    mkdir -p "$root$bin" "$root$(dirname "$("$PG_CONFIG" --includedir-server)")"
    cp -p "$bin"/* "$root$bin/"
    link_all "$("$PG_CONFIG" --pkglibdir)" "$root$("$PG_CONFIG" --pkglibdir)"
    link_all "$share" "$root$share"
    rm "$root$share/extension"
    link_all "$share/extension" "$root$share/extension"
    ln -sfn "$("$PG_CONFIG" --includedir-server)" "$root$("$PG_CONFIG" --includedir-server)"
    echo "$stamp" >"$root/version"
}

# build_variant NAME [make argument...]
build_variant() {
    local tree
    tree=$(tree_of "$1")
    shift
    sync_tree "$tree"
    make -s -C "$tree" -j"$(nproc)" PG_CONFIG="$PG_CONFIG" "$@"
}

# Put a tool before the server program, and before no other: the sanitizers'
# runtime makes initdb and psql wait for ever, and Valgrind makes them slow.
# SERVER_PLAIN are the first arguments, as a pattern, with which the server only
# makes a cluster or tells its version; else the script ends with SERVER_TOOL,
# which starts $real.  It should do so under the name $0: pg_ctl restart starts
# what the server takes for its own name.
wrap_server() {
    local bin
    bin=$(bin_of "$1")
    [ -e "$bin/postgres.real" ] || mv "$bin/postgres" "$bin/postgres.real"
    cat >"$bin/postgres" <<SCRIPT
#!/bin/bash
real=$bin/postgres.real
case \${1:-} in $SERVER_PLAIN) exec -a "\$0" "\$real" "\$@" ;; esac
$SERVER_TOOL
SCRIPT
    chmod 755 "$bin/postgres"
}

install_variant() {
    local name=$1
    build_variant "$@"
    shift
    make_installation "$name"
    [ -z "${SERVER_TOOL:-}" ] || wrap_server "$name"
    make -s -C "$(tree_of "$name")" PG_CONFIG="$PG_CONFIG" "$@" install DESTDIR="$PLACE/inst/$name"
}

# One build at a time per place: ./dev may run twice in one checkout.
locked() {
    (
        flock 9
        "$@"
    ) 9>"$PLACE/lock"
}

need_build() {
    local name=$1 args=()
    [ "$name" != testing ] || args+=(TESTING=1)
    [ -z "${EXTRA_COPT:-}" ] || args+=(COPT="$EXTRA_COPT")
    try "build-$name" "build and install ($name)" locked install_variant "$name" "${args[@]}"
}

# What a running server would have to be restarted for.
fingerprint() {
    cat "$(lib_of "$1")/pg_aggjobs.so" | cksum
}

script_fingerprint() {
    cat "$(tree_of "$1")"/pg_aggjobs--*.sql | cksum
}
