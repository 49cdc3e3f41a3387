"""HTTP/2 as frames, for tests that speak it themselves, on either side; only what they need, and no check that the other
side would have to pass."""
import socket
import struct
import threading

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
ENHANCE_YOUR_CALM = 11
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = \
    range(1, 7)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# RFC 7541, appendix A: the names of fields, and the values where there is one.
STATIC = [line.partition("=")[::2] for line in """:authority
:method=GET
:method=POST
:path=/
:path=/index.html
:scheme=http
:scheme=https
:status=200
:status=204
:status=206
:status=304
:status=400
:status=404
:status=500
accept-charset
accept-encoding=gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate""".split("\n")]

# Appendix B: how many bits the code of each byte has, "a" being 5.  Codes of a length follow each other.
LENGTHS = ("isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhf"
           "ibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix"
           "prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs"
           "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwv")


def huffman_codes():
    codes, code, before = {}, 0, 5
    for length, byte in sorted((ord(length) - ord("a") + 5, byte) for byte, length in enumerate(LENGTHS)):
        code <<= length - before
        codes[length, code] = byte
        code, before = code + 1, length
    return codes


CODES = huffman_codes()


def unhuffman(data):
    text, code, length = bytearray(), 0, 0
    for byte in data:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            if (length, code) in CODES:
                text.append(CODES[length, code])
                code = length = 0
    return bytes(text)


def integer(value, bits, first=0):
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    data = bytearray([first | most])
    value -= most
    while value >= 128:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def encode(fields):
    """Each as a literal without an index, so that what is sent does not depend on what was."""
    data = b""
    for name, value in fields:
        data += b"\0" + integer(len(as_bytes(name)), 7) + as_bytes(name)
        data += integer(len(as_bytes(value)), 7) + as_bytes(value)
    return data


class Decoder:
    def __init__(self):
        self.table = []
        self.maximum = 4096

    def entry(self, index):
        if index <= len(STATIC):
            return STATIC[index - 1]
        return self.table[index - len(STATIC) - 1]

    def add(self, entry):
        self.table.insert(0, entry)
        self.shrink()

    def shrink(self):
        while sum(32 + len(name) + len(value) for name, value in self.table) > self.maximum:
            self.table.pop()

    def integer(self, bits):
        most = (1 << bits) - 1
        value = self.data[self.at] & most
        self.at += 1
        if value < most:
            return value
        shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value += (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text(self):
        is_huffman = self.data[self.at] & 128
        size = self.integer(7)
        data = self.data[self.at:self.at + size]
        self.at += size
        return (unhuffman(data) if is_huffman else data).decode("latin-1")

    def decode(self, data):
        self.data, self.at = data, 0
        fields = []
        while self.at < len(data):
            first = data[self.at]
            if first & 0x80:
                fields.append(tuple(self.entry(self.integer(7))))
            elif first & 0xe0 == 0x20:
                self.maximum = self.integer(5)
                self.shrink()
            else:
                is_kept = first & 0xc0 == 0x40
                index = self.integer(6 if is_kept else 4)
                name = self.entry(index)[0] if index else self.text()
                fields.append((name, self.text()))
                if is_kept:
                    self.add(fields[-1])
        return fields


class Frame:
    def __init__(self, type, flags, stream, payload):
        self.type, self.flags, self.stream, self.payload = type, flags, stream, payload
        self.fields = None  # of heads, which come as one frame here

    def __repr__(self):
        return "<type %d flags %d stream %d %r>" % (self.type, self.flags, self.stream, self.fields or self.payload[:64])

    def ends(self):
        return self.type in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    def number(self):
        """The code of RST_STREAM and GOAWAY, or what WINDOW_UPDATE adds."""
        return struct.unpack(">I", self.payload[4:8] if self.type == GOAWAY else self.payload[:4])[0]

    def last(self):
        """Of GOAWAY: the last stream."""
        return struct.unpack(">I", self.payload[:4])[0]


def frame(type, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([type, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def heads(stream, fields, end=False, block=None):
    block = encode(fields) if block is None else block
    flags = (END_STREAM if end else 0) | END_HEADERS
    if len(block) <= 16384:
        return frame(HEADERS, flags, stream, block)
    data = frame(HEADERS, flags & END_STREAM, stream, block[:16384])
    rest = [block[at:at + 16384] for at in range(16384, len(block), 16384)]
    return data + b"".join(frame(CONTINUATION, END_HEADERS if piece is rest[-1] else 0, stream, piece) for piece in rest)


class Connection:
    """One side of a connection.  SETTINGS and PING are answered by themselves; `gives_room`: so is DATA, by windows."""

    def __init__(self, connection, is_client, pairs=(), gives_room=True, timeout=20):
        self.socket = connection
        self.socket.settimeout(timeout)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass
        self.buffer = b""
        self.decoder = Decoder()
        self.gives_room = gives_room
        self.lock = threading.Lock()
        self.next_stream = 1
        self.settings = {}
        self.room = {0: 65535}
        self.kept = []
        self.ended = False  # of a server's: the other side has ended it
        if not is_client:
            assert self.take(len(PREFACE)) == PREFACE
        self.send((PREFACE if is_client else b"") + settings(*pairs))

    def send(self, data):
        with self.lock:
            self.socket.sendall(data)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def fill(self, size):
        """0: the connection has ended."""
        while len(self.buffer) < size:
            piece = self.socket.recv(65536)
            if not piece:
                return 0
            self.buffer += piece
        return 1

    def take(self, size):
        self.fill(size)
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def read_raw(self):
        if not self.fill(9):
            return None
        size = self.buffer[0] << 16 | self.buffer[1] << 8 | self.buffer[2]
        if not self.fill(9 + size):
            return None
        head, payload = self.take(9), self.take(size)
        return Frame(head[3], head[4], struct.unpack(">I", head[5:9])[0] & 0x7fffffff, payload)

    def read(self):
        """The next frame that is not answered by itself; None: the connection has ended."""
        while True:
            try:
                got = self.read_raw()
            except ConnectionError:
                return None
            if got is None:
                return None
            if got.type == HEADERS:
                return self.whole_head(got)
            if got.type == SETTINGS and not got.flags & ACK:
                before = self.first_room()
                for at in range(0, len(got.payload), 6):
                    number, value = struct.unpack(">HI", got.payload[at:at + 6])
                    self.settings[number] = value
                for stream in self.room:
                    self.room[stream] += self.first_room() - before if stream else 0
                self.send_safely(frame(SETTINGS, ACK, 0))
            elif got.type == PING and not got.flags & ACK:
                self.send_safely(frame(PING, ACK, 0, got.payload))
            elif got.type == WINDOW_UPDATE:
                self.room[got.stream] = self.room.get(got.stream, self.first_room()) + got.number()
                return got
            elif got.type == SETTINGS:
                continue
            else:
                if got.type == DATA and self.gives_room and got.payload:
                    more = struct.pack(">I", len(got.payload))
                    self.send_safely(frame(WINDOW_UPDATE, 0, 0, more) +
                                     (b"" if got.ends() else frame(WINDOW_UPDATE, 0, got.stream, more)))
                return got

    def send_safely(self, data):
        try:
            self.send(data)
        except OSError:
            pass

    def first_room(self):
        return self.settings.get(INITIAL_WINDOW_SIZE, 65535)

    def whole_head(self, got):
        while not got.flags & END_HEADERS:
            more = self.read_raw()
            got.payload += more.payload
            got.flags |= more.flags & END_HEADERS
        got.fields = self.decoder.decode(got.payload)
        return got

    def expect(self, wanted):
        """The next frame for which wanted(frame) holds; others are kept for answers that are read later."""
        for at, each in enumerate(self.kept):
            if wanted(each):
                return self.kept.pop(at)
        while True:
            got = self.read()
            if got is None:
                raise AssertionError("the connection ended; before: %r" % self.kept[-10:])
            if wanted(got):
                return got
            self.kept.append(got)

    # ---- As a client

    def begin(self, path="/", method="GET", fields=(), end=True, authority="a.example", block=None):
        """The stream of a request whose head is sent."""
        stream = self.next_stream
        self.next_stream += 2
        pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
        self.send(heads(stream, pseudo + list(fields), end, block))
        return stream

    def room_of(self, stream):
        return min(self.room.get(stream, self.first_room()), self.room[0])

    def send_some(self, stream, body, at=0, end=True):
        """As far as the other side gives room; where it has got to."""
        while at < len(body) and self.room_of(stream) > 0:
            piece = body[at:at + min(self.room_of(stream), 16384)]
            self.room[stream] = self.room.get(stream, self.first_room()) - len(piece)
            self.room[0] -= len(piece)
            at += len(piece)
            self.send(frame(DATA, END_STREAM if end and at >= len(body) else 0, stream, piece))
        return at

    def send_body(self, stream, body, at=0, end=True):
        """All of it, or until the other side wants no more."""
        while True:
            at = self.send_some(stream, body, at, end)
            if at >= len(body):
                return
            got = self.expect(lambda got: got.type in (WINDOW_UPDATE, RST_STREAM, GOAWAY))
            if got.type != WINDOW_UPDATE:
                self.kept.append(got)
                return

    def answer(self, stream):
        """(head, body, trailers) of the stream, the first and the last as dictionaries; an int: it was reset, by which
        code."""
        body, head, trailers = [], None, {}
        while True:
            got = self.expect(lambda got: got.stream == stream and got.type in (HEADERS, DATA, RST_STREAM))
            if got.type == RST_STREAM:
                return got.number()
            if got.type == HEADERS and head is None:
                if not got.fields[0][1].startswith("1"):
                    head = dict(got.fields)
            elif got.type == HEADERS:
                trailers = dict(got.fields)
            else:
                body.append(got.payload)
            if got.ends():
                return head, b"".join(body), trailers

    def get(self, path="/", **more):
        return self.answer(self.begin(path, **more))


def connect(address, pairs=(), context=None, **more):
    host, port = address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    if context:
        connection = context.wrap_socket(connection, server_hostname=host)
    return Connection(connection, True, pairs, **more)


class Http2Server:
    """A server of which handle(connection, frame) gets each frame; `connections` has all there were."""

    def __init__(self, port, handle, pairs=(), context=None, gives_room=True):
        self.address = "127.0.0.1:%d" % port
        self.handle, self.pairs, self.context, self.gives_room = handle, pairs, context, gives_room
        self.connections = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(1024)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, accepted):
        try:
            if self.context:
                accepted = self.context.wrap_socket(accepted, server_side=True)
            connection = Connection(accepted, False, self.pairs, self.gives_room, timeout=120)
            self.connections.append(connection)
            while True:
                got = connection.kept.pop(0) if connection.kept else connection.read()
                if got is None:
                    connection.ended = True
                    return
                self.handle(connection, got)
        except (OSError, AssertionError, ValueError):
            pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()
