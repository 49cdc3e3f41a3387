"""Nodes that come and go: test_nodes.py BINARIES PLUGINS

A cluster of three gets a fourth node, loses one for good, and takes one in that lost its disk, with writers at work all
the time: no acknowledged write is lost, and each move ends."""
import json
import os
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

STORE = ('replication = "raft"; engine = "rocksdb"; '
         'tables: { items: { format = "bytes"; hash_ranges = 6; }; }; moves_maximum = 4')


class Writer(threading.Thread):
    """Writes one record after the other; each write has an idempotency key and is repeated until it is answered."""

    def __init__(self, cluster, name):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.name = name
        self.written = 0
        self.failed = None
        self.ending = threading.Event()

    def put(self, number):
        until = time.monotonic() + 60
        path = "/v1/tables/items/records/%s-%d" % (self.name, number)
        turn = number
        while time.monotonic() < until:
            turn += 1
            nodes = [node for node in self.cluster.nodes if node.alive] or self.cluster.nodes
            try:
                status = nodes[turn % len(nodes)].request(
                    "PUT", path, b"%d" % number, {"Idempotency-Key": "%s-%d" % (self.name, number)}, 15)[0]
            except OSError:
                continue
            if status in (200, 201):
                return
            if status not in (503, 504, 404): # a node that has just joined does not know the table yet
                raise AssertionError("a write was answered with %d" % status)
            time.sleep(0.02)
        raise AssertionError("write %d of %s did not succeed" % (number, self.name))

    def run(self):
        try:
            while not self.ending.is_set():
                self.put(self.written)
                self.written += 1
        except AssertionError as error:
            self.failed = error

    def end(self):
        self.ending.set()
        self.join()
        if self.failed:
            raise self.failed


def partitions(node):
    return node.json("GET", "/v1/tables/items/partitions")[1]["partitions"]


def places(node):
    """How many replicas each node is to have."""
    count = {}
    for partition in partitions(node):
        for replica in partition["replicas"]:
            count[replica["node"]] = count.get(replica["node"], 0) + 1
    return count


def settled(node):
    plan = node.json("GET", "/v1/plan")[1]
    return not plan["moves"] and not plan["moving"]


def local_replicas(node):
    """Replicas on the node that take part."""
    status, text, _ = node.request("GET", "/metrics")
    for line in text.decode().splitlines():
        if line.startswith("holdfast_store_replicas "):
            return int(float(line.split()[1]))


def check_records(cluster, writers):
    for writer in writers:
        for number in range(writer.written):
            path = "/v1/tables/items/records/%s-%d" % (writer.name, number)
            status, value, _ = cluster.nodes[number % 3].request("GET", path)
            assert (status, value) == (200, b"%d" % number), (path, status, value)


def change(node, name, action, expected=202):
    status, answer = node.json("POST", "/v1/nodes/%s/%s" % (name, action))
    assert status == expected, (name, action, status, answer)
    return answer


def restart(cluster, node):
    node.stop()
    node.start()


def add_a_node(cluster, n1, n4):
    plan = n1.json("GET", "/v1/plan?add=n4")[1]["moves"]
    assert plan and all(move["to"] == "n4" for move in plan if move["reason"] == "balance"), plan
    n4.start()
    change(n1, "n4", "add")
    Cluster.wait(lambda: places(n1).get("n4", 0) >= 4 and settled(n1), "replicas to move to n4")
    Cluster.wait(lambda: places(n4) == places(n1), "n4 to know where everything is")
    Cluster.wait(lambda: max(places(n1).values()) - min(places(n1).values()) <= 1, "an even spread")
    total = sum(places(n1).values())
    assert total == 18, places(n1)
    # What has moved away is removed: all replicas that there are, and the catalog's.
    Cluster.wait(lambda: sum(local_replicas(node) for node in cluster.nodes) == total + 4, "old replicas to be removed")


def lose_a_node(cluster, n1, n3):
    change(n1, "n3", "remove", 409) # not before it is drained
    n3.kill()
    before = places(n1)["n3"]
    plan = n1.json("GET", "/v1/plan?drain=n3")[1]["moves"]
    assert sum(move["from"] == "n3" for move in plan) == before, plan
    change(n1, "n3", "drain")
    Cluster.wait(lambda: "n3" not in places(n1) and settled(n1), "replicas to leave n3, which is dead")
    change(n1, "n3", "remove")


def replace_a_disk(cluster, n1, n2):
    n2.kill()
    shutil.rmtree(os.path.join(n2.directory, "data"))
    n2.start(wait=False)
    Cluster.wait(lambda: "another disk" in n1.log(), "n1 to notice n2's other disk")
    Cluster.wait(lambda: "does not let this node take part" in n2.log(), "n2 to be told")
    change(n1, "n2", "replace")
    Cluster.wait(lambda: settled(n1) and n2.request("GET", "/healthz")[0] == 200, "n2 to be replaced")
    Cluster.wait(lambda: local_replicas(n2) == places(n1)["n2"] + 1, "n2 to have its replicas again")


def empty_a_full_node(cluster, nodes):
    """Many partitions: those that have arrived make room for the next ones at once, and no more move than may."""
    n1, n4 = nodes[0], nodes[3]
    before = places(n1)["n4"]
    assert before >= 40, places(n1)
    began, most = time.monotonic(), 0
    change(n1, "n4", "drain")
    while "n4" in places(n1) or not settled(n1):
        most = max(most, len(n1.json("GET", "/v1/plan")[1]["moving"]))
        took = time.monotonic() - began
        assert took < before, "%d partitions have not moved in %.0f s" % (before, took)
        time.sleep(0.05)
    assert 1 < most <= 4, most
    print("%d partitions moved in %.1f s, up to %d at a time" % (before, time.monotonic() - began, most))
    Cluster.wait(lambda: local_replicas(n4) == 1, "n4 to remove what has moved") # the catalog's is left


def describe(nodes):
    """What each node knows, for whoever looks for the reason of a failure."""
    for node in nodes:
        for path in ("/v1/plan", "/v1/tables/items/partitions", "/v1/cluster"):
            try:
                print(node.name, path, json.dumps(node.json("GET", path, timeout=5)[1]))
            except OSError as error:
                print(node.name, path, error)


def many_partitions(binaries, plugins):
    directory = tempfile.mkdtemp(prefix="holdfast-nodes-")
    cluster = Cluster(directory, binaries, plugins, STORE.replace("hash_ranges = 6", "hash_ranges = 60"), count=4)
    nodes = list(cluster.nodes)
    try:
        cluster.configure(nodes)
        cluster.start("items")
        Cluster.wait(lambda: settled(nodes[0]), "everything to be placed")
        empty_a_full_node(cluster, nodes)
    except BaseException:
        print("kept %s" % directory)
        describe(nodes)
        cluster.kill()
        raise
    cluster.kill()
    shutil.rmtree(directory)


def main():
    binaries, plugins = sys.argv[1:3]
    many_partitions(binaries, plugins)
    directory = tempfile.mkdtemp(prefix="holdfast-nodes-")
    cluster = Cluster(directory, binaries, plugins, STORE, count=4)
    n1, n2, n3, n4 = everyone = list(cluster.nodes)
    try:
        cluster.nodes = everyone[:3]
        cluster.configure(everyone[:3])
        cluster.start("items")
        writers = [Writer(cluster, "w%d" % i) for i in range(4)]
        for writer in writers:
            writer.start()
        cluster.configure(everyone)
        for node in everyone[:3]:
            restart(cluster, node)
        cluster.nodes = everyone
        add_a_node(cluster, n1, n4)
        print("added a node")
        lose_a_node(cluster, n1, n3)
        print("lost a node")
        cluster.nodes = [n1, n2, n4]
        replace_a_disk(cluster, n1, n2)
        print("replaced a disk")
        for writer in writers:
            writer.end()
        check_records(cluster, writers)
        print("%d writes, none lost" % sum(writer.written for writer in writers))
        cluster.nodes = everyone
    except BaseException:
        print("kept %s" % directory)
        describe(everyone)
        cluster.nodes = everyone
        cluster.kill()
        raise
    cluster.kill()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
