"""Damage that heals: test_integrity.py BINARIES PLUGINS

Data of real nodes is damaged, while they are stopped and while they run.  Nothing wrong is ever answered, the damage is
fetched anew from the other nodes, and the node says so."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

STORE = ('replication = "raft"; engine = "rocksdb"; scrub_rate = "0"; scrub_interval = "%s"; '
         'tables: { items: { format = "bytes"; hash_ranges = 2; }; }')
RECORDS = 300


def value_of(number):
    return (b"%d " % number) * 400


def key_of(number):
    return "key-%05d" % number


def path_of(number):
    return "/v1/tables/items/records/" + key_of(number)


def write_all(node):
    for number in range(RECORDS):
        until = time.monotonic() + 30
        while True:
            status, text, _ = node.request("PUT", path_of(number), value_of(number),
                                           {"Idempotency-Key": key_of(number)})
            if status == 200:
                break
            assert status == 503 and time.monotonic() < until, (status, text)


def check_all(nodes):
    """Every node answers every record as it was written, from its own replica, and linearizably."""
    for node in nodes:
        for query in ("?consistency=stale", ""):
            for number in range(RECORDS):
                status, value, _ = node.request("GET", path_of(number) + query)
                assert (status, value) == (200, value_of(number)), (node.name, number, query, status, value[:60])


def metric(node, name):
    for line in node.request("GET", "/metrics")[1].decode().splitlines():
        if line.startswith(name + " "):
            return int(float(line.split()[1]))
    raise AssertionError("no metric " + name)


def partitions(node):
    return node.json("GET", "/v1/tables/items/partitions")[1]["partitions"]


def own_replica(node, partition):
    found = [replica for row in partitions(node) if row["id"] == partition
             for replica in row["replicas"] if replica["node"] == node.name]
    return found[0]


def state_of(node):
    return os.path.join(node.directory, "data", "service-store")


def engine_of(node):
    return os.path.join(state_of(node), "engine")


def files_of(node, folder, begins="", ends=""):
    folder = os.path.join(state_of(node), folder)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))
            if name.startswith(begins) and name.endswith(ends)]


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


def set_aside(node):
    return sorted(name for name in os.listdir(state_of(node)) if name.startswith("damaged-"))


class Damager:
    def __init__(self, binaries, plugins):
        self.program = os.path.join(binaries, "store_damage")
        self.engine = os.path.join(plugins, "holdfast-engine-rocksdb.so")

    def __call__(self, node, number, how, among=(2, 3)):
        """Damages the record, in whichever of the partitions it is, 0: in none; the node must not run."""
        for partition in among:
            if subprocess.run([self.program, self.engine, engine_of(node), str(partition), how, key_of(number)],
                              stderr=subprocess.DEVNULL).returncode == 0:
                return partition
        return 0


def wait_repaired(node, repairs):
    Cluster.wait(lambda: metric(node, "holdfast_store_repairs_total") >= repairs, "%s to be repaired" % node.name)
    Cluster.wait(lambda: node.request("GET", "/healthz")[0] == 200 and
                 not any(replica.get("damaged") for row in partitions(node) for replica in row["replicas"]),
                 "%s to be whole" % node.name)


def scrub_finds_a_damaged_value(cluster, damage):
    n1, n2, n3 = cluster.nodes
    n2.stop()
    partition = damage(n2, 17, "flip")
    n2.start()
    status, value, _ = n2.request("GET", path_of(17) + "?consistency=stale")
    assert (status, value) == (200, value_of(17)), "a damaged value was answered"
    wait_repaired(n2, 1)
    assert metric(n2, "holdfast_store_damages_total") == 1
    assert metric(n2, "holdfast_store_scrubbed_bytes_total") > RECORDS * 1000
    assert "partition %d: damaged: 1 of" % partition in n2.log(), "n2 does not say what is damaged"
    assert "partition %d: repaired" % partition in n2.log()
    Cluster.wait(lambda: "partition %d: whole again" % partition in n2.log(), "n2 to look once more")
    audit = n2.json("GET", "/v1/admin/audit")[1]
    assert "store.damaged" in json.dumps(audit), audit
    Cluster.wait(lambda: own_replica(n2, partition)["checked"], "n2 to tell when it looked")
    check_all([n2])


def read_finds_a_damaged_value_of_the_leader(cluster, damage):
    """Nobody scrubs: the read itself meets the damage, at the replica that leads."""
    for node in cluster.nodes:
        node.stop()
    partition = damage(cluster.nodes[0], 42, "flip")
    cluster.store = STORE % "0s"
    cluster.configure(cluster.nodes)
    cluster.start("items")
    n1 = cluster.nodes[0]
    path = "/v1/tables/items/partitions/%d/leader" % partition

    def leads():
        if own_replica(n1, partition)["state"] == "leader":
            return True
        for node in cluster.nodes:
            node.request("POST", path, b'{"node":"n1"}')
        return False

    Cluster.wait(leads, "n1 to lead")
    assert metric(n1, "holdfast_store_damages_total") == 0
    status, value, _ = n1.request("GET", path_of(42))
    assert (status, value) == (200, value_of(42)), (status, value[:60])
    wait_repaired(n1, 1)
    assert "a read met damage" in n1.log()
    assert metric(n1, "holdfast_store_damaged_reads_total") >= 1
    check_all(cluster.nodes)


def wait_filled(cluster, node, times):
    """The node has set its data aside `times` times in all, and has everything again."""
    Cluster.wait(lambda: len(set_aside(node)) == times, "%s to set damaged data aside" % node.name)
    assert "It was set aside in" in node.log()
    Cluster.wait(lambda: node.json("GET", "/healthz")[1]["state"] == "ok" and
                 metric(node, "holdfast_store_replicas") == 3, "%s to be filled anew" % node.name)
    others = [other for other in cluster.nodes if other is not node]
    Cluster.wait(lambda: all(not other.json("GET", "/v1/plan")[1]["moving"] and
                             other.json("GET", "/v1/cluster")[1]["state"] == "ok" for other in others),
                 "the others to find that all is well")
    check_all([node])


def wait_compared(cluster, times):
    """Replicas of one partition or another are compared so many times more."""
    total = lambda: sum(metric(node, "holdfast_store_comparisons_total") for node in cluster.nodes)
    wanted = total() + times
    Cluster.wait(lambda: total() >= wanted, "the replicas to be compared again")


def comparison_finds_what_no_checksum_shows(cluster, damage):
    """One replica has another value, with a checksum that fits it; another replica lacks a record."""
    n1, n2, n3 = cluster.nodes
    cluster.store = STORE % "1s"
    cluster.configure(cluster.nodes)
    for node in cluster.nodes:
        node.stop()
    forged = damage(n2, 5, "forge")
    dropped = 5 - forged
    assert any(damage(n3, number, "drop", [dropped]) for number in range(100, 130))
    cluster.start("items")
    Cluster.wait(lambda: sum(metric(node, "holdfast_store_differences_total") for node in cluster.nodes) >= 2,
                 "the replicas to be compared")
    wait_repaired(n2, 1)
    wait_repaired(n3, 1)
    for node, partition in ((n2, forged), (n3, dropped)):
        assert "partition %d: damaged: it is not what the majority" % partition in node.log()
    assert metric(n1, "holdfast_store_repairs_total") == 0
    wait_compared(cluster, 3)  # those that began before the repairs
    differences = [metric(node, "holdfast_store_differences_total") for node in cluster.nodes]
    wait_compared(cluster, 4)
    assert [metric(node, "holdfast_store_differences_total") for node in cluster.nodes] == differences
    check_all(cluster.nodes)


def replicas_under_load_are_compared_and_are_the_same(cluster, damage):
    """Nothing differs while entries come: with conditions, batches, deletions and records that expire."""
    for node in cluster.nodes:
        node.stop()
    cluster.start("items") # the counters begin at zero
    compared = 0
    until = time.monotonic() + 60
    number = 0
    while sum(metric(node, "holdfast_store_comparisons_total") for node in cluster.nodes) < compared + 8:
        assert time.monotonic() < until, "replicas were not compared under load"
        for _ in range(50):
            node = cluster.nodes[number % 3]
            path = "/v1/tables/items/records/load-%d" % (number % 200)
            number += 1
            if number % 5 == 0:
                node.request("DELETE", path)
            else:
                node.request("PUT", path, b"%d" % number,
                             {"Holdfast-Expire-After": "1"} if number % 3 == 0 else {"Idempotency-Key": "l%d" % number})
    for node in cluster.nodes:
        assert metric(node, "holdfast_store_differences_total") == 0, node.name
        assert metric(node, "holdfast_store_repairs_total") == 0, node.name


def damaged_log_is_filled_by_the_others(cluster, damage):
    n3 = cluster.nodes[2]
    n3.stop()
    segment = files_of(n3, "log", ends=".log")[-1]
    with open(segment, "rb") as file:
        size = len(file.read().rstrip(b"\0"))
    flip(segment, size // 3)
    n3.start(wait=False)
    wait_filled(cluster, n3, 1)
    assert "the log is damaged in" in n3.log()
    assert any("node n3 has set damaged data aside; it is filled anew" in node.log() for node in cluster.nodes)
    assert os.path.exists(os.path.join(state_of(n3), "damaged-1", "log")), "what was set aside is gone"


def damaged_manifest_is_filled_by_the_others(cluster, damage):
    n2 = cluster.nodes[1]
    n2.stop()
    for path in files_of(n2, "engine", begins="MANIFEST"):
        flip(path, os.path.getsize(path) // 2)
    n2.start(wait=False)
    wait_filled(cluster, n2, 1)


def damaged_tables_of_a_running_node_are_filled_by_the_others(cluster, damage):
    """What is in the engine's files goes bad while it serves; scrubbing notices."""
    cluster.store = STORE % "1s"
    cluster.configure(cluster.nodes)
    n2 = cluster.nodes[1]
    n2.stop() # what it has applied goes to the disk
    n2.start()
    for path in files_of(n2, "engine", ends=".sst"):
        for at in range(100, os.path.getsize(path), 1500):
            flip(path, at)
    for number in range(RECORDS):
        status, value, _ = n2.request("GET", path_of(number) + "?consistency=stale")
        assert status == 503 or (status, value) == (200, value_of(number)), (status, value[:60])
    wait_filled(cluster, n2, 2)
    assert "the files of the engine are damaged" in n2.log()


def last_copy_is_not_given_up(cluster, damage):
    n1 = cluster.nodes[0]
    assert n1.json("PUT", "/v1/tables/alone", b'{"replicas":1}')[0] == 201
    leader = n1.json("GET", "/v1/tables/alone/partitions")[1]["partitions"][0]["replicas"][0]["node"]
    node = [node for node in cluster.nodes if node.name == leader][0]
    Cluster.wait(lambda: node.request("PUT", "/v1/tables/alone/records/k", b"{}")[0] == 200, "the table to be written")
    node.stop()
    before = set_aside(node)
    path = files_of(node, "engine", begins="CURRENT")[0]
    with open(path, "rb") as file:
        kept = file.read()
    with open(path, "wb") as file:
        file.write(b"MANIFEST-999999\n")
    node.start(wait=False)
    Cluster.wait(lambda: "cannot go on without 1 replicas that this node has" in node.log(), "%s to refuse" % leader)
    assert set_aside(node) == before
    node.kill()
    with open(path, "wb") as file:
        file.write(kept)
    node.start()
    Cluster.wait(lambda: node.request("GET", "/v1/tables/alone/records/k")[:2] == (200, b"{}"), "the record")


def main():
    binaries, plugins = sys.argv[1:3]
    directory = tempfile.mkdtemp(prefix="holdfast-integrity-")
    cluster = Cluster(directory, binaries, plugins, STORE % "1s")
    damage = Damager(binaries, plugins)
    try:
        cluster.start("items")
        write_all(cluster.nodes[0])
        check_all(cluster.nodes)
        for scenario in (scrub_finds_a_damaged_value, read_finds_a_damaged_value_of_the_leader,
                         comparison_finds_what_no_checksum_shows, replicas_under_load_are_compared_and_are_the_same,
                         damaged_log_is_filled_by_the_others, damaged_manifest_is_filled_by_the_others,
                         damaged_tables_of_a_running_node_are_filled_by_the_others, last_copy_is_not_given_up):
            began = time.monotonic()
            scenario(cluster, damage)
            print("%s (%.1f s)" % (scenario.__name__.replace("_", " "), time.monotonic() - began), flush=True)
    except BaseException:
        print("kept %s" % directory)
        cluster.kill()
        raise
    cluster.kill()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
