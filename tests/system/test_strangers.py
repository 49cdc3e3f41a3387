#!/usr/bin/env python3
"""Three real nodes keep serving writes while strangers come to their peer ports and nodes come with the wrong certificate,
name, cluster or data; the logs of both sides say what is wrong.

  test_strangers.py BINARIES PLUGINS [CASE...]"""
import contextlib
import json
import os
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
import traceback

import certificates
from cluster import Cluster, Node, free_ports

STORE = 'write_timeout = "4s"; read_timeout = "4s"; tables: { t: { }; };'
HELLO, REFUSED = 1, 3  # types of frames
OTHER_AUTHORITY = "belongs to another cluster: its certificate is of another authority"


class Writer(threading.Thread):
    """Writes to a node without end, and knows how many writes were taken."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node = node
        self.taken = 0
        self.failures = []
        self.over = False
        self.start()

    def run(self):
        number = 0
        while not self.over:
            number += 1
            try:
                status, text, _ = self.node.request("PUT", "/v1/tables/t/records/k%d" % (number % 100), "{\"n\":1}")
            except OSError as error:
                status, text = 0, str(error)
            if status == 200:
                self.taken += 1
            else:
                self.failures.append((status, text))
            time.sleep(0.002)  # the machine is shared with the nodes


class Case:
    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = cluster.nodes
        self.impostors = []
        self.writer = Writer(self.nodes[1])

    def expect(self, node, words, since=0):
        Cluster.wait(lambda: words in node.log()[since:], "the log of %s to say '%s'" % (node.name, words))

    @contextlib.contextmanager
    def serving(self, failures=0):
        """Writes are taken all the while."""
        failed = len(self.writer.failures)
        yield
        taken = self.writer.taken
        Cluster.wait(lambda: self.writer.taken >= taken + 50, "more writes to be taken")
        new = self.writer.failures[failed:]
        assert len(new) <= failures, new[:5]

    def impostor(self, name, cluster="test", certificates=None, folder="impostor"):
        """A node with the configuration of `name`, its ports too, but for the given changes, and a folder of its own."""
        like = next(node for node in self.nodes if node.name == name)
        directory = os.path.join(self.cluster.directory, folder)
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(like.directory, "holdfast.cfg")) as file:
            text = file.read()
        text = text.replace('cluster: { name = "test"; certificates = "../certificates"',
                            'cluster: { name = "%s"; certificates = "%s"' % (cluster, certificates or "../certificates"))
        with open(os.path.join(directory, "holdfast.cfg"), "w") as file:
            file.write(text)
        self.impostors.append(Node(name, like.address, directory, like.holdfastd))
        return self.impostors[-1]

    @contextlib.contextmanager
    def in_place_of_n3(self, *arguments, **more):
        """An impostor runs and n3 does not."""
        three = self.nodes[2]
        three.stop()
        node = self.impostor("n3", *arguments, **more)
        node.start(wait=False)
        try:
            yield node
        finally:
            node.kill()
            self.come_back(three)

    def come_back(self, node):
        node.start()
        Cluster.wait(lambda: node.request("PUT", "/v1/tables/t/records/back", "{}")[0] == 200, node.name + " to come back")

    def refuses_to_start(self, node, words):
        """The node's log has the reason, and it does not come up."""
        before = len(node.log()) if os.path.exists(os.path.join(node.directory, "log")) else 0
        node.start(wait=False)
        try:
            self.expect(node, words, before)
            try:
                assert node.request("GET", "/healthz", timeout=1)[0] != 200
            except OSError:
                pass
        finally:
            node.kill()

    # ---- Certificates ------------------------------------------------------------------------------------------------

    def test_expired_certificate(self):
        one, _, three = self.nodes
        own = os.path.join(self.cluster.directory, "certificates-n3")
        shutil.copytree(self.cluster.certificates, own)
        shutil.copy(os.path.join(three.directory, "holdfast.cfg"), os.path.join(three.directory, "good"))
        with open(os.path.join(three.directory, "holdfast.cfg")) as file:
            text = file.read().replace('"../certificates"', '"../certificates-n3"')
        with open(os.path.join(three.directory, "holdfast.cfg"), "w") as file:
            file.write(text)
        # It expires while the node runs: its links stay until they are made anew.
        three.stop()
        end = time.time() + 12
        certificates.issue(own, "n3", "test", -3600, 12)
        three.start()
        Cluster.wait(lambda: time.time() > end + 1, "the certificate to expire")
        since = [len(node.log()) for node in self.nodes]
        with self.serving(failures=20):  # n1 may have led
            one.stop()
            one.start()
            self.expect(one, "n3: no link to it: the certificate of n3 has expired; issue another with 'holdfast ca issue'",
                        since[0])
            self.expect(one, "a stranger: no link from 127.0.0.1: the certificate of a stranger has expired", since[0])
            self.expect(three, "n1: no link to it: n1 refuses this node's certificate: it has expired", since[2])
        # And it does not start with it.
        with self.serving(failures=20):
            three.stop()
            self.refuses_to_start(three, "n3.crt' has expired; issue another with 'holdfast ca issue'")
        os.replace(os.path.join(three.directory, "good"), os.path.join(three.directory, "holdfast.cfg"))
        self.come_back(three)

    def test_certificate_that_is_not_valid_yet(self):
        own = os.path.join(self.cluster.directory, "certificates-early")
        shutil.copytree(self.cluster.certificates, own)
        certificates.issue(own, "n3", "test", 7200, 14400)
        with self.serving():
            connection = self.connect_tls(own, "n3")
            assert self.read_all(connection) == b""
            self.expect(self.nodes[0], "the certificate of a stranger is not valid yet; check the clocks of both machines")

    def test_no_certificate(self):
        with self.serving():
            connection = self.connect_tls(None, None)
            assert self.read_all(connection) == b""
            self.expect(self.nodes[0], "TLS with a stranger failed: peer did not return a certificate")

    def test_another_authority(self):
        other = os.path.join(self.cluster.directory, "certificates-other")
        self.cluster.run("ca", "init", other, "--cluster", "test")
        self.cluster.run("ca", "issue", other, "n3", "--name", "127.0.0.1")
        since = [len(node.log()) for node in self.nodes]
        with self.serving(failures=20), self.in_place_of_n3(certificates="../certificates-other") as node:
            for i in (0, 1):
                self.expect(self.nodes[i], "n3: no link to it: n3 " + OTHER_AUTHORITY, since[i])
                self.expect(node, "n%d: no link to it: n%d %s" % (i + 1, i + 1, OTHER_AUTHORITY))
                self.expect(self.nodes[i], "a stranger refuses this node's certificate: it is of another authority",
                            since[i])

    def test_another_cluster(self):
        since = len(self.nodes[0].log())
        words = "it belongs to the cluster 'other' and not to 'test' (cluster.name)"
        with self.serving(failures=20), self.in_place_of_n3("other", folder="other") as node:
            self.expect(self.nodes[0], "n3: no link from 127.0.0.1: " + words, since)
            self.expect(node, "n1: it refuses this node: " + words)
            self.expect(self.nodes[0], "n3: it refuses this node: it belongs to the cluster 'test' and not to 'other'", since)

    # ---- Names -------------------------------------------------------------------------------------------------------

    def test_certificate_of_another_node(self):
        """A node that calls itself n2 and has only what n3 was given."""
        own = os.path.join(self.cluster.directory, "certificates-stolen")
        os.makedirs(own)
        for source, target in (("ca.crt", "ca.crt"), ("n3.crt", "n2.crt"), ("n3.key", "n2.key")):
            shutil.copy(os.path.join(self.cluster.certificates, source), os.path.join(own, target))
        node = self.impostor("n2", certificates="../certificates-stolen", folder="stolen")
        with open(os.path.join(node.directory, "holdfast.cfg"), "r+") as file:
            text = file.read()
            used = ("127.0.0.1:%d" % self.nodes[1].peer_port, self.nodes[1].address)
            for address, port in zip(used, free_ports(2)):  # the true n2 runs
                node.address = "127.0.0.1:%d" % port
                text = text.replace(address, node.address)
            file.seek(0)
            file.truncate()
            file.write(text)
        with self.serving():
            self.refuses_to_start(node, "n2.crt' is for node 'n3' and not for 'n2'; issue one with 'holdfast ca issue'")

    def test_name_of_another_node(self):
        since = len(self.nodes[0].log())
        words = "it says that it is 'n2', but its certificate is for 'n3'"
        with self.serving():
            answer = self.say_hello("n3", "n2", "n1")
            assert words in answer, answer
            self.expect(self.nodes[0], "n3: no link from 127.0.0.1: " + words, since)
            assert "n2: no link from" not in self.nodes[0].log()[since:]  # nothing is held against n2

    def test_node_that_is_no_member(self):
        self.cluster.run("ca", "issue", self.cluster.certificates, "n9", "--name", "127.0.0.1")
        words = "'n9' is not a member of 'test' (cluster.members)"
        with self.serving():
            answer = self.say_hello("n9", "n9", "n1")
            assert words in answer, answer
            self.expect(self.nodes[0], "a stranger: no link from 127.0.0.1: " + words)

    def test_another_version(self):
        words = "it speaks version 2 of the protocol and 'n1' speaks 1"
        with self.serving():
            answer = self.say_hello("n3", "n3", "n1", version=2)
            assert words in answer, answer
            self.expect(self.nodes[0], "n3: no link from 127.0.0.1: " + words)

    # ---- What is not a node ------------------------------------------------------------------------------------------

    def test_garbage(self):
        one = self.nodes[0]
        with self.serving():
            for i in range(50):
                with socket.create_connection(("127.0.0.1", one.peer_port), 20) as connection:
                    connection.sendall((b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)), b"\x00" * 100)[i % 3])
                    self.read_all(connection)
            self.expect(one, "a stranger: no link from 127.0.0.1: TLS with a stranger failed: http request")
            self.expect(one, "a stranger: no link from 127.0.0.1: TLS with a stranger failed: wrong version number")

    def test_half_open_connections(self):
        """More of them than a node lets wait; they are gone after 3 s, and n3 can come back meanwhile or then."""
        one, _, three = self.nodes
        since = len(one.log())
        with self.serving(failures=20):
            connections = []
            for i in range(400):
                connection = socket.create_connection(("127.0.0.1", one.peer_port), 20)
                if i % 2:
                    with contextlib.suppress(OSError):  # it may have been closed already
                        connection.sendall(b"\x16\x03\x01\x02\x00\x01")
                connections.append(connection)
            self.expect(one, "a stranger: 256 connections have not said who they are; further ones are closed at once", since)
            three.kill()
            for connection in connections:
                self.read_all(connection)
                connection.close()
            self.expect(one, "a stranger: no link from 127.0.0.1: its TLS handshake took more than 3 s", since)
            self.come_back(three)

    # ---- Data --------------------------------------------------------------------------------------------------------

    def test_data_of_another_cluster(self):
        """The node has the right name and certificate, and somebody gave it the disk of a node of the same name."""
        three = self.nodes[2]
        other = self.impostor("n3", "other", folder="foreign")
        with self.serving(failures=20):
            three.stop()
            other.start()  # alone: it comes up without a majority
            other.stop()
            own = os.path.join(three.directory, "data")
            os.rename(own, own + ".own")
            shutil.copytree(os.path.join(other.directory, "data"), own)
            try:
                self.refuses_to_start(three, "was written by another node or in another cluster; give this node its own data directory")
            finally:
                shutil.rmtree(own)
                os.rename(own + ".own", own)
            self.expect(self.nodes[0], "n3: no link to it: Connection refused")
        self.come_back(three)

    # ---- By hand -----------------------------------------------------------------------------------------------------

    def connect_tls(self, directory, name):
        """To n1, with a certificate or without; refusals come only when one reads (TLS 1.3)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if name:
            context.load_cert_chain(os.path.join(directory, name + ".crt"), os.path.join(directory, name + ".key"))
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.nodes[0].peer_port), 20))

    @staticmethod
    def read_all(connection):
        data = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError, BrokenPipeError):
            while True:
                part = connection.recv(4096)
                if not part:
                    break
                data += part
        return data

    def say_hello(self, certificate, name, to, version=1):
        """With the certificate of one and in the name of another.  Returns why it is refused."""
        text = ("protocol %d\ncluster test\nmembers 0\nfrom %s\nto %s\nlane 0\n" % (version, name, to)).encode()
        with self.connect_tls(self.cluster.certificates, certificate) as connection:
            connection.sendall(struct.pack("<IBBHQ", len(text), HELLO, 0, 0, 0) + text)
            answer = self.read_all(connection)
        size, kind, _, _, _ = struct.unpack("<IBBHQ", answer[:16])
        assert kind == REFUSED and len(answer) == 16 + size, answer
        return answer[16:].decode()


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    directory = tempfile.mkdtemp(prefix="holdfast-strangers-")
    cluster = Cluster(directory, binaries, plugins, STORE)
    failed = []
    try:
        cluster.start("t")
        case = Case(cluster)
        names = sys.argv[3:] or [name for name in dir(Case) if name.startswith("test_")]
        for name in names:
            begin = time.monotonic()
            try:
                getattr(case, name)()
                print("passed %s (%.1f s)" % (name, time.monotonic() - begin), flush=True)
            except Exception:
                failed.append(name)
                traceback.print_exc()
                break  # what it left behind would fail the others, too
        case.writer.over = True
        case.writer.join()
        if not failed:
            assert cluster.stop() == [0, 0, 0]
    finally:
        if failed:
            for node in cluster.nodes + case.impostors[-1:]:
                print("---- %s\n%s" % (node.directory, node.log()[-4000:]))
        cluster.kill()
        shutil.rmtree(directory, ignore_errors=True)
    if failed:
        sys.exit("failed: " + " ".join(failed))
    print("passed, with %d writes meanwhile" % case.writer.taken)


if __name__ == "__main__":
    main()
