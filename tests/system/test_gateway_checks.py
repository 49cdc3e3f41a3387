#!/usr/bin/env python3
"""Servers of the gateway that come, go, hang, are somewhere else or start slowly: real processes, backends and a name
server of the test's own on loopback.

  test_gateway_checks.py BINARIES PLUGINS [CASE...]"""
import collections
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Node, free_ports


def wait(condition, what, deadline=20):
    until = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < until, "waited in vain for " + what
        time.sleep(0.01)


# ---- Backends ------------------------------------------------------------------------------------------------------

class Backend:
    """Answers with its own name.  `status`, `body` and `hangs` are those of /health; each can be stopped, and started
    at the same address."""

    def __init__(self, name, port, address="127.0.0.1"):
        self.name, self.port, self.address = name, port, address
        self.status, self.body, self.hangs = 200, "all is ok", False
        self.requests, self.checks, self.good = 0, [], 0 # `good`: checks that had a good answer
        self.server = None
        self.connections = set()
        self.start()

    def start(self):
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                backend.connections.add(self.connection)

            def finish(self):
                backend.connections.discard(self.connection)
                try:
                    super().finish()
                except OSError:
                    pass

            def answer(self, status, text):
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if self.path == "/health":
                    backend.checks.append(time.monotonic())
                    while backend.hangs:
                        time.sleep(0.01)
                    status, body = backend.status, backend.body
                    backend.good += status == 200 and "is ok" in body
                    self.answer(status, body)
                else:
                    backend.requests += 1
                    self.answer(200, backend.name)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                backend.requests += 1
                self.answer(200, "%s %d" % (backend.name, len(body)))

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            request_queue_size = 512

            def handle_error(self, *_):
                pass

        self.server = Server((self.address, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """As a process that ends: the port and all connections are gone."""
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class FakeRedis:
    """Answers every command with what `info` says."""

    def __init__(self, port):
        self.role = "master"
        fake = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                if b"replication" not in self.request.recv(4096):
                    return
                text = "# Replication\r\nrole:%s\r\nconnected_slaves:0\r\n" % fake.role
                answer = ("$%d\r\n%s\r\n" % (len(text), text)).encode()
                self.request.sendall(answer[:9])
                time.sleep(0.01)
                self.request.sendall(answer[9:])

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


# ---- Names ---------------------------------------------------------------------------------------------------------

class NameServer:
    """Answers A questions from `records`, {name: (addresses, ttl)}, with NXDOMAIN for other names, after `delay`
    seconds; not at all while `is_silent`."""

    def __init__(self, port):
        self.records, self.delay, self.is_silent = {}, 0, False
        self.asked = collections.Counter()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                question, client = self.socket.recvfrom(4096)
            except OSError:
                return
            threading.Timer(self.delay, self.reply, (question, client)).start() if self.delay else \
                self.reply(question, client)

    def reply(self, question, client):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = struct.unpack(">H", question[at + 1:at + 3])[0]
        name = ".".join(labels).lower()
        if kind == 1:
            self.asked[name] += 1
        if self.is_silent:
            return
        addresses, ttl = self.records.get(name, (None, 0))
        listed = addresses if kind == 1 and addresses else []
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | (3 if addresses is None else 0), 1, len(listed), 0, 0)
        answer = head + question[12:at + 5]
        for address in listed:
            answer += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, ttl, 4) + socket.inet_aton(address)
        try:
            self.socket.sendto(answer, client)
        except OSError:
            pass

    def stop(self):
        self.socket.close()


# ---- The gateway ---------------------------------------------------------------------------------------------------

class Case:
    def __init__(self, binaries, plugins):
        self.directory = tempfile.mkdtemp(prefix="holdfast-gateway-")
        self.binaries, self.plugins = binaries, plugins
        self.ports = free_ports(8)
        self.port, self.dns_port = self.ports.pop(), self.ports.pop()
        self.node = Node("g1", "127.0.0.1:%d" % self.ports.pop(), self.directory, os.path.join(binaries, "holdfastd"))
        self.ends = []

    def backend(self, name, port=None, address="127.0.0.1"):
        found = Backend(name, port or self.ports.pop(), address)
        self.ends.append(found.stop)
        return found

    def names(self):
        found = NameServer(self.dns_port)
        self.ends.append(found.stop)
        return found

    def configure(self, upstream, servers):
        with open(os.path.join(self.directory, "holdfast.cfg"), "w") as file:
            file.write("""
node: { name = "g1"; state_directory = "data"; };
plugins: { directory = "%s"; enabled = [ "service/gateway", "balancer/round_robin" ]; };
processes: { run: { edge: { services = [ "gateway" ]; worker_threads = 2; listen = "%s"; }; }; };
gateway: {
  resolvers = [ "127.0.0.1:%d" ];
  listeners: { web: { address = "127.0.0.1:%d"; }; };
  routes: { all: { upstream = "app"; }; };
  upstreams: { app: { %s servers: { %s }; }; };
};
""" % (self.plugins, self.node.address, self.dns_port, self.port, upstream,
       " ".join("%s: { %s };" % (name, text) for name, text in servers.items())))

    def start(self, upstream, servers):
        self.configure(upstream, servers)
        self.node.start()

    def reload(self, upstream, servers):
        before = self.logged("reloaded: version")
        self.configure(upstream, servers)
        os.kill(self.node.pid, signal.SIGHUP)
        wait(lambda: self.logged("reloaded: version") > before, "the reload")

    def logged(self, text):
        return self.node.log().count(text)

    def wait_logged(self, text, count=1, deadline=20):
        wait(lambda: self.logged(text) >= count, "%d lines with '%s' in the log" % (count, text), deadline)

    def request(self, method="GET", body=None, path="/", timeout=15):
        """Over a connection of its own, so that both workers get some: (status, text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def served(self, count):
        """By which backends so many requests are answered."""
        found = collections.Counter()
        for _ in range(count):
            status, text = self.request()
            assert status == 200, (status, text)
            found[text] += 1
        return found

    def wait_served(self, names):
        wait(lambda: set(self.served(8)) == set(names), "answers of just %s" % names)

    def signals(self):
        return {(one["name"], one["subject"]) for one in self.node.json("GET", "/v1/admin/signals")[1]["signals"]}

    def wait_signals(self, expected):
        wait(lambda: self.signals() == set(expected), "the signals %s; there are %s" % (expected, self.signals()))

    def end(self):
        """Ends all of it; the gateway must end well, too (a sanitizer says otherwise at the end)."""
        code, log = self.node.stop(), self.node.log() if self.node.process else ""
        for end in reversed(self.ends):
            end()
        shutil.rmtree(self.directory)
        assert code in (0, None) and "Sanitizer" not in log, "the gateway ended with %s:\n%s" % (code, log[-6000:])


class Load:
    """Requests one after the other, in some threads, from `with` to its end: every answer counts."""

    def __init__(self, case, threads=4, pause=0.002, method="GET", body=None):
        self.case, self.pause, self.method, self.body = case, pause, method, body
        self.bad, self.count, self.by = [], 0, collections.Counter()
        self.lock, self.ends = threading.Lock(), False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def run(self):
        while not self.ends:
            try:
                status, text = self.case.request(self.method, self.body)
            except OSError as error:
                status, text = 0, repr(error)
            with self.lock:
                self.count += 1
                self.by[text] += 1
                if status != 200:
                    self.bad.append((status, text))
            time.sleep(self.pause)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends = True
        for thread in self.threads:
            thread.join(30)

    def is_well(self):
        assert self.count > 20, self.count
        assert not self.bad, (len(self.bad), self.count, self.bad[:3])


# ---- Checks --------------------------------------------------------------------------------------------------------

HTTP_CHECK = ('check: { type = "http"; path = "/health"; interval = "100ms"; timeout = "300ms"; rise = 2; fall = 3; '
              'status_most = 299; body = "is ok"; };')


def http_checks(case):
    """A bad status, a wrong text and an answer that does not come take a server out, after `fall` checks; good ones
    bring it back, after `rise`; whoever asks the gateway meanwhile notices nothing."""
    a, b = case.backend("a"), case.backend("b")
    case.start(HTTP_CHECK, {s.name: 'address = "127.0.0.1:%d";' % s.port for s in (a, b)})
    case.wait_served("ab")
    ways = [("status 503", lambda: setattr(a, "status", 503), lambda: setattr(a, "status", 200)),
            ("its answer lacks the text", lambda: setattr(a, "body", "no"), lambda: setattr(a, "body", "this is ok")),
            ("time-out: no answer", lambda: setattr(a, "hangs", True), lambda: setattr(a, "hangs", False))]
    with Load(case) as load:
        for turn, (why, spoil, mend) in enumerate(ways):
            spoiled = time.monotonic()
            spoil()
            case.wait_logged("upstream 'app': server 'a' is down: " + why)
            asked = sum(1 for at in a.checks if at >= spoiled)
            assert asked >= 3, asked
            case.wait_served("b")
            assert case.served(20) == {"b": 20}
            assert case.signals() == {("gateway.server_down", "app/a")}
            good = a.good # those of an answer that does not come count only when they are let go
            mend()
            case.wait_logged("upstream 'app': server 'a' is up", turn + 1)
            assert a.good - good >= 2, a.good - good
            case.wait_served("ab")
            case.wait_signals([])
    load.is_well()


def tcp_checks(case):
    """Where nobody listens a server is found to be down before a request is lost to it."""
    a, b = case.backend("a"), case.backend("b")
    case.start('check: { type = "tcp"; interval = "50ms"; rise = 1; fall = 1; };',
               {s.name: 'address = "127.0.0.1:%d";' % s.port for s in (a, b)})
    case.wait_served("ab")
    a.stop()
    case.wait_logged("server 'a' is down: Connection refused")
    case.wait_served("b")
    a.start()
    case.wait_logged("server 'a' is up")
    case.wait_served("ab")


def max_fails_is_told(case):
    """Without checks, what requests show is told as well."""
    a, b = case.backend("a"), case.backend("b")
    case.start("", {s.name: 'address = "127.0.0.1:%d"; fail_timeout = "500ms";' % s.port for s in (a, b)})
    case.wait_served("ab")
    a.stop()
    with Load(case) as load:
        case.wait_logged("server 'a' is down: requests to it have failed")
        case.wait_signals([("gateway.server_down", "app/a")])
        a.start()
        case.wait_logged("server 'a' is up")
        case.wait_signals([])
    load.is_well()


def breakers_are_told(case):
    """A breaker that opens is a signal until it has closed again, that of the upstream and that of a server."""
    a = case.backend("a")
    breaker = ('{ enabled = true; calls_minimum = 3; open = "300ms"; tries = 1; };')
    case.start("breaker: %s server_breaker: %s" % (breaker, breaker),
               {"a": 'address = "127.0.0.1:%d"; max_fails = 0;' % a.port})
    case.wait_served("a")
    a.stop()
    for _ in range(8):
        assert case.request()[0] in (502, 503)
    case.wait_signals([("gateway.breaker_open", "app"), ("gateway.breaker_open", "app/a")])
    assert case.logged("upstream 'app': the circuit breaker has opened") == 1
    assert case.logged("upstream 'app': server 'a': the circuit breaker has opened") == 1
    a.start()
    wait(lambda: case.request()[0] == 200, "the breakers to close")
    case.wait_signals([])
    assert case.logged("the circuit breaker has closed") == 2


def redis_checks(case):
    """Only the master gets anything, whoever that is."""
    port = case.ports.pop()
    fake = FakeRedis(port)
    case.ends.append(fake.stop)
    other = case.backend("b")
    case.start('check: { type = "redis_master"; interval = "50ms"; rise = 1; fall = 1; };',
               {"a": 'address = "127.0.0.1:%d";' % port, "b": 'address = "127.0.0.1:%d";' % other.port})
    case.wait_logged("server 'b' is down") # it speaks HTTP
    assert case.logged("server 'a' is down") == 0
    fake.role = "slave"
    case.wait_logged("server 'a' is down: its role is slave")
    fake.role = "master"
    case.wait_logged("server 'a' is up")


def real_redis(case):
    """The same, with two of the real ones that change their parts."""
    program = shutil.which("redis-server")
    if not program:
        print("  left out: there is no redis-server")
        return
    ports = [case.ports.pop(), case.ports.pop()]
    for port in ports:
        server = subprocess.Popen([program, "--port", str(port), "--save", "", "--appendonly", "no", "--dir",
                                   case.directory, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
        case.ends.append(lambda s=server: (s.terminate(), s.wait()))

    def command(port, *words):
        with socket.create_connection(("127.0.0.1", port), 5) as link:
            link.sendall(("*%d\r\n" % len(words) + "".join("$%d\r\n%s\r\n" % (len(w), w) for w in words)).encode())
            return link.recv(4096)

    def answers(port):
        try:
            return command(port, "PING") == b"+PONG\r\n"
        except OSError:
            return False
    for port in ports:
        wait(lambda p=port: answers(p), "redis to answer")
    assert command(ports[1], "REPLICAOF", "127.0.0.1", str(ports[0])).startswith(b"+OK")
    case.start('check: { type = "redis_master"; interval = "50ms"; rise = 1; fall = 1; };',
               {name: 'address = "127.0.0.1:%d";' % port for name, port in zip("ab", ports)})
    case.wait_logged("server 'b' is down: its role is slave")
    assert command(ports[1], "REPLICAOF", "NO", "ONE").startswith(b"+OK")
    case.wait_logged("server 'b' is up")
    assert command(ports[0], "REPLICAOF", "127.0.0.1", str(ports[1])).startswith(b"+OK")
    case.wait_logged("server 'a' is down: its role is slave")


def initially_down(case):
    """A server that is new gets nothing before a check has succeeded, and then at once."""
    a = case.backend("a")
    a.hangs = True
    case.start('check: { type = "http"; path = "/health"; interval = "200ms"; timeout = "5s"; rise = 5; '
               'initially_down = true; };', {"a": 'address = "127.0.0.1:%d";' % a.port})
    wait(lambda: a.checks, "the first check")
    assert case.request()[0] == 503 and a.requests == 0
    a.hangs = False
    wait(lambda: case.request()[0] == 200, "the server to be used")
    assert len(a.checks) < 5, "one check is enough"


def hung_ones_keep_none_waiting(case):
    """Checks of hundreds of servers that do not answer, beside one that does: its own go on as they should."""
    hung = socket.socket()
    hung.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    hung.bind(("0.0.0.0", case.ports.pop()))
    hung.listen(4096)
    case.ends.append(hung.close)
    a = case.backend("a")
    servers = {"s%d" % i: 'address = "127.0.%d.%d:%d";' % (1 + i // 200, 1 + i % 200, hung.getsockname()[1])
               for i in range(600)}
    servers["a"] = 'address = "127.0.0.1:%d";' % a.port
    case.start('check: { type = "http"; path = "/health"; interval = "200ms"; timeout = "2s"; rise = 1; fall = 1; };',
               servers)
    case.wait_logged("is down: time-out: no answer", 600, 60)
    began = len(a.checks)
    time.sleep(2) # a rate is measured
    assert 5 <= len(a.checks) - began <= 14, len(a.checks) - began
    gaps = [later - sooner for sooner, later in zip(a.checks, a.checks[1:])]
    assert max(gaps) < 1.5, max(gaps)
    assert case.served(10) == {"a": 10}


def checks_end_with_their_server(case):
    """A server that is taken out of the configuration is asked no more, and nothing is said of it; one that is down
    when checks are turned off is up."""
    a, b = case.backend("a"), case.backend("b")
    servers = {s.name: 'address = "127.0.0.1:%d";' % s.port for s in (a, b)}
    case.start(HTTP_CHECK, servers)
    b.status = 503
    case.wait_signals([("gateway.server_down", "app/b")])
    case.reload(HTTP_CHECK, {"a": servers["a"]})
    case.wait_signals([])
    asked = len(b.checks)
    seen = len(a.checks)
    wait(lambda: len(a.checks) >= seen + 5, "checks of the other")
    assert len(b.checks) <= asked + 1 # one may have been under way
    case.reload(HTTP_CHECK, servers)
    case.wait_signals([("gateway.server_down", "app/b")])
    case.reload("", servers)
    case.wait_signals([])
    case.wait_served("ab")


# ---- Slow start ----------------------------------------------------------------------------------------------------

def slow_start(case):
    """A server that comes back gets little at first, and its part in the end, on every worker."""
    a, b = case.backend("a"), case.backend("b")
    case.start('slow_start = "6s"; check: { type = "http"; path = "/health"; interval = "50ms"; rise = 1; fall = 1; };',
               {s.name: 'address = "127.0.0.1:%d";' % s.port for s in (a, b)})
    case.wait_served("ab")
    a.status = 503
    case.wait_logged("server 'a' is down")
    case.wait_served("b")
    a.status = 200
    case.wait_logged("server 'a' is up")
    began = time.monotonic()
    shares = []
    while time.monotonic() < began + 7.2:
        until = time.monotonic() + 1.2
        found = collections.Counter()
        while time.monotonic() < until:
            found += case.served(10)
        shares.append(found["a"] / sum(found.values()))
    print("  shares: " + " ".join("%.2f" % share for share in shares))
    assert shares[0] < 0.25, shares
    assert shares[0] < shares[2] < shares[4] + 0.05, shares
    assert 0.45 < shares[5] < 0.55, shares


# ---- Names ---------------------------------------------------------------------------------------------------------

NAMES = 'resolve_minimum = "200ms"; resolve_maximum = "1s";'


def a_name_moves(case):
    """The address of a name changes while requests are under way: none fails, and the old address gets none any more."""
    names = case.names()
    port = case.ports.pop()
    old, new = case.backend("old", port, "127.0.0.2"), case.backend("new", port, "127.0.0.3")
    names.records["app.test"] = (["127.0.0.2"], 1)
    case.start(NAMES, {"a": 'address = "app.test:%d";' % port})
    with Load(case) as load:
        wait(lambda: load.by["old"] > 50, "answers of the old one")
        assert load.by["new"] == 0
        names.records["app.test"] = (["127.0.0.3"], 1)
        wait(lambda: load.by["new"] > 50, "answers of the new one")
        case.wait_served(["new"])
        old.stop()
        seen = load.by["new"]
        wait(lambda: load.by["new"] > seen + 50, "more of them")
        case.reload(NAMES + " idle_maximum = 32;", {"a": 'address = "app.test:%d";' % port})
        seen = load.by["new"]
        wait(lambda: load.by["new"] > seen + 50, "more of them after a reload")
    load.is_well()
    assert names.asked["app.test"] <= 60, names.asked # by its time to live, not with each request


def a_name_appears(case):
    """A name that is not there does not keep the gateway from starting; its server is used when it appears."""
    names = case.names()
    a = case.backend("a")
    case.start(NAMES, {"a": 'address = "late.test:%d";' % a.port})
    case.wait_logged("the name 'late.test' cannot be resolved")
    case.wait_logged("server 'a' is down: its name has no address")
    assert case.request()[0] == 503
    names.records["late.test"] = (["127.0.0.1"], 60)
    wait(lambda: case.request()[0] == 200, "the server to be found")
    case.wait_logged("the name 'late.test' is resolved again")
    case.wait_signals([])


def requests_wait_for_the_first_answer(case):
    """Right after the start, or after a reload with another name, a request waits until the name is answered."""
    names = case.names()
    names.delay = 0.4
    a, b = case.backend("a"), case.backend("b")
    names.records["a.test"] = names.records["b.test"] = (["127.0.0.1"], 60)
    case.start("", {"a": 'address = "a.test:%d";' % a.port})
    assert case.request() == (200, "a")
    with Load(case) as load:
        case.reload("", {"b": 'address = "b.test:%d";' % b.port})
        wait(lambda: load.by["b"] > 20, "answers of the other")
    load.is_well()


def last_addresses_stay(case):
    """A name server that fails, or says that there is no such name any more, takes nothing away."""
    names = case.names()
    a = case.backend("a")
    names.records["app.test"] = (["127.0.0.1"], 0)
    case.start(NAMES, {"a": 'address = "app.test:%d";' % a.port})
    wait(lambda: case.request()[0] == 200, "the name")
    with Load(case) as load:
        del names.records["app.test"]
        case.wait_logged("the name 'app.test' cannot be resolved, and keeps its last addresses")
        names.records["app.test"] = (["127.0.0.1"], 0)
        case.wait_logged("the name 'app.test' is resolved again")
        names.is_silent = True
        case.wait_logged("the name 'app.test' cannot be resolved", 2, 40)
        names.is_silent = False
        case.wait_logged("the name 'app.test' is resolved again", 2, 40)
    load.is_well()


def every_address_a_server(case):
    """With resolve_all every address of a name is a server: they share the requests, come and go, and are checked each
    for itself."""
    names = case.names()
    port = case.ports.pop()
    backends = {n: case.backend("b%d" % n, port, "127.0.0.%d" % n) for n in range(2, 7)}
    names.records["many.test"] = (["127.0.0.%d" % n for n in (4, 2, 3)], 0)
    case.start(NAMES + 'check: { type = "http"; path = "/health"; interval = "50ms"; rise = 1; fall = 1; };',
               {"m": 'address = "many.test:%d"; resolve_all = true;' % port})
    with Load(case) as load:
        case.wait_served(["b2", "b3", "b4"])
        found = case.served(60) # among those of the load: whose turn it is then is chance
        assert all(5 <= count <= 35 for count in found.values()), found
        names.records["many.test"] = (["127.0.0.%d" % n for n in (3, 5, 6)], 0)
        case.wait_served(["b3", "b5", "b6"])
        backends[2].stop()
        backends[4].stop()
        backends[5].status = 500
        case.wait_logged("server 'm#127.0.0.5' is down: status 500")
        case.wait_served(["b3", "b6"])
        assert case.signals() == {("gateway.server_down", "app/m#127.0.0.5")}
        names.records["many.test"] = (["127.0.0.3"], 0)
        case.wait_served(["b3"])
        case.wait_signals([])
    load.is_well()


# ---- Holding -------------------------------------------------------------------------------------------------------

def held_while_it_restarts(case):
    """The only server restarts, and nobody notices more than a delay: neither those who ask nor those who send, and
    without checks, whatever fail_timeout is."""
    a = case.backend("a")
    case.start('hold_timeout = "10s";', {"a": 'address = "127.0.0.1:%d"; fail_timeout = "1h";' % a.port})
    case.wait_served("a")
    with Load(case) as asking, Load(case, 2, method="POST", body=b"x" * 1000) as sending:
        for _ in range(2):
            seen = asking.count
            wait(lambda: asking.count > seen + 50, "requests")
            # What is sent to a server that ends just then cannot be repeated: those who send begin anew while it is down.
            sending.ends = True
            for thread in sending.threads:
                thread.join(30)
            a.stop()
            case.wait_logged("server 'a' is down", _ + 1)
            sending.ends = False
            sending.threads = [threading.Thread(target=sending.run, daemon=True) for _ in range(2)]
            for thread in sending.threads:
                thread.start()
            time.sleep(1) # for which it is down
            sent, asked = sending.count, asking.count
            a.start()
            wait(lambda: asking.count > asked + 50 and sending.count > sent + 10, "answers after the restart")
            case.wait_logged("server 'a' is up", _ + 1)
    asking.is_well()
    sending.is_well()


def held_by_checks(case):
    """With checks that say that all servers are down, requests wait for one that says otherwise."""
    a = case.backend("a")
    case.start('hold_timeout = "10s"; ' + HTTP_CHECK, {"a": 'address = "127.0.0.1:%d";' % a.port})
    case.wait_served("a")
    a.status = 503
    case.wait_logged("server 'a' is down")
    case.wait_signals([("gateway.server_down", "app/a")])
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(case.request())) for _ in range(20)]
    for thread in threads:
        thread.start()
    seen, requests = len(a.checks), a.requests
    wait(lambda: len(a.checks) > seen + 5, "checks")
    assert answers == [] and a.requests == requests
    a.status = 200
    for thread in threads:
        thread.join(20)
    assert answers == [(200, "a")] * 20, answers


def held_in_vain(case):
    """It is refused once the time is over, and at once where more wait than may."""
    a = case.backend("a")
    case.start('hold_timeout = "1s"; queue_maximum = 3;', {"a": 'address = "127.0.0.1:%d";' % a.port})
    case.wait_served("a")
    a.stop()
    answers = []

    def ask():
        began = time.monotonic()
        status, _ = case.request()
        answers.append((status, time.monotonic() - began))
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 16 and all(status in (502, 503) for status, _ in answers), answers
    held = sum(1 for _, seconds in answers if 0.9 < seconds < 3)
    refused = sum(1 for _, seconds in answers if seconds < 0.6)
    assert 1 <= held <= 6 and held + refused == 16, answers # up to 3 on each of two workers


CASES = [http_checks, tcp_checks, max_fails_is_told, breakers_are_told, redis_checks, real_redis, initially_down,
         hung_ones_keep_none_waiting, checks_end_with_their_server, slow_start, a_name_moves, a_name_appears,
         requests_wait_for_the_first_answer, last_addresses_stay, every_address_a_server, held_while_it_restarts,
         held_by_checks, held_in_vain]


def main():
    binaries, plugins, *wanted = sys.argv[1:]
    failed = []
    for case_function in CASES:
        if wanted and case_function.__name__ not in wanted:
            continue
        print("%s: %s" % (case_function.__name__, " ".join(case_function.__doc__.split())), flush=True)
        case = Case(binaries, plugins)
        began = time.monotonic()
        try:
            case_function(case)
            print("  well, %.1f s" % (time.monotonic() - began), flush=True)
        except Exception:
            failed.append(case_function.__name__)
            traceback.print_exc()
            if case.node.process:
                print(case.node.log()[-3000:])
        try:
            case.end()
        except AssertionError:
            failed.append(case_function.__name__)
            traceback.print_exc()
    if failed:
        sys.exit("failed: " + " ".join(failed))


if __name__ == "__main__":
    main()
