#!/usr/bin/env bash
# What partitions cost that nobody uses: three nodes with PARTITIONS idle ones. Prints the processor time of each node
# over 30 seconds once they have gone quiet, the messages that the nodes still send each other, the memory, how fast
# random partitions out of all of them then take writes, and how long a node with all of them takes to start again.
#   bench/scale/idle.sh [PARTITIONS]       1000; needs libnghttp2-dev (of bench/store's load generator)
# Goal: under 2 % of a core for 1000 partitions; 5000 partitions start and work.
set -euo pipefail
cd "$(dirname "$0")/../.."
partitions=${1:-1000}
source bench/scale/common.sh
build_what_is_needed store_load

leaders_are() { [ "$(sum_of_nodes holdfast_store_leaders)" -ge "$1" ]; }

# Nothing but the catalog's own care: a few messages a second, however many partitions there are. It must have been so for
# longer than a leader waits before it hands over to the one that should lead.
is_quiet() {
    local before
    before=$(sum_of_nodes holdfast_peer_messages_total)
    sleep 12
    [ $(($(sum_of_nodes holdfast_peer_messages_total) - before)) -lt 1200 ]
}

create_tables() {
    local left=$partitions name=0 ranges
    while [ "$left" -gt 0 ]; do
        ranges=$((left < 1000 ? left : 1000))
        "$holdfast" --node "$(node_addresses)" --timeout 60 table create "idle$name" --format bytes --hash-ranges $ranges >/dev/null
        left=$((left - ranges)) name=$((name + 1))
    done
}

make_cluster
start_cluster
before_leaders=$(sum_of_nodes holdfast_store_leaders)
declare -A kib ticks
for name in $node_names; do kib[$name]=$(node_kib "$name"); done
began=$(now_ms)
create_tables
wait_until 300 leaders_are $((before_leaders + partitions))
echo "$partitions partitions made in $(($(now_ms) - began)) ms"
wait_until 300 is_quiet

messages=$(sum_of_nodes holdfast_peer_messages_total)
for name in $node_names; do ticks[$name]=$(node_ticks "$name"); done
sleep 30
for name in $node_names; do
    echo "$name $(($(node_ticks "$name") - ticks[$name])) $(node_kib "$name") ${kib[$name]}"
done | awk -v tick="$(getconf CLK_TCK)" -v partitions="$partitions" '{
    percent = $2 / tick / 30 * 100; each = ($3 - $4) / partitions
    printf "%s: %.2f %% of a core, %.0f MiB, of which %.1f KiB for each partition\n", $1, percent, $3 / 1024, each
    if (percent > worst) worst = percent; if (each > most) most = each }
    END { print worst, most > "/dev/stderr" }' 2>"$HOLDFAST_RUN_DIRECTORY/worst"
echo "messages between nodes: $((($(sum_of_nodes holdfast_peer_messages_total) - messages) / 30)) a second"

read -r rate p50 p99 _ _ refused < <("$binaries/store_load" holdfast put "$(node_addresses)" --clients 64 --seconds 5 \
    --keys 1000000 --table idle0)
echo "writes to random partitions of 1000: $rate a second, p50 $p50 us, p99 $p99 us, refused $refused"

has_replicas() { [ "$(metric n1 holdfast_store_replicas)" -ge "$partitions" ]; }
kill -TERM "${node_pids[n1]}"
wait "${node_pids[n1]}" || :
began=$(now_ms)
start_node n1
wait_until 60 has_replicas
echo "a node with all of them starts in $(($(now_ms) - began)) ms"
read -r percent each <"$HOLDFAST_RUN_DIRECTORY/worst"
echo "goal: 1000 idle partitions cost under 2 % of a core; $partitions: $percent %, $each KiB each"
