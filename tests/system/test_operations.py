#!/usr/bin/env python3
"""The loop of intelligent operation on a real node: a detector sees little space, a policy decides, an action makes room,
and the audit log has it; the policy is reloaded while the node runs.

  test_operations.py BINARIES PLUGINS"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from cluster import Cluster


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    policies = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lua/remediation")
    directory = tempfile.mkdtemp(prefix="holdfast-operations-")
    cluster = Cluster(directory, binaries, plugins, "tables: { t: { }; }", count=1, enabled=["detector/threshold"])
    node = cluster.nodes[0]
    folder = os.path.join(directory, "policies")
    shutil.copytree(policies, folder)
    with open(os.path.join(node.directory, "holdfast.cfg"), "a") as file:
        file.write('policies: { directory = "../policies"; };\n')
        file.write('operations: { action_interval = "0"; };\n')
        # Every disk is too full for these limits.
        file.write('detector: { threshold: { low = 98.0; critical = 0.1; clear = 99.0; samples = 1; interval = "100ms"; }; };\n')
    reports = os.path.join(node.directory, "data", "reports")
    os.makedirs(reports)
    for i in range(30):
        path = os.path.join(reports, "main-%03d.txt" % i)
        with open(path, "w") as file:
            file.write("report")
        os.utime(path, (1000 + i, 1000 + i))
    try:
        node.start()
        cluster.wait(lambda: len(os.listdir(reports)) == 20, "the action to make room")
        assert sorted(os.listdir(reports))[0] == "main-010.txt"
        cluster.wait(lambda: any(e["kind"] == "action.run" for e in node.json("GET", "/v1/admin/audit")[1]["entries"]),
                     "the audit log to have the action")
        entries = node.json("GET", "/v1/admin/audit")[1]["entries"]
        run = next(entry for entry in entries if entry["kind"] == "action.run")
        assert run["actor"] == "policy" and run["detail"]["result"]["removed"] == 10, run
        signals = node.json("GET", "/v1/admin/signals")[1]["signals"]
        assert [s["name"] for s in signals] == ["disk.low"], signals
        assert signals[0]["detail"]["free_percent"] < 98
        points = node.json("GET", "/v1/admin/policies")[1]["points"]
        assert any(p["name"] == "remediation.on_signal" and p["policy"].endswith("disk.lua") for p in points), points
        # A person does it, too.
        status, result = node.json("POST", "/v1/admin/actions/disk.trim_reports", json.dumps({"keep": 3}))
        assert status == 200 and result["removed"] == 17, result
        assert node.json("POST", "/v1/admin/actions/disk.trim_reports", json.dumps({"kep": 3}))[0] == 400
        assert node.json("POST", "/v1/admin/actions/no.such", "{}")[0] == 404
        # A policy that fails its tests is refused, and the old one stays.
        policy = os.path.join(folder, "disk.lua")
        with open(policy) as file:
            text = file.read()
        with open(policy, "w") as file:
            file.write(text.replace('["disk.low"] = 20', '["disk.low"] = 21'))
        status, problem = node.json("POST", "/v1/admin/policies/reload", "")
        assert status == 422 and "trims when the disk fills" in " ".join(problem["problems"]), problem
        with open(policy, "w") as file:
            file.write(text)
        assert node.json("POST", "/v1/admin/policies/reload", "")[0] == 200
        check = subprocess.run([os.path.join(binaries, "holdfast"), "--node", node.address, "policy", "test", policy],
                               capture_output=True, text=True)
        assert check.returncode == 0 and "3 passed" in check.stdout, check
        assert node.stop() == 0, node.log()[-2000:]
        print("passed")
    except BaseException:
        print(node.log()[-4000:])
        raise
    finally:
        cluster.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
