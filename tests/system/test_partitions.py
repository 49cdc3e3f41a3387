#!/usr/bin/env python3
"""A thousand partitions on three real nodes: all of them work, cost nothing while nobody uses them, and find a new leader
when a node dies.

  test_partitions.py BINARIES PLUGINS"""
import os
import random
import shutil
import sys
import tempfile
import time

from cluster import Cluster

PARTITIONS = 1000
MESSAGES = "holdfast_peer_messages_total"
SECONDS = 3


def metric(node, name):
    lines = node.request("GET", "/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((name + " ", name + "{")))


def total(nodes, name):
    return sum(metric(node, name) for node in nodes)


def leads_all(nodes):
    """The nodes lead the partitions of the table, and the catalog."""
    return total(nodes, "holdfast_store_leaders") == PARTITIONS + 1


def is_quiet(nodes):
    """Idle groups say nothing: what remains is the catalog's own care, far less than a message for each partition."""
    before = total(nodes, MESSAGES)
    time.sleep(SECONDS)  # the time over which is counted
    return total(nodes, MESSAGES) - before < PARTITIONS / 10


def write_some(nodes, count, prefix):
    for i in range(count):
        key = "%s-%d" % (prefix, i)
        status, text, _ = random.choice(nodes).request("PUT", "/v1/tables/many/records/" + key, key.encode())
        assert status == 200, "%s: %d %s" % (key, status, text)
    for i in range(count):
        key = "%s-%d" % (prefix, i)
        status, text, _ = random.choice(nodes).request("GET", "/v1/tables/many/records/" + key)
        assert (status, text) == (200, key.encode()), "%s: %d %s" % (key, status, text)


def wait_quiet(nodes, when):
    Cluster.wait(lambda: is_quiet(nodes), "the groups to be quiet " + when, 120)
    print("ok      quiet %s" % when, flush=True)


def exercise(cluster):
    nodes = cluster.nodes
    Cluster.wait(lambda: leads_all(nodes), "a leader of each partition", 120)
    wait_quiet(nodes, "when all are made")
    write_some(nodes, 300, "first")
    wait_quiet(nodes, "after writes")
    nodes[2].kill()
    write_some(nodes[:2], 300, "second")  # wakes those that the dead node led; the others must notice, too
    Cluster.wait(lambda: leads_all(nodes[:2]), "the two that are left to lead everything", 120)
    wait_quiet(nodes[:2], "with a node gone")
    nodes[2].start()
    Cluster.wait(lambda: metric(nodes[2], "holdfast_store_leaders") > PARTITIONS / 4, "leaders on the node again", 120)
    wait_quiet(nodes, "with the node back")
    write_some(nodes, 100, "third")


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    directory = tempfile.mkdtemp(prefix="holdfast-partitions-")
    store = 'tables: { many: { format = "bytes"; hash_ranges = %d; }; };' % PARTITIONS
    cluster = Cluster(directory, binaries, plugins, store)
    good = False
    try:
        cluster.start("many")
        exercise(cluster)
        codes = cluster.stop()
        assert codes == [0, 0, 0], codes
        good = True
    finally:
        cluster.kill()
        if not good:
            for node in cluster.nodes:
                print("---- the end of %s's log\n%s" % (node.name, node.log()[-3000:]))
        shutil.rmtree(directory, ignore_errors=True)
    print("all passed")


if __name__ == "__main__":
    main()
