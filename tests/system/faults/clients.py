"""Clients that read, write, replace and delete records at whatever node they happen to ask, and remember what they
asked, when, and what they were told."""
import http.client
import random
import threading
import time

from linearizability import DELETE, READ, REPLACE, WRITE, Operation, check

KEYS = 12           # at a time
GENERATION = 4.0    # seconds after which all go on to new keys, so that histories stay short
TIMEOUT = 5.0       # of a request, after which its outcome is unknown
STALE = 0.06        # of the requests are stale reads
PADDING = 2000      # bytes at most behind a value, so that files fill


def name_of(body):
    """Of a value as it was read, which must be one that a client wrote: NAME, or NAME:PADDING."""
    name, _, padding = body.decode().partition(":")
    assert padding == padding_of(name), "the value of %s was read as %r" % (name, body)
    return name


def padding_of(name):
    return (name + ".") * (hash_of(name) % PADDING // (len(name) + 1))


def hash_of(name):
    """Of all of its letters; hash() differs from run to run."""
    value = 7
    for letter in name:
        value = (value * 131 + ord(letter)) % 1000003
    return value


def body_of(name):
    padding = padding_of(name)
    return ("%s:%s" % (name, padding) if padding else name).encode()


class Client(threading.Thread):
    """One request at a time over connections that stay open."""

    def __init__(self, nodes, name, seed, began):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.name = name
        self.random = random.Random(seed)
        self.began = began
        self.connections = {}
        self.operations = {}  # by key
        self.stale = []       # (key, value, when answered)
        self.number = 0
        self.versions = {}    # key: (value, ETag) as last read
        self.unknown = self.refused = self.answered = 0
        self.helped = []      # when answers came that help
        self.failed = None
        self.ending = threading.Event()

    def now(self):
        return time.monotonic() - self.began

    def ask(self, node, method, path, body=None, headers={}):
        connection = self.connections.get(node)
        if connection is None:
            connection = self.connections[node] = http.client.HTTPConnection(node.address, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        except (OSError, http.client.HTTPException):
            connection.close()
            del self.connections[node]
            return None, b"", {}

    def choose(self, key):
        chance = self.random.random()
        self.number += 1
        value = "%s.%d" % (self.name, self.number)
        if chance < 0.45:
            return Operation(self.name, READ, 0)
        if chance < 0.7:
            return Operation(self.name, WRITE, 0, value)
        if chance < 0.95 and key in self.versions:
            return Operation(self.name, REPLACE, 0, value, self.versions[key][0])
        return Operation(self.name, DELETE, 0)

    def settle(self, key, operation, answer):
        """What the answer says of the operation.  False: that nothing was done."""
        status, body, headers = answer
        if status == 503 and b"unknown-outcome" not in body:
            return False
        if status is None or status >= 500:
            return True # it stays unknown
        if operation.kind == READ:
            assert status in (200, 404), (status, body)
            operation.result = name_of(body) if status == 200 else None
            if status == 200:
                self.versions[key] = operation.result, headers["ETag"]
        elif operation.kind == WRITE:
            assert status == 200, (status, body)
            operation.result = True
        elif operation.kind == REPLACE:
            assert status in (200, 412), (status, body)
            operation.result = status == 200
        else:
            assert status in (200, 404), (status, body)
            operation.result = status == 200
        operation.returned = self.now()
        return True

    def read_stale(self, key):
        """Of the replica of the node asked: any value that the record ever had."""
        status, body, _ = self.ask(self.random.choice(self.nodes), "GET",
                                   "/v1/tables/registers/records/%s?consistency=stale" % key)
        assert status is None or status in (200, 404) or status >= 500, (status, body)
        if status == 200:
            self.stale.append((key, name_of(body), self.now()))
        return status in (200, 404)

    def work(self):
        key = "g%d-k%d" % (self.now() // GENERATION, self.random.randrange(KEYS))
        if self.random.random() < STALE:
            return self.read_stale(key)
        operation = self.choose(key)
        headers = {}
        if operation.kind == REPLACE:
            headers["If-Match"] = self.versions.pop(key)[1]
        again = operation.kind != READ and self.random.random() < 0.5
        if again: # a write that may be repeated until its outcome is known
            headers["Idempotency-Key"] = "%s-%d" % (self.name, self.number)
        body = body_of(operation.value) if operation.value else None
        method = {READ: "GET", DELETE: "DELETE"}.get(operation.kind, "PUT")
        node = self.random.choice(self.nodes)
        operation.invoked = self.now()
        counts = False # whether anything may have come of it
        while True:
            answer = self.ask(node, method, "/v1/tables/registers/records/" + key, body, headers)
            counts = self.settle(key, operation, answer) or counts
            if not again or operation.result is not None or self.ending.is_set():
                break
            node = self.random.choice(self.nodes)
            time.sleep(0.01)
        if counts:
            self.operations.setdefault(key, []).append(operation)
        known = operation.result is not None or operation.kind == READ and operation.returned != float("inf")
        self.answered += known
        self.refused += not counts
        self.unknown += counts and not known
        return known

    def run(self):
        try:
            while not self.ending.is_set():
                if self.work():
                    self.helped.append(self.now())
                else:
                    time.sleep(0.005)
        except BaseException as error:
            self.failed = error

    def end(self):
        self.ending.set()
        self.join()
        if self.failed:
            raise self.failed


def longest_silence(clients):
    """The longest in which no client had an answer that helps, and when it began."""
    times = sorted(time for client in clients for time in client.helped)
    return max(zip((later - sooner for sooner, later in zip(times, times[1:])), times), default=(0.0, 0.0))


def histories_of(clients):
    histories = {}
    for client in clients:
        for key, operations in client.operations.items():
            histories.setdefault(key, []).extend(operations)
    return histories


def judge(histories):
    """None, or (key, the longest order found, what stood against it, all operations)."""
    for key, operations in sorted(histories.items()):
        verdict = check(operations)
        if verdict:
            return key, verdict[0], verdict[1], sorted(operations, key=lambda o: o.invoked)
    return None


def judge_stale(clients, histories):
    """None, or a sentence: a stale read answered what nobody had asked to write by then."""
    written = {(key, o.value): o.invoked for key, operations in histories.items() for o in operations if o.value}
    for client in clients:
        for key, value, when in client.stale:
            if written.get((key, value), float("inf")) > when:
                return "a stale read of %s by %s at %.4f answered %s, which nobody had written by then" % (
                    key, client.name, when, value)
    return None


def explain(key, order, against, operations):
    print("the record %s did not behave as one register; an order was found as far as" % key)
    for operation in order[-8:]:
        print("   ", operation)
    print("and nothing explains")
    print("   ", against)
    print("all that happened around it:")
    for operation in operations:
        if operation.returned >= against.invoked - 1 and operation.invoked <= against.returned + 1:
            print("   ", operation)
