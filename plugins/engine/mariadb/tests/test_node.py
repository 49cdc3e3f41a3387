#!/usr/bin/env python3
"""A real node whose store keeps its records in a Galera cluster: the node is killed, then the
database node it uses; then the node loses its disks.

  servers.sh run 3 test_node.py BINARIES PLUGINS @servers@ @password@"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

CONFIGURATION = """
node: {{ name = "n1"; state_directory = "data"; }};
plugins: {{ directory = "{plugins}"; enabled = [ "service/store", "replication/raft", "engine/mariadb" ]; }};
processes: {{ run: {{ main: {{ services = [ "store" ]; listen = "127.0.0.1:{port}"; }}; }}; }};
store: {{ engine = "mariadb"; tables: {{ items: {{ }}; }}; }};
engine: {{ mariadb: {{ servers = [ {servers} ]; password_file = "{password}"; name = "n1"; }}; }};
"""


class Node:
    def __init__(self, directory, binaries, plugins, servers, password):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.directory, self.binaries, self.process = directory, binaries, None
        with open(os.path.join(directory, "holdfast.cfg"), "w") as file:
            file.write(CONFIGURATION.format(plugins=plugins, port=self.port, password=password,
                                            servers=", ".join('"%s"' % s for s in servers.split(","))))

    def start(self):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen([os.path.join(self.binaries, "holdfastd"), "--config",
                                             os.path.join(self.directory, "holdfast.cfg")],
                                            stdout=log, stderr=log, start_new_session=True)

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def request(self, method, path, body=None):
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def must(self, method, path, body=None, deadline=60):
        """Until it succeeds: while a node dies the answer may be "busy"."""
        until = time.monotonic() + deadline
        while True:
            status, text = self.request(method, path, body)
            if status == 200:
                return text
            if time.monotonic() > until or (self.process and self.process.poll() is not None):
                with open(os.path.join(self.directory, "log")) as log:
                    sys.exit("%s %s: %d %s\n%s" % (method, path, status, text[:300], log.read()[-3000:]))
            time.sleep(0.05)


def value(number):
    return json.dumps({"number": number}).encode()


def put(node, first, last):
    for number in range(first, last):
        node.must("PUT", "/v1/tables/items/records/k%d" % number, value(number))


def check(node, last):
    for number in range(last):
        found = json.loads(node.must("GET", "/v1/tables/items/records/k%d" % number))
        assert json.dumps(found).find('"number": %d' % number) >= 0, found
    page = json.loads(node.must("GET", "/v1/tables/items/records?limit=1000"))
    assert len(page["records"]) == last, len(page["records"])


def run(node):
    script, directory = os.environ["HOLDFAST_MARIADB_SCRIPT"], os.environ["HOLDFAST_MARIADB_DIR"]
    node.start()
    put(node, 0, 50)
    check(node, 50)
    node.kill()
    node.start()
    check(node, 50)
    subprocess.run([script, "kill", directory, "1"], check=True)
    put(node, 50, 100)
    check(node, 100)
    node.kill()
    node.start() # the first server in its list is still dead
    check(node, 100)
    node.kill()
    shutil.rmtree(os.path.join(node.directory, "data"))
    node.start() # a replacement with empty disks
    check(node, 100)
    put(node, 100, 120)
    node.kill()
    node.start()
    check(node, 120)


def main():
    directory = tempfile.mkdtemp(prefix="holdfast-mariadb-node-")
    node = Node(directory, *sys.argv[1:5])
    try:
        run(node)
    finally:
        node.kill()
        shutil.rmtree(directory)


main()
