#!/usr/bin/env python3
"""What the store does when it is asked for more than it can do: three real nodes, clients that send faster than a
majority writes, that never read their answers, or read the change feed too slowly; stale reads while nodes are away.

  test_admission.py BINARIES PLUGINS [CASE...]"""
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, processes_of
from flood import Flood, Watch, connect

MIB = 1 << 20
STORE = """
  write_timeout = "4s"; read_timeout = "4s"; changes_timeout = "1s"; queue_maximum = "32MiB";
  admission: { partition_operations = 64; };
  tables: {
    items: { format = "bytes"; value_maximum = "2MiB"; };
    others: { format = "bytes"; value_maximum = "2MiB"; };
    split: { format = "bytes"; hash_ranges = 4; };
  };
"""
HTTP = 'http: { body_memory_maximum = "16MiB"; answer_memory_maximum = "64MiB"; send_timeout = "4s"; };\n'

# What a node may take besides what it has at rest: 16 MiB of bodies, each byte of which is at most four times in memory
# (as it came, as a command, on its way to the leader, in the log), and what the engine gathers in memory.  Of answers,
# one client's share of 64 MiB, what its share of a partition's 64 operations finds, each byte at most three times (as it
# was found, as it came from the leader, as an answer), the engine's cache, and what the allocator keeps.  What the
# clients want to put there is several times as much: 30 GiB of answers.
SENDING_MAXIMUM = 240 * MIB
TAKING_MAXIMUM = 240 * MIB

BAD, GOOD = "127.0.0.2", "127.0.0.3"  # addresses are what tells clients without a token apart


def path(table, key, **query):
    text = "/v1/tables/%s/records/%s" % (table, urllib.parse.quote(key, safe=""))
    return text + ("?" + urllib.parse.urlencode(query) if query else "")


def request(method, target, body=b""):
    return ("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (method, target, len(body))).encode() + body


def memory(node):
    total = 0
    for pid in processes_of(node.pid):
        try:
            with open("/proc/%d/statm" % pid) as file:
                total += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            pass
    return total


def metric(node, series):
    status, text, _ = node.request("GET", "/metrics")
    found = re.search("^%s (.*)$" % re.escape(series), text.decode(), re.MULTILINE)
    assert status == 200 and found, "there is no %s in %d %s" % (series, status, text[:300].decode())
    return float(found.group(1))


def pause(*nodes):
    for node in nodes:
        os.killpg(node.pid, signal.SIGSTOP)


def go_on(*nodes):
    for node in nodes:
        os.killpg(node.pid, signal.SIGCONT)


class Polite(threading.Thread):
    """A client that asks for one thing after the other, and waits when it is told to."""

    def __init__(self, node, ask):
        super().__init__(daemon=True)
        self.node, self.ask = node, ask
        self.done = self.refused = 0
        self.longest = 0.0
        self.error = None
        self.ending = threading.Event()

    def run(self):
        import http.client
        try:
            while not self.ending.wait(0.02):
                began = time.monotonic()
                while True:
                    connection = http.client.HTTPConnection(self.node.address, timeout=30, source_address=(GOOD, 0))
                    connection.request(*self.ask(self.done))
                    answer = connection.getresponse()
                    text = answer.read()
                    connection.close()
                    if answer.status != 503:
                        break
                    self.refused += 1
                    if self.ending.wait(json.loads(text)["retry_after_ms"] / 1000):
                        return
                assert answer.status == 200, (answer.status, text[:200])
                self.longest = max(self.longest, time.monotonic() - began)
                self.done += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def end(self):
        self.ending.set()
        self.join(40)
        assert not self.is_alive() and not self.error, self.error


class Case:
    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = cluster.nodes

    def leader(self, table="items"):
        name = []

        def known():
            name[:] = [p["leader"] for p in self.nodes[0].json("GET", "/v1/tables/%s/partitions" % table)[1]["partitions"]]
            return all(name)
        Cluster.wait(known, "a leader of " + table)
        return next(node for node in self.nodes if node.name == name[0])

    # ---- Faster than the disks --------------------------------------------------------------------------------------

    def test_sends_faster_than_is_written(self):
        """The followers are stopped most of the time, so that a majority writes slowly."""
        leader = self.leader()
        followers = [node for node in self.nodes if node is not leader]
        value, taken, refused, odd = b"v" * (MIB // 2), {}, [], []

        def make(number):
            return request("PUT", path("items", "flood/%06d" % number), b"%06d" % number + value)

        def take(number, status, fields, body):
            if status == 200:
                taken[number] = json.loads(body)["version"]
            elif status == 503:
                problem = json.loads(body)
                refused.append((problem["type"], problem.get("retry_after_ms"), fields.get("retry-after")))
            else:
                odd.append((status, body[:200]))

        ending = threading.Event()

        def slow():
            while not ending.is_set():
                pause(*followers)
                ending.wait(0.25)
                go_on(*followers)
                ending.wait(0.05)

        watches = [Watch(lambda n=node: memory(n)) for node in self.nodes]
        before = [watch.most for watch in watches]
        floods = [Flood(leader, BAD, 300, make, take)]
        polite = Polite(leader, lambda i: ("PUT", path("items", "polite/%d" % i), b"small"))
        elsewhere = Polite(leader, lambda i: ("GET", "/v1/tables"))
        slowing = threading.Thread(target=slow, daemon=True)
        for thread in [*watches, *floods, polite, elsewhere, slowing]:
            thread.start()
        time.sleep(12)
        floods[0].end()
        polite.end()
        elsewhere.end()
        ending.set()
        slowing.join()
        most = [watch.end() - at_rest for watch, at_rest in zip(watches, before)]
        print("        taken %d, refused %d; polite: %d, refused %d, longest %.2f s; others %d, longest %.2f s; "
              "memory +%s MiB" % (len(taken), len(refused), polite.done, polite.refused, polite.longest, elsewhere.done,
                                  elsewhere.longest, [m // MIB for m in most]))
        assert not odd, odd[:3]
        assert max(most) < SENDING_MAXIMUM, most
        assert taken and len(refused) > 100
        kinds = {kind for kind, _, _ in refused}
        assert kinds <= {"urn:holdfast:problem:busy", "urn:holdfast:problem:no-leader",
                         "urn:holdfast:problem:unknown-outcome"}, kinds
        busy = [(ms, seconds) for kind, ms, seconds in refused if kind.endswith("busy")]
        assert busy and all(100 <= ms <= 10000 and int(seconds) == (ms + 999) // 1000 for ms, seconds in busy), busy[:5]
        assert polite.done >= 5 and polite.longest < 12, (polite.done, polite.longest)
        assert elsewhere.done >= 100 and elsewhere.longest < 2, (elsewhere.done, elsewhere.longest)
        assert metric(leader, 'holdfast_http_refused_total{memory="bodies"}') > 0
        Cluster.wait(lambda: leader.request("PUT", path("items", "after"), b"x")[0] == 200, "writes to go on")
        for number, version in taken.items():
            status, text, fields = leader.request("GET", path("items", "flood/%06d" % number))
            assert status == 200 and text == b"%06d" % number + value, (number, status, text[:20])
            assert fields["ETag"] == '"%d"' % version
        for i in range(polite.done):
            assert leader.request("GET", path("items", "polite/%d" % i))[0] == 200

    def test_a_full_queue_is_told_through_any_node(self):
        """Small writes to a partition whose queue takes 64: the leader refuses, and every node passes it on."""
        leader = self.leader()
        others = [node for node in self.nodes if node is not leader]
        answers = {node.name: [] for node in self.nodes}

        def take_from(node):
            def take(number, status, fields, body):
                answers[node.name].append((status, json.loads(body)))
            return take

        def make(number):
            return request("PUT", path("items", "small/%d" % (number % 50)), b"x" * 100)

        floods = [Flood(node, BAD, 60, make, take_from(node)) for node in (leader, others[0])]
        polite = Polite(others[0], lambda i: ("PUT", path("items", "polite/%d" % (i % 10)), b"small"))
        for thread in [*floods, polite]:
            thread.start()

        def one_turn():
            pause(*others[1:])
            time.sleep(0.3)
            go_on(*others[1:])
        for _ in range(10):
            one_turn()
        for flood in floods:
            flood.end()
        polite.end()
        for node in (leader, others[0]):
            refused = [problem for status, problem in answers[node.name] if status == 503]
            print("        %s: %d answers, %d refused" % (node.name, len(answers[node.name]), len(refused)))
            assert refused and {status for status, _ in answers[node.name]} == {200, 503}
            assert all(problem["type"].endswith(":busy") for problem in refused), refused[:2]
            assert all("writes" in problem["detail"] and problem["retry"] == "later" and
                       100 <= problem["retry_after_ms"] <= 10000 for problem in refused), refused[:2]
        assert polite.done > 20 and polite.refused == 0, (polite.done, polite.refused) # half of the queue is left
        assert metric(leader, 'holdfast_store_refused_total{reason="client"}') > 0
        assert metric(leader, 'holdfast_store_queue_operations{queue="writes"}') <= 64

    # ---- Answers that nobody reads ----------------------------------------------------------------------------------

    def test_never_reads_its_answers(self):
        node = self.nodes[0]
        value = os.urandom(MIB)
        assert node.request("PUT", path("others", "large"), value)[0] == 200
        stalled = metric(node, "holdfast_http_stalled_connections_total")
        watch = Watch(lambda: memory(node))
        before = watch.most
        watch.start()
        polite = Polite(node, lambda i: ("GET", path("others", "large")))
        polite.start()
        many = request("GET", path("others", "large")) * 200
        silent = [connect(node, BAD, 4096) for _ in range(150)]
        held = [metric(node, "holdfast_http_answer_bytes")]

        def some_are_disconnected():
            for sock in list(silent):  # they go on asking, and never read
                try:
                    sock.send(many, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    pass
                except OSError:
                    silent.remove(sock)
            held.append(metric(node, "holdfast_http_answer_bytes"))
            return metric(node, "holdfast_http_stalled_connections_total") - stalled >= 30
        Cluster.wait(some_are_disconnected, "those who take nothing to be disconnected")
        polite.end()
        Cluster.wait(lambda: metric(node, "holdfast_http_answer_bytes") == 0, "nothing to be held any more")
        most = watch.end() - before
        print("        held %d MiB, memory +%d MiB; polite: %d, refused %d, longest %.2f s; %d disconnected" %
              (max(held) // MIB, most // MIB, polite.done, polite.refused, polite.longest,
               metric(node, "holdfast_http_stalled_connections_total") - stalled))
        assert metric(node, 'holdfast_http_refused_total{memory="answers"}') > 0
        for sock in silent:
            sock.close()
        assert most < TAKING_MAXIMUM, most
        assert polite.done > 20 and polite.longest < 3, (polite.done, polite.longest)
        assert node.request("GET", path("others", "large"))[1] == value

    # ---- Slow readers of the change feed ----------------------------------------------------------------------------

    def follow(self, node, start=None, receive_buffer=None):
        query = {"follow": 1, **({"from": start} if start else {})}
        sock = connect(node, GOOD, receive_buffer)
        sock.sendall(b"GET /v1/tables/others/changes?" + urllib.parse.urlencode(query).encode() +
                     b" HTTP/1.0\r\nHost: x\r\n\r\n")
        return sock

    @staticmethod
    def lines(data):
        return [json.loads(line) for line in data.partition(b"\r\n\r\n")[2].split(b"\n")[:-1] if line.strip()]

    def test_slow_readers_of_changes(self):
        node = self.nodes[1]
        text = b"t" * (200 << 10)
        for i in range(80):  # 16 MiB, more than the sockets hold
            assert node.request("PUT", path("others", "feed/%03d" % i), text)[0] == 200
        wanted = ["feed/%03d" % i for i in range(80)]
        at_rest = memory(node)
        silent = self.follow(node, receive_buffer=4096)
        trickle = self.follow(node, receive_buffer=65536)
        received = bytearray()
        ending = threading.Event()

        def read_slowly():  # less than it could, but always something
            while not ending.wait(0.05):
                more = trickle.recv(64 << 10)
                if not more:
                    return
                received.extend(more)
        reader = threading.Thread(target=read_slowly, daemon=True)
        reader.start()
        series = 'holdfast_store_changes_ended_total{reason="slow"}'
        Cluster.wait(lambda: metric(node, series) == 1, "the silent reader to be disconnected")
        assert "a stream of changes of the table 'others' was ended" in node.log()
        assert memory(node) - at_rest < 64 * MIB

        data = bytearray()
        while True:
            more = silent.recv(1 << 20)
            if not more:
                break
            data.extend(more)
        told = self.lines(bytes(data))
        assert told[-1]["end"] == "slow" and told[-1]["detail"], told[-1]
        seen = [line["key"] for line in told[:-1] if line["key"].startswith("feed/")]
        assert 0 < len(seen) < 80, len(seen)
        again = self.follow(node, told[-1]["from"])
        data = bytearray()
        while b'"feed/079"' not in data or not data.endswith(b"\n"):
            more = again.recv(1 << 20)
            assert more
            data.extend(more)
        again.close()
        seen += [line["key"] for line in self.lines(bytes(data)) if line["key"].startswith("feed/")]
        assert seen == wanted, (len(seen), seen[:3])

        Cluster.wait(lambda: b'"feed/079"' in received and received.endswith(b"\n"), "the slow reader to have it all", 90)
        ending.set()
        trickle.shutdown(socket.SHUT_RDWR)  # it may wait for more
        reader.join(10)
        assert not reader.is_alive()
        trickle.close()
        seen = [line["key"] for line in self.lines(bytes(received)) if line["key"].startswith("feed/")]
        assert seen == wanted
        assert metric(node, series) == 1

    # ---- Stale reads ------------------------------------------------------------------------------------------------

    def stale(self, node, key="clock"):
        """(value, age in seconds)"""
        status, text, fields = node.request("GET", path("others", key, consistency="stale"), timeout=30)
        assert status == 200, (status, text)
        return text, int(fields["Holdfast-Staleness-Ms"]) / 1000

    def test_ages_of_stale_reads(self):
        node = next(n for n in self.nodes if n is not self.leader("others"))
        rest = [n for n in self.nodes if n is not node]
        assert rest[0].request("PUT", path("others", "clock"), b"0")[0] == 200
        Cluster.wait(lambda: self.stale(node)[1] < 1, "a fresh stale read")
        assert self.stale(node)[0] == b"0"
        _, text, fields = node.request("GET", "/v1/tables/split/records?consistency=stale")
        assert json.loads(text) == {"records": []} and "Holdfast-Staleness-Ms" in fields
        _, text, _ = node.request("GET", path("split", "none", consistency="stale"))
        assert "staleness_ms" in json.loads(text), text

        # Alone: what it has gets older, and it says so, promptly.
        pause(*rest)
        since = time.monotonic()
        try:
            while time.monotonic() < since + 3:
                began = time.monotonic()
                _, age = self.stale(node)
                assert age >= began - since, (age, began - since)
                assert age <= time.monotonic() - since + 3, (age, time.monotonic() - since)
                assert time.monotonic() - began < 0.6
                _, text, fields = node.request("GET", "/v1/tables/split/records?consistency=stale")
                assert int(fields["Holdfast-Staleness-Ms"]) / 1000 >= began - since
                time.sleep(0.1)
        finally:
            go_on(*rest)
        Cluster.wait(lambda: self.stale(node)[1] < 1, "what it has to be fresh again")

        # Paused while others write: whatever it answers when it wakes is told as old as it is.
        pause(node)
        for i in range(20):
            Cluster.wait(lambda i=i: rest[0].request("PUT", path("others", "clock"), b"%d" % (i + 1))[0] == 200,
                         "a write without the paused node")
            time.sleep(0.1)
        written = time.monotonic()
        go_on(node)
        reads = 0
        while True:
            began = time.monotonic()
            value, age = self.stale(node)
            reads += 1
            if value == b"20":
                break
            assert age >= began - written, "%s is told as %.3f s old, %.3f s after 20" % (value, age, began - written)
            assert time.monotonic() < written + 20
        print("        %d reads until the newest was seen" % reads)


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    directory = tempfile.mkdtemp(prefix="holdfast-admission-")
    cluster = Cluster(directory, binaries, plugins, STORE, more=HTTP)
    failed = []
    try:
        cluster.start("items")
        case = Case(cluster)
        for name in sys.argv[3:] or [name for name in vars(Case) if name.startswith("test_")]:
            started = time.monotonic()
            try:
                getattr(case, name)()
                print("ok      %-45s %.1f s" % (name, time.monotonic() - started), flush=True)
            except Exception:  # pylint: disable=broad-except
                failed.append(name)
                traceback.print_exc()
                print("FAILED  %s" % name, flush=True)
                break
        go_on(*[node for node in cluster.nodes if node.alive])
        codes = cluster.stop()
        if not failed and codes != [0] * len(codes):
            failed.append("exit codes %s" % codes)
    finally:
        cluster.kill()
        for node in cluster.nodes if failed else []:
            print("---- the end of %s's log\n%s" % (node.name, node.log()[-3000:]))
        shutil.rmtree(directory, ignore_errors=True)
    print("failed: %s" % ", ".join(failed) if failed else "all passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
