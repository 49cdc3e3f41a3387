"""What must hold when the faults are over: the cluster is well again by itself, all nodes answer the same, all replicas
have the same, and no process ended by itself."""
import glob
import json
import math
import os
import time

from linearizability import DELETE, READ, REPLACE, WRITE, Operation

from .clients import name_of

HEAL = 60.0 # seconds within which all is well again


def until(what, condition, seconds=HEAL):
    """The condition's value once it is true."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except OSError as error:
            value, last = None, error
        else:
            last = value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("%s: not within %.0f s (%s)" % (what, seconds, last))
        time.sleep(0.05)


def is_well(node):
    status, answer = node.json("GET", "/v1/cluster", timeout=5)
    return status == 200 and answer["state"] == "ok" and not answer["problems"]


def read(node, key):
    """(value,) or (None,) when the node has answered."""
    status, body, _ = node.request("GET", "/v1/tables/registers/records/" + key, timeout=5)
    assert status in (200, 404) or status >= 500, (status, body)
    if status == 200:
        return (name_of(body),)
    return (None,) if status == 404 else None


def read_all(cluster, histories, began):
    """The last word on each record, of each node."""
    for node in cluster.nodes:
        for key, operations in histories.items():
            operation = Operation("end-" + node.name, READ, time.monotonic() - began)
            operation.result, = until("%s to answer for %s" % (node.name, key), lambda: read(node, key))
            operation.returned = time.monotonic() - began
            operations.append(operation)


def replica_of(node):
    """All records as the node's own replicas have them, {key: (version, value)}."""
    records, start = {}, ""
    while True:
        status, answer = node.json("GET", "/v1/tables/registers/records?consistency=stale&limit=500" +
                                   ("&start=" + start if start else ""), timeout=10)
        if status != 200:
            raise OSError("%s answers a stale scan with %d: %s" % (node.name, status, answer))
        for record in answer["records"]:
            records[record["key"]] = record["version"], json.dumps(record.get("value", record.get("value_base64")))
        start = answer.get("next")
        if not start:
            return records


def differences(cluster):
    """Between what the nodes' replicas have; a replica that is behind catches up with time."""
    replicas = [(node.name, replica_of(node)) for node in cluster.nodes]
    name, first = replicas[0]
    for other, records in replicas[1:]:
        for key in sorted(set(first) | set(records)):
            if first.get(key) != records.get(key):
                return "%s: %s has %.80s, %s has %.80s" % (key, name, first.get(key), other, records.get(key))
    return None


def check_same(cluster):
    end = time.monotonic() + HEAL
    while True:
        try:
            found = differences(cluster)
        except OSError as error:
            found = str(error)
        if not found:
            return
        assert time.monotonic() < end, "replicas differ: " + found
        time.sleep(0.1)


def changes_of(node):
    """The change feed from its beginning, [(partition, version, type, key)]; within a partition in order."""
    status, body, _ = node.request("GET", "/v1/tables/registers/changes", timeout=60)
    if status != 200:
        raise OSError("%s answers the change feed with %d: %s" % (node.name, status, body[:200]))
    found, last = [], {}
    for line in body.splitlines():
        if not line:
            continue
        change = json.loads(line)
        assert change["version"] > last.get(change["partition"], 0), "the feed of %s goes back: %s" % (node.name, line)
        last[change["partition"]] = change["version"]
        found.append((change["partition"], change["version"], change["type"], change["key"]))
    return sorted(found)


def check_feed(cluster, histories):
    """Every write that was acknowledged is in the change feed, none is there twice, and all nodes tell the same."""
    first = None
    for node in cluster.nodes:
        changes = until("%s to tell the changes" % node.name, lambda: changes_of(node))
        assert first is None or changes == first, "the feed of %s differs: %s" % (
            node.name, sorted(set(changes) ^ set(first))[:10])
        first = changes
    count = {}
    for _, _, kind, key in first:
        count[kind, key] = count.get((kind, key), 0) + 1
    for key, operations in histories.items():
        for kind, kinds in (("put", (WRITE, REPLACE)), ("delete", (DELETE,))):
            writes = [o for o in operations if o.kind in kinds]
            done = sum(o.result is True for o in writes)
            perhaps = sum(o.returned == math.inf for o in writes)
            found = count.get((kind, key), 0)
            assert done <= found <= done + perhaps, "%s: %d of type %s were acknowledged, %d more may have been " \
                "done, and the feed has %d" % (key, done, kind, perhaps, found)


def deaths(node):
    """Of processes that nobody killed and that did not end in order: their reports."""
    found = []
    for path in glob.glob(os.path.join(node.directory, "data/reports/*.txt")):
        with open(path, errors="replace") as file:
            text = file.read()
        cause = text.split("\n\n")[0]
        if "signal 9" not in cause and "code 1" not in cause:
            found.append("%s:\n%s" % (path, text[:3000]))
    return found


def check_logs(node, excused):
    """Nobody has stopped on an error, but who had reason to."""
    died = deaths(node)
    assert not died, "a process of %s died by itself: %s" % (node.name, died[0])
    for line in node.log().splitlines():
        assert "Sanitizer" not in line and "runtime error" not in line, "%s: %s" % (node.name, line)
        assert excused or "this replica stops" not in line and "exited with code 1" not in line, \
            "%s: %s" % (node.name, line)


def check_end(cluster, histories, began, excused):
    for node in cluster.nodes:
        until("%s to be well" % node.name, lambda: is_well(node))
    read_all(cluster, histories, began)
    check_same(cluster)
    check_feed(cluster, histories)
    for node in cluster.nodes:
        check_logs(node, node in excused)
