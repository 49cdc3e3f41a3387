#!/bin/sh
# Shows that a plugin can be built and checked from the installed SDK alone, with CMake and with pkg-config, that the kit
# takes a suite of one's own, and that holdfastd loads the plugin and serves it.
#   test_outside.sh BUILD
set -eu
build=$(realpath "$1")
template=$(realpath "$(dirname "$0")/../../sdk/template/service")
work=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || :; wait 2>/dev/null || :; rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/usr" >"$work/install.log"
# Nothing but the installed files may be needed: the template is copied away from the tree.
cp -r "$template" "$work/hello"
cmake -S "$work/hello" -B "$work/hello/build" -DCMAKE_PREFIX_PATH="$work/usr" -DCMAKE_INSTALL_PREFIX="$work/usr" >"$work/cmake.log"
cmake --build "$work/hello/build" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
ctest --test-dir "$work/hello/build" --output-on-failure >"$work/ctest.log" || { cat "$work/ctest.log"; exit 1; }
grep -q "service_hello_check .*Passed" "$work/ctest.log" || { cat "$work/ctest.log"; exit 1; }
cmake --install "$work/hello/build" >>"$work/install.log"
plugins=$(dirname "$(find "$work/usr" -name holdfast-service-hello.so)")

pkg_config_path=$(dirname "$(find "$work/usr" -name holdfast.pc)")
pc() { PKG_CONFIG_PATH=$pkg_config_path pkg-config --define-variable=prefix="$work/usr" "$@" holdfast; }
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden $(pc --cflags) -o "$work/by-hand.so" \
    "$work/hello/hello.c" $(pc --libs) -Wl,--exclude-libs,ALL
"$(pc --variable=plugin_note)" "$work/by-hand.so"
"$(pc --variable=plugin_check)" "$work/by-hand.so" service/hello >"$work/check.log" || { cat "$work/check.log"; exit 1; }
"$work/usr/bin/holdfast" plugin show "$work/by-hand.so" | grep -q '"hello"'

# A suite of one's own on top of the installed kit.
mkdir "$work/suite"
cat >"$work/suite/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(suite LANGUAGES C)
find_package(Holdfast 0.1 REQUIRED)
add_executable(suite suite.c)
target_link_libraries(suite PRIVATE holdfast::kit)
CMAKE
cat >"$work/suite/suite.c" <<'SUITE'
#include <holdfast/kit/plugin.h>
static void check_routes(const hf_kit_subject *subject)
{
    hf_kit_instance instance = hf_kit_instance_create(subject);
    hf_kit_route route;
    HF_KIT_EQUAL(hf_kit_host_route(instance.host, 0, &route), 1);
    HF_KIT_TEXT(route.pattern, "/hello");
    hf_kit_instance_destroy(&instance);
}
static const hf_kit_check checks[] = {{"my_route", "It has its route.", check_routes, 0}};
static const hf_kit_suite suite = {"service", checks, 1};
int main(int count, char **arguments)
{
    static const hf_kit_suite *const suites[] = {&suite};
    return hf_kit_main(count, arguments, suites, 1);
}
SUITE
cmake -S "$work/suite" -B "$work/suite/build" -DCMAKE_PREFIX_PATH="$work/usr" >>"$work/cmake.log"
cmake --build "$work/suite/build" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$work/suite/build/suite" "$work/by-hand.so" >"$work/check.log" || { cat "$work/check.log"; exit 1; }
grep -q "service/hello my_route *ok" "$work/check.log"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for file in "service/hello" "$work/by-hand.so"; do
    cat >"$work/holdfast.cfg" <<CFG
node: { name = "n1"; state_directory = "data"; };
plugins: { directory = "$plugins"; enabled = [ "$file" ]; };
processes: { run: { main: { services = [ "hello" ]; listen = "127.0.0.1:$port"; }; }; };
hello: { greeting = "good morning from outside"; };
CFG
    "$work/usr/sbin/holdfastd" --config "$work/holdfast.cfg" 2>"$work/log" &
    daemon=$!
    tries=0
    until answer=$(curl -fsS "http://127.0.0.1:$port/hello" 2>/dev/null); do
        tries=$((tries + 1))
        [ $tries -lt 200 ] && kill -0 "$daemon" || { cat "$work/log"; exit 1; }
        sleep 0.05
    done
    [ "$answer" = "good morning from outside" ] || { echo "answered '$answer'"; exit 1; }
    kill "$daemon"
    wait "$daemon" || { cat "$work/log"; exit 1; }
    daemon=
done
echo "built from the installed SDK, checked, loaded and served"
