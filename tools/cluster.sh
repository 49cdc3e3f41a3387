# A cluster of three nodes on loopback, for ./run and the system tests; to be sourced by bash.
#   $run_directory     nodes' configurations, certificates, data and logs
#   $binaries          folder of holdfastd and holdfast
#   $plugins           folder of the plugins
#   $HOLDFAST_WORKER_THREADS   worker loops of each node, by default 2
run_directory=${HOLDFAST_RUN_DIRECTORY:-$PWD/.run}
port_base=${HOLDFAST_PORT_BASE:-7400}
binaries=${HOLDFAST_BINARIES:-$PWD/build/run/bin}
plugins=${HOLDFAST_PLUGINS:-$PWD/build/run/plugins-1}
node_names="n1 n2 n3"
declare -A node_pids=()

http_port() { echo $((port_base + 10 * (${1#n} - 1))); }
peer_port() { echo $(($(http_port "$1") + 1)); }

# Addresses of all nodes' HTTP interfaces, with commas.
node_addresses() {
    local name addresses=
    for name in $node_names; do addresses="$addresses,127.0.0.1:$(http_port "$name")"; done
    echo "${addresses#,}"
}

build_release() {
    [ -z "${HOLDFAST_BINARIES:-}" ] || return 0
    cmake -S . -B build/run -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHOLDFAST_TESTS=OFF >build-configure.log ||
        { cat build-configure.log >&2; rm -f build-configure.log; return 1; }
    grep -E '^-- [a-z]+\/.*skipped' build-configure.log || :
    rm -f build-configure.log
    cmake --build build/run -- --quiet
}

write_configuration() { # NODE
    local name=$1 member
    mkdir -p "$run_directory/$name/conf.d"
    cp etc/conf.d/*.cfg "$run_directory/$name/conf.d/"
    {
        echo "node: { name = \"$name\"; state_directory = \"data\"; };"
        echo "cluster: {"
        echo "  name = \"demo\"; certificates = \"../certificates\";"
        echo "  members: {"
        for member in $node_names; do
            echo "    $member: { address = \"127.0.0.1:$(peer_port "$member")\"; };"
        done
        echo "  };"
        echo "};"
        echo "plugins: { directory = \"$plugins\";"
        echo "  enabled = [ \"service/store\", \"replication/raft\", \"engine/rocksdb\", \"detector/threshold\" ]; };"
        echo "policies: { directory = \"$PWD/lua/remediation\"; };"
        echo "processes: { run: { main: { services = [ \"store\" ]; peers = true; worker_threads = ${HOLDFAST_WORKER_THREADS:-2}; listen = \"127.0.0.1:$(http_port "$name")\"; }; }; };"
        echo "include = [ \"conf.d/*.cfg\" ];"
    } >"$run_directory/$name/holdfast.cfg"
}

# Certificates and configurations; what is there already stays, with its data.
make_cluster() {
    local name
    mkdir -p "$run_directory"
    if [ ! -e "$run_directory/certificates/ca.crt" ]; then
        "$binaries/holdfast" ca init "$run_directory/certificates" --cluster demo >/dev/null
        for name in $node_names; do
            "$binaries/holdfast" ca issue "$run_directory/certificates" "$name" --name 127.0.0.1 >/dev/null
        done
    fi
    for name in $node_names; do write_configuration "$name"; done
}

start_node() { # NODE
    local name=$1
    # A process group of its own, so that Ctrl-C does not reach it and `kill -- -pid` ends it with its supervisor; no session
    # of its own (setsid), since Linux shares the processors out among sessions first (sched_autogroup) and the niceness of
    # one node's bulk work would count for nothing against the other nodes.
    set -m
    "$binaries/holdfastd" --config "$run_directory/$name/holdfast.cfg" </dev/null >>"$run_directory/$name/log" 2>&1 &
    set +m
    node_pids[$name]=$!
    echo "${node_pids[$name]}" >"$run_directory/$name/pid"
}

# Waits until every node answers; says what is wrong when one does not.
start_cluster() {
    local name deadline=$((SECONDS + 60))
    for name in $node_names; do start_node "$name"; done
    for name in $node_names; do
        until "$binaries/holdfast" --node "127.0.0.1:$(http_port "$name")" --timeout 5 table show profiles >/dev/null 2>&1; do
            if ! kill -0 "${node_pids[$name]}" 2>/dev/null || [ $SECONDS -gt $deadline ]; then
                echo "node $name does not come up; the end of $run_directory/$name/log:" >&2
                tail -n 20 "$run_directory/$name/log" >&2
                return 1
            fi
            sleep 0.2
        done
    done
}

stop_cluster() {
    local name
    for name in "${!node_pids[@]}"; do kill -TERM "${node_pids[$name]}" 2>/dev/null || :; done
    for name in "${!node_pids[@]}"; do wait "${node_pids[$name]}" 2>/dev/null || :; done
    node_pids=()
}

load_samples() {
    local holdfast="$binaries/holdfast --node $(node_addresses)" file
    for file in samples/conversations-*.jsonl.gz; do $holdfast load conversations "$file" --key conversation,turn; done
    for file in samples/tickets-*.jsonl.gz; do $holdfast load tickets "$file" --key ticket; done
    $holdfast load articles samples/articles-en.jsonl.gz --key article
}

print_hints() {
    local first
    first=127.0.0.1:$(http_port n1)
    cat <<HINTS

Three nodes are running: $(node_addresses)   logs and data: $run_directory
Try:
  export PATH=$binaries:\$PATH HOLDFAST_NODE=$(node_addresses)
  holdfast status
  holdfast scan conversations --prefix zh-11290/ --limit 5
  holdfast put accounts u302006 '{"region":"cn","name":"Li"}' && holdfast get accounts u302006
  curl 'http://$first/v1/tables/tickets/changes?follow=1'
  kill -9 -\$(cat $run_directory/n1/pid) && holdfast --node 127.0.0.1:$(http_port n2) get accounts u302006
HINTS
}

wait_for_end() {
    local name
    for name in "${!node_pids[@]}"; do wait "${node_pids[$name]}" || :; done
}
