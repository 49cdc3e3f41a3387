"""Real nodes for the system tests: processes on loopback, with their own folders and certificates."""
import http.client
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from free_ports import free_ports


def state_of(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def is_dead(pid):
    """Whether nothing of it has a file or a port any more: its first thread may be gone before the others are."""
    try:
        return state_of(pid) in "ZX" and len(os.listdir("/proc/%d/task" % pid)) <= 1
    except OSError:
        return True


def processes_of(group):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == group:
                    found.append(int(name))
            except OSError:
                pass
    return found


class Host:
    """Where a node runs: its address, and the command before its own that brings it there."""

    def __init__(self, address="127.0.0.1", prefix=()):
        self.address = address
        self.prefix = list(prefix)


class Node:
    """One node.  `address` serves HTTP, `peer_port` the other nodes; its folder has holdfast.cfg, data/, log and pid."""

    def __init__(self, name, address, directory, holdfastd, host=Host()):
        self.name = name
        self.address = address
        self.directory = directory
        self.holdfastd = holdfastd
        self.host = host
        self.environment = {} # beside the test's own
        self.peer_port = None
        self.process = None
        self.pid = None
        self.alive = False

    def request(self, method, path, body=None, headers={}, timeout=20):
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def json(self, method, path, body=None, headers={}, timeout=20):
        status, text, _ = self.request(method, path, body, headers, timeout)
        return status, json.loads(text) if text else None

    def adopt(self):
        """Takes over a node that somebody else has started."""
        with open(os.path.join(self.directory, "pid")) as file:
            self.pid = int(file.read())
        self.alive = True

    def start(self, wait=True):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(
                self.host.prefix + [self.holdfastd, "--config", os.path.join(self.directory, "holdfast.cfg")],
                stdout=log, stderr=log, start_new_session=True, env={**os.environ, **self.environment})
        self.pid = self.process.pid
        with open(os.path.join(self.directory, "pid"), "w") as file:
            file.write("%d\n" % self.pid)
        self.alive = True
        if wait:
            self.wait_ready()

    def wait_ready(self, deadline=60):
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            try:
                if self.request("GET", "/healthz", timeout=2)[0] == 200:
                    return
            except OSError:
                pass
            if self.process and self.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit("node %s does not come up; the end of its log:\n%s" % (self.name, self.log()[-3000:]))

    def kill(self):
        """SIGKILL to the supervisor and its processes."""
        self.alive = False
        os.killpg(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        self.wait_gone()

    def wait_gone(self, deadline=20):
        """The supervised processes end after the supervisor; until then they have the port and the files."""
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return
            if all(is_dead(pid) for pid in processes_of(self.pid)):
                return # dead, and not yet waited for by whoever inherited them
            time.sleep(0.005)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(60)
            self.alive = False
            return code
        return None

    def log(self):
        with open(os.path.join(self.directory, "log"), errors="replace") as file:
            return file.read()


class Cluster:
    """Nodes n1, n2, ... in `directory`.  `store` is the text of the section `store`, `more` that of further sections,
    `hosts` where each node runs: on loopback when it is not given, and what others can reach is open to everybody."""

    def __init__(self, directory, binaries, plugins, store, count=3, enabled=(), hosts=None, more=""):
        hosts = hosts or [Host()] * count
        self.directory = directory
        self.binaries = binaries
        ports = free_ports(2 * count)
        names = ["n%d" % (i + 1) for i in range(count)]
        self.certificates = certificates = os.path.join(directory, "certificates")
        self.run("ca", "init", certificates, "--cluster", "test")
        self.plugins = plugins
        self.store = store
        self.more = more
        self.enabled = enabled
        self.zones = {}
        self.nodes = []
        for i, name in enumerate(names):
            self.run("ca", "issue", certificates, name, "--name", hosts[i].address)
            folder = os.path.join(directory, name)
            os.makedirs(folder)
            self.nodes.append(Node(name, "%s:%d" % (hosts[i].address, ports[i]), folder,
                                   os.path.join(binaries, "holdfastd"), hosts[i]))
            self.nodes[-1].peer_port = ports[count + i]
        self.configure(self.nodes)

    def configure(self, members):
        """Writes the configuration of each of the nodes, which are the members; it is read at the next start."""
        listed = " ".join('%s: { address = "%s:%d"; zone = "%s"; };' %
                          (node.name, node.host.address, node.peer_port, self.zones.get(node.name, ""))
                          for node in members)
        plugin_list = ", ".join('"%s"' % p
                                for p in ("service/store", "replication/raft", "engine/rocksdb", *self.enabled))
        for node in members:
            with open(os.path.join(node.directory, "holdfast.cfg"), "w") as file:
                file.write('node: { name = "%s"; state_directory = "data"; };\n' % node.name)
                file.write('cluster: { name = "test"; certificates = "../certificates"; members: { %s }; };\n' % listed)
                file.write('plugins: { directory = "%s"; enabled = [ %s ]; };\n' % (self.plugins, plugin_list))
                file.write('processes: { run: { main: { services = [ "store" ]; peers = true; '
                           'listen = "%s"; }; }; };\n' % node.address)
                file.write("store: { %s };\n" % self.store)
                if not node.host.address.startswith("127."):
                    file.write('http: { anonymous = "admin"; };\n')
                file.write(self.more)

    def run(self, *arguments):
        subprocess.run([os.path.join(self.binaries, "holdfast"), *arguments], check=True, stdout=subprocess.DEVNULL)

    def start(self, table):
        """Starts all nodes and waits until each knows the table and answers for it."""
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()
            self.wait(lambda n=node: n.request("GET", "/v1/tables/%s/records/none" % table)[0] == 404 and
                      n.request("GET", "/v1/tables/%s" % table)[0] == 200, "node %s to know the table" % node.name)

    @staticmethod
    def wait(condition, what, deadline=60):
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("waited in vain for " + what)

    def stop(self):
        return [node.stop() for node in self.nodes]

    def kill(self):
        for node in self.nodes:
            if node.alive:
                try:
                    node.kill()
                except OSError:
                    pass
