"""Clients that behave badly, many connections from one address each, in one thread."""
import selectors
import socket
import threading
import time


def connect(node, source, receive_buffer=None):
    """`source`: an address of the loopback network, which is what tells clients apart."""
    host, port = node.address.rsplit(":", 1)
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.bind((source, 0))
    made.settimeout(20)
    made.connect((host, int(port)))
    return made


class Sender:
    """One connection that sends a request, reads the answer, and sends the next one at once."""

    def __init__(self, sock):
        self.sock = sock
        self.begin(b"", None)

    def begin(self, request, tag):
        self.out, self.sent, self.answer, self.tag = request, 0, b"", tag

    def send(self):
        self.sent += self.sock.send(self.out[self.sent:self.sent + (1 << 20)])

    def receive(self):
        """The status and the head's fields, once all of the answer is there."""
        more = self.sock.recv(1 << 16)
        if not more:
            raise ConnectionError("closed")
        self.answer += more
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if len(body) < int(fields.get("content-length", 0)):
            return None
        return int(lines[0].split(" ")[1]), fields, body


class Flood(threading.Thread):
    """`connections` of them; each request is make(number) -> bytes, each answer goes to take(number, status, fields,
    body)."""

    def __init__(self, node, source, connections, make, take):
        super().__init__(daemon=True)
        self.node, self.source, self.make, self.take = node, source, make, take
        self.selector = selectors.DefaultSelector()
        self.number = self.lost = 0
        self.ending = threading.Event()
        self.error = None
        for _ in range(connections):
            self.open()

    def open(self):
        sender = Sender(connect(self.node, self.source))
        sender.sock.setblocking(False)
        self.next(sender)
        self.selector.register(sender.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, sender)

    def next(self, sender):
        self.number += 1
        sender.begin(self.make(self.number), self.number)

    def step(self, sender, events):
        if events & selectors.EVENT_READ:
            answer = sender.receive()
            if answer:
                self.take(sender.tag, *answer)
                self.next(sender)
                self.selector.modify(sender.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, sender)
        elif events & selectors.EVENT_WRITE:
            sender.send()
            if sender.sent == len(sender.out):
                self.selector.modify(sender.sock, selectors.EVENT_READ, sender)

    def run(self):
        try:
            while not self.ending.is_set():
                for key, events in self.selector.select(0.1):
                    try:
                        self.step(key.data, events)
                    except BlockingIOError:
                        pass
                    except OSError:
                        self.lost += 1
                        self.selector.unregister(key.fileobj)
                        key.fileobj.close()
                        self.open()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error
        finally:
            for key in list(self.selector.get_map().values()):
                key.fileobj.close()

    def end(self):
        self.ending.set()
        self.join(30)
        assert not self.is_alive() and not self.error, self.error


class Watch(threading.Thread):
    """The most resident memory that a node had, in bytes."""

    def __init__(self, memory):
        super().__init__(daemon=True)
        self.memory, self.most = memory, memory()
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(0.05):
            self.most = max(self.most, self.memory())

    def end(self):
        self.ending.set()
        self.join(10)
        return self.most
