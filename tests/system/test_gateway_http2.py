#!/usr/bin/env python3
"""HTTP/2 in the gateway, with real processes: clients that speak it, servers that do, and both; bodies that wait,
trailers, gRPC; what is not allowed, and what only costs; drains.

  test_gateway_http2.py BINARIES PLUGINS [CASE...]"""
import gzip
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import http2
from gateway import Gateway, Server, field_of, free_ports, fresh_directory, is_sanitized, run_cases, say, wait_until
from http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, Http2Server, PING,
                   PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, connect, encode, frame,
                   heads)

BINARIES, PLUGINS = (os.path.abspath(folder) for folder in sys.argv[1:3])
DIRECTORY = tempfile.mkdtemp(prefix="holdfast-gateway-http2-")

LISTENER = 'listeners: { web: { address = "127.0.0.1:PORT(0)"; %s }; };\n'
MIB = 1 << 20
SANITIZED = is_sanitized(BINARIES)


def gateway(name, section, **more):
    made = Gateway(fresh_directory(DIRECTORY, name), BINARIES, PLUGINS, section, **more)
    made.start()
    return made


def simple(name, address, upstream="", route="", listener="", routes="", **more):
    return gateway(name, LISTENER % listener + 'routes: { %s all: { upstream = "app"; %s }; };\n' % (routes, route) +
                   'upstreams: { app: { servers: { a: { address = "%s"; max_fails = 0; }; }; %s }; };\n' % (address, upstream), **more)


def pattern(size, seed=0):
    piece = bytes((i * 7 + seed) & 255 for i in range(65521))
    return (piece * (size // len(piece) + 1))[:size]


def grown(under, before):
    """Bytes that the process has more than `before`.  A sanitizer keeps what is freed: nothing can be said then."""
    return 0 if SANITIZED else under.memory_bytes() - before


class RawServer:
    """A server of HTTP/1.1 that gives each connection to serve(connection, reader)."""

    def __init__(self, serve):
        self.port = free_ports(1)[0]
        self.address = "127.0.0.1:%d" % self.port
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.serve = serve
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        try:
            with connection, connection.makefile("rb") as reader:
                self.serve(connection, reader)
        except OSError:
            pass


def read_head(reader):
    lines = []
    while True:
        line = reader.readline()
        if line in (b"\r\n", b""):
            return lines
        lines.append(line.rstrip(b"\r\n").decode("latin-1"))


# ---- Requests ------------------------------------------------------------------------------------------------------------


def requests_become_those_of_http1():
    back = Server(say("from the server", fields="Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
                                                "X-Secret: 1\r\nX-Kept: Yes\r\n"))
    under = simple("requests", back.address, route='response_fields = [ "X-Secret:", "X-Gate: on" ];',
                   routes='own: { path = "/own"; body = "own"; }; moved: { path = "/old"; redirect = "/new"; };')
    try:
        client = connect(under.address())
        head, body, trailers = client.get("/a?b=c", fields=[("cookie", "a=1"), ("x-user", "7"), ("cookie", "b=2"),
                                                            ("te", "trailers")])
        assert head[":status"] == "200" and body == b"from the server" and not trailers
        assert head["x-kept"] == "Yes" and head["x-gate"] == "on" and head["content-length"] == "15"
        assert not {"connection", "keep-alive", "x-hop", "x-secret", "transfer-encoding"} & set(head), head
        lines, _ = back.seen[-1]
        assert lines[0] == "GET /a?b=c HTTP/1.1"
        assert field_of(lines, "Host") == "a.example" and field_of(lines, "Cookie") == "a=1; b=2"
        assert field_of(lines, "X-User") == "7" and field_of(lines, "TE") == "trailers"
        assert field_of(lines, "X-Forwarded-For") == "127.0.0.1"

        assert client.get("/own")[1] == b"own"
        assert client.get("/old")[0]["location"] == "/new"
        head, body, _ = client.get("/", method="HEAD")
        assert head["content-length"] == "15" and body == b""
        for length in (True, False):
            body = pattern(300000)
            stream = client.begin("/p", "POST", [("content-length", "300000")] if length else [], end=False)
            client.send_body(stream, body)
            assert client.answer(stream)[0][":status"] == "200"
            lines, got = back.seen[-1]
            assert got == body and field_of(lines, "Content-Length") == ("300000" if length else None), lines

        # Many at a time, in any order.
        streams = [client.begin("/many/%d" % i) for i in range(100)]
        for stream in reversed(streams):
            assert client.answer(stream)[1] == b"from the server"
        # And HTTP/1.1 beside it.
        assert under.get("/x")[0] == 200
    finally:
        under.stop()


def what_is_wrong_is_refused():
    back = Server(say("fine"))
    under = simple("wrong", back.address, listener="body_maximum = 100000;")
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
    try:
        client = connect(under.address())
        for fields in ([("Upper", "1")], [("connection", "close")], [("transfer-encoding", "chunked")],
                       [("te", "gzip")], [("upgrade", "h2c")], [("keep-alive", "1")], [(":late", "1")],
                       [("x", "a\r\nGET /b HTTP/1.1")], [("x", "a\0b")], [("x y", "1")], [("content-length", "3")]):
            assert client.get("/", fields=fields) == PROTOCOL_ERROR, fields
        for block in (pseudo[1:], pseudo[:2] + pseudo[3:], pseudo + pseudo[:1], [("x", "1")] + pseudo,
                      [(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")],
                      pseudo + [(":status", "200")]):
            assert client.get("/", block=encode(block)) == PROTOCOL_ERROR, block
        for path, authority, fields, status in (
                ("/a b", "a", [], 400), ("/a#b", "a", [], 400), ("/../x", "a", [], 400),
                ("/", "a,b", [], 400), ("/", "a", [("host", "b")], 400), ("/", "a", [("x", "y" * 17000)], 431),
                ("/", "a", [("n%d" % i, "") for i in range(70)], 431)):
            answer = client.get(path, authority=authority, fields=fields)
            assert answer == PROTOCOL_ERROR or answer[0][":status"] == str(status), (path, fields, answer)
        # Bodies: not what was said, or too large.
        stream = client.begin("/", "POST", [("content-length", "5")], end=False)
        client.send_body(stream, b"1234")
        assert client.answer(stream) == PROTOCOL_ERROR
        stream = client.begin("/", "POST", [("content-length", "100001")], end=False)
        assert client.answer(stream)[0][":status"] == "413"
        stream = client.begin("/", "POST", [], end=False)
        client.send_body(stream, b"x" * 60000, end=False)
        client.send_body(stream, b"x" * 50000, end=False)
        assert client.answer(stream)[0][":status"] == "413"
        # Trailers that would say something else, to whoever puts them to the head.
        stream = client.begin("/", "POST", [], end=False)
        client.send(heads(stream, [("transfer-encoding", "chunked")], True))
        assert client.answer(stream) == PROTOCOL_ERROR
        stream = client.begin("/", "POST", [], end=False)
        client.send(heads(stream, [("host", "b")], True))
        assert client.answer(stream)[0][":status"] == "400"
        assert all(field_of(lines, "Host") == "a.example" for lines, _ in back.seen), back.seen
        # The connection is as good as ever.
        assert client.get("/")[1] == b"fine"
    finally:
        under.stop()


def answers_are_what_they_were():
    def serve(connection, reader):
        while True:
            lines = read_head(reader)
            if not lines:
                return
            path = lines[0].split()[1]
            if path == "/early":
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            if path == "/none":
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            elif path == "/close":
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
                return
            elif path == "/cut":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                return
            elif path == "/post":
                length = int(field_of(lines, "Content-Length"))
                assert field_of(lines, "Expect") is None
                body = reader.read(length)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (length, body))
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    back = RawServer(serve)
    under = simple("answers", back.address)
    try:
        client = connect(under.address())
        stream = client.begin("/early")
        got = client.expect(lambda got: got.stream == stream and got.type == HEADERS)
        assert got.fields[0] == (":status", "103") and ("link", "</a>") in got.fields and not got.ends()
        assert client.answer(stream)[1] == b"ok"
        head, body, _ = client.get("/none")
        assert head[":status"] == "204" and body == b""
        assert client.get("/close")[1] == b"until the end"
        assert client.get("/cut") == http2.INTERNAL_ERROR
        stream = client.begin("/post", "POST", [("content-length", "4"), ("expect", "100-continue")], end=False)
        got = client.expect(lambda got: got.stream == stream and got.type == HEADERS)
        assert got.fields == [(":status", "100")]
        client.send_body(stream, b"body")
        assert client.answer(stream)[1] == b"body"
    finally:
        under.stop()


# ---- Bodies that wait ----------------------------------------------------------------------------------------------------


def settles(value):
    """What value() is once it has not changed for a while."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if value() != last:
            last, since = value(), time.monotonic()
    return last


def nobody_is_read_faster_than_the_other_takes():
    size = 64 * MIB
    body = pattern(size)
    sent = [0]
    go = threading.Event()

    def serve(connection, reader):
        if read_head(reader)[0].startswith("GET"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for at in range(0, size, 65536):
                connection.sendall(body[at:at + 65536])
                sent[0] = at + 65536
            return
        assert go.wait(60)
        got = reader.read(size)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%s" % (b"same" if got == body else b"else"))

    back = RawServer(serve)
    under = simple("slow", back.address, listener="body_maximum = 100000000;", routes='own: { path = "/own"; body = "o"; };')
    try:
        under.get("/own")
        before = under.memory_bytes()
        # A client that takes nothing: neither is the server read on, beyond what sockets take.
        client = connect(under.address(), gives_room=False)
        stream = client.begin("/")
        assert settles(lambda: sent[0]) < 24 * MIB
        assert grown(under, before) < 8 * MIB
        client.gives_room = True
        more = struct.pack(">I", 1 << 20)
        client.send(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, stream, more))
        assert client.answer(stream)[1] == body

        # A server that takes nothing: neither does the client get more room.
        stream = client.begin("/", "POST", [("content-length", str(size))], end=False)
        at = client.send_some(stream, body)
        client.socket.settimeout(1)
        try:
            while at < size:
                client.expect(lambda got: got.type == WINDOW_UPDATE)
                at = client.send_some(stream, body, at)
        except socket.timeout:
            pass
        assert at < 24 * MIB, at
        assert grown(under, before) < 8 * MIB
        # Others are served meanwhile, on this connection, too.
        assert client.get("/own")[1] == b"o"
        client.socket.settimeout(20)
        go.set()
        client.send_body(stream, body, at)
        assert client.answer(stream)[1] == b"same"
    finally:
        go.set()
        under.stop()


def what_is_compressed_waits_too():
    body = b"".join(b"order %d\n" % (i * 2654435761 % 1000003) for i in range(1000000))
    back = Server(say(body, fields="Content-Type: text/plain\r\n"))
    under = simple("gzip", back.address, route="gzip: { enabled = true; };")
    try:
        client = connect(under.address(), gives_room=False)
        streams = [client.begin("/", fields=[("accept-encoding", "gzip")]) for _ in range(3)]
        first = client.expect(lambda got: got.type == HEADERS and got.stream == streams[0])
        assert dict(first.fields)["content-encoding"] == "gzip" and "content-length" not in dict(first.fields)
        client.kept.append(first)
        settles(lambda: under.memory_bytes() // MIB)
        client.gives_room = True
        more = struct.pack(">I", 1 << 18)
        client.send(frame(WINDOW_UPDATE, 0, 0, more) +
                    b"".join(frame(WINDOW_UPDATE, 0, stream, more) for stream in streams))
        for stream in streams:
            assert gzip.decompress(client.answer(stream)[1]) == body
    finally:
        under.stop()


def who_does_not_go_on_is_given_up():
    back = Server(say("x" * 300000))
    under = simple("times", back.address, listener="""body_timeout = "500ms"; send_timeout = "700ms"; head_timeout = "600ms";
                                                       idle_timeout = "900ms";""")
    try:
        # A body that does not come.
        client = connect(under.address(), gives_room=False)
        stream = client.begin("/", "POST", [("content-length", "10")], end=False)
        assert client.answer(stream)[0][":status"] == "408"
        # An answer that is not taken; the connection stays.
        stream = client.begin("/")
        began = time.monotonic()
        assert client.answer(stream) == http2.CANCEL and time.monotonic() - began > 0.5
        client.gives_room = True
        client.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20)))
        assert client.get("/")[0][":status"] == "200"
        # A connection without requests: it is told, also when it says something without asking for anything.
        client.send(frame(PING, 0, 0, b"12345678"))
        goaway = client.expect(lambda got: got.type == GOAWAY)
        assert goaway.number() == 0 and client.read() is None
        # A head that does not end; and one byte of a preface.
        client = connect(under.address())
        client.expect(lambda got: got.type == WINDOW_UPDATE)  # the settings are answered by now
        client.send(frame(HEADERS, END_STREAM, 1, encode([(":method", "GET")])))
        assert client.expect(lambda got: got.type == GOAWAY).number() == ENHANCE_YOUR_CALM
        assert under.raw(b"PRI * HTTP/2.0").startswith(b"HTTP/1.1 408")
    finally:
        under.stop()


def servers_that_take_nothing_are_given_up():
    never = threading.Event()
    slow = RawServer(lambda connection, reader: never.wait(60))
    mute = http2_server(lambda connection, got: None, gives_room=False)
    body = pattern(32 * MIB)
    for name, address, upstream in (("one", slow.address, ""), ("two", mute.address, 'protocol = "http2";')):
        under = simple("stuck-" + name, address, upstream + ' send_timeout = "600ms";',
                       listener="body_maximum = 100000000;")
        try:
            client = connect(under.address())
            stream = client.begin("/", "POST", [("content-length", str(len(body)))], end=False)
            began = time.monotonic()
            client.send_body(stream, body)
            head, _, _ = client.answer(stream)
            assert head[":status"] == "504" and 0.5 < time.monotonic() - began < 10, head
        finally:
            under.stop()
    never.set()


# ---- Trailers ------------------------------------------------------------------------------------------------------------


def trailers_go_where_they_may():
    seen = []

    def serve(connection, reader):
        while True:
            lines = read_head(reader)
            if not lines:
                return
            trailers = None
            if field_of(lines, "Transfer-Encoding"):
                while True:
                    length = int(reader.readline(), 16)
                    if length == 0:
                        break
                    reader.read(length + 2)
                trailers = read_head(reader)
            seen.append((lines, trailers))
            last = b"Content-Length: 3\r\n" if "bad" in lines[0] else b"X-Sum: 7\r\nSet-Cookie: a=b\r\nX-Secret: 1\r\n"
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n%s\r\n" % last)

    back = RawServer(serve)
    under = simple("trailers", back.address, route='response_fields = [ "X-Secret:" ]; request_fields = [ "X-Gone:" ];')
    try:
        client = connect(under.address())
        head, body, trailers = client.get("/")
        assert body == b"hello" and trailers == {"x-sum": "7"}, trailers
        assert client.get("/bad") == http2.INTERNAL_ERROR
        stream = client.begin("/", "POST", [], end=False)
        client.send_body(stream, b"some", end=False)
        client.send(heads(stream, [("x-sum", "9"), ("x-gone", "1"), ("cookie", "a"), ("x-forwarded-for", "1")], True))
        assert client.answer(stream)[1] == b"hello"
        assert seen[-1][1] == ["x-sum: 9"], seen[-1]

        # HTTP/1.1 on both sides: only those who say that they take them.
        chunks = b"3\r\nabc\r\n0\r\nX-Sum: 9\r\nX-Gone: 1\r\n\r\n"
        post = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close, TE\r\n%sTransfer-Encoding: chunked\r\n\r\n" + chunks
        assert under.raw(post % b"").endswith(b"5\r\nhello\r\n0\r\n\r\n")
        assert seen[-1][1] == ["X-Sum: 9"], seen[-1]
        assert under.raw(post % b"TE: trailers\r\n").endswith(b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
    finally:
        under.stop()


# ---- Servers that speak it -----------------------------------------------------------------------------------------------


class Grpc:
    """What a server of gRPC does: each message comes back at once, and the status stands in trailers."""

    def __init__(self):
        self.bodies, self.heads = {}, {}

    def __call__(self, connection, got):
        key = (id(connection), got.stream)
        if got.type == HEADERS and key not in self.heads:
            fields = dict(got.fields)
            self.heads[key] = fields
            self.bodies[key] = b""
            if fields[":path"] == "/only/trailers":
                connection.send(heads(got.stream, [(":status", "200"), ("content-type", "application/grpc"),
                                                   ("grpc-status", "5")], True))
                return
            connection.send(heads(got.stream, [(":status", "200"), ("content-type", "application/grpc")]))
        if got.type == DATA and got.payload:
            self.bodies[key] += got.payload
            connection.send_body(got.stream, got.payload, end=False)
        if got.ends():
            connection.send(heads(got.stream, [("grpc-status", "0"), ("grpc-message", "%d" % len(self.bodies[key]))], True))


def http2_server(handle, pairs=(), **more):
    return Http2Server(free_ports(1)[0], handle, pairs, **more)


def calls_go_both_ways():
    service = Grpc()
    back = http2_server(service)
    under = simple("grpc", back.address, 'protocol = "http2";')
    try:
        client = connect(under.address())
        stream = client.begin("/a.B/C", "POST", [("content-type", "application/grpc"), ("te", "trailers")], end=False)
        got = client.expect(lambda got: got.type == HEADERS and got.stream == stream)
        assert dict(got.fields)[":status"] == "200" and not got.ends()
        for i in range(50):  # each only after the one before has come back
            message = b"message %d" % i
            client.send(frame(DATA, 0, stream, message))
            back_again = b""
            while len(back_again) < len(message):
                back_again += client.expect(lambda got: got.type == DATA and got.stream == stream).payload
            assert back_again == message
        client.send(frame(DATA, END_STREAM, stream))
        got = client.expect(lambda got: got.type == HEADERS and got.stream == stream)
        assert got.ends() and dict(got.fields)["grpc-status"] == "0", got
        fields = next(iter(service.heads.values()))
        assert fields[":authority"] == "a.example" and fields["te"] == "trailers" and fields[":scheme"] == "http"
        assert not {"connection", "host", "transfer-encoding"} & set(fields), fields

        # A status without messages is the head itself, and stays so.
        stream = client.begin("/only/trailers", "POST", [("te", "trailers")])
        got = client.expect(lambda got: got.type == HEADERS and got.stream == stream)
        assert got.ends() and dict(got.fields)["grpc-status"] == "5", got
        # Much, both ways, on several streams at a time.
        body = pattern(3 * MIB)
        streams = [client.begin("/a.B/D", "POST", [], end=False) for _ in range(4)]
        for each in streams:
            client.send_body(each, body)
        for each in streams:
            head, got, trailers = client.answer(each)
            assert got == body and trailers == {"grpc-status": "0", "grpc-message": str(len(body))}
        # And for those who speak HTTP/1.1.
        status, got, _ = under.get("/a.B/E", method="POST", body=body[:100000])
        assert status == 200 and got == body[:100000]
        assert len(back.connections) <= 2  # one for each worker
    finally:
        under.stop()


def as_many_streams_as_a_server_takes():
    held, most = [], [0]
    lock = threading.Lock()

    def handle(connection, got):
        if got.type != HEADERS:
            return
        with lock:
            held.append((connection, got.stream))
            most[0] = max(most[0], sum(1 for each, _ in held if each is connection))

    back = http2_server(handle, [(http2.MAX_CONCURRENT_STREAMS, 3)])
    under = simple("streams", back.address, 'protocol = "http2"; idle_maximum = 1;', workers=1)
    try:
        client = connect(under.address())
        first = client.begin("/")
        wait_until(lambda: len(held) == 1, 20, "the first request")
        held[0][0].send(heads(held.pop()[1], [(":status", "200")], True))
        assert client.answer(first)[0][":status"] == "200"  # what the server allows is known by now
        streams = [client.begin("/") for _ in range(10)]
        wait_until(lambda: len(held) == 10, 20, "all requests at the server")
        assert most[0] <= 3 and len(back.connections) == 4, (most, len(back.connections))
        for connection, stream in held:
            connection.send(heads(stream, [(":status", "200")], True))
        for stream in streams:
            assert client.answer(stream)[0][":status"] == "200"
        # The rest of the connections end: one is kept.
        wait_until(lambda: sum(1 for each in back.connections if each.ended) == 3, 20, "their end")
    finally:
        under.stop()


def what_a_server_has_not_looked_at_is_asked_again():
    seen = []
    how = ["go"]

    def handle(connection, got):
        if got.type != HEADERS:
            return
        path = dict(got.fields)[":path"]
        seen.append((connection, got.stream, path))
        last = len([1 for each in seen if each[2] == path]) > 1
        if path == "/go" and not last:
            connection.send(frame(GOAWAY, 0, 0, struct.pack(">II", max(0, got.stream - 2), 0)))
        elif path == "/refused" and not last:
            connection.send(frame(RST_STREAM, 0, got.stream, struct.pack(">I", REFUSED_STREAM)))
        elif path == "/reset":
            connection.send(frame(RST_STREAM, 0, got.stream, struct.pack(">I", http2.INTERNAL_ERROR)))
        elif path == "/close":
            connection.close()
        elif path == "/half":
            connection.send(heads(got.stream, [(":status", "200")]) + frame(DATA, 0, got.stream, b"half"))
            connection.close()
        elif path == "/wrong":
            connection.send(heads(got.stream, [(":status", "200"), ("Upper", "1")], True))
        else:
            connection.send(heads(got.stream, [(":status", "200")]) + frame(DATA, END_STREAM, got.stream, b"fine"))

    back, spare = http2_server(handle), http2_server(handle)
    under = gateway("again", LISTENER % "" + """
        routes: { one: { path = "/one"; replace_prefix = "/"; upstream = "one"; }; all: { upstream = "app"; }; };
        upstreams: { app: { protocol = "http2"; servers: { a: { address = "%s"; max_fails = 0; };
                                                           b: { address = "%s"; max_fails = 0; }; }; };
                     one: { protocol = "http2"; servers: { a: { address = "%s"; max_fails = 0; }; }; }; };
        """ % (back.address, spare.address, back.address), workers=1)
    try:
        client = connect(under.address())

        def tries(path):
            return len([1 for each in seen if each[2] == path])

        for path, method in (("/go", "POST"), ("/refused", "POST")):
            assert client.get(path, method=method)[1] == b"fine", path
            assert tries(path) == 2
        del seen[:]
        assert client.get("/one/go", method="POST")[1] == b"fine"  # by another connection to the only server
        assert seen[0][0] is not seen[1][0]
        # Who has been asked may have done it.
        assert client.get("/reset", method="POST")[0][":status"] == "502" and tries("/reset") == 1
        assert client.get("/close", method="POST")[0][":status"] == "502" and tries("/close") == 1
        del seen[:]
        assert client.get("/reset")[0][":status"] == "502" and tries("/reset") == 2
        assert client.get("/wrong")[0][":status"] == "502"
        assert client.get("/half") == http2.INTERNAL_ERROR
        assert client.get("/")[1] == b"fine"

        # A server that goes while a request is under way on it finishes that.
        under.reload()
        assert client.get("/")[1] == b"fine"
    finally:
        under.stop()


def http1_servers_behind_http2_upstreams_fail():
    back = Server(say("HTTP/1.1"))
    under = simple("other", back.address, 'protocol = "http2"; connect_timeout = "2s";')
    try:
        assert under.get("/")[0] == 502
    finally:
        under.stop()


# ---- TLS -----------------------------------------------------------------------------------------------------------------


def tls_says_which_version():
    if not shutil.which("openssl"):
        print("  left out: it makes certificates with the program openssl")
        return
    directory = fresh_directory(DIRECTORY, "certificates")
    crt, key = os.path.join(directory, "a.crt"), os.path.join(directory, "a.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", crt], check=True,
                   capture_output=True)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(crt, key)
    served.set_alpn_protocols(["h2"])
    back = http2_server(Grpc(), context=served)
    under = simple("tls", back.address, 'protocol = "http2"; tls: { enabled = true; ca = "%s"; };' % crt,
                   listener='tls: { certificates: { a: { certificate = "%s"; key = "%s"; }; }; };' % (crt, key))
    try:
        context = ssl.create_default_context(cafile=crt)
        context.set_alpn_protocols(["h2", "http/1.1"])
        client = connect(under.address(), context=context)
        assert client.socket.selected_alpn_protocol() == "h2"
        stream = client.begin("/a.B/C", "POST", [("te", "trailers")], end=False)
        body = pattern(MIB)
        client.send_body(stream, body)
        head, got, trailers = client.answer(stream)
        assert got == body and trailers["grpc-status"] == "0"
        context = ssl.create_default_context(cafile=crt)
        context.set_alpn_protocols(["http/1.1"])
        host, port = under.address().split(":")
        with context.wrap_socket(socket.create_connection((host, int(port)), 20), server_hostname=host) as plain:
            plain.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
            answer = b""
            while True:
                piece = plain.recv(65536)
                if not piece:
                    break
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ") and b"abc" in answer
    finally:
        under.stop()


# ---- What only costs -----------------------------------------------------------------------------------------------------


def floods_end():
    service = Server(say("fine"))
    under = simple("floods", service.address, workers=1, routes='own: { path = "/own"; body = "own"; };')
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
    head = encode(pseudo)

    def rapid_reset(n):
        stream = 2 * n + 1
        return heads(stream, pseudo, True) + frame(RST_STREAM, 0, stream, struct.pack(">I", http2.CANCEL))

    def made_to_reset(n):  # a stream that we reset for what the client does
        stream = 2 * n + 1
        return heads(stream, pseudo) + frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0))

    def refused(n):  # far more at a time than were allowed
        return heads(2 * n + 1, [(":method", "POST")] + pseudo[1:])

    def continuation(n):
        return frame(CONTINUATION, 0, 1, b"") if n else frame(HEADERS, 0, 1, head)

    def long_head(n):
        return frame(CONTINUATION, 0, 1, encode([("x-%d" % n, "y" * 15000)])) if n else frame(HEADERS, 0, 1, head)

    floods = [(rapid_reset, 5000), (made_to_reset, 5000), (refused, 5000), (continuation, 5000), (long_head, 5000),
              (lambda n: frame(PING, 0, 0, b"12345678"), 100000),
              (lambda n: frame(SETTINGS, 0, 0), 100000),
              (lambda n: frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 4096) * 2000), 5000),
              (lambda n: frame(PRIORITY, 0, 2 * n + 1, struct.pack(">IB", 0, 1)), 100000),
              (lambda n: frame(77, 0, 0, b""), 100000),
              (lambda n: frame(DATA, 0, 1, b"") if n else heads(1, [(":method", "POST")] + pseudo[1:]), 100000),
              (lambda n: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)), 100000)]
    try:
        under.get("/own")
        before = under.memory_bytes()
        well = connect(under.address())
        assert well.get("/own")[1] == b"own"
        for number, (make, count) in enumerate(floods):
            client = connect(under.address())
            began = time.monotonic()
            try:
                for at in range(0, count, 50):
                    client.send(b"".join(make(n) for n in range(at, at + 50)))
            except OSError:
                pass
            code = None
            while True:  # until the end, which it comes to
                got = client.read()
                if got is None:
                    break
                code = got.number() if got.type == GOAWAY else code
            assert code in (None, ENHANCE_YOUR_CALM, PROTOCOL_ERROR), (number, code)
            client.close()
            assert well.get("/own")[1] == b"own", number
            assert time.monotonic() - began < 20, number
        assert grown(under, before) < 32 * MIB
        # A short head that says much: references to one long field.
        client = connect(under.address())
        entry = b"\x40" + http2.integer(4, 7) + b"long" + http2.integer(3900, 7) + b"y" * 3900
        assert client.get("/", block=head + entry + b"\xbe" * 3000)[0][":status"] == "431"
        assert client.get("/own")[1] == b"own"
        assert grown(under, before) < 32 * MIB
    finally:
        under.stop()


def calm_clients_are_not_meant():
    """Many requests, some of them taken back, PINGs between them, and windows that are opened a little at a time."""
    back = Server(say("x" * 20000))
    under = simple("calm", back.address)
    try:
        client = connect(under.address())
        for n in range(2000):
            stream = client.begin("/")
            if n % 40 == 0:
                client.send(frame(RST_STREAM, 0, stream, struct.pack(">I", http2.CANCEL)) +
                            frame(PING, 0, 0, b"12345678"))
                continue
            assert len(client.answer(stream)[1]) == 20000
            client.kept = []
    finally:
        under.stop()


def idle_connections_are_small():
    under = gateway("idle", LISTENER % "" + 'routes: { own: { body = "own"; }; };', workers=1)
    try:
        under.get("/")
        before = under.memory_bytes()
        clients = [connect(under.address()) for _ in range(500)]
        for client in clients:
            assert client.get("/")[1] == b"own"
        each = (under.memory_bytes() - before) / len(clients)
        print("  %d bytes for each connection" % each)
        assert each < 64 << 10 or SANITIZED
        for client in clients:
            client.close()
    finally:
        under.stop()


# ---- Ends ----------------------------------------------------------------------------------------------------------------


def a_drain_finishes_what_has_begun():
    go = threading.Event()

    def serve(connection, reader):
        while True:
            lines = read_head(reader)
            if not lines:
                return
            if "wait" in lines[0]:
                assert go.wait(60)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    back = RawServer(serve)
    section = LISTENER + 'routes: { all: { upstream = "app"; }; }; upstreams: { app: { servers: { a: { address = "%s"; }; }; }; };'
    under = gateway("drain", section % ('}; more: { address = "127.0.0.1:PORT(1)";', back.address), ports=2)
    try:
        for how in ("reload", "end"):
            go.clear()
            client = connect(under.address(1 if how == "reload" else 0))
            idle = connect(under.address(1 if how == "reload" else 0))
            assert idle.get("/")[1] == b"done"
            stream = client.begin("/wait")
            client.send(frame(PING, 0, 0, b"12345678"))
            client.expect(lambda got: got.type == PING)  # the request has come
            if how == "reload":
                under.reload(section % ("", back.address))
            else:
                under.process.send_signal(signal.SIGTERM)
            first = client.expect(lambda got: got.type == GOAWAY)
            assert (first.last(), first.number()) == (0x7fffffff, 0)
            late = client.begin("/late")  # was on its way when the frame was
            second = client.expect(lambda got: got.type == GOAWAY)
            assert second.last() in (stream, late) and second.number() == 0
            go.set()
            assert client.answer(stream)[1] == b"done"
            if how == "reload":  # its listener is gone, and with it the routes: the client may ask again elsewhere
                assert client.answer(late) == REFUSED_STREAM
            else:
                assert client.answer(late)[1] == b"done"
            assert client.read() is None
            while True:
                got = idle.read()
                if got is None:
                    break
                assert got.type == GOAWAY and got.number() == 0
    finally:
        go.set()
        under.stop()
    assert under.process.returncode == 0


# ---- Programs of others --------------------------------------------------------------------------------------------------


def programs_of_others_agree():
    for program in ("h2load", "nghttp", "nghttpd"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"):
            print("  left out: the program %s is missing (Debian: nghttp2-client, nghttp2-server)" % program)
            return
    folder = fresh_directory(DIRECTORY, "www")
    with open(os.path.join(folder, "big"), "wb") as file:
        file.write(pattern(4 * MIB))
    with open(os.path.join(folder, "small"), "wb") as file:
        file.write(b"small")
    port = free_ports(1)[0]
    nghttpd = shutil.which("nghttpd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    with open(os.path.join(folder, "log"), "w") as log:
        server = subprocess.Popen([nghttpd, "--no-tls", "-d", folder, "--trailer", "x-sum: 7", str(port)], stdout=log,
                                  stderr=log)
    under = simple("others", "127.0.0.1:%d" % port, 'protocol = "http2";')
    try:
        wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None if is_open(port) else 0, 20,
                   "nghttpd")
        url = "http://%s" % under.address()
        got = subprocess.run(["nghttp", "-v", url + "/small"], capture_output=True, text=True, timeout=60).stdout
        assert "x-sum: 7" in got and ":status: 200" in got, got
        got = subprocess.run(["nghttp", "-w", "16", "-W", "16", url + "/big"], capture_output=True, timeout=60).stdout
        assert got == pattern(4 * MIB)
        for path, count in (("/small", 20000), ("/big", 40)):
            got = subprocess.run(["h2load", "-n", str(count), "-c", "8", "-m", "20", url + path], capture_output=True,
                                 text=True, timeout=120).stdout
            assert "%d succeeded, 0 failed, 0 errored, 0 timeout" % count in got, got
            assert "status codes: %d 2xx" % count in got, got
    finally:
        under.stop()
        server.terminate()
        server.wait()


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


def mistakes_are_told():
    under = Gateway(fresh_directory(DIRECTORY, "mistakes"), BINARIES, PLUGINS, """
  listeners: { a: { address = "127.0.0.1:PORT(0)"; http1 = false; http2 = false; }; };
  routes: { all: { upstream = "app"; }; };
  upstreams: { app: { protocol = "http3"; servers: { a: { address = "127.0.0.1:1"; }; }; }; };
""")
    code, text = under.check()
    assert code == 1 and 'protocol\' is "http3", expected one of "http1", "http2"' in text, text
    under.configure(open(under.config).read().split("gateway: {\n")[1].rsplit("\n};", 1)[0].replace("http3", "http2"))
    code, text = under.check()
    assert code == 1 and "http1: it is false, and http2, too" in text, text
    under.configure(open(under.config).read().split("gateway: {\n")[1].rsplit("\n};", 1)[0].replace(
        "http1 = false; http2 = false;", "").replace("servers:", 'send_proxy = "v1"; check: { type = "http"; }; servers:'))
    code, text = under.check()
    assert code == 1 and "send_proxy: connections of HTTP/2" in text and "type: checks of this type" in text, text


CASES = [requests_become_those_of_http1, what_is_wrong_is_refused, answers_are_what_they_were,
         nobody_is_read_faster_than_the_other_takes, what_is_compressed_waits_too, who_does_not_go_on_is_given_up,
         servers_that_take_nothing_are_given_up, trailers_go_where_they_may,
         calls_go_both_ways, as_many_streams_as_a_server_takes, what_a_server_has_not_looked_at_is_asked_again,
         http1_servers_behind_http2_upstreams_fail, tls_says_which_version, floods_end, calm_clients_are_not_meant,
         idle_connections_are_small, a_drain_finishes_what_has_begun, programs_of_others_agree, mistakes_are_told]

if __name__ == "__main__":
    try:
        run_cases(CASES, sys.argv[3:])
    finally:
        shutil.rmtree(DIRECTORY, ignore_errors=True)
