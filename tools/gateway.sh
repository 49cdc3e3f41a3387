# A gateway with servers behind it, for ./run; to be sourced by bash after cluster.sh, whose variables it uses.
#   g1          a node of its own, whose only process has the gateway
#   a, b, c     servers of one version (samples/gateway/backend.py), and d with the next one
declare -A backend_pids=()

gateway_port() { echo $((port_base + 50)); }
gateway_admin_port() { echo $((port_base + 51)); }
backend_port() { case $1 in a) echo $((port_base + 61)) ;; b) echo $((port_base + 62)) ;; c) echo $((port_base + 63)) ;; d) echo $((port_base + 64)) ;; esac; }

start_backend() { # NAME VERSION
    mkdir -p "$run_directory/backends"
    set -m
    python3 samples/gateway/backend.py --name "$1" --port "$(backend_port "$1")" --version "$2" \
        </dev/null >>"$run_directory/backends/$1.log" 2>&1 &
    set +m
    backend_pids[$1]=$!
    echo "${backend_pids[$1]}" >"$run_directory/backends/$1.pid"
}

write_gateway_configuration() {
    local guard='breaker: { enabled = true; window = "5s"; open = "3s"; };
      degraded: { status = 200; type = "application/json"; body = "{\"degraded\": true, \"answer\": \"An agent will come back to you.\"}\n"; };'
    mkdir -p "$run_directory/g1"
    cat >"$run_directory/g1/holdfast.cfg" <<CONFIGURATION
node: { name = "g1"; state_directory = "data"; };
plugins: { directory = "$plugins";
  enabled = [ "service/gateway", "balancer/round_robin", "balancer/ketama" ]; };
processes: { run: { edge: { services = [ "gateway" ]; worker_threads = 2; listen = "127.0.0.1:$(gateway_admin_port)"; }; }; };
gateway: {
  listeners: { web: { address = "127.0.0.1:$(gateway_port)"; }; };
  routes: { all: { upstream = "app"; retry_on = [ "error", "timeout", "http_503" ]; }; };
  upstreams: {
    app: {
      balancer = "ketama"; key = "field X-User";                     # a user stays with a server
      servers: {
        a: { address = "127.0.0.1:$(backend_port a)"; max_fails = 3; fail_timeout = "5s"; };
        b: { address = "127.0.0.1:$(backend_port b)"; max_fails = 3; fail_timeout = "5s"; };
        c: { address = "127.0.0.1:$(backend_port c)"; max_fails = 3; fail_timeout = "5s"; };
      };
      check: { type = "http"; path = "/healthz"; interval = "1s"; };
      $guard
    };
    next: {                                                          # the next version, for canaries
      servers: { d: { address = "127.0.0.1:$(backend_port d)"; }; };
      $guard
    };
  };
};
CONFIGURATION
}

# Waits until it answers; says what is wrong when it does not.
start_gateway() {
    local name deadline=$((SECONDS + 30))
    for name in a b c; do start_backend "$name" 1; done
    start_backend d 2
    write_gateway_configuration
    start_node g1
    until python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' \
        "http://127.0.0.1:$(gateway_port)/" 2>/dev/null; do
        if ! kill -0 "${node_pids[g1]}" 2>/dev/null || [ $SECONDS -gt $deadline ]; then
            echo "the gateway does not come up; the end of $run_directory/g1/log:" >&2
            tail -n 20 "$run_directory/g1/log" >&2
            return 1
        fi
        sleep 0.2
    done
}

stop_backends() {
    local name
    for name in "${!backend_pids[@]}"; do kill -TERM "${backend_pids[$name]}" 2>/dev/null || :; done
    for name in "${!backend_pids[@]}"; do wait "${backend_pids[$name]}" 2>/dev/null || :; done
    backend_pids=()
}

print_gateway_hints() {
    cat <<HINTS

A gateway is at http://127.0.0.1:$(gateway_port), with three servers behind it. Try, in another terminal:
  curl -H 'X-User: 42' http://127.0.0.1:$(gateway_port)/                      a user meets the same server each time
  samples/gateway/users.py http://127.0.0.1:$(gateway_port)/ &                many users, who say each second what they got
  kill -9 \$(cat $run_directory/backends/b.pid)                                a server dies; nobody's request fails
  export GATEWAY=127.0.0.1:$(gateway_admin_port)
  holdfast --node \$GATEWAY upstream list
  holdfast --node \$GATEWAY canary start app --canary next --key 'field X-User' --steps 1,5,25 --step-time 5s --margin-failed 5 --margin-slow 5
  holdfast --node \$GATEWAY canary status                                      it widens by itself; version 2 comes
  for p in $(backend_port a) $(backend_port c) $(backend_port d); do curl -X POST "http://127.0.0.1:\$p/break?seconds=10"; done
                                                                           the breaker opens, users get the degraded answer
Ctrl-C stops everything.
HINTS
}
