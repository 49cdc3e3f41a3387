#!/usr/bin/env bash
# The gateway against nginx and HAProxy, in turn on this machine: one worker each on processor 0, the server behind and the
# load on processor 1, the same certificate, keep-alive on both sides, no logs. README.md has the settings.
#   bench/gateway/run.sh [ROUNDS [SECONDS [ROW...]]]       5 rounds of 3 s; rows: see below
# Needs the Debian packages nginx, libnginx-mod-stream, haproxy, wrk and nghttp2-client, and two processors. A row is
# skipped for the gateway, with the reason, where `holdfastd --check` refuses its configuration.
#
# Prints the median of the rounds for each row and system: processor time per request by the scheduler's own account of all
# threads, requests a second, and the client's p50 and p99. Errors must be 0. The last line of a row has the gateway's
# processor time, the better one's of the other two, and the ratio. holdfast_lua is the gateway with a policy on the route.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-3}
shift $(($# < 2 ? $# : 2))
source bench/gateway/common.sh
need nginx nginx haproxy haproxy wrk wrk h2load nghttp2-client curl curl openssl openssl taskset util-linux pgrep procps
[ "$(nproc)" -ge 2 ] || { echo "needs two processors" >&2; exit 1; }
build_what_is_needed
make_certificate

# Rows: name, kind of listener, load and its arguments.
rows=(
    "http1_small      plain wrk    64 /"
    "http1_64k        plain wrk    64 /64k"
    "tls_keep_alive   tls   wrk    64 /"
    "tls_64k          tls   wrk    64 /64k"
    "tls_connect      tls   own    16 tls"
    "http2            http2 h2load 16 /"
    "tcp_small        tcp   wrk    64 /"
    "tcp_large        tcp   wrk    16 /1m"
    "udp              udp   own    64 udp"
)
systems=(holdfast holdfast_lua nginx haproxy)

to_us='function us(text) { return text ~ /us$/ ? text + 0 : text ~ /ms$/ ? text * 1000 : text * 1000000 }'

# Each prints: requests, requests a second, p50 and p99 in microseconds, errors.
load_wrk() { # SECONDS CLIENTS PATH KIND
    local scheme=http
    [ "$4" != tls ] || scheme=https
    taskset -c 1 wrk -t1 -c"$2" -d"$1"s --latency "$scheme://127.0.0.1:$front_port$3" | awk "$to_us"'
        $1 == "50%" { p50 = us($2) } $1 == "99%" { p99 = us($2) }
        $2 == "requests" && $3 == "in" { requests = $1 } $1 == "Requests/sec:" { rate = $2 }
        $1 == "Socket" { gsub(",", ""); errors += $4 + $6 + $8 + $10 } /Non-2xx/ { errors += $NF }
        END { print requests + 0, rate + 0, p50 + 0, p99 + 0, errors + 0 }'
}

# h2load has no percentiles of its own: they are taken from its log of all requests.
load_h2load() { # SECONDS CLIENTS PATH
    rm -f "$work/h2load.log"
    taskset -c 1 h2load -c"$2" -m8 -t1 -D"$1" --log-file="$work/h2load.log" "https://127.0.0.1:$front_port$3" >"$work/h2load.out"
    sort -k3,3n "$work/h2load.log" | awk '{ at[NR] = $3 } END { print at[int(NR * 0.5) + 1], at[int(NR * 0.99) + 1] }' \
        >"$work/h2load.latency"
    awk -v latency="$(cat "$work/h2load.latency")" -v seconds="$1" '
        $1 == "requests:" { succeeded = $8; errors += $10 + $12 + $14 }
        $1 == "status" && $2 == "codes:" { errors += $5 + $7 + $9 }
        END { split(latency, at, " "); print succeeded, succeeded / seconds, at[1] + 0, at[2] + 0, errors + 0 }' "$work/h2load.out"
}

load_own() { # SECONDS CLIENTS MODE
    taskset -c 1 "$binaries/gateway_load" "$3" "$front_port" "$2" "$1"
}

# Appends lines "row system measure value" to the results.
measure() { # SYSTEM ROW KIND LOAD CLIENTS ARGUMENT
    local system=$1 row=$2 kind=$3 load=$4 clients=$5 argument=$6 before after line
    start_system "$system" "$kind"
    "load_$load" 1 "$clients" "$argument" "$kind" >/dev/null # fills pools, and memory that is used again
    before=$(cpu_ns "$system")
    line=$("load_$load" "$seconds" "$clients" "$argument" "$kind")
    after=$(cpu_ns "$system")
    stop "$system"
    [ "${line%% *}" -gt 0 ] || { echo "$system answered nothing for $row: $line" >&2; exit 1; }
    echo "$line" | awk -v row="$row" -v who="$system" -v ns="$(echo "$after - $before" | bc)" '{
        print row, who, "cpu", ns / 1000 / $1
        print row, who, "rate", $2
        print row, who, "p50", $3
        print row, who, "p99", $4
        print row, who, "errors", $5 }' >>"$work/results"
}

# The medians, but the sum of errors.
report() { # ROW
    awk -v row="$1" '$1 == row' "$work/results" | sort -k2,2 -k3,3 -k4,4n | awk -v row="$1" '
        { values[$2, $3, ++count[$2, $3]] = $4; sum[$2, $3] += $4 }
        function median(who, what) { return values[who, what, int((count[who, what] + 1) / 2)] }
        END {
            printf "%-16s %12s %12s %10s %10s %8s\n", row, "us CPU/req", "requests/s", "p50 us", "p99 us", "errors"
            split("holdfast holdfast_lua nginx haproxy", order, " ")
            for (i = 1; i <= 4; i++) {
                who = order[i]
                if (!count[who, "cpu"]) { printf "  %-14s %12s\n", who, "-"; continue }
                printf "  %-14s %12.2f %12.0f %10.0f %10.0f %8d\n", who, median(who, "cpu"), median(who, "rate"),
                    median(who, "p50"), median(who, "p99"), sum[who, "errors"]
                if (i > 2 && (!best || median(who, "cpu") < median(best, "cpu"))) best = who
                if (i > 2 && (!quick || median(who, "p99") < median(quick, "p99"))) quick = who
            }
            if (!count["holdfast", "cpu"]) { printf "%s: skipped, the gateway cannot do it\n\n", row; exit }
            printf "%s: CPU %.2f us against %.2f (%s), ratio %.2f; p99 %.0f us against %.0f (%s), ratio %.2f", row,
                median("holdfast", "cpu"), median(best, "cpu"), best, median("holdfast", "cpu") / median(best, "cpu"),
                median("holdfast", "p99"), median(quick, "p99"), quick, median("holdfast", "p99") / median(quick, "p99")
            if (count["holdfast_lua", "cpu"])
                printf "; the policy costs %.2f us", median("holdfast_lua", "cpu") - median("holdfast", "cpu")
            printf "\n\n"
        }'
}

nginx -v 2>&1 | sed 's/^nginx version: //'
haproxy -v | sed -n '1s/ version / /; 1s/ 20.*//p'
echo "$rounds rounds of $seconds s"
start_backend
for row in "${rows[@]}"; do
    read -r name kind load clients argument <<<"$row"
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    able=()
    : >>"$work/results"
    for system in "${systems[@]}"; do
        ! can "$system" "$kind" || able+=("$system")
    done
    for ((round = 0; round < rounds; round++)); do
        for ((i = 0; i < ${#able[@]}; i++)); do # each is first in its turn
            measure "${able[(round + i) % ${#able[@]}]}" "$name" "$kind" "$load" "$clients" "$argument"
        done
    done
    report "$name"
done
if awk '$3 == "errors" && $4 > 0 { bad = 1 } END { exit !bad }' "$work/results"; then
    echo "there were errors: what they cost is not what was to be measured" >&2
    exit 1
fi
