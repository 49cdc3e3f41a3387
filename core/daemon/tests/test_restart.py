"""Shows with the real holdfastd that SIGUSR2 restarts it in place: test_restart.py HOLDFASTD PLUGINS"""
import http.client
import os
import re
import shutil
import signal
import unittest

from clients import Knocking, ask, listening_sockets, refused
from node import HOLDFASTD, DaemonTest, alive, free_ports, wait_for

DONE = "restarted: every process runs the present program"


class RestartTest(DaemonTest):
    def started(self, processes=("main", "other"), **parts):
        """A node whose probe listens, and the address."""
        node = self.node(processes, **parts)
        port = free_ports(1)[0]
        node.configure(probe='listen = "127.0.0.1:%d";' % port)
        return node.start_ready(), ("127.0.0.1", port)

    def restart(self, node, wait_for_line=DONE):
        count = node.log().count(wait_for_line)
        node.process.send_signal(signal.SIGUSR2)
        node.wait_log(wait_for_line, count + 1)


class Restarting(RestartTest):
    def test_no_connection_is_refused(self):
        node, address = self.started()
        supervisor, before = node.process.pid, node.pids()

        def get(_):
            try:
                return node.get("/test/hello")[0]
            except (http.client.HTTPException, ConnectionResetError):
                return "cut"  # it was accepted, and said nothing until the process that is ending closed it

        with Knocking(address) as knocking, Knocking(None, get) as http_knocking:
            for _ in range(3):
                self.restart(node)
                knocking.wait_more()
                http_knocking.wait_more()
        after = node.pids()
        self.assertEqual(node.process.pid, supervisor)
        self.assertIsNone(node.process.poll())
        for name, pid in before.items():
            self.assertNotEqual(after[name], pid)
            self.assertFalse(alive(pid))
        self.assertEqual(knocking.errors, [])
        self.assertEqual(http_knocking.errors, [])
        self.assertEqual((knocking.answers[0], knocking.answers[-1]), (before["main"], after["main"]))
        self.assertEqual(http_knocking.answers[-1], 200)
        self.assertEqual(os.listdir(os.path.join(node.folder, "state/reports")), [])  # nobody died
        self.assertEqual(node.stop(), 0, node.log())
        for pid in after.values():
            self.assertFalse(alive(pid))
        self.assertTrue(refused(address[1]))

    def test_one_after_the_other(self):
        node, _ = self.started()
        self.restart(node)
        log = node.log()[node.log().index("goes on in process"):]
        events = re.findall(r"process 'main' ended|ready: process 'main'|process 'other' ended|ready: process 'other'", log)
        self.assertEqual(events, ["process 'main' ended", "ready: process 'main'", "process 'other' ended",
                                  "ready: process 'other'"])

    def test_signals_in_a_row(self):
        """One restart in the midst of another, reloads, and a signal that goes to all processes."""
        node, address = self.started()
        with Knocking(address) as knocking:
            for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR2, signal.SIGUSR2, signal.SIGHUP):
                node.process.send_signal(number)
                for pid in node.pids().values():
                    if alive(pid):
                        os.kill(pid, signal.SIGUSR2)
                knocking.wait_more(3)
            node.wait_log(DONE)
            self.restart(node)
        self.assertEqual(knocking.errors, [])
        self.assertEqual(os.listdir(os.path.join(node.folder, "state/reports")), [])
        self.assertEqual(node.stop(), 0, node.log())

    def test_deaths_are_still_seen(self):
        node, address = self.started()
        self.restart(node)
        os.kill(node.pids()["main"], signal.SIGKILL)
        node.wait_log("ready: process 'main'", 3)
        self.assertEqual(ask(address), node.pids()["main"])
        self.assertEqual(node.get("/test/hello")[0], 200)

    def test_ending_meanwhile(self):
        node, _ = self.started()
        node.ended_early = True
        node.process.send_signal(signal.SIGUSR2)
        node.wait_log("goes on in process")
        self.assertEqual(node.stop(), 0, node.log())
        for pid in node.pids().values():
            self.assertFalse(alive(pid))


class Upgrading(RestartTest):
    def install(self, node, content=None):
        """Puts another file in place of the program, as a package does."""
        path = os.path.join(node.folder, "holdfastd")
        if content is None:
            shutil.copy(HOLDFASTD, path + ".new")
        else:
            with open(path + ".new", "w") as file:
                file.write(content)
            os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
        return path

    def upgradable(self):
        node = self.node(("main", "other"))
        node.program = self.install(node)
        return node.start_ready()

    def test_another_program(self):
        node = self.upgradable()
        path = self.install(node)
        self.assertIn("(deleted)", os.readlink("/proc/%d/exe" % node.process.pid))
        self.restart(node)
        for pid in (node.process.pid, *node.pids().values()):
            self.assertEqual(os.readlink("/proc/%d/exe" % pid), path)

    def test_program_that_cannot_go_on(self):
        node = self.upgradable()
        before = node.pids()
        version = '[ "$1$4$5" = "--check--handover1" ]'
        for content, expected in (
                ("#!/bin/sh\n%s && echo cannot read that; exit 1\n" % version, "restart refused: cannot read that"),
                ("#!/bin/sh\nexit 2\n", "restart refused: the configuration cannot be checked"),
                ("#!/nonexistent\n", "restart refused: the configuration cannot be checked"),
                ("#!/bin/sh\n%s && rm $0\n" % version, "restart refused: cannot execute")):
            self.install(node, content)
            self.restart(node, expected)
            self.assertEqual(node.get("/test/hello")[0], 200)
        self.assertEqual(node.pids(), before)
        self.install(node)
        self.restart(node)

    def test_version_of_the_state(self):
        node = self.upgradable()
        path = os.path.join(node.folder, "holdfastd")
        self.assertEqual(os.system("%s --check --config %s --handover 1 >/dev/null" % (path, node.path)), 0)
        with os.popen("%s --check --config %s --handover 2" % (path, node.path)) as pipe:
            self.assertIn("whose state has version 2, expected 1; stop holdfastd and start it again", pipe.read())

    def test_new_program_does_not_become_ready(self):
        """The processes that are left stay, and when one of them dies, its black box is read."""
        node, address = self.started()
        before = node.pids()
        listens = node.parts["probe"]
        node.configure(probe=listens + "start_fails = true;")
        self.restart(node, "the restart goes no further")
        self.assertEqual(node.pids()["other"], before["other"])
        self.assertTrue(alive(before["other"]))
        os.kill(before["other"], signal.SIGKILL)
        node.wait_log("process 'other' killed by signal 9")
        report = re.search(r"process 'other' killed.*; see (\S+)", node.log())[1]
        with open(report) as file:
            self.assertRegex(file.read(), r"last log lines:\n(.*\n)*.*ready: process 'other'")
        node.configure(probe=listens)
        self.restart(node)
        self.assertEqual(ask(address), node.pids()["main"])
        self.assertEqual(node.stop(), 0, node.log())


class Reconfiguring(RestartTest):
    def test_wrong_configuration_is_refused(self):
        node, address = self.started()
        before = node.pids()
        node.configure(more="nonsense: { };")
        self.restart(node, "restart refused: ")
        self.assertIn("unknown section 'nonsense'", node.log())
        self.assertEqual(node.pids(), before)
        self.assertEqual(ask(address), before["main"])

    def test_workers(self):
        node, address = self.started()
        for workers in (4, 1):
            node.configure(workers=workers)
            self.restart(node)
            for port in (address[1], node.ports["main"], node.ports["other"]):
                wait_for("%d sockets" % workers, lambda: listening_sockets(port) == workers)
            for _ in range(10):
                self.assertEqual(node.get("/test/hello")[0], 200)
        self.assertNotIn("listening sockets for", node.log())

    def test_processes_come_and_go(self):
        node, _ = self.started()
        other, gone = node.pids()["other"], node.ports.pop("other")
        node.ports["third"] = free_ports(1)[0]
        node.configure()
        self.restart(node)
        wait_for("the end of a process", lambda: not alive(other))
        self.assertTrue(refused(gone))
        self.assertEqual(node.get("/healthz", name="third")[0], 200)
        self.restart(node)
        self.assertEqual(sorted(re.findall(r"ready: process '(\w+)'", node.log().rsplit("goes on in", 1)[1])),
                         ["main", "third"])

    def test_taken_addresses(self):
        """Whoever runs stays where it is, and one that is new is left out."""
        stranger = self.node(("main", "other")).start_ready()
        node, _ = self.started()
        ports = dict(node.ports)
        node.ports.update(other=stranger.ports["main"], third=stranger.ports["other"])
        node.configure()
        self.restart(node)
        self.assertIn("process 'third' is not started: cannot listen on", node.log())
        self.assertIn("process 'other': cannot listen on", node.log())
        node.ports = ports
        self.assertEqual(node.get("/healthz", name="other")[0], 200)
        node.configure()
        self.restart(node)
        self.assertEqual(node.get("/healthz", name="other")[0], 200)

    def test_state_directory(self):
        node, address = self.started()
        node.configure(state="elsewhere")
        self.restart(node)
        self.assertTrue(os.path.exists(os.path.join(node.folder, "elsewhere/lock.main")))
        self.assertEqual(ask(address), node.pids()["main"])


if __name__ == "__main__":
    unittest.main(argv=[__file__])
