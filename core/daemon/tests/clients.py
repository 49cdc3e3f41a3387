"""Clients of the listeners that tests/plugin/listener.c opens."""
import socket
import threading

from node import DEADLINE_S, wait_for

LISTENING = "0A"  # in /proc/net/tcp


def ask(address):
    """Connects and reads to the end: the number of the process that has answered."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(DEADLINE_S)
        client.connect(address)
        return read_answer(client)


def read_answer(client):
    answer = b""
    while True:
        piece = client.recv(64)
        if not piece:
            return int(answer)
        answer += piece


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue as the socket went
        pass
    return False


def listening_sockets(port):
    """How many sockets of this machine listen there."""
    with open("/proc/net/tcp") as file:
        lines = [line.split() for line in file.readlines()[1:]]
    return sum(line[3] == LISTENING and line[1].endswith(":%04X" % port) for line in lines)


class Knocking:
    """Connects again and again, from another thread, until the end of the with statement: `answers` in their order, and
    what went wrong."""

    def __init__(self, address, knock=ask):
        self.address, self.knock = address, knock
        self.answers, self.errors = [], []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.is_set():
            try:
                self.answers.append(self.knock(self.address))
            except (OSError, ValueError) as error:
                self.errors.append(error)

    def wait_more(self, count=10):
        before = len(self.answers)
        wait_for("more answers", lambda: len(self.answers) >= before + count)

    def refused(self):
        return [error for error in self.errors if isinstance(error, ConnectionRefusedError)]

    def __enter__(self):
        self.thread.start()
        try:
            self.wait_more()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
