#!/usr/bin/env python3
"""Answers that the gateway compresses: which of them, what their heads say, that every byte is there whatever the server
does, that streams are not held back, and that what is compressed does not keep other requests waiting.

  test_gateway_gzip.py BINARIES PLUGINS [CASE...]"""
import gzip
import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib

from gateway import Gateway, Server, field_of, fresh_directory, run_cases, say, wait_until

BINARIES, PLUGINS = (os.path.abspath(folder) for folder in sys.argv[1:3])
DIRECTORY = tempfile.mkdtemp(prefix="holdfast-gateway-gzip-")
TAKES = {"Accept-Encoding": "gzip"}

SECTION = """listeners: { web: { address = "127.0.0.1:PORT(0)"; }; };
routes: {
  own: { path = "/own"; body = "%s"; gzip: { enabled = true; }; };
  off: { path = "/off"; upstream = "app"; };
  best: { path = "/best"; upstream = "app"; gzip: { enabled = true; level = 9; minimum = "10"; types = [ "text/plain" ]; }; };
  edited: { path = "/edited"; upstream = "app"; gzip: { enabled = true; }; response_fields = [ "Vary: X-Own", "X-Seen: yes" ]; };
  all: { upstream = "app"; gzip: { enabled = true; }; };
};
upstreams: { app: { servers: { one: { address = "%s"; max_fails = 0; }; }; }; };"""


def words(size, seed=1):
    """Text that can be compressed, but not to nothing."""
    chosen = random.Random(seed)
    text = bytearray()
    while len(text) < size:
        text += b"%s%d " % (chosen.choice([b"order ", b"customer ", b"line ", b"amount "]), chosen.randrange(10 ** 6))
    return bytes(text[:size])


def gateway(name, server, **more):
    under = Gateway(fresh_directory(DIRECTORY, name), BINARIES, PLUGINS, SECTION % ("own " * 400, server.address), **more)
    under.start()
    return under


def fields(type="text/html", more=""):
    return "Content-Type: %s\r\n%s" % (type, more)


def answers_are_compressed_for_who_takes_it():
    body = words(100000)
    server = Server(say(body, fields=fields(more='ETag: "a"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n')))
    under = gateway("plain", server)
    try:
        status, got, head = under.get("/", TAKES)
        assert status == 200 and gzip.decompress(got) == body and len(got) < len(body) / 2, (status, len(got))
        assert head["Content-Encoding"] == "gzip" and head["ETag"] == 'W/"a"' and head["Accept-Ranges"] is None, head
        assert head["Vary"] == "Origin, Accept-Encoding" and head["Content-Length"] is None, head
        assert head["Transfer-Encoding"] == "chunked", head

        for accept in ({}, {"Accept-Encoding": "br"}, {"Accept-Encoding": "gzip;q=0"}):
            _, got, head = under.get("/", accept)
            assert got == body and head["Content-Encoding"] is None and head["ETag"] == '"a"', head
            assert head["Vary"] == "Origin, Accept-Encoding" and head["Content-Length"] == str(len(body)), head

        _, got, head = under.get("/", TAKES, method="HEAD")
        assert got == b"" and head["Content-Encoding"] == "gzip" and head["Content-Length"] is None, head
        assert head["ETag"] == 'W/"a"' and head["Vary"] == "Origin, Accept-Encoding", head

        _, got, head = under.get("/", TAKES, method="POST", body=b"x" * 1000)
        assert gzip.decompress(got) == body and head["Content-Encoding"] == "gzip"

        _, got, head = under.get("/off", TAKES)
        assert got == body and head["Vary"] == "Origin" and head["Content-Encoding"] is None, head
        _, got, head = under.get("/best", TAKES)
        assert got == body  # text/html is not among its types
        _, got, head = under.get("/edited", TAKES)
        assert gzip.decompress(got) == body and head["Vary"] == "X-Own, Accept-Encoding" and head["X-Seen"] == "yes", head
        _, got, head = under.get("/own", TAKES)
        assert gzip.decompress(got) == b"own " * 400 and head["Vary"] == "Accept-Encoding", head

        # HTTP/1.0 knows no chunks.
        answer = under.raw(b"GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n")
        top, got = answer.split(b"\r\n\r\n", 1)
        assert b"Connection: close" in top and b"chunked" not in top and b"Content-Length" not in top, top
        assert gzip.decompress(got) == body
    finally:
        under.stop()
        server.stop()


def what_is_not_to_be_compressed_goes_as_it_is():
    body = words(5000)
    cases = [("200 OK", fields("image/png")), ("200 OK", fields(more="Content-Encoding: br\r\n")),
             ("200 OK", fields(more="Cache-Control: private, no-transform\r\n")), ("404 Not Found", fields()),
             ("206 Partial Content", fields(more="Content-Range: bytes 0-4999/9000\r\n")), ("200 OK", "")]
    server = Server()
    under = gateway("not", server)
    try:
        for status, head in cases:
            server.answer = say(body, status, head)
            _, got, seen = under.get("/", TAKES)
            assert got == body and seen["Content-Encoding"] in (None, "br") and seen["Vary"] is None, (status, head, seen)
            assert seen["Content-Length"] == "5000", seen
        server.answer = say(body[:1023], fields=fields())
        assert under.get("/", TAKES)[1] == body[:1023]
        server.answer = say(body[:1024], fields=fields())
        assert gzip.decompress(under.get("/", TAKES)[1]) == body[:1024]
        server.answer = say(b"0123456789", fields=fields("Text/Plain ;charset=utf-8"))
        assert gzip.decompress(under.get("/best", TAKES)[1]) == b"0123456789"
        server.answer = say(b"", "204 No Content", "")
        status, got, seen = under.get("/", TAKES)
        assert status == 204 and got == b"" and seen["Content-Encoding"] is None
    finally:
        under.stop()
        server.stop()


def chunked(pieces, trailers=b""):
    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n" + trailers + b"\r\n")
        return True

    return answer


def every_byte_is_there():
    """Of bodies of all lengths, chunked in all ways, up to a close, over one connection after the other."""
    server = Server()
    under = gateway("bytes", server)
    connection = http.client.HTTPConnection(under.address(), timeout=30)

    def check(body):
        connection.request("GET", "/", headers=TAKES)
        answer = connection.getresponse()
        assert answer.headers["Content-Encoding"] == "gzip", answer.headers
        assert gzip.decompress(answer.read()) == body

    try:
        for size in (1024, 4095, 4096, 4097, 65535, 65536, 70000, 300000, 3000000):
            body = words(size, size)
            server.answer = say(body, fields=fields())
            check(body)
            server.answer = chunked([body[at:at + 1 + size // 7] for at in range(0, size, 1 + size // 7)])
            check(body)
        body = random.Random(7).randbytes(500000)  # which gets longer
        server.answer = say(body, fields=fields("text/plain"))
        check(body)
        server.answer = chunked([b"x"] * 3000)
        check(b"x" * 3000)
        server.answer = chunked([])
        check(b"")

        def until_close(request, to):
            to.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body)
            return False

        server.answer = until_close
        check(body)
        # Trailers come behind what was still being compressed.
        server.answer = chunked([words(200000)], b"X-Sum: 7\r\n")
        answer = under.raw(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nTE: trailers\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"0\r\nX-Sum: 7\r\n\r\n"), answer[-100:]
    finally:
        connection.close()
        under.stop()
        server.stop()


def a_broken_answer_is_not_taken_for_a_whole_one():
    server = Server()
    under = gateway("broken", server)
    body = words(100000)

    def break_off(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200000\r\n\r\n" + body)
        return False

    try:
        server.answer = break_off
        try:
            under.get("/", TAKES)
            assert False, "it was taken for a whole one"
        except http.client.IncompleteRead:
            pass
        server.answer = say(body, fields=fields())
        assert gzip.decompress(under.get("/", TAKES)[1]) == body
    finally:
        under.stop()
        server.stop()


def streams_are_not_held_back():
    """Each event is readable before the server sends the next one."""
    go_on = threading.Semaphore(0)

    def events(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            event = b"data: %d\n\n" % number
            connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            assert go_on.acquire(timeout=20)
        connection.sendall(b"0\r\n\r\n")
        return True

    server = Server(events)
    under = gateway("stream", server)
    connection = http.client.HTTPConnection(under.address(), timeout=20)
    try:
        connection.request("GET", "/", headers=TAKES)
        answer = connection.getresponse()
        assert answer.headers["Content-Encoding"] == "gzip"
        reader, text = zlib.decompressobj(31), b""
        for number in range(20):
            while not text.endswith(b"data: %d\n\n" % number):
                text += reader.decompress(answer.read1(65536))
            go_on.release()
        text += reader.decompress(answer.read()) + reader.flush()
        assert reader.eof and text == b"".join(b"data: %d\n\n" % number for number in range(20))
    finally:
        connection.close()
        under.stop()
        server.stop()


def slow_clients_hold_the_server_up():
    """What waits for a client that does not read is bounded, and all of it comes once it reads."""
    sent = [0]
    body = random.Random(3).randbytes(1 << 20)  # does not shrink

    def endless(request, connection):
        if request[0][0].startswith("GET /short"):
            return say("short")(request, connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (64 * len(body)))
        for _ in range(64):
            connection.sendall(body)
            sent[0] += 1
        return True

    server = Server(endless)
    under = gateway("slow", server, workers=1)
    try:
        host, port = under.address().split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
            wait_until(lambda: sent[0] > 0, what="the server to send")

            def rests(seconds=0.5):
                before = sent[0]
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    assert under.get("/short")[1] == b"short"  # others are served meanwhile
                return sent[0] == before

            wait_until(rests, what="the server to be held up")
            assert sent[0] < 32, sent
            reader, size, rest = zlib.decompressobj(31), 0, b""
            stream = client.makefile("rb")
            while stream.readline() != b"\r\n":
                pass
            while True:
                chunk = stream.read(int(stream.readline(), 16))
                stream.readline()
                if not chunk:
                    break
                size += len(reader.decompress(chunk))
            assert reader.eof and size == 64 * len(body), size
    finally:
        under.stop()
        server.stop()


def others_do_not_wait_for_it():
    """While large answers are compressed, at the highest level, a short one comes soon."""
    body = words(4 << 20)

    def answer(request, connection):
        return (say("short") if " /short" in request[0][0] else say(body, fields=fields("text/plain")))(request, connection)

    server = Server(answer)
    under = gateway("others", server, workers=1)
    done = []
    try:
        def large():
            done.append(gzip.decompress(under.get("/best", TAKES, timeout=120)[1]) == body)

        threads = [threading.Thread(target=large) for _ in range(4)]
        for thread in threads:
            thread.start()
        waited = []
        while any(thread.is_alive() for thread in threads):
            begun = time.monotonic()
            assert under.get("/short")[1] == b"short"
            waited.append(time.monotonic() - begun)
        for thread in threads:
            thread.join()
        assert done == [True] * 4 and len(waited) > 4, (done, len(waited))
        # Some 5 s of compressing: whoever waited for one body to end would wait for a second.
        assert sorted(waited)[len(waited) // 2] < 0.25, sorted(waited)[-5:]
    finally:
        under.stop()
        server.stop()


def clients_that_go_leave_nothing():
    body = words(1 << 20)
    server = Server(say(body, fields=fields()))
    under = gateway("gone", server)
    try:
        for number in range(100):
            host, port = under.address().split(":")
            with socket.create_connection((host, int(port))) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
                if number % 2:
                    client.recv(100)
        assert gzip.decompress(under.get("/", TAKES)[1]) == body
    finally:
        under.stop()  # which says so if something was not freed
        server.stop()


def clients_of_http2_get_it_too():
    curl = shutil.which("curl")
    if not curl or "nghttp2" not in subprocess.run([curl, "--version"], capture_output=True, text=True).stdout:
        print("  left out: there is no curl with HTTP/2")
        return
    body = words(300000)
    server = Server(say(body, fields=fields(more='ETag: "a"\r\n')))
    under = gateway("http2", server)
    try:
        for more in ([], ["--compressed"]):
            done = subprocess.run([curl, "-sS", "--http2-prior-knowledge", "-D", "-", *more, "http://%s/" % under.address()],
                                  capture_output=True, timeout=60)
            head, got = done.stdout.split(b"\r\n\r\n", 1)
            assert got == body and b"HTTP/2 200" in head, (done.stderr, head)
            assert (b"content-encoding: gzip" in head) == bool(more), head
            assert (b"content-length" in head) != bool(more), head
            assert b"vary: Accept-Encoding" in head, head
        server.answer = chunked([words(50000, n) for n in range(20)])
        done = subprocess.run([curl, "-sS", "--http2-prior-knowledge", "--compressed", "http://%s/" % under.address()],
                              capture_output=True, timeout=60)
        assert done.stdout == b"".join(words(50000, n) for n in range(20)), done.stderr
    finally:
        under.stop()
        server.stop()


def mistakes_are_found():
    server = Server()
    under = Gateway(fresh_directory(DIRECTORY, "mistakes"), BINARIES, PLUGINS, "")
    try:
        for wrong, word in (('types = [ "html" ]', "types: 'html' is no type"), ("level = 10", "level"),
                            ("level = 0", "level"), ('minimum = "-1"', "minimum")):
            under.configure('listeners: { web: { address = "127.0.0.1:PORT(0)"; }; };\nroutes: { all: { body = "x";\n'
                            'gzip: { enabled = true; %s; }; }; };' % wrong)
            code, said = under.check()
            assert code != 0 and word in said and "holdfast.cfg:" in said, said
    finally:
        server.stop()


CASES = [answers_are_compressed_for_who_takes_it, what_is_not_to_be_compressed_goes_as_it_is, every_byte_is_there,
         a_broken_answer_is_not_taken_for_a_whole_one, streams_are_not_held_back, slow_clients_hold_the_server_up,
         others_do_not_wait_for_it, clients_that_go_leave_nothing, clients_of_http2_get_it_too, mistakes_are_found]

if __name__ == "__main__":
    try:
        run_cases(CASES, sys.argv[3:])
    finally:
        shutil.rmtree(DIRECTORY, ignore_errors=True)
