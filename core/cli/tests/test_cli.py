#!/usr/bin/env python3
"""The command line against a scripted HTTP server: what it asks, prints, and ends with, also when answers are refusals,
connections break, or nobody is there.

  test_cli.py PROGRAM"""
import gzip
import http.server
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from urllib.parse import parse_qs, unquote, urlsplit

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/support"))
from free_ports import free_ports

OK, FAILED, USAGE, NOT_FOUND, CONFLICT, UNAVAILABLE = range(6)
PROGRAM = None


def problem(status, kind, detail, **more):
    return status, dict({"type": "urn:holdfast:problem:" + kind, "title": kind, "status": status, "detail": detail}, **more)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes out in one piece
    disable_nagle_algorithm = True

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = {"method": self.command, "path": self.path, "headers": self.headers, "body": body}
        self.server.script(self, request)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def answer(self, status, body, extra=None, promise=0):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/problem+json" if status >= 400 else "application/json")
        self.send_header("Content-Length", str(len(data) + promise))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
        if promise:
            self.drop()

    def drop(self):
        """Breaks the connection off, without a word."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.requests = []
        self.given = script
        self.address = "127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def script(self, handler, request):
        with self.lock:
            self.requests.append(request)
            number = len(self.requests)
        self.given(handler, request, number)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, OSError)):
            super().handle_error(request, client_address)

    def stop(self):
        self.shutdown()
        self.server_close()


def answers(*list_of):
    """A script of (status, body[, headers]); the last one stays; None breaks the connection off."""
    def script(handler, request, number):
        step = list_of[min(number, len(list_of)) - 1]
        if step is None:
            handler.drop()
        else:
            handler.answer(*step)
    return script


class Case(unittest.TestCase):
    def serve(self, script):
        server = Server(script)
        self.addCleanup(server.stop)
        return server

    def folder(self):
        directory = tempfile.TemporaryDirectory(prefix="holdfast-cli-")
        self.addCleanup(directory.cleanup)
        return directory.name

    def dead(self):
        """An address where nobody listens."""
        return "127.0.0.1:%d" % free_ports(1)[0]

    def run_cli(self, nodes, *arguments, code=OK, stdin=b"", environment=None):
        known = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        known.update({"HOLDFAST_NODE": nodes, "TZ": "XST-2"}, **(environment or {}))
        run = subprocess.run([PROGRAM, *arguments], env=known, input=stdin, capture_output=True, timeout=120)
        self.assertEqual(run.returncode, code, (arguments, run.stdout[:2000], run.stderr[:2000]))
        return run.stdout.decode(), run.stderr.decode()


class Requests(Case):
    def test_what_is_asked(self):
        server = self.serve(answers((200, {"version": 42, "partition": "eu"})))
        out, _ = self.run_cli(server.address, "put", "t", "a/b c", '{"x":1}', "--partition", "e&u", "--if-version", "7",
                              "--idempotency-key", "once", "--token", "hf_secret", "--expire-after", "60")
        request = server.requests[0]
        self.assertEqual((request["method"], request["path"]), ("PUT", "/v1/tables/t/records/a%2Fb%20c?partition=e%26u"))
        self.assertEqual(request["body"], b'{"x":1}')
        self.assertEqual(request["headers"]["If-Match"], '"7"')
        self.assertEqual(request["headers"]["Idempotency-Key"], "once")
        self.assertEqual(request["headers"]["Holdfast-Expire-After"], "60")
        self.assertEqual(request["headers"]["Authorization"], "Bearer hf_secret")
        self.assertEqual(request["headers"]["Content-Type"], "application/json")
        self.assertEqual(out, "version 42\n")
        self.run_cli(server.address, "put", "t", "k", "{}", "--expire-after", "-1", code=USAGE)
        self.assertEqual(len(server.requests), 1)

    def test_bytes_pass_unchanged(self):
        value = bytes(range(256)) * 300
        server = self.serve(answers((200, {"version": 1}), (200, value)))
        self.run_cli(server.address, "put", "t", "k", "-", "--if-absent", stdin=value)
        self.assertEqual(server.requests[0]["body"], value)
        self.assertEqual(server.requests[0]["headers"]["If-None-Match"], "*")
        self.assertEqual(server.requests[0]["headers"]["Content-Type"], "application/octet-stream")
        run = subprocess.run([PROGRAM, "get", "t", "k", "--node", server.address], capture_output=True, timeout=60)
        self.assertEqual(run.stdout, value)

    def test_a_key_of_dots_is_no_way_up(self):
        server = self.serve(answers((200, {"version": 1})))
        self.run_cli(server.address, "delete", "t", "..")
        self.run_cli(server.address, "delete", "t", ".")
        self.assertEqual([r["path"] for r in server.requests], ["/v1/tables/t/records/..", "/v1/tables/t/records/."])

    def test_json_is_the_servers(self):
        document = {"cluster": "c", "node": "n1", "state": "ok", "nodes": [], "problems": [], "unknown": [1, None]}
        server = self.serve(answers((200, document)))
        out, _ = self.run_cli(server.address, "status", "--json")
        self.assertEqual(json.loads(out), document)
        self.run_cli(server.address, "--json", "node", "list")

    def test_table_create(self):
        server = self.serve(answers((201, {})))
        self.run_cli(server.address, "table", "create", "t", "--partition-by", "r", "--values", "a,b", "--replicas", "3",
                     "--keep-changes", "60")
        self.assertEqual(json.loads(server.requests[0]["body"]),
                         {"partition_by": "r", "partitions": ["a", "b"], "replicas": 3, "keep_changes": 60})
        self.run_cli(server.address, "table", "create", "t", "--replicas", "x", code=USAGE)
        self.assertEqual(len(server.requests), 1)

    def test_table_fields(self):
        server = self.serve(answers((201, {})))
        self.run_cli(server.address, "table", "create", "t", "--field", "customer:string,required,max_length=64",
                     "--field", "priority:integer,min=1,max=5", "--field=score:number,min=-1.5", "--no-other-fields",
                     "--field", "channel:string,one_of=chat|mail", "--field", "more:any", "--expire-after", "60")
        self.assertEqual(json.loads(server.requests[0]["body"]), {
            "expire_after": 60, "other_fields": False, "fields": {
                "customer": {"type": "string", "required": True, "max_length": 64},
                "priority": {"type": "integer", "min": 1, "max": 5}, "score": {"type": "number", "min": -1.5},
                "channel": {"type": "string", "one_of": ["chat", "mail"]}, "more": {"type": "any"}}})
        for field in ("customer", ":string", "a:", "a:,required", "a:string,", "a:string,must", "a:string,required=1",
                      "a:integer,min", "a:integer,min=", "a:integer,min=x", "a:integer,min=[]", "a:string,one_of"):
            _, error = self.run_cli(server.address, "table", "create", "t", "--field", field, code=USAGE)
            self.assertIn("--field '%s'" % field, error)
        self.assertEqual(len(server.requests), 1)

    def test_action_run(self):
        server = self.serve(answers((200, {"done": 1})))
        self.run_cli(server.address, "action", "run", "a.b", '{"n":1}')
        self.assertEqual((server.requests[0]["method"], server.requests[0]["path"], server.requests[0]["body"]),
                         ("POST", "/v1/admin/actions/a.b", b'{"n":1}'))
        self.run_cli(server.address, "action", "run", "a.b", "{n:1}", code=USAGE)
        self.assertEqual(len(server.requests), 1)


class Refusals(Case):
    def test_exit_codes_and_one_line(self):
        for status, kind, code in ((404, "not-found", NOT_FOUND), (409, "conflict", CONFLICT),
                                   (412, "precondition-failed", CONFLICT), (503, "no-leader", UNAVAILABLE),
                                   (400, "bad-request", FAILED), (401, "unauthorized", FAILED), (500, "internal", FAILED)):
            server = self.serve(answers(problem(status, kind, "why\n\x1b[31mit failed")))
            out, error = self.run_cli(server.address, "get", "t", "k", code=code)
            self.assertEqual(out, "")
            self.assertEqual(error, "holdfast: %s: why  [31mit failed (%d)\n" % (server.address, status))

    def test_problems_are_listed(self):
        server = self.serve(answers(problem(422, "unprocessable", "refused", problems=["a.cfg:1: one", "a.cfg:2: two"])))
        _, error = self.run_cli(server.address, "config", "reload", code=FAILED)
        self.assertIn("\n  a.cfg:1: one\n  a.cfg:2: two\n", error)

    def test_what_is_no_problem_document(self):
        server = self.serve(answers((502, b"<html>")))
        _, error = self.run_cli(server.address, "status", code=UNAVAILABLE)
        self.assertIn("status 502", error)


class Connections(Case):
    def test_nobody_is_there(self):
        _, error = self.run_cli(self.dead(), "status", code=UNAVAILABLE)
        self.assertEqual(error.count("\n"), 1)
        self.assertIn("no node could be reached", error)

    def test_the_next_node_is_asked(self):
        server = self.serve(answers((200, {"version": 1})))
        self.run_cli(self.dead() + "," + server.address, "put", "t", "k", "{}")
        self.assertEqual(len(server.requests), 1)

    def test_a_read_goes_on_elsewhere(self):
        value = b'{"whole":true}'
        halves = self.serve(lambda handler, request, number: handler.answer(200, value[:5], promise=len(value) - 5))
        silent = self.serve(answers(None))
        server = self.serve(answers((200, value)))
        out, _ = self.run_cli(",".join((halves.address, silent.address, server.address)), "get", "t", "k")
        self.assertEqual(out.strip(), value.decode())
        self.assertEqual((len(halves.requests), len(silent.requests)), (1, 1))

    def test_a_write_is_repeated_only_with_a_key(self):
        silent, server = self.serve(answers(None)), self.serve(answers((200, {"version": 1})))
        nodes = silent.address + "," + server.address
        _, error = self.run_cli(nodes, "put", "t", "k", "{}", code=UNAVAILABLE)
        self.assertIn("may or may not have been done", error)
        self.assertEqual((len(silent.requests), len(server.requests)), (1, 0))
        self.run_cli(nodes, "put", "t", "k", "{}", "--idempotency-key", "x")
        self.assertEqual([r["headers"]["Idempotency-Key"] for r in silent.requests[1:] + server.requests], ["x", "x"])

    def test_the_time_limit(self):
        release = threading.Event()
        self.addCleanup(release.set)
        server = self.serve(lambda handler, request, number: release.wait(60))
        self.run_cli(server.address, "status", "--timeout", "1", code=UNAVAILABLE)


class Pages(Case):
    def script(self, handler, request, number):
        query = parse_qs(urlsplit(request["path"]).query)
        first = int(query.get("start", ["0"])[0])
        count = min(int(query["limit"][0]), 3, 7 - first)
        answer = {"records": [{"key": "k%d" % i, "version": i, "value": {"i": i}} for i in range(first, first + count)]}
        if first + count < 7:
            answer["next"] = str(first + count)
        handler.answer(200, answer)

    def test_scan_follows(self):
        server = self.serve(self.script)
        out, _ = self.run_cli(server.address, "scan", "t", "--prefix", "k")
        self.assertEqual(out.splitlines(), ['k%d\t{"i":%d}' % (i, i) for i in range(7)])
        self.assertEqual(len(server.requests), 3)
        out, _ = self.run_cli(server.address, "scan", "t", "--limit", "4", "--json")
        self.assertEqual([json.loads(line)["key"] for line in out.splitlines()], ["k0", "k1", "k2", "k3"])
        self.assertIn("limit=1", server.requests[-1]["path"])

    def test_a_scan_that_breaks_off_fails(self):
        def script(handler, request, number):
            self.script(handler, request, number) if number == 1 else handler.answer(*problem(503, "no-leader", "none"))
        server = self.serve(script)
        out, _ = self.run_cli(server.address, "scan", "t", code=UNAVAILABLE)
        self.assertEqual(len(out.splitlines()), 3)

    def test_changes(self):
        lines = b'{"partition":1,"version":1}\n\n\n{"partition":1,"version":2}\n'
        server = self.serve(answers((200, lines)))
        out, _ = self.run_cli(server.address, "changes", "t", "--from", "1:1,2:5", "--follow", "--partition", "eu")
        self.assertEqual(out.splitlines(), ['{"partition":1,"version":1}', '{"partition":1,"version":2}'])
        query = parse_qs(urlsplit(server.requests[0]["path"]).query)
        self.assertEqual(query, {"from": ["1:1,2:5"], "follow": ["1"], "partition": ["eu"]})
        server = self.serve(answers(problem(410, "gone", "begin with a scan")))
        _, error = self.run_cli(server.address, "changes", "t", code=FAILED)
        self.assertIn("begin with a scan", error)
        server = self.serve(lambda handler, request, number: handler.answer(200, lines, promise=10))
        self.run_cli(server.address, "changes", "t", code=UNAVAILABLE)


class Screens(Case):
    def test_status(self):
        server = self.serve(answers((200, {
            "cluster": "demo", "node": "n1", "state": "degraded",
            "nodes": [{"name": "n1", "state": "up", "membership": "active", "zone": "a", "leads": 5, "replicas": 12},
                      {"name": "node2", "state": "down", "membership": "draining", "leads": 0, "replicas": 3}],
            "problems": ["partition 7 of 'items' (eu) has no majority: 1 of 3 replicas can be reached; bring nodes back"]})))
        out, _ = self.run_cli(server.address, "status")
        self.assertEqual(out, "cluster demo: degraded, as node n1 sees it\n\n"
                              "NODE   STATE  MEMBERSHIP  ZONE  LEADS  REPLICAS\n"
                              "n1     up     active      a     5      12\n"
                              "node2  down   draining    -     0      3\n\n"
                              "Needs attention:\n"
                              "  partition 7 of 'items' (eu) has no majority: 1 of 3 replicas can be reached; bring nodes back\n")

    def test_signals_and_audit_in_local_time(self):
        server = self.serve(answers((200, {"signals": [{"name": "disk.low", "severity": "warning", "subject": "n1", "first_ms": 0,
                                                        "last_ms": 3600000, "count": 2, "detail": {"free": 1}}]})))
        out, _ = self.run_cli(server.address, "signals", "--limit", "5")
        self.assertEqual(server.requests[0]["path"], "/v1/admin/signals?limit=5")
        self.assertRegex(out, r'disk\.low +warning +n1 +1970-01-01 02:00:00 +1970-01-01 03:00:00 +2 +\{"free":1\}\n')
        server = self.serve(answers((200, {"entries": [{"sequence": 3, "time": "2026-11-01T10:00:00Z", "actor": "app", "kind": "action.run",
                                                        "detail": {"a": 1}}]})))
        out, _ = self.run_cli(server.address, "audit")
        self.assertRegex(out, r'3 +2026-11-01 12:00:00 +app +action\.run +\{"a":1\}\n')
        out, _ = self.run_cli(server.address, "audit", "--json")
        self.assertIn("2026-11-01T10:00:00Z", out)

    def test_documents_of_another_shape_do_no_harm(self):
        for document in ({}, [], None, "x", 5, {"signals": {}, "entries": 1, "plugins": [1], "points": [[]], "actions": [{"arguments": 1}],
                                               "nodes": "n", "problems": 7, "tables": [None], "partitions": {}, "changes": [0]}):
            server = self.serve(answers((200, document)))
            for command in (("status",), ("node", "list"), ("table", "list"), ("table", "show", "t"), ("plugin", "list"), ("policy", "list"),
                            ("action", "list"), ("signals",), ("audit",), ("config", "diff", "/"), ("config", "reload"), ("scan", "t")):
                self.run_cli(server.address, *command)
            self.run_cli(server.address, "plugin", "show", "engine/x", code=NOT_FOUND)


class Loads(Case):
    def write(self, lines, name="lines.jsonl"):
        path = os.path.join(self.folder(), name)
        opened = gzip.open(path, "wb") if name.endswith(".gz") else open(path, "wb")
        with opened as file:
            file.write(b"".join(lines))
        return path

    def store(self, seed, chance):
        """A store that remembers idempotency keys, and fails at random before or after it has done something."""
        dice, done, lock = random.Random(seed), {}, threading.Lock()

        def script(handler, request, number):
            with lock:
                fate = dice.random() / chance if chance else 1
                key, before = request["headers"]["Idempotency-Key"], fate < 0.4
                if not before and key not in done:
                    done[key] = (unquote(request["path"].split("/records/")[1]), request["body"])
            if fate < 0.2:
                handler.answer(*problem(503, "busy", "a queue is full", retry="later", retry_after_ms=1))
            elif fate < 0.4 or 0.6 <= fate < 0.8:
                handler.drop()
            elif 0.4 <= fate < 0.6:
                handler.answer(*problem(503, "unknown-outcome", "nobody knows", retry="later"))
            elif fate < 1:
                handler.answer(200, b'{"version"', promise=10)
            else:
                handler.answer(200, {"version": 1})
        return script, done

    def test_every_line_arrives_exactly_once(self):
        lines = [json.dumps({"group": "g%d" % (i % 7), "n": i, "text": "ä" * (i % 50)}).encode() + b"\n" for i in range(2000)]
        path = self.write(lines, "lines.jsonl.gz")
        script, done = self.store(11, 0.3)
        servers = [self.serve(script) for _ in range(3)]
        nodes = ",".join([self.dead()] + [server.address for server in servers])
        out, error = self.run_cli(nodes, "load", "t", path, "--key", "group,n", "--json", "--retry-for", "60")
        told = json.loads(out)
        self.assertEqual((told["written"], told["refused"], told["complete"]), (2000, 0, True), error)
        self.assertGreater(told["retries"], 100)
        self.assertEqual(sorted(done.values()), sorted(("g%d/%06d" % (i % 7, i), line[:-1]) for i, line in enumerate(lines)))
        asked = sum(len(server.requests) for server in servers)
        self.run_cli(nodes, "load", "t", path, "--key", "group,n", "--retry-for", "60")
        self.assertEqual(len(done), 2000)  # a repeated load carries the same keys
        self.assertGreater(sum(len(server.requests) for server in servers), asked + 2000 - 1)

    def test_lines_of_one_record_keep_their_order(self):
        lines = [b'{"id":"%d","n":%d}\n' % (i % 3, i) for i in range(300)]
        script, done = self.store(5, 0.2)
        server = self.serve(script)
        self.run_cli(server.address, "load", "t", self.write(lines), "--key", "id", "--parallel", "16")
        for record in "012":
            numbers = [json.loads(body)["n"] for path, body in done.values() if path == record]
            self.assertEqual(numbers, list(range(int(record), 300, 3)))

    def test_the_same_bytes_twice_are_two_writes(self):
        path = self.write([b'{"id":"a","n":1}\n', b'{"id":"a","n":2}\n', b'{"id":"a","n":1}\n'])
        script, done = self.store(1, 0)
        server = self.serve(script)
        self.run_cli(server.address, "load", "t", path, "--key", "id")
        self.assertEqual([body for _, body in done.values()], [b'{"id":"a","n":1}', b'{"id":"a","n":2}', b'{"id":"a","n":1}'])

    def test_refused_lines_are_told(self):
        def script(handler, request, number):
            if b"mars" in request["body"]:
                handler.answer(*problem(422, "unprocessable", "no region 'mars'"))
            else:
                handler.answer(200, {"version": 1})
        path = self.write([b'{"id":"a"}\n', b"\n", b"not json\n", b'{"id":"b","region":"mars"}\n', b"{}\n", b'{"id":"c"}\0\n', b'{"id":"last"}'])
        server = self.serve(script)
        _, error = self.run_cli(server.address, "load", "t", path, "--key", "id", code=FAILED)
        self.assertRegex(error, r"lines\.jsonl:3: byte 0")
        self.assertRegex(error, r"lines\.jsonl:4: no region 'mars' \(422\)")
        self.assertRegex(error, r"lines\.jsonl:5: 'id' is missing")
        self.assertRegex(error, r"lines\.jsonl:6: byte 10")
        self.assertIn("4 lines were refused, 2 were written", error)
        self.assertEqual({r["path"].rsplit("/")[-1] for r in server.requests}, {"a", "b", "last"})

    def test_it_waits_as_long_as_it_was_asked_to(self):
        """Whoever is asked passes on what the partition's leader said."""
        times = []
        def script(handler, request, number):
            times.append(time.monotonic())
            if len(times) == 1:
                handler.answer(*problem(503, "busy", "a queue is full", retry="later", retry_after_ms=700))
            elif len(times) == 2:
                handler.answer(503, b"", {"Retry-After": "1"})
            else:
                handler.answer(200, {"version": 1})
        nodes = ",".join(self.serve(script).address for _ in range(3))
        self.run_cli(nodes, "load", "t", self.write([b'{"id":"a"}\n']), "--key", "id")
        self.assertEqual(len(times), 3)
        self.assertGreaterEqual(times[1] - times[0], 0.69)
        self.assertGreaterEqual(times[2] - times[1], 0.99)

    def test_it_gives_up_after_a_while(self):
        server = self.serve(answers(problem(503, "no-leader", "electing")))
        path = self.write([b'{"id":"a"}\n', b'{"id":"b"}\n'])
        _, error = self.run_cli(server.address, "load", "t", path, "--key", "id", "--retry-for", "1", code=FAILED)
        self.assertRegex(error, r":1: electing \(503\)")
        self.assertRegex(error, r":2: electing \(503\)")
        self.assertGreater(len(server.requests), 2)
        _, error = self.run_cli(self.dead(), "load", "t", path, "--key", "id", "--retry-for", "0", code=FAILED)
        self.assertRegex(error, r":1: not acknowledged after 1 attempts")

    def test_a_file_that_was_cut_off(self):
        path = self.write([b'{"id":"k%d"}\n' % i for i in range(20000)], "cut.jsonl.gz")
        os.truncate(path, os.path.getsize(path) * 3 // 4)
        script, done = self.store(1, 0)
        server = self.serve(script)
        out, error = self.run_cli(server.address, "load", "t", path, "--key", "id", "--json", code=FAILED)
        told = json.loads(out)
        self.assertFalse(told["complete"])
        self.assertEqual(told["written"], len(done))  # what had been read was finished, and counted
        self.assertRegex(error, r"cut off behind line %d " % len(done))

    def test_keys_from_line_numbers(self):
        server = self.serve(answers((200, {"version": 1})))
        self.run_cli(server.address, "load", "t", self.write([b"1\n", b"\n", b"[2]\n"]), "--key-line", "in/", "--partition", "eu")
        self.assertEqual(sorted(r["path"] for r in server.requests),
                         ["/v1/tables/t/records/in%2F000000001?partition=eu", "/v1/tables/t/records/in%2F000000003?partition=eu"])
        self.run_cli(server.address, "load", "t", "/nowhere", "--key", "id", code=FAILED)
        self.run_cli(server.address, "load", "t", "/nowhere", code=USAGE)
        self.run_cli(server.address, "load", "t", "/nowhere", "--key", "id", "--key-line", "x", code=USAGE)
        self.run_cli(server.address, "load", "t", "/nowhere", "--key", "id", "--parallel", "0", code=USAGE)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
