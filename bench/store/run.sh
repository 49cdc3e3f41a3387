#!/usr/bin/env bash
# Three nodes, ours against etcd's, in turn on this machine: 256-byte values, every write durable on a majority before it
# is acknowledged, reads linearizable, each system over its own interface (HTTP/1.1, gRPC), the load from one program.
#   bench/store/run.sh [ROUNDS [SECONDS]]       needs the Debian packages etcd-server and libnghttp2-dev
# A client is a connection with one request under way, to the three nodes in turn.  The table has PARTITIONS ranges, by
# default one, as etcd has one group.  Our nodes have WORKERS worker_threads, by default a third of the processors and at
# least one; etcd keeps its own default, which serves it best (GOMAXPROCS=1 makes it slower).
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-1} seconds=${2:-6}
export HOLDFAST_RUN_DIRECTORY=${HOLDFAST_RUN_DIRECTORY:-$(mktemp -d)}
source tools/cluster.sh
work=$(mktemp -d)
etcd_nodes=127.0.0.1:23701,127.0.0.1:23702,127.0.0.1:23703
etcd_pids=()
keys=100000 value=256

stop_etcd() {
    local pid
    for pid in "${etcd_pids[@]}"; do kill "$pid" 2>/dev/null || :; done
    for pid in "${etcd_pids[@]}"; do wait "$pid" 2>/dev/null || :; done
    etcd_pids=()
}
trap 'stop_etcd; stop_cluster; rm -rf "$work" "$HOLDFAST_RUN_DIRECTORY"' EXIT

command -v etcd >/dev/null || { echo "install etcd-server first" >&2; exit 1; }
if [ -z "${HOLDFAST_BINARIES:-}" ]; then
    build_release
    cmake --build build/run --target store_load -- --quiet
fi
store_load=$binaries/store_load
processors=$(nproc)
workers=${WORKERS:-$((processors < 6 ? 1 : processors / 3))}
export HOLDFAST_WORKER_THREADS=$workers

start_etcd() { # ROUND
    local i cluster=e1=http://127.0.0.1:23801,e2=http://127.0.0.1:23802,e3=http://127.0.0.1:23803
    for i in 1 2 3; do
        etcd --name e$i --data-dir "$work/etcd-$1-$i" --listen-client-urls http://127.0.0.1:2370$i \
            --advertise-client-urls http://127.0.0.1:2370$i --listen-peer-urls http://127.0.0.1:2380$i \
            --initial-advertise-peer-urls http://127.0.0.1:2380$i --initial-cluster $cluster \
            --initial-cluster-token bench-"$1" >"$work/etcd-$1-$i.log" 2>&1 &
        etcd_pids+=($!)
    done
    for i in 1 2 3; do
        until curl -sf http://127.0.0.1:2370$i/health >/dev/null; do sleep 0.2; done
    done
}

start_holdfast() {
    rm -rf "$HOLDFAST_RUN_DIRECTORY"
    make_cluster
    start_cluster
    "$binaries/holdfast" --node "$(node_addresses)" table create bench --format bytes --hash-ranges "${PARTITIONS:-1}" >/dev/null
}

# A supervisor's child does the work, so each of our nodes is its process group; etcd's nodes are the processes.
node_processes() { # holdfast|etcd
    local pid
    [ "$1" = holdfast ] || { echo "${etcd_pids[@]}"; return; }
    for pid in "${node_pids[@]}"; do pgrep -g "$pid"; done
}

# Bytes that went to the disk below the data: what the kernel counts for a process counts whole folios of the page cache.
disk_bytes() {
    local statistics
    statistics=/sys/dev/block/$(stat -c '%Hd:%Ld' "$work")/stat
    [ ! -r "$statistics" ] || awk '{ print $7 * 512 }' "$statistics"
}

# Clock ticks of processor time, bytes written, and KiB resident of all nodes.
usage() { # holdfast|etcd
    local pid
    for pid in $(node_processes "$1"); do
        echo "$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f12,13)" \
            "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")"
    done | awk -v bytes="$(disk_bytes)" '{ ticks += $1 + $2; kib += $3 } END { print ticks, bytes + 0, kib }'
}

# Appends lines "row system value" to the results.
measure() { # holdfast|etcd NODES
    local clients before after line
    "$store_load" "$1" put "$2" --fill --clients 64 --keys $keys --value $value >/dev/null
    for clients in 1 64 256; do
        before=$(usage "$1")
        line=$("$store_load" "$1" put "$2" --clients $clients --seconds "$seconds" --keys $keys --value $value)
        after=$(usage "$1")
        echo "$line $before $after" | awk -v who="$1" -v clients=$clients -v tick="$(getconf CLK_TCK)" -v value=$value '{
            writes = $5 / 0.8 # without those of the warm-up, a fifth of the time
            print "put_" clients "_per_second", who, $1
            print "put_" clients "_p50_us", who, $2
            print "put_" clients "_p99_us", who, $3
            print "put_" clients "_cpu_us", who, ($11 - $8) / tick * 1e6 / writes
            print "put_" clients "_client_cpu_us", who, $7
            print "put_" clients "_bytes_written_per_byte", who, ($12 - $9) / (writes * value)
            print "put_" clients "_refused", who, $6 }' >>"$work/results"
    done
    before=$(usage "$1")
    line=$("$store_load" "$1" get "$2" --clients 64 --seconds "$seconds" --keys $keys)
    after=$(usage "$1")
    echo "$line $before $after" | awk -v who="$1" -v tick="$(getconf CLK_TCK)" '{
        print "get_64_per_second", who, $1
        print "get_64_p50_us", who, $2
        print "get_64_p99_us", who, $3
        print "get_64_cpu_us", who, ($11 - $8) / tick * 1e6 / ($5 / 0.8)
        print "get_64_client_cpu_us", who, $7 }' >>"$work/results"
    usage "$1" | awk -v who="$1" '{ print "memory_per_node_mib", who, $3 / 3 / 1024 }' >>"$work/results"
}

# The median of the rounds, for each row.
report() {
    sort -k1,1 -k2,2 -k3,3n "$work/results" | awk '
        { key = $1 " " $2; values[key, ++count[key]] = $3; if (!($1 in seen)) { seen[$1] = 1; rows[++n] = $1 } }
        function median(key) { return values[key, int((count[key] + 1) / 2)] }
        END {
            printf "%-32s %12s %12s %8s\n", "", "holdfast", "etcd", "ratio"
            for (i = 1; i <= n; i++) {
                ours = median(rows[i] " holdfast"); theirs = median(rows[i] " etcd")
                ratio[rows[i]] = theirs ? ours / theirs : 0
                printf "%-32s %12.1f %12.1f %8.2f\n", rows[i], ours, theirs, ratio[rows[i]]
            }
            printf "ratios: writes/s 1 client %.2f, 64 clients %.2f, 256 clients %.2f; p99 at 64 %.2f; reads/s at 64 %.2f\n",
                ratio["put_1_per_second"], ratio["put_64_per_second"], ratio["put_256_per_second"],
                ratio["put_64_p99_us"], ratio["get_64_per_second"]
        }'
}

for round in $(seq "$rounds"); do
    start_etcd "$round"
    measure etcd $etcd_nodes
    stop_etcd
    start_holdfast
    measure holdfast "$(node_addresses)"
    stop_cluster
done
report
