#!/usr/bin/env python3
"""Malformed and ambiguous requests (corpus/requests.py), each sent to a real gateway at once and in pieces, to a listener for
HTTP/1.1 and to one that speaks HTTP/2, too: it is refused
with its status and the connection closed, or a server that records every byte sees just the request that was meant, in a
form that nobody can read in two ways, and no other.

  test_gateway_malformed.py BINARIES PLUGINS [NAME...]"""
import os
import random
import re
import shutil
import socket
import sys
import tempfile
import threading

from corpus.requests import all_cases
from gateway import Gateway, free_ports

SECTION = """
  listeners: {
    front: { address = "127.0.0.1:PORT(0)"; http2 = false; };
    both: { address = "127.0.0.1:PORT(1)"; }; # HTTP/2, too, where that is built in: told apart by the first bytes
  };
  routes: {
    private: { path = "/private"; status = 403; body = "no\\n"; };
    own: { path = "/own"; body = "own\\n"; };
    server: { path = "*"; path_match = "exact"; upstream = "app"; };
    all: { upstream = "app"; };
  };
  upstreams: { app: { servers: { a: { address = "127.0.0.1:%d"; }; }; }; };
"""
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel.example\r\n\r\n"
ANSWER_SECONDS = 20  # none takes so long: whoever waits for it has failed

REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.1")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x09\x20-\x7e\x80-\xff]*?)[ \t]*")
CHUNK_SIZE = re.compile(rb"[0-9a-f]+")
FRAMING = (b"content-length", b"transfer-encoding", b"host")


class Ambiguous(Exception):
    pass


class Seen:
    def __init__(self, method, target, fields, body):
        self.method = method.decode("latin-1")
        self.target = target.decode("latin-1")
        self.fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
        self.body = body


def require(condition, what, data):
    if not condition:
        raise Ambiguous("%s: %r" % (what, data[:300]))


def read_lines(data, at):
    """The lines from `at` up to an empty one, and where it ends; None: there is none yet."""
    end = data.find(b"\r\n\r\n", at) if data[at:at + 2] != b"\r\n" else at - 2
    if end < 0:
        return None, at
    lines = data[at:end].split(b"\r\n") if end > at else []
    for line in lines:
        require(b"\r" not in line and b"\n" not in line, "a bare CR or LF", line)
    return lines, end + 4


def read_fields(lines):
    fields = []
    for line in lines:
        match = FIELD.fullmatch(line)
        require(match, "no field", line)
        fields.append((match[1].lower(), match[2]))
    return fields


def read_chunks(data, at):
    """The body that begins at `at`, and where it ends; None: it has not ended yet."""
    body = b""
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None, at
        require(CHUNK_SIZE.fullmatch(data[at:end]), "the size of a chunk", data[at:end])
        size = int(data[at:end], 16)
        if size == 0:
            trailers, after = read_lines(data, end + 2)
            if trailers is None:
                return None, at
            for name, _ in read_fields(trailers):
                require(name not in FRAMING, "a trailer", name)
            return body, after
        if len(data) < end + size + 4:
            return None, at
        body += data[end + 2:end + 2 + size]
        require(data[end + 2 + size:end + size + 4] == b"\r\n", "the end of a chunk", data[end + 2 + size:])
        at = end + size + 4


def read_request(data):
    """The request at the front of the bytes, in the one form that everybody reads the same way, and its size; None: not
    all of it is there."""
    lines, at = read_lines(data, 0)
    if lines is None:
        return None, 0
    match = REQUEST_LINE.fullmatch(lines[0]) if lines else None
    require(match, "the request line", data)
    fields = read_fields(lines[1:])
    # Servers that make environment variables of fields take one for another.
    alike = [name.replace(b"_", b"-") for name, _ in fields]
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    require(alike.count(b"content-length") + alike.count(b"transfer-encoding") <= 1 and
            len(lengths) + len(codings) == alike.count(b"content-length") + alike.count(b"transfer-encoding"), "the framing", data)
    require([name for name, _ in fields].count(b"host") == 1, "the host", data)
    body = b""
    if codings:
        require(codings == [b"chunked"], "the coding", data)
        body, at = read_chunks(data, at)
        if body is None:
            return None, 0
    elif lengths:
        require(re.fullmatch(rb"0|[1-9][0-9]*", lengths[0]), "the length", data)
        size = int(lengths[0])
        if len(data) < at + size:
            return None, 0
        body = data[at:at + size]
        at += size
    return Seen(match[1], match[2], fields, body), at


class Recorder:
    """The server: answers each whole request, and closes a connection on which it read what could be read otherwise."""

    def __init__(self):
        self.port = free_ports(1)[0]
        self.begin()
        listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def begin(self):
        self.requests = []
        self.violations = []

    def accept(self, listener):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        data = b""
        with connection:
            try:
                while True:
                    request, size = read_request(data)
                    if request:
                        data = data[size:]
                        self.requests.append(request)
                        body = b"" if request.method == "HEAD" else b"ok"
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)
                        continue
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
            except Ambiguous as error:
                self.violations.append(str(error))
            except OSError:
                pass


class Client:
    """Sends a case and reads answers."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def send(self, pieces, end):
        try:
            for piece in pieces:
                self.connection.sendall(piece)
            if end:
                self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before all was sent: what the answer is shows it

    def more(self):
        try:
            piece = self.connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        self.data += piece
        return piece

    def answer(self, method):
        """The status of the next answer that is not an interim one; None: the connection ended."""
        while True:
            while b"\r\n\r\n" not in self.data:
                if not self.more():
                    assert not self.data, self.data
                    return None
            lines, _, self.data = self.data.partition(b"\r\n\r\n")
            match = re.match(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ", lines)
            assert match, lines
            if match[1] != b"100":
                break
        length = re.search(rb"\r\nContent-Length: ([0-9]+)", lines)
        size = int(length[1]) if length and method != "HEAD" else 0
        while len(self.data) < size:
            assert self.more(), "an answer is not whole"
        self.data = self.data[size:]
        return int(match[1])


def methods_of(case):
    """Of the answers, one after the other: only those of HEAD matter."""
    return ["HEAD" if case.data.startswith(b"HEAD ") else ""] * len(case.answers)


def try_case(port, recorder, case, pieces):
    recorder.begin()
    client = Client(port)
    with client.connection:
        client.send(pieces, case.ends)
        expected = case.answers + ([] if case.closes else [200])
        answers = [client.answer(method) for method in methods_of(case) + [""] * (len(expected) - len(case.answers))]
        if case.closes or None in answers:
            answers.append(client.answer("") if None not in answers else None)
            expected = expected + [None] * (len(answers) - len(expected))
    seen = [(request.method, request.target, request.body) for request in recorder.requests]
    meant = case.seen + ([] if case.closes else [("GET", "/sentinel", b"")])
    assert not recorder.violations, recorder.violations
    assert seen == meant, "the server saw %r, and not %r; answers %r" % (seen, meant, answers)
    assert answers == expected, "answers %r, and not %r" % (answers, expected)
    for request in recorder.requests[:len(case.seen)]:
        for name in case.absent:
            assert name not in request.fields, "the server saw the field %s: %r" % (name, request.fields[name])
        for name, value in case.present.items():
            assert request.fields.get(name) == value, "%s is %r" % (name, request.fields.get(name))


def in_pieces(data, rest, chance):
    """Cut where the gateway's parsers may be in the middle of something; long ones in long pieces."""
    most = max(1, len(data) // 40)
    pieces = []
    while data:
        size = chance.randint(1, most)
        pieces.append(data[:size])
        data = data[size:]
    return pieces + ([rest] if rest else [])


def run(port, recorder, case, seed):
    rest = b"" if case.ends else SENTINEL
    for pieces in ([case.data + rest], in_pieces(case.data, rest, random.Random(seed))):
        try:
            try_case(port, recorder, case, pieces)
        except AssertionError:
            if not case.other:
                raise
            try_case(port, recorder, case.other, pieces)


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    directory = tempfile.mkdtemp(prefix="holdfast-malformed-")
    recorder = Recorder()
    gateway = Gateway(directory, binaries, plugins, SECTION % recorder.port, ports=2, workers=1)
    cases = [case for case in all_cases() if len(sys.argv) < 4 or case.name in sys.argv[3:]]
    failed = 0
    try:
        gateway.start()
        for seed, (n, case) in enumerate([(n, case) for case in cases for n in (0, 1)]):
            if n == 1 and case.data.startswith(b"PRI "):
                continue
            try:
                run(gateway.ports[n], recorder, case, seed)
            except (AssertionError, socket.timeout) as error:
                failed += 1
                print("failed: %s (listener %d): %s\n    %r" % (case.name, n, str(error)[:600] or repr(error), case.data[:160]), flush=True)
        assert gateway.process.poll() is None, gateway.log()[-4000:]
        gateway.stop()
    finally:
        if gateway.process and gateway.process.poll() is None:
            gateway.process.kill()
        shutil.rmtree(directory, ignore_errors=True)
    if failed:
        sys.exit("failed: %d of %d cases" % (failed, len(cases)))
    assert len(sys.argv) > 3 or len(cases) >= 200
    print("passed: %d cases" % len(cases))


if __name__ == "__main__":
    main()
