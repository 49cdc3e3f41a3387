#!/usr/bin/env python3
"""Requests that cannot be right, and transactions that end half-way: each has its answer, on real nodes, also after
failovers and restarts.

  test_bad_input.py BINARIES PLUGINS [CASE...]"""
import http.client
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

STORE = """
  write_timeout = "3s"; read_timeout = "3s";
  tables: {
    items: { partition_by = "region"; values = [ "eu", "us" ]; };
    blobs: { hash_ranges = 8; };
  };
"""
# Records are free again this long after whoever had a part in their transaction is gone: a second, and what the requests
# that find out take.  On a machine that does much besides it may take longer, which a good one of several turns does not.
FREE_AGAIN = 1.5
FREE_AGAIN_BUSY = 6


def path(table, key, **query):
    text = "/v1/tables/%s/records/%s" % (table, urllib.parse.quote(key, safe=""))
    return text + ("?" + urllib.parse.urlencode(query) if query else "")


def item(region="eu", **more):
    return json.dumps(dict(region=region, **more))


class Case:
    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = cluster.nodes

    def alive(self):
        return [node for node in self.nodes if node.alive]

    def ask(self, method, target, body=None, headers={}, deadline=20):
        """Through any node, until the answer is not that it is busy or electing."""
        until = time.monotonic() + deadline
        turn = 0
        while True:
            node = self.alive()[turn % len(self.alive())]
            turn += 1
            try:
                status, text, _ = node.request(method, target, body, headers)
                if status != 503:
                    return status, json.loads(text) if text else None
            except OSError:
                pass
            assert time.monotonic() < until, "no answer to %s %s" % (method, target)
            time.sleep(0.05)

    def partitions(self, table):
        return self.ask("GET", "/v1/tables/%s/partitions" % table)[1]["partitions"]

    def settled_partitions(self, table):
        """Once replicas are where they should be: while they move, other nodes than these may be a majority."""
        def settled():
            plan = self.ask("GET", "/v1/plan")[1]
            return not plan["moves"] and not plan["moving"]
        Cluster.wait(settled, "replicas to be where they should be")
        return self.partitions(table)

    def led(self, table):
        """The partitions with their leaders: each node knows of its own replicas."""
        found = {}
        for node in self.nodes:
            if node.alive:
                for p in node.json("GET", "/v1/tables/%s/partitions" % table)[1]["partitions"]:
                    if p["id"] not in found or not found[p["id"]]["leader"]:
                        found[p["id"]] = p
        return list(found.values())

    def leaders(self, table, value=None):
        """The nodes that lead its partitions, once all of them are led."""
        found = []

        def known():
            found[:] = [p["leader"] for p in self.led(table) if value in (None, p["value"])]
            return all(found)
        Cluster.wait(known, "leaders of " + table)
        return [self.node(name) for name in sorted(set(found))]

    def node(self, name):
        return next(node for node in self.nodes if node.name == name)

    def refused(self, answer, status, problem, **members):
        got, document = answer
        assert got == status and document["type"] == "urn:holdfast:problem:" + problem, answer
        assert document["detail"] and document["retry"] == "no", document
        for name, value in members.items():
            assert document[name] == value, (name, document)

    # ---- Idempotency keys -------------------------------------------------------------------------------------------

    def test_keys_with_another_body(self):
        eu, us = json.loads(item("eu")), json.loads(item("us"))
        batch = {"operations": [{"op": "put", "key": "b1", "value": eu}, {"op": "put", "key": "b2", "value": eu}]}
        both = {"operations": [{"table": "items", "op": "put", "key": "t1", "value": eu},
                               {"table": "items", "op": "put", "key": "t2", "value": us}]}
        other_batch = {"operations": batch["operations"][:1]}
        other_both = {"operations": both["operations"][:1] + [dict(both["operations"][1], key="t3")]}
        rows = [  # key, request, the answer's version, the same key with something else
            ("put", ("PUT", path("items", "p1"), item(n=1)), lambda a: a["version"], ("PUT", path("items", "p1"), item(n=2))),
            ("another", ("PUT", path("items", "p2"), item(n=1)), lambda a: a["version"], ("PUT", path("items", "p3"), item(n=1))),
            ("condition", ("PUT", path("items", "p4"), item(n=1)), lambda a: a["version"],
             ("DELETE", path("items", "p4", partition="eu"), None)),
            ("batch", ("POST", "/v1/tables/items/batch", json.dumps(batch)), lambda a: a["version"],
             ("POST", "/v1/tables/items/batch", json.dumps(other_batch))),
            ("mixed", ("POST", "/v1/tables/items/batch", json.dumps(batch)), lambda a: a["version"],
             ("PUT", path("items", "b1"), item())),
            ("both", ("POST", "/v1/transactions", json.dumps(both)),
             lambda a: min((p["partition_id"], p["version"]) for p in a["partitions"] if "version" in p),
             ("POST", "/v1/transactions", json.dumps(other_both))),
        ]
        first = {}
        for key, request, version, _ in rows:
            status, answer = self.ask(*request, {"Idempotency-Key": key})
            assert status == 200, (key, answer)
            first[key] = version(answer)

        def all_as_before(when):
            for key, request, version, other in rows:
                status, answer = self.ask(*request, {"Idempotency-Key": key})
                assert status == 200 and version(answer) == first[key], (when, key, answer, first[key])
                self.refused(self.ask(*other, {"Idempotency-Key": key}), 422, "unprocessable")
            assert self.ask("GET", path("items", "p1"))[1]["n"] == 1
            assert self.ask("GET", path("items", "p3"))[0] == 404 and self.ask("GET", path("items", "t3"))[0] == 404
            assert self.ask("GET", path("items", "p4"))[0] == 200

        all_as_before("at once")
        for node in self.leaders("items"):
            node.kill()
            all_as_before("after %s, which led, was killed" % node.name)
            node.start()
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()
        all_as_before("after all were killed")

    # ---- Versions ---------------------------------------------------------------------------------------------------

    def test_versions_from_the_future(self):
        far = 1 << 62
        version = self.ask("PUT", path("items", "now"), item())[1]["version"]
        new = json.loads(item(n=2))
        for turn in range(2):
            self.refused(self.ask("PUT", path("items", "now"), item(n=2), {"If-Match": '"%d"' % far}), 412,
                         "precondition-failed", version=version)
            self.refused(self.ask("PUT", path("items", "never"), item(n=2), {"If-Match": '"%d"' % far}), 412,
                         "precondition-failed", version=0)
            self.refused(self.ask("DELETE", path("items", "now", partition="eu"), None, {"If-Match": '"%d"' % far}),
                         412, "precondition-failed", version=version)
            for op in ({"op": "put", "value": new}, {"op": "delete"}, {"op": "check"}):
                late = dict(op, key="now", if_version=far, partition="eu")
                early = {"op": "put", "key": "with", "value": new}
                batch = {"operations": [early, {k: v for k, v in late.items() if k != "partition"}], "partition": "eu"}
                self.refused(self.ask("POST", "/v1/tables/items/batch", json.dumps(batch)), 412,
                             "precondition-failed", version=version, operation=1)
                both = {"operations": [dict(early, table="items"), dict(late, table="items"),
                                       {"table": "items", "op": "put", "key": "far", "value": json.loads(item("us"))}]}
                self.refused(self.ask("POST", "/v1/transactions", json.dumps(both)), 412,
                             "precondition-failed", version=version, operation=1)
            assert self.ask("GET", path("items", "with"))[0] == 404 and self.ask("GET", path("items", "far"))[0] == 404
            if turn == 0:  # the next leader knows it, too
                self.leaders("items", "eu")[0].kill()
                self.ask("GET", path("items", "now"))
        for node in self.nodes:
            if not node.alive:
                node.start()

    # ---- Cursors ----------------------------------------------------------------------------------------------------

    def test_cursors_of_other_scans(self):
        for i in range(6):
            assert self.ask("PUT", path("items", "c/%d" % i), item())[0] == 200
            assert self.ask("PUT", path("blobs", "c/%d" % i), "{}")[0] == 200
        scan = {"prefix": "c/", "partition": "eu", "limit": 2}

        def page(table, **query):
            return self.ask("GET", "/v1/tables/%s/records?%s" % (table, urllib.parse.urlencode(query)))
        cursor = page("items", **scan)[1]["next"]
        assert [r["key"] for r in page("items", **scan, start=cursor)[1]["records"]] == ["c/2", "c/3"]
        middle = cursor[:len(cursor) // 2]
        for table, query in (("blobs", {"prefix": "c/"}), ("items", dict(scan, prefix="c")), ("items", dict(scan, partition="us")),
                             ("items", {"prefix": "c/"})):
            self.refused(page(table, **dict(query, start=cursor)), 400, "bad-request")
        for broken in (cursor[:-1], cursor + "A", middle, "~", middle + ("A" if cursor[len(middle)] != "A" else "B") +
                       cursor[len(middle) + 1:]):
            self.refused(page("items", **dict(scan, start=broken)), 400, "bad-request")
        other = self.partitions("blobs")[0]["id"]  # places in the change feed are of a table, too
        self.refused(self.ask("GET", "/v1/tables/items/changes?from=%d:1" % other), 422, "unprocessable")
        for broken in ("x", "7", "7:", ":1", "7:x", "-1:1"):
            self.refused(self.ask("GET", "/v1/tables/items/changes?" + urllib.parse.urlencode({"from": broken})), 400, "bad-request")

    # ---- A catalog without majority ---------------------------------------------------------------------------------

    def test_a_catalog_without_majority(self):
        """It is on all nodes.  What needs it is refused and says why; records go on where they can."""
        partitions = self.settled_partitions("blobs")
        keys = self.keys_of({p["id"] for p in partitions})
        stay = {replica["node"] for replica in partitions[0]["replicas"][:2]}
        left = [keys[p["id"]] for p in partitions if stay <= {replica["node"] for replica in p["replicas"]}]
        away = [node for node in self.nodes if node.name not in stay]
        assert len(away) == 3
        for node in away:
            node.kill()
        try:
            asked = self.alive()[-1]

            def is_leaderless(node):  # until the leader has stepped down, the outcome of a change would not be known
                status, problem = node.json("GET", "/v1/tables/new/records/x")  # another node may know the table
                return status == 503 and problem["retry"] == "later" and "the catalog has no leader" in problem["detail"]
            Cluster.wait(lambda: all(is_leaderless(node) for node in self.alive()), "the catalog to be without leader")
            assert any("the catalog" in text for text in asked.json("GET", "/v1/cluster")[1]["problems"])
            for method, target, body in (("PUT", "/v1/tables/new", "{}"), ("POST", "/v1/nodes/n4/drain", None)):
                status, problem = asked.json(method, target, body)
                assert status == 503 and problem["retry"] == "later", (target, status, problem)
                assert "the catalog has no leader" in problem["detail"], problem
            for key in left:
                assert self.ask("PUT", path("blobs", key), '{"n":3}')[0] == 200
                assert self.ask("GET", path("blobs", key))[1] == {"n": 3}
        finally:
            for node in away:
                node.start()
        assert self.ask("PUT", "/v1/tables/new", "{}")[0] in (200, 201)
        assert self.ask("PUT", path("new", "x"), "{}")[0] == 200

    # ---- Transactions that end half-way -----------------------------------------------------------------------------

    def keys_of(self, partitions):
        """A key of "blobs" for each partition."""
        keys = {}
        i = 0
        while len(keys) < len(partitions):
            key = "k%d" % i
            i += 1
            assert self.ask("PUT", path("blobs", key), '{"n":0}')[0] == 200
            found = self.ask("GET", "/v1/tables/blobs/records?" + urllib.parse.urlencode({"prefix": key, "limit": 1}))
            partition = self.partition_of(key)
            keys.setdefault(partition, key)
            assert found[0] == 200
        return keys

    def partition_of(self, key):
        """By what a transaction of this one record answers."""
        one = {"operations": [{"table": "blobs", "op": "put", "key": key, "value": {"n": 0}}]}
        status, answer = self.ask("POST", "/v1/transactions", json.dumps(one))
        assert status == 200, answer
        return answer["partitions"][0]["partition_id"]

    def time_until_free(self, keys):
        """How long until all of the records can be read and written."""
        began = time.monotonic()
        for key in keys:
            self.ask("GET", path("blobs", key))
            assert self.ask("PUT", path("blobs", key), '{"n":2}')[0] == 200
        return time.monotonic() - began

    def test_a_participant_without_majority(self):
        """Nodes are stopped so that one partition has no majority and another one has."""
        partitions = self.settled_partitions("blobs")
        members = {p["id"]: {replica["node"] for replica in p["replicas"]} for p in partitions}
        catalog = {node.name for node in self.nodes[:3]}  # at most one of them may go
        pair = next(((dead, alive, set(away)) for dead in members for alive in members
                     for away in [(a, b) for a in sorted(members[dead]) for b in sorted(members[dead]) if a < b]
                     if len(members[alive] & set(away)) <= 1 and len(catalog & set(away)) <= 1), None)
        assert pair, members
        dead, alive, away = pair
        keys = self.keys_of(members)
        for name in away:
            self.node(name).kill()
        assert self.time_until_free([keys[alive]]) < 20  # an election
        both = {"operations": [{"table": "blobs", "op": "put", "key": keys[p], "value": {"n": 1}} for p in (dead, alive)]}
        answers = []

        def transact():
            began = time.monotonic()
            answer = self.alive()[0].json("POST", "/v1/transactions", json.dumps(both), {"Idempotency-Key": "half"})
            answers.append((answer, time.monotonic() - began))
        thread = threading.Thread(target=transact)
        thread.start()
        longest = 0
        while thread.is_alive():
            longest = max(longest, self.time_until_free([keys[alive]]))
        thread.join()
        (status, problem), took = answers[0]
        print("        told after %.2f s: %d %s; others waited at most %.2f s" % (took, status, problem.get("detail"), longest))
        assert status == 503 and problem["retry"] == "later", problem
        assert problem["type"].rsplit(":", 1)[1] in ("no-leader", "busy") and "nothing was done" in problem["detail"], problem
        assert took < 3 + 6 and longest < FREE_AGAIN_BUSY, (took, longest)
        assert min(self.time_until_free([keys[alive]]) for _ in range(5)) < FREE_AGAIN
        for name in away:
            self.node(name).start()
        status, answer = self.ask("POST", "/v1/transactions", json.dumps(both), {"Idempotency-Key": "half"})
        assert status == 200 and not answer["repeated"], answer
        for p in (dead, alive):
            assert self.ask("GET", path("blobs", keys[p]))[1] == {"n": 1}

    def drain(self, node):
        """From now on it leads nothing and has no replica but the catalog's; it answers all the same."""
        status, answer = self.ask("POST", "/v1/nodes/%s/drain" % node.name)
        assert status == 202, answer
        Cluster.wait(lambda: b"\nholdfast_store_replicas 1\n" in node.request("GET", "/metrics")[1], node.name + " to be drained")

    def test_the_sender_dies(self):
        """A node that leads nothing carries transactions out, and is killed in the midst of them."""
        keys = list(self.keys_of({p["id"] for p in self.partitions("blobs")}).values())
        sender = self.nodes[-1]
        self.drain(sender)
        times = []
        for turn in range(3):
            senders = [Sender(sender, "sender-%d-%d" % (turn, number), keys) for number in range(4)]
            for thread in senders:
                thread.start()
            Cluster.wait(lambda: sum(thread.outcomes.count(200) for thread in senders) > 8 * (turn + 1), "transactions")
            sender.kill()
            began = time.monotonic()
            values = {json.dumps(self.ask("GET", path("blobs", key))[1]) for key in keys}
            assert len(values) == 1, values  # done everywhere, or nowhere
            self.time_until_free(keys)
            times.append(time.monotonic() - began)
            for thread in senders:
                thread.join()
            done = [self.check_outcomes(thread) for thread in senders]
            print("        killed after %d transactions; of those without an answer %d were done; free again after %.2f s" %
                  (sum(len(thread.outcomes) for thread in senders), sum(done), times[-1]))
            sender.start()
        assert min(times) < FREE_AGAIN and max(times) < FREE_AGAIN_BUSY, times

    def check_outcomes(self, thread):
        """Each transaction was done or not, all of it, and whoever repeats it at another node is told which."""
        done = 0
        for number, outcome in enumerate(thread.outcomes):
            there = self.ask("GET", path("blobs", thread.record(number)))[0] == 200
            assert there or outcome != 200, (thread.name, number)
            status, answer = self.ask("POST", "/v1/transactions", thread.body(number), {"Idempotency-Key": thread.record(number)})
            assert status == 200 and answer["repeated"] == there, (thread.record(number), outcome, there, answer)
            done += there and outcome is None
        return done


class Sender(threading.Thread):
    """Has one transaction after the other carried out by the node, until it is gone.  Each changes the same records, one
    in every partition, and makes one of its own."""

    def __init__(self, node, name, keys):
        super().__init__(name=name, daemon=True)
        self.node, self.keys = node, keys
        self.outcomes = []  # statuses; None: no answer

    def record(self, number):
        return "%s-%d" % (self.name, number)

    def body(self, number):
        put = {"table": "blobs", "op": "put", "value": {"by": self.record(number)}}
        return json.dumps({"operations": [dict(put, key=key) for key in [*self.keys, self.record(number)]]})

    def run(self):
        while self.outcomes[-1:] != [None]:
            number = len(self.outcomes)
            try:
                self.outcomes.append(self.node.json("POST", "/v1/transactions", self.body(number),
                                                    {"Idempotency-Key": self.record(number)})[0])
            except (OSError, http.client.HTTPException):
                self.outcomes.append(None)


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    directory = tempfile.mkdtemp(prefix="holdfast-bad-input-")
    cluster = Cluster(directory, binaries, plugins, STORE, count=5)
    failed = []
    try:
        cluster.start("items")
        case = Case(cluster)
        for name in sys.argv[3:] or [name for name in vars(Case) if name.startswith("test_")]:
            started = time.monotonic()
            try:
                getattr(case, name)()
                print("ok      %-35s %.1f s" % (name, time.monotonic() - started), flush=True)
            except Exception:  # pylint: disable=broad-except
                failed.append(name)
                traceback.print_exc()
                print("FAILED  %s" % name, flush=True)
                break
        codes = cluster.stop()
        if not failed and codes != [0] * len(codes):
            failed.append("exit codes %s" % codes)
    finally:
        cluster.kill()
        for node in cluster.nodes if failed else []:
            print("---- the end of %s's log\n%s" % (node.name, node.log()[-2000:]))
        shutil.rmtree(directory, ignore_errors=True)
    print("failed: %s" % ", ".join(failed) if failed else "all passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
