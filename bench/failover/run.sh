#!/usr/bin/env bash
# For how long nothing can be written when the node that leads dies: three nodes, ours and etcd's, in turn on this machine,
# each with its defaults. Clients write 256-byte values at a steady rate (12 keys, 4 clients each, 20 ms apart) and turn to
# the next node at once when one fails or is silent for 100 to 300 ms. The node that leads is killed (kill -9) KILLS times;
# it is started again, has caught up and all nodes agree on who leads before the next one. Measured is the time from the
# kill until each key has been written again by a write that began after it: what the slowest of the clients saw.
#
# Beside it: the longest time without a write while the node comes back, and the same for a leader that stops answering
# without dying (SIGSTOP, PAUSES times): its connections stay, so only time-outs can tell.
#   bench/failover/run.sh [KILLS [PAUSES]]       needs the Debian packages etcd-server and libnghttp2-dev
# Goal: 500 ms at the median and 1000 ms at worst.
set -euo pipefail
cd "$(dirname "$0")/../.."
kills=${1:-20} pauses=${2:-3}
export HOLDFAST_RUN_DIRECTORY=${HOLDFAST_RUN_DIRECTORY:-$(mktemp -d)}
source tools/cluster.sh
work=$(mktemp -d)
declare -A etcd_pids=()
writers_pid=

stop_etcd() {
    local pid
    for pid in "${etcd_pids[@]}"; do kill "$pid" 2>/dev/null || :; done
    for pid in "${etcd_pids[@]}"; do wait "$pid" 2>/dev/null || :; done
    etcd_pids=()
}

stop_writers() {
    [ -n "$writers_pid" ] || return 0
    echo end >&"$to_writers" || kill "$writers_pid" 2>/dev/null || :
    exec {to_writers}>&- {from_writers}<&-
    wait "$writers_pid" || :
    writers_pid=
}
trap '' PIPE
trap 'stop_writers; stop_etcd; stop_cluster; rm -rf "$work" "$HOLDFAST_RUN_DIRECTORY"' EXIT

command -v etcd >/dev/null || { echo "install etcd-server first" >&2; exit 1; }
if [ -z "${HOLDFAST_BINARIES:-}" ]; then
    build_release
    cmake --build build/run --target failover_writers -- --quiet
fi

# ---- Either system: start_NAME, NAME_start NODE, NAME_leader, NAME_target NODE, NAME_settled --------------------------

etcd_start() { # NODE
    local cluster=e1=http://127.0.0.1:23821,e2=http://127.0.0.1:23822,e3=http://127.0.0.1:23823
    etcd --name "e$1" --data-dir "$work/etcd-$1" --listen-client-urls "http://127.0.0.1:2372$1" \
        --advertise-client-urls "http://127.0.0.1:2372$1" --listen-peer-urls "http://127.0.0.1:2382$1" \
        --initial-advertise-peer-urls "http://127.0.0.1:2382$1" --initial-cluster $cluster >>"$work/etcd-$1.log" 2>&1 &
    etcd_pids[$1]=$!
}

start_etcd() {
    local i
    nodes=127.0.0.1:23721,127.0.0.1:23722,127.0.0.1:23723
    for i in 1 2 3; do etcd_start $i; done
    wait_until 60 etcd_settled
}

# A member's own id, its leader's, and the index that it has applied.
etcd_status() { # NODE
    { curl -sf -m 2 -d '{}' "http://127.0.0.1:2372$1/v3/maintenance/status" && echo; } | tr -d '"' | sed -n \
        's/.*member_id:\([0-9]*\).*leader:\([0-9]*\).*raftAppliedIndex:\([0-9]*\).*/\1 \2 \3/p'
}

etcd_leader() {
    local i id leader index
    for i in 1 2 3; do
        read -r id leader index < <(etcd_status $i)
        [ "$id" != "$leader" ] || { echo $i; return; }
    done
    return 1
}

etcd_target() { echo "${etcd_pids[$1]}"; }

etcd_settled() {
    local i id leader index first='' newest=0
    for i in 1 2 3; do
        read -r id leader index < <(etcd_status $i) || return 1
        [ -n "$leader" ] && [ "$leader" != 0 ] && [ "${first:=$leader}" = "$leader" ] || return 1
        # The first answers are older than the last ones: nobody may be behind what was there before.
        [ "$index" -ge "$newest" ] || return 1
        newest=$index
    done
}

stop_holdfast() { stop_cluster; }

holdfast_start() { start_node "n$1"; }

start_holdfast() {
    rm -rf "$HOLDFAST_RUN_DIRECTORY"
    make_cluster
    start_cluster
    nodes=$(node_addresses)
    "$binaries/holdfast" --node "$nodes" table create bench --format bytes >/dev/null
    wait_until 60 holdfast_settled
}

# The leader that a node knows of the table's one partition, the one that should lead (the first of the replicas), and
# the index that is committed as far as it knows and has it: it may apply that later.
holdfast_status() { # NODE
    { curl -sf -m 2 "http://127.0.0.1:$(http_port "n$1")/v1/tables/bench/partitions" && echo; } | tr -d '"' | sed -n \
        's/.*leader:n\([0-9]*\),.*commit:\([0-9]*\),replicas:\[{node:n\([0-9]*\),.*/\1 \3 \2/p'
}

holdfast_leader() {
    local i leader first commit
    for i in 1 2 3; do
        read -r leader first commit < <(holdfast_status $i)
        [ "$leader" != "$i" ] || { echo $i; return; }
    done
    return 1
}

holdfast_target() { echo "-${node_pids[n$1]}"; } # the supervisor and its children

# The leader is the one that should lead: while it is not, leadership is about to move.
holdfast_settled() {
    local i leader first commit newest=0
    for i in 1 2 3; do
        read -r leader first commit < <(holdfast_status $i) || return 1
        [ "$leader" = "$first" ] && [ "$commit" -ge "$newest" ] || return 1
        newest=$commit
    done
}

# ---- Measuring ---------------------------------------------------------------------------------------------------------

wait_until() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || { echo "waited too long for: $*" >&2; exit 1; }
        sleep 0.1
    done
}

start_writers() { # SYSTEM
    mkfifo "$work/to-$1" "$work/from-$1"
    "$binaries/failover_writers" "$1" "$nodes" <"$work/to-$1" >"$work/from-$1" &
    writers_pid=$!
    exec {to_writers}>"$work/to-$1" {from_writers}<"$work/from-$1"
}

ask_writers() { # COMMAND
    echo "$1" >&"$to_writers"
    read -r answer <&"$from_writers" || { echo "the writers ended at: $1" >&2; exit 1; }
}

kill_leader() { # SYSTEM
    local leader target
    leader=$("$1_leader")
    target=$("$1_target" "$leader")
    ask_writers "signal 9 $target"
    echo "$answer" >>"$work/kills-$1"
    ask_writers longest
    wait "${target#-}" 2>/dev/null || :
    "$1_start" "$leader"
    wait_until 60 "$1_settled"
    ask_writers longest
    echo "$answer" >>"$work/returns-$1"
}

pause_leader() { # SYSTEM
    local leader target
    leader=$("$1_leader")
    target=$("$1_target" "$leader")
    ask_writers "signal 19 $target" # SIGSTOP
    echo "$answer" >>"$work/pauses-$1"
    kill -CONT -- "$target"
    wait_until 60 "$1_settled"
    ask_writers longest
}

measure() { # SYSTEM
    "start_$1"
    start_writers "$1"
    sleep 3 # of steady load, whose rate is printed
    ask_writers rate
    echo "$1 ${answer%% *}" >>"$work/rates"
    for _ in $(seq "$kills"); do kill_leader "$1"; done
    for _ in $(seq "$pauses"); do pause_leader "$1"; done
    stop_writers
}

# Median and worst of a file's numbers.
summary() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.0f %.0f\n", v[int((NR + 1) / 2)], v[NR] }'; }

row() { # TEXT FILE
    local ours theirs
    read -r -a ours < <(summary "$work/$2-holdfast")
    read -r -a theirs < <(summary "$work/$2-etcd")
    printf '%-44s %9s %9s %9s %9s\n' "$1" "${ours[@]}" "${theirs[@]}"
}

report() {
    local ours theirs
    awk '{ rate[$1] = $2 } END { printf "writes per second: holdfast %d, etcd %d\n", rate["holdfast"], rate["etcd"] }' "$work/rates"
    printf '%-44s %9s %9s %9s %9s\n' milliseconds holdfast '' etcd '' '' median worst median worst
    row "no write after kill -9 of the leader ($kills)" kills
    row "while it comes back" returns
    [ "$pauses" = 0 ] || row "no write after SIGSTOP of the leader ($pauses)" pauses
    read -r -a ours < <(summary "$work/kills-holdfast")
    read -r -a theirs < <(summary "$work/kills-etcd")
    echo "goal: median 500 ms, worst 1000 ms"
    awk -v a="${ours[0]}" -v b="${ours[1]}" -v c="${theirs[0]}" -v d="${theirs[1]}" 'BEGIN {
        printf "holdfast %d ms, worst %d ms; etcd %d ms, worst %d ms; ratio %.2f, worst %.2f\n", a, b, c, d, a / c, b / d }'
}

for system in etcd holdfast; do
    measure $system
    "stop_$system"
done
report
