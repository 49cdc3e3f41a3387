"""A gateway of its own for a system test: holdfastd with one process, whose configuration the test writes."""
import os
import signal
import subprocess
import sys
import time

from cluster import Node

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from free_ports import free_ports


def wait(condition, what, deadline=30):
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError("waited in vain for " + what)


class Gateway:
    def __init__(self, directory, binaries, plugins, section, balancers=("round_robin",), workers=1):
        self.directory = directory
        self.plugins = plugins
        self.balancers = balancers
        self.workers = workers
        self.path = os.path.join(directory, "holdfast.cfg")
        self.node = Node("gateway", "127.0.0.1:%d" % free_ports(1)[0], directory, os.path.join(binaries, "holdfastd"))
        self.write(section)

    def write(self, section):
        enabled = ", ".join('"%s"' % name for name in ("service/gateway", *("balancer/" + b for b in self.balancers)))
        with open(self.path, "w") as file:
            file.write('node: { name = "gateway"; state_directory = "data"; };\n')
            file.write('plugins: { directory = "%s"; enabled = [ %s ]; };\n' % (self.plugins, enabled))
            file.write('processes: { run: { edge: { services = [ "gateway" ]; worker_threads = %d; listen = "%s"; }; }; };\n'
                       % (self.workers, self.node.address))
            file.write("gateway: { %s };\n" % section)

    def check(self):
        """What --check says, and its status."""
        done = subprocess.run([self.node.holdfastd, "--config", self.path, "--check"], capture_output=True, text=True,
                              timeout=60)
        return done.returncode, done.stdout + done.stderr

    def start(self):
        self.node.start()

    def stop(self):
        return self.node.stop()

    def reload(self, section):
        """Has the new configuration taken, and waits until the log says so."""
        before = self.node.log().count("config: reloaded")
        self.write(section)
        os.kill(self.node.pid, signal.SIGHUP)
        wait(lambda: self.node.log().count("config: reloaded") > before, "the reload")

    def process(self):
        """The id of the process that has the gateway: the supervisor's child."""
        with open("/proc/%d/task/%d/children" % (self.node.pid, self.node.pid)) as file:
            return int(file.read().split()[0])

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process()) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self):
        with open("/proc/%d/status" % self.process()) as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) << 10
        raise AssertionError("the process has no VmRSS")

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process()))
