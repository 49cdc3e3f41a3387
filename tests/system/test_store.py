#!/usr/bin/env python3
"""The store as its users see it: three real nodes, their HTTP interface, kills, lost majorities, snapshots.

  test_store.py BINARIES PLUGINS [CASE...]"""
import base64
import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

from cluster import Cluster

STORE = """
  write_timeout = "4s"; read_timeout = "4s"; body_maximum = "1MiB"; cache_maximum = "64KiB";
  log: { segment_size = "4MiB"; size_maximum = "16MiB"; };
  tables: {
    items: { partition_by = "region"; values = [ "eu", "us", "cn" ]; value_maximum = "512KiB"; };
    blobs: { format = "bytes"; hash_ranges = 4; value_maximum = "512KiB"; };
    sessions: { format = "bytes"; expire_after = "2s"; };
    checked: {
      partition_by = "region"; values = [ "eu", "us" ]; other_fields = false;
      fields: {
        priority: { type = "integer"; min = 1; max = 5; required = true; };
        channel: { type = "string"; one_of = [ "chat", "mail" ]; };
        name: { type = "string"; min_length = 1; max_length = 3; };
      };
    };
  };
"""


def path(table, key, **query):
    text = "/v1/tables/%s/records/%s" % (table, urllib.parse.quote(key, safe=""))
    return text + ("?" + urllib.parse.urlencode(query) if query else "")


def item(region="eu", **more):
    return json.dumps(dict(region=region, **more))


class Case:
    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = cluster.nodes

    def check(self, node, method, target, status, body=None, headers={}, problem=None):
        got, text, fields = node.request(method, target, body, headers)
        assert got == status, "%s %s: %d %s, expected %d" % (method, target, got, text[:300], status)
        if problem:
            document = json.loads(text)
            assert document["type"] == "urn:holdfast:problem:" + problem, document
            assert document["detail"] and document["retry"] in ("no", "later", "elsewhere"), document
        return text, fields

    def put(self, node, key, value, table="items", status=200, headers={}, **query):
        text, _ = self.check(node, "PUT", path(table, key, **query), status, value, headers)
        return json.loads(text).get("version")

    def leaders(self, table="items", node=None):
        partitions = (node or self.nodes[0]).json("GET", "/v1/tables/%s/partitions" % table)[1]["partitions"]
        return {p["value"] or p["hash_from"]: p["leader"] for p in partitions}

    # ---- Records ----------------------------------------------------------------------------------------------------

    def test_records(self):
        one, two, three = self.nodes
        version = self.put(one, "a/b c", item(n=1))
        text, fields = self.check(two, "GET", path("items", "a/b c"), 200)
        assert json.loads(text) == {"region": "eu", "n": 1}
        assert fields["ETag"] == '"%d"' % version and fields["Holdfast-Partition"] == "eu", fields
        assert len(fields["Holdfast-Trace"]) == 32
        newer = self.put(three, "a/b c", item(n=2), headers={"If-Match": '"%d"' % version})
        assert newer > version
        text, _ = self.check(two, "PUT", path("items", "a/b c"), 412, item(n=3), {"If-Match": '"%d"' % version},
                             "precondition-failed")
        assert json.loads(text)["version"] == newer
        self.check(two, "PUT", path("items", "a/b c"), 412, item(n=3), {"If-None-Match": "*"}, "precondition-failed")
        self.put(one, "fresh", item(), headers={"If-None-Match": "*"})
        self.check(one, "PUT", path("items", "never"), 412, item(), {"If-Match": "*"}, "precondition-failed")
        self.check(one, "DELETE", path("items", "a/b c"), 412, None, {"If-Match": '"1"'}, "precondition-failed")
        self.check(two, "DELETE", path("items", "a/b c"), 200)
        self.check(one, "GET", path("items", "a/b c"), 404, problem="not-found")
        self.check(three, "DELETE", path("items", "a/b c"), 404, problem="not-found")
        self.check(three, "DELETE", path("items", "a/b c", partition="eu"), 404, problem="not-found")

    def test_odd_keys(self):
        keys = ("a/b", "\x01\x00", "\u4f60\u597d", " ", "%2F", "~abc.1", "\U0001f600" * 200, '"quoted"\\')
        for key in keys:
            self.put(self.nodes[0], "odd" + key, item(n=1))
            self.check(self.nodes[1], "GET", path("items", "odd" + key), 200)
            _, page = self.nodes[2].json("GET", "/v1/tables/items/records?" + urllib.parse.urlencode({"prefix": "odd" + key}))
            assert [r["key"] for r in page["records"]] == ["odd" + key], page
        self.put(self.nodes[0], "~a", item())
        _, page = self.nodes[1].json("GET", "/v1/tables/items/records?" + urllib.parse.urlencode({"start": "~~a", "limit": 1}))
        assert [r["key"] for r in page["records"]] == ["~a"], page
        for key in keys:
            self.check(self.nodes[2], "DELETE", path("items", "odd" + key), 200)
        self.check(self.nodes[2], "DELETE", path("items", "~a"), 200)

    def test_repeats_write_once(self):
        key = {"Idempotency-Key": "r-%d" % random.getrandbits(60)}
        first = self.put(self.nodes[0], "repeat", item(n=1), headers=key)
        self.put(self.nodes[1], "repeat", item(n=2))
        assert self.put(self.nodes[2], "repeat", item(n=1), headers=key) == first
        text, _ = self.check(self.nodes[0], "GET", path("items", "repeat"), 200)
        assert json.loads(text)["n"] == 2

    def test_partitions(self):
        one, two, _ = self.nodes
        self.put(one, "both", item("eu"))
        self.put(one, "both", item("us"))
        self.check(two, "GET", path("items", "both"), 409, problem="conflict")
        self.check(two, "DELETE", path("items", "both"), 409, problem="conflict")
        text, _ = self.check(two, "GET", path("items", "both", partition="us"), 200)
        assert json.loads(text)["region"] == "us"
        self.check(two, "DELETE", path("items", "both", partition="us"), 200)
        self.check(two, "GET", path("items", "both"), 200)
        self.check(one, "PUT", path("items", "x"), 422, item("mars"), problem="unprocessable")
        self.check(one, "PUT", path("items", "x"), 422, json.dumps({"n": 1}), problem="unprocessable")
        self.check(one, "GET", path("items", "x", partition="mars"), 422, problem="unprocessable")

    def test_bytes(self):
        value = bytes(range(256)) * 1000
        for i in range(20):
            self.put(self.nodes[i % 3], "blob-%d" % i, value + bytes([i]), "blobs")
        for i in range(20):
            text, _ = self.check(self.nodes[(i + 1) % 3], "GET", path("blobs", "blob-%d" % i), 200)
            assert text == value + bytes([i])
        page = self.nodes[0].json("GET", "/v1/tables/blobs/records?limit=3")[1]
        assert len(page["records"]) == 3 and base64.b64decode(page["records"][0]["value_base64"]).startswith(value)

    def test_scans(self):
        for i in range(60):
            self.put(self.nodes[i % 3], "scan/%03d" % i, item(("eu", "us", "cn")[i % 3], n=i))
        for limit in (1, 7, 59, 60, 100):
            found, start = [], ""
            while True:
                query = {"prefix": "scan/", "limit": limit, **({"start": start} if start else {})}
                _, page = self.nodes[limit % 3].json("GET", "/v1/tables/items/records?" + urllib.parse.urlencode(query))
                assert len(page["records"]) <= limit
                found += [record["key"] for record in page["records"]]
                start = page.get("next")
                if not start:
                    break
            assert found == ["scan/%03d" % i for i in range(60)], (limit, found)
        _, page = self.nodes[0].json("GET", "/v1/tables/items/records?prefix=scan/&start=scan/05&partition=us")
        assert [r["key"] for r in page["records"]] == ["scan/052", "scan/055", "scan/058"], page

    def test_batches(self):
        one, two, _ = self.nodes
        batch = {"operations": [{"op": "put", "key": "batch/%d" % i, "value": {"region": "us", "n": i}} for i in range(50)]}
        text, _ = self.check(one, "POST", "/v1/tables/items/batch", 200, json.dumps(batch))
        version = json.loads(text)["version"]
        text, fields = self.check(two, "GET", path("items", "batch/49"), 200)
        assert fields["ETag"] == '"%d"' % version
        # One condition that does not hold: nothing is done.
        bad = {"partition": "us", "operations": [{"op": "delete", "key": "batch/0"},
                                                 {"op": "put", "key": "batch/1", "value": {"region": "us"}, "if_absent": True}]}
        text, _ = self.check(one, "POST", "/v1/tables/items/batch", 412, json.dumps(bad), problem="precondition-failed")
        assert json.loads(text)["operation"] == 1
        self.check(two, "GET", path("items", "batch/0"), 200)
        mixed = {"operations": [{"op": "put", "key": "m", "value": {"region": r}} for r in ("eu", "us")]}
        self.check(one, "POST", "/v1/tables/items/batch", 422, json.dumps(mixed), problem="unprocessable")

    # ---- Bad input --------------------------------------------------------------------------------------------------

    def test_bad_input(self):
        for i in range(3):
            self.put(self.nodes[0], "bad/%d" % i, item())
        page = self.nodes[0].json("GET", "/v1/tables/items/records?prefix=bad/&limit=1")[1]
        cursor = urllib.parse.urlencode({"start": page["next"]})
        page = self.nodes[1].json("GET", "/v1/tables/items/records?prefix=bad/&limit=7&" + cursor)[1]
        assert [record["key"] for record in page["records"]] == ["bad/1", "bad/2"], page
        blobs = self.nodes[0].json("GET", "/v1/tables/blobs/partitions")[1]["partitions"][0]["id"]
        rows = [
            ("GET", path("nowhere", "a"), None, {}, 404),
            ("PUT", path("items", "a"), "{", {}, 400),
            ("PUT", path("items", "a"), '{"region":"eu"} x', {}, 400),
            ("PUT", path("items", "a"), b'{"region":"\xff"}', {}, 400),
            ("PUT", path("items", "a"), "", {}, 400),
            ("PUT", path("items", "a"), item(), {"If-Match": "abc"}, 400),
            ("PUT", path("items", "a"), item(), {"If-None-Match": "1"}, 400),
            ("PUT", path("items", "a"), item(), {"If-None-Match": "*", "If-Match": "*"}, 400),
            ("PUT", path("items", "a"), item(), {"Idempotency-Key": "x" * 65}, 400),
            ("PUT", path("items", "a" * 1025), item(), {}, 413),
            ("PUT", path("items", "a"), item(text="x" * (512 << 10)), {}, 413),
            ("PUT", path("items", "a"), b"x" * (2 << 20), {}, 413),
            ("PUT", "/v1/tables/items/records/%ff", item(), {}, 400),
            ("PUT", "/v1/tables/items/records/%zz", item(), {}, 400),
            ("PUT", "/v1/tables/items/records/", item(), {}, 404),
            ("PUT", path("_catalog", "tables/x"), "{}", {}, 403),
            ("GET", "/v1/tables/items/records?limit=0", None, {}, 400),
            ("GET", "/v1/tables/items/records?limit=-1", None, {}, 400),
            ("GET", "/v1/tables/items/records?limit=1e3", None, {}, 400),
            ("GET", "/v1/tables/items/records?partition=mars", None, {}, 422),
            ("GET", "/v1/tables/items/changes?from=1", None, {}, 400),
            ("GET", "/v1/tables/items/changes?from=1:x", None, {}, 400),
            ("GET", "/v1/tables/items/changes?partition=mars", None, {}, 422),
            ("GET", "/v1/tables/items/changes?from=1:1", None, {}, 422),
            ("GET", "/v1/tables/items/changes?from=%d:1" % blobs, None, {}, 422),
            ("GET", "/v1/tables/items/changes?from=2:1,2:1", None, {}, 400),
            ("GET", "/v1/tables/blobs/records?" + cursor, None, {}, 400),
            ("GET", "/v1/tables/items/records?prefix=&" + cursor, None, {}, 400),
            ("GET", "/v1/tables/items/records?prefix=bad/&partition=eu&" + cursor, None, {}, 400),
            ("GET", "/v1/tables/items/records?prefix=bad/&" + cursor[:-1], None, {}, 400),
            ("GET", "/v1/tables/items/records?prefix=bad/&start=~", None, {}, 400),
            ("GET", "/v1/tables/items/records?start=" + "a" * 1025, None, {}, 413),
            ("PUT", path("items", "bad/1"), item(), {"If-Match": '"%d"' % (1 << 62)}, 412),
            ("PUT", path("items", "none"), item(), {"If-Match": '"%d"' % (1 << 62)}, 412),
            ("PUT", path("items", "bad/1"), item(), {"If-Match": '"0"'}, 400),
            ("POST", "/v1/tables/items/batch", '{"operations":[{"op":"delete","key":"bad/1","if_version":%d}],"partition":"eu"}'
             % (1 << 62), {}, 412),
            ("POST", "/v1/tables/items/batch", "[]", {}, 400),
            ("POST", "/v1/tables/items/batch", '{"operations":[]}', {}, 400),
            ("POST", "/v1/tables/items/batch", '{"operations":[{"op":"put","key":"a"}]}', {}, 400),
            ("POST", "/v1/tables/items/batch", '{"operations":[{"op":"jump","key":"a"}]}', {}, 400),
            ("POST", "/v1/tables/items/batch", '{"operations":[{"op":"put","key":"a","value_base64":"!"}]}', {}, 400),
            ("POST", "/v1/tables/items/batch", '{"operations":[{"op":"put","key":"a","value":{"region":"eu"}},'
             '{"op":"delete","key":"a"}],"partition":"eu"}', {}, 400),
            ("PATCH", path("items", "a"), item(), {}, 405),
            ("PUT", "/v1/tables/Bad", "{}", {}, 400),
            ("PUT", "/v1/tables/bad", '{"hash_ranges":0}', {}, 400),
            ("PUT", "/v1/tables/bad", '{"hash_rages":1}', {}, 400),
            ("PUT", "/v1/tables/_bad", "{}", {}, 403),
            ("PUT", "/v1/tables/items", '{"replicas":1}', {}, 409),
            ("POST", "/v1/tables/items/partitions/999/leader", '{"node":"n1"}', {}, 404),
            ("POST", "/v1/tables/items/partitions/x/leader", '{"node":"n1"}', {}, 404),
            ("POST", "/v1/tables/items/partitions/2/leader", '{"node":"n9"}', {}, 400),
        ]
        connection = http.client.HTTPConnection(self.nodes[0].address, timeout=20)
        for method, target, body, headers, status in rows:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == status, (method, target[:80], answer.status, text[:300])
            assert json.loads(text)["status"] == status and json.loads(text)["detail"], text
            if answer.headers.get("Connection") == "close":
                connection.close()
        # The connection, and the node, are as good as before.
        connection.request("PUT", path("items", "after"), item())
        assert connection.getresponse().read() and self.nodes[0].request("GET", "/healthz")[0] == 200
        connection.close()

    def test_broken_requests(self):
        address = self.nodes[0].address.split(":")
        for text in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"PUT /v1/tables/items/records/a HTTP/1.1\r\nHost: x\r\n"
                     b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET /" + b"a" * 100000,
                     b"PUT /v1/tables/items/records/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with socket.create_connection((address[0], int(address[1])), timeout=10) as client:
                with contextlib.suppress(OSError):
                    client.sendall(text)
                    answer = client.recv(65536)
                    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), answer
        assert self.nodes[0].request("GET", "/healthz")[0] == 200

    # ---- Changes ------------------------------------------------------------------------------------------------------

    def lines(self, node, **query):
        status, text, _ = node.request("GET", "/v1/tables/items/changes?" + urllib.parse.urlencode(query))
        assert status == 200, text
        return [json.loads(line) for line in text.splitlines() if line]

    def test_changes(self):
        one, two, _ = self.nodes
        versions = [self.put(one, "feed/%d" % i, item("cn", n=i)) for i in range(10)]
        self.check(one, "DELETE", path("items", "feed/3"), 200)
        last = self.put(one, "feed/4", item("cn", n=44))
        assert any(line["version"] == last for line in self.lines(two, partition="cn"))
        partition = next(p["id"] for p in one.json("GET", "/v1/tables/items/partitions")[1]["partitions"] if p["value"] == "cn")
        mine = [line for line in self.lines(two, **{"partition": "cn", "from": "%d:%d" % (partition, versions[0])})
                if line["key"].startswith("feed/")]
        assert [line["key"] for line in mine] == ["feed/%d" % i for i in range(10)] + ["feed/3", "feed/4"], mine
        assert mine[10]["type"] == "delete" and mine[11]["value"]["n"] == 44
        assert mine[4].get("superseded") and mine[5]["value"]["n"] == 5
        rest = self.lines(two, **{"partition": "cn", "from": "%d:%d" % (partition, mine[9]["version"])})
        assert [line["version"] for line in rest][:3] == [line["version"] for line in mine[9:12]]

    def test_changes_at_once(self):
        """What was acknowledged is in the feed at every node, however far its replica is."""
        for i in range(30):
            version = self.put(self.nodes[i % 3], "now/%d" % i, item("cn"))
            for node in self.nodes:
                assert self.lines(node, partition="cn")[-1]["version"] == version, (i, node.name)
        seen = lambda node: self.lines(node, partition="cn", consistency="stale")[-1]["version"] == version
        for node in self.nodes:
            Cluster.wait(lambda: seen(node), node.name + " to have it, too")

    def test_changes_follow(self):
        seen, failed = [], []
        stop = threading.Event()

        def follow():
            start = None
            node = 0
            while not stop.is_set():
                try:
                    connection = http.client.HTTPConnection(self.nodes[node % 3].address, timeout=1)
                    query = {"partition": "us", "follow": 1, **({"from": start} if start else {})}
                    connection.request("GET", "/v1/tables/items/changes?" + urllib.parse.urlencode(query))
                    answer = connection.getresponse()
                    for line in answer:
                        if line.strip():
                            change = json.loads(line)
                            start = "%d:%d" % (change["partition"], change["version"] + 1)
                            if change["key"].startswith("follow/"):
                                seen.append(change["key"])
                except (OSError, http.client.HTTPException):
                    node += 1
                except Exception as error:  # pylint: disable=broad-except
                    failed.append(error)
                    return

        reader = threading.Thread(target=follow, daemon=True)
        reader.start()
        wanted = ["follow/%03d" % i for i in range(200)]
        for i, key in enumerate(wanted):
            self.put(self.nodes[i % 3], key, item("us"))
        Cluster.wait(lambda: failed or seen[-1:] == wanted[-1:], "the follower to see all changes")
        stop.set()
        assert not failed and seen == wanted, (failed, len(seen))

    # ---- Tables and leaders ----------------------------------------------------------------------------------------------

    def test_tables(self):
        one, two, three = self.nodes
        declaration = json.dumps({"partition_by": "line", "partitions": ["a", "b"], "hash_ranges": 2})
        self.check(two, "PUT", "/v1/tables/made", 201, declaration)
        self.check(two, "PUT", path("made", "k"), 200, json.dumps({"line": "a"}))
        self.check(three, "PUT", "/v1/tables/made", 200, declaration)
        self.check(one, "PUT", "/v1/tables/made", 409, json.dumps({"partition_by": "line", "partitions": ["a"]}),
                   problem="conflict")
        _, shown = one.json("GET", "/v1/tables/made")
        assert shown["partitions"] == ["a", "b"] and shown["hash_ranges"] == 2 and shown["replicas"] == 3, shown
        assert len(one.json("GET", "/v1/tables/made/partitions")[1]["partitions"]) == 4
        names = [t["name"] for t in one.json("GET", "/v1/tables")[1]["tables"]]
        assert set(names) >= {"items", "blobs", "made"} and "_catalog" not in names

    def test_fields(self):
        one, two, three = self.nodes
        Cluster.wait(lambda: one.request("GET", "/v1/tables/checked")[0] == 200, "the table that the configuration names")
        shown = one.json("GET", "/v1/tables/checked")[1]
        assert shown["other_fields"] is False and shown["fields"] == {
            "priority": {"type": "integer", "required": True, "min": 1, "max": 5},
            "channel": {"type": "string", "one_of": ["chat", "mail"]},
            "name": {"type": "string", "min_length": 1, "max_length": 3}}, shown
        self.put(one, "k", item(priority=5, channel="chat", name="\u4f60\u597d!"), "checked")
        for value, field, words in (({}, "priority", "missing"), ({"priority": 6}, "priority", "from 1 to 5"),
                                    ({"priority": 1.5}, "priority", "an integer"), ({"priority": None}, "priority", "null"),
                                    ({"priority": 1, "channel": "fax"}, "channel", "'fax'"),
                                    ({"priority": 1, "name": "abcd"}, "name", "4 characters"),
                                    ({"priority": 1, "other": 1}, "other", "not declared")):
            text, _ = self.check(two, "PUT", path("checked", "k"), 422, item(**value), problem="unprocessable")
            document = json.loads(text)
            assert document["field"] == field and field in document["detail"] and words in document["detail"], document
        batch = {"operations": [{"op": "put", "key": "k", "value": {"region": "eu", "priority": n}} for n in (1, 0)]}
        text, _ = self.check(three, "POST", "/v1/tables/checked/batch", 422, json.dumps(batch), problem="unprocessable")
        assert json.loads(text)["field"] == "priority" and json.loads(text)["operation"] == 1, text
        text, _ = self.check(three, "GET", path("checked", "k"), 200)
        assert json.loads(text)["priority"] == 5
        # The same declaration again, in another order, is no conflict; another one is.
        declaration = {"partition_by": "line", "partitions": ["a"], "fields": {"n": {"type": "number"}, "s": {"type": "string"}}}
        self.check(one, "PUT", "/v1/tables/fields", 201, json.dumps(declaration))
        declaration["fields"] = dict(reversed(declaration["fields"].items()))
        self.check(two, "PUT", "/v1/tables/fields", 200, json.dumps(declaration))
        declaration["fields"]["n"]["min"] = 0
        self.check(three, "PUT", "/v1/tables/fields", 409, json.dumps(declaration), problem="conflict")
        declaration["fields"]["n"]["min"] = "0"
        text, _ = self.check(three, "PUT", "/v1/tables/fields2", 400, json.dumps(declaration), problem="bad-request")
        assert "min of the field 'n'" in json.loads(text)["detail"], text

    # ---- Expiry -----------------------------------------------------------------------------------------------------

    def feed(self, node, table, key):
        status, text, _ = node.request("GET", "/v1/tables/%s/changes" % table)
        assert status == 200, text
        lines = [json.loads(line) for line in text.splitlines() if line]
        return [line for line in lines if line["key"] == key]

    def await_removal(self, table, key):
        """The change feeds of all nodes come to say the same of the record, and that it went because of its time."""
        for node in self.nodes:
            Cluster.wait(lambda n=node: any(line.get("reason") == "expired" for line in self.feed(n, table, key)),
                         "%s to hear that '%s' has expired" % (node.name, key))
        feeds = [self.feed(node, table, key) for node in self.nodes]
        assert feeds[0] == feeds[1] == feeds[2], feeds
        assert [line["type"] for line in feeds[0]][-1] == "delete", feeds[0]

    def test_expiry(self):
        one, two, three = self.nodes
        Cluster.wait(lambda: one.request("GET", "/v1/tables/sessions")[0] == 200, "the table that the configuration names")
        assert one.json("GET", "/v1/tables/sessions")[1]["expire_after"] == 2
        self.put(one, "usual", b"1", "sessions")
        self.put(two, "longer", b"1", "sessions", headers={"Holdfast-Expire-After": "3600"})
        self.put(three, "never", b"1", "sessions", headers={"Holdfast-Expire-After": "0"})
        self.put(one, "renewed", b"1", "sessions")
        self.put(one, "renewed", b"2", "sessions", headers={"Holdfast-Expire-After": "0"})
        version = self.put(one, "short", item(), headers={"Holdfast-Expire-After": "1"})
        batch = {"operations": [{"op": "put", "key": "batch", "value_base64": "AA==", "expire_after": 1}]}
        self.check(two, "POST", "/v1/tables/sessions/batch", 200, json.dumps(batch))
        # Gone for reads, scans and conditions as soon as the leader's clock says so.
        Cluster.wait(lambda: two.request("GET", path("items", "short"))[0] == 404, "the record to expire")
        page = two.json("GET", "/v1/tables/items/records?prefix=short")[1]
        assert page["records"] == [], page
        self.check(three, "PUT", path("items", "short"), 412, item(), {"If-Match": '"%d"' % version}, "precondition-failed")
        self.await_removal("items", "short")
        self.put(three, "short", item(), headers={"If-None-Match": "*"})
        self.check(three, "DELETE", path("items", "short"), 200)
        self.await_removal("sessions", "usual")
        self.await_removal("sessions", "batch")
        for node in self.nodes:
            keys = [r["key"] for r in node.json("GET", "/v1/tables/sessions/records?consistency=stale")[1]["records"]]
            assert keys == ["longer", "never", "renewed"], keys
        self.check(one, "PUT", path("items", "x"), 400, item(), {"Holdfast-Expire-After": "soon"}, "bad-request")
        self.check(one, "DELETE", path("sessions", "never"), 400, None, {"Holdfast-Expire-After": "1"}, "bad-request")
        self.check(one, "DELETE", path("sessions", "never"), 200)

    def test_expiry_across_a_kill(self):
        """What a killed leader has written expires under the next one, once, and on the node that comes back, too."""
        Cluster.wait(lambda: self.nodes[0].request("GET", "/v1/tables/sessions")[0] == 200, "the table")
        Cluster.wait(lambda: list(self.leaders("sessions").values())[0], "a leader")
        name = list(self.leaders("sessions").values())[0]
        leader = next(node for node in self.nodes if node.name == name)
        other = next(node for node in self.nodes if node.name != name)
        keys = ["kill/%03d" % i for i in range(300)] # several commands
        for key in keys:
            self.put(leader, key, b"1", "sessions", headers={"Holdfast-Expire-After": "4"})
        self.put(leader, "kill/stays", b"1", "sessions", headers={"Holdfast-Expire-After": "3600"})
        leader.kill()
        gone = lambda node: [r["key"] for r in node.json(
            "GET", "/v1/tables/sessions/records?limit=1000&prefix=kill/")[1].get("records", ())] == ["kill/stays"]
        Cluster.wait(lambda: gone(other), "all to expire under another leader")
        leader.start()
        Cluster.wait(lambda: gone(leader), "the node that comes back to have the same")
        for node in self.nodes:
            self.await_removal("sessions", keys[-1])
            _, text, _ = node.request("GET", "/v1/tables/sessions/changes")
            lines = [json.loads(line) for line in text.splitlines() if line]
            expired = sorted(line["key"] for line in lines if line.get("reason") == "expired" and line["key"].startswith("kill/"))
            assert expired == keys, (node.name, len(expired))

    def test_leaders_hand_over(self):
        target = None

        def led():
            nonlocal target
            target = self.nodes[0].json("GET", "/v1/tables/items/partitions")[1]["partitions"][0]
            return target["leader"] in [node.name for node in self.nodes]

        Cluster.wait(led, "a leader")
        other = next(node for node in self.nodes if node.name != target["leader"])
        leader = next(node for node in self.nodes if node.name == target["leader"])
        asked = next(node for node in self.nodes if node not in (leader, other))  # any node takes the wish
        self.check(asked, "POST", "/v1/tables/items/partitions/%d/leader" % target["id"], 202, json.dumps({"node": other.name}))
        Cluster.wait(lambda: self.leaders()[target["value"]] == other.name, "the leader to be %s" % other.name)

    # ---- Faults ---------------------------------------------------------------------------------------------------------

    def write_until(self, stop, written, regions=("eu", "us", "cn")):
        """Writes with idempotency keys until told to stop; remembers what was acknowledged."""
        number = 0
        while not stop.is_set():
            number += 1
            key, value = "w%d/%06d" % (threading.get_ident() % 100000, number), item(regions[number % len(regions)], n=number)
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    status = self.nodes[random.randrange(3)].request("PUT", path("items", key), value,
                                                                     {"Idempotency-Key": key}, timeout=10)[0]
                    if status == 200:
                        written[key] = json.loads(value)
                        break
                    assert status == 503, status
                except (OSError, http.client.HTTPException):
                    pass
                time.sleep(0.02)
            else:
                raise AssertionError("the write of %s was not acknowledged in 60 s" % key)

    def read_all(self, node, **query):
        found, start = {}, None
        while True:
            full = dict(query, limit=1000, **({"start": start} if start else {}))
            status, page = node.json("GET", "/v1/tables/items/records?" + urllib.parse.urlencode(full), timeout=30)
            if status != 200:
                raise OSError("%d %s" % (status, page))
            found.update((record["key"], record["value"]) for record in page["records"])
            start = page.get("next")
            if not start:
                return found

    def verify(self, written):
        for node in self.nodes:
            for query in ({}, {"consistency": "stale"}):
                def same():
                    found = self.read_all(node, **query)
                    return all(found.get(key) == value for key, value in written.items())
                Cluster.wait(same, "%s to have everything (%s)" % (node.name, query))

    def test_kills(self):
        written, stop = {}, threading.Event()
        writers = [threading.Thread(target=self.write_until, args=(stop, written), daemon=True) for _ in range(3)]
        for writer in writers:
            writer.start()
        for _ in range(6):
            before = len(written)
            Cluster.wait(lambda: len(written) > before + 100, "writes to go on")
            victim = self.nodes[random.randrange(3)]
            victim.kill()
            before = len(written)
            Cluster.wait(lambda: len(written) > before + 100, "writes to go on without %s" % victim.name)
            victim.start()
        stop.set()
        for writer in writers:
            writer.join(90)
            assert not writer.is_alive()
        self.verify(written)

    def test_power_loss(self):
        written, stop = {}, threading.Event()
        writers = [threading.Thread(target=self.write_until, args=(stop, written), daemon=True) for _ in range(3)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            before = len(written)
            Cluster.wait(lambda: len(written) > before + 100, "writes to go on")
            for node in self.nodes:
                node.kill()
            for node in self.nodes:
                node.start(wait=False)
            for node in self.nodes:
                node.wait_ready()
        stop.set()
        for writer in writers:
            writer.join(90)
            assert not writer.is_alive()
        self.verify(written)

    def test_lost_majority(self):
        one, two, three = self.nodes
        self.put(one, "majority", item())
        stale = path("items", "majority", consistency="stale")
        Cluster.wait(lambda: one.request("GET", stale)[0] == 200, "the record to reach this node")
        two.kill()
        three.kill()
        Cluster.wait(lambda: one.request("PUT", path("items", "majority"), item(), timeout=30)[0] == 503, "writes to be refused")
        text, _ = self.check(one, "PUT", path("items", "majority"), 503, item(n=2))
        assert json.loads(text)["type"].rpartition(":")[2] in ("no-leader", "unknown-outcome")
        self.check(one, "GET", path("items", "majority"), 503, problem="no-leader")
        _, fields = self.check(one, "GET", stale, 200)
        assert int(fields["Holdfast-Staleness-Ms"]) > 0
        _, cluster = one.json("GET", "/v1/cluster")
        assert cluster["state"] == "degraded" and len(cluster["problems"]) >= 2, cluster
        two.start()
        Cluster.wait(lambda: one.request("PUT", path("items", "majority"), item(n=3))[0] == 200, "writes to go on")
        three.start()

    def test_catch_up_by_snapshot(self):
        one, two, three = self.nodes
        three.stop()
        value = "x" * 200000
        for i in range(400):  # 80 MB through a log of 16 MiB
            region = ("eu", "us", "cn")[i % 3]
            until = time.monotonic() + 30
            while one.request("PUT", path("items", "big/%03d" % (i % 50)), item(region, n=i, text=value))[0] != 200:
                assert time.monotonic() < until
        for node in (one, two):
            folder = os.path.join(node.directory, "data", "service-store", "log")
            Cluster.wait(lambda: sum(name.endswith(".log") for name in os.listdir(folder)) <= 7, "the log of %s to shrink" % node.name)
        three.start()
        wanted = self.read_all(one)
        Cluster.wait(lambda: self.read_all(three, consistency="stale") == wanted, "n3 to catch up")
        assert "was installed" in three.log(), three.log()[-2000:]
        # And it can lead on what it was given.
        two.stop()
        self.put(three, "after-snapshot", item())
        two.start()
        self.verify({"after-snapshot": {"region": "eu"}})

    def test_state_of_another_node(self):
        one, _, three = self.nodes
        own, aside = (os.path.join(three.directory, name) for name in ("data", "aside"))
        three.stop()
        os.rename(own, aside)
        shutil.copytree(os.path.join(one.directory, "data"), own)
        before = len(three.log())
        three.start(wait=False)
        Cluster.wait(lambda: "another node" in three.log()[before:], "n3 to refuse n1's data")
        self.put(one, "meanwhile", item())
        three.kill()
        shutil.rmtree(own)
        os.rename(aside, own)
        three.start()
        self.verify({"meanwhile": {"region": "eu"}})

    def test_restart_keeps_everything(self):
        before = self.read_all(self.nodes[0])
        for node in self.nodes:
            assert node.stop() == 0, node.log()[-2000:]
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()
        def same():
            return self.read_all(self.nodes[1]) == before
        Cluster.wait(same, "everything to be there")


def main():
    binaries, plugins = (os.path.abspath(folder) for folder in sys.argv[1:3])
    wanted = sys.argv[3:]
    random.seed()
    directory = tempfile.mkdtemp(prefix="holdfast-store-")
    cluster = Cluster(directory, binaries, plugins, STORE)
    failed = []
    try:
        cluster.start("items")
        case = Case(cluster)
        for name in wanted or [name for name in vars(Case) if name.startswith("test_")]:
            started = time.monotonic()
            try:
                getattr(case, name)()
                print("ok      %-30s %.1f s" % (name, time.monotonic() - started), flush=True)
            except Exception:  # pylint: disable=broad-except
                failed.append(name)
                traceback.print_exc()
                print("FAILED  %s" % name, flush=True)
                break  # the cluster may be in any state
        codes = cluster.stop()
        if not failed and codes != [0] * len(codes):
            failed.append("exit codes %s" % codes)
    finally:
        cluster.kill()
        if failed:
            for node in cluster.nodes:
                print("---- the end of %s's log\n%s" % (node.name, node.log()[-3000:]))
        shutil.rmtree(directory, ignore_errors=True)
    print("failed: %s" % ", ".join(failed) if failed else "all passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
