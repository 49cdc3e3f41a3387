#!/usr/bin/env bash
# Writes on three nodes, ours against etcd's, in turn on this machine: 1 KiB values, 200 writers, every write durable on a
# majority before it is acknowledged.  etcd is measured by its own tool over its own protocol (etcdctl check perf).
#   bench/store/run.sh [ROUNDS]       needs the packages etcd-server and etcd-client; builds Holdfast when needed
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-1}
export HOLDFAST_RUN_DIRECTORY=${HOLDFAST_RUN_DIRECTORY:-$(mktemp -d)}
source tools/cluster.sh
records=60000
work=$(mktemp -d)
etcd_pids=()

stop_etcd() {
    local pid
    for pid in "${etcd_pids[@]}"; do kill "$pid" 2>/dev/null || :; done
    for pid in "${etcd_pids[@]}"; do wait "$pid" 2>/dev/null || :; done
    etcd_pids=()
}
trap 'stop_etcd; stop_cluster; rm -rf "$work" "$HOLDFAST_RUN_DIRECTORY"' EXIT

command -v etcd >/dev/null && command -v etcdctl >/dev/null ||
    { echo "install etcd-server and etcd-client first" >&2; exit 1; }
build_release

# Prints etcd's writes a second.
bench_etcd() { # ROUND
    local i cluster=e1=http://127.0.0.1:23801,e2=http://127.0.0.1:23802,e3=http://127.0.0.1:23803
    for i in 1 2 3; do
        etcd --name e$i --data-dir "$work/etcd-$1-$i" --listen-client-urls http://127.0.0.1:2370$i \
            --advertise-client-urls http://127.0.0.1:2370$i --listen-peer-urls http://127.0.0.1:2380$i \
            --initial-advertise-peer-urls http://127.0.0.1:2380$i --initial-cluster $cluster \
            --initial-cluster-token bench-"$1" >"$work/etcd-$1-$i.log" 2>&1 &
        etcd_pids+=($!)
    done
    export ETCDCTL_API=3
    until etcdctl --endpoints http://127.0.0.1:23701,http://127.0.0.1:23702,http://127.0.0.1:23703 endpoint health \
        >/dev/null 2>&1; do sleep 0.2; done
    etcdctl --endpoints http://127.0.0.1:23701,http://127.0.0.1:23702,http://127.0.0.1:23703 check perf --load l \
        >"$work/etcd-$1.txt" 2>&1 || : # it says FAIL below 7200 a second, which is its own idea of a large cluster
    stop_etcd
    sed -n 's/.*[Tt]hroughput.* \([0-9]*\) writes\/s.*/\1/p' "$work/etcd-$1.txt" | head -n 1
}

make_records() {
    python3 -c '
import json, random
random.seed(1)
text = "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(65536))
for i in range('$records'):
    at = random.randrange(64000)
    print(json.dumps({"n": i, "text": text[at:at + 1000]}))' >"$work/records.jsonl"
}

# Prints our writes a second.
bench_holdfast() { # ROUND
    local began ended
    rm -rf "$HOLDFAST_RUN_DIRECTORY"
    make_cluster
    start_cluster
    "$binaries/holdfast" --node "$(node_addresses)" table create bench --hash-ranges 8 >/dev/null
    began=$(date +%s%N)
    "$binaries/holdfast" --node "$(node_addresses)" load bench "$work/records.jsonl" --key-line r/ --parallel 200 2>"$work/load.log"
    ended=$(date +%s%N)
    stop_cluster
    echo $((records * 1000000000 / (ended - began)))
}

make_records
for round in $(seq "$rounds"); do
    theirs=$(bench_etcd "$round")
    ours=$(bench_holdfast "$round")
    echo "etcd      $theirs writes/s"
    echo "holdfast  $ours writes/s"
    awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "ratio     %.2f\n", a / b }'
done
