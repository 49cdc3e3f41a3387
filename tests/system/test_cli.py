#!/usr/bin/env python3
"""The command line against three real nodes: every command, its output, and what it ends with.

  test_cli.py BINARIES PLUGINS"""
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from cluster import Cluster

STORE = 'tables: { items: { partition_by = "region"; values = [ "eu", "us" ]; }; };'
OK, FAILED, USAGE, NOT_FOUND, CONFLICT, UNAVAILABLE = range(6)


class Cli:
    def __init__(self, binaries, nodes):
        self.program = os.path.join(binaries, "holdfast")
        self.environment = dict(os.environ, HOLDFAST_NODE=nodes)

    def __call__(self, *arguments, code=OK, text=None, error=None, stdin=None):
        run = subprocess.run([self.program, *arguments], env=self.environment, capture_output=True, text=True, input=stdin)
        assert run.returncode == code, (arguments, run.returncode, run.stdout, run.stderr)
        assert text is None or re.search(text, run.stdout), (arguments, text, run.stdout)
        assert error is None or re.search(error, run.stderr), (arguments, error, run.stderr)
        return run.stdout


def check_usage(cli):
    cli("help", text="load +Writes every line")
    cli("get", "--help", text="holdfast get TABLE KEY")
    cli("help", "table", text="table create")
    cli("statsu", code=USAGE, error="did you mean 'status'")
    cli("table", "lits", code=USAGE, error="did you mean 'table list'")
    cli("get", "items", code=USAGE, error="usage: holdfast get")
    cli("scan", "items", "--limt", "3", code=USAGE, error="did you mean '--limit'")
    cli("scan", "items", "--limit", code=USAGE, error="needs a value")
    cli("--timeout", "x", "status", code=USAGE, error="expected 1 or more")
    cli("--node", "127.0.0.1:1", "status", code=UNAVAILABLE, error="no node could be reached")
    # The first node that can be reached answers.
    cli("--node", "127.0.0.1:1," + cli.environment["HOLDFAST_NODE"], "status", text="Nothing needs attention")
    for shell in ("bash", "zsh", "fish"):
        cli("completion", shell, text="holdfast")
    subprocess.run(["bash", "-n"], input=cli("completion", "bash"), text=True, check=True)
    cli("completion", "tcsh", code=USAGE)
    cli("manual", text=r"\.TH HOLDFAST")


def check_records(cli):
    cli("put", "items", "a/1", '{"region":"eu","n":1}', text="version [0-9]+")
    cli("get", "items", "a/1", text='"n":1')
    cli("put", "items", "a/2", "-", stdin='{"region":"us"}')
    cli("put", "items", "a/3", stdin='{"region":"us"}')
    cli("get", "items", "none", code=NOT_FOUND, error="no record")
    cli("get", "nowhere", "a", code=NOT_FOUND, error="no table")
    cli("put", "items", "a/1", '{"region":"eu"}', "--if-absent", code=CONFLICT)
    cli("put", "items", "a/1", '{"region":"eu"}', "--if-version", "1000", code=CONFLICT)
    cli("put", "items", "a/1", "{", code=FAILED, error="not JSON")
    version = json.loads(cli("--json", "put", "items", "a/1", '{"region":"eu","n":2}'))["version"]
    cli("put", "items", "a/1", '{"region":"eu","n":3}', "--if-version", str(version))
    lines = cli("scan", "items", "--prefix", "a/").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a/1", "a/2", "a/3"], lines
    assert len(cli("scan", "items", "--prefix", "a/", "--limit", "2").splitlines()) == 2
    record = json.loads(cli("--json", "scan", "items", "--prefix", "a/1").splitlines()[0])
    assert record["value"]["n"] == 3 and record["partition"] == "eu"
    cli("delete", "items", "a/2")
    cli("delete", "items", "a/2", code=NOT_FOUND)
    changes = [json.loads(line) for line in cli("changes", "items", "--partition", "us").splitlines()]
    assert [c["type"] for c in changes if c["key"] == "a/2"] == ["put", "delete"], changes


def check_load(cli, directory):
    path = os.path.join(directory, "lines.jsonl.gz")
    with gzip.open(path, "wt") as file:
        for i in range(5000):
            file.write(json.dumps({"region": ("eu", "us")[i % 2], "group": "g%d" % (i // 100), "n": i}) + "\n")
    cli("load", "items", path, "--key", "group,n", error="5000 records")
    first = cli("get", "items", "g49/004999", "--partition", "us")
    assert json.loads(first)["n"] == 4999
    changes = len(cli("changes", "items").splitlines())
    cli("load", "items", path, "--key", "group,n")  # nothing is written twice
    again = len(cli("changes", "items").splitlines())
    assert again == changes, (changes, again)
    path = os.path.join(directory, "bad.jsonl")
    with open(path, "w") as file:
        file.write('{"region":"eu","id":"x1"}\nnot json\n\n{"region":"mars","id":"x2"}\n{"region":"eu"}\n{"region":"us","id":"x3"}\n')
    run = subprocess.run([cli.program, "load", "items", path, "--key", "id"], env=cli.environment, capture_output=True, text=True)
    assert run.returncode == FAILED, run
    for line, why in ((2, ""), (4, "mars"), (5, "'id' is missing")):
        assert re.search(r"bad\.jsonl:%d: .*%s" % (line, why), run.stderr), (line, run.stderr)
    cli("get", "items", "x1")
    cli("get", "items", "x3")
    cli("load", "items", os.path.join(directory, "none"), "--key", "id", code=FAILED, error="cannot open")
    cli("load", "items", path, code=USAGE, error="--key")


def check_cluster(cli):
    cli("status", text="Nothing needs attention")
    assert json.loads(cli("--json", "status"))["state"] == "ok"
    cli("node", "list", text=r"n3 +up")
    cli("table", "create", "made", "--partition-by", "line", "--values", "a,b", "--hash-ranges", "2", text="made the table")
    cli("table", "create", "made", "--replicas", "1", code=CONFLICT, error="another declaration")
    cli("table", "create", "shaped", "--field", "n:integer,required,min=1", "--no-other-fields", text="made the table")
    cli("put", "shaped", "k", '{"n":0}', code=FAILED, error="the field 'n' is 0; expected an integer of at least 1")
    cli("put", "shaped", "k", '{"n":1}', text="version")
    cli("put", "shaped", "short", '{"n":1}', "--expire-after", "0", text="version")
    cli("put", "shaped", "short", '{"n":1}', "--expire-after", "315360001", code=FAILED, error="Holdfast-Expire-After")
    cli("table", "list", text=r"made +json +3 +2 +line")
    assert len(cli("table", "show", "made").splitlines()) == 5
    cli("table", "show", "nowhere", code=NOT_FOUND)


def check_operations(cli, plugins, configuration):
    cli("plugin", "list", text="engine/rocksdb")
    cli("plugin", "list", plugins, text="replication/raft")
    cli("plugin", "show", "engine/rocksdb", text="org.holdfast.engine.rocksdb")
    cli("plugin", "show", os.path.join(plugins, "holdfast-engine-memory.so"), text="org.holdfast.engine.memory")
    cli("plugin", "show", "engine/none", code=NOT_FOUND)
    cli("plugin", "show", configuration, code=FAILED)
    cli("policy", "list", text="remediation.on_signal")
    cli("policy", "reload", text="policies")
    cli("config", "check", configuration, text="ok")
    cli("config", "show", text="state_directory")
    cli("config", "reload", text="version")
    cli("config", "diff", configuration, text="the file says what is in force")
    assert json.loads(cli("--json", "config", "diff", configuration))["changes"] == []
    changed = configuration + ".new"
    with open(configuration) as old, open(changed, "w") as new:
        new.write(old.read() + 'log: { level = "debug"; };\n')
    cli("config", "diff", changed, text="log.level .*debug. +a reload")
    cli("action", "list", text="disk.trim_reports")
    cli("action", "run", "disk.trim_reports", '{"keep":1}', text="removed")
    cli("action", "run", "none", code=NOT_FOUND)
    cli("signals", text="no signals|SIGNAL")
    cli("audit", "--limit", "1", text="action.run")


def check_secrets(cli, directory):
    folder = os.path.join(directory, "ca")
    cli("ca", "init", folder, code=USAGE, error="--cluster")
    cli("ca", "init", folder, "--cluster", "x")
    cli("ca", "init", folder, "--cluster", "x", code=CONFLICT)
    cli("ca", "issue", folder, "n1", "--name", "127.0.0.1", "--name", "localhost")
    cli("ca", "issue", folder, "n1", code=CONFLICT)
    assert os.stat(os.path.join(folder, "n1.key")).st_mode & 0o077 == 0
    text = cli("token", "create", "app", "--role", "writer", "--tables", "a,b", text='tables = \\[ "a", "b" \\]')
    token = re.search(r"(hf_\S+)", text).group(1)
    assert hashlib.sha256(token.encode()).hexdigest() in text
    cli("token", "create", "app", "--role", "king", code=USAGE)


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    directory = tempfile.mkdtemp(prefix="holdfast-cli-")
    cluster = Cluster(directory, binaries, plugins, STORE)
    try:
        cluster.start("items")
        cli = Cli(binaries, ",".join(node.address for node in cluster.nodes))
        cluster.wait(lambda: json.loads(cli("--json", "status"))["state"] == "ok", "the cluster to be well")
        check_usage(cli)
        check_records(cli)
        check_load(cli, directory)
        check_cluster(cli)
        check_operations(cli, plugins, os.path.join(cluster.nodes[0].directory, "holdfast.cfg"))
        check_secrets(cli, directory)
        assert cluster.stop() == [0, 0, 0]
        print("passed")
    finally:
        cluster.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
