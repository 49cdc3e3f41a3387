#!/usr/bin/env python3
"""Policies that loop, take memory without end, fail or return nonsense, on a real node: the default is taken, a metric
counts it, the log has the traceback, and the node serves on; a policy that is mended decides again.

  test_policies.py BINARIES PLUGINS"""
import os
import re
import shutil
import signal
import sys
import tempfile

from cluster import Cluster

OVERRUN = "it ran for more than its|it took longer than its"  # instructions, or time on a slow machine

# The body of decide(signal); the outcome that is counted; what the log says; what its traceback has.
BAD = {
    "loops": ("local n = 0\n while true do\n n = n + 1\n end", "budget", OVERRUN, "bad.lua:"),
    "loops_protected": ("while true do\n pcall(function() while true do end end)\n end", "budget", OVERRUN, "bad.lua:"),
    "allocates": ("local t = {}\n while true do\n t[#t + 1] = string.rep('x', 65536) .. #t\n end", "budget", "bytes of memory|" + OVERRUN, "bytes of memory|bad.lua:"),
    "doubles": ("local s = 'x'\n while true do\n s = s .. s\n end", "budget", "bytes of memory|" + OVERRUN, "bytes of memory|bad.lua:"),
    "fails": ("local function deeper() error('the mistake of the policy') end\n deeper()", "error",
              "the mistake of the policy", "'deeper'"),
    "indexes_nil": ("return signal.nothing.at_all", "error", "attempt to index a nil value", "bad.lua:"),
    "recurses": ("local function f() return 1 + f() end\n return f()", "error|budget", "stack overflow|" + OVERRUN, "bad.lua:"),
    "returns_nonsense": ("return { action = print or decide, arguments = function() end }", "error", "a function cannot be passed on", "wish.arguments"),
}

POLICY = 'return { point = "remediation.on_signal", decide = function(signal)\n%s\nend }\n'
GOOD = ('return { action = "disk.trim_reports", arguments = { keep = 5, subject = signal.subject } }')
LITTLE = "low = 98.0; critical = 0.1; clear = 99.0;"  # every disk is too full for these limits
PLENTY = "low = 0.2; critical = 0.1; clear = 0.3;"
OUTCOMES = "holdfast_policy_decisions_total{point=\"remediation.on_signal\",outcome=\"%s\"}"


def write_policy(folder, body):
    path = os.path.join(folder, "bad.lua")
    with open(path + ".new", "w") as file:
        file.write(POLICY % body)
    os.replace(path + ".new", path)


def metric(node, series):
    text = node.request("GET", "/metrics")[1].decode()
    found = re.search(re.escape(series) + r" (\S+)", text)
    return float(found.group(1)) if found else 0


def set_up(directory, binaries, plugins, body):
    cluster = Cluster(directory, binaries, plugins, "tables: { t: { }; }", count=1, enabled=["detector/threshold"])
    node = cluster.nodes[0]
    os.makedirs(os.path.join(directory, "policies"))
    write_policy(os.path.join(directory, "policies"), body)
    with open(os.path.join(node.directory, "holdfast.cfg"), "a") as file:
        file.write('policies: { directory = "../policies"; };\n')
        file.write('operations: { action_interval = "0"; };\n')
        file.write('detector: { threshold: { %s samples = 1; interval = "100ms"; }; };\n' % LITTLE)
    reports = os.path.join(node.directory, "data", "reports")
    os.makedirs(reports)
    for i in range(10):
        with open(os.path.join(reports, "main-%03d.txt" % i), "w") as file:
            file.write("report")
    return cluster, node, reports


def failed_decisions(node):
    return [line for line in node.log().splitlines() if " lua: " in line]


def try_policy(binaries, plugins, name):
    body, outcomes, words, trace = BAD[name]
    directory = tempfile.mkdtemp(prefix="holdfast-policies-")
    cluster, node, reports = set_up(directory, binaries, plugins, body)
    try:
        cluster.start("t")
        cluster.wait(lambda: any(metric(node, OUTCOMES % outcome) >= 1 for outcome in outcomes.split("|")),
                     "the failure of the policy that %s to be counted" % name)
        cluster.wait(lambda: any(re.search(words, line) for line in failed_decisions(node)), "the log to have it")
        line = next(line for line in failed_decisions(node) if re.search(words, line))
        assert 'point="remediation.on_signal"' in line and "traceback=" in line, line
        assert re.search(trace, line[line.index("traceback="):]), line
        # The default: nothing is done.  The node serves.
        cluster.wait(lambda: node.request("PUT", "/v1/tables/t/records/k", "{}")[0] == 200, "a write")
        assert node.request("GET", "/v1/tables/t/records/k")[0] == 200
        assert len(os.listdir(reports)) == 10
        assert [s["name"] for s in node.json("GET", "/v1/admin/signals")[1]["signals"]] == ["disk.low"]
        assert not any(e["kind"] == "action.run" for e in node.json("GET", "/v1/admin/audit")[1]["entries"])
        assert metric(node, OUTCOMES % "ok") == 0
        # Mended, it decides at the next signal: there is room for a moment, and then there is not.
        write_policy(os.path.join(directory, "policies"), GOOD)
        assert node.json("POST", "/v1/admin/policies/reload", "")[0] == 200
        path = os.path.join(node.directory, "holdfast.cfg")
        with open(path) as file:
            text = file.read()
        for limits, signals in ((PLENTY, []), (LITTLE, ["disk.low"])):
            with open(path, "w") as file:
                file.write(text.replace(LITTLE, limits))
            node.process.send_signal(signal.SIGHUP)
            cluster.wait(lambda s=signals: [one["name"] for one in node.json("GET", "/v1/admin/signals")[1]["signals"]] == s,
                         "the signals %s" % signals)
        cluster.wait(lambda: len(os.listdir(reports)) == 5, "the action of the policy that was mended")
        cluster.wait(lambda: metric(node, OUTCOMES % "ok") >= 1, "its decision to be counted")
        assert node.stop() == 0, node.log()[-2000:]
    except BaseException:
        print(node.log()[-4000:])
        raise
    finally:
        cluster.kill()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    for name in sys.argv[3:] or BAD:
        try_policy(binaries, plugins, name)
        print("passed %s" % name, flush=True)


if __name__ == "__main__":
    main()
