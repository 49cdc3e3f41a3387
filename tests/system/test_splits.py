#!/usr/bin/env python3
"""Partitions that are split and merged on three real nodes under load.  test_splits.py BINARIES PLUGINS

Clients write, read, scan and follow the change feed all the time; none of their requests may fail, and in the end every
record is there once, with its last value, on every way to read it."""
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

STORE = ('replication = "raft"; engine = "rocksdb"; merge_after = "%s"; partition_max_size = "%s"; '
         'partition_max_rate = %d; tables: { t: { keep_changes = "%s"; }; }')


def partitions(node, table="t"):
    status, answer = node.json("GET", "/v1/tables/%s/partitions" % table)
    assert status == 200, answer
    return answer["partitions"]


def settled(cluster, count):
    """All nodes know of that many partitions, each has a leader, and none is being split or merged."""
    for node in cluster.nodes:
        found = partitions(node)
        if len(found) != count or any(p.get("reshaping") or not p["leader"] for p in found):
            return False
    return True


def reshape(node, partition, what):
    status, body, _ = node.request("POST", "/v1/tables/t/partitions/%d/%s" % (partition, what))
    assert status == 202, (status, body)


class Writer(threading.Thread):
    """Writes keys of its own with counting values; every answer must be good."""

    def __init__(self, cluster, name, keys):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.name = name
        self.keys = keys
        self.values = {}
        self.ending = threading.Event()
        self.failures = []
        self.count = 0
        self.longest = 0.0

    def put(self, node, key, value, headers):
        began = time.monotonic()
        status, body, _ = node.request("PUT", "/v1/tables/t/records/" + key, json.dumps(value), headers)
        self.longest = max(self.longest, time.monotonic() - began)
        if status != 200:
            self.failures.append((status, body))
            return
        self.values[key] = value
        if self.count % 7 == 0: # once more with the same key: nothing may be written
            again, text, _ = node.request("PUT", "/v1/tables/t/records/" + key, json.dumps(value), headers)
            if again != 200 or json.loads(text)["version"] != json.loads(body)["version"]:
                self.failures.append((again, text, "again, after", body))

    def batch(self, node, number):
        operations = [{"op": "put", "key": "%s-b%d" % (self.name, i), "value": {"n": number}} for i in range(4)]
        status, body = node.json("POST", "/v1/tables/t/batch", json.dumps({"operations": operations}))
        if status != 200:
            self.failures.append((status, body))
            return
        for operation in operations:
            self.values[operation["key"]] = operation["value"]

    def run(self):
        while not self.ending.is_set():
            self.count += 1
            node = self.cluster.nodes[self.count % len(self.cluster.nodes)]
            key = "%s-%d" % (self.name, self.count % self.keys)
            try:
                if self.count % 5 == 0:
                    self.batch(node, self.count)
                else:
                    self.put(node, key, {"n": self.count},
                             {"Idempotency-Key": "%s-%d" % (self.name, self.count)} if self.count % 7 == 0 else {})
                    if self.count % 3 == 0:
                        status, body, _ = node.request("GET", "/v1/tables/t/records/" + key)
                        if status != 200 or json.loads(body) != self.values[key]:
                            self.failures.append(("read", status, body, self.values[key]))
            except OSError as error:
                self.failures.append(error)


class Follower(threading.Thread):
    """Follows the feed from the beginning; remembers the newest value of each key by its version."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node = node
        self.newest = {}
        self.partitions = set()
        self.failed = None
        self.connection = None

    def run(self):
        import http.client
        try:
            self.connection = http.client.HTTPConnection(self.node.address, timeout=60)
            self.connection.request("GET", "/v1/tables/t/changes?follow=1")
            answer = self.connection.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                if not line.strip():
                    continue
                change = json.loads(line)
                self.partitions.add(change["partition"])
                known = self.newest.get(change["key"])
                if known is None or change["version"] > known[0]:
                    self.newest[change["key"]] = change["version"], change.get("value")
        except Exception as error:
            self.failed = error


def scan(node):
    found, start = {}, ""
    while True:
        status, page = node.json("GET", "/v1/tables/t/records?limit=37&start=" + start)
        assert status == 200, page
        for record in page["records"]:
            assert record["key"] not in found, "twice: " + record["key"]
            found[record["key"]] = record["value"]
        start = page.get("next")
        if not start:
            return found


def check_all(cluster, writers):
    expected = {}
    for writer in writers:
        assert not writer.failures, writer.failures[:3]
        expected.update(writer.values)
    for node in cluster.nodes:
        found = scan(node)
        assert found == expected, (len(found), len(expected), sorted(set(found) ^ set(expected))[:5])
    return expected


def check_feeds(cluster):
    """Who reads the feed from its beginning is told of each change once, whatever became of its partition."""
    for node in cluster.nodes:
        status, body, _ = node.request("GET", "/v1/tables/t/changes", timeout=60)
        assert status == 200, body[:300]
        seen = {}
        for line in body.splitlines():
            if line.strip():
                change = json.loads(line)
                what = change["key"], change["version"]
                assert what not in seen, (what, change["partition"], seen[what])
                seen[what] = change["partition"]


def follows(follower, expected):
    return all(follower.newest.get(key, (0, None))[1] == value for key, value in expected.items())


def load(cluster, name="w", count=4):
    writers = [Writer(cluster, "%s%d" % (name, i), 60) for i in range(count)]
    for writer in writers:
        writer.start()
    return writers


def end(writers):
    for writer in writers:
        writer.ending.set()
    for writer in writers:
        writer.join()


def splits_and_merges_under_load(directory, binaries, plugins):
    cluster = Cluster(directory, binaries, plugins, STORE % ("0s", "0", 0, "7d"))
    try:
        cluster.start("t")
        writers = load(cluster)
        follower = Follower(cluster.nodes[1])
        follower.start()
        cursor = None
        for count in (2, 3, 4):
            first = partitions(cluster.nodes[0])
            if cursor is None: # a scan that began before the splits goes on after them
                cluster.wait(lambda: len(scan(cluster.nodes[0])) > 60, "records")
                page = cluster.nodes[0].json("GET", "/v1/tables/t/records?limit=20")[1]
                cursor, seen = page["next"], {r["key"] for r in page["records"]}
            widest = max(first, key=lambda p: int(p["hash_to"], 16) - int(p["hash_from"], 16))
            reshape(cluster.nodes[count % 3], widest["id"], "split")
            cluster.wait(lambda: settled(cluster, count), "%d partitions" % count)
        while cursor:
            status, page = cluster.nodes[2].json("GET", "/v1/tables/t/records?limit=20&start=" + cursor)
            assert status == 200, page
            keys = {r["key"] for r in page["records"]}
            assert not keys & seen
            seen |= keys
            cursor = page.get("next")
        status, body, _ = cluster.nodes[0].request("POST", "/v1/tables/t/partitions/99/split")
        assert status == 404, (status, body)
        ids = [p["id"] for p in partitions(cluster.nodes[0])]
        status, body, _ = cluster.nodes[0].request("POST", "/v1/tables/t/partitions/%d/merge" % ids[-1])
        assert status == 409, (status, body)
        time.sleep(1)
        # A node that is killed in the midst of a split takes part in it when it is back.
        reshape(cluster.nodes[0], ids[0], "split")
        cluster.nodes[2].kill()
        cluster.nodes[2].start()
        cluster.wait(lambda: settled(cluster, 5), "5 partitions")
        end(writers)
        expected = {}
        for writer in writers:
            failures = [f for f in writer.failures # others than what the node that was killed left open
                        if not isinstance(f, OSError) and b"unknown-outcome" not in f[1]]
            assert not failures, failures[:3]
            expected.update(writer.values)
        found = scan(cluster.nodes[0])
        assert set(expected) <= set(found), sorted(set(expected) - set(found))[:5]
        cluster.wait(lambda: follows(follower, {k: found[k] for k in expected}), "the feed to give everything")
        check_feeds(cluster)
        writers = load(cluster, "later")
        while len(partitions(cluster.nodes[0])) > 1:
            count = len(partitions(cluster.nodes[0])) - 1
            reshape(cluster.nodes[count % 3], partitions(cluster.nodes[0])[0]["id"], "merge")
            cluster.wait(lambda: settled(cluster, count), "%d partitions after a merge" % count, 120)
        end(writers)
        expected = check_all(cluster, writers + [type("Old", (), {"failures": [], "values": {
            k: v for k, v in found.items() if k not in set().union(*(w.values for w in writers))}})()])
        cluster.wait(lambda: follows(follower, expected), "the feed to give everything after merges")
        assert follower.failed is None, follower.failed
        check_feeds(cluster)
        longest = max(writer.longest for writer in writers)
        for node in cluster.nodes:
            assert node.stop() == 0
        for node in cluster.nodes:
            node.start(wait=False)
        for node in cluster.nodes:
            node.wait_ready()
        cluster.wait(lambda: scan(cluster.nodes[1]) == expected, "the same records after a restart")
        print("split to 5 and merged to 1 under load: %d writes, longest %.2f s" % (
            sum(writer.count for writer in writers), longest))
    finally:
        cluster.kill()


def grown_partitions_split_by_themselves(directory, binaries, plugins):
    cluster = Cluster(directory, binaries, plugins, STORE % ("2s", "2MiB", 0, "1s"))
    try:
        cluster.start("t")
        chance = random.Random(1)
        keys = ["k%04d" % i for i in range(1600)]
        for at in range(0, len(keys), 50):
            body = {"operations": [{"op": "put", "key": k, "value": chance.randbytes(5000).hex()}
                                   for k in keys[at:at + 50]]}
            status, answer = cluster.nodes[0].json("POST", "/v1/tables/t/batch", json.dumps(body))
            assert status == 200, answer
        cluster.wait(lambda: len(partitions(cluster.nodes[0])) >= 4, "splits by size", 120)
        cluster.wait(lambda: settled(cluster, len(partitions(cluster.nodes[0]))), "an end of the splits", 120)
        assert sorted(scan(cluster.nodes[2])) == keys
        for key in keys:
            assert cluster.nodes[0].request("DELETE", "/v1/tables/t/records/" + key)[0] == 200
        cluster.wait(lambda: settled(cluster, 1), "merges of what has become small", 180)
        assert scan(cluster.nodes[2]) == {}
        # What was merged leaves when its changes need not be kept any longer.
        cluster.wait(lambda: all(len(os.listdir(os.path.join(n.directory, "data"))) for n in cluster.nodes), "data")
        cluster.wait(lambda: all(
            n.json("GET", "/v1/cluster")[1]["nodes"][i]["replicas"] == 2 for i, n in enumerate(cluster.nodes)),
            "replicas of the merged partitions to go", 60)
        print("partitions were split by size, and merged")
    finally:
        cluster.kill()


def busy_partitions_split_by_themselves(directory, binaries, plugins):
    cluster = Cluster(directory, binaries, plugins, STORE % ("0s", "0", 60, "7d"))
    try:
        cluster.start("t")
        writers = load(cluster)
        cluster.wait(lambda: len(partitions(cluster.nodes[0])) >= 2, "a split by load", 120)
        end(writers)
        check_all(cluster, writers)
        print("a busy partition was split")
    finally:
        cluster.kill()


def main():
    binaries, plugins = sys.argv[1:3]
    for test in (splits_and_merges_under_load, grown_partitions_split_by_themselves,
                 busy_partitions_split_by_themselves):
        directory = tempfile.mkdtemp(prefix="holdfast-splits-")
        try:
            test(directory, binaries, plugins)
        except BaseException:
            print("kept " + directory)
            raise
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
