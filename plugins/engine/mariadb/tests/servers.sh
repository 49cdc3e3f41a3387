#!/usr/bin/env bash
# MariaDB servers for tests, as plain processes in a temporary directory: one server, or a Galera cluster.
#   servers.sh run 1|3 COMMAND [ARGUMENT...]   starts them, runs the command, stops them; 77: not installed
#   servers.sh kill|freeze|start|wait DIR N    of one server: kill -9; stop it where it is; start; wait until it serves
#   servers.sh stop DIR                        ends them all and removes the directory
# The command finds HOLDFAST_MARIADB_DIR, and HOLDFAST_MARIADB_PORTS with one port a server.  @servers@ and @password@
# in its arguments become the list of addresses and a file with the password of the account 'holdfast'.
set -eu
provider=/usr/lib/galera/libgalera_smm.so
password='secret-Word.7'
user=$(id -un)
[ "$user" != root ] || user=mysql # a server does not run as root

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Each server takes four ports: SQL, group communication, incremental and full state transfer.
choose_ports() { # COUNT
    local base i
    for _ in $(seq 50); do
        base=$((20000 + RANDOM % 12000)) i=0
        while [ $i -lt $((4 * $1)) ] && is_free $((base + i)); do i=$((i + 1)); done
        [ $i -lt $((4 * $1)) ] || { echo "$base"; return; }
    done
    echo "no free ports" >&2
    return 1
}

install_one() { # DIR N
    mkdir -p "$1/$2"
    [ "$user" = "$(id -un)" ] || chown "$user" "$1/$2"
    mariadb-install-db --no-defaults --datadir="$1/$2/data" --auth-root-authentication-method=normal \
        --user="$user" --skip-test-db >"$1/$2/install.log" 2>&1
}

start_one() { # DIR N [OPTION...]
    local dir=$1 n=$2 port group count i list='' options=()
    shift 2
    count=$(cat "$dir/count")
    port=$(($(cat "$dir/base") + 4 * (n - 1)))
    if [ "$count" -gt 1 ]; then
        for i in $(seq "$count"); do list="$list,127.0.0.1:$(($(cat "$dir/base") + 4 * i - 3))"; done
        group=$((port + 1))
        options=(--wsrep-on=ON --wsrep-provider=$provider --wsrep-cluster-name="holdfast-$(cat "$dir/base")"
            --wsrep-cluster-address="gcomm://${list#,}" --wsrep-node-address="127.0.0.1:$group"
            --wsrep-provider-options="gmcast.listen_addr=tcp://127.0.0.1:$group;ist.recv_addr=127.0.0.1:$((port + 2));gcache.size=64M"
            --wsrep-sst-method=rsync --wsrep-sst-receive-address="127.0.0.1:$((port + 3))")
    fi
    mariadbd --no-defaults --user="$user" --datadir="$dir/$n/data" --socket="$dir/$n/sock" --pid-file="$dir/$n/pid" \
        --port="$port" --bind-address=127.0.0.1 --skip-name-resolve --innodb-buffer-pool-size=64M \
        --innodb-log-file-size=96M --binlog-format=ROW --default-storage-engine=InnoDB --innodb-autoinc-lock-mode=2 \
        --max-allowed-packet=16M --performance-schema=OFF --ssl-cert="$dir/server.pem" --ssl-key="$dir/server.key" \
        "${options[@]}" "$@" >>"$dir/$n/log" 2>&1 </dev/null &
    echo $! >"$dir/$n/process"
    disown
}

wait_one() { # DIR N
    for _ in $(seq 480); do
        if mariadb --no-defaults -uroot -S "$1/$2/sock" -Nse 'select count(*) from mysql.db' >/dev/null 2>&1; then return 0; fi
        kill -0 "$(cat "$1/$2/process")" 2>/dev/null || break
        sleep 0.25
    done
    echo "server $2 does not serve:" >&2
    tail -20 "$1/$2/log" >&2
    return 1
}

# For a server and, as its own authority, for who verifies it.
make_certificate() { # DIR NAME
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
        -keyout "$1/$2.key" -out "$1/$2.pem" 2>/dev/null
    chmod 644 "$1/$2.key" # the server may run as another user
}

start_all() { # DIR
    local n count
    count=$(cat "$1/count")
    for n in $(seq "$count"); do
        install_one "$1" "$n"
        if [ "$n" = 1 ] && [ "$count" -gt 1 ]; then start_one "$1" 1 --wsrep-new-cluster; else start_one "$1" "$n"; fi
        wait_one "$1" "$n"
    done
    mariadb --no-defaults -uroot -S "$1/1/sock" -e "CREATE USER holdfast@'%' IDENTIFIED BY '$password';
        GRANT ALL ON \`holdfast%\`.* TO holdfast@'%'; CREATE DATABASE holdfast;"
}

stop_all() { # DIR
    local n process
    for n in $(seq "$(cat "$1/count")"); do
        process=$(cat "$1/$n/process" 2>/dev/null) || continue
        kill -KILL "$process" 2>/dev/null || :
        for _ in $(seq 40); do kill -0 "$process" 2>/dev/null || break; sleep 0.1; done
    done
    rm -rf "$1"
}

run() { # COUNT COMMAND [ARGUMENT...]
    local count=$1 dir ports='' list='' n base status=0 arguments=()
    shift
    PATH=$PATH:/usr/sbin
    command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null && command -v openssl >/dev/null || { echo "skipped: mariadb-server or openssl is not installed"; exit 77; }
    [ "$count" = 1 ] || { [ -e $provider ] && command -v rsync >/dev/null; } || { echo "skipped: galera-4 or rsync is not installed"; exit 77; }
    dir=$(mktemp -d /tmp/holdfast-mariadb-XXXXXX)
    chmod 755 "$dir"
    base=$(choose_ports "$count")
    echo "$base" >"$dir/base"
    echo "$count" >"$dir/count"
    echo "$password" >"$dir/password"
    chmod 600 "$dir/password"
    make_certificate "$dir" server
    make_certificate "$dir" stranger
    # shellcheck disable=SC2064
    trap "stop_all '$dir'" EXIT
    # Also when this script is killed, by a test's time limit for one.
    setsid sh -c "tail --pid=$$ -s 0.5 -f /dev/null; exec '$0' stop '$dir'" >/dev/null 2>&1 </dev/null &
    disown
    trap 'exit 130' INT TERM
    start_all "$dir"
    for n in $(seq "$count"); do ports="$ports $((base + 4 * (n - 1)))" list="$list,127.0.0.1:$((base + 4 * (n - 1)))"; done
    for n in "$@"; do n=${n//@servers@/${list#,}} arguments+=("${n//@password@/$dir/password}"); done
    HOLDFAST_MARIADB_DIR=$dir HOLDFAST_MARIADB_PORTS=${ports# } HOLDFAST_MARIADB_SCRIPT=$0 "${arguments[@]}" || status=$?
    [ "$status" = 0 ] || for n in $(seq "$count"); do echo "== log of server $n" >&2; grep -E 'ERROR|Shutdown|ready for' "$dir/$n/log" | tail -5 >&2 || :; done
    exit "$status"
}

PATH=$PATH:/usr/sbin
case ${1:-} in
run) shift; run "$@" ;;
kill) kill -KILL "$(cat "$2/$3/process")"; while kill -0 "$(cat "$2/$3/process")" 2>/dev/null; do sleep 0.02; done ;;
stop) [ ! -d "$2" ] || stop_all "$2" ;;
freeze) kill -STOP "$(cat "$2/$3/process")" ;;
start) start_one "$2" "$3" ;;
wait) wait_one "$2" "$3" ;;
*) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;;
esac
