"""A holdfastd with a configuration of its own, for the tests of this folder: TEST HOLDFASTD PLUGINS"""
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/support"))
from free_ports import free_ports

HOLDFASTD, PLUGINS = sys.argv[1], sys.argv[2]
DEADLINE_S = 30  # for any single condition; a sanitizer's build is slow


def wait_for(what, condition):
    """The first true result of condition()."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError("waited in vain for " + what)


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run(*arguments):
    """Runs holdfastd to its end: exit code, standard output, standard error."""
    done = subprocess.run([HOLDFASTD, *arguments], capture_output=True, text=True, timeout=2 * DEADLINE_S)
    return done.returncode, done.stdout, done.stderr


class Node:
    """A configuration, and the daemon that runs it."""

    def __init__(self, processes=("main",), **parts):
        self.program = HOLDFASTD
        self.folder = tempfile.mkdtemp(prefix="holdfast-test-")
        self.path = os.path.join(self.folder, "holdfast.cfg")
        self.log_path = os.path.join(self.folder, "log")
        self.ports = {name: free_ports(1)[0] for name in processes}
        self.parts = {"state": "state", "plugins": '"service/probe"', "probe": "", "log": "", "restart": "50ms", "workers": 2,
                      "more": ""}
        self.process = None
        self.ended_early = False  # a process that has hardly begun is ended by SIGTERM itself
        self.configure(**parts)

    def configure(self, **parts):
        self.parts.update(parts)
        first = next(iter(self.ports))
        entries = "".join('%s: { services = [ %s ]; listen = "127.0.0.1:%d"; worker_threads = %d; };\n' %
                          (name, '"probe"' if name == first else "", port, self.parts["workers"])
                          for name, port in self.ports.items())
        with open(self.path + ".new", "w") as file:
            file.write("""node: { name = "n1"; state_directory = "%s"; };
plugins: { directory = "%s"; enabled = [ %s ]; };
processes: { restart_least = "%s"; stop_grace = "20s"; run: {
%s}; };
log: { %s };
probe: { %s };
%s
""" % (self.parts["state"], PLUGINS, self.parts["plugins"], self.parts["restart"], entries, self.parts["log"],
       self.parts["probe"], self.parts["more"]))
        os.rename(self.path + ".new", self.path)

    def start(self, *arguments):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([self.program, "--config", self.path, *arguments], stderr=log)
        return self

    def start_ready(self, *arguments):
        self.start(*arguments)
        for name in self.ports:
            self.wait_log("ready: process '%s'" % name)
        return self

    def log(self):
        with open(self.log_path) as file:
            return file.read()

    def wait_log(self, text, count=1):
        try:
            wait_for("log", lambda: self.log().count(text) >= count or self.process.poll() is not None)
        except AssertionError:
            pass
        if self.log().count(text) < count:
            raise AssertionError("'%s' is not %d times in the log:\n%s" % (text, count, self.log()))

    def pids(self):
        """Of the running children by name, from the log's lines."""
        found = dict(re.findall(r"started process '(\w+)', pid (\d+)", self.log()))
        return {name: int(pid) for name, pid in found.items()}

    def request(self, method, path, token=None, name=None, body=None, fields=None):
        """Status, fields, and the body as JSON where it is that."""
        port = self.ports[name or next(iter(self.ports))]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        fields = dict(fields or {}, **({"Authorization": "Bearer " + token} if token else {}))
        try:
            connection.request(method, path, body=body, headers=fields)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if "json" in answer.headers.get("Content-Type", ""):
            content = json.loads(content)
        return answer.status, answer.headers, content

    def get(self, path, **more):
        status, _, content = self.request("GET", path, **more)
        return status, content

    def reload(self, **more):
        status, _, content = self.request("POST", "/v1/admin/config/reload", **more)
        return status, content

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def close(self):
        """Ends it if it still runs, and looks at how all of it has ended."""
        try:
            code = self.stop() if self.process and self.process.poll() is None else 0
            log = self.log() if self.process else ""
            if self.ended_early:
                log = log.replace("ended as asked: killed by signal 15", "")
            if code != 0 or re.search(r"Sanitizer|ended as asked: (?!exited with code 0)|has not freed", log):
                raise AssertionError("it ended with code %d:\n%s" % (code, log))
        finally:
            if self.process and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)


class DaemonTest(unittest.TestCase):
    def node(self, *arguments, **parts):
        node = Node(*arguments, **parts)
        self.addCleanup(node.close)
        return node
