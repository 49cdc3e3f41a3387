#!/usr/bin/env python3
"""Clients that are slow on purpose: with heads, with bodies, with reading, and ten thousand that do nothing.  Each gets what
its time-out says, the gateway's memory and processor time stay bounded meanwhile, and others are served at once.

  test_gateway_slow.py BINARIES PLUGINS [CASE...]"""
import os
import re
import resource
import selectors
import shutil
import socket
import sys
import tempfile
import threading
import time

from gateway import Gateway, Server, is_sanitized, run_cases, wait_until

SECTION = """
  listeners: {
    front: { address = "127.0.0.1:PORT(0)"; head_timeout = "1s"; body_timeout = "1s"; send_timeout = "1s"; };
    idle: { address = "127.0.0.1:PORT(1)"; idle_timeout = "%ds"; };
    few: { address = "127.0.0.1:PORT(2)"; connections_maximum = 20; };
  };
  routes: { all: { upstream = "app"; }; };
  upstreams: { app: { servers: { a: { address = "%s"; }; }; idle_maximum = 8; }; };
"""
TIMEOUT = 1.0      # of the listener `front`, in all that it waits for
SLACK = 3.0        # by which a time-out may be late on a machine that has other work
IDLE_SECONDS = 20  # of the listener `idle`
IDLE_COUNT = 10000
LARGE = 64 << 20   # bytes of an answer that nobody takes
QUICK = 2.0        # in which others are served


class Case:
    def __init__(self, gateway, server, is_sanitized):
        self.gateway = gateway
        self.server = server
        self.is_sanitized = is_sanitized
        self.sent_of_large = 0 # bytes of answers that the server got rid of

    # ---- What the gateway takes ----------------------------------------------------------------------------------------

    def kib(self):
        return self.gateway.memory_bytes() >> 10

    def expect_memory(self, before, most_kib, what):
        """A sanitizer keeps what was freed, and its own books."""
        grown = self.kib() - before
        print("  %s: %d KiB more" % (what, grown), flush=True)
        assert grown <= most_kib * (8 if self.is_sanitized else 1) + 4096, "%s: %d KiB more, and at most %d" % (what, grown, most_kib)

    def expect_cpu(self, before, seconds, share, what):
        spent = self.gateway.cpu_seconds() - before
        print("  %s: %.0f ms of a processor in %.1f s" % (what, spent * 1000, seconds), flush=True)
        assert spent <= share * seconds * (10 if self.is_sanitized else 1) + 0.2, "%s: %.3f s of a processor in %.1f s" % (what, spent, seconds)

    # ---- Clients -------------------------------------------------------------------------------------------------------

    def connect(self, listener=0):
        return socket.create_connection(("127.0.0.1", self.gateway.ports[listener]), timeout=30)

    def serves_others(self):
        begin = time.monotonic()
        status, body, _ = self.gateway.get("/other", timeout=QUICK)
        assert (status, body) == (200, b"hello"), (status, body)
        return time.monotonic() - begin

    def wait_until_ended(self, connections, seconds, each=None):
        """Others are served until all of the connections have ended; `each(i)` is called now and then for those that are
        open.  Returns for each what came, and after how many seconds it ended."""
        begin = time.monotonic()
        came = [b""] * len(connections)
        ended = [None] * len(connections)
        with selectors.DefaultSelector() as selector:
            for i, connection in enumerate(connections):
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ, i)
            other = looked = begin
            while selector.get_map():
                now = time.monotonic()
                assert now < begin + seconds, "%d connections did not end" % len(selector.get_map())
                if now >= other:
                    self.serves_others()
                    other = now + 0.2
                if each and now >= looked:
                    looked = now + 0.05
                    for key in list(selector.get_map().values()):
                        each(key.data)
                for key, _ in selector.select(0.05):
                    try:
                        piece = key.fileobj.recv(65536)
                    except ConnectionResetError:
                        piece = b""
                    came[key.data] += piece
                    if not piece:
                        ended[key.data] = time.monotonic() - begin
                        selector.unregister(key.fileobj)
        return came, ended


def send_byte(connection, data, at):
    try:
        connection.send(data[at % len(data):at % len(data) + 1])
    except OSError:
        pass  # it has been closed meanwhile


def expect_status(came, status):
    for answer in came:
        assert answer.startswith(b"HTTP/1.1 %d " % status) and b"\r\nConnection: close\r\n" in answer, answer[:200]


def expect_time(ended, least, most):
    assert min(ended) >= least - 0.2 and max(ended) <= most, "ended after %.2f to %.2f s, and not %.2f to %.2f s" % (
        min(ended), max(ended), least, most)


def close_all(connections):
    for connection in connections:
        connection.close()


# ---- Cases -------------------------------------------------------------------------------------------------------------

def slow_heads(case):
    """A byte now and then does not make the time for a head longer."""
    before, cpu, begin = case.kib(), case.gateway.cpu_seconds(), time.monotonic()
    connections = [case.connect() for _ in range(300)]
    data = b"GET /t HTTP/1.1\r\nHost: a.example\r\nX-Long: " + b"x" * 1000
    at = [0] * len(connections)

    def each(i):
        send_byte(connections[i], data, at[i])
        at[i] += 1

    came, ended = case.wait_until_ended(connections, TIMEOUT + SLACK, each)
    expect_status(came, 408)
    expect_time(ended, TIMEOUT, TIMEOUT + SLACK)
    case.expect_memory(before, 300 * 32, "300 slow heads")
    case.expect_cpu(cpu, time.monotonic() - begin, 0.5, "300 slow heads")
    close_all(connections)


def slow_heads_behind_a_request(case):
    """The next head on a connection has no more time than the first one, whether it began together with a request or
    after it."""
    request = b"GET /t HTTP/1.1\r\nHost: a.example\r\n\r\n"
    connections = []
    for together in (True, False):
        for _ in range(20):
            connections.append(case.connect())
            connections[-1].sendall(request + (b"GET /" if together else b""))
    for connection in connections:
        answer = b""
        while not answer.endswith(b"hello"):
            answer += connection.recv(1000)
    for connection in connections[20:]:
        connection.sendall(b"GET /")
    came, ended = case.wait_until_ended(connections, TIMEOUT + SLACK)
    expect_status(came, 408)
    expect_time(ended, TIMEOUT - 0.5, TIMEOUT + SLACK)
    close_all(connections)


def silence(case):
    """Who says nothing at all is told nothing."""
    connections = [case.connect() for _ in range(100)]
    came, ended = case.wait_until_ended(connections, TIMEOUT + SLACK)
    assert not any(came), came
    expect_time(ended, TIMEOUT, TIMEOUT + SLACK)
    close_all(connections)


def slow_bodies(case):
    """A body that stops coming ends with 408, with a length and in chunks; the server that was waiting for it is told so by
    the end of its connection, and never gets the rest."""
    before, cpu, begin = case.kib(), case.gateway.cpu_seconds(), time.monotonic()
    seen = len(case.server.seen)
    connections = [case.connect() for _ in range(100)]
    for i, connection in enumerate(connections):
        connection.sendall(b"POST /t HTTP/1.1\r\nHost: a.example\r\n" +
                           (b"Content-Length: 100000\r\n\r\nsome" if i % 2 else b"Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"))
    came, ended = case.wait_until_ended(connections, TIMEOUT + SLACK)
    expect_status(came, 408)
    expect_time(ended, TIMEOUT, TIMEOUT + SLACK)
    assert not [head for head, _ in case.server.seen[seen:] if head[0].startswith("POST")]
    wait_until(lambda: len(case.server.open) <= 8, 10, "the end of connections to the server")  # idle ones
    case.expect_memory(before, 100 * 128, "100 slow bodies")
    case.expect_cpu(cpu, time.monotonic() - begin, 0.5, "100 slow bodies")
    close_all(connections)


def steady_bodies(case):
    """A body that comes slowly, but comes, is passed on whole."""
    connections = [case.connect() for _ in range(20)]
    seen = len(case.server.seen)
    for connection in connections:
        connection.sendall(b"POST /steady HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 40\r\n\r\n")
    left = [40] * len(connections)

    def each(i):
        if left[i]:
            send_byte(connections[i], b"x", 0)
            left[i] -= 1

    came, ended = case.wait_until_ended(connections, 30, each)
    expect_status(came, 200)
    assert min(ended) > TIMEOUT, "too quick to show anything"
    bodies = [body for head, body in case.server.seen[seen:] if head[0].startswith("POST /steady ")]
    assert bodies == [b"x" * 40] * len(connections), bodies
    close_all(connections)


def slow_readers(case):
    """Who takes nothing of an answer holds up a bounded part of it, and is closed."""
    before, cpu, begin = case.kib(), case.gateway.cpu_seconds(), time.monotonic()
    sent, descriptors = case.sent_of_large, case.gateway.descriptors() + 8  # idle ones to the server
    connections = [case.connect() for _ in range(50)]
    for connection in connections:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n")
    most = []

    def all_closed():
        most.append(case.kib())
        case.serves_others()
        return not case.large_under_way()

    wait_until(lambda: case.large_under_way() == len(connections), 20, "all answers to begin")
    wait_until(all_closed, TIMEOUT + 3 * SLACK, "the gateway to give the answers up")
    assert time.monotonic() - begin >= TIMEOUT
    print("  the server got rid of %d KiB each" % ((case.sent_of_large - sent) // 1024 // len(connections)), flush=True)
    assert case.sent_of_large - sent < len(connections) * LARGE / 4
    print("  50 slow readers: %d KiB more at most" % (max(most) - before))
    assert max(most) - before <= 50 * 256 * (8 if case.is_sanitized else 1) + 4096, "%d KiB" % (max(most) - before)
    wait_until(lambda: case.gateway.descriptors() <= descriptors, SLACK, "the clients' connections to be closed, too")
    case.expect_cpu(cpu, time.monotonic() - begin, 0.7, "50 slow readers")
    close_all(connections)


def steady_readers(case):
    """Who takes an answer slowly, but takes it, gets it for as long as that goes on.  It is seen in steps of what the kernel
    keeps for a connection, some MiB: slower ones would look like those that take nothing."""
    connection = case.connect()
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n")
    begin = time.monotonic()
    size = 0
    while time.monotonic() < begin + 3 * TIMEOUT:
        until = size + (2 << 20)
        while size < until:
            piece = connection.recv(65536)
            assert piece, "closed after %d bytes and %.1f s" % (size, time.monotonic() - begin)
            size += len(piece)
        case.serves_others()
        select_nothing(0.2)
    assert case.large_under_way() == 1, "the answer was given up"
    assert size < LARGE / 2, "too quick to show anything"
    connection.close()
    wait_until(lambda: not case.large_under_way(), 10, "the server to be told")


def select_nothing(seconds):
    """The pace of a slow client; nothing is waited for."""
    threading.Event().wait(seconds)


def too_many_connections(case):
    """Those above the maximum are closed at once, the others go on."""
    connections = [case.connect(2) for _ in range(60)]
    open_ones, closed = [], 0
    for connection in connections:
        try:
            connection.sendall(b"GET /t HTTP/1.1\r\nHost: a.example\r\n\r\n")
            answer = connection.recv(1000)
        except OSError:
            answer = b""
        if answer:
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            open_ones.append(connection)
        else:
            closed += 1
    assert (len(open_ones), closed) == (20, 40), (len(open_ones), closed)
    close_all(connections)
    wait_until(lambda: can_ask(case, 2), 10, "room for others")


def can_ask(case, listener):
    try:
        return case.gateway.get("/t", address=case.gateway.address(listener), timeout=QUICK)[0] == 200
    except OSError:
        return False


def idle_connections(case):
    """Ten thousand that have had their answer and say no more: little memory, no processor time, and each ends in its time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(IDLE_COUNT, hard - 500)
    if count < IDLE_COUNT:
        print("  only %d connections: the limit on open files is %d" % (count, hard), flush=True)
    request = b"GET /t HTTP/1.1\r\nHost: a.example\r\n\r\n"
    connections, answered = [], []
    for _ in range(64):  # what is only made once
        case.serves_others()
    before = case.kib()
    for begin in range(0, count, 100):
        some = [case.connect(1) for _ in range(min(100, count - begin))]
        for connection in some:
            connection.sendall(request)
        for connection in some:
            answer = b""
            while not answer.endswith(b"hello"):
                piece = connection.recv(1000)
                assert piece, "closed instead of answered"
                answer += piece
            answered.append(time.monotonic())
        connections += some
    case.expect_memory(before, count * 2, "%d idle connections" % count)
    cpu, begin = case.gateway.cpu_seconds(), time.monotonic()
    select_nothing(1)
    case.expect_cpu(cpu, time.monotonic() - begin, 0.03, "%d idle connections" % count)
    took = max(case.serves_others() for _ in range(20))
    print("  others are served in %.1f ms at most" % (took * 1000), flush=True)
    begin = time.monotonic()
    came, ended = case.wait_until_ended(connections, IDLE_SECONDS + 3 * SLACK)
    assert not any(came), [answer for answer in came if answer][:3]
    open_for = [begin + end - since for end, since in zip(ended, answered)]
    expect_time(open_for, IDLE_SECONDS - 0.3, IDLE_SECONDS + 2 * SLACK)
    close_all(connections)


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the gateway's, too
    directory = tempfile.mkdtemp(prefix="holdfast-slow-")
    under_way = []

    def answer(request, connection):
        path = request[0][0].split()[1]
        if path != "/large":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            return True
        under_way.append(connection)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            for _ in range(LARGE >> 14):
                connection.sendall(b"x" * (1 << 14))
                case.sent_of_large += 1 << 14
        finally:
            under_way.remove(connection)
        return False

    server = Server(answer)
    gateway = Gateway(directory, binaries, plugins, SECTION % (IDLE_SECONDS, server.address), ports=3, workers=1)
    case = Case(gateway, server, is_sanitized(binaries))
    case.large_under_way = lambda: len(under_way)
    try:
        gateway.start()
        cases = (slow_heads, slow_heads_behind_a_request, silence, slow_bodies, steady_bodies, slow_readers, steady_readers,
                 too_many_connections, idle_connections)
        run_cases([bind(function, case) for function in cases], sys.argv[3:])
        gateway.stop()
    finally:
        if gateway.process and gateway.process.poll() is None:
            print(gateway.log()[-4000:])
            gateway.process.kill()
        shutil.rmtree(directory, ignore_errors=True)
    print("passed")


def bind(function, case):
    def run():
        function(case)

    run.__name__ = function.__name__
    return run


if __name__ == "__main__":
    main()
