#!/usr/bin/env python3
"""Plugins that cannot be used, in the plugin folder of a real node: nothing happens while they are not enabled; enabled,
they are refused by --check, at the start and at a reload, with a line that says what to do.

  test_plugins.py BINARIES PLUGINS SAMPLES"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from cluster import Cluster

# Which sample is in the folder under which name, what is said of it, and whether its code may have run.
BAD = {
    "replication/other": ("other_major", "was built against interface 2.0, this host has 1.0; install a build for it"),
    "replication/newer": ("newer_minor", "needs interface 1.9 or newer, this host has 1.0; upgrade Holdfast"),
    "replication/fails": ("fail_load", "failed to load: the sample was told to fail"),
    "replication/text": (None, "not an ELF file"),
    "replication/absent": (None, "cannot find plugin"),
}


def main():
    binaries, plugins, samples = (os.path.abspath(folder) for folder in sys.argv[1:4])
    directory = tempfile.mkdtemp(prefix="holdfast-plugins-")
    folder = os.path.join(directory, "plugins")
    shutil.copytree(plugins, folder)
    for name, (sample, _) in BAD.items():
        path = os.path.join(folder, "holdfast-%s.so" % name.replace("/", "-"))
        if sample:
            shutil.copy(os.path.join(samples, sample + ".so"), path)
        elif name != "replication/absent":
            with open(path, "w") as file:
                file.write("This is no plugin.\n")
    cluster = Cluster(directory, binaries, folder, "tables: { t: { }; }", count=1)
    node = cluster.nodes[0]
    path = os.path.join(node.directory, "holdfast.cfg")
    with open(path) as file:
        good = file.read()

    def enable(name):
        text = good.replace('"engine/rocksdb"', '"engine/rocksdb", "%s"' % name) if name else good
        assert not name or text != good
        with open(path, "w") as file:
            file.write(text)

    def check():
        done = subprocess.run([node.holdfastd, "--config", path, "--check"], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def write():
        status, text, _ = node.request("PUT", "/v1/tables/t/records/k", "{}")
        assert status == 200, text

    try:
        # In the folder and not enabled.
        code, text = check()
        assert code == 0, text
        cluster.start("t")
        write()
        for name, (_, words) in BAD.items():
            assert words not in node.log() and name not in node.log(), node.log()
        for name, (_, words) in BAD.items():
            enable(name)
            code, text = check()
            lines = [line for line in text.splitlines() if words in line]
            assert code == 1 and len(lines) == 1, (name, code, text)
            assert "holdfast.cfg:" in lines[0] and "holdfast-%s.so" % name.replace("/", "-") in lines[0], lines
            # A running node stays as it is.
            before = len(node.log())
            node.process.send_signal(signal.SIGHUP)
            cluster.wait(lambda: words in node.log()[before:], "the reload to refuse %s" % name)
            write()
        enable(None)
        assert node.stop() == 0, node.log()[-2000:]
        for name, (_, words) in BAD.items():
            enable(name)
            before = len(node.log())
            node.start(wait=False)
            assert node.process.wait(60) == 1, name
            assert words in node.log()[before:], (name, node.log()[before:])
        enable(None)
        node.start()
        cluster.wait(lambda: node.request("GET", "/v1/tables/t/records/k")[0] == 200, "the record that was written")
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
