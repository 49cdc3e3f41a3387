#!/usr/bin/env python3
"""The gateway passes on what it does not read: connections of TCP (bytes both ways, in bulk and one by one, ends and
resets, slow readers, servers that die, the PROXY protocol), TLS by the name that clients ask for, and datagrams.

  test_gateway_stream.py BINARIES PLUGINS [NAME...]"""
import hashlib
import os
import random
import selectors
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

from gateway import Gateway, free_ports, wait_until

MIB = 1 << 20
BULK = 100 * MIB
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


# ---- Servers ---------------------------------------------------------------------------------------------------------


def wait(condition, what, deadline=30):
    return wait_until(condition, deadline, what)


class Server(threading.Thread):
    """Listens and serves each connection in a thread of its own, with a function of the connection."""

    def __init__(self, serve, port=None, path=None):
        super().__init__(daemon=True)
        self.serve = serve
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if path:
            self.listener.bind(path)
        else:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", port or free_ports(1)[0]))
        self.listener.listen(1024)
        self.address = "unix:" + path if path else "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.served = 0
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.served += 1
            threading.Thread(target=self.guarded, args=(connection,), daemon=True).start()

    def guarded(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


def echo(connection):
    while True:
        data = connection.recv(1 << 18)
        if not data:
            return
        connection.sendall(data)


class Process:
    """A server that can be killed: echoes, after a line with its name."""

    PROGRAM = """
import socket, sys, threading
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(64)
print("listening", flush=True)
def serve(connection):
    connection.sendall(sys.argv[2].encode() + b"\\n")
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

    def __init__(self, name, port):
        self.name = name
        self.port = port
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, str(self.port), self.name],
                                        stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"listening\n"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Datagrams(threading.Thread):
    """Answers each datagram with itself, behind its own name."""

    def __init__(self, name, port):
        super().__init__(daemon=True)
        self.name_bytes = name.encode()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(0.05)
        self.clients = set()
        self.ends = False
        self.start()

    def run(self):
        while not self.ends:
            try:
                data, client = self.socket.recvfrom(65536)
            except socket.timeout:
                continue
            self.clients.add(client)
            if data != b"silent":
                self.socket.sendto(self.name_bytes + b":" + data, client)

    def stop(self):
        self.ends = True
        self.join()
        self.socket.close()


# ---- Clients ---------------------------------------------------------------------------------------------------------

def connect(port, timeout=20):
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive_all(connection):
    data = bytearray()
    while True:
        piece = connection.recv(65536)
        if not piece:
            return bytes(data)
        data += piece


def receive_exactly(connection, size):
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, "it ended after %d of %d bytes" % (len(data), size)
        data += piece
    return data


def is_refused(port, data=b""):
    """Whether a connection is closed without an answer."""
    try:
        with connect(port) as connection:
            if data:
                connection.sendall(data)
            return connection.recv(1) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def is_reset(connection):
    try:
        while connection.recv(65536):
            pass
        return False
    except ConnectionResetError:
        return True


def ends(connection):
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


# ---- The world -------------------------------------------------------------------------------------------------------

def upstream(name, *servers, more=""):
    """Servers are addresses, with further options behind a blank."""
    listed = ""
    for i, server in enumerate(servers):
        address, _, options = server.partition(" ")
        listed += 's%d: { address = "%s"; %s };\n' % (i, address, options)
    return "%s: { %s servers: { %s }; };\n" % (name, more, listed)


def section(listeners, upstreams, routes=""):
    return "listeners: { %s };\nroutes: { %s };\nupstreams: { %s };\n" % (listeners, routes, upstreams)


def listener(name, port, more, protocol="tcp"):
    return '%s: { address = "127.0.0.1:%d"; protocol = "%s"; %s };\n' % (name, port, protocol, more)


class Test:
    def __init__(self, binaries, plugins):
        self.binaries = binaries
        self.plugins = plugins
        self.gateway = None

    def start(self, text, balancers=(), workers=1):
        self.directory = tempfile.mkdtemp(prefix="holdfast-gateway-")
        self.gateway = Gateway(self.directory, self.binaries, self.plugins, text, ports=0, workers=workers,
                               enabled=["balancer/" + name for name in balancers])
        self.gateway.start()
        return self.gateway

    def end(self):
        if self.gateway:
            gateway, self.gateway = self.gateway, None
            code = gateway.stop()
            assert code == 0, "the gateway ended with %s:\n%s" % (code, gateway.log()[-3000:])

    # ---- Bytes -------------------------------------------------------------------------------------------------------

    def both_ways(self, port):
        """Bulk in both directions at the same time, with checksums of both."""
        block = random.randbytes(1 << 20)
        with connect(port, 60) as connection:
            sums = [hashlib.sha256(), hashlib.sha256()]

            def send():
                for i in range(BULK // len(block)):
                    piece = block[i * 1000 % 7919:] + block[:i * 1000 % 7919]
                    sums[0].update(piece)
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            size = 0
            while True:
                data = connection.recv(1 << 18)
                if not data:
                    break
                size += len(data)
                sums[1].update(data)
            sender.join()
            assert size == BULK, size
            assert sums[0].digest() == sums[1].digest()

    def test_bytes(self):
        web, path_port = free_ports(2)
        path = os.path.join(tempfile.mkdtemp(prefix="holdfast-gateway-"), "socket")
        tcp, unix = Server(echo), Server(echo, path=path)
        self.start(section(listener("a", web, 'upstream = "tcp";') + listener("b", path_port, 'upstream = "unix";'),
                           upstream("tcp", tcp.address) + upstream("unix", unix.address)))
        for port in (web, path_port):
            with connect(port) as connection: # one byte at a time, both ways
                for i in range(1000):
                    connection.sendall(bytes([i % 251]))
                    assert connection.recv(10) == bytes([i % 251])
            self.both_ways(port)
            with connect(port) as connection: # bulk, and messages again
                for size in (3 * MIB, 1, 5 * MIB, 100, 7):
                    threading.Thread(target=connection.sendall, args=(b"x" * size,)).start()
                    assert receive_exactly(connection, size) == b"x" * size
        descriptors = self.gateway.descriptors()
        assert descriptors < 100, descriptors # of connections none is left, and few pipes

    def test_half_close(self):
        def count(connection):
            data = receive_all(connection)
            connection.sendall(b"%d bytes\n" % len(data) * 100000)

        server = Server(count)
        port, = free_ports(1)
        self.start(section(listener("a", port, 'upstream = "x";'), upstream("x", server.address)))
        with connect(port) as connection:
            connection.sendall(b"y" * 12345)
            connection.shutdown(socket.SHUT_WR)
            assert receive_all(connection) == b"12345 bytes\n" * 100000

        def first_end(connection): # the server ends first
            connection.sendall(b"z" * 1000)
            connection.shutdown(socket.SHUT_WR)
            server.heard = receive_all(connection)

        server.serve = first_end
        with connect(port) as connection:
            assert receive_all(connection) == b"z" * 1000
            before = self.gateway.cpu_seconds()
            time.sleep(0.5) # what is half closed costs nothing: a time is measured
            assert self.gateway.cpu_seconds() - before < 0.1
            connection.sendall(b"still there")
        wait(lambda: getattr(server, "heard", None) == b"still there", "the rest of what the client has sent")

    def test_resets(self):
        seen = []

        def watch(connection):
            connection.sendall(b"!")
            seen.append(is_reset(connection))

        server = Server(watch)
        port, = free_ports(1)
        self.start(section(listener("a", port, 'upstream = "x";'), upstream("x", server.address)))
        connection = connect(port)
        assert connection.recv(1) == b"!"
        reset(connection)
        wait(lambda: seen, "the server to see the end")
        assert seen == [True], "a reset came as a plain end"
        server.serve = lambda connection: (connection.sendall(b"!"), connection.recv(1), reset(connection))
        with connect(port) as connection:
            assert connection.recv(1) == b"!"
            connection.sendall(b"?")
            assert is_reset(connection), "a reset came as a plain end"

    def test_slow_reader(self):
        """A server that sends without end to a client that reads nothing, and the other way round."""
        sent = {"down": 0, "up": 0}
        goes_on = threading.Event()

        def pour(connection):
            connection.settimeout(1)
            try:
                while sent["down"] < 256 * MIB:
                    sent["down"] += connection.send(b"d" * 65536)
            except socket.timeout:
                pass
            connection.settimeout(60)
            goes_on.wait(60)
            connection.shutdown(socket.SHUT_WR)
            receive_all(connection)

        server = Server(pour)
        port, = free_ports(1)
        self.start(section(listener("a", port, 'upstream = "x";'), upstream("x", server.address)))
        memory = self.gateway.memory_bytes()
        with connect(port) as connection:
            connection.settimeout(1)
            try:
                while sent["up"] < 256 * MIB:
                    sent["up"] += connection.send(b"u" * 65536)
            except socket.timeout:
                pass
            size = -1
            while size != sent["down"]: # until no more goes
                size = sent["down"]
                time.sleep(1.1)
            assert 0 < sent["down"] < 64 * MIB and 0 < sent["up"] < 64 * MIB, sent
            assert self.gateway.memory_bytes() - memory < 2 * MIB
            before = self.gateway.cpu_seconds()
            time.sleep(0.5) # nothing moves, and nothing is done: a time is measured
            assert self.gateway.cpu_seconds() - before < 0.1
            goes_on.set()
            connection.settimeout(60)
            assert len(receive_all(connection)) == sent["down"]

    def test_idle(self):
        server = Server(echo)
        port, = free_ports(1)
        self.start(section(listener("a", port, 'upstream = "x"; idle_timeout = "300ms";'),
                           upstream("x", server.address)))
        with connect(port) as connection:
            began = time.monotonic()
            while time.monotonic() - began < 1: # what moves stays
                connection.sendall(b"x")
                assert connection.recv(1) == b"x"
                time.sleep(0.05) # the client's own pace
            ended = time.monotonic()
            assert connection.recv(1) == b""
            assert 0.2 < time.monotonic() - ended < 5

    # ---- Servers -----------------------------------------------------------------------------------------------------

    def test_servers(self):
        """The next one when a connection fails; max_fails; a backup; and what happens when none is left."""
        port, first, second, third = free_ports(4)
        servers = [Process("first", first), Process("second", second), Process("backup", third)]
        self.start(section(
            listener("a", port, 'upstream = "x";'),
            upstream("x", "127.0.0.1:%d fail_timeout = \"1s\";" % first, "127.0.0.1:%d fail_timeout = \"1s\";" % second,
                     "127.0.0.1:%d backup = true;" % third)))

        def who():
            try:
                with connect(port) as connection:
                    name = connection.recv(100).strip().decode()
                    connection.sendall(b"x")
                    assert connection.recv(1) == b"x"
                    return name
            except (ConnectionResetError, BrokenPipeError):
                return ""

        try:
            assert {who() for _ in range(10)} == {"first", "second"}
            open_one = connect(port)
            assert open_one.recv(100) in (b"first\n", b"second\n")
            servers[0].kill() # before anybody connects
            assert {who() for _ in range(20)} == {"second"}
            servers[1].kill() # with a connection, perhaps
            assert {who() for _ in range(5)} == {"backup"}
            open_one.settimeout(10)
            assert ends(open_one)
            servers[2].kill()
            assert {who() for _ in range(3)} == {""}
            servers[0].start()
            wait(lambda: who() == "first", "the server that is back")
            servers[1].start()
            wait(lambda: {who() for _ in range(10)} == {"first", "second"}, "both servers")
        finally:
            for server in servers:
                if server.process.poll() is None:
                    server.kill()

    def test_killed_while_connected(self):
        port, first = free_ports(2)
        server = Process("only", first)
        self.start(section(listener("a", port, 'upstream = "x";'), upstream("x", "127.0.0.1:%d" % first)))
        idle = self.gateway.descriptors()
        with connect(port) as connection:
            assert connection.recv(100) == b"only\n"
            server.kill()
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                pass
        wait(lambda: self.gateway.descriptors() <= idle, "the connections to be gone")

    def test_limits(self):
        """requests_maximum with a queue: the third connection waits for the first two, and no longer than it may."""
        server = Server(echo)
        port, = free_ports(1)
        self.start(section(listener("a", port, 'upstream = "x"; connections_maximum = 4;'),
                           upstream("x", server.address + " requests_maximum = 2;",
                                    more='queue_maximum = 1; queue_timeout = "1s";')))

        def talks(connection):
            connection.sendall(b"x")
            return connection.recv(1) == b"x"

        idle = self.gateway.descriptors()
        one, two = connect(port), connect(port)
        assert talks(one) and talks(two)
        waits = connect(port)
        waits.sendall(b"w")
        wait(lambda: server.served == 2, "two connections")
        try:
            with connect(port) as refused: # the queue has room for one
                assert refused.recv(1) == b""
        except ConnectionResetError:
            pass
        one.close()
        assert waits.recv(1) == b"w"
        late = connect(port)
        began = time.monotonic()
        try:
            assert late.recv(1) == b""
        except ConnectionResetError:
            pass
        assert 0.5 < time.monotonic() - began < 10
        assert server.served == 3
        for connection in (two, waits, late):
            connection.close()
        wait(lambda: self.gateway.descriptors() <= idle, "the connections to be gone")
        many = [connect(port) for _ in range(2)]
        assert all(talks(connection) for connection in many)

    def test_breaker(self):
        """A server that is not there opens the upstream's breaker; when it is back, connections come through again."""
        port, other = free_ports(2)
        self.start(section(listener("a", port, 'upstream = "x";'),
                           upstream("x", "127.0.0.1:%d max_fails = 0;" % other,
                                    more='breaker: { enabled = true; calls_minimum = 5; open = "500ms"; tries = 1; };')))
        for _ in range(20):
            assert is_refused(port)
        server = Server(echo, port=other)
        assert is_refused(port, b"x")
        assert server.served == 0 # the breaker is open

        def talks():
            try:
                with connect(port) as connection:
                    connection.sendall(b"x")
                    return connection.recv(1) == b"x"
            except OSError:
                return False

        wait(talks, "the breaker to close")
        assert talks()

    def test_keyed(self):
        """Clients of one address meet the same server, as their requests do."""
        servers = [Server(lambda c, i=i: c.sendall(b"%d" % i)) for i in range(5)]
        port, proxied = free_ports(2)
        self.start(section(listener("a", port, 'upstream = "x";') +
                           listener("b", proxied, 'upstream = "x"; proxy_protocol = true;'),
                           upstream("x", *(s.address for s in servers), more='balancer: { name = "ketama"; load_factor = 0.0; };')),
                   balancers=("ketama",))

        def who(address=None):
            with connect(proxied if address else port) as connection:
                if address:
                    connection.sendall(b"PROXY TCP4 %s 127.0.0.1 1 2\r\n" % address.encode())
                return connection.recv(1)

        assert len({who() for _ in range(10)}) == 1
        found = {i: who("10.0.0.%d" % i) for i in range(50)}
        assert len(set(found.values())) > 1
        assert found == {i: who("10.0.0.%d" % i) for i in range(50)}

    # ---- The PROXY protocol --------------------------------------------------------------------------------------------

    def test_proxy_protocol(self):
        got = []

        def keep(connection):
            data = b""
            while not data.endswith(b"hello"):
                piece = connection.recv(1000)
                if not piece:
                    break
                data += piece
            got.append(data)
            connection.sendall(b"k")

        server = Server(keep)
        plain, one, two, inward = free_ports(4)
        self.start(section(
            listener("p", plain, 'upstream = "off";') + listener("a", one, 'upstream = "v1";') +
            listener("b", two, 'upstream = "v2";') +
            listener("c", inward, 'upstream = "v1"; proxy_protocol = true; head_timeout = "1s";'),
            upstream("off", server.address) + upstream("v1", server.address, more='send_proxy = "v1";') +
            upstream("v2", server.address, more='send_proxy = "v2";')))

        def ask(port, first=b"", pieces=False):
            with connect(port) as connection:
                mine = connection.getsockname()
                for part in ([bytes([b]) for b in first + b"hello"] if pieces else [first + b"hello"]):
                    connection.sendall(part)
                assert connection.recv(1) == b"k"
                return mine, got.pop()

        assert ask(plain)[1] == b"hello"
        mine, data = ask(one)
        assert data == b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\nhello" % (mine[1], one), data
        mine, data = ask(two)
        addresses = socket.inet_aton("127.0.0.1") * 2 + struct.pack(">HH", mine[1], two)
        assert data[:12] == V2_SIGNATURE and data[12:14] == b"\x21\x11" and data[16:28] == addresses, data
        header = b"PROXY TCP4 192.0.2.7 198.51.100.9 1234 443\r\n"
        for pieces in (False, True):
            assert ask(inward, header, pieces)[1] == header + b"hello"
        six = b"PROXY TCP6 2001:db8::7 2001:db8::9 1234 443\r\n"
        assert ask(inward, six)[1] == six + b"hello"
        binary = (V2_SIGNATURE + b"\x21\x11" + struct.pack(">H", 12) + socket.inet_aton("192.0.2.7") +
                  socket.inet_aton("198.51.100.9") + struct.pack(">HH", 1234, 443))
        assert ask(inward, binary)[1] == header + b"hello"
        mine, data = ask(inward, b"PROXY UNKNOWN\r\n")
        assert data == b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\nhello" % (mine[1], inward), data
        served = server.served
        assert is_refused(inward, b"GET / HTTP/1.1\r\n\r\n")
        assert is_refused(inward) # it does not come in time
        assert server.served == served

    def test_proxy_protocol_http(self):
        """Requests over one connection of HTTP have one connection to the server, which is that client's alone."""
        headers = []

        def serve(connection):
            file = connection.makefile("rb")
            headers.append(file.readline())
            while file.readline():
                while file.readline() not in (b"\r\n", b""):
                    pass
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        server = Server(serve)
        port, = free_ports(1)
        self.start(section(listener("web", port, "", protocol="http"),
                           upstream("x", server.address, more='send_proxy = "v1";'), 'all: { upstream = "x"; };'))

        def request(connection):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while not data.endswith(b"ok"):
                piece = connection.recv(1000)
                assert piece, data
                data += piece
            assert data.startswith(b"HTTP/1.1 200"), data

        with connect(port) as one, connect(port) as two:
            for _ in range(3):
                request(one)
                request(two)
            expected = [b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (c.getsockname()[1], port) for c in (one, two)]
            assert headers == expected, headers
        idle = self.gateway.descriptors()
        with connect(port) as three:
            request(three)
            assert len(headers) == 3 and headers[2] not in headers[:2]
        wait(lambda: self.gateway.descriptors() <= idle, "the links of the clients that went to be closed")

    # ---- TLS by name ---------------------------------------------------------------------------------------------------

    def certificate(self, name):
        folder = tempfile.mkdtemp(prefix="holdfast-gateway-")
        paths = [os.path.join(folder, file) for file in ("certificate", "key")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", paths[1], "-out", paths[0], "-days", "2", "-subj", "/CN=" + name, "-addext",
                        "subjectAltName=DNS:" + name], check=True, stderr=subprocess.DEVNULL)
        return paths

    def tls_server(self, name):
        certificate, key = self.certificate(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        def serve(connection):
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.sendall(name.encode() + b" " + secure.recv(100))
            except ssl.SSLError:
                pass # a client that goes away

        return Server(serve), certificate

    def test_server_names(self):
        (a, a_certificate), (b, b_certificate) = self.tls_server("a.example"), self.tls_server("x.b.example")
        port, strict = free_ports(2)
        names = ('server_names: { a: { hosts = [ "a.example" ]; upstream = "a"; }; '
                 'b: { hosts = [ "*.b.example" ]; upstream = "b"; }; }; head_timeout = "1s";')
        self.start(section(listener("t", port, names + ' upstream = "a";') + listener("s", strict, names),
                           upstream("a", a.address) + upstream("b", b.address)))

        def client_context(certificate):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(certificate)
            return context

        def ask(where, certificate, name):
            with connect(where) as connection:
                with client_context(certificate).wrap_socket(connection, server_hostname=name) as secure:
                    secure.sendall(b"hello")
                    return secure.recv(100)

        for where in (port, strict):
            assert ask(where, a_certificate, "a.example") == b"a.example hello"
            assert ask(where, b_certificate, "x.b.example") == b"x.b.example hello"
        hello = client_hello("x.b.example")
        # In pieces of one byte; of the server's answer the first record is enough.
        with connect(strict) as connection:
            for byte in hello:
                connection.sendall(bytes([byte]))
            assert connection.recv(5)[:2] == b"\x16\x03"
        # A name that nobody has: the default, if there is one.
        served = a.served
        with connect(port) as connection:
            connection.sendall(client_hello("other.example"))
            assert connection.recv(5)[:2] == b"\x16\x03"
        assert a.served == served + 1
        assert is_refused(strict, client_hello("other.example"))
        assert is_refused(strict, client_hello(None))
        # No TLS, half of a ClientHello, one without an end, nothing.
        for where in (port, strict):
            assert is_refused(where, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            assert is_refused(where, hello[:-1])
            assert is_refused(where, (b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03" + bytes(16384)) * 3)
            assert is_refused(where)
        assert a.served == served + 1

    # ---- Datagrams -----------------------------------------------------------------------------------------------------

    def test_datagrams(self):
        port, limited, one, two = free_ports(4)
        servers = [Datagrams("one", one), Datagrams("two", two)]
        both = upstream("x", "127.0.0.1:%d fail_timeout = \"1s\";" % one, "127.0.0.1:%d fail_timeout = \"1s\";" % two)
        gateway = self.start(section(
            listener("u", port, 'upstream = "x"; flow_timeout = "1s";', protocol="udp") +
            listener("l", limited, 'upstream = "x"; flows_maximum = 10; flow_timeout = "1s";', protocol="udp"), both))
        idle = gateway.descriptors()

        def client(where):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.connect(("127.0.0.1", where))
            made.settimeout(5)
            return made

        def ask(made, text):
            made.send(text)
            name, _, back = made.recv(65536).partition(b":")
            assert back == text, (back[:100], text[:100])
            return name

        clients = [client(port) for _ in range(1000)]
        found = {}
        for turn in range(3):
            for i, made in enumerate(clients):
                name = ask(made, b"%d from %d" % (turn, i))
                assert found.setdefault(i, name) == name # a flow stays at its server
        assert sorted(set(found.values())) == [b"one", b"two"]
        assert {len(server.clients) for server in servers} == {500}
        # Batches of one client, and the largest datagram there is; the empty one, too.
        for i in range(100):
            clients[0].send(b"%d" % i)
        assert {clients[0].recv(100).partition(b":")[2] for _ in range(100)} == {b"%d" % i for i in range(100)}
        assert ask(clients[1], b"x" * 65000) and ask(clients[2], b"")
        # Flows end by themselves.
        wait(lambda: gateway.descriptors() <= idle, "flows to end")
        assert {ask(made, b"again") for made in clients[:50]} == {b"one", b"two"}
        wait(lambda: gateway.descriptors() <= idle, "flows to end")
        # More than there may be: the first ten have theirs, others none until these have ended.
        few = [client(limited) for _ in range(11)]
        for made in few[:10]:
            ask(made, b"x")
        few[10].settimeout(0.3)
        try:
            ask(few[10], b"x")
            raise AssertionError("an eleventh flow")
        except socket.timeout:
            pass
        few[10].settimeout(5)
        wait(lambda: gateway.descriptors() <= idle, "flows to end")
        ask(few[10], b"y")
        # A server that goes: its flows find the other one; and comes back.
        spread = [client(port) for _ in range(10)]
        assert {ask(made, b"x") for made in spread} == {b"one", b"two"}
        servers[0].stop()

        def who(made):
            """The server's name; None: it does not answer, or an answer is of an earlier datagram."""
            made.settimeout(0.2)
            text = random.randbytes(8)
            try:
                made.send(text)
                name, _, back = made.recv(65536).partition(b":")
                return name if back == text else None
            except socket.timeout:
                return None

        for made in spread:
            wait(lambda m=made: who(m) == b"two", "the other server")
        servers[0] = Datagrams("one", one)

        def meets_first():
            with client(port) as made:
                return who(made) == b"one"

        wait(meets_first, "the server that is back")
        for server in servers:
            server.stop()

    def test_datagrams_of_any_address(self):
        """A listener at all addresses answers from the one that was asked."""
        port, other, six_port = free_ports(3)
        server = Datagrams("s", other)
        text = '%s: { address = "%s:%d"; protocol = "udp"; upstream = "x"; };\n'
        listeners = text % ("u", "0.0.0.0", port)
        has_six = os.path.exists("/proc/net/if_inet6") and open("/proc/net/if_inet6").read().strip() != ""
        if has_six:
            listeners += text % ("v", "[::]", six_port)
        self.start(section(listeners, upstream("x", "127.0.0.1:%d" % other)))

        def ask(family, address, port):
            with socket.socket(family, socket.SOCK_DGRAM) as made:
                made.settimeout(5)
                made.sendto(b"x", (address, port))
                data, source = made.recvfrom(100)
                assert data == b"s:x" and source[0] == address, (data, source)

        for address in ("127.0.0.1", "127.0.0.2", "127.9.9.9"):
            ask(socket.AF_INET, address, port)
            if has_six:
                ask(socket.AF_INET, address, six_port)
        if has_six:
            ask(socket.AF_INET6, "::1", six_port)
        server.stop()

    # ---- Reload, drain, configuration -----------------------------------------------------------------------------------

    def test_reload(self):
        """Streams go on through reloads, also where their server and their listener are taken out."""
        server, other = Server(echo), Server(lambda c: c.sendall(b"other"))
        port, second, udp, answers, third = free_ports(5)
        datagrams = Datagrams("d", answers)
        flows = listener("u", udp, 'upstream = "d";', protocol="udp")
        more = upstream("d", "127.0.0.1:%d" % answers)
        gateway = self.start(section(listener("a", port, 'upstream = "x";') + flows,
                                     upstream("x", server.address) + more), workers=2)
        streams = [connect(port) for _ in range(20)]
        flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        flow.settimeout(5)
        flow.connect(("127.0.0.1", udp))
        ends, failures = threading.Event(), []

        def talk(stream):
            try:
                number = 0
                while not ends.is_set():
                    number += 1
                    data = b"%d" % number * random.choice((1, 1000, 50000))
                    threading.Thread(target=stream.sendall, args=(data,)).start()
                    assert receive_exactly(stream, len(data)) == data
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

        talkers = [threading.Thread(target=talk, args=(stream,)) for stream in streams]
        for talker in talkers:
            talker.start()
        for i in range(10):
            gateway.reload(section(listener("a", port, 'upstream = "x"; tries = %d;' % (i % 3 + 1)) + flows,
                                   upstream("x", server.address, more="idle_maximum = %d;" % i) + more))
            flow.send(b"%d" % i)
            assert flow.recv(100) == b"d:%d" % i
            assert not failures, failures
        assert len(datagrams.clients) == 1 # the flow is the same one
        # The server and the listener go; what is under way stays.
        gateway.reload(section(listener("b", second, 'upstream = "x";'), upstream("x", other.address)))
        wait(lambda: is_gone(port), "the listener to be gone")
        with connect(second) as connection:
            assert receive_all(connection) == b"other"
        with connect(second) as connection:
            assert receive_all(connection) == b"other"
        assert not failures, failures
        ends.set()
        for talker in talkers:
            talker.join()
        assert not failures, failures
        for stream in streams:
            stream.close()
        datagrams.stop()

    def test_full_after_reload(self):
        """What began before a reload counts after it, and stops counting when it ends."""
        server = Server(echo)
        port, = free_ports(1)

        def text(number):
            return section(listener("a", port, 'upstream = "x";'),
                           upstream("x", server.address + " requests_maximum = 2;", more="idle_maximum = %d;" % number))

        def talks():
            try:
                with connect(port) as connection:
                    connection.sendall(b"x")
                    return connection.recv(1) == b"x"
            except OSError:
                return False

        gateway = self.start(text(1))
        old = [connect(port) for _ in range(2)]
        for connection in old:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        gateway.reload(text(2))
        assert not talks()
        for connection in old:
            connection.close()
        wait(talks, "room for another connection")
        assert talks()

    def test_drain(self):
        """A stream that ends in time ends by itself; then the gateway does."""
        server = Server(echo)
        port, = free_ports(1)
        gateway = self.start(section(listener("a", port, 'upstream = "x";'), upstream("x", server.address)))
        with connect(port) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            os.kill(gateway.process.pid, signal.SIGTERM)
            wait(lambda: "edge daemon: ending" in gateway.log(), "the end to begin")
            connection.sendall(b"y")
            assert connection.recv(1) == b"y"
        assert gateway.process.wait(30) == 0
        assert "did not finish in time" not in gateway.log()
        self.gateway = None

    def test_configuration(self):
        """What cannot be right is refused, with file and line."""
        port, other = free_ports(2)
        good = section(listener("a", port, 'upstream = "x";'), upstream("x", "127.0.0.1:%d" % other))
        self.directory = tempfile.mkdtemp(prefix="holdfast-gateway-")
        gateway = Gateway(self.directory, self.binaries, self.plugins, good)
        code, said = gateway.check()
        assert code == 0, said
        server = "127.0.0.1:%d" % other
        names = 'server_names: { n: { hosts = [ "a" ]; upstream = "%s"; }; };'
        bad = {
            "upstream: is missing; expected the one whose servers get the connections":
                section(listener("a", port, ""), upstream("x", server)),
            "upstream: is missing; expected the one whose servers get the datagrams":
                section(listener("a", port, "", protocol="udp"), upstream("x", server)),
            "upstream: there is no upstream 'y'": section(listener("a", port, 'upstream = "y";'), upstream("x", server)),
            "server_names.n.upstream: there is no upstream 'y'":
                section(listener("a", port, names % "y"), upstream("x", server)),
            "server_names: datagrams have none":
                section(listener("a", port, 'upstream = "x";' + names % "x", protocol="udp"), upstream("x", server)),
            "server_names: a listener of HTTP has routes for that":
                section(listener("a", port, names % "x", protocol="http"), upstream("x", server)),
            "upstream: a listener of HTTP has routes for that":
                section(listener("a", port, 'upstream = "x";', protocol="http"), upstream("x", server)),
            "proxy_protocol: datagrams have no such header":
                section(listener("a", port, 'upstream = "x"; proxy_protocol = true;', protocol="udp"),
                        upstream("x", server)),
            "send_proxy, which datagrams cannot have":
                section(listener("a", port, 'upstream = "x";', protocol="udp"),
                        upstream("x", server, more='send_proxy = "v2";')),
            "has a path for an address":
                section(listener("a", port, 'upstream = "x";', protocol="udp"), upstream("x", "unix:/tmp/x")),
            "is a path; expected HOST:PORT for datagrams":
                section('a: { address = "unix:/tmp/x"; protocol = "udp"; upstream = "x"; };', upstream("x", server)),
            "which only requests of HTTP have; expected client":
                section(listener("a", port, 'upstream = "x";'), upstream("x", server, more='key = "path";')),
            "'a' does not speak HTTP":
                section(listener("a", port, 'upstream = "x";'), upstream("x", server),
                        'r: { listeners = [ "a" ]; upstream = "x"; };'),
            "is that of the listener 'a', too":
                section(listener("a", port, 'upstream = "x";') + listener("b", port, "", protocol="http"),
                        upstream("x", server)),
        }
        for expected, text in bad.items():
            gateway.configure(text)
            code, said = gateway.check()
            assert code != 0 and expected in said and "holdfast.cfg:" in said, (expected, said)
        # Datagrams and connections at the same address are two things.
        gateway.configure(section(listener("a", port, 'upstream = "x";') +
                              listener("b", port, 'upstream = "x";', protocol="udp"), upstream("x", server)))
        code, said = gateway.check()
        assert code == 0, said


def client_hello(name):
    """What a client of TLS sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def is_gone(port):
    try:
        connect(port).close()
        return False
    except ConnectionRefusedError:
        return True


def main():
    test = Test(*(os.path.abspath(path) for path in sys.argv[1:3]))
    names = sys.argv[3:] or [name[5:] for name in dir(test) if name.startswith("test_")]
    for name in names:
        began = time.monotonic()
        try:
            getattr(test, "test_" + name)()
            test.end()
        except BaseException:
            print("%s: failed; the end of the log:\n%s" % (name, test.gateway.log()[-3000:] if test.gateway else ""))
            if test.gateway:
                test.gateway.process.kill()
            raise
        print("%-30s %.1f s" % (name, time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main()
