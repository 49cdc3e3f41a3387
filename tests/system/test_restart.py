#!/usr/bin/env python3
"""Every node of a cluster is restarted in place (SIGUSR2) while records are written through all of them: no connection is
refused, the nodes stay the processes that they are, find each other again, and have everything that was acknowledged.

  test_restart.py BINARIES PLUGINS"""
import http.client
import os
import shutil
import signal
import sys
import tempfile
import threading

from cluster import Cluster

DONE = "restarted: every process runs the present program"


class Writer(threading.Thread):
    """Writes one record after the other through one node."""

    def __init__(self, node):
        super().__init__()
        self.node = node
        self.over = threading.Event()
        self.written, self.refused = [], []

    def run(self):
        number = 0
        while not self.over.is_set():
            number += 1
            key = "%s-%d" % (self.node.name, number)
            try:
                if self.node.request("PUT", "/v1/tables/t/records/" + key, "{}")[0] == 200:
                    self.written.append(key)
            except ConnectionRefusedError as error:
                self.refused.append(error)
            except (OSError, http.client.HTTPException):
                pass # it was cut: accepted, and not asked yet when the process ended


def main():
    directory = tempfile.mkdtemp(prefix="holdfast-restart-")
    cluster = Cluster(directory, *(os.path.abspath(folder) for folder in sys.argv[1:3]), "tables: { t: { }; }")
    try:
        cluster.start("t")
        writers = [Writer(node) for node in cluster.nodes]
        for writer in writers:
            writer.start()
        try:
            for node in cluster.nodes:
                before = [len(writer.written) for writer in writers]
                os.kill(node.pid, signal.SIGUSR2)
                cluster.wait(lambda: DONE in node.log(), "node %s to be restarted" % node.name)
                cluster.wait(lambda: all(len(writer.written) > count + 10 for writer, count in zip(writers, before)),
                             "writes through all nodes")
                assert node.process.poll() is None, node.log()
        finally:
            for writer in writers:
                writer.over.set()
            for writer in writers:
                writer.join()
        for writer in writers:
            assert not writer.refused, writer.refused
            for key in writer.written:
                status, text, _ = cluster.nodes[0].request("GET", "/v1/tables/t/records/" + key)
                assert status == 200, (key, text)
        for node in cluster.nodes:
            assert node.stop() == 0, node.log()
        print("%d records written while all nodes were restarted" % sum(len(writer.written) for writer in writers))
    finally:
        for node in cluster.nodes:
            if node.alive:
                node.kill()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
