"""Faults, chosen by the seed, one after the other or one within another."""
import errno
import os
import random
import signal
import time

from cluster import processes_of

from .damage import files_of, flip
from .disk import empty
from .end import replica_of, until


FEW_PARTITIONS, MANY_PARTITIONS = 3, 8


class Faults:
    """Each method causes a fault and is over when the fault is.  `network` is None where there are no namespaces,
    `disks` is empty where files have no time of birth, and `small` is None or the node whose disk can be filled."""

    def __init__(self, cluster, network, disks, small, seed, began, only=()):
        self.cluster = cluster
        self.network = network
        self.disks = disks  # by node
        self.small = small
        self.excused = set() # nodes whose disks failed: their replicas may have stopped
        self.random = random.Random(seed)
        self.began = began
        self.flipped = {} # how often, by kind of file
        self.suspect = None # the node that went on with a flipped bit
        self.counts = {}
        self.told = []
        self.kinds = self.choices(only)

    def choices(self, only):
        """(fault, how often it is chosen)"""
        kinds = [(self.kill, 4), (self.kill_two, 2), (self.kill_process, 2), (self.pause, 3)]
        if self.network:
            kinds += [(self.isolate, 3), (self.part_two, 3), (self.one_way, 3), (self.mute, 2)]
        if self.network and self.network.can_slow:
            kinds += [(self.slow, 2)]
        if self.disks:
            kinds += [(self.cut_power, 3), (self.cut_all_power, 2), (self.fail_disk, 3)]
        if self.small:
            kinds += [(self.fill_disk, 2)]
        kinds += [(self.flip_bit, 3), (self.reshape, 3)]
        names = {fault.__name__ for fault, _ in kinds}
        if set(only) - names:
            raise SystemExit("no such fault here: %s; there are: %s" % (
                ", ".join(sorted(set(only) - names)), ", ".join(sorted(names))))
        return [(fault, weight) for fault, weight in kinds if not only or fault.__name__ in only]

    def tell(self, what):
        self.told.append("%8.3f %s" % (time.monotonic() - self.began, what))

    def node(self):
        return self.random.choice(self.cluster.nodes)

    def wait(self, least, most):
        time.sleep(self.random.uniform(least, most))

    # ---- Processes ----

    def kill(self):
        """kill -9 of a node."""
        node = self.node()
        self.tell("kill %s" % node.name)
        node.kill()
        self.wait(0, 2)
        node.start()

    def kill_two(self):
        """kill -9 of two of three: nobody can write until one is back."""
        first, second = self.random.sample(self.cluster.nodes, 2)
        self.tell("kill %s and %s" % (first.name, second.name))
        first.kill()
        second.kill()
        self.wait(0, 1)
        first.start(wait=False)
        second.start(wait=False)
        first.wait_ready()
        second.wait_ready()

    def kill_process(self):
        """kill -9 of one of a node's processes; the supervisor starts it again."""
        node = self.node()
        children = [pid for pid in processes_of(node.pid) if pid != node.pid]
        self.tell("kill a process of %s" % node.name)
        if children:
            os.kill(self.random.choice(children), signal.SIGKILL)
        self.wait(0, 1)
        node.wait_ready()

    def pause(self):
        """SIGSTOP for a while: it comes back with the time of before, and may take itself for the leader."""
        node = self.node()
        seconds = self.random.uniform(0.1, 4)
        self.tell("pause %s for %.2f s" % (node.name, seconds))
        os.killpg(node.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.killpg(node.pid, signal.SIGCONT)

    # ---- Disks ----

    def cut_power_of(self, nodes):
        for node in nodes:
            os.killpg(node.pid, signal.SIGKILL)
        for node in nodes:
            node.kill()
            left = self.disks[node].cut_power(self.random)
            self.tell("power cut of %s; of what was not flushed %s is left" % (node.name, left))

    def cut_power(self):
        """kill -9 of a node, and what it had not flushed to its disk is gone."""
        node = self.node()
        self.cut_power_of([node])
        self.wait(0, 2)
        node.start()

    def cut_all_power(self):
        """Of all nodes at the same time."""
        self.cut_power_of(self.cluster.nodes)
        for node in self.cluster.nodes:
            node.start(wait=False)
        for node in self.cluster.nodes:
            node.wait_ready()

    def fail_disk(self):
        """Some calls on some of a node's files fail for a while."""
        node = self.node()
        disk = self.disks[node]
        kind = self.random.choice(["write", "sync", "read"])
        error = self.random.choice([errno.EIO, errno.EIO, errno.ENOSPC] if kind == "write" else [errno.EIO])
        only = self.random.choice(["", "/log/", "/engine/"])
        per_mille = self.random.choice([30, 300, 1000])
        self.excused.add(node)
        self.tell("%d of 1000 calls to %s in data%s of %s fail with %s" % (
            per_mille, kind, only, node.name, errno.errorcode[error]))
        before = disk.failed()
        disk.fail(**{kind: error}, per_mille=per_mille, short=self.random.random() < 0.5, only=only)
        self.wait(0.3, 3)
        if self.random.random() < 0.3: # it may also have to start on such a disk
            node.kill()
            node.start(wait=False)
            self.wait(0.5, 2)
        disk.mend()
        self.tell("the disk of %s is well again; %d calls have failed" % (node.name, disk.failed() - before))
        self.revive(node, self.random.random() < 0.5)

    def fill_disk(self):
        """No space is left where a node keeps its data."""
        node = self.small
        filler = os.path.join(node.directory, "data", "filler")
        self.excused.add(node)
        self.tell("the disk of %s is full" % node.name)
        with open(filler, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        self.wait(1, 5)
        os.unlink(filler)
        self.tell("the disk of %s has room again" % node.name)
        self.revive(node, False)

    def revive(self, node, power):
        """What docs/operators.md says of a disk that failed: when the node is not well, it is restarted."""
        end = time.monotonic() + 1
        while time.monotonic() < end and not self.is_well(node):
            time.sleep(0.05)
        if power:
            self.cut_power_of([node])
            node.start()
        elif not self.is_well(node):
            self.tell("restart %s" % node.name)
            node.kill()
            node.start()

    @staticmethod
    def is_well(node):
        try:
            return node.request("GET", "/healthz", timeout=2)[0] == 200
        except OSError:
            return False

    # ---- Damage ----

    def flip_bit(self):
        """One bit of one file of a node that is down.  The node may go on, because the bit does not matter or it healed
        what was damaged; else it must say which file it is, and does well again with an empty state directory."""
        node = self.node()
        if self.suspect not in (None, node): # else two copies of a record may be damaged
            self.replace(self.suspect)
        data = os.path.join(node.directory, "data")
        node.kill()
        kinds = files_of(data)
        fewest = min(self.flipped.get(kind, 0) for kind in kinds)
        kind = self.random.choice(sorted(kind for kind in kinds if self.flipped.get(kind, 0) == fewest))
        path = self.random.choice(kinds[kind])
        place, bit = flip(os.path.join(data, path), self.random)
        self.flipped[kind] = self.flipped.get(kind, 0) + 1
        self.excused.add(node)
        self.tell("flip bit %d of byte %d of %s of %s, a %s" % (bit, place, path, node.name, kind))
        said = len(node.log())
        node.start(wait=False)
        self.suspect = node
        if self.goes_on(node, said):
            return
        text = node.log()[said:]
        self.tell("%s stays out: %s" % (node.name, next(
            (line for line in text.splitlines() if path.rsplit("/", 1)[1].split(".")[0] in line), "?")))
        assert path.rsplit("/", 1)[1].split(".")[0] in text, \
            "%s does not say that its file %s is damaged:\n%s" % (node.name, path, text[-3000:])
        self.replace(node)

    def goes_on(self, node, said):
        """Whether the node is well, and its replicas can be read as a whole."""
        end = time.monotonic() + 20
        while not self.is_well(node):
            if time.monotonic() > end or node.log()[said:].count("exited with code 1") > 2:
                return False
            time.sleep(0.05)
        try:
            until("%s to have its records" % node.name, lambda: replica_of(node) is not None, end - time.monotonic())
        except AssertionError as error:
            self.tell(str(error))
            return False
        return self.is_well(node)

    def replace(self, node):
        """What docs/operators.md says: move the state directory away, start the node, `holdfast node replace`."""
        data = os.path.join(node.directory, "data")
        if node is self.suspect:
            self.suspect = None
        node.kill()
        empty(data) # it may be a mount
        if self.disks:
            self.disks[node].take_all_for_durable()
        node.start(wait=False)
        others = [other for other in self.cluster.nodes if other is not node]
        self.tell("replace %s" % node.name)
        until("the replacement of %s to begin" % node.name, lambda: any(
            other.request("POST", "/v1/nodes/%s/replace" % node.name, timeout=5)[0] == 202 for other in others))
        until("%s to be replaced" % node.name, lambda: self.is_well(node) and self.has_all(node))

    def has_all(self, node):
        """Whether all nodes say that the replicas are where they should be, and the node's can be read."""
        for other in self.cluster.nodes:
            status, plan = other.json("GET", "/v1/plan", timeout=5)
            if status != 200 or plan["moves"] or plan["moving"]:
                return False
        return replica_of(node) is not None

    # ---- The network ----

    def lines(self, cut):
        """Breaks the lines [(sender, receiver)] for a while, in which a process fault may come too."""
        names = ["%s to %s" % (self.network.name(sender), self.network.name(receiver)) for sender, receiver in cut]
        self.tell("cut %s" % ", ".join(names))
        for line in cut:
            self.network.cut(*line)
        self.within()
        self.tell("join %s" % ", ".join(names))
        for line in cut:
            self.network.join(*line)

    def within(self):
        self.wait(0.3, 4)
        kinds = [fault for fault, _ in self.kinds if fault in (self.kill, self.kill_process, self.pause)]
        if kinds and self.random.random() < 0.3:
            self.cause(self.random.choice(kinds))
            self.wait(0.3, 2)

    def others(self, node):
        return [other for other in range(self.network.count) if other != node]

    def isolate(self):
        """No other node reaches a node; clients still do."""
        node = self.random.randrange(self.network.count)
        self.lines([line for other in self.others(node) for line in ((node, other), (other, node))])

    def part_two(self):
        """Two nodes do not reach each other, and a third reaches both."""
        first, second = self.random.sample(range(self.network.count), 2)
        self.lines([(first, second), (second, first)])

    def one_way(self):
        """What one node sends to one other is lost."""
        self.lines([tuple(self.random.sample(range(self.network.count), 2))])

    def mute(self):
        """All that a node sends to others is lost, and it still hears them; or it hears nobody and is heard."""
        node = self.random.randrange(self.network.count)
        if self.random.random() < 0.5:
            self.lines([(node, other) for other in self.others(node)])
        else:
            self.lines([(other, node) for other in self.others(node)])

    def slow(self):
        """A narrow line with a long queue."""
        node = self.random.randrange(self.network.count)
        kilobits, latency = self.random.choice([(500, 300), (2000, 100), (10000, 50)])
        self.tell("slow %s to %d kbit/s, up to %d ms" % (self.network.name(node), kilobits, latency))
        self.network.slow(node, kilobits, latency)
        self.within()
        self.tell("quick %s" % self.network.name(node))
        self.network.quick(node)

    # ---- No fault, but what faults come over ----

    def reshape(self):
        """A partition begins to be split, or two to be merged; the next faults find it under way."""
        node = self.node()
        try:
            _, answer = node.json("GET", "/v1/tables/registers/partitions", timeout=2)
            partitions = answer["partitions"]
            few, many = len(partitions) < FEW_PARTITIONS, len(partitions) > MANY_PARTITIONS
            what = "split" if few or not many and self.random.random() < 0.5 else "merge"
            partition = self.random.choice(partitions[:-1] if what == "merge" else partitions)
            status, _, _ = node.request("POST", "/v1/tables/registers/partitions/%d/%s" % (partition["id"], what),
                                        timeout=2)
            self.tell("%s partition %d of %d: %d" % (what, partition["id"], len(partitions), status))
            assert status in (202, 404, 409) or status >= 500, status
        except OSError as error:
            self.tell("%s cannot be asked to split or merge partitions: %s" % (node.name, error))
        self.wait(0, 0.5)

    # ---- Running ----

    def cause(self, fault):
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        fault()

    def look_after_suspect(self, seconds):
        """A damage may come to light long after the bit was flipped."""
        node = self.suspect
        if not node:
            return
        try:
            until("%s to have its records" % node.name,
                  lambda: self.is_well(node) and replica_of(node) is not None, seconds)
        except AssertionError as error:
            self.tell(str(error))
            self.replace(node)

    def run(self, end):
        first = [fault for fault, _ in self.kinds] # each at least once, when there is time
        self.random.shuffle(first)
        faults, weights = zip(*self.kinds)
        while time.monotonic() < end:
            self.wait(0.2, 1.5)
            self.look_after_suspect(10)
            self.cause(first.pop() if first else self.random.choices(faults, weights)[0])
        self.look_after_suspect(20)
