"""A world of the test's own, where it may break things: namespaces for mounts, processes and the network, which the
kernel takes down with the last of the test's processes, also when the test itself is killed.

Nodes are hosts on one switch, each in a network namespace with an address of its own:

    test 10.77.0.254 ── hub ─┬─ n1 10.77.0.1
                             ├─ n2 10.77.0.2
                             └─ n3 10.77.0.3

A direction between two nodes is cut by giving the sender a wrong hardware address of the receiver: packets go out and
nobody takes them, as on a broken line.  That needs nothing but `ip`; clients still reach all nodes."""
import os
import shutil
import signal
import subprocess
import sys

from cluster import Host

INSIDE = "HOLDFAST_FAULTS_WORLD"
TOOLS = ("unshare", "nsenter", "ip", "mount")


def command():
    """What runs a program in a world of its own; who is not root there becomes it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def reason_against():
    """Why there can be no such world here; None: there can."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return "the programs %s are missing" % ", ".join(missing)
    tried = subprocess.run([*command(), "sh", "-c", "mount -t tmpfs tmpfs /run && ip link add hub type bridge && "
                            "ip netns add one && ip link add to-one type veth peer name eth0 netns one"],
                           capture_output=True, text=True)
    return None if tried.returncode == 0 else (tried.stderr.strip() or "unshare failed").splitlines()[-1]


def become_first_process():
    """The first process of a process namespace inherits and has to wait for all that lose their parent; the test goes
    on in another one."""
    child = os.fork()
    if child == 0:
        return
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, lambda number, frame: os.kill(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            sys.stdout.flush()
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)


def enter():
    """Starts this program again in a world of its own, and returns only there: None.  Else why that cannot be."""
    if os.environ.get(INSIDE):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        become_first_process()
        return None
    reason = reason_against()
    if reason:
        return reason
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*command(), sys.executable, *sys.argv])


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def hardware_address(number):
    return "02:00:00:00:00:%02x" % number


class Network:
    """The switch and the hosts on it.  Nodes are counted from 0."""
    NOBODY = "02:de:ad:00:00:01"

    def __init__(self, count):
        self.count = count
        self.hosts = []
        ip("link", "set", "lo", "up")
        ip("link", "add", "hub", "type", "bridge")
        ip("link", "set", "hub", "up")
        ip("addr", "add", "10.77.0.254/24", "dev", "hub")
        for node in range(count):
            self.add(node)
        for sender in range(count):
            for receiver in range(count):
                if sender != receiver:
                    self.join(sender, receiver)
        self.can_slow = self.try_slow()

    def add(self, node):
        name, link = self.name(node), self.link(node)
        ip("netns", "add", name)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "address", hardware_address(node + 1),
           "netns", name)
        ip("link", "set", link, "master", "hub", "up")
        ip("-n", name, "addr", "add", self.address(node) + "/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        self.hosts.append(Host(self.address(node), ["nsenter", "--net=/run/netns/" + name]))

    @staticmethod
    def name(node):
        return "n%d" % (node + 1)

    @staticmethod
    def link(node):
        return "to-n%d" % (node + 1)

    @staticmethod
    def address(node):
        return "10.77.0.%d" % (node + 1)

    def tell(self, sender, receiver, hardware):
        ip("-n", self.name(sender), "neigh", "replace", self.address(receiver), "lladdr", hardware, "dev", "eth0",
           "nud", "permanent")

    def join(self, sender, receiver):
        self.tell(sender, receiver, hardware_address(receiver + 1))

    def cut(self, sender, receiver):
        """What sender sends to receiver is lost; the other direction stays as it is."""
        self.tell(sender, receiver, self.NOBODY)

    def shaped(self, node, *arguments):
        """tc at both ends of a node's line; whether it can be done."""
        ends = (["tc", "qdisc", arguments[0], "dev", self.link(node), "root", *arguments[1:]],
                ["tc", "-n", self.name(node), "qdisc", arguments[0], "dev", "eth0", "root", *arguments[1:]])
        return all(subprocess.run(end, capture_output=True).returncode == 0 for end in ends)

    def slow(self, node, kilobits, latency_ms):
        """All that goes to and from the node passes a narrow line with a queue of that latency, and is late or lost."""
        return self.shaped(node, "replace", "tbf", "rate", "%dkbit" % kilobits, "burst", "4kb",
                           "latency", "%dms" % latency_ms)

    def quick(self, node):
        return self.shaped(node, "del")

    def try_slow(self):
        return bool(shutil.which("tc")) and self.slow(0, 1000, 100) and self.quick(0)
