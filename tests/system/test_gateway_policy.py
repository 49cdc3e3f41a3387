#!/usr/bin/env python3
"""What decides about requests at the gateway besides its configuration: policies in Lua, at each of their points, also
those that fail, loop or want what cannot be done; rate limits and limits of requests at a time, over two workers;
releases that widen by themselves, are rolled back, aborted, and go on after a restart.

  test_gateway_policy.py BINARIES PLUGINS [CASE...]"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from gateway import Gateway, Server, field_of, free_ports, fresh_directory, run_cases, say, wait_until

BINARIES, PLUGINS = (os.path.abspath(folder) for folder in sys.argv[1:3])
DIRECTORY = tempfile.mkdtemp(prefix="holdfast-gateway-policy-")
SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lua", "gateway")

LISTENER = 'listeners: { web: { address = "127.0.0.1:PORT(0)"; }; };\n'


def write_policies(under, **bodies):
    """Each as POINT_WITH_UNDERSCORES = "the body of decide(request, other)"; what was there before goes."""
    folder = os.path.join(under.directory, "policies")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for point, body in bodies.items():
        with open(os.path.join(folder, point + ".lua"), "w") as file:
            file.write('return { point = "gateway.%s", decide = function(request, other)\n%s\nend }\n' % (point, body))


def reload_policies(under, **bodies):
    write_policies(under, **bodies)
    status, text, _ = under.get("/v1/admin/policies/reload", method="POST", body="", address=under.admin)
    assert status == 200, text


def gateway(name, section, policies=None, **more):
    under = Gateway(fresh_directory(DIRECTORY, name), BINARIES, PLUGINS, section,
                    more='policies: { directory = "policies"; };', **more)
    write_policies(under, **(policies or {}))
    under.start()
    return under


def metric(under, series):
    text = under.get("/metrics", address=under.admin)[1].decode()
    found = re.search("^" + re.escape(series) + r" (\S+)$", text, re.M)
    assert found, "there is no series %s" % series
    return float(found.group(1))


def decisions(under, point, outcome):
    return metric(under, 'holdfast_policy_decisions_total{point="gateway.%s",outcome="%s"}' % (point, outcome))


def ignored(under, point):
    return metric(under, 'holdfast_gateway_policy_ignored_total{point="gateway.%s"}' % point)


def upstream(name, *addresses, more=""):
    return "%s: { servers: { %s }; %s };" % (
        name, " ".join('s%d: { address = "%s"; max_fails = 0; };' % (i, a) for i, a in enumerate(addresses)), more)


# ---- Policies ------------------------------------------------------------------------------------------------------------


def a_policy_says_where_a_request_goes():
    one, two = Server(say("one")), Server(say("two"))
    section = LISTENER + """routes: {
        plain: { path = "/plain"; upstream = "one"; };
        named: { path = "/named"; body = "from a route\\n"; response_fields = [ "X-Named: yes" ]; };
        moved: { path = "/inner"; replace_prefix = "/outer"; upstream = "two"; };
        own: { path = "/own"; body = "static"; policy = true; };
        all: { upstream = "one"; policy = true; request_fields = [ "X-Line: static", "X-Env: test" ]; };
        };\nupstreams: { %s %s };""" % (upstream("one", one.address), upstream("two", two.address))
    under = gateway("route", section, {"route": """
        assert(request.method == "GET" or request.method == "POST")
        assert(request.version == "1.1" and request.scheme == "http" and request.client == "127.0.0.1")
        assert(request.listener == "web" and request.nothing == nil)
        assert(request.upstream == nil and request.user == nil or #request.user == 16)
        local wish = request.headers["x-wish"]
        if request.route == "own" then return { upstream = "two" } end
        if wish == "two" then return { upstream = "two", request_fields = { ["X-Line"] = request.cookies.line,
            ["X-Env"] = false, ["X-Number"] = 7 }, response_fields = { ["X-Was"] = request.route } } end
        if wish == "route" then return { route = "named" } end
        if wish == "prefix" then return { route = "moved" } end
        if wish == "block" then return { status = 403, body = "no: " .. request.path .. " " .. request.target .. "\\n" } end
        if wish == "teapot" then return { status = 418, body = "{}", type = "application/json" } end
        if wish == "away" then return { redirect = "https://a.example/" .. request.arguments["to"] } end
        """})
    try:
        assert under.get("/plain")[1] == b"one" and decisions(under, "route", "ok") == 0  # it was not asked
        assert under.get("/x")[1] == b"one"
        head = one.seen[-1][0]
        assert field_of(head, "x-line") == "static" and field_of(head, "x-env") == "test"
        _, body, fields = under.get("/x", {"X-Wish": "two", "Cookie": "a=b; line=trade"})
        head = two.seen[-1][0]
        assert body == b"two" and fields["X-Was"] == "all", (body, fields)
        assert field_of(head, "x-line") == "trade" and field_of(head, "x-env") is None and field_of(head, "x-number") == "7", head
        assert sum(line.lower().startswith("x-line:") for line in head) == 1
        _, body, fields = under.get("/x", {"X-Wish": "route"})
        assert body == b"from a route\n" and fields["X-Named"] == "yes"
        assert under.get("/x", {"X-Wish": "prefix"})[1] == b"two" and two.seen[-1][0][0] == "GET /x HTTP/1.1"
        assert under.get("/inner/x")[1] == b"two" and two.seen[-1][0][0] == "GET /outer/x HTTP/1.1"
        assert under.get("/a%20b?c=d", {"X-Wish": "block"})[:2] == (403, b"no: /a b /a%20b?c=d\n")
        status, body, fields = under.get("/x", {"X-Wish": "teapot"})
        assert (status, body, fields["Content-Type"]) == (418, b"{}", "application/json")
        status, body, fields = under.get("/x?to=b%2Fc", {"X-Wish": "away"})
        assert (status, body, fields["Location"]) == (302, b"", "https://a.example/b/c")
        assert under.get("/own")[1] == b"two"
        # A body of the request is no obstacle, wherever it goes.
        assert under.get("/x", {"X-Wish": "two"}, "POST", b"x" * 300000)[1] == b"two"
        assert two.seen[-1][1] == b"x" * 300000
        assert under.get("/x", {"X-Wish": "block"}, "POST", b"x" * 1000)[0] == 403
        assert ignored(under, "route") == 0 and decisions(under, "route", "error") == 0, under.log()
    finally:
        under.stop()


# What decide returns; what the log says of it.
WRONG = {
    '{ upstream = "nowhere" }': "there is no upstream 'nowhere'",
    '{ route = "nowhere" }': "there is no route 'nowhere'",
    '{ status = 99 }': "99",
    '{ status = 200, upstream = "one" }': "more than one",
    '{ redirect = "/x", body = "y" }': "more than one",
    '{ redirect = "/x\\r\\nSet-Cookie: a=b" }': "control character",
    '{ body = "x", type = "text/plain\\n" }': "control character",
    '{ request_fields = { ["Content-Length"] = 5 } }': "Content-Length",
    '{ request_fields = { ["X-A"] = "b\\r\\nX-C: d" } }': "X-A",
    '{ request_fields = { ["X-A: b\\r\\nX-C"] = "d" } }': "no field can have",
    '{ response_fields = { ["Transfer-Encoding"] = "chunked" } }': "Transfer-Encoding",
    '{ request_fields = { ["X-A"] = { "b" } } }': "X-A",
    '{ upstraem = "one" }': "'upstraem' means nothing",
    '{ retry = true }': "'retry' means nothing",
    '{ upstream = 7 }': "'upstream' is an integer",
}


def a_wish_that_cannot_be_followed_changes_nothing():
    one = Server(say("one"))
    under = gateway("wrong", LISTENER + 'routes: { all: { upstream = "one"; policy = true; }; };\nupstreams: { %s };' %
                    upstream("one", one.address))
    try:
        for count, (wish, words) in enumerate(WRONG.items()):
            reload_policies(under, route="return " + wish)
            seen = len(under.log())

            def logged():  # at most one line a second
                status, body, fields = under.get("/x")
                assert (status, body) == (200, b"one") and "Set-Cookie" not in fields, (wish, status, body)
                return words in under.log()[seen:]

            before = ignored(under, "route")
            wait_until(logged, 10, "the log to say what is wrong with " + wish)
            assert ignored(under, "route") > before, wish
        for head, _ in one.seen:
            assert field_of(head, "x-c") is None and field_of(head, "x-a") is None, head
        assert decisions(under, "route", "error") == 0
    finally:
        under.stop()


def a_policy_that_fails_costs_no_request():
    one = Server(say("one"))
    under = gateway("failing", LISTENER + 'routes: { all: { upstream = "one"; policy = true; }; };\nupstreams: { %s };' %
                    upstream("one", one.address), {"route": 'while true do end'}, workers=1)
    try:
        for _ in range(8):
            assert under.get("/x")[:2] == (200, b"one")
        assert decisions(under, "route", "budget") == 8
        assert "instructions" in under.log() and "route.lua:2" in under.log()
        assert under.get("/x")[:2] == (200, b"one")  # it is not asked any more
        assert decisions(under, "route", "off") >= 1 and metric(under, 'holdfast_policy_switched_off{point="gateway.route"}') == 1
        # Mended, it decides at once; a new one that is wrong leaves the old one.
        reload_policies(under, route='return { status = 410 }')
        assert under.get("/x")[0] == 410
        write_policies(under, route='this is no Lua')
        assert under.get("/v1/admin/policies/reload", method="POST", body="", address=under.admin)[0] == 422
        assert under.get("/x")[0] == 410
        for body, outcome in (('error("oops")', "error"), ('return request.nothing.more', "error"), ('return 7', "error"),
                              ('local t = {} while true do t[#t + 1] = string.rep("x", 65536) .. #t end', "budget")):
            before = decisions(under, "route", outcome)
            reload_policies(under, route=body)
            assert under.get("/x")[:2] == (200, b"one"), body
            assert decisions(under, "route", outcome) == before + 1, body
    finally:
        under.stop()


def a_policy_says_by_what_a_balancer_knows_users():
    backs = [Server(say("s%d" % i)) for i in range(4)]
    section = LISTENER + 'routes: { all: { upstream = "app"; }; };\nupstreams: { %s };' % upstream(
        "app", *(b.address for b in backs), more='balancer = "ketama"; key = "policy";')
    under = gateway("key", section, {"balance_key": """
        local user = request.headers["x-user"]
        if user == "wrong" then return { user } end
        if user == "fails" then error("oops") end
        return tonumber(user) or user"""}, enabled=["balancer/ketama"])
    try:
        def server_of(user):
            found = {under.get("/%d" % i, {"X-User": user} if user else {})[1] for i in range(5)}
            assert len(found) == 1, (user, found)
            return found.pop()

        assert len({server_of("u%d" % i) for i in range(40)}) == 4
        assert server_of("7") == server_of("7")
        by_address = server_of(None)
        assert server_of("fails") == by_address and server_of("wrong") == by_address
        assert decisions(under, "balance_key", "error") == 5 and ignored(under, "balance_key") == 5
        reload_policies(under)  # without one
        assert server_of("u1") == server_of("u2") == by_address
    finally:
        under.stop()


def a_policy_looks_at_answers():
    first = Server()

    def answer(request, connection):
        kind = field_of(request[0], "x-kind") or "plain"
        status = {"missing": "404 Not Found", "again": "418 Teapot", "broken": "500 Oops"}.get(kind, "200 OK")
        return say("first", status, "X-Inside: secret\r\n")(request, connection)

    first.answer = answer
    section = LISTENER + 'routes: { off: { path = "/off"; upstream = "app"; }; all: { upstream = "app"; policy = true; }; };\nupstreams: { %s };' % (
        'app: { servers: { a: { address = "%s"; max_fails = 0; }; }; };' % first.address)
    under = gateway("response", section, {"on_response": """
        assert(other.upstream == "app" and other.milliseconds >= 0 and other.nothing == nil)
        if other.status == 404 then return { status = 410, body = "gone", type = "text/x", fields = { ["X-By"] = "policy" } } end
        if other.status == 418 then return { retry = true } end
        if other.status == 500 then return { body = "sorry" } end
        if other.headers["x-inside"] then return { fields = { ["X-Inside"] = false, ["X-Server"] = other.server, ["X-Tries"] = other.tries } } end"""})
    try:
        _, body, fields = under.get("/x")
        assert body == b"first" and "X-Inside" not in fields and (fields["X-Server"], fields["X-Tries"]) == ("a", "1")
        assert under.get("/off")[2]["X-Inside"] == "secret"
        status, body, fields = under.get("/x", {"X-Kind": "missing"})
        assert (status, body, fields["Content-Type"], fields["X-By"]) == (410, b"gone", "text/x", "policy")
        assert under.get("/x", {"X-Kind": "broken"})[:2] == (500, b"sorry")
        status, body, _ = under.get("/x", {"X-Kind": "missing"}, method="HEAD")
        assert (status, body) == (410, b"")
        assert under.get("/x", {"X-Kind": "again"}, "POST", b"x")[:2] == (418, b"first")  # it may have been done
    finally:
        under.stop()


def a_policy_asks_another_server_for_an_answer():
    def answer_of(name):
        def answer(request, connection):
            return say(name, "418 Teapot" if name == "bad" else "200 OK")(request, connection)
        return answer

    bad, good = Server(answer_of("bad")), Server(answer_of("good"))
    under = gateway("retry", LISTENER + 'routes: { all: { upstream = "app"; policy = true; }; };\nupstreams: { %s };' %
                    upstream("app", bad.address, good.address),
                    {"on_response": "if other.status == 418 then return { retry = true } end"})
    try:
        for _ in range(20):
            assert under.get("/x")[:2] == (200, b"good")
        assert len(bad.seen) >= 5
        answers = {under.get("/x", method="POST", body=b"x")[0] for _ in range(10)}
        assert answers == {200, 418}, answers  # it may have been done
    finally:
        under.stop()


def a_policy_answers_when_no_server_can():
    spare = Server(say("spare"))
    dead, also_dead = ("127.0.0.1:%d" % port for port in free_ports(2))
    section = LISTENER + """routes: { off: { path = "/off"; upstream = "app"; }; all: { upstream = "app"; policy = true; }; };
        upstreams: { %s %s %s };""" % (upstream("app", dead, more='degraded: { body = "configured"; status = 503; };'),
                                      upstream("spare", spare.address), upstream("also_dead", also_dead))
    under = gateway("error", section, {"on_error": """
        if request.path == "/spare" then return { upstream = "spare", fields = { ["X-From"] = "spare" } } end
        if request.path == "/words" then
          return { body = other.status .. " " .. other.upstream .. " " .. other.tries .. " " .. tostring(other.can_forward) .. " " .. other.reason }
        end
        if request.path == "/twice" then
          if other.upstream == "app" then return { upstream = "also_dead" } end
          return { status = 200, body = "both" }
        end
        if request.path == "/round" then return { upstream = "app" } end
        if request.path == "/fails" then error("oops") end"""})
    try:
        status, body, fields = under.get("/spare")
        assert (status, body, fields["X-From"]) == (200, b"spare", "spare")
        assert under.get("/words")[:2] == (502, b"502 app 1 true no server could answer")
        assert under.get("/twice")[:2] == (200, b"both")
        for path in ("/off", "/round", "/fails", "/other"):
            assert under.get(path)[:2] == (503, b"configured"), path
        # A server that may have done what was asked is not followed by another.
        broken = Server(lambda request, connection: False)
        under.reload(section.replace(dead, broken.address))
        assert under.get("/spare", method="POST", body=b"x")[0] == 502
        assert under.get("/words", method="POST", body=b"x")[1].startswith(b"502 app 1 false")
        assert under.get("/spare")[:2] == (200, b"spare")
        assert not any(head[0].startswith("POST") for head, _ in spare.seen)
    finally:
        under.stop()


def samples_pass_their_tests():
    under = gateway("samples", LISTENER + 'routes: { r: { body = "x"; }; };')
    try:
        names = sorted(os.listdir(SAMPLES))
        assert len(names) >= 4, names
        for name in names:
            done = subprocess.run([under.holdfast, "--node", under.admin, "policy", "test", os.path.join(SAMPLES, name)],
                                  capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, (name, done.stdout, done.stderr)
    finally:
        under.stop()


# ---- Limits --------------------------------------------------------------------------------------------------------------


class Load:
    """Requests over some connections as fast as they are answered; `make(i)` gives the fields of the i-th one."""

    def __init__(self, under, make=lambda i: "", path="/x", connections=8, depth=8):
        self.under, self.make, self.path, self.depth = under, make, path, depth
        self.count = 0
        self.lock = threading.Lock()
        self.answers = []  # (number, status, body)
        self.failures = []
        self.stopped = False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def numbers(self):
        with self.lock:
            first = self.count
            self.count += self.depth
        return range(first, first + self.depth)

    def run(self):
        host, port = self.under.address().split(":")
        connection = reader = None
        while not self.stopped:
            try:
                if not connection:
                    connection = socket.create_connection((host, int(port)), timeout=20)
                    reader = connection.makefile("rb")
                numbers = self.numbers()
                connection.sendall("".join("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (self.path, self.make(i))
                                           for i in numbers).encode())
                got = []
                for i in numbers:
                    status = int(reader.readline().split()[1])
                    size = 0
                    while True:
                        line = reader.readline()
                        if line == b"\r\n":
                            break
                        if line.lower().startswith(b"content-length:"):
                            size = int(line.split(b":")[1])
                    got.append((i, status, reader.read(size)))
                self.answers.extend(got)
            except (OSError, IndexError, ValueError) as problem:
                self.failures.append(problem)
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.05)

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(30)
        return self.answers


def rates_are_exact_over_workers():
    under = gateway("rates", LISTENER + """routes: {
        one: { path = "/one"; body = "x"; limit: { rate = 200.0; burst = 50; key = "path"; }; };
        users: { path = "/users"; body = "x"; limit: { rate = 0.001; burst = 3; key = "field X-User"; status = 503; }; };
        };""")
    try:
        began = time.monotonic()
        load = Load(under, path="/one", connections=16, depth=2)
        time.sleep(3)
        answers = load.stop()
        seconds = time.monotonic() - began
        passed = sum(status == 200 for _, status, _ in answers)
        most = 50 + 200 * seconds
        assert {status for _, status, _ in answers} == {200, 429} and not load.failures
        assert 0.9 * (50 + 200 * 3) <= passed <= most + 1, (passed, most)
        assert metric(under, 'holdfast_gateway_limited_total{route="one",reason="rate"}') == len(answers) - passed
        # Each user has a limit of its own; those without a name share that of their address.
        for user in ("a", "b", None):
            got = [under.get("/users", {"X-User": user} if user else {}) for _ in range(4)]
            assert [status for status, _, _ in got] == [200, 200, 200, 503], (user, got)
            assert int(got[-1][2]["Retry-After"]) > 900, got[-1][2]
        # A reload forgets nothing.
        under.reload()
        assert under.get("/users", {"X-User": "a"})[0] == 503 and under.get("/users", {"X-User": "c"})[0] == 200
    finally:
        under.stop()


def requests_at_a_time_are_bounded():
    gate = threading.Event()

    def answer(request, connection):
        gate.wait(20)
        return say("done")(request, connection)

    back = Server(answer)
    under = gateway("many", LISTENER + 'routes: { all: { upstream = "app"; requests_maximum = 3; }; };\nupstreams: { %s };' %
                    upstream("app", back.address))
    try:
        for round_ in range(2):
            gate.clear()
            results = []
            threads = [threading.Thread(target=lambda: results.append(under.get("/x")), daemon=True) for _ in range(12)]
            for thread in threads:
                thread.start()
            wait_until(lambda: len(results) == 9, 20, "nine answers")
            assert {status for status, _, _ in results} == {503} and all("Retry-After" in f for _, _, f in results)
            if round_ == 0:
                under.reload()  # they count on
                assert under.get("/x")[0] == 503
            gate.set()
            for thread in threads:
                thread.join(20)
            assert sorted(status for status, _, _ in results) == [200] * 3 + [503] * 9
        # One whose client has gone counts no more.
        gate.clear()
        host, port = under.address().split(":")
        waiting = [socket.create_connection((host, int(port))) for _ in range(3)]
        for connection in waiting:
            connection.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: under.get("/x")[0] == 503 if len(back.seen) >= 9 else False, 20, "three to be under way")
        for connection in waiting:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        gate.set()
        wait_until(lambda: under.get("/x")[0] == 200, 20, "room for another")
    finally:
        under.stop()


def a_route_has_its_own_size_of_bodies():
    back = Server()
    back.answer = lambda request, connection: say(str(len(request[1])))(request, connection)
    section = 'listeners: { web: { address = "127.0.0.1:PORT(0)"; body_maximum = "10KiB"; }; };\n' + """routes: {
        small: { path = "/small"; upstream = "app"; body_maximum = "1KiB"; };
        large: { path = "/large"; upstream = "app"; body_maximum = "1MiB"; };
        all: { upstream = "app"; }; };\nupstreams: { %s };""" % upstream("app", back.address)
    under = gateway("bodies", section)
    try:
        for path, most in (("/small", 1024), ("/x", 10240), ("/large", 1 << 20)):
            for size, status in ((most, 200), (most + 1, 413)):
                assert under.get(path, method="POST", body=b"x" * size)[0] == status, (path, size)
                chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size)
                got = under.raw(b"POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%s" %
                                (path.encode(), chunked))
                assert got.startswith(b"HTTP/1.1 %d" % status), (path, size, got)
    finally:
        under.stop()


# ---- Releases ------------------------------------------------------------------------------------------------------------

USERS = 2000


def canary_section(new='body = "new";', extra=""):
    """The servers of both versions are listeners of the same gateway, which answer at once."""
    return """listeners: { web: { address = "127.0.0.1:PORT(0)"; }; old: { address = "127.0.0.1:PORT(1)"; };
                           new: { address = "127.0.0.1:PORT(2)"; }; };
        routes: { old: { listeners = [ "old" ]; body = "old"; }; new: { listeners = [ "new" ]; %s };
                  all: { listeners = [ "web" ]; upstream = "app"; }; };
        upstreams: { app: { servers: { a: { address = "127.0.0.1:PORT(1)"; }; }; };
                     app_next: { servers: { a: { address = "127.0.0.1:PORT(2)"; max_fails = 0; }; }; }; %s };""" % (new, extra)


def as_user(i):
    return "Cookie: a=b; user=u%d\r\n" % (i * 7919 % USERS)


def holdfast(under, *arguments):
    return subprocess.run([under.holdfast, "--node", under.admin, *arguments], capture_output=True, text=True, timeout=60)


def start(under, *arguments):
    done = holdfast(under, "canary", "start", "app", "--canary", "app_next", "--key", "cookie user", "--margin-failed", "5",
                    "--error", "0.1", "--min-requests", "50", *arguments)
    assert done.returncode == 0, done.stderr


def status_of(under):
    done = holdfast(under, "canary", "status", "app", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def audit(under):
    entries = json.loads(under.get("/v1/admin/audit?limit=100", address=under.admin)[1])["entries"]
    return sorted((e for e in entries if e["kind"].startswith("gateway.canary")), key=lambda e: e["sequence"])


def signals(under):
    found = json.loads(under.get("/v1/admin/signals", address=under.admin)[1])["signals"]
    return [s["name"] for s in found if s["name"].startswith("gateway.canary")]


def a_good_release_widens_by_itself():
    under = gateway("good", canary_section(), ports=3)
    try:
        start(under, "--steps", "1,10,50", "--step-time", "300ms")
        load = Load(under, as_user)
        wait_until(lambda: status_of(under)["state"] == "promoted", 90, "the release to go to all")
        promoted = load.count
        wait_until(lambda: load.count > promoted + 2000)
        answers = load.stop()
        assert not load.failures and {status for _, status, _ in answers} == {200}
        # Whoever has it keeps it, and in the end everybody has it.
        versions = {}
        for i, _, body in sorted(answers):
            versions.setdefault(i * 7919 % USERS, []).append((i, body))
        for user, seen in versions.items():
            assert all(body == b"new" for i, body in seen if i > promoted + 1500), (user, seen[-3:])
            first = next((i for i, body in seen if body == b"new"), None)
            late = [body for i, body in seen if first is not None and i > first + 1000]
            assert b"old" not in late, user
        assert under.get("/x")[1] == b"new"  # without a cookie: by the address
        done = status_of(under)
        assert done["share"] == 100 and "until the configuration says so" in done["reason"], done
        counts = done["in_all"]
        assert counts["canary"]["requests"] >= 150 and counts["canary"]["failed"] == 0
        assert [e["kind"] for e in audit(under)] == ["gateway.canary_started", "gateway.canary_step", "gateway.canary_step",
                                                     "gateway.canary_promoted"], audit(under)
        assert [e["detail"]["share"] for e in audit(under)] == [1, 10, 50, 100]
        assert audit(under)[0]["actor"].startswith("user ") and audit(under)[1]["actor"] == "gateway"
        wait_until(lambda: signals(under) == ["gateway.canary_promoted"], 10, "the signal")
        assert metric(under, 'holdfast_gateway_canary_share{upstream="app",canary="app_next"}') == 100
        text = holdfast(under, "canary", "status").stdout
        assert "promoted" in text and "100 %" in text, text
        # It is the operator's now: the release ends when the configuration says it.
        under.reload(canary_section().replace('upstream = "app";', 'upstream = "app_next";').replace(" app: {", " gone: {"))
        wait_until(lambda: holdfast(under, "canary", "status", "app").returncode == 3, 10, "the release to be over")
        assert under.get("/x")[1] == b"new"
    finally:
        under.stop()


def a_bad_release_is_rolled_back():
    under = gateway("bad", canary_section('status = 500; body = "new";'), ports=3)
    try:
        load = Load(under, as_user)
        wait_until(lambda: load.count > 2000)
        start(under, "--steps", "2,10,50", "--step-time", "10m")
        done = wait_until(lambda: status_of(under)["state"] == "rolled_back", 60, "the release to be rolled back")
        seen = load.count
        wait_until(lambda: load.count > seen + 2000)
        answers = load.stop()
        failed = [(i, body) for i, status, body in answers if status != 200]
        users = {i * 7919 % USERS for i, _ in failed}
        print("    %d of %d requests failed, %d of %d users had it" % (len(failed), len(answers), len(users), USERS))
        assert 1 <= len(users) <= 0.04 * USERS and all(body == b"new" for _, body in failed)
        assert not any(i > seen + 1000 for i, _ in failed)
        done = status_of(under)
        assert "more of its requests failed" in done["reason"] and done["share"] == 0, done
        assert [e["kind"] for e in audit(under)] == ["gateway.canary_started", "gateway.canary_rolled_back"]
        wait_until(lambda: signals(under) == ["gateway.canary_rolled_back"], 10, "the signal")
        assert holdfast(under, "canary", "abort", "app").returncode == 4  # it has ended
        # A better one may be tried.
        start(under)
        assert status_of(under)["state"] == "running" and status_of(under)["in_all"]["canary"]["requests"] < 100000
        wait_until(lambda: signals(under) == ["gateway.canary_started"], 10, "the signal")
    finally:
        under.stop()


def a_slow_release_is_rolled_back():
    back = Server()

    def answer(request, connection):
        time.sleep(0.2)
        return say("new")(request, connection)

    back.answer = answer
    section = canary_section(extra=upstream("slow", back.address))
    under = gateway("slow", section, ports=3)
    try:
        done = holdfast(under, "canary", "start", "app", "--canary", "slow", "--key", "cookie user", "--steps", "20,50",
                        "--slow", "100ms", "--margin-slow", "5", "--error", "0.1")
        assert done.returncode == 0, done.stderr
        load = Load(under, as_user, connections=8, depth=1)
        wait_until(lambda: status_of(under)["state"] == "rolled_back", 60, "the release to be rolled back")
        load.stop()
        done = status_of(under)
        assert "were slow" in done["reason"] and done["in_all"]["canary"]["slow"] > 0, done
        assert done["in_all"]["stable"]["slow"] < done["in_all"]["stable"]["requests"] / 10
    finally:
        under.stop()


def a_release_goes_on_after_a_restart_and_is_aborted():
    under = gateway("restart", canary_section(), ports=3)
    try:
        start(under, "--steps", "30,60", "--step-time", "1h")
        load = Load(under, as_user, connections=4)
        wait_until(lambda: status_of(under)["in_all"]["canary"]["requests"] > 300, 30, "some requests")
        load.stop()

        def has_new():
            return {u for u in range(200) if under.get("/x", {"Cookie": "user=u%d" % u})[1] == b"new"}

        users = has_new()
        assert 30 <= len(users) <= 90, len(users)
        counted = 0

        def all_counted():  # what the workers have is fetched ten times a second
            nonlocal counted
            before, counted = counted, sum(v["requests"] for v in status_of(under)["in_all"].values())
            return counted == before

        wait_until(all_counted, 20, "all to be counted")
        before = status_of(under)
        under.process.send_signal(signal.SIGTERM)
        assert under.process.wait(60) == 0
        under.start()
        after = status_of(under)
        for name in ("state", "step", "share", "salt", "steps", "began_ms", "in_all", "in_step", "key", "canary"):
            assert after[name] == before[name], (name, before, after)
        assert after["in_step_ms"] >= before["in_step_ms"]
        assert has_new() == users
        # A crash loses counts of some seconds, and nothing else.
        edge = int(subprocess.run(["pgrep", "-P", str(under.process.pid)], capture_output=True, text=True).stdout.split()[0])
        os.kill(edge, signal.SIGKILL)
        wait_until(lambda: under.is_live() and holdfast(under, "canary", "status", "app").returncode == 0, 30, "its return")
        assert status_of(under)["salt"] == before["salt"] and has_new() == users
        done = holdfast(under, "canary", "abort", "app")
        assert done.returncode == 0 and "aborted" in done.stdout, (done.stdout, done.stderr)
        wait_until(lambda: has_new() == set(), 10, "all users to have the stable version")
        assert audit(under)[-1]["kind"] == "gateway.canary_aborted"
        assert "aborted by user" in status_of(under)["reason"]
    finally:
        if under.process.poll() is None:  # the log has the crash that was wanted
            under.process.send_signal(signal.SIGTERM)
            under.process.wait(60)


def a_release_of_an_upstream_that_goes_is_aborted():
    under = gateway("gone", canary_section(), ports=3)
    try:
        start(under, "--steps", "50")
        under.reload(canary_section().replace("app_next: {", "other: {"))
        wait_until(lambda: status_of(under)["state"] == "aborted", 10, "the release to be aborted")
        assert "'app_next' has gone" in status_of(under)["reason"]
        assert {under.get("/x", {"Cookie": "user=u%d" % u})[1] for u in range(50)} == {b"old"}
    finally:
        under.stop()


def wrong_releases_are_refused():
    under = gateway("refused", canary_section(), ports=3)
    try:
        for arguments, code, words in (
                (("nowhere", "--canary", "app_next"), 3, "no upstream 'nowhere'"), (("app", "--canary", "nowhere"), 3, "no upstream 'nowhere'"),
                (("app", "--canary", "app"), 1, "its own canary"), (("app", "--canary", "app_next", "--key", "body user"), 1, "body user"),
                (("app", "--canary", "app_next", "--key", "user"), 1, "no key"), (("app", "--canary", "app_next", "--steps", "5,1"), 1, "steps"),
                (("app", "--canary", "app_next", "--steps", "5,"), 2, "--steps"), (("app", "--canary", "app_next", "--step-time", "7"), 2, "duration"),
                (("app",), 2, "--canary")):
            done = holdfast(under, "canary", "start", *arguments)
            assert done.returncode == code and words in done.stderr, (arguments, done.returncode, done.stderr)
        assert holdfast(under, "canary", "status").stdout == "no releases\n"
        assert holdfast(under, "canary", "abort", "app").returncode == 3
        start(under)
        for arguments in (("app", "--canary", "app_next"), ("app_next", "--canary", "app")):
            done = holdfast(under, "canary", "start", *arguments)
            assert done.returncode == 4 and "takes part in the release of 'app'" in done.stderr, done.stderr
        for body in ("", "[]", '{"canary":"app_next","more":1}', '{"canary":"app_next","error":2}'):
            assert under.get("/v1/gateway/canaries/app_next", method="POST", body=body, address=under.admin)[0] == 400, body
    finally:
        under.stop()
    # A file that cannot be read is told, and not thrown away.
    path = os.path.join(under.directory, "data")
    found = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names if name == "canaries.json"]
    assert len(found) == 1, found
    with open(found[0], "w") as file:
        file.write('{"format":1,"canaries":[{}]}')
    with open(under.log_path, "a") as log:
        under.process = subprocess.Popen([under.holdfastd, "--config", under.config], stderr=log, stdout=log)
    wait_until(lambda: "canaries.json' cannot be used" in under.log(), 30, "the log to say so")
    under.process.send_signal(signal.SIGTERM)
    under.process.wait(60)


CASES = [a_policy_says_where_a_request_goes, a_wish_that_cannot_be_followed_changes_nothing,
         a_policy_that_fails_costs_no_request, a_policy_says_by_what_a_balancer_knows_users, a_policy_looks_at_answers,
         a_policy_asks_another_server_for_an_answer, a_policy_answers_when_no_server_can, samples_pass_their_tests,
         rates_are_exact_over_workers, requests_at_a_time_are_bounded, a_route_has_its_own_size_of_bodies,
         a_good_release_widens_by_itself, a_bad_release_is_rolled_back, a_slow_release_is_rolled_back,
         a_release_goes_on_after_a_restart_and_is_aborted, a_release_of_an_upstream_that_goes_is_aborted,
         wrong_releases_are_refused]

if __name__ == "__main__":
    try:
        run_cases(CASES, sys.argv[3:])
    finally:
        shutil.rmtree(DIRECTORY, ignore_errors=True)
