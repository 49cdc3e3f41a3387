#!/usr/bin/env bash
# What a connection costs on which nothing happens: memory of the gateway, nginx and HAProxy, with the settings of run.sh,
# for each of CONNECTIONS keep-alive connections that have had one request, without TLS and with it.
#   bench/gateway/idle.sh [CONNECTIONS]       10000
# Needs the Debian packages of run.sh. The figure is the growth of the process's resident memory: what the kernel keeps for
# a socket is the same for all and not in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
connections=${1:-10000}
source bench/gateway/common.sh
need nginx nginx haproxy haproxy curl curl openssl openssl taskset util-linux pgrep procps
if [ "$connections" -gt "$connections_maximum" ]; then
    echo "only $connections_maximum connections: the limit on open files is $(ulimit -n), and must be $((2 * connections + 500))"
    connections=$connections_maximum
fi
build_what_is_needed
make_certificate
start_backend

# KiB for all of them.
grown() { # SYSTEM plain|tls
    local before after load answer
    start_system "$1" "$2"
    "$binaries/gateway_load" idle "$front_port" 100 "$2" </dev/null >/dev/null # what it only makes once
    before=$(rss_kib "$1")
    coproc "$binaries/gateway_load" idle "$front_port" "$connections" "$2"
    load=$COPROC_PID
    exec {to}>&"${COPROC[1]}" {from}<&"${COPROC[0]}" {COPROC[1]}>&- {COPROC[0]}<&-
    read -r -t 120 answer <&"$from" && [ "$answer" = ready ] || { echo "$1 did not take $connections connections" >&2; exit 1; }
    after=$(rss_kib "$1")
    exec {to}>&- {from}<&-
    wait "$load" || { echo "$1 ended connections that were idle" >&2; exit 1; }
    stop "$1"
    kib=$((after - before))
}

for kind in plain tls; do
    best='' ours=''
    for system in holdfast nginx haproxy; do
        can "$system" "$kind" || continue
        grown "$system" $kind
        awk -v what="$kind $system" -v kib="$kib" -v count="$connections" 'BEGIN {
            printf "%-16s %8.0f bytes a connection, %6.1f MiB\n", what, kib * 1024 / count, kib / 1024 }'
        case $system in
        holdfast) ours=$kib ;;
        *) [ -n "$best" ] && [ "$best" -le "$kib" ] || best=$kib ;;
        esac
    done
    if [ -n "$ours" ]; then
        awk -v kind=$kind -v ours="$ours" -v best="$best" -v count="$connections" 'BEGIN {
            printf "%s: %.0f bytes against %.0f, ratio %.2f\n", kind, ours * 1024 / count, best * 1024 / count, ours / best }'
    else
        echo "$kind: skipped, the gateway cannot do it"
    fi
done
