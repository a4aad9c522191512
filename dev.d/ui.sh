# Steps, logs and clean-up of ./dev.
#
# A step is one line: what is done, how it ended, how long it took.  Its output
# goes to a log of its own, whose end is shown if the step fails.  Each step is
# a process group of its own, so that an interrupt ends all of it at once; what
# a step must not leave behind is entered in on_exit before it starts.
# shellcheck shell=bash

STEP_PID=
ON_EXIT=()

ui_begin() {
    BEGAN=$SECONDS
    mkdir -p "$DEV/log"
    export LOGS=$DEV/log
    # a step's output goes to its log; this one still reaches the person
    exec 3>&1
    trap ui_end EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# Commands to run at the end, last entered first; each must be harmless when
# there is nothing (left) to do.
on_exit() {
    ON_EXIT+=("$1")
}

ui_end() {
    local status=$? i
    trap '' INT TERM HUP
    trap - EXIT
    set +e
    if [ -n "$STEP_PID" ]; then
        kill -TERM -- "-$STEP_PID" 2>/dev/null
        wait "$STEP_PID" 2>/dev/null
        echo " interrupted" >&3
    fi
    for ((i = ${#ON_EXIT[@]} - 1; i >= 0; i--)); do
        eval "${ON_EXIT[i]}" </dev/null >/dev/null 2>&1
    done
    exit "$status"
}

say() {
    printf '[%4ds] %s\n' $((SECONDS - BEGAN)) "$*"
}

die() {
    echo "dev: $*" >&2
    exit 1
}

# Run a command (or a function of ./dev) in the background and wait for it, so
# that a signal is acted upon at once.  A function gets a new shell, since bash
# ignores "set -e" in everything below an "if" or "||"; it can't set variables.
# Nothing may hang for ever: STEP_LIMIT seconds, then the whole group is ended.
STEP_LIMIT=900

run_waiting() {
    local status=0
    if [ "$(type -t "$1")" = function ]; then
        set -- "$TOP/dev" __step "$@"
    fi
    set -- timeout -k 15 "$STEP_LIMIT" "$@"
    set -m
    "$@" </dev/null 3>&- &
    STEP_PID=$!
    set +m
    wait "$STEP_PID" || status=$?
    STEP_PID=
    return $status
}

# try LOGNAME TEXT COMMAND...: one step; its status is that of the command.
try() {
    local log=$LOGS/$1.log text=$2 since=$SECONDS status=0
    shift 2
    printf '[%4ds] %s ...' $((SECONDS - BEGAN)) "$text"
    run_waiting "$@" >"$log" 2>&1 || status=$?
    if [ $status -eq 0 ]; then
        printf ' ok (%d s)\n' $((SECONDS - since))
    else
        [ $status -ne 124 ] || echo "ended after $STEP_LIMIT s" >>"$log"
        printf ' FAILED (%d s)\n' $((SECONDS - since))
        show_tail "$log" 40
    fi
    return $status
}

# The same, but nothing can go on without it.
step() {
    try "$@" || exit 1
}

show_tail() {
    echo "---- end of $1"
    tail -n "$2" "$1" | cut -c1-400
    echo "----"
}
