#!/usr/bin/env bash
# How long a node takes to come back with RECORDS records, in three tables of one partition each: from its start until it
# answers a linearizable read of each, after kill -9 and after an orderly stop. A node that is alone (NODES=1) has to apply
# all that its log has beyond the engine before it answers; of several (NODES=3), n1 is restarted, and asked.
#   bench/scale/restart.sh [RECORDS [ROUNDS]]       10000000 3
# Goal: under 5 s with 10 million records.
set -euo pipefail
cd "$(dirname "$0")/../.."
records=${1:-10000000} rounds=${2:-3}
source bench/scale/common.sh
node_names=$(seq -f 'n%g' -s ' ' "${NODES:-1}")
build_what_is_needed scale_fill
tables="t0 t1 t2"
address=127.0.0.1:$(http_port n1)

make_cluster
start_cluster
for table in $tables; do "$holdfast" --node "$address" table create "$table" --format bytes >/dev/null; done
began=$(now_ms)
# shellcheck disable=SC2086 # the tables are several words
"$binaries/scale_fill" "$address" "$records" 20 $tables
echo "$records records in $(($(now_ms) - began)) ms"

# The node's entries that are in the log and not yet in the engine for good are at their most now.
answers() {
    local table number=0
    for table in $tables; do
        curl -sf -m 5 -o /dev/null "http://$address/v1/tables/$table/records/k000000000$number" || return 1
        number=$((number + 1))
    done
}

restart() { # SIGNAL
    local target=${node_pids[n1]} stopping began answered
    stopping=$(now_ms)
    if [ "$1" = KILL ]; then kill -KILL -- "-$target"; else kill -"$1" "$target"; fi
    wait "$target" || :
    began=$(now_ms)
    start_node n1
    wait_until 120 answers
    answered=$(($(now_ms) - began))
    echo "$answered" >>"$HOLDFAST_RUN_DIRECTORY/results-$1"
    echo "SIG$1: ended in $((began - stopping)) ms, answers after $answered ms," \
        "$(metric n1 holdfast_store_log_segments) segments of the log, $(($(node_kib n1) / 1024)) MiB"
}

for _ in $(seq "$rounds"); do restart KILL; done
for _ in $(seq "$rounds"); do restart TERM; done
worst() { sort -n "$HOLDFAST_RUN_DIRECTORY/results-$1" | tail -1; }
echo "goal: under 5000 ms; worst after kill -9 $(worst KILL) ms, after an orderly stop $(worst TERM) ms"
