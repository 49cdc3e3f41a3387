"""Faults, chosen by the seed, one after the other or one within another."""
import os
import random
import signal
import time

from cluster import processes_of


class Faults:
    """Each method causes a fault and is over when the fault is.  `network` is None where there are no namespaces."""

    def __init__(self, cluster, network, seed, began, only=()):
        self.cluster = cluster
        self.network = network
        self.random = random.Random(seed)
        self.began = began
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

    # ---- Running ----

    def cause(self, fault):
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        fault()

    def run(self, until):
        first = [fault for fault, _ in self.kinds] # each at least once, when there is time
        self.random.shuffle(first)
        faults, weights = zip(*self.kinds)
        while time.monotonic() < until:
            self.wait(0.2, 1.5)
            self.cause(first.pop() if first else self.random.choices(faults, weights)[0])
