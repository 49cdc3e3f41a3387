"""Disks that go back, and disks and names that two nodes have: test_images.py BINARIES PLUGINS [CASE...]

An old image of a node's state directory, of its log alone, or of a majority's: whoever has forgotten what it
acknowledged is kept out, by name and with what to do, and answers nothing.  A second node of the same name changes nothing."""
import os
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Node
from free_ports import free_ports

STORE = ('replication = "raft"; engine = "rocksdb"; write_timeout = "3s"; read_timeout = "3s"; '
         'tables: { items: { format = "bytes"; hash_ranges = 2; }; }')
OLD = "runs on an old image of its disk"
OTHER = "runs on a disk of which a copy was started"  # said when the start between the two was not heard of


class Case:
    def __init__(self, directory, binaries, plugins):
        self.directory = directory
        self.cluster = Cluster(directory, binaries, plugins, STORE)
        self.nodes = self.cluster.nodes
        self.strangers = []
        self.cluster.start("items")

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

    @staticmethod
    def problems(node):
        return "\n".join(node.json("GET", "/v1/cluster")[1]["problems"])

    @staticmethod
    def data(node):
        return os.path.join(node.directory, "data")

    def take_image(self, node, running=False):
        """Of the state directory, as it is on the disk."""
        if not running:
            node.stop()
        image = os.path.join(self.directory, "image-" + node.name)
        shutil.copytree(self.data(node), image)
        if not running:
            node.start()
        return image

    def put_back(self, node, image):
        if node.alive:
            node.kill()
        shutil.rmtree(self.data(node))
        shutil.copytree(image, self.data(node))
        node.start(wait=False)

    def kept_out(self, node, others, words=(OLD, OTHER)):
        """Named at the others, told at the node, and nothing is answered there."""
        sees = lambda other: any("node %s %s" % (node.name, text) in other.log() for text in words)
        Cluster.wait(lambda: any(sees(other) for other in others), "the others to see the old image")
        for other in [other for other in others if sees(other)]:
            Cluster.wait(lambda: "holdfast node replace " + node.name in self.problems(other),
                         "the status of %s to say what to do" % other.name)
        Cluster.wait(lambda: "do not let this node take part" in self.problems(node), node.name + " to be told")
        assert node.request("GET", "/healthz")[0] == 503
        for key in ("before-0", "after-0"):
            for query in ("", "?consistency=stale"):
                Cluster.wait(lambda: node.request("GET", self.path(key) + query)[0] == 503,  # each loop by itself
                             "%s%s to be refused by %s" % (key, query, node.name))

    def replace(self, node, survivor):
        node.kill()
        shutil.rmtree(self.data(node))
        node.start(wait=False)
        Cluster.wait(lambda: survivor.request("POST", "/v1/nodes/%s/replace" % node.name)[0] == 202,
                     node.name + " to be taken in with its empty disk")
        Cluster.wait(lambda: node.request("GET", "/healthz")[0] == 200 and not self.problems(node),
                     node.name + " to be well", 120)

    # ---- Images ------------------------------------------------------------------------------------------------------

    def test_image_of_one(self):
        n1, n2, n3 = self.nodes
        keys = self.write(n1, "before", 20)
        image = self.take_image(n3)
        keys += self.write(n1, "after", 20)
        n3.stop()
        n3.start()  # later starts are known
        self.put_back(n3, image)
        self.kept_out(n3, (n1, n2))
        self.check(n2, keys)
        self.replace(n3, n1)
        self.check(n3, keys)

    def test_image_of_a_running_node(self):
        """A snapshot of the machine, put back without any start in between: only the length of the log tells.  The
        image gets the identity of the start that it would have been taken in."""
        n1, n2, n3 = self.nodes
        keys = self.write(n1, "before", 20)
        image = os.path.join(self.directory, "image-n3")
        n3.kill()  # what a snapshot would have
        shutil.copytree(self.data(n3), image)
        n3.start()
        identity = self.identity(n3)
        keys += self.write(n1, "after", 40)
        Cluster.wait(lambda: all(n3.request("GET", self.path(k) + "?consistency=stale")[0] == 200 for k in keys),
                     "n3 to have everything")
        n3.kill()
        shutil.copy(identity, os.path.join(image, os.path.relpath(identity, self.data(n3))))
        self.put_back(n3, image)
        self.kept_out(n3, (n1, n2))
        self.check(n2, keys)

    def identity(self, node):
        for folder, _, files in os.walk(self.data(node)):
            if "identity" in files:
                return os.path.join(folder, "identity")
        raise AssertionError("no identity in " + self.data(node))

    def folder(self, root, name):
        for folder, names, _ in os.walk(root):
            if name in names:
                return os.path.join(folder, name)
        raise AssertionError("no folder %s in %s" % (name, root))

    def test_image_of_the_log(self):
        n1, n2, n3 = self.nodes
        keys = self.write(n1, "before", 20)
        image = self.take_image(n3)
        keys += self.write(n1, "after", 40)
        Cluster.wait(lambda: all(n3.request("GET", self.path(k) + "?consistency=stale")[0] == 200 for k in keys),
                     "n3 to have everything")
        n3.kill()
        log = self.folder(self.data(n3), "log")
        shutil.rmtree(log)
        shutil.copytree(self.folder(image, "log"), log)
        n3.start(wait=False)
        # Its terms may be older than what the engine has applied: then it says that itself, and does not start.
        refuses = lambda: "which contradicts what was applied" in n3.log()
        Cluster.wait(lambda: refuses() or any(text in other.log() for text in (OLD, OTHER) for other in (n1, n2)), "n3 to be found out")
        if not refuses():
            self.kept_out(n3, (n1, n2))
        self.check(n2, keys)
        self.replace(n3, n1)

    def test_image_of_the_engine(self):
        """The log has all that the engine lacks, or the node says that it has not and does not start."""
        n1, n2, n3 = self.nodes
        keys = self.write(n1, "before", 20)
        image = self.take_image(n3)
        keys += self.write(n1, "after", 40)
        Cluster.wait(lambda: all(n3.request("GET", self.path(k) + "?consistency=stale")[0] == 200 for k in keys),
                     "n3 to have everything")
        n3.kill()
        engine = self.folder(self.data(n3), "engine")
        shutil.rmtree(engine)
        shutil.copytree(self.folder(image, "engine"), engine)
        n3.start(wait=False)

        def caught_up():
            return all(n3.request("GET", self.path(k) + "?consistency=stale")[1] == k.encode() for k in keys)
        Cluster.wait(lambda: caught_up() or "the engine has entries up to" in n3.log(), "n3 to catch up, or to refuse")
        self.check(n2, keys)

    def test_images_of_a_majority(self):
        """The one that was not set back keeps the others from going on as if nothing had been written since."""
        n1, n2, n3 = self.nodes
        self.write(n1, "before", 20)
        images = [self.take_image(node) for node in (n2, n3)]
        keys = self.write(n1, "after", 20)
        Cluster.wait(lambda: all(n1.request("GET", self.path(k) + "?consistency=stale")[0] == 200 for k in keys),
                     "n1 to have everything")
        for node in (n2, n3):
            node.stop()
        for node in (n2, n3):
            node.start()
        for node in (n2, n3):
            node.kill()
        for node, image in zip((n2, n3), images):
            self.put_back(node, image)
        for node in (n2, n3):
            Cluster.wait(lambda: any("node %s %s" % (node.name, text) in n1.log() for text in (OLD, OTHER)), "n1 to see the old image of " + node.name)
            Cluster.wait(lambda: "do not let this node take part" in self.problems(node), node.name + " to be told")
        for node in (n2, n3):
            assert node.request("PUT", self.path("ghost"), b"ghost")[0] == 503
            assert node.request("GET", self.path("after-0"))[0] == 503
        # What n1 has is brought back by the operator.
        run = lambda: self.recover(n1)
        Cluster.wait(run, "the recovery")
        self.check(n1, keys)
        for node in (n2, n3):
            self.replace(node, n1)
        self.check(n2, keys)

    def recover(self, node):
        import subprocess
        run = subprocess.run([os.path.join(self.cluster.binaries, "holdfast"), "--node", node.address, "cluster",
                              "recover", "--dead", "n2,n3", "--accept-data-loss"], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=180)
        return run.returncode == 0

    # ---- Names -------------------------------------------------------------------------------------------------------

    def double(self, node, data=None):
        """A second process with the node's configuration, at other ports; with a copy of its data, or none."""
        directory = os.path.join(self.directory, "double")
        os.makedirs(directory)
        if data:
            shutil.copytree(data, os.path.join(directory, "data"))
        with open(os.path.join(node.directory, "holdfast.cfg")) as file:
            text = file.read()
        twin = Node(node.name, node.address, directory, node.holdfastd)
        for address, port in zip(("127.0.0.1:%d" % node.peer_port, node.address), free_ports(2)):
            twin.address = "127.0.0.1:%d" % port
            text = text.replace(address, twin.address)
        with open(os.path.join(directory, "holdfast.cfg"), "w") as file:
            file.write(text)
        self.strangers.append(twin)
        return twin

    def stays_apart(self, twin, node):
        n1, n2, n3 = self.nodes
        words = "another process with the name 'n3' is linked from 127.0.0.1"
        for other in (n1, n2):
            Cluster.wait(lambda: "n3: no link from 127.0.0.1: " + words in other.log(),
                         other.name + " to say that there are two")
            Cluster.wait(lambda: "%s: it refuses this node: %s" % (other.name, words) in twin.log(),
                         "the second one to be told by " + other.name)
        before = n3.log().count("was lost")
        keys = self.write(n1, "meanwhile", 100)
        self.check(n3, keys)
        assert n3.log().count("was lost") == before, "the true node lost links"
        assert twin.request("PUT", self.path("ghost"), b"ghost")[0] == 503
        assert twin.request("GET", self.path("meanwhile-0"))[0] == 503

    def test_copied_configuration(self):
        twin = self.double(self.nodes[2])
        twin.start(wait=False)
        self.stays_apart(twin, self.nodes[2])

    def test_copied_disk(self):
        """A copy of the whole machine: first beside the node, then in its place, then the node itself again."""
        n1, n2, n3 = self.nodes
        self.write(n1, "before", 20)
        image = self.take_image(n3)
        twin = self.double(n3, image)
        twin.start(wait=False)
        self.stays_apart(twin, n3)
        twin.kill()
        n3.stop()
        n3.start()
        self.check(n3, self.write(n1, "after", 20))
        n3.stop()
        twin.start(wait=False)  # it has less than n3 acknowledged
        for other in (n1, n2):
            Cluster.wait(lambda: "node n3 " + OLD in other.log() or "copy was started" in other.log(),
                         other.name + " to see what it is")
        twin.kill()
        n3.start()
        Cluster.wait(lambda: n3.request("GET", "/healthz")[0] == 200 and not self.problems(n3), "n3 to be well again")


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    for name in sys.argv[3:] or [name for name in dir(Case) if name.startswith("test_")]:
        directory = tempfile.mkdtemp(prefix="holdfast-images-")
        case = None
        begin = time.monotonic()
        try:
            case = Case(directory, binaries, plugins)
            getattr(case, name)()
            print("passed %s (%.1f s)" % (name, time.monotonic() - begin), flush=True)
        except BaseException:
            traceback.print_exc()
            for node in case.nodes + case.strangers if case else []:
                print("---- %s\n%s" % (node.directory, node.log()[-5000:]))
            print("kept %s" % directory)
            raise SystemExit("failed: " + name)
        finally:
            if case:
                for node in case.strangers:
                    if node.alive:
                        node.kill()
                case.cluster.kill()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
