#!/usr/bin/env python3
"""Loads the sample conversations into a running cluster while nodes are killed, and verifies that nothing is lost.

Every message is written by one of several threads, with its key as idempotency key, and repeated on any node until it is
acknowledged.  At a fifth of the way the node that leads most partitions is killed with SIGKILL, later restarted, and then
another one is killed and restarted.  At the end every acknowledged message must read back identical from every node, both
linearizably and from its own replicas.  Exits 0 only then."""
import argparse
import collections
import glob
import gzip
import http.client
import itertools
import json
import os
import queue
import sys
import threading
import time
import urllib.parse

from cluster import Node

TABLE = "conversations"


def read_messages(folder):
    messages = {}
    for path in sorted(glob.glob(os.path.join(folder, "conversations-*.jsonl.gz"))):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                message = json.loads(line)
                messages["%s/%06d" % (message["conversation"], message["turn"])] = line.rstrip("\n")
    return messages


class Writer(threading.Thread):
    """Takes messages from the queue and writes each until it is acknowledged."""

    def __init__(self, number, state):
        super().__init__(daemon=True)
        self.turn = number
        self.state = state
        self.connection = None

    def connect(self):
        if self.connection:
            self.connection.close()
        self.turn += 1
        address = self.state.nodes[self.turn % len(self.state.nodes)].address
        self.connection = http.client.HTTPConnection(address, timeout=20)

    def write_once(self, key, body):
        path = "/v1/tables/%s/records/%s" % (TABLE, urllib.parse.quote(key, safe=""))
        self.connection.request("PUT", path, body, {"Content-Type": "application/json", "Idempotency-Key": key})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status == 200:
            return True
        if answer.status < 500:
            sys.exit("the write of %s was refused: %d %s" % (key, answer.status, text.decode()))
        return False

    def write(self, key, body):
        started = time.monotonic()
        while time.monotonic() - started < 60:
            try:
                if self.connection is None:
                    self.connect()
                if self.write_once(key, body):
                    self.state.acknowledged(key, started)
                    return
                self.state.retries += 1
                time.sleep(0.01)
            except (OSError, http.client.HTTPException):
                self.state.retries += 1
                self.connect()
                time.sleep(0.01)
        self.state.unacknowledged.append(key)

    def run(self):
        try:
            while True:
                key = self.state.queue.get_nowait()
                self.write(key, self.state.messages[key].encode())
        except queue.Empty:
            pass
        except SystemExit as error:
            self.state.failure = str(error)


class State:
    def __init__(self, nodes, messages):
        self.nodes = nodes
        self.messages = messages
        self.queue = queue.SimpleQueue()
        for key in messages:
            self.queue.put(key)
        self.lock = threading.Lock()
        self.written = set()
        self.unacknowledged = []
        self.retries = 0
        self.last = None
        self.longest_gap = 0.0
        self.longest_write = 0.0
        self.failure = None

    def acknowledged(self, key, started):
        now = time.monotonic()
        with self.lock:
            self.written.add(key)
            if self.last is not None:
                self.longest_gap = max(self.longest_gap, now - self.last)
            self.last = now
            self.longest_write = max(self.longest_write, now - started)


def find_leader(nodes):
    """The live node that leads most of the table's partitions."""
    leads = collections.Counter()
    for node in nodes:
        if node.alive:
            partitions = node.json("GET", "/v1/tables/%s/partitions" % TABLE)[1]["partitions"]
            leads.update(p["leader"] for p in partitions if p.get("leader") == node.name)
    name = leads.most_common(1)[0][0]
    return next(node for node in nodes if node.name == name)


def wait_for_progress(state, writers, share):
    wanted = int(len(state.messages) * share)
    while len(state.written) + len(state.unacknowledged) < wanted and not state.failure:
        if not any(writer.is_alive() for writer in writers):
            return
        print("\r%6d of %d messages" % (len(state.written), len(state.messages)), end="", file=sys.stderr, flush=True)
        time.sleep(0.02)


def disturb(state, writers):
    """Kills the leader, brings it back, and does the same to another node."""
    kills = 0
    killed = None
    for down_at, up_at in ((0.2, 0.4), (0.6, 0.8)):
        wait_for_progress(state, writers, down_at)
        victim = find_leader([node for node in state.nodes if node is not killed])
        victim.kill()
        kills += 1
        print("\nkilled %s" % victim.name, file=sys.stderr)
        wait_for_progress(state, writers, up_at)
        victim.start()
        print("\nstarted %s" % victim.name, file=sys.stderr)
        killed = victim
    return kills


def read_all(node, consistency):
    found = {}
    start = None
    for _ in itertools.count():
        path = "/v1/tables/%s/records?limit=1000" % TABLE + (consistency and "&consistency=" + consistency)
        if start:
            path += "&start=" + urllib.parse.quote(start, safe="")
        status, body, _ = node.request("GET", path, timeout=60)
        if status != 200:
            raise OSError("scan on %s: %d %s" % (node.name, status, body[:300]))
        page = json.loads(body)
        for record in page["records"]:
            found[record["key"]] = record["value"]
        start = page.get("next")
        if not start:
            return found


def lost(state, found):
    return [key for key in state.written if found.get(key) != json.loads(state.messages[key])]


def verify(state, node, consistency):
    """The messages that do not read back; a replica may need a moment for the newest."""
    deadline = time.monotonic() + (60 if consistency else 20)
    while True:
        try:
            missing = lost(state, read_all(node, consistency))
        except OSError as error:
            missing = [str(error)]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--nodes", required=True)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    nodes = [Node("n%d" % (i + 1), address, os.path.join(options.directory, "n%d" % (i + 1)),
                  os.path.join(options.binaries, "holdfastd"))
             for i, address in enumerate(options.nodes.split(","))]
    for node in nodes:
        node.adopt()
    state = State(nodes, read_messages(options.samples))
    started = time.monotonic()
    writers = [Writer(i, state) for i in range(options.threads)]
    for writer in writers:
        writer.start()
    try:
        kills = disturb(state, writers)
        for writer in writers:
            writer.join()
        took = time.monotonic() - started
        print("\nverifying", file=sys.stderr)
        missing = {}
        for node in nodes:
            for consistency in ("", "stale"):
                bad = verify(state, node, consistency)
                if bad:
                    missing["%s %s" % (node.name, consistency or "linearizable")] = bad
    finally:
        for node in nodes:
            node.stop()
    gone = set(itertools.chain.from_iterable(missing.values()))
    print("messages acknowledged          %d of %d" % (len(state.written), len(state.messages)))
    print("time                           %.1f s (%.0f a second, %d retries)" % (took, len(state.written) / took, state.retries))
    print("nodes killed                   %d" % kills)
    print("longest time without a write   %.0f ms" % (state.longest_gap * 1000))
    print("longest wait for one write     %.0f ms" % (state.longest_write * 1000))
    print("messages lost                  %d" % len(gone))
    for where, bad in missing.items():
        print("  %s: %d, such as %s" % (where, len(bad), bad[:3]))
    if state.failure:
        print(state.failure)
    sys.exit(1 if gone or state.failure or state.unacknowledged or not state.written else 0)


if __name__ == "__main__":
    main()
