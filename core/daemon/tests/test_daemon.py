"""Runs the real holdfastd with a small service, and looks at it from outside: test_daemon.py HOLDFASTD PLUGINS"""
import http.client
import json
import os
import re
import signal
import socket
import tempfile
import threading
import unittest

from node import DEADLINE_S, PLUGINS, DaemonTest, alive, digest, run, wait_for


class Running(DaemonTest):
    def test_serves(self):
        node = self.node(probe='greeting = "good day";').start_ready()
        self.assertEqual(node.get("/healthz"), (200, {"state": "ok"}))
        status, answer = node.get("/test/hello")
        self.assertEqual((status, answer["text"], answer["node"]), (200, "good day", "n1"))
        self.assertEqual((answer["configuration_version"], answer["started"]), (1, 1))
        self.assertEqual(node.get("/nowhere")[0], 404)
        state = os.path.join(node.folder, "state")
        self.assertEqual(os.stat(state).st_mode & 0o777, 0o700)
        self.assertTrue(os.path.isdir(state + "/service-probe"))
        self.assertEqual(node.stop(), 0, node.log())

    def test_metrics(self):
        node = self.node().start_ready()
        status, fields, content = node.request("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertIn("version=0.0.4", fields["Content-Type"])
        values = {}
        for line in content.decode().splitlines():
            if line.startswith("# "):
                self.assertRegex(line, r"^# (HELP|TYPE) [a-z_][a-z0-9_]* .+$")
                continue
            match = re.fullmatch(r'([a-z_][a-z0-9_]*(?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})?) (\S+)', line)
            self.assertIsNotNone(match, line)
            values[match[1]] = float(match[2])
        self.assertEqual([v for k, v in values.items() if k.startswith("holdfast_build_info{version=")], [1])
        self.assertGreater(values["holdfast_process_resident_bytes"], 100000)
        self.assertGreater(values["holdfast_process_open_files"], 5)
        self.assertGreater(values["holdfast_process_uptime_seconds"], 0)
        for loop in ("main", "worker-0", "worker-1"):
            self.assertIn('holdfast_loop_stall_microseconds{loop="%s"}' % loop, values)

    def test_admin(self):
        node = self.node(probe='greeting = "x";', more='tokens: { a: { sha256 = "%s"; role = "admin"; }; };' %
                         digest("secret")).start_ready()
        status, answer = node.get("/v1/admin/status", token="secret")
        self.assertEqual(status, 200)
        self.assertEqual((answer["process"], answer["node"], answer["state"]), ("main", "n1", "ok"))
        self.assertEqual(answer["pid"], node.pids()["main"])
        self.assertEqual(answer["instances"], [{"name": "service/probe", "state": "ok"}])
        self.assertEqual([loop["name"] for loop in answer["loops"]], ["main", "worker-0", "worker-1"])
        status, answer = node.get("/v1/admin/plugins", token="secret")
        self.assertEqual(answer["plugins"][0]["id"], "org.holdfast.service.probe")
        self.assertEqual(answer["plugins"][0]["provides"],
                         [{"kind": "service", "name": "probe", "summary": "Helps to test the daemon."}])
        status, answer = node.get("/v1/admin/config", token="secret")
        self.assertEqual((status, answer["version"], answer["restart_needed"]), (200, 1, []))
        self.assertEqual(answer["document"]["probe"]["greeting"], "x")
        self.assertEqual(answer["document"]["tokens"], {"a": {"role": "admin", "tables": []}})
        self.assertNotIn(digest("secret"), json.dumps(answer))

    def test_failing_service(self):
        node = self.node(probe="failing = true;").start_ready()
        self.assertEqual(node.get("/healthz"),
                         (503, {"state": "failing", "reasons": ["service/probe: probe.failing is true"]}))
        self.assertEqual(node.get("/v1/admin/status")[1]["state"], "failing")

    def test_one_process_by_hand(self):
        node = self.node().start_ready("--process", "main")
        self.assertEqual(node.get("/test/hello")[0], 200)
        self.assertEqual(node.stop(), 0, node.log())

    def test_trace_leads_to_the_log(self):
        node = self.node().start_ready()
        given = "4bf92f3577b34da6a3ce929d0e0e4736"
        for fields in ({}, {"traceparent": "00-%s-00f067aa0ba902b7-01" % given}):
            status, answer, _ = node.request("GET", "/test/fail", fields=fields)
            trace = answer["Holdfast-Trace"]
            self.assertEqual(status, 500)
            if fields:
                self.assertEqual(trace, given)
            self.assertRegex(node.log(), "about to fail.* trace=" + trace)
            self.assertRegex(node.log(), "GET /test/fail: 500: this probe always fails.* trace=" + trace)
        node.get("/test/hello")
        self.assertNotIn("trace=", node.log().rsplit("always fails", 1)[1].split("\n", 1)[1])
        self.assertEqual(node.stop(), 0, node.log())

    def test_start_that_fails(self):
        node = self.node(probe="start_fails = true;").start("--process", "main")
        self.assertEqual(node.process.wait(DEADLINE_S), 1, node.log())
        self.assertIn("cannot start: service/probe: probe.start_fails is true", node.log())
        self.assertNotIn("ready", node.log())
        node.start("--process", "nobody")
        self.assertEqual(node.process.wait(DEADLINE_S), 1, node.log())
        self.assertIn("processes.run has no entry 'nobody'", node.log())


class Dying(DaemonTest):
    def test_crash_is_recorded_and_mended(self):
        node = self.node(("main", "other")).start_ready()
        pids = node.pids()
        with self.assertRaises((http.client.HTTPException, OSError)):
            node.get("/test/crash")
        node.wait_log("ready: process 'main'", 2)
        self.assertEqual(node.get("/test/hello")[0], 200)
        death = re.search(r"process 'main' killed by signal 11 \(Segmentation fault\).*; see (\S+)", node.log())
        self.assertIsNotNone(death, node.log())
        with open(death[1]) as file:
            report = file.read()
        self.assertIn("cause: killed by signal 11", report)
        self.assertRegex(report, r"backtrace:\n(.*\n)*.*holdfast-service-probe\.so")
        self.assertRegex(report, r"last log lines:\n(.*\n)*.*ready: process 'main'")
        raised = wait_for("the signal", lambda: [s for s in node.get("/v1/admin/signals")[1]["signals"]
                                                 if s["name"] == "process.died"])
        self.assertEqual((raised[0]["subject"], raised[0]["severity"]), ("main", "critical"))
        self.assertEqual(raised[0]["detail"]["report"], death[1])
        self.assertIn("Segmentation fault", raised[0]["detail"]["cause"])
        self.assertTrue(alive(pids["other"]))  # untouched
        self.assertEqual(node.pids()["other"], pids["other"])
        self.assertEqual(node.stop(), 0, node.log())

    def test_no_connection_is_refused(self):
        node = self.node(restart="1s").start_ready()
        refused, tried, over = [], [], threading.Event()

        def knock():
            while not over.is_set():
                try:
                    socket.create_connection(("127.0.0.1", node.ports["main"]), DEADLINE_S).close()
                except ConnectionRefusedError as error:
                    refused.append(error)
                tried.append(1)

        knocking = threading.Thread(target=knock)
        knocking.start()
        try:
            wait_for("connections", lambda: len(tried) > 10)
            os.kill(node.pids()["main"], signal.SIGKILL)
            node.wait_log("killed by signal 9")
            # This one begins while nobody is there, as the restart waits, and is answered all the same.
            self.assertEqual(node.get("/test/hello")[0], 200)
            node.wait_log("ready: process 'main'", 2)
            before = len(tried)
            wait_for("more connections", lambda: len(tried) > before + 10)
        finally:
            over.set()
            knocking.join()
        self.assertEqual(refused, [])
        self.assertEqual(node.stop(), 0, node.log())

    def test_listeners_that_no_longer_fit(self):
        """Processes are started anew with the file as it is then, but with the sockets that are open."""
        for workers in (3, 1):
            node = self.node().start_ready()
            node.configure(workers=workers)
            os.kill(node.pids()["main"], signal.SIGKILL)
            node.wait_log("ready: process 'main'", 2)
            node.wait_log("2 listening sockets for %d worker threads; restart holdfastd" % workers)
            for _ in range(10):  # whichever socket the kernel chooses
                self.assertEqual(node.get("/test/hello")[0], 200)

    def test_children_do_not_outlive_the_supervisor(self):
        node = self.node(("main", "other")).start_ready()
        pids = node.pids()
        node.process.kill()
        node.process.wait()
        for pid in pids.values():
            wait_for("the end of %d" % pid, lambda pid=pid: not alive(pid))
        node.start()
        for name in pids:
            node.wait_log("ready: process '%s'" % name, 2)
        self.assertEqual(node.get("/test/hello")[0], 200)


class Ending(DaemonTest):
    def test_everything_ends(self):
        node = self.node(("main", "other")).start_ready()
        pids = node.pids()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(node.get("/test/hold")))
        waiting.start()
        node.wait_log("holding a request")
        self.assertEqual(node.stop(), 0, node.log())
        waiting.join(DEADLINE_S)
        self.assertEqual([(status, answer["text"]) for status, answer in answers], [(200, "drained")])
        self.assertEqual(node.log().count("exited with code 0"), 2, node.log())
        for pid in pids.values():
            self.assertFalse(alive(pid))
        with self.assertRaises(ConnectionRefusedError):
            node.get("/test/hello")

    def test_interrupt(self):
        node = self.node().start_ready()
        node.process.send_signal(signal.SIGINT)
        self.assertEqual(node.process.wait(DEADLINE_S), 0, node.log())


class Reloading(DaemonTest):
    def test_options_and_log_level(self):
        node = self.node(probe='greeting = "one";').start_ready()
        node.configure(probe='greeting = "two";')
        self.assertEqual(node.reload(), (200, {"version": 2, "changed": ["probe.greeting"], "restart_needed": []}))
        answer = node.get("/test/hello")[1]
        self.assertEqual((answer["text"], answer["configuration_version"]), ("two", 2))
        node.wait_log("reloaded: version 2")
        node.configure(log='level = "error";')
        self.assertEqual(node.reload()[1]["changed"], ["log.level"])
        self.assertEqual(node.get("/v1/admin/config")[1]["document"]["log"]["level"], "error")
        node.configure(log='level = "info";', probe='greeting = "three";')
        node.process.send_signal(signal.SIGHUP)
        node.wait_log("reloaded: version 4")
        self.assertNotIn("reloaded: version 3", node.log())  # the level held it back
        self.assertEqual(node.get("/test/hello")[1]["text"], "three")
        self.assertEqual(node.stop(), 0, node.log())

    def test_what_needs_a_restart_is_said(self):
        node = self.node().start_ready()
        node.configure(probe='colour = "blue"; greeting = "new";')
        expected = {"version": 2, "changed": ["probe.greeting"], "restart_needed": ["probe.colour"]}
        self.assertEqual(node.reload(), (200, expected))
        self.assertEqual(node.reload()[1], {"version": 3, "changed": [], "restart_needed": ["probe.colour"]})
        self.assertEqual(node.get("/v1/admin/config")[1]["restart_needed"], ["probe.colour"])
        node.configure(probe='colour = "red";')
        self.assertEqual(node.reload()[1]["restart_needed"], [])

    def test_other_plugins_need_a_restart(self):
        node = self.node(probe='greeting = "old";').start_ready()
        node.configure(plugins="", probe='greeting = "new";')
        status, answer = node.reload()
        self.assertEqual((status, answer["version"], answer["changed"]), (200, 1, []))
        self.assertIn("plugins.enabled", answer["restart_needed"])
        self.assertEqual(node.get("/test/hello")[1]["text"], "old")

    def test_bad_configuration_is_refused(self):
        node = self.node(probe='greeting = "old";').start_ready()
        node.configure(probe='greetin = "new";', log='level = "loud";', more="nonsense: { };")
        status, answer = node.reload()
        self.assertEqual((status, answer["type"]), (422, "urn:holdfast:problem:unprocessable"))
        for expected in ("unknown option 'greetin' in 'probe'; did you mean 'greeting'?",
                         "'log.level' is \"loud\", expected one of", "unknown section 'nonsense'"):
            self.assertEqual(sum(expected in line for line in answer["problems"]), 1, answer["problems"])
        self.assertEqual(len(answer["problems"]), 3)
        # The supervisor finds the same, and its processes hear nothing of it.
        refused = node.log().count("reload refused")
        node.process.send_signal(signal.SIGHUP)
        node.wait_log("reload refused", refused + 3)
        self.assertNotIn("every process reloads it", node.log())
        answer = node.get("/test/hello")[1]
        self.assertEqual((answer["text"], answer["configuration_version"]), ("old", 1))

    def test_a_plugins_own_check_refuses(self):
        node = self.node(probe='greeting = "old";').start_ready()
        node.configure(probe='greeting = "new"; needs = "nothing";', more="node2: { };")
        self.assertEqual(len(node.reload()[1]["problems"]), 1)  # options first
        node.configure(probe='greeting = "new"; needs = "nothing";',
                       more='tokens: { a: { sha256 = "00"; role = "reader"; }; };')
        status, answer = node.reload()
        self.assertEqual(status, 422)
        self.assertEqual([line.split(":", 2)[1:] for line in answer["problems"]],
                         [["8", " 'tokens.a.sha256' is ***, expected the 64 hexadecimal digits of a SHA-256"],
                          ["7", " 'probe.needs' is a service that is not enabled"]])
        status, compared = node.get("/v1/admin/config/diff?file=" + node.path)
        self.assertEqual((status, compared), (200, {"problems": answer["problems"]}))
        self.assertEqual(node.get("/test/hello")[1]["text"], "old")
        self.assertEqual(node.get("/v1/admin/config")[1]["version"], 1)
        node.configure(probe='greeting = "new"; needs = "probe";', more="")
        self.assertEqual(node.reload()[1]["changed"], ["probe.greeting", "probe.needs"])
        self.assertEqual(node.get("/test/hello")[1]["text"], "new")

    BOTH = '"service/probe", "balancer/probe"'

    def pickers(self, count, points):
        return "pickers: { %s };" % " ".join("p%d: { balancer: { points = %d; }; };" % (i, points)
                                             for i in range(count))

    def test_chosen_capabilities_come_and_go(self):
        """More than there are places for instances of the process's own, made anew with every reload."""
        node = self.node(plugins=self.BOTH, probe=self.pickers(100, 1)).start_ready()
        self.assertEqual(node.get("/test/pickers")[1]["text"], "100 alive, 1 points")
        for points in range(2, 12):
            node.configure(probe=self.pickers(100, points))
            status, answer = node.reload()
            self.assertEqual((status, len(answer["changed"]), answer["restart_needed"]), (200, 100, []), answer)
            self.assertEqual(node.get("/test/pickers")[1]["text"], "100 alive, %d points" % points)
        # By its name, with options of its own section; the probe is not asked for anything else.
        node.configure(probe='pickers: { one: { balancer = "probe"; }; };', more="balancer: { probe: { points = 50; }; };")
        self.assertEqual(node.reload()[0], 200)
        self.assertEqual(node.get("/test/pickers")[1]["text"], "1 alive, 50 points")
        document = node.get("/v1/admin/config")[1]["document"]
        self.assertEqual(document["probe"]["pickers"]["one"]["balancer"], {"name": "probe", "points": 50, "spare": 0})
        self.assertEqual(node.get("/v1/admin/status")[1]["instances"], [{"name": "service/probe", "state": "ok"}])
        node.configure(probe=self.pickers(3, 5), more="")
        self.assertEqual(node.reload()[0], 200)
        # One that cannot be made: those that were go again, and the others stay.
        node.configure(probe=self.pickers(2, 6))
        self.assertEqual(node.reload()[0], 200)
        node.configure(probe="pickers: { a: { balancer: { points = 7; }; }; b: { balancer: { points = 99; }; }; };")
        status, answer = node.reload()
        self.assertEqual((status, answer["problems"]), (422, ["service/probe: balancer/probe: 99 points are refused"]))
        self.assertEqual(node.get("/test/pickers")[1]["text"], "2 alive, 6 points")
        # Its own check is asked of what is chosen, too.
        node.configure(probe="pickers: { a: { balancer: {\npoints = 7;\nspare = 8; }; }; };")
        status, answer = node.reload()
        self.assertEqual((status, [line.split(":", 1)[1] for line in answer["problems"]]),
                         (422, ["9: the picker's 'spare' is too much, expected less than 'points'"]))
        self.assertEqual(node.get("/test/pickers")[1]["text"], "2 alive, 6 points")
        self.assertEqual(node.stop(), 0, node.log())

    def test_chosen_capability_of_a_plugin_that_is_not_loaded(self):
        node = self.node().start_ready()
        self.assertEqual(node.get("/test/pickers")[1]["text"], "")
        node.configure(probe=self.pickers(1, 2))
        self.assertIn("no enabled plugin provides balancer/probe", node.reload()[1]["problems"][0])
        node.configure(plugins=self.BOTH)
        status, answer = node.reload()
        self.assertEqual((status, answer["changed"]), (200, []), answer)
        self.assertIn("plugins.enabled", answer["restart_needed"])

    def test_service_refuses(self):
        node = self.node(probe='greeting = "old";').start_ready()
        node.configure(probe='greeting = "refuse";', log='level = "error";')
        status, answer = node.reload()
        self.assertEqual(status, 422)
        self.assertEqual(answer["problems"], ['service/probe: probe.greeting is "refuse", which is refused'])
        self.assertEqual(node.get("/test/hello")[1]["text"], "old")
        self.assertEqual(node.get("/v1/admin/config")[1]["document"]["log"]["level"], "info")


class Tokens(DaemonTest):
    TOKENS = 'tokens: { app: { sha256 = "%s"; role = "writer"; tables = [ "mine" ]; };' \
             ' see: { sha256 = "%s"; role = "reader"; }; boss: { sha256 = "%s"; role = "operator"; }; };' \
             % (digest("app"), digest("see"), digest("boss"))

    def status(self, node, method, path, token=None):
        return node.request(method, path, token=token, body="x" if method == "PUT" else None)[0]

    def test_rights(self):
        node = self.node(more=self.TOKENS).start_ready()
        for method, path, expected in (
                ("GET", "/healthz", {None: 200, "wrong": 401, "see": 200, "app": 200, "boss": 200}),
                ("GET", "/metrics", {None: 401, "wrong": 401, "see": 200, "app": 200, "boss": 200}),
                ("PUT", "/test/tables/mine", {None: 401, "wrong": 401, "see": 403, "app": 200, "boss": 200}),
                ("PUT", "/test/tables/other", {None: 401, "see": 403, "app": 403, "boss": 200}),
                ("GET", "/v1/admin/config", {None: 401, "see": 403, "app": 403, "boss": 200}),
                ("POST", "/v1/admin/config/reload", {None: 401, "see": 403, "app": 403, "boss": 200})):
            for token, status in expected.items():
                self.assertEqual(self.status(node, method, path, token), status, (method, path, token))

    def test_reload_applies_them(self):
        node = self.node().start_ready()
        self.assertEqual(self.status(node, "PUT", "/test/tables/mine"), 200)  # loopback, and no tokens
        node.configure(more=self.TOKENS)
        self.assertEqual(node.reload()[1]["changed"], ["tokens.app", "tokens.see", "tokens.boss"])
        self.assertEqual(self.status(node, "PUT", "/test/tables/mine"), 401)
        self.assertEqual(self.status(node, "PUT", "/test/tables/mine", "app"), 200)
        node.configure(more=self.TOKENS + 'http: { anonymous = "writer"; };')
        self.assertEqual(node.reload(token="boss")[1]["changed"], ["http.anonymous"])
        self.assertEqual(self.status(node, "PUT", "/test/tables/mine"), 200)
        self.assertNotIn(digest("app"), node.log())


class CommandLine(DaemonTest):
    def test_usage(self):
        for arguments in (["--chekc"], ["extra"], ["--config"], ["--check", "--process", "main"]):
            code, out, error = run(*arguments)
            self.assertEqual((code, out), (2, ""), arguments)
            self.assertIn("Usage: holdfastd", error)
        code, out, error = run("--help")
        self.assertEqual((code, error), (0, ""))
        self.assertIn("Usage: holdfastd", out)
        self.assertRegex(run("--version")[1], r"^holdfastd \d+\.\d+\.\d+\n$")

    def test_options(self):
        node = self.node()
        code, out, error = run("--config", node.path, "--options")
        self.assertEqual((code, error), (0, ""))
        for section in ("node", "processes", "tokens", "probe"):
            self.assertIn("## %s\n" % section, out)
        code, out, _ = run("--config", node.path, "--options", "probe")
        self.assertEqual(re.findall("^## (.*)$", out, re.M), ["probe"])
        code, _, error = run("--config", node.path, "--options", "prob")
        self.assertEqual(code, 1)
        self.assertIn("did you mean 'probe'?", error)

    def test_second_daemon_is_refused(self):
        node = self.node().start_ready()
        other = self.node(state=os.path.join(node.folder, "state")).start()
        self.assertEqual(other.process.wait(DEADLINE_S), 1, other.log())
        self.assertIn("another holdfastd uses the state directory", other.log())
        self.assertEqual(node.get("/test/hello")[0], 200)

    def test_taken_port_is_refused(self):
        node = self.node().start_ready()
        other = self.node()
        other.ports = node.ports
        other.configure()
        other.start()
        self.assertEqual(other.process.wait(DEADLINE_S), 1, other.log())
        self.assertIn("process 'main': cannot listen on '127.0.0.1:%d'" % node.ports["main"], other.log())

    def test_bad_configuration_does_not_start(self):
        node = self.node(probe="colour = 3;").start()
        self.assertEqual(node.process.wait(DEADLINE_S), 1, node.log())
        self.assertIn("holdfast.cfg:7: 'probe.colour' is 3, expected a string", node.log())
        self.assertFalse(os.path.exists(os.path.join(node.folder, "state")))


class Checking(DaemonTest):
    BASE = {"node": 'name = "n1";', "plugins": 'directory = "%s"; enabled = [ "service/probe" ];' % PLUGINS,
            "processes": 'run: { main: { services = [ "probe" ]; }; };'}

    def check(self, text):
        """Exit code and lines of --check, without the file's folder."""
        with tempfile.TemporaryDirectory(prefix="holdfast-test-") as folder:
            path = os.path.join(folder, "a.cfg")
            if text is not None:
                with open(path, "w") as file:
                    file.write(text)
            code, out, error = run("--config", path, "--check")
            self.assertEqual(error, "")
            return code, [line.replace(folder + "/", "") for line in out.splitlines()]

    def document(self, **parts):
        return "".join("%s: { %s };\n" % item for item in {**self.BASE, **parts}.items() if item[1] is not None)

    def test_good(self):
        self.assertEqual(self.check(self.document()), (0, ["a.cfg: ok"]))

    def test_bad(self):
        run_entry = 'run: { main: { %s }; };'
        cases = [
            (None, "a.cfg:1: "),
            ("node: {", "a.cfg:1: "),
            (self.document(node='name = "n1"; nam = 3;'), "a.cfg:1: unknown option 'nam' in 'node'; did you mean 'name'?"),
            (self.document(node=None), "a.cfg:1: section 'node' is missing, expected a group { ... }"),
            (self.document(nodde=""), "a.cfg:4: unknown section 'nodde'; did you mean 'node'?"),
            (self.document(probe="greeting = 5;"), "a.cfg:4: 'probe.greeting' is 5, expected a string"),
            (self.document(probe="greting = \"x\";"),
             "a.cfg:4: unknown option 'greting' in 'probe'; did you mean 'greeting'?"),
            (self.document(log='level = "loud";'),
             'a.cfg:4: \'log.level\' is "loud", expected one of "debug", "info", "warning", "error"'),
            (self.document(http='idle_timeout = "5";'),
             'a.cfg:4: \'http.idle_timeout\' is "5", expected a duration such as "300ms" from 100ms to 1d'),
            (self.document(processes=run_entry % 'services = [ "prob" ];'),
             "a.cfg:3: no enabled plugin provides the service 'prob'"),
            (self.document(processes=run_entry % "worker_threads = 1000;"),
             "a.cfg:3: 'processes.run.main.worker_threads' is 1000, expected an integer from 1 to 255"),
            (self.document(processes=run_entry % 'listen = "everywhere";'),
             "a.cfg:3: 'processes.run.main.listen' is \"everywhere\", expected"),
            (self.document(processes=run_entry % 'listen = "0.0.0.0:7400";'),
             "a.cfg:3: 'processes.run.main.listen' is \"0.0.0.0:7400\", which others can reach"),
            (self.document(processes=""), "a.cfg:3: processes.run has no entry"),
            (self.document(plugins='directory = "%s"; enabled = [\n"service/missing" ];' % PLUGINS, processes=run_entry % ""),
             "a.cfg:3: cannot find plugin '%s/holdfast-service-missing.so'" % PLUGINS),
            (self.document(plugins='directory = "%s"; enabled = [ "missing" ];' % PLUGINS, processes=run_entry % ""),
             "a.cfg:2: 'missing' is not a plugin's name; expected \"KIND/NAME\" or a path"),
            (self.document(plugins='enabled = [ "/etc/passwd" ];', processes=run_entry % ""), "a.cfg:2: "),
            (self.document(plugins="enabled = 3;"), "a.cfg:2: 'plugins.enabled' is 3, expected a list of strings"),
            (self.document(tokens='a: { sha256 = "00"; role = "king"; };'),
             "a.cfg:4: 'tokens.a.role' is \"king\", expected one of"),
            (self.document(tokens='a: { sha256 = "00"; role = "reader"; };'), "a.cfg:4: 'tokens.a.sha256' is ***"),
            (self.document(cluster='members: { n2: { address = "h:1"; }; };'),
             "a.cfg:4: this node's name is not among cluster.members"),
        ]
        for text, expected in cases:
            code, lines = self.check(text)
            self.assertEqual(code, 1, text)
            self.assertEqual(len(lines), 1, (text, lines))
            self.assertEqual(lines[0][:len(expected)], expected)

    def test_what_a_plugins_own_check_says(self):
        people = '\npeople: {\nann: { friend = "bob"; };\nbob: {\nfriend = "cid"; };\ndan: {\nfriend = "eve"; }; };'
        code, lines = self.check(self.document(probe=people + ' needs =\n"other"; greeting = "red";'))
        self.assertEqual((code, lines), (1, [
            "a.cfg:8: 'probe.people.bob.friend' is \"cid\", expected one of the people",
            "a.cfg:10: 'probe.people.dan.friend' is \"eve\", expected one of the people",
            "a.cfg:10: 'probe.needs' is a service that is not enabled",
            "a.cfg:4: 'probe.colour' is the same as 'probe.greeting', expected another"]))  # left out: its section's line
        # Together with what the core finds; not before every option can be read; not of a section that is not there.
        wrong = {"tokens": 'a: { sha256 = "00"; role = "reader"; };', "probe": 'needs = "other";'}
        self.assertEqual(len(self.check(self.document(**wrong))[1]), 2)
        self.assertEqual(len(self.check(self.document(log="level = 1;", **wrong))[1]), 1)
        self.assertEqual(self.check(self.document(probe='needs = "probe";')), (0, ["a.cfg: ok"]))
        self.assertEqual(self.check(self.document(probe=None)), (0, ["a.cfg: ok"]))
        # Also of a service that no process runs.
        code, lines = self.check(self.document(processes="run: { main: { }; };", **wrong))
        self.assertEqual((code, len(lines)), (1, 2), lines)

    def test_chosen_capabilities(self):
        plugins = 'directory = "%s"; enabled = [ "service/probe", "balancer/probe" ];' % PLUGINS
        cases = [
            ('\na: {\nbalancer = "prob"; };', "a.cfg:6: 'probe.pickers.a.balancer' is \"prob\", but no enabled plugin "
             "provides balancer/prob; did you mean 'probe'?"),
            ('\na: { balancer: {\npoints = 0; }; };',
             "a.cfg:6: 'probe.pickers.a.balancer.points' is 0, expected an integer from 1 to 100"),
            ('\na: { balancer: { name = "probe";\npoint = 0; }; };',
             "a.cfg:6: unknown option 'point' in 'probe.pickers.a.balancer'; did you mean 'points'?"),
            ('\na: { balancer: {\nspare = 1; }; };',
             "a.cfg:6: the picker's 'spare' is too much, expected less than 'points'"),
        ]
        for text, expected in cases:
            self.assertEqual(self.check(self.document(plugins=plugins, probe="pickers: { %s };" % text)), (1, [expected]))
        self.assertEqual(self.check(self.document(plugins=plugins, probe="pickers: { a: { balancer: { points = 2; }; }; };")),
                         (0, ["a.cfg: ok"]))

    def test_all_problems_at_once(self):
        code, lines = self.check(self.document(node="name = 3;", probe="greeting = 5;", log="level = 1;", zzz=""))
        self.assertEqual((code, len(lines)), (1, 4), lines)
        code, lines = self.check(self.document(node="name = 3;", log="level = 1;", plugins='enabled = [ "a/b", "c" ];'))
        self.assertEqual((code, len(lines)), (1, 4), lines)


if __name__ == "__main__":
    unittest.main(argv=[__file__])
