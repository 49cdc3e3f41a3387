"""A majority that is lost for good: test_recover.py BINARIES PLUGINS [CASE...]

Real nodes are killed until no majority is left; `holdfast cluster recover` brings the rest back with what it has.  The
dead that come back stay out, what replaces them is filled, and everything gets back to its replicas."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

STORE = ('replication = "raft"; engine = "rocksdb"; write_timeout = "%s"; read_timeout = "3s"; '
         'tables: { items: { format = "bytes"; hash_ranges = %d; }; }; moves_maximum = 16')


class Case:
    def __init__(self, directory, binaries, plugins):
        self.directory, self.binaries, self.plugins = directory, binaries, plugins
        self.cluster = None

    def begin(self, count, ranges, write_timeout="3s"):
        self.cluster = Cluster(self.directory, self.binaries, self.plugins, STORE % (write_timeout, ranges),
                               count=count)
        self.cluster.start("items")
        Cluster.wait(lambda: all(self.settled(node) for node in self.cluster.nodes), "the cluster to be at rest")
        return self.cluster.nodes

    def cli(self, node, *arguments, expected=0):
        run = subprocess.run([os.path.join(self.binaries, "holdfast"), "--node", node.address, *arguments],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
        assert expected is None or run.returncode == expected, (arguments, run.returncode, run.stdout, run.stderr)
        return run

    @staticmethod
    def settled(node):
        plan = node.json("GET", "/v1/plan")[1]
        return not plan["moves"] and not plan["moving"]

    # ---- Records -----------------------------------------------------------------------------------------------------

    @staticmethod
    def path(key):
        return "/v1/tables/items/records/%s" % key

    def write(self, node, prefix, count):
        keys = ["%s-%d" % (prefix, number) for number in range(count)]
        for key in keys:
            Cluster.wait(lambda: node.request("PUT", self.path(key), key.encode())[0] in (200, 201),
                         "the write of %s at %s" % (key, node.name))
        return keys

    def check(self, node, keys):
        for key in keys:
            status, value, _ = node.request("GET", self.path(key))
            assert (status, value) == (200, key.encode()), (node.name, key, status, value)

    def has_stale(self, node, keys):
        """What the node's own replicas have applied; a partition that it has no replica of is asked for elsewhere."""
        return [key for key in keys
                if node.request("GET", self.path(key) + "?consistency=stale")[1] == key.encode()]

    # ---- Nodes -------------------------------------------------------------------------------------------------------

    @staticmethod
    def problems(node):
        return "\n".join(node.json("GET", "/v1/cluster")[1]["problems"])

    @staticmethod
    def memberships(node):
        return {item["name"]: item["membership"] for item in node.json("GET", "/v1/cluster")[1]["nodes"]}

    @staticmethod
    def partitions(node):
        return node.json("GET", "/v1/tables/items/partitions")[1]["partitions"]

    @staticmethod
    def replica_count(node):
        text = node.request("GET", "/metrics")[1].decode()
        return int(float(re.search("^holdfast_store_replicas (.*)$", text, re.MULTILINE).group(1)))

    def has_its_own(self, node, other):
        """As many replicas, with the catalog's, as `other` knows that it should have.  The metrics are up to a second
        old: only a count of each node tells, not their sum."""
        placed = [replica["node"] for p in self.partitions(other) for replica in p["replicas"]]
        return self.replica_count(node) == placed.count(node.name) + 1

    def audit(self, node):
        """The entries about recoveries, oldest first; the chain of hashes is whole."""
        previous, found = None, []
        with open(os.path.join(node.directory, "data", "operations", "main", "audit.log"), "rb") as file:
            for line in file.read().splitlines():
                entry = json.loads(line)
                if previous is not None:
                    assert entry["previous"] == hashlib.sha256(previous).hexdigest(), "the audit log's chain is broken"
                previous = line
                if entry["kind"] == "cluster.recover":
                    found.append(entry)
        return found

    def stays_out(self, node, survivor):
        """A dead node came back with its disk: it is told, stops, says so, and serves nothing, also after a restart."""
        Cluster.wait(lambda: "was given up as lost" in self.problems(node), node.name + " to be told that it is lost")
        assert node.request("GET", "/healthz")[0] == 503
        assert node.request("PUT", self.path("ghost"), b"ghost")[0] == 503
        assert node.request("GET", self.path("ghost"))[0] == 503
        assert node.request("GET", self.path("ghost") + "?consistency=stale")[0] == 503
        words = "node %s runs on the disk that 'holdfast cluster recover' has given up as lost" % node.name
        Cluster.wait(lambda: words in survivor.log(), survivor.name + " to say who is kept out")
        Cluster.wait(lambda: words in self.problems(survivor), "the status to say who is kept out")
        Cluster.wait(lambda: os.path.exists(self.lost_file(node)), node.name + " to note it")

    @staticmethod
    def lost_file(node):
        for folder, _, files in os.walk(os.path.join(node.directory, "data")):
            if "lost" in files:
                return os.path.join(folder, "lost")
        return os.path.join(node.directory, "none")

    def replace(self, node, survivor):
        """The lost node comes back with an empty disk and is taken in."""
        if node.alive:
            node.kill()
        shutil.rmtree(os.path.join(node.directory, "data"))
        node.start(wait=False)
        Cluster.wait(lambda: survivor.request("POST", "/v1/nodes/%s/replace" % node.name)[0] == 202,
                     node.name + " to be taken in with its empty disk")

    def whole_again(self, nodes, survivor, replicas):
        Cluster.wait(lambda: self.settled(survivor) and
                     all(len(p["replicas"]) == replicas for p in self.partitions(survivor)),
                     "every partition to have its replicas", 120)
        for node in nodes:
            Cluster.wait(lambda: node.request("GET", "/healthz")[0] == 200 and not self.problems(node),
                         node.name + " to be well", 120)

    # ---- Cases -------------------------------------------------------------------------------------------------------

    def test_one_of_three(self):
        n1, n2, n3 = nodes = self.begin(3, 4)
        keys = self.write(n2, "before", 200)
        Cluster.wait(lambda: self.has_stale(n1, keys) == keys, "n1 to have applied all")
        n2.kill()
        n3.kill()

        # What it says while the majority may still come back.
        Cluster.wait(lambda: "holdfast cluster recover" in self.problems(n1), "the status to say what can be done")
        assert n1.request("PUT", self.path("none"), b"x")[0] == 503
        status, answer = n1.json("PUT", "/v1/tables/more", json.dumps({"format": "bytes"}))
        assert status == 503 and "catalog" in answer["detail"], (status, answer)
        assert self.has_stale(n1, keys) == keys

        # It does nothing that it was not told to.
        assert "n3 does not answer, and is not named as dead" in self.cli(
            n1, "cluster", "recover", "--dead", "n2", expected=4).stderr
        assert "is the one that you are asking" in self.cli(
            n1, "cluster", "recover", "--dead", "n1,n2,n3", expected=1).stderr
        shown = self.cli(n1, "cluster", "recover", "--dead", "n2,n3", "--plan").stdout
        assert "n2,n3 lost for good; n1 left" in shown and "WARNING: this loses data" in shown, shown
        assert shown.count("1 of 3") == 5, shown  # the catalog and four partitions
        assert "nothing was done" in self.cli(n1, "cluster", "recover", "--dead", "n2,n3", expected=1).stderr
        assert not self.audit(n1)
        assert n1.request("PUT", self.path("none"), b"x")[0] == 503
        n2.start(wait=False)
        Cluster.wait(lambda: "node n2 is not dead" in self.cli(
            n1, "cluster", "recover", "--dead", "n2,n3", expected=None).stderr, "the plan to see that n2 lives")
        self.check(n1, keys)  # that was a majority again
        n2.kill()

        def recover():
            run = self.cli(n1, "cluster", "recover", "--dead", "n2,n3", "--accept-data-loss", expected=None)
            return run.returncode == 0 and "recovered: 5 partitions go on with n1" in run.stdout
        Cluster.wait(recover, "the recovery")
        self.check(n1, keys)
        keys += self.write(n1, "alone", 50)
        entries = self.audit(n1)
        steps = [entry["detail"]["step"] for entry in entries]
        assert steps[-3:] == ["bind", "force the catalog", "force partitions"], steps
        assert all(entry["detail"]["dead"] == "n2,n3" and entry["actor"].startswith("user") for entry in entries)
        assert entries[-1]["detail"]["partitions"] == 4 and entries[-1]["detail"]["outcome"] == "ok", entries[-1]
        assert self.memberships(n1) == {"n1": "active", "n2": "lost", "n3": "lost"}
        run = self.cli(n1, "cluster", "recover", "--dead", "n2,n3", "--accept-data-loss", expected=4)
        assert "has a majority, or a leader" in run.stderr, run.stderr
        assert n1.request("PUT", "/v1/tables/more", json.dumps({"format": "bytes"}))[0] in (200, 201)

        # It is stored.
        n1.kill()
        n1.start()
        Cluster.wait(lambda: n1.request("GET", self.path(keys[0]))[0] == 200, "n1 to lead again")
        self.check(n1, keys)

        # Both dead at once are a majority of what was: they must not go on as that.
        n2.start(wait=False)
        n3.start(wait=False)
        for node in (n2, n3):
            self.stays_out(node, n1)
        n2.kill()
        n3.kill()
        n1.kill()
        n2.start(wait=False)
        n3.start(wait=False)
        for node in (n2, n3):  # they know it by themselves now
            Cluster.wait(lambda: "was given up as lost" in self.problems(node), node.name + " to remember")
            assert node.request("PUT", self.path("ghost"), b"ghost")[0] == 503
        n1.start()
        self.check(n1, keys)
        assert n1.request("GET", self.path("ghost"))[0] == 404
        assert n1.request("POST", "/v1/nodes/n2/add")[0] == 409
        assert n1.request("POST", "/v1/nodes/n2/replace")[0] == 409  # not with that disk

        for node in (n2, n3):
            self.replace(node, n1)
        self.whole_again(nodes, n1, 3)
        n1.kill()  # the others have everything
        Cluster.wait(lambda: n2.request("GET", self.path(keys[0]))[0] == 200, "the others to go on")
        self.check(n2, keys)
        self.write(n3, "after", 20)

    def test_two_of_five(self):
        n1, n2, n3, n4, n5 = nodes = self.begin(5, 12, "1s")

        # Also without what has moved and is about to be erased, for that would be found by the recovery.
        Cluster.wait(lambda: self.settled(n1) and all(self.has_its_own(node, n1) for node in nodes),
                     "everything to be where it should be, and only there")
        keys = self.write(n3, "before", 150)
        places = {p["id"]: {replica["node"] for replica in p["replicas"]} for p in self.partitions(n1)}
        time_limit = time.monotonic() + 60
        while time.monotonic() < time_limit:  # until each replica has applied what its leader has
            if len(self.has_stale(n1, keys)) == len(keys) and len(self.has_stale(n2, keys)) == len(keys):
                break
        for node in (n3, n4, n5):
            node.kill()
        gone = {i for i, where in places.items() if not where & {"n1", "n2"}}
        lives = {i for i, where in places.items() if {"n1", "n2"} <= where}
        single = set(places) - gone - lives
        assert lives and single, places

        # A catalog without a majority: partitions that have one go on, and what would change the cluster is refused.
        Cluster.wait(lambda: "catalog" in self.problems(n1) and "holdfast cluster recover" in self.problems(n1),
                     "the status to tell of the catalog")
        served = lambda key: n2.request("PUT", self.path(key), key.encode())[0] in (200, 201)
        alive = []
        for key in keys:
            if len(alive) < 20 and served(key):
                alive.append(key)
        assert len(alive) == 20, "partitions with a majority do not go on"
        self.check(n1, alive)
        status, answer = n1.json("PUT", "/v1/tables/more", json.dumps({"format": "bytes"}))
        assert status == 503 and "catalog" in answer["detail"], (status, answer)
        status, answer = n2.json("POST", "/v1/nodes/n3/drain")
        assert status == 503 and "catalog" in answer["detail"], (status, answer)

        # One drives and the other takes part in the same plan; two that drive do not make two clusters.
        dead = "n3,n4,n5"
        plan = json.loads(self.cli(n1, "--json", "cluster", "recover", "--dead", dead, "--plan").stdout)
        assert [s["node"] for s in plan["survivors"]] == ["n1", "n2"]
        by_id = {p["partition"]: p for p in plan["partitions"]}
        assert set(by_id) == {1} | gone | single, (sorted(by_id), gone, single)
        assert all((by_id[i]["replica"] == 0) == (i in gone) for i in by_id), (plan, places)
        command = [os.path.join(self.binaries, "holdfast"), "cluster", "recover", "--dead", dead, "--accept-data-loss"]
        runs = [subprocess.Popen([*command[:1], "--node", node.address, *command[1:]], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for node in (n1, n2)]
        outputs = [run.communicate(timeout=180)[0] for run in runs]
        if all(run.returncode != 0 for run in runs):  # each may have bound the other to its own plan first
            print("both drivers gave way: %s" % outputs)
            self.cli(n2, *command[1:])
        for node in (n1, n2):
            Cluster.wait(lambda: self.memberships(node) ==
                         {"n1": "active", "n2": "active", "n3": "lost", "n4": "lost", "n5": "lost"},
                         node.name + " to know who is lost")
        kept = [key for key in keys if n1.request("GET", self.path(key))[0] == 200]
        self.check(n2, kept)
        assert set(alive) <= set(kept)
        empty = [key for key in keys if key not in kept]
        assert all(n2.request("GET", self.path(key))[0] == 404 for key in empty)
        assert bool(gone) == bool(empty), (gone, len(empty))
        assert len(empty) * len(places) <= 3 * len(keys) * max(1, len(gone)), (len(empty), gone)
        for node in (n1, n2):
            detail = self.audit(node)[-1]["detail"]
            assert detail["outcome"] == "ok" and detail["survivors"] == "n1,n2", detail
        kept += self.write(n2, "after", 50)

        for node in (n3, n4, n5):
            node.start(wait=False)
        for node in (n3, n4, n5):
            self.stays_out(node, n1)
        for node in (n3, n4, n5):
            self.replace(node, n2)
        self.whole_again(nodes, n1, 3)
        self.check(n4, kept)
        self.write(n5, "more", 20)


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    names = sys.argv[3:] or [name for name in dir(Case) if name.startswith("test_")]
    for name in names:
        directory = tempfile.mkdtemp(prefix="holdfast-recover-")
        case = Case(directory, binaries, plugins)
        begin = time.monotonic()
        try:
            getattr(case, name)()
            print("passed %s (%.1f s)" % (name, time.monotonic() - begin), flush=True)
        except BaseException:
            traceback.print_exc()
            for node in case.cluster.nodes if case.cluster else []:
                print("---- %s\n%s" % (node.name, node.log()[-6000:]))
            print("kept %s" % directory)
            if case.cluster:
                case.cluster.kill()
            sys.exit("failed: " + name)
        case.cluster.kill()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
