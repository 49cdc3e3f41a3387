"""Shows with the real holdfastd that the sockets of plugins (hf.listen/1) outlive the process, and go when nobody wants
them: test_sockets.py HOLDFASTD PLUGINS"""
import os
import signal
import socket
import unittest

from clients import Knocking, ask, listening_sockets, read_answer, refused
from node import DEADLINE_S, DaemonTest, free_ports, wait_for


class SocketsTest(DaemonTest):
    def listening(self, *arguments, **parts):
        """A node whose probe listens, its port, and its address."""
        node = self.node(*arguments, **parts)
        port = free_ports(1)[0]
        node.configure(probe='listen = "127.0.0.1:%d";' % port)
        return node, port, ("127.0.0.1", port)

    def kill(self, node):
        """kill -9, and waits until the supervisor knows."""
        deaths = node.log().count("killed by signal 9")
        os.kill(node.pids()["main"], signal.SIGKILL)
        node.wait_log("killed by signal 9", deaths + 1)


class Outliving(SocketsTest):
    def test_no_connection_is_refused(self):
        node, _, address = self.listening(restart="1s")
        node.start_ready()
        before = node.pids()["main"]
        with Knocking(address) as knocking:
            self.assertEqual(set(knocking.answers), {before})
            self.kill(node)
            # These begin while nobody is there, as the restart waits, and are answered by the successor.
            waiting = [socket.create_connection(address, DEADLINE_S) for _ in range(10)]
            self.assertEqual(node.log().count("started process"), 1)
            answers = [read_answer(client) for client in waiting]
            for client in waiting:
                client.close()
            knocking.wait_more()
        self.assertNotEqual(node.pids()["main"], before)
        self.assertEqual(set(answers), {node.pids()["main"]})
        self.assertEqual(set(knocking.answers), {before, node.pids()["main"]})
        self.assertEqual(knocking.refused(), [])
        self.assertLessEqual(len(knocking.errors), 1)  # who was being answered by the one that was killed
        self.assertEqual(node.stop(), 0, node.log())

    def test_they_outlive_every_successor(self):
        node, _, address = self.listening(restart="50ms")
        node.start_ready()
        for count in range(2, 6):
            self.kill(node)
            self.assertEqual(ask(address), wait_for("the successor", lambda: node.pids()["main"]))
            node.wait_log("ready: process 'main'", count)

    def test_datagrams(self):
        node = self.node(restart="1s")
        port = free_ports(1)[0]
        node.configure(probe='listen_datagrams = "127.0.0.1:%d";' % port)
        node.start_ready()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE_S)
            client.connect(("127.0.0.1", port))
            client.send(b"who?")
            self.assertEqual(int(client.recv(64)), node.pids()["main"])
            self.kill(node)
            client.send(b"who?")  # it waits, and no ICMP says that nobody is there
            answer = int(client.recv(64))
            self.assertEqual(answer, node.pids()["main"])

    def test_path(self):
        node = self.node(restart="1s")
        path = os.path.join(node.folder, "socket")
        node.configure(probe='listen = "unix:%s";' % path)
        node.start_ready()
        self.assertEqual(ask(path), node.pids()["main"])
        self.kill(node)
        self.assertEqual(ask(path), node.pids()["main"])
        node.configure(probe="")
        self.assertEqual(node.reload()[1]["changed"], ["probe.listen"])
        self.assertFalse(os.path.exists(path))

    def test_other_number_of_workers(self):
        node, port, address = self.listening()
        node.start_ready()
        self.assertEqual(listening_sockets(port), 2)
        for count, workers in ((2, 4), (3, 1)):
            node.configure(workers=workers)
            self.kill(node)
            node.wait_log("ready: process 'main'", count)
            wait_for("%d sockets" % workers, lambda: listening_sockets(port) == workers)
            for _ in range(20):  # whichever socket the kernel chooses
                self.assertEqual(ask(address), node.pids()["main"])
        node.wait_log("3 sockets at '127.0.0.1:%d' are more than are needed now" % port)

    def test_one_process_by_hand(self):
        node, port, address = self.listening()
        node.start_ready("--process", "main")
        self.assertEqual(ask(address), node.process.pid)
        node.configure(probe="")
        node.reload()
        self.assertTrue(refused(port))


class Going(SocketsTest):
    def test_reload_takes_a_listener_out(self):
        node, port, address = self.listening()
        node.start_ready()
        self.assertEqual(ask(address), node.pids()["main"])
        node.configure(probe="")
        self.assertEqual(node.reload()[1]["changed"], ["probe.listen"])
        wait_for("the port to close", lambda: refused(port))
        self.kill(node)
        node.wait_log("ready: process 'main'", 2)
        self.assertTrue(refused(port))
        node.configure(probe='also_listen = "127.0.0.1:%d";' % port)  # and in again
        self.assertEqual(node.reload()[0], 200)
        self.assertEqual(ask(address), node.pids()["main"])
        self.kill(node)
        self.assertEqual(ask(address), node.pids()["main"])

    def test_what_the_successor_does_not_ask_for(self):
        node, port, _ = self.listening()
        node.start_ready()
        node.configure(probe="")
        self.kill(node)
        node.wait_log("2 sockets of a predecessor have no listener any more")
        wait_for("the port to close", lambda: refused(port))

    def test_successors_that_do_not_become_ready_lose_nothing(self):
        node, port, address = self.listening(restart="1ms")
        node.start_ready()
        listens = node.parts["probe"]
        node.configure(probe=listens + "start_fails = true;")
        self.kill(node)
        node.wait_log("probe.start_fails is true", 3)
        with socket.create_connection(address, DEADLINE_S) as client:
            node.configure(probe=listens)
            client.settimeout(DEADLINE_S)
            self.assertEqual(read_answer(client), node.pids()["main"])

    def test_end(self):
        node, port, _ = self.listening()
        node.start_ready()
        self.assertEqual(node.stop(), 0, node.log())
        self.assertTrue(refused(port))


class Refused(SocketsTest):
    def start_refused(self, probe, expected):
        node = self.node(probe=probe).start("--process", "main")
        self.assertEqual(node.process.wait(DEADLINE_S), 1, node.log())
        self.assertIn("cannot start: service/probe: cannot listen on " + expected, node.log())

    def test_port_of_a_stranger(self):
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # it would let us in
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            at = "127.0.0.1:%d" % stranger.getsockname()[1]
            self.start_refused('listen = "%s";' % at, "'%s': another program is there already" % at)
            node = self.node().start_ready()
            node.configure(probe='listen = "%s";' % at)
            status, answer = node.reload()
            self.assertEqual(status, 422)
            self.assertIn("another program is there already; end it, or choose another address", answer["problems"][0])

    def test_datagrams_of_a_stranger(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            stranger.bind(("127.0.0.1", free_ports(1)[0]))
            at = "127.0.0.1:%d" % stranger.getsockname()[1]
            self.start_refused('listen_datagrams = "%s";' % at, "'%s': another program is there already" % at)
            # For connections the port is free.
            node = self.node(probe='listen = "%s";' % at).start_ready()
            self.assertEqual(ask(stranger.getsockname()), node.pids()["main"])

    def test_path_of_a_stranger(self):
        folder = self.node().folder
        path = os.path.join(folder, "socket")
        at = "unix:" + path
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(path)
            stranger.listen()
            self.start_refused('listen = "%s";' % at, "'%s': another program is there already" % at)
        node = self.node(probe='listen = "%s";' % at).start_ready()  # the name alone is left
        self.assertEqual(ask(path), node.pids()["main"])
        self.assertEqual(node.stop(), 0, node.log())
        os.unlink(path)
        with open(path, "w") as file:
            file.write("mine")
        self.start_refused('listen = "%s";' % at, "'%s': a file is there that is no socket" % at)
        with open(path) as file:
            self.assertEqual(file.read(), "mine")

    def test_twice(self):
        port = free_ports(1)[0]
        for first, second in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")):
            self.start_refused('listen = "%s:%d"; also_listen = "%s:%d";' % (first, port, second, port),
                               "'%s:%d': this process listens there already" % (second, port))

    def test_no_address(self):
        self.start_refused('listen = "127.0.0.1:0";', "'127.0.0.1:0': expected a port from 1 to 65535")


if __name__ == "__main__":
    unittest.main(argv=[__file__])
