#!/usr/bin/env python3
"""The gateway with TLS on both sides, by real processes: versions, which certificate a client gets, what is negotiated,
sessions that are resumed, certificates that change while connections go on, certificates of clients, servers with the
right and the wrong name, long bodies, slow readers, connections that are cut off, and those that never become TLS.

  test_gateway_tls.py BINARIES PLUGINS [CASE...]"""
import contextlib
import http.client
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from gateway import Gateway, Server, field_of, fresh_directory, run_cases, say, wait_until

BINARIES, PLUGINS = (os.path.abspath(path) for path in sys.argv[1:3])
ROOT = tempfile.mkdtemp(prefix="holdfast-gateway-tls-")
MIB = 1 << 20


# ---- Certificates -----------------------------------------------------------------------------------------------------

def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def path_of(name):
    return os.path.join(ROOT, name)


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
            "/CN=" + name, "-keyout", path_of(name + ".key"), "-out", path_of(name + ".pem"))


def issue(name, names, by="ca", kind="ec", directory=ROOT, days=30):
    """DIRECTORY/NAME.pem and NAME.key, for names such as DNS:a.example."""
    base = os.path.join(directory, name)
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
    openssl("req", "-new", "-newkey", *key, "-nodes", "-subj", "/CN=" + name, "-keyout", base + ".key", "-out",
            base + ".csr")
    with open(base + ".ext", "w") as file:
        file.write("subjectAltName=%s\n" % names)
    openssl("x509", "-req", "-in", base + ".csr", "-CA", path_of(by + ".pem"), "-CAkey", path_of(by + ".key"), "-days",
            str(days), "-extfile", base + ".ext", "-out", base + ".pem")


def make_certificates():
    authority("ca")
    authority("other")
    issue("a", "DNS:a.example,DNS:localhost,IP:127.0.0.1")
    issue("b", "DNS:b.example,DNS:*.w.example")
    issue("c_ec", "DNS:c.example")
    issue("c_rsa", "DNS:c.example", kind="rsa")
    issue("client", "DNS:client")
    issue("stranger", "DNS:client", by="other")
    issue("server", "DNS:server.example,IP:127.0.0.1")


def pair(name, file):
    return '%s: { certificate = "%s"; key = "%s"; };' % (name, path_of(file + ".pem"), path_of(file + ".key"))


def certificates(*files):
    return "certificates: { %s };" % " ".join(pair(file, file) for file in files)


# ---- Clients ----------------------------------------------------------------------------------------------------------

def context(ca="ca", name=None, low=None, high=None, alpn=None, ciphers=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(path_of(ca + ".pem"))
    made.check_hostname = False
    if name:
        made.load_cert_chain(path_of(name + ".pem"), path_of(name + ".key"))
    if low:
        made.minimum_version = low
    if high:
        made.maximum_version = high
    if alpn:
        made.set_alpn_protocols(alpn)
    if ciphers:
        made.set_ciphers(ciphers)
    return made


V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def connect(gateway, n=0, name="a.example", using=None, session=None, timeout=20):
    plain = socket.create_connection(("127.0.0.1", gateway.ports[n]), timeout=timeout)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return (using or context()).wrap_socket(plain, server_hostname=name, session=session,
                                                suppress_ragged_eofs=False)
    except BaseException:
        plain.close()
        raise


def read_all(connection):
    """Until the other side says that it is at its end; a connection that is cut off is an ssl.SSLEOFError."""
    data = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece


def ask(connection, path="/", last=False):
    """One request on a connection that stays open, or ends with it: (status, body)."""
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: a.example\r\n%s\r\n" %
                       (path.encode(), b"Connection: close\r\n" if last else b""))
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def is_refused(action):
    """Whether TLS does not come about."""
    try:
        connection = action()
        with connection:
            # With TLS 1.3 a client is done before the server has looked at its certificate.
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return not connection.recv(1)
    except (ssl.SSLError, OSError):
        return True


def metric(gateway, series):
    text = gateway.get("/metrics", address=gateway.admin)[1].decode()
    found = re.search(re.escape(series) + r" (\S+)", text)
    return int(float(found.group(1))) if found else 0


def handshakes(gateway, outcome, listener="web"):
    return metric(gateway, 'holdfast_gateway_tls_handshakes_total{listener="%s",outcome="%s"}' % (listener, outcome))


def server_handshakes(gateway, outcome, upstream="app"):
    return metric(gateway, 'holdfast_gateway_upstream_tls_handshakes_total{upstream="%s",outcome="%s"}' % (upstream, outcome))


class TlsServer(Server):
    """A server that speaks TLS; `sessions` tells of each connection whether it was resumed."""

    def __init__(self, answer=None, name="server", ca=None, high=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path_of(name + ".pem"), path_of(name + ".key"))
        if ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(path_of(ca + ".pem"))
        if high:
            self.context.maximum_version = high
        self.sessions = []
        self.asked = []
        self.context.sni_callback = lambda connection, name, context: self.asked.append(name)
        super().__init__(answer)

    def serve(self, connection):
        try:
            wrapped = self.context.wrap_socket(connection, server_side=True)
        except (ssl.SSLError, OSError):
            connection.close()
            return
        self.sessions.append(wrapped.session_reused)
        super().serve(wrapped)


@contextlib.contextmanager
def running(name, section, ports=1, workers=2):
    gateway = Gateway(fresh_directory(ROOT, name), BINARIES, PLUGINS, section, ports, workers)
    try:
        gateway.start()
        yield gateway
        gateway.stop()
    except BaseException:
        print(gateway.log()[-6000:])
        raise
    finally:
        if gateway.process and gateway.process.poll() is None:
            gateway.process.terminate()
            gateway.process.wait(60)


HELLO = 'routes: { hello: { path = "/hello"; body = "hello\\n"; }; %s };'


def listener(tls, name="web", n=0, more=""):
    return '%s: { address = "127.0.0.1:PORT(%d)"; %s tls: { %s }; };' % (name, n, more, tls)


def section(listeners, upstream="", tls=""):
    """Listeners, the route /hello, and all the rest at one server, if there is one."""
    text = "listeners: { %s };\n" % listeners + HELLO % ('all: { upstream = "app"; };' if upstream else "")
    if upstream:
        text += "\nupstreams: { app: { servers: { s: { address = \"%s\"; max_fails = 0; }; }; %s }; };" % (upstream, tls)
    return text


# ---- Cases: clients ---------------------------------------------------------------------------------------------------

def versions_are_bounded():
    server = Server(lambda request, connection: say(field_of(request[0], "X-Forwarded-Proto") + " " +
                                                    field_of(request[0], "Forwarded"))(request, connection))
    with running("versions", section(listener(certificates("a")) +
                                     listener(certificates("a") + 'minimum = "1.3";', "new", 1) +
                                     'plain: { address = "127.0.0.1:PORT(2)"; };', server.address), 3) as gateway:
        for version, words in ((V12, "TLSv1.2"), (V13, "TLSv1.3")):
            with connect(gateway, using=context(low=version, high=version)) as connection:
                assert connection.version() == words
                status, body = ask(connection)
                assert status == 200 and body.startswith(b"https ") and b"proto=https" in body, body
        with connect(gateway, 1, using=context(low=V13)) as connection:
            assert ask(connection, "/hello") == (200, b"hello\n")
        assert is_refused(lambda: connect(gateway, 1, using=context(high=V12)))
        status, body, _ = gateway.get(address=gateway.address(2))
        assert status == 200 and body.startswith(b"http ") and b"proto=http;" in body + b";", body
        assert handshakes(gateway, "full") == 2 and handshakes(gateway, "failed", "new") == 1


def shown(gateway, name, n=0, using=None):
    """The names of the certificate that a client gets, and of its subject."""
    with connect(gateway, n, name, using) as connection:
        certificate = connection.getpeercert()
        return certificate["subject"][0][0][1]


def names_choose_certificates():
    files = certificates("a", "b", "c_ec", "c_rsa")
    with running("names", section(listener(files) + listener(files + 'unknown_names = "refuse";', "strict", 1)), 2) as gateway:
        for n in (0, 1):
            assert shown(gateway, "a.example", n) == "a"
            assert shown(gateway, "b.example", n) == "b"
            assert shown(gateway, "B.Example", n) == "b"
            assert shown(gateway, "x.w.example", n) == "b"
            assert shown(gateway, None, n) == "a"
            # Of two for the same names a client gets the one that it can use.
            assert shown(gateway, "c.example", n) == "c_ec"
            assert shown(gateway, "c.example", n, context(high=V12, ciphers="ECDHE-RSA-AES128-GCM-SHA256")) == "c_rsa"
        for unknown in ("nobody.example", "w.example", "x.y.w.example"):
            assert shown(gateway, unknown) == "a"
            assert is_refused(lambda: connect(gateway, 1, unknown)), unknown


def protocols_are_negotiated():
    with running("protocols", section(listener(certificates("a")))) as gateway:
        for offered, chosen in ((["http/1.1"], "http/1.1"), (["spdy/3", "http/1.1"], "http/1.1"),
                                (["http/1.0"], "http/1.0"), (None, None)):
            with connect(gateway, using=context(alpn=offered)) as connection:
                assert connection.selected_alpn_protocol() == chosen
                assert ask(connection, "/hello") == (200, b"hello\n")
        assert is_refused(lambda: connect(gateway, using=context(alpn=["spdy/3"])))


def resume(gateway, using, session, n=0):
    """Whether the session was resumed, and one for later."""
    with connect(gateway, n, using=using, session=session) as connection:
        assert ask(connection, "/hello", last=True) == (200, b"hello\n")
        return connection.session_reused, connection.session


def sessions_are_resumed():
    text = section(listener(certificates("a")) + listener(certificates("a"), "other", 1) +
                   listener(certificates("a") + "tickets = 0;", "none", 2))
    with running("sessions", text, 3) as gateway:
        resumed = 0
        for version in (V12, V13):
            using = context(low=version, high=version)
            reused, session = resume(gateway, using, None)
            assert not reused and session.has_ticket
            for _ in range(8): # whichever worker takes it
                reused, session = resume(gateway, using, session)
                assert reused
                resumed += 1
            wait_until(lambda: handshakes(gateway, "resumed") == resumed)
            assert not resume(gateway, using, session, 1)[0], "another listener has taken the session"
            # A reload that makes everything anew keeps the keys.
            gateway.reload(text.replace('body = "hello\\n";', 'body = "hello\\n"; status = %d;' % 200)
                           if version == V12 else text)
            reused, session = resume(gateway, using, session)
            assert reused
            resumed += 1
            # Without tickets there are no sessions.
            reused, session = resume(gateway, using, None, 2)
            assert session is None or not session.has_ticket
            assert session is None or not resume(gateway, using, session, 2)[0]


def serial(gateway, using=None):
    with connect(gateway, using=using) as connection:
        return connection.getpeercert()["serialNumber"]


def certificates_change():
    directory = fresh_directory(ROOT, "changing")
    issue("x", "DNS:a.example", directory=directory)
    files = 'certificates: { x: { certificate = "%s/x.pem"; key = "%s/x.key"; }; };' % (directory, directory)
    with running("changes", section(listener(files))) as gateway:
        with connect(gateway) as connection:
            first = connection.getpeercert()["serialNumber"]
            assert ask(connection, "/hello")[0] == 200
            issue("x", "DNS:a.example", directory=directory)
            changed = wait_until(lambda: (lambda s: s != first and s)(serial(gateway)), 20, "the other certificate")
            assert ask(connection, "/hello") == (200, b"hello\n") # it goes on as it began
            # A key that does not fit leaves what there was, and says so; when it fits the two are taken.
            shutil.move(directory + "/x.key", directory + "/right.key")
            shutil.copy(path_of("b.key"), directory + "/x.key")
            wait_until(lambda: "is not that of the certificate" in gateway.log(), 20, "the warning")
            assert serial(gateway) == changed
            issue("x", "DNS:a.example", directory=directory)
            wait_until(lambda: serial(gateway) not in (first, changed), 20, "the third certificate")
            assert ask(connection, "/hello", last=True) == (200, b"hello\n")
        assert "have changed, and are used from now on" in gateway.log()


def clients_have_certificates():
    demand = 'client_ca = "%s"; client_verify = "%%s";' % path_of("ca.pem")
    with running("clients", section(listener(certificates("a") + demand % "required") +
                                    listener(certificates("a") + demand % "optional", "maybe", 1)), 2) as gateway:
        for version in (V12, V13):
            def using(name=None):
                return context(name=name, low=version, high=version)

            for n in (0, 1):
                with connect(gateway, n, using=using("client")) as connection:
                    assert ask(connection, "/hello") == (200, b"hello\n")
                assert is_refused(lambda: connect(gateway, n, using=using("stranger")))
            assert is_refused(lambda: connect(gateway, 0, using=using()))
            with connect(gateway, 1, using=using()) as connection:
                assert ask(connection, "/hello") == (200, b"hello\n")
            # A session is as good as the certificate that it began with, and only there.
            known = using("client")
            _, session = resume(gateway, known, None)
            assert resume(gateway, known, session)[0]
        assert handshakes(gateway, "failed") == 4


def connections_end_in_order():
    with running("ends", section(listener(certificates("a"), more='idle_timeout = "1s";'))) as gateway:
        with connect(gateway) as connection:
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_all(connection).endswith(b"hello\n")
        with connect(gateway) as connection: # a time-out is an end in order, too
            assert ask(connection, "/hello")[0] == 200
            assert read_all(connection) == b""
        with connect(gateway) as connection: # and what goes wrong in a request is answered before
            connection.sendall(b"GET /hello HTTP/1.1\r\nbad header\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 400 ")
        with connect(gateway) as connection: # the client's own end
            assert ask(connection, "/hello")[0] == 200
            connection.unwrap()


def requests_come_in_pieces_and_together():
    server = Server(lambda request, connection: say(request[0][0] + " " + request[1].decode())(request, connection))
    with running("pieces", section(listener(certificates("a")), server.address)) as gateway:
        with connect(gateway) as connection:
            for byte in b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
                connection.sendall(bytes([byte])) # each in a record of its own
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.read() == b"POST /1 HTTP/1.1 abc"
            # Many in one record, more than a block takes, with bodies.
            count = 400
            connection.sendall(b"".join(b"POST /%03d HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n%s" %
                                        (i, b"y" * 50) for i in range(count)))
            got, reader = b"", connection
            end = b"POST /%03d HTTP/1.1 %s" % (count - 1, b"y" * 50)
            while not got.endswith(end):
                got += reader.recv(65536)
            assert [int(n) for n in re.findall(rb"POST /(\d+) ", got)] == list(range(count))


def a_proxy_comes_before_tls():
    server = Server(lambda request, connection: say(field_of(request[0], "X-Forwarded-For"))(request, connection))
    with running("proxy", section(listener(certificates("a"), more="proxy_protocol = true;"), server.address)) as gateway:
        for together in (False, True):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context().wrap_bio(incoming, outgoing, server_hostname="a.example")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            with socket.create_connection(("127.0.0.1", gateway.ports[0]), timeout=20) as connection:
                header = b"PROXY TCP4 192.0.2.7 192.0.2.1 1111 443\r\n"
                if together:
                    connection.sendall(header + outgoing.read())
                else:
                    connection.sendall(header)
                    connection.sendall(outgoing.read())
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        incoming.write(connection.recv(65536))
                tls.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                connection.sendall(outgoing.read())
                got = b""
                while not got.endswith(b"192.0.2.7"):
                    try:
                        got += tls.read(65536)
                    except ssl.SSLWantReadError:
                        piece = connection.recv(65536)
                        assert piece, got
                        incoming.write(piece)


def what_is_no_tls_ends():
    with running("garbage", section(listener(certificates("a"), more='head_timeout = "500ms";'))) as gateway:
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + b"\0" * 70000,
                     b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"):
            before = handshakes(gateway, "failed")
            start = time.monotonic()
            try:
                gateway.raw(data) # until it is closed
            except OSError:
                pass
            assert time.monotonic() - start < 10
            wait_until(lambda: handshakes(gateway, "failed") == before + 1)
        # One that never ends, and one that never begins.
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""):
            before = handshakes(gateway, "failed")
            start = time.monotonic()
            assert gateway.raw(data) == b""
            assert 0.3 < time.monotonic() - start < 10
            wait_until(lambda: handshakes(gateway, "failed") == before + 1)
        with connect(gateway) as connection: # a handshake counts towards the time of the first head
            start = time.monotonic()
            assert read_all(connection) == b"" and time.monotonic() - start < 10
        with connect(gateway) as connection:
            assert ask(connection, "/hello") == (200, b"hello\n")


def many_come_and_go():
    """Handshakes that are broken off everywhere, beside others that must not notice."""
    with running("many", section(listener(certificates("a", "c_rsa")))) as gateway:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            context().wrap_bio(incoming, outgoing, server_hostname="a.example").do_handshake()
        hello = outgoing.read()
        for cut in range(1, len(hello) + 1, 7):
            with socket.create_connection(("127.0.0.1", gateway.ports[0]), timeout=20) as connection:
                connection.sendall(hello[:cut])
        using = context()
        open_ones = [connect(gateway, using=using) for _ in range(50)]
        for connection in open_ones:
            assert ask(connection, "/hello") == (200, b"hello\n")
            connection.close()


# ---- Cases: bodies ----------------------------------------------------------------------------------------------------

def echo(request, connection):
    return say(request[1])(request, connection)


def bodies_go_both_ways():
    server = TlsServer(echo)
    body = os.urandom(MIB)
    with running("bodies", section(listener(certificates("a")), server.address,
                                   'tls: { enabled = true; ca = "%s"; };' % path_of("ca.pem"))) as gateway:
        for version in (V12, V13):
            with connect(gateway, using=context(low=version, high=version)) as connection:
                for size in (0, 1, 16383, 16384, 16385, 65536, MIB):
                    connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body[:size])
                    answer = http.client.HTTPResponse(connection)
                    answer.begin()
                    assert answer.status == 200 and answer.read() == body[:size], size
                # In chunks.
                connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, MIB, 10000):
                    piece = body[at:at + 10000]
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                connection.sendall(b"0\r\n\r\n")
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert answer.read() == body


def slow_readers_hold_up_only_themselves():
    block = bytes(range(256)) * 256
    sent = [0]
    size = 64 * MIB

    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(block)):
            connection.sendall(block)
            sent[0] += len(block)
        return True

    server = TlsServer(answer)
    with running("slow", section(listener(certificates("a")), server.address,
                                 'tls: { enabled = true; ca = "%s"; };' % path_of("ca.pem")), workers=1) as gateway:
        with connect(gateway) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

            def stands():
                before = sent[0]
                time.sleep(0.3) # that nothing moves can only be seen over a time
                return before and sent[0] == before

            wait_until(stands, 60, "the server to be held up")
            assert sent[0] < 48 * MIB, sent[0]
            with connect(gateway) as other:
                assert ask(other, "/hello") == (200, b"hello\n")
            reader = http.client.HTTPResponse(slow)
            reader.begin()
            at = 0
            while at < size:
                piece = reader.read(min(len(block), size - at))
                assert piece == block[:len(piece)] and len(piece) == len(block), at
                at += len(piece)
            assert ask(slow, "/hello", last=True) == (200, b"hello\n")


def both_ways(connection, data):
    """Sends the data and reads as much at the same time."""
    got, at, until = b"", 0, time.monotonic() + 60
    while len(got) < len(data):
        assert time.monotonic() < until, (at, len(got))
        select.select([connection], [connection] if at < len(data) else [], [], 1)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if at < len(data):
                at += connection.send(data[at:at + 16384])
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            piece = connection.recv(65536)
            assert piece, (at, len(got))
            got += piece
    return got


def tunnels_are_encrypted():
    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        while True:
            data = connection.recv(65536)
            if not data:
                return False
            connection.sendall(data)

    server = TlsServer(answer)
    with running("tunnel", section(listener(certificates("a")), server.address,
                                   'tls: { enabled = true; ca = "%s"; };' % path_of("ca.pem"))) as gateway:
        with connect(gateway) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            assert head.startswith(b"HTTP/1.1 101 ")
            connection.setblocking(False)
            for size in (1, 100, 100000, 8 * MIB):
                data = os.urandom(size)
                assert both_ways(connection, data) == data


def until_close(how):
    """An answer without a length, and how the connection then ends."""
    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        if how == "in order":
            with contextlib.suppress(OSError):
                connection.unwrap()
        return False

    return answer


def cut_off_is_not_whole():
    server = TlsServer()
    text = section(listener(certificates("a")), server.address,
                   'tls: { enabled = true; ca = "%s"; %%s };' % path_of("ca.pem"))
    with running("cut", text % "") as gateway:
        server.answer = until_close("in order")
        with connect(gateway) as connection:
            assert ask(connection) == (200, b"all of it")
        server.answer = until_close("cut")
        with connect(gateway) as connection:
            try:
                ask(connection)
                raise AssertionError("an answer that was cut off was taken for a whole one")
            except (http.client.IncompleteRead, ssl.SSLEOFError):
                pass
        gateway.reload(text % "truncation = true;")
        with connect(gateway) as connection:
            assert ask(connection) == (200, b"all of it")


# ---- Cases: servers ---------------------------------------------------------------------------------------------------

def servers_are_verified():
    right, wrong, strange = TlsServer(say("right")), TlsServer(say("wrong"), "b"), TlsServer(say("strange"), "stranger")
    ca = 'ca = "%s";' % path_of("ca.pem")

    def text(server, options):
        return section('web: { address = "127.0.0.1:PORT(0)"; };', server.address, "tls: { enabled = true; %s };" % options)

    with running("verified", text(right, ca)) as gateway:
        assert gateway.get()[:2] == (200, b"right") # its address is in its certificate
        assert right.asked[-1] is None
        gateway.reload(text(right, ca + 'server_name = "server.example";'))
        assert gateway.get()[:2] == (200, b"right")
        assert right.asked[-1] == "server.example"
        gateway.reload(text(right, ca + 'server_name = "other.example";'))
        assert gateway.get()[0] == 502
        wait_until(lambda: re.search("upstream 'app': the certificate of the server 'other.example' is refused: "
                                     "hostname mismatch", gateway.log(), re.I), what="the reason")
        gateway.reload(text(wrong, ca))
        assert gateway.get()[0] == 502
        gateway.reload(text(strange, ca + 'server_name = "client";'))
        assert gateway.get()[0] == 502
        gateway.reload(text(right, "")) # the system does not know our authority
        assert gateway.get()[0] == 502
        for server, said in ((wrong, b"wrong"), (strange, b"strange")):
            gateway.reload(text(server, "verify = false;"))
            assert gateway.get()[:2] == (200, said)
        assert server_handshakes(gateway, "failed") >= 4
        plain = Server() # no TLS at all
        gateway.reload(text(plain, ca).replace("tls: {", 'connect_timeout = "500ms"; tls: {'))
        assert gateway.get()[0] in (502, 504) and not plain.seen


def servers_are_checked_over_tls():
    right, wrong, plain = TlsServer(say("right")), TlsServer(say("wrong"), "b"), Server(say("plain"))
    right.answer = lambda request, connection: say("", "200 OK" if "/well" in request[0][0] else "404 Not Found")(
        request, connection)

    def text(server, check):
        return section('web: { address = "127.0.0.1:PORT(0)"; };', server.address,
                       'tls: { enabled = true; ca = "%s"; }; check: { interval = "50ms"; rise = 1; fall = 1; timeout = "1s";'
                       ' %s };' % (path_of("ca.pem"), check))

    def is_down(gateway, why):
        return "server 's' is down: " + why in gateway.log()

    for kind in ('type = "tls";', 'type = "http"; path = "/well";'):
        with running("checked", text(right, kind)) as gateway:
            asked = right.connections
            wait_until(lambda: right.connections > asked + 2, what="checks")
            assert gateway.get("/well")[0] == 200 and " is down" not in gateway.log()
            gateway.reload(text(wrong, kind)) # another name
            wait_until(lambda: is_down(gateway, "no TLS"), what="the wrong server's end")
            assert gateway.get("/well")[0] == 503
            gateway.reload(text(plain, kind.replace("tls", "tcp") if "tls" in kind else kind))
            if "tls" in kind: # a connection is enough
                wait_until(lambda: plain.connections > 2, what="checks")
                assert not is_down(gateway, "time-out")
    with running("ill", text(right, 'type = "http"; path = "/ill";')) as gateway:
        wait_until(lambda: is_down(gateway, "status 404"), what="the answer's effect")
    under = Gateway(fresh_directory(ROOT, "no-tls"), BINARIES, PLUGINS, section(
        'web: { address = "127.0.0.1:PORT(0)"; };', right.address, 'check: { type = "tls"; };'))
    assert "type: tls, but the upstream's servers do not speak it" in under.check()[1]


def servers_see_certificates():
    server = TlsServer(say("ok"), ca="ca")
    own = 'certificate = "%s"; key = "%s";'
    text = section('web: { address = "127.0.0.1:PORT(0)"; };', server.address,
                   'tls: { enabled = true; ca = "%s"; %%s };' % path_of("ca.pem"))
    with running("mutual", text % (own % (path_of("client.pem"), path_of("client.key")))) as gateway:
        assert gateway.get()[:2] == (200, b"ok")
        gateway.reload(text % "")
        assert gateway.get()[0] == 502
        gateway.reload(text % (own % (path_of("stranger.pem"), path_of("stranger.key"))))
        assert gateway.get()[0] == 502


def servers_sessions_are_resumed():
    for version in (V12, V13):
        def last(request, connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            return False

        server = TlsServer(last, high=version)
        with running("reuse", section('web: { address = "127.0.0.1:PORT(0)"; };', server.address,
                                      'tls: { enabled = true; ca = "%s"; };' % path_of("ca.pem")), workers=1) as gateway:
            for _ in range(6):
                assert gateway.get()[:2] == (200, b"ok")
            assert server.sessions == [False] + 5 * [True], server.sessions
            assert server_handshakes(gateway, "full") == 1 and server_handshakes(gateway, "resumed") == 5
            # Connections that stay take no handshake, and tickets that come late do not end them.
            server.answer = say("ok")
            for _ in range(6):
                assert gateway.get()[:2] == (200, b"ok")
            assert len(server.sessions) == 7, server.sessions


# ---- Cases: configurations --------------------------------------------------------------------------------------------

def mistakes_are_found():
    directory = fresh_directory(ROOT, "mistakes")
    good = path_of("a.pem"), path_of("a.key")
    nothing = os.path.join(directory, "nothing.pem")
    with open(nothing, "w") as file:
        file.write("this is no PEM\n")
    damaged = os.path.join(directory, "damaged.pem")
    with open(damaged, "w") as file:
        file.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    secret = os.path.join(directory, "secret.key")
    openssl("pkey", "-in", good[1], "-aes128", "-passout", "pass:x", "-out", secret)

    def on_listener(certificate, key, more=""):
        return section(listener('certificates: {\n x: {\n certificate = "%s";\n key = "%s"; }; };\n %s' %
                                (certificate, key, more)))

    def on_upstream(more):
        return section('web: { address = "127.0.0.1:PORT(0)"; };', "127.0.0.1:1", "tls: {\n enabled = true;\n %s };" % more)

    gateway = Gateway(directory, BINARIES, PLUGINS, "", 1)
    for text, words in (
            (on_listener("/missing.pem", good[1]), r":9: certificate: the file '/missing.pem' cannot be read: No such file"),
            (on_listener(good[0], "/missing.key"), r":10: key: the file '/missing.key' cannot be read: No such file"),
            (on_listener(nothing, good[1]), r":9: certificate: '.*nothing.pem' has no certificate; expected PEM"),
            (on_listener(damaged, good[1]), r":9: certificate: the certificate in '.*damaged.pem' cannot be read"),
            (on_listener(good[0], nothing), r":10: key: '.*nothing.pem' has no key that can be read; expected PEM"),
            (on_listener(good[0], secret), r":10: key: the key in '.*secret.key' needs a pass phrase"),
            (on_listener(good[0], path_of("b.key")), r":10: key: the key in '.*b.key' is not that of the certificate"),
            (on_listener(*good, 'ciphers = "NONSENSE";'), r":11: ciphers: 'NONSENSE' has none that is known"),
            (on_listener(*good, 'ciphersuites = "NONSENSE";'), r":11: ciphersuites: 'NONSENSE' are not known"),
            (on_listener(*good, 'minimum = "1.1";'), r":11: .*minimum.*1\.2"),
            (on_listener(*good, 'client_verify = "required";'), r":11: client_verify: .*expected client_ca"),
            (on_listener(*good, 'client_ca = "%s";' % nothing), r":11: client_ca: '.*' has no certificate"),
            (section('web: { address = "127.0.0.1:PORT(0)";\n tls: { client_ca = "%s"; client_verify = "required"; }; };' % good[0]),
             r":8: client_verify: the listener does not speak TLS"),
            (on_upstream('ca = "/missing.pem";'), r"ca: the file '/missing.pem' cannot be read"),
            (on_upstream('certificate = "%s";' % good[0]), r"certificate and key: there is one of them"),
            (on_upstream('certificate = "%s"; key = "%s";' % (good[0], path_of("b.key"))), r"key: the key in '.*b.key' is not"),
            (section('web: { address = "127.0.0.1:PORT(0)"; };', "unix:/x", "tls: { enabled = true; };"),
             r"server_name: the server at 'unix:/x' has no name")):
        gateway.configure(text)
        code, said = gateway.check()
        assert code != 0 and re.search(words, said), (words, said)
    gateway.configure(on_listener(*good, 'minimum = "1.3";'))
    code, said = gateway.check()
    assert code == 0, said


def what_has_expired_is_told():
    openssl("req", "-new", "-key", path_of("a.key"), "-subj", "/CN=old", "-out", path_of("old.csr"))
    openssl("x509", "-req", "-in", path_of("old.csr"), "-CA", path_of("ca.pem"), "-CAkey", path_of("ca.key"), "-days",
            "-1", "-out", path_of("old.pem"))
    shutil.copy(path_of("a.key"), path_of("old.key"))
    with running("expired", section(listener(certificates("old")))) as gateway:
        assert re.search(r"warning .*listener 'web': the certificate in '.*old.pem' has expired", gateway.log())
        using = context()
        using.verify_mode = ssl.CERT_NONE
        with connect(gateway, using=using) as connection:
            assert ask(connection, "/hello") == (200, b"hello\n")


def bad_certificates_leave_what_runs():
    text = section(listener(certificates("a")))
    with running("kept", text) as gateway:
        version = gateway.version()
        gateway.configure(section(listener(certificates("missing"))))
        gateway.process.send_signal(1)
        wait_until(lambda: "missing.pem' cannot be read" in gateway.log(), what="the refusal")
        assert gateway.version() == version
        with connect(gateway) as connection:
            assert ask(connection, "/hello") == (200, b"hello\n")


CASES = [versions_are_bounded, names_choose_certificates, protocols_are_negotiated, sessions_are_resumed,
         certificates_change, clients_have_certificates, connections_end_in_order, requests_come_in_pieces_and_together,
         a_proxy_comes_before_tls, what_is_no_tls_ends, many_come_and_go, bodies_go_both_ways,
         slow_readers_hold_up_only_themselves, tunnels_are_encrypted, cut_off_is_not_whole, servers_are_verified,
         servers_are_checked_over_tls, servers_see_certificates, servers_sessions_are_resumed, mistakes_are_found, what_has_expired_is_told,
         bad_certificates_leave_what_runs]


def main():
    try:
        make_certificates()
        run_cases(CASES, sys.argv[3:])
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)


if __name__ == "__main__":
    main()
