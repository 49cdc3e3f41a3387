# What the scripts of bench/scale share; to be sourced from the root of the sources, by bash.
export HOLDFAST_RUN_DIRECTORY=${HOLDFAST_RUN_DIRECTORY:-$(mktemp -d)}
source tools/cluster.sh
holdfast="$binaries/holdfast"
trap 'stop_cluster; rm -rf "$HOLDFAST_RUN_DIRECTORY"' EXIT

build_what_is_needed() { # TARGET...
    [ -z "${HOLDFAST_BINARIES:-}" ] || return 0
    build_release
    cmake --build build/run --target "$@" -- --quiet
}

wait_until() { # SECONDS COMMAND...      looks every $pause seconds
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || { echo "waited too long for: $*" >&2; exit 1; }
        sleep "${pause:-0.05}"
    done
}

# Waits like wait_until, with as little processor time as a shell can: no process is started, which would stand in the way
# of what is measured, a hundred times as long as the question itself.
exec {never}<> <(:)
quietly_wait_until() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || { echo "waited too long for: $*" >&2; exit 1; }
        read -r -t 0.1 -u "$never" || :
    done
}

quietly_get() { # HTTP-PORT PATH      sets $answer; empty when there is none
    local connection
    answer=
    { exec {connection}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 0
    printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$2" >&"$connection"
    IFS= read -r -t 5 -d '' -u "$connection" answer || :
    exec {connection}>&-
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# Clock ticks of processor time of a node: its supervisor and its children.
node_ticks() { # NODE
    local pid
    for pid in $(pgrep -g "${node_pids[$1]}"); do sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f12,13; done |
        awk '{ ticks += $1 + $2 } END { print ticks }'
}

node_kib() { # NODE
    local pid
    for pid in $(pgrep -g "${node_pids[$1]}"); do sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; done |
        awk '{ kib += $1 } END { print kib }'
}

# The sum of a metric's series on a node; 0 when it does not answer.
metric() { # NODE NAME
    { curl -sf -m 5 "http://127.0.0.1:$(http_port "$1")/metrics" || :; } | awk -v name="$2" '
        $1 == name || index($1, name "{") == 1 { sum += $2 } END { printf "%.0f\n", sum }'
}

sum_of_nodes() { # METRIC
    local name sum=0
    for name in $node_names; do sum=$((sum + $(metric "$name" "$1"))); done
    echo $sum
}
