# What run.sh and idle.sh share: the configurations of the gateway, nginx and HAProxy, and how they are started and
# stopped. To be sourced by bash from the root of the sources.
port_base=${HOLDFAST_BENCH_PORT:-18900}
backend_port=$port_base backend_udp_port=$((port_base + 1)) front_port=$((port_base + 2)) own_port=$((port_base + 3))
work=$(mktemp -d)
# Two descriptors for each connection, and HAProxy counts them beforehand.
ulimit -n 70000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
connections_maximum=$((($(ulimit -n) - 500) / 2))
[ "$connections_maximum" -lt 32000 ] || connections_maximum=32000
declare -A pids=()

stop() { # NAME...
    local name
    for name in "$@"; do
        [ -n "${pids[$name]:-}" ] || continue
        kill "${pids[$name]}" 2>/dev/null || :
        wait "${pids[$name]}" 2>/dev/null || :
        unset "pids[$name]"
    done
}
trap 'stop "${!pids[@]}"; rm -rf "$work"' EXIT

wait_until() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || { echo "waited too long for: $*" >&2; exit 1; }
        sleep 0.05
    done
}

need() { # PROGRAM PACKAGE...
    local missing=
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing="$missing $2"
        shift 2
    done
    [ -z "$missing" ] || { echo "install these Debian packages first:$missing" >&2; exit 1; }
}

build_what_is_needed() {
    if [ -z "${HOLDFAST_BINARIES:-}" ]; then
        cmake -S . -B build/run -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHOLDFAST_TESTS=OFF >"$work/configure.log" ||
            { cat "$work/configure.log" >&2; exit 1; }
        cmake --build build/run -- --quiet
        cmake --build build/run --target gateway_backend gateway_load -- --quiet
    fi
    binaries=${HOLDFAST_BINARIES:-$PWD/build/run/bin}
    plugins=${HOLDFAST_PLUGINS:-$PWD/build/run/plugins-1}
    if [ ! -x "$binaries/gateway_load" ]; then
        echo "install the Debian package libssl-dev first, and build again: there is no gateway_load" >&2
        exit 1
    fi
}

make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=bench.example \
        -addext subjectAltName=DNS:bench.example -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
    cat "$work/certificate.pem" "$work/key.pem" >"$work/both.pem"
}

# ---- Configurations ----------------------------------------------------------------------------------------------------
# write_NAME KIND, KIND being plain, tls, http2, tcp or udp: one listener of that kind on the front port, one server.

write_holdfast() { # KIND [POLICY]
    local listener='' route='upstream = "app";' policies='' routes=''
    local tls="tls: { certificates: { a: { certificate = \"$work/certificate.pem\"; key = \"$work/key.pem\"; }; }; };"
    local server_port=$backend_port spare=''
    if [ -n "${2:-}" ]; then
        mkdir -p "$work/policies"
        cp bench/gateway/route.lua "$work/policies/"
        policies="policies: { directory = \"policies\"; };"
        route='upstream = "app"; policy = true;'
        spare="other: { servers: { a: { address = \"127.0.0.1:$backend_port\"; }; }; };"
    fi
    case $1 in
    tls) listener="$tls" ;;
    http2) listener="$tls http2 = true;" ;;
    tcp) listener='protocol = "tcp"; upstream = "app";' ;;
    udp) listener='protocol = "udp"; upstream = "app";' server_port=$backend_udp_port ;;
    esac
    case $1 in
    plain | tls | http2) routes="routes: { all: { $route }; };" ;;
    esac
    cat >"$work/holdfast.cfg" <<END
node: { name = "bench"; state_directory = "data"; };
plugins: { directory = "$plugins"; enabled = [ "service/gateway", "balancer/round_robin" ]; };
processes: { run: { edge: { services = [ "gateway" ]; worker_threads = 1; listen = "127.0.0.1:$own_port"; }; }; };
$policies
gateway: {
  listeners: { front: { address = "127.0.0.1:$front_port"; $listener }; };
  $routes
  upstreams: { app: { servers: { a: { address = "127.0.0.1:$server_port"; }; }; idle_maximum = 256; }; $spare };
};
END
}

write_nginx() { # KIND
    local listen='' tls="ssl_certificate $work/certificate.pem; ssl_certificate_key $work/key.pem; ssl_protocols TLSv1.3;
        ssl_session_cache off; ssl_session_tickets off;"
    case $1 in
    plain) tls= ;;
    tls) listen=ssl ;;
    http2) listen='ssl http2' ;;
    esac
    {
        [ ! -e /usr/lib/nginx/modules/ngx_stream_module.so ] ||
            echo 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;'
        cat <<END
daemon off;
worker_processes 1;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections $((2 * connections_maximum)); }
END
        case $1 in
        tcp) cat <<END ;;
stream {
    server { listen 127.0.0.1:$front_port reuseport; proxy_pass 127.0.0.1:$backend_port; }
}
END
        udp) cat <<END ;;
stream {
    server { listen 127.0.0.1:$front_port udp reuseport; proxy_pass 127.0.0.1:$backend_udp_port; proxy_timeout 60s; }
}
END
        *) cat <<END ;;
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_body_temp_path $work/nginx-body; proxy_temp_path $work/nginx-proxy; fastcgi_temp_path $work/nginx-1;
    uwsgi_temp_path $work/nginx-2; scgi_temp_path $work/nginx-3;
    upstream app { server 127.0.0.1:$backend_port; keepalive 256; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:$front_port reuseport $listen;
        $tls
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host \$http_host;
            proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
            proxy_buffers 8 32k; proxy_max_temp_file_size 0;
        }
    }
}
END
        esac
    } >"$work/nginx.conf"
}

write_haproxy() { # KIND
    local mode=http options='option forwardfor' bind='' maximum=$connections_maximum
    local tls="ssl crt $work/both.pem ssl-min-ver TLSv1.3 no-tls-tickets"
    case $1 in
    plain) ;;
    tls) bind="$tls alpn http/1.1" ;;
    http2) bind="$tls alpn h2" ;;
    tcp) mode=tcp options='option splice-auto' maximum=4000 ;; # pipes take descriptors, too
    esac
    cat >"$work/haproxy.cfg" <<END
global
    nbthread 1
    maxconn $maximum
    tune.ssl.cachesize 0
defaults
    mode $mode
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    $options
$([ $mode = tcp ] || echo '    http-reuse always')
frontend front
    bind 127.0.0.1:$front_port $bind
    default_backend app
backend app
    server a 127.0.0.1:$backend_port
END
}

# ---- Processes ---------------------------------------------------------------------------------------------------------

start_backend() {
    taskset -c 1 "$binaries/gateway_backend" "$backend_port" "$backend_udp_port" &
    pids[backend]=$!
    wait_until 10 answers "$backend_port" plain
}

answers() { # PORT KIND
    case $2 in
    plain | tcp) curl -sf -m 2 -o /dev/null "http://127.0.0.1:$1/" ;;
    tls) curl -skf -m 2 -o /dev/null --http1.1 "https://127.0.0.1:$1/" ;;
    http2) curl -skf -m 2 -o /dev/null --http2 "https://127.0.0.1:$1/" ;;
    udp) [ "$("$binaries/gateway_load" udp "$1" 1 0.1 2>/dev/null | cut -d' ' -f1)" -gt 0 ] 2>/dev/null ;;
    esac
}

# Whether a system has what a kind needs; says what is missing, once.
declare -A told=()
can() { # SYSTEM KIND
    local why=
    case $1-$2 in
    holdfast_lua-tcp | holdfast_lua-udp | haproxy-udp) return 1 ;;
    holdfast_lua-*) write_holdfast "$2" policy ;;
    holdfast-*) write_holdfast "$2" ;;
    nginx-tcp | nginx-udp)
        [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || why="install the Debian package libnginx-mod-stream" ;;
    esac
    case $1 in
    holdfast*) why=$("$binaries/holdfastd" --config "$work/holdfast.cfg" --check 2>&1) && why= ;;
    esac
    [ -n "$why" ] || return 0
    [ -n "${told[$1-$2]:-}" ] || echo "skipped: $1 for listeners of the kind $2: $(tail -n 1 <<<"$why")" >&2
    told[$1-$2]=1
    return 1
}

start_system() { # SYSTEM KIND
    case $1 in
    holdfast_lua) write_holdfast "$2" policy ;;
    *) "write_$1" "$2" ;;
    esac
    case $1 in
    holdfast*)
        rm -rf "$work/data"
        taskset -c 0 "$binaries/holdfastd" --config "$work/holdfast.cfg" >>"$work/holdfast.log" 2>&1 &
        ;;
    nginx) taskset -c 0 nginx -c "$work/nginx.conf" 2>>"$work/nginx.log" & ;;
    haproxy) taskset -c 0 haproxy -db -f "$work/haproxy.cfg" 2>>"$work/haproxy.log" & ;;
    esac
    pids[$1]=$!
    wait_until 10 answers "$front_port" "$2"
}

# A supervisor's child or a master's worker does the work: all of a system's processes.
processes_of() { # SYSTEM
    echo "${pids[$1]}"
    pgrep -P "${pids[$1]}" || :
}

# Nanoseconds on a processor of all threads.
cpu_ns() { # SYSTEM
    local pid
    for pid in $(processes_of "$1"); do cat "/proc/$pid/task/"*/schedstat; done | awk '{ ns += $1 } END { printf "%.0f\n", ns }'
}

rss_kib() { # SYSTEM
    local pid
    for pid in $(processes_of "$1"); do sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; done |
        awk '{ kib += $1 } END { print kib }'
}
