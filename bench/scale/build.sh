#!/usr/bin/env bash
# How fast a replica of MIB mebibytes is built on an empty node, and what that does to writes: three nodes and a table of
# one partition with records of 1 KiB; n3 loses its disk and is replaced, while clients write 256-byte values into the same
# partition at a steady rate (48 clients, 20 ms apart). Prints the megabytes per second of the records' values, from when
# n3 has an empty replica until that has everything, and the 99th percentile of the writes before and meanwhile.
#   bench/scale/build.sh [MIB]       1024; needs libnghttp2-dev (of bench/failover's writers)
# Goal: at least 200 MB/s, and a 99th percentile of at most one and a half times what it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
mib=${1:-1024} value=1024
source bench/scale/common.sh
build_what_is_needed scale_fill failover_writers
writers_pid=
trap '[ -z "$writers_pid" ] || kill "$writers_pid"; stop_cluster; rm -rf "$HOLDFAST_RUN_DIRECTORY"' EXIT

ask_writers() { # COMMAND
    echo "$1" >&"$to_writers"
    read -r -a answer <&"$from_writers" || { echo "the writers ended at: $1" >&2; exit 1; }
}

# What a node has applied of the table's partition; nothing while it has no replica.
applied() { # NODE
    quietly_get "$(http_port "$1")" /v1/tables/big/partitions
    if [[ $answer =~ \"applied\":([0-9]+) ]]; then echo "${BASH_REMATCH[1]}"; fi
}

n3_has_applied() { # INDEX
    quietly_get "$n3_port" /v1/tables/big/partitions
    [[ $answer =~ \"applied\":([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge "$1" ]
}

is_out() { grep -q "it is kept out" "$run_directory"/n[12]/log; }

make_cluster
for name in $node_names; do # only one small table besides: those of the sample configuration would move first
    # No split, either: it copies half of the partition at the same time, and the replica is not built before it is over.
    echo 'store: { partition_max_size = 0; tables: { profiles: { format = "bytes"; }; }; };' \
        >"$run_directory/$name/conf.d/store.cfg"
done
start_cluster
"$holdfast" --node "$(node_addresses)" table create big --format bytes >/dev/null
"$binaries/scale_fill" "127.0.0.1:$(http_port n1)" $((mib * 1048576 / value)) $value big
n3_port=$(http_port n3)
wait_until 60 n3_has_applied "$(applied n1)"

kill -KILL -- "-${node_pids[n3]}"
wait "${node_pids[n3]}" || :
rm -rf "${run_directory:?}/n3/data"

# The engines still sort what was filled in; what that costs is not to be measured.
are_calm() {
    local name before=0 after=0
    for name in n1 n2; do before=$((before + $(node_ticks "$name"))); done
    sleep 1
    for name in n1 n2; do after=$((after + $(node_ticks "$name"))); done
    [ $(((after - before) * 100 / $(getconf CLK_TCK))) -lt 10 ] # percent of a core
}
wait_until 120 are_calm

mkfifo "$run_directory/to" "$run_directory/from"
"$binaries/failover_writers" holdfast "127.0.0.1:$(http_port n1),127.0.0.1:$(http_port n2)" --table big \
    <"$run_directory/to" >"$run_directory/from" &
writers_pid=$!
exec {to_writers}>"$run_directory/to" {from_writers}<"$run_directory/from"
start_node n3
wait_until 60 is_out
sleep 5 # of load, so that nothing is measured that only begins
ask_writers rate
sleep 10
ask_writers rate
before=("${answer[@]}")

target=$(applied n1)
"$holdfast" --node "127.0.0.1:$(http_port n1)" node replace n3 >/dev/null
quietly_wait_until 120 n3_has_applied 0
began=$(now_ms)
ask_writers rate
quietly_wait_until 120 n3_has_applied "$target"
took=$(($(now_ms) - began))
ask_writers rate
during=("${answer[@]}")
echo "replica built in $took ms; writes per second before ${before[0]}, meanwhile ${during[0]}," \
    "failed ${before[1]} and ${during[1]}; p50 ${before[2]} and ${during[2]} us, p99 ${before[3]} and ${during[3]} us," \
    "worst ${before[4]} and ${during[4]} us"
awk -v mib="$mib" -v took="$took" -v a="${before[3]}" -v b="${during[3]}" 'BEGIN {
    printf "goal: 200 MB/s, p99 1.5 times; %.0f MB/s, %.2f times\n", mib * 1.048576 / took * 1000, b / a }'
