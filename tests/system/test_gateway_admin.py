#!/usr/bin/env python3
"""Operating the gateway: access logs, metrics, trace contexts, and servers that are changed while requests go on.

  test_gateway_admin.py BINARIES PLUGINS [CASE...]"""
import http.client
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from gateway import Gateway, Server, field_of, fresh_directory, run_cases, say, wait_until

BINARIES, PLUGINS = (os.path.abspath(folder) for folder in sys.argv[1:3])
PARENT = tempfile.mkdtemp(prefix="holdfast-gateway-admin-")
PARENT_ID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


class Running:
    """A gateway that has started, with servers a, b, ... of the upstream app; both end with the block."""

    def __init__(self, name, more="", servers=None, upstream="", listeners="web: { address = \"127.0.0.1:PORT(0)\"; };",
                 routes="all: { upstream = \"app\"; };", workers=2, ports=1, upstreams=""):
        self.upstreams = upstreams
        self.servers = servers if servers is not None else [Server(say("a")), Server(say("b"))]
        self.more, self.upstream, self.listeners, self.routes = more, upstream, listeners, routes
        self.directory = fresh_directory(PARENT, name)
        self.gateway = Gateway(self.directory, BINARIES, PLUGINS, self.section(), ports=ports, workers=workers)

    def section(self):
        listed = " ".join('%s: { address = "%s"; };' % (chr(ord("a") + i), server.address)
                          for i, server in enumerate(self.servers))
        return ("%s\nlisteners: { %s };\nroutes: { %s };\nupstreams: { app: { servers: { %s }; %s }; %s };" %
                (self.more, self.listeners, self.routes, listed, self.upstream, self.upstreams))

    def __enter__(self):
        self.gateway.start()
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            print(self.gateway.log()[-4000:])
        self.gateway.stop()
        code = self.gateway.process.returncode
        for server in self.servers:
            if server.listener.fileno() >= 0: # not stopped by the case
                server.stop()
        assert kind or code == 0, "holdfastd ended with %s:\n%s" % (code, self.gateway.log()[-3000:])

    def path(self, name):
        return os.path.join(self.directory, name)

    def admin(self, path="", method="GET", body=None):
        status, text, _ = self.gateway.get("/v1/gateway" + path, method=method, address=self.gateway.admin,
                                           body=None if body is None else json.dumps(body))
        return status, json.loads(text) if text else None

    def server(self, name):
        return next((s for s in self.admin("/upstreams/app")[1]["servers"] if s["name"] == name), None)

    def metrics(self):
        text = self.gateway.get("/metrics", address=self.gateway.admin)[1].decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in text.splitlines() if line and not line.startswith("#")}

    def metric(self, name):
        return self.metrics().get("holdfast_gateway_" + name)

    def wait_metric(self, name, value):
        try:
            wait_until(lambda: self.metric(name) == value, 5)
        except AssertionError:
            raise AssertionError("%s is %s, expected %s" % (name, self.metric(name), value))

    def cli(self, *arguments):
        done = subprocess.run([self.gateway.holdfast, "--node", self.gateway.admin, *arguments], capture_output=True,
                              text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def lines(self, name):
        try:
            with open(self.path(name), "rb") as file:
                return file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return []

    def wait_lines(self, name, count):
        wait_until(lambda: len(self.lines(name)) >= count, 10, "%d lines in %s" % (count, name))
        return self.lines(name)


# ---- Access logs ----------------------------------------------------------------------------------------------------

LOG = 'access_log: { path = "access.log"; flush = "100ms"; };'


def a_line_has_everything():
    with Running("everything", LOG, routes='old: { path = "/old"; redirect = "https://$host/new"; };'
                 ' all: { upstream = "app"; };', workers=1) as running:
        before = time.time()
        running.gateway.get("/p?q=1", {"User-Agent": "tester/1", "Referer": "http://r/", "Host": "h.example",
                                       "traceparent": PARENT_ID + "01"}, "POST", "hello")
        running.gateway.get("/old")
        running.gateway.get("/../..")
        first, second, third = (json.loads(line) for line in running.wait_lines("access.log", 3))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["time"]), first
        assert abs(time.mktime(time.strptime(first["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - before) < 30
        expected = {"client": "127.0.0.1", "method": "POST", "target": "/p?q=1", "protocol": "HTTP/1.1", "status": 200,
                    "listener": "web", "route": "all", "upstream": "app", "tries": 1, "host": "h.example",
                    "user_agent": "tester/1", "referer": "http://r/", "end": "answered",
                    "trace": "0af7651916cd43dd8448eb211c80319c", "sampled": True}
        assert {name: first[name] for name in expected} == expected, first
        assert first["server"] in ("a", "b") and "why" not in first, first
        head = running.servers[0].seen or running.servers[1].seen
        sent = field_of(head[0][0], "traceparent")
        assert sent == "00-%s-%s-01" % (first["trace"], first["span"]), (sent, first)
        assert 0 < first["upstream_us"] <= first["duration_us"] < 20e6, first
        assert first["bytes_received"] > len("hello") and first["bytes_sent"] > 1, first
        assert second["route"] == "old" and second["status"] == 308 and second["upstream"] == "" and \
            second["server"] == "" and second["tries"] == 0, second
        assert third["status"] == 400 and third["end"] == "refused" and "above the root" in third["why"], third


def hostile_bytes_stay_in_their_line():
    listeners = ('web: { address = "127.0.0.1:PORT(0)"; }; other: { address = "127.0.0.1:PORT(1)"; '
                 'access_log: { path = "combined.log"; format = "combined"; }; };')
    odd = bytes(byte for byte in range(0x20, 0x100) if byte != 0x7f)
    with Running("hostile", LOG, listeners=listeners, ports=2, workers=1) as running:
        for n in (0, 1):
            running.gateway.raw(b'GET /"\\\xff\xc3\xa9%0a HTTP/1.1\r\nHost: h\r\nUser-Agent: ' + odd + b'\r\n'
                                b'Referer: \t"\\x\r\nConnection: close\r\n\r\n', n)
            running.gateway.raw(b'\x16\x03\x01\x02\x00"}\n{"status":200}\r\n\r\n', n)
            running.gateway.raw(b'GET /\x1b[31m HTTP/1.1\r\nHost: h\r\n\r\n', n)
        lines = running.wait_lines("access.log", 3)
        assert len(lines) == 3, lines
        documents = [json.loads(line.decode()) for line in lines]
        assert "time" in documents[0]
        # A target with such bytes may be refused; what was asked stands in the line all the same.
        text = documents[0]["target"] or documents[0]["line"]
        assert text.startswith('/"\\\ufffd') or text.startswith('GET /"\\\ufffd'), documents[0]
        assert documents[1]["line"] == '\x16\x03\x01\x02\x00"}' and documents[1]["status"] == 400, documents[1]
        assert documents[2]["status"] == 400 and "\x1b" in documents[2]["line"], documents[2]
        lines = running.wait_lines("combined.log", 3)
        assert len(lines) == 3, lines
        form = (rb'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
                rb'"([^"]*)" \d{3} \d+ "([^"]*)" "([^"]*)"')
        for line in lines:
            assert re.fullmatch(form, line) and all(0x20 <= byte < 0x7f for byte in line), line
        assert rb"\x16\x03\x01\x02\x00\x22}" in lines[1], lines[1]


def combined_is_what_tools_read():
    with Running("combined", 'access_log: { path = "access.log"; format = "combined"; flush = "100ms"; };') as running:
        running.gateway.get("/p", {"User-Agent": "tester/1"})
        line = running.wait_lines("access.log", 1)[0].decode()
        assert re.fullmatch(r'127\.0\.0\.1 - - \[[^\]]+\] "GET /p HTTP/1\.1" 200 1 "-" "tester/1"', line), line


def listeners_have_logs_of_their_own():
    listeners = ('web: { address = "127.0.0.1:PORT(0)"; }; own: { address = "127.0.0.1:PORT(1)"; access_log: { '
                 'path = "own.log"; }; }; none: { address = "127.0.0.1:PORT(2)"; access_log: { enabled = false; }; };')
    with Running("own", LOG, listeners=listeners, ports=3) as running:
        for n in range(3):
            running.gateway.get("/%d" % n, address=running.gateway.address(n))
        assert [json.loads(line)["target"] for line in running.wait_lines("own.log", 1)] == ["/1"]
        assert [json.loads(line)["target"] for line in running.wait_lines("access.log", 1)] == ["/0"]
        running.wait_metric('requests_total{listener="none",status="2xx"}', 1)


def a_file_that_was_moved_away_is_followed():
    # The buffers have room for all that comes while a busy machine's disk is slow: nothing is dropped.
    with Running("rotation", LOG.replace("flush", 'buffer = "8MiB"; flush')) as running:
        stop, failed, sent = threading.Event(), [], [0]

        def load():
            connection = http.client.HTTPConnection(running.gateway.address(), timeout=20)
            while not stop.is_set():
                connection.request("GET", "/%d" % sent[0])
                if connection.getresponse().read() not in (b"a", b"b"):
                    failed.append(sent[0])
                sent[0] += 1

        thread = threading.Thread(target=load)
        thread.start()
        try:
            running.wait_lines("access.log", 1)
            for round in ("1", "2"):
                os.rename(running.path("access.log"), running.path("access.log." + round))
                running.wait_lines("access.log", 1)
            os.unlink(running.path("access.log"))
            running.wait_lines("access.log", 1)
            os.rename(running.path("access.log"), running.path("access.log.3"))
            running.gateway.reload()
            wait_until(lambda: os.path.exists(running.path("access.log")), 5, "the file after a reload")
        finally:
            stop.set()
            thread.join()
        assert not failed, failed
        running.gateway.stop() # all that is still in buffers is written
        seen = [json.loads(line)["target"] for name in ("access.log.1", "access.log.2", "access.log.3", "access.log")
                for line in running.lines(name)]
        assert len(seen) == len(set(seen)), "lines are there twice"
        assert running.lines("access.log.1") and running.lines("access.log.2"), os.listdir(running.directory)
        # Those that went into the file that was deleted are gone with it; none of another is.
        numbers = sorted(int(target[1:]) for target in seen)
        gaps = sum(1 for a, b in zip(numbers, numbers[1:]) if b != a + 1)
        assert numbers[0] == 0 and numbers[-1] == sent[0] - 1 and gaps <= 1, (numbers[:3], numbers[-3:], sent, gaps)


def a_full_disk_drops_lines_and_stops_nobody():
    with Running("full", 'access_log: { path = "/dev/full"; flush = "100ms"; };') as running:
        for _ in range(20):
            assert running.gateway.get()[0] == 200
        path = '{path="/dev/full"}'
        running.wait_metric("access_log_dropped_total" + path, 20)
        running.wait_metric("access_log_lines_total" + path, 20)
        assert running.metric("access_log_written_bytes_total" + path) == 0
        status, health = running.gateway.get("/healthz", address=running.gateway.admin)[:2]
        assert status == 200 and b"No space left" in health, health
        log = running.admin()[1]["access_logs"][0]
        assert log["dropped"] == 20 and log["error"] == "No space left on device", log
        assert running.gateway.log().count("cannot be written") == 1, running.gateway.log()


def a_reader_that_does_not_read_drops_lines_and_stops_nobody():
    """A pipe whose reader stands still is like a disk that does: its room is 64 KiB."""
    directory = fresh_directory(PARENT, "pipe-end")
    pipe = os.path.join(directory, "pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Running("pipe", 'access_log: { path = "%s"; flush = "100ms"; };' % pipe, workers=1) as running:
        connection = http.client.HTTPConnection(running.gateway.address(), timeout=20)
        long = "x" * 1500
        for i in range(400): # 600 KiB and more
            connection.request("GET", "/", headers={"User-Agent": long})
            assert connection.getresponse().read() in (b"a", b"b")
        dropped = 'access_log_dropped_total{path="%s"}' % pipe
        wait_until(lambda: (running.metric(dropped) or 0) > 100, 10, "lines to be dropped")
        text, count = b"", 0
        end = time.monotonic() + 10
        while time.monotonic() < end: # it reads again
            try:
                text += os.read(reader, 65536)
            except BlockingIOError:
                connection.request("GET", "/again")
                connection.getresponse().read()
                if b"/again" in text:
                    break
        whole = []
        for line in text.split(b"\n")[:-1]:
            try:
                whole.append(json.loads(line))
            except ValueError:
                count += 1 # one that was torn
        assert len(whole) > 20 and any(d["target"] == "/again" for d in whole), (len(whole), text[-200:])
        assert count <= 2, (count, len(whole))
    os.close(reader)


def what_cannot_be_a_log_is_refused():
    with Running("refused", LOG) as running:
        section = running.section()
        running.gateway.configure(section.replace('path = "access.log"', 'path = "no/such/folder/access.log"'))
        status, text, _ = running.gateway.get("/v1/admin/config/reload", method="POST", body="",
                                              address=running.gateway.admin)
        assert status == 422 and b"no/such/folder" in text, text
        assert running.gateway.get()[0] == 200
        running.wait_lines("access.log", 1)
        listeners = 'web: { address = "127.0.0.1:1"; access_log: { format = "combined"; }; };'
        running.gateway.configure(section.replace(running.listeners, listeners))
        code, text = running.gateway.check()
        assert code != 0 and "holdfast.cfg:" in text and "a file of its own" in text, text
        listeners = 'web: { address = "127.0.0.1:1"; access_log: { path = "access.log"; format = "combined"; }; };'
        running.gateway.configure(section.replace(running.listeners, listeners))
        code, text = running.gateway.check()
        assert code != 0 and "the same path and another format" in text, text
        running.gateway.configure(section.replace('flush = "100ms"', 'flush = "1ms"'))
        assert running.gateway.check()[0] != 0
        running.gateway.configure(section)


def a_log_that_is_taken_out_is_written_to_its_end():
    with Running("taken-out", 'access_log: { path = "access.log"; flush = "1h"; };') as running:
        for i in range(5):
            running.gateway.get("/%d" % i)
        assert running.lines("access.log") == []
        # The rest of an hour is not waited for: it is written when nobody has it any more.
        running.more = LOG.replace("access.log", "other.log")
        running.gateway.reload(running.section())
        running.gateway.get("/other")
        running.wait_lines("other.log", 1)
        running.wait_metric('access_log_lines_total{path="%s"}' % running.path("other.log"), 1)
        wait_until(lambda: running.metric('access_log_lines_total{path="%s"}' % running.path("access.log")) is None, 5,
                   "the series of the log that went")
        running.wait_lines("access.log", 5)


# ---- Traces ---------------------------------------------------------------------------------------------------------

def traces_go_on_and_begin():
    with Running("traces", LOG, servers=[Server()]) as running:
        server = running.servers[0]

        def sent(headers):
            running.gateway.get("/", headers)
            head = server.seen[-1][0]
            return field_of(head, "traceparent"), field_of(head, "tracestate")

        parent, state = sent({"traceparent": PARENT_ID + "00", "tracestate": "a=1,b=2"})
        assert parent.startswith("00-0af7651916cd43dd8448eb211c80319c-") and parent.endswith("-00"), parent
        assert parent[36:52] != "b7ad6b7169203331" and state == "a=1,b=2", (parent, state)
        for bad in ("00-" + "0" * 32 + "-b7ad6b7169203331-01", PARENT_ID + "01-more", PARENT_ID.upper() + "01", "x"):
            parent, state = sent({"traceparent": bad, "tracestate": "a=1"})
            assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent) and parent[3:35] not in bad, parent
            assert state is None, state
        answer = running.gateway.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" +
                                     ("traceparent: %s01\r\ntraceparent: %s00\r\n" % (PARENT_ID, PARENT_ID)).encode() +
                                     b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200") and b"trace" not in answer.lower(), answer
        heads = [line for line in server.seen[-1][0] if line.lower().startswith("traceparent")]
        assert len(heads) == 1 and "0af7651916cd43dd8448eb211c80319c" not in heads[0], heads
        ids = {sent({})[0][3:35] for _ in range(20)}
        assert len(ids) == 20, ids
        running.more = LOG + " trace: { accept = false; sampled = 0.0; in_answers = true; };"
        running.gateway.reload(running.section())
        parent, state = sent({"traceparent": PARENT_ID + "01", "tracestate": "a=1"})
        assert "0af7651916cd43dd8448eb211c80319c" not in parent and parent.endswith("-00") and state is None, parent
        headers = running.gateway.get("/")[2]
        assert headers["traceresponse"] == field_of(server.seen[-1][0], "traceparent"), headers
        running.more = LOG + " trace: { enabled = false; };"
        running.gateway.reload(running.section())
        assert sent({}) == (None, None)
        assert sent({"traceparent": "anything", "tracestate": "s"}) == ("anything", "s")


# ---- Metrics and health ---------------------------------------------------------------------------------------------

def metrics_say_what_was_done():
    routes = ('hello: { path = "/hello"; body = "hi"; }; down: { path = "/down"; upstream = "down"; };'
              ' only: { path = "/only"; upstream = "app"; };')
    broken = Server(say("no", "500 Internal Server Error"))
    down = ('down: { degraded: { status = 200; body = "{}"; }; servers: { '
            'x: { address = "127.0.0.1:1"; max_fails = 0; }; y: { address = "127.0.0.1:2"; max_fails = 0; }; }; };')
    with Running("metrics", routes=routes, servers=[Server(say("a")), broken], upstreams=down, workers=1) as running:
        for _ in range(10):
            running.gateway.get("/only")
        for _ in range(3):
            assert running.gateway.get("/hello")[1] == b"hi"
        for _ in range(2):
            assert running.gateway.get("/down")[:2] == (200, b"{}")
        assert running.gateway.get("/nowhere")[0] == 404
        running.wait_metric('requests_total{listener="web",status="4xx"}', 1)
        expected = {
            'requests_total{listener="web",status="2xx"}': 10, 'requests_total{listener="web",status="5xx"}': 5,
            'connections_total{listener="web"}': 16, 'connections_open{listener="web"}': 0,
            'connections_refused_total{listener="web"}': 0,
            'route_requests_total{route="only",status="2xx"}': 5, 'route_requests_total{route="only",status="5xx"}': 5,
            'route_requests_total{route="hello",status="2xx"}': 3, 'route_requests_total{route="-",status="4xx"}': 1,
            'route_degraded_total{route="down"}': 2, 'route_duration_seconds_count{route="only"}': 10,
            'route_duration_seconds_bucket{route="only",le="+Inf"}': 10,
            'upstream_requests_total{upstream="app",status="5xx"}': 5, 'upstream_tries_total{upstream="app"}': 10,
            'upstream_retries_total{upstream="app"}': 0, 'upstream_failures_total{upstream="app"}': 0,
            'upstream_duration_seconds_count{upstream="app"}': 10, 'upstream_queue_length{upstream="app"}': 0,
            'upstream_tries_total{upstream="down"}': 4, 'upstream_retries_total{upstream="down"}': 2,
            'upstream_failures_total{upstream="down"}': 2, 'upstream_degraded_total{upstream="down"}': 2,
            'server_requests_total{upstream="app",server="a"}': 5,
            'server_requests_total{upstream="app",server="b"}': 5,
            'server_failures_total{upstream="app",server="a"}': 0,
            'server_failures_total{upstream="app",server="b"}': 5, 'server_in_flight{upstream="app",server="a"}': 0,
            'server_up{upstream="app",server="a"}': 1, 'server_state{upstream="app",server="a"}': 0,
            'server_failures_total{upstream="down",server="x"}': 2, 'server_weight{upstream="app",server="a"}': 1}
        wait_until(lambda: running.metric('connections_open{listener="web"}') == 0, 5)
        metrics = running.metrics()
        wrong = {name: (metrics.get("holdfast_gateway_" + name), value) for name, value in expected.items()
                 if metrics.get("holdfast_gateway_" + name) != value}
        assert not wrong, wrong
        idle = [metrics['holdfast_gateway_server_connections_idle{upstream="app",server="%s"}' % s] for s in "ab"]
        assert idle == [1, 1], idle
        assert metrics['holdfast_gateway_received_bytes_total{listener="web"}'] > 16 * 40
        assert metrics['holdfast_gateway_route_duration_seconds_sum{route="only"}'] > 0
        # What goes from the configuration goes from the metrics; what stays counts on.
        running.routes = 'only: { path = "/only"; upstream = "app"; };'
        running.servers.pop().stop()
        running.upstreams = ""
        running.gateway.reload(running.section())
        running.gateway.get("/only")
        running.wait_metric('route_requests_total{route="only",status="2xx"}', 6)
        wait_until(lambda: not any(word in name for name in running.metrics()
                                   for word in ('"hello"', '"down"', 'server="b"')), 5, "the series to go")


def counters_are_exact_under_load():
    with Running("exact", LOG, workers=3) as running:
        def load():
            connection = http.client.HTTPConnection(running.gateway.address(), timeout=20)
            for _ in range(300):
                connection.request("GET", "/")
                connection.getresponse().read()

        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        running.wait_metric('route_requests_total{route="all",status="2xx"}', 1800)
        running.wait_metric('route_duration_seconds_count{route="all"}', 1800)
        assert sum(running.server(name)["requests"] for name in "ab") == 1800
        assert len(running.wait_lines("access.log", 1800)) == 1800


def health_says_which_upstream_is_dead():
    with Running("health", upstream="", servers=[Server()]) as running:
        health = lambda: json.loads(running.gateway.get("/healthz", address=running.gateway.admin)[1])
        wait_until(lambda: health()["state"] == "ok", 5)
        running.servers[0].stop()
        assert running.gateway.get()[0] == 502
        wait_until(lambda: health()["state"] == "degraded", 5, "the health to say so")
        assert "no server can be used of 'app'" in health()["reasons"][0], health()
        assert running.server("a")["state"] == "failing", running.server("a")
        assert running.metric('server_up{upstream="app",server="a"}') == 0
        assert running.admin()[1]["state"] == "degraded"


# ---- Servers --------------------------------------------------------------------------------------------------------

class Load:
    """Requests without a pause over some connections; `failed` has what was not answered with 200."""

    def __init__(self, running, connections=4):
        self.running, self.failed, self.served, self.stopped = running, [], 0, False
        self.threads = [threading.Thread(target=self.run) for _ in range(connections)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        for thread in self.threads:
            thread.join()

    def run(self):
        connection = http.client.HTTPConnection(self.running.gateway.address(), timeout=20)
        while not self.stopped:
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append(answer.status)
                self.served += 1
            except OSError as error:
                self.failed.append(error)
                connection = http.client.HTTPConnection(self.running.gateway.address(), timeout=20)

    def go_on(self, count=100):
        """Waits for so many more."""
        target = self.served + count
        wait_until(lambda: self.served >= target, 30, "the load to go on")


def servers_come_and_go_under_load():
    c = Server(say("c"))
    with Running("servers", LOG) as running:
        with Load(running) as load:
            load.go_on()
            status, server = running.admin("/upstreams/app/servers", "POST",
                                           {"name": "c", "address": c.address, "weight": 2, "fail_timeout": "5s"})
            assert status == 201 and server["weight"] == 2 and server["fail_timeout_ms"] == 5000, server
            wait_until(lambda: len(c.seen) > 50, 10, "the new server to get requests")
            assert running.admin("/upstreams/app")[1]["changed"] is True
            status, server = running.admin("/upstreams/app/servers/a/drain", "POST")
            assert status == 200 and server["state"] == "draining", server
            wait_until(lambda: running.server("a")["in_flight"] == 0, 10, "the server to be drained")
            count = len(running.servers[0].seen)
            load.go_on()
            assert len(running.servers[0].seen) == count, "a server that is drained got requests"
            assert running.admin("/upstreams/app/servers/a/undrain", "POST")[0] == 200
            wait_until(lambda: len(running.servers[0].seen) > count + 20, 10, "it to get requests again")
            assert running.admin("/upstreams/app/servers/b", "DELETE")[0] == 204
            load.go_on()
            count = len(running.servers[1].seen)
            running.servers[1].stop()
            load.go_on()
            assert len(running.servers[1].seen) == count
            wait_until(lambda: running.metric('server_up{upstream="app",server="b"}') is None, 5)
        assert load.failed == [], load.failed[:10]
        assert [s["name"] for s in running.admin("/upstreams/app")[1]["servers"]] == ["a", "c"]
        entries = json.loads(running.gateway.get("/v1/admin/audit", address=running.gateway.admin)[1])["entries"]
        changes = [(e["detail"]["change"], e["detail"]["server"]) for e in reversed(entries)
                   if e["kind"] == "gateway.server"]
        assert changes == [("add", "c"), ("set", "a"), ("set", "a"), ("remove", "b")], entries
        assert entries[-1]["actor"].startswith("user "), entries
    c.stop()


def weights_change_the_shares():
    with Running("weights", workers=1) as running:
        status, server = running.admin("/upstreams/app/servers/a", "PUT", {"weight": 3, "requests_maximum": 9})
        assert status == 200 and server["weight"] == 3 and server["requests_maximum"] == 9, server
        running.wait_metric('server_weight{upstream="app",server="a"}', 3)
        for _ in range(40):
            running.gateway.get()
        seen = [len(server.seen) for server in running.servers]
        assert seen == [30, 10], seen


def changes_that_cannot_be_are_refused():
    with Running("wrong", servers=[Server()]) as running:
        def refused(status, words, path, method, body=None):
            got, problem = running.admin("/upstreams" + path, method, body)
            assert got == status and words in problem["detail"], (got, problem)

        address = running.servers[0].address
        refused(404, "no upstream 'nope'", "/nope", "GET")
        refused(404, "no upstream 'nope'", "/nope/servers", "POST", {"name": "c", "address": "127.0.0.1:9"})
        refused(409, "there is a server 'a' already", "/app/servers", "POST", {"name": "a", "address": "127.0.0.1:9"})
        refused(409, "the server 'a' is at", "/app/servers", "POST", {"name": "c", "address": address})
        refused(400, "address: it is missing", "/app/servers", "POST", {"name": "c"})
        refused(400, "name: expected a letter", "/app/servers", "POST", {"address": "127.0.0.1:9"})
        refused(400, "name: expected a letter", "/app/servers", "POST", {"name": "c/d", "address": "127.0.0.1:9"})
        refused(400, "expected host:port", "/app/servers", "POST", {"name": "c", "address": "nothing"})
        refused(400, "no option 'wieght'", "/app/servers/a", "PUT", {"wieght": 3})
        refused(400, "weight: 0 is not allowed", "/app/servers/a", "PUT", {"weight": 0})
        refused(400, "weight: it is a string", "/app/servers/a", "PUT", {"weight": "3"})
        refused(400, "expected a duration", "/app/servers/a", "PUT", {"fail_timeout": "5 apples"})
        refused(400, "address: it cannot change", "/app/servers/a", "PUT", {"address": "127.0.0.1:9"})
        refused(400, "expected an object", "/app/servers/a", "PUT", [1])
        refused(404, "no server 'x'", "/app/servers/x", "PUT", {"weight": 3})
        refused(404, "no server 'x'", "/app/servers/x", "DELETE")
        refused(409, "the only server", "/app/servers/a", "DELETE")
        refused(404, "expected drain or undrain", "/app/servers/a/explode", "POST")
        status, text, _ = running.gateway.get("/v1/gateway/upstreams/app/servers/a", method="PUT", body="{\"weight\":",
                                              address=running.gateway.admin)
        assert status == 400, text
        assert running.server("a")["weight"] == 1 and running.gateway.get()[0] == 200
        assert running.admin("/upstreams/app")[1]["changed"] is False
        entries = json.loads(running.gateway.get("/v1/admin/audit", address=running.gateway.admin)[1])["entries"]
        assert entries == [], entries


def only_operators_change_servers():
    import hashlib
    digest = hashlib.sha256(b"reading").hexdigest()
    with Running("rights", servers=[Server()]) as running:
        running.gateway.stop()
        running.gateway.more = 'tokens: { r: { sha256 = "%s"; role = "reader"; }; };' % digest
        running.gateway.configure(running.section())
        with open(running.gateway.config) as file:
            text = file.read()
        with open(running.gateway.config, "w") as file:
            file.write(text.replace('anonymous = "admin"', 'anonymous = "none"'))
        running.gateway.start()
        reader = {"Authorization": "Bearer reading"}
        ask = lambda path, headers, method="GET": running.gateway.get("/v1/gateway" + path, headers, method,
                                                                      address=running.gateway.admin)[0]
        assert ask("/upstreams", {}) == 401
        assert ask("/upstreams", reader) == 200
        assert ask("/upstreams/app/servers/a/drain", reader, "POST") == 403
        assert ask("/upstreams/app/servers/a", reader, "DELETE") == 403


# ---- The command line -----------------------------------------------------------------------------------------------

def the_command_line_does_the_same():
    c = Server(say("c"))
    with Running("cli", LOG) as running:
        for _ in range(4):
            running.gateway.get()
        code, out, _ = running.cli("gateway", "status")
        assert code == 0 and "state: ok" in out and "web" in out and "access.log" in out, out
        code, out, error = running.cli("upstream", "add", "app", "c", c.address, "--weight", "2", "--backup", "no",
                                       "--max-fails", "4", "--fail-timeout", "7s", "--requests-maximum", "50")
        assert (code, out) == (0, "server 'c' of 'app' is added\n"), (code, out, error)
        server = running.server("c")
        assert (server["weight"], server["backup"], server["max_fails"], server["fail_timeout_ms"],
                server["requests_maximum"]) == (2, False, 4, 7000, 50), server
        code, out, _ = running.cli("upstream", "list")
        assert code == 0 and re.search(r"app +c +%s +up " % re.escape(c.address), out), out
        code, out, _ = running.cli("upstream", "list", "app", "--json")
        assert code == 0 and [s["name"] for s in json.loads(out)["servers"]] == ["a", "b", "c"], out
        assert running.cli("upstream", "set", "app", "c", "--weight", "5", "--backup", "yes")[0] == 0
        assert running.server("c")["weight"] == 5 and running.server("c")["backup"] is True
        code, out, _ = running.cli("upstream", "drain", "app", "c", "--wait")
        assert code == 0 and "has no requests any more" in out, out
        assert running.server("c")["state"] == "draining"
        assert running.cli("upstream", "undrain", "app", "c")[0] == 0 and running.server("c")["state"] == "up"
        assert running.cli("upstream", "remove", "app", "c")[0] == 0 and running.server("c") is None
        code, out, error = running.cli("upstream", "remove", "app", "c")
        assert code == 3 and out == "" and "no server 'c'" in error, (code, error)
        assert running.cli("upstream", "list", "nope")[0] == 3
        code, _, error = running.cli("upstream", "set", "app", "a", "--weight", "0")
        assert code == 1 and "weight: 0 is not allowed" in error, (code, error)
        assert running.cli("upstream", "set", "app", "a")[0] == 2
        assert running.cli("upstream", "set", "app", "a", "--weight", "many")[0] == 2
        assert running.cli("upstream", "set", "app", "a", "--backup", "perhaps")[0] == 2
        assert running.cli("upstream", "add", "app", "a", "127.0.0.1:9")[0] == 4
        assert running.cli("upstream", "ad", "app")[0] == 2
        assert "upstream drain" in running.cli("help", "upstream")[1]
        assert "--once" in running.cli("help", "gateway", "top")[1]
        assert "undrain" in running.cli("completion", "bash")[1]
    c.stop()


def top_shows_what_goes_on():
    with Running("top", routes='slow: { path = "/slow"; upstream = "app"; }; all: { upstream = "app"; };') as running:
        with Load(running) as load:
            load.go_on(400)
            wait_until(lambda: running.admin("/top")[1]["routes"][1]["requests_per_s"] > 0, 10, "rates")
            code, out, _ = running.cli("gateway", "top", "--once")
            top = running.admin("/top")[1]
        assert code == 0, out
        assert re.search(r"^[\d.]+ requests/s, 4 connections", out), out
        assert re.search(r"^all +app +\d+ +0\.0% +\S+s +\S+s +\S+s +\d+$", out, re.M), out
        assert re.search(r"^  a +up +\d in flight +\d+", out, re.M), out
        assert out.index("\nall ") < out.index("\nslow "), "the busiest is not first:\n" + out
        route = top["routes"][1]
        assert 0 < route["p50_us"] <= route["p99_us"] < 20e6 and route["mean_us"] > 0, route
        code, out, _ = running.cli("gateway", "top", "--json")
        assert code == 0 and json.loads(out)["upstreams"][0]["name"] == "app", out
    nobody = subprocess.run([os.path.join(BINARIES, "holdfast"), "--node", "127.0.0.1:1", "gateway", "top"],
                            capture_output=True, text=True, timeout=60)
    assert nobody.returncode == 5, nobody


def read_terminal(terminal, until, seconds=15):
    """What the terminal shows until the condition holds for it."""
    text = b""
    end = time.monotonic() + seconds
    while not until(text):
        assert time.monotonic() < end, text[-2000:]
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError: # it was closed on the other side
                piece = b""
            if not piece:
                break
            text += piece
    return text


def top_lives_in_the_terminal():
    with Running("live") as running:
        for stop in ("q", "interrupt"):
            process, terminal = pty.fork()
            if process == 0:
                os.execv(running.gateway.holdfast, ["holdfast", "--node", running.gateway.admin, "gateway", "top"])
            text = read_terminal(terminal, lambda text: text.count(b"requests/s,") >= 3)
            assert text.startswith(b"\x1b[?1049h\x1b[?25l") and b"q ends" in text, text[:200]
            if stop == "q":
                os.write(terminal, b"q")
            else:
                os.kill(process, signal.SIGINT)
            text = read_terminal(terminal, lambda text: b"\x1b[?1049l" in text)
            assert text.endswith(b"\x1b[?25h\x1b[?1049l"), text[-200:]
            _, status = os.waitpid(process, 0)
            assert os.waitstatus_to_exitcode(status) == 0, status
            os.close(terminal)


CASES = [a_line_has_everything, hostile_bytes_stay_in_their_line, combined_is_what_tools_read,
         listeners_have_logs_of_their_own, a_file_that_was_moved_away_is_followed,
         a_full_disk_drops_lines_and_stops_nobody, a_reader_that_does_not_read_drops_lines_and_stops_nobody,
         what_cannot_be_a_log_is_refused, a_log_that_is_taken_out_is_written_to_its_end, traces_go_on_and_begin,
         metrics_say_what_was_done, counters_are_exact_under_load, health_says_which_upstream_is_dead,
         servers_come_and_go_under_load, weights_change_the_shares, changes_that_cannot_be_are_refused,
         only_operators_change_servers, the_command_line_does_the_same, top_shows_what_goes_on,
         top_lives_in_the_terminal]

if __name__ == "__main__":
    try:
        run_cases(CASES, sys.argv[3:])
        print("passed")
    finally:
        shutil.rmtree(PARENT, ignore_errors=True)
