#!/usr/bin/env python3
"""Answers that the gateway stores: what is stored and for how long, conditions of clients and servers, one fetch at a time,
stale answers while servers fail or are asked anew, what makes stored answers invalid, and memory that is bounded.

  test_gateway_cache.py BINARIES PLUGINS [CASE...]"""
import concurrent.futures
import gzip
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from email.utils import formatdate

from gateway import Gateway, Server, field_of, fresh_directory, is_sanitized, run_cases, say, wait_until

BINARIES, PLUGINS = (os.path.abspath(folder) for folder in sys.argv[1:3])
DIRECTORY = tempfile.mkdtemp(prefix="holdfast-gateway-cache-")

LISTENER = 'listeners: { web: { address = "127.0.0.1:PORT(0)"; }; };\n'


def gateway(name, server, cache="", route="", upstream="", section="", workers=2, tries=1):
    """One route with a cache for everything, to one server."""
    under = Gateway(fresh_directory(DIRECTORY, name), BINARIES, PLUGINS, LISTENER + """
caches: { pages: { %s }; };
routes: { %s all: { upstream = "app"; cache = "pages"; tries = %d; %s }; };
upstreams: { app: { servers: { one: { address = "%s"; max_fails = 0; }; }; %s }; };""" % (
        cache, section, tries, route, server.address, upstream), workers=workers)
    under.start()
    return under


class Pages(Server):
    """Counts what it is asked, and answers with the number; `fields` may be a function of the request's head."""

    def __init__(self, fields="", status="200 OK", body=None):
        self.fields, self.status, self.body = fields, status, body
        super().__init__(self.say)

    def say(self, request, connection):
        fields = self.fields(request[0]) if callable(self.fields) else self.fields
        body = self.body if self.body is not None else b"%d" % len(self.seen)
        return say(body, self.status, fields)(request, connection)


def fetch(under, path="/", headers={}, method="GET", **more):
    """(status, body, X-Cache, all fields)"""
    status, body, fields = under.get(path, headers, method, **more)
    return status, body, fields["X-Cache"], fields


def metric(under, series):
    text = under.get("/metrics", address=under.admin)[1].decode()
    found = re.search("^" + re.escape(series) + r" (\S+)$", text, re.M)
    return float(found.group(1)) if found else None


# ---- Fresh answers -------------------------------------------------------------------------------------------------------


def fresh_answers_are_given_again():
    pages = Pages("Cache-Control: max-age=60\r\nX-Own: a\r\nETag: \"v1\"\r\n")
    under = gateway("fresh", pages)
    try:
        assert fetch(under, "/a")[:3] == (200, b"1", "miss")
        for _ in range(20):  # whichever worker it comes to
            status, body, result, fields = fetch(under, "/a")
            assert (status, body, result) == (200, b"1", "hit") and fields["X-Own"] == "a", fields
            assert int(fields["Age"]) < 30 and fields["Content-Length"] == "1", fields
        assert len(pages.seen) == 1
        status, body, result, fields = fetch(under, "/a", method="HEAD")
        assert (status, body, result) == (200, b"", "hit") and fields["Content-Length"] == "1", fields
        # Each of these is another one.
        assert fetch(under, "/a?x=1")[:3] == (200, b"2", "miss")
        assert fetch(under, "/a?x=2")[:3] == (200, b"3", "miss")
        assert fetch(under, "/a", {"Host": "b.example"})[:3] == (200, b"4", "miss")
        assert fetch(under, "/a", {"Host": "B.example:80"})[:3] == (200, b"4", "hit")
        assert fetch(under, "/b", method="HEAD")[:3] == (200, b"", "miss")
        assert fetch(under, "/b")[:3] == (200, b"6", "miss")  # HEAD stores nothing
        assert fetch(under, "/b", method="HEAD")[:3] == (200, b"", "hit")
        answer = under.raw(b"GET http://127.0.0.1:%d/a HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
                           % (under.ports[0], under.ports[0]))
        assert b"X-Cache: hit" in answer and answer.endswith(b"\r\n\r\n1"), answer
        # An answer is counted when it is over, which the client may know before.
        wait_until(lambda: metric(under, 'holdfast_gateway_cache_requests_total{cache="pages",result="miss"}') == 6)
        wait_until(lambda: metric(under, 'holdfast_gateway_cache_requests_total{cache="pages",result="hit"}') >= 24)
        wait_until(lambda: metric(under, 'holdfast_gateway_cache_objects{cache="pages"}') == 5, what="the gauge")
    finally:
        under.stop()
        pages.stop()


def what_must_not_be_stored_is_not():
    soon = formatdate(time.time() + 60, usegmt=True)
    never = ["", "Cache-Control: no-store, max-age=60\r\n", "Cache-Control: private, max-age=60\r\n",
             "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n", "Cache-Control: max-age=60\r\nVary: *\r\n",
             "Cache-Control: max-age=0\r\n", "Cache-Control: no-cache\r\n", "Expires: 0\r\n",
             "Cache-Control: max-age=60\r\nAge: 60\r\n", "Cache-Control: s-maxage=0, max-age=60\r\n",
             'Cache-Control: private="x", max-age=60\r\n', 'Cache-Control: x="max-age=60"\r\n']
    pages = Pages(lambda head: never[int(head[0].split("/n")[1].split()[0])])
    under = gateway("never", pages)
    try:
        for number in range(len(never)):
            first, second = fetch(under, "/n%d" % number), fetch(under, "/n%d" % number)
            assert first[2] == second[2] == "miss" and first[1] != second[1], (never[number], first, second)
        pages.fields = "Expires: %s\r\n" % soon
        assert fetch(under, "/e")[2] == "miss" and fetch(under, "/e")[2] == "hit"
        pages.fields = "Cache-Control: max-age=60\r\n"
        for status in ("206 Partial Content", "500 Error", "401 Unauthorized", "204 No Content"):
            pages.status = status
            assert [fetch(under, "/" + status[:3])[2] for _ in range(2)] == ["miss", "miss"], status
        for status in ("404 Not Found", "301 Moved", "410 Gone"):
            pages.status = status
            assert [fetch(under, "/" + status[:3])[2] for _ in range(2)] == ["miss", "hit"], status
        pages.status = "200 OK"
        # Requests that say so, or that are not to be had twice.
        for headers, method in (({"Cache-Control": "no-store"}, "GET"), ({"Range": "bytes=0-1"}, "GET"),
                                ({}, "POST"), ({"If-Match": '"x"'}, "GET")):
            assert [fetch(under, "/r" + str(headers)[3:6], headers, method)[2] for _ in range(2)] == [None, None]
        status, _, result, _ = fetch(under, "/body", {"Content-Length": "1"}, body="x")
        assert (status, result) == (200, None)
        # Authorization.
        asks = {"Authorization": "Basic eDp5"}
        assert [fetch(under, "/auth", asks)[2] for _ in range(2)] == ["miss", "miss"]
        for allowed in ("public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"):
            pages.fields = "Cache-Control: %s\r\n" % allowed
            path = "/auth-" + allowed.split("=")[0].replace(", ", "-") + str(len(allowed))
            assert [fetch(under, path, asks)[2] for _ in range(2)] == ["miss", "hit"], allowed
        pages.fields = "Cache-Control: max-age=60\r\n"
        assert fetch(under, "/for-all")[2] == "miss" and fetch(under, "/for-all")[2] == "hit"
        assert fetch(under, "/for-all", asks)[2] == "miss"
        assert fetch(under, "/for-all")[2] == "hit"  # which costs the others nothing
    finally:
        under.stop()
        pages.stop()


def answers_vary():
    pages = Pages("Cache-Control: max-age=60\r\nVary: Accept-Language, X-A\r\n")
    under = gateway("vary", pages)
    try:
        asked = [{}, {"Accept-Language": "de"}, {"Accept-Language": "en"}, {"Accept-Language": "en", "X-A": "1"}, {"X-A": ""}]
        first = [fetch(under, "/", headers)[1] for headers in asked]
        assert len(set(first)) == len(asked), first
        again = [fetch(under, "/", headers)[:3] for headers in asked]
        assert again == [(200, body, "hit") for body in first], (first, again)
        # More than 32 of them: the oldest goes.
        for number in range(40):
            fetch(under, "/many", {"X-A": str(number)})
        assert fetch(under, "/many", {"X-A": "39"})[2] == "hit" and fetch(under, "/many", {"X-A": "0"})[2] == "miss"
    finally:
        under.stop()
        pages.stop()


def clients_say_what_they_take():
    pages = Pages("Cache-Control: max-age=2\r\n")
    under = gateway("wishes", pages)
    try:
        assert fetch(under, "/", {"Cache-Control": "only-if-cached"})[0] == 504 and not pages.seen
        assert fetch(under)[1:3] == (b"1", "miss") and fetch(under)[1:3] == (b"1", "hit")
        assert fetch(under, "/", {"Cache-Control": "only-if-cached"})[1:3] == (b"1", "hit")
        assert fetch(under, "/", {"Cache-Control": "min-fresh=10"})[1:3] == (b"2", "miss")
        assert fetch(under, "/", {"Cache-Control": "max-age=0"})[1:3] == (b"3", "miss")
        assert fetch(under, "/", {"Cache-Control": "no-cache"})[1:3] == (b"4", "miss")
        assert fetch(under, "/", {"Pragma": "no-cache"})[1:3] == (b"5", "miss")
        assert fetch(under)[1:3] == (b"5", "hit")  # what was fetched for one is there for all
        wait_until(lambda: fetch(under, "/", {"Cache-Control": "max-stale=60"})[2] == "stale", what="it to be stale")
        assert fetch(under, "/", {"Cache-Control": "max-stale"})[1:3] == (b"5", "stale")
        assert fetch(under, "/", {"Cache-Control": "only-if-cached"})[0] == 504
        assert fetch(under)[1:3] == (b"6", "miss")
    finally:
        under.stop()
        pages.stop()


# ---- Conditions ----------------------------------------------------------------------------------------------------------


def clients_get_304_from_the_cache():
    modified = "Sun, 06 Nov 1994 08:49:37 GMT"
    pages = Pages('Cache-Control: max-age=60\r\nETag: "v1"\r\nLast-Modified: %s\r\nContent-Type: text/a\r\n' % modified)
    under = gateway("conditions", pages)
    try:
        # The first one: the server is asked for all of it.
        status, body, result, _ = fetch(under, "/", {"If-None-Match": '"v1"'})
        assert (status, body, result) == (200, b"1", "miss") and field_of(pages.seen[0][0], "if-none-match") is None
        for headers in ({"If-None-Match": '"v1"'}, {"If-None-Match": '"x, y", W/"v1"'}, {"If-None-Match": "*"},
                        {"If-Modified-Since": modified}, {"If-Modified-Since": "Mon, 07 Nov 1994 00:00:00 GMT"},
                        {"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}):
            status, body, result, fields = fetch(under, "/", headers)
            assert (status, body, result) == (304, b"", "hit"), (headers, status)
            assert fields["ETag"] == '"v1"' and fields["Content-Type"] is None and fields["Cache-Control"], fields
        for headers in ({"If-None-Match": '"v2"'}, {"If-None-Match": '"v2"', "If-Modified-Since": modified},
                        {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:36 GMT"}, {"If-Modified-Since": "yesterday"}):
            assert fetch(under, "/", headers)[:3] == (200, b"1", "hit"), headers
        assert len(pages.seen) == 1
    finally:
        under.stop()
        pages.stop()


def servers_say_that_it_is_still_right():
    """The fields of the 304 take the place of the old ones; the body comes from the cache; connections go on."""
    seen = []

    def answer(request, connection):
        seen.append(request[0])
        if field_of(request[0], "if-none-match") == '"v1"':
            connection.sendall(b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\nCache-Control: max-age=60\r\nX-Now: new\r\n'
                               b"Content-Type: text/wrong\r\n\r\n")
            return True
        return say("body", fields='ETag: "v1"\r\nCache-Control: max-age=1\r\nX-Now: old\r\nContent-Type: text/a\r\n')(
            request, connection)

    server = Server(answer)
    under = gateway("validate", server)
    try:
        assert fetch(under)[:3] == (200, b"body", "miss")
        result = []
        wait_until(lambda: result.append(fetch(under)) or result[-1][2] != "hit", what="it to be stale")
        status, body, what, fields = result[-1]
        assert (status, body, what) == (200, b"body", "revalidated"), result[-1]
        assert fields["X-Now"] == "new" and fields["Content-Type"] == "text/a" and fields["Content-Length"] == "4", fields
        assert int(fields["Age"]) == 0
        status, body, what, fields = fetch(under)
        assert (body, what) == (b"body", "hit") and fields["X-Now"] == "new"
        assert len(seen) == 2 and server.connections <= 2
        # The client's own condition counts for the client only.
        status, body, what, fields = fetch(under, "/", {"If-None-Match": '"other"', "Cache-Control": "no-cache"})
        assert (status, body, what) == (200, b"body", "revalidated") and field_of(seen[-1], "if-none-match") == '"v1"'
        status, body, what, fields = fetch(under, "/", {"If-None-Match": '"v1"', "Cache-Control": "no-cache"})
        assert (status, body, what) == (304, b"", "revalidated")
        for _ in range(5):
            fetch(under, "/", {"Cache-Control": "no-cache"})
        assert server.connections <= 2, server.connections  # one for each worker
    finally:
        under.stop()
        server.stop()


def what_has_changed_replaces_it():
    pages = Pages(lambda head: 'ETag: "v%d"\r\nCache-Control: no-cache\r\n' % len(pages.seen))
    under = gateway("changed", pages)
    try:
        for number in range(1, 4):  # stored, and validated each time, in vain
            assert fetch(under)[:3] == (200, b"%d" % number, "miss")
            if number > 1:
                assert field_of(pages.seen[-1][0], "if-none-match") == '"v%d"' % (number - 1)
    finally:
        under.stop()
        pages.stop()


# ---- One at a time -------------------------------------------------------------------------------------------------------


def one_fetches_and_others_wait():
    go_on = threading.Event()

    def slow(request, connection):
        go_on.wait(20)
        fields = "Cache-Control: %s\r\n" % ("no-store" if "/private" in request[0][0] else "max-age=60")
        return say("x" * 1000, fields=fields)(request, connection)

    server = Server(slow)
    under = gateway("flight", server, 'wait_timeout = "20s";')
    try:
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            answers = [pool.submit(fetch, under, "/") for _ in range(50)]
            wait_until(lambda: server.seen, what="the first to fetch")
            time.sleep(0.3)  # those that would go themselves had time to
            assert len(server.seen) == 1
            go_on.set()
            results = [answer.result() for answer in answers]
        assert all(result[:2] == (200, b"x" * 1000) for result in results)
        assert sorted(result[2] for result in results) == ["hit"] * 49 + ["miss"] and len(server.seen) == 1

        # What cannot be stored: the others go as soon as that is known, and do not wait for each other after that.
        go_on.clear()
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            answers = [pool.submit(fetch, under, "/private") for _ in range(20)]
            wait_until(lambda: len(server.seen) == 2, what="the first to fetch")
            go_on.set()
            assert all(answer.result()[:3] == (200, b"x" * 1000, "miss") for answer in answers)
            go_on.clear()
            before = len(server.seen)
            answers = [pool.submit(fetch, under, "/private") for _ in range(20)]
            wait_until(lambda: len(server.seen) == before + 20, what="all to ask")
            go_on.set()

        # Users do not wait for each other, either.
        go_on.clear()
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            before = len(server.seen)
            answers = [pool.submit(fetch, under, "/user", {"Authorization": "Basic %d" % n}) for n in range(20)]
            wait_until(lambda: len(server.seen) == before + 20, what="all to ask")
            go_on.set()
    finally:
        go_on.set()
        under.stop()
        server.stop()


def nobody_waits_for_long():
    """The one that fetches hangs, breaks off, or goes: another one goes in its place."""
    release = threading.Event()
    asked = []

    def answer(request, connection):
        asked.append(request)
        if len(asked) == 1:
            release.wait(30)
            return False
        return say("second", fields="Cache-Control: max-age=60\r\n")(request, connection)

    server = Server(answer)
    under = gateway("hangs", server, 'wait_timeout = "200ms";', workers=1)
    try:
        host, port = under.address().split(":")
        client = socket.create_connection((host, int(port)))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: asked, what="the first to ask")
        begun = time.monotonic()
        assert fetch(under, "/", {"Host": "a"})[:3] == (200, b"second", "miss")
        assert 0.15 < time.monotonic() - begun < 10
        client.close()  # and with it the fetch
        wait_until(lambda: fetch(under, "/", {"Host": "a"})[2] == "hit" or fetch(under, "/", {"Host": "a"})[2] == "hit",
                   what="it to be stored")
    finally:
        release.set()
        under.stop()
        server.stop()


def clients_that_wait_may_go():
    release = threading.Event()

    def answer(request, connection):
        release.wait(30)
        return say("late", fields="Cache-Control: max-age=60\r\n")(request, connection)

    server = Server(answer)
    under = gateway("gone", server, 'wait_timeout = "60s";')
    try:
        host, port = under.address().split(":")
        clients = [socket.create_connection((host, int(port))) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: server.seen, what="one to ask")
        for client in clients[1:]:
            client.close()
        release.set()
        assert fetch(under, "/", {"Host": "a"})[1] == b"late"
        clients[0].close()
    finally:
        release.set()
        under.stop()
        server.stop()


# ---- Stale answers -------------------------------------------------------------------------------------------------------


def stale_answers_while_servers_fail():
    modes = {"now": "well"}

    def answer(request, connection):
        mode = modes["now"]
        if mode == "well":
            fields = "Cache-Control: max-age=1%s\r\n" % (", must-revalidate" if "/strict" in request[0][0] else "")
            return say("good", fields=fields)(request, connection)
        if mode == "hang":
            time.sleep(3)
            return False
        if mode == "break":
            return False
        if mode == "garbage":
            connection.sendall(b"garbage\r\n\r\n")
            return False
        return say("bad", mode)(request, connection)

    server = Server(answer)
    under = gateway("stale", server, 'stale_if_error = "1h";', 'timeout = "500ms";')
    try:
        assert fetch(under)[1:3] == (b"good", "miss") and fetch(under, "/strict")[1:3] == (b"good", "miss")
        for mode in ("503 Unavailable", "500 Error", "502 Bad", "504 Late", "break", "garbage", "hang"):
            modes["now"] = mode
            wait_until(lambda: fetch(under)[2] == "stale", what="it to be stale")
            status, body, result, fields = fetch(under)
            assert (status, body, result) == (200, b"good", "stale") and int(fields["Age"]) >= 1, (mode, fields)
        assert fetch(under, "/strict")[0] == 504
        assert fetch(under, "/other")[0] == 504  # of which nothing is stored
        assert fetch(under, "/", {"If-None-Match": "*"})[:3] == (304, b"", "stale")
        modes["now"] = "404 Not Found"  # which is an answer
        assert fetch(under)[:3] == (404, b"bad", "miss")
        modes["now"] = "well"
        assert fetch(under)[1:3] == (b"good", "miss")
        server.stop()
        wait_until(lambda: fetch(under)[2] == "stale", what="it to be stale")
        assert fetch(under)[:2] == (200, b"good")
        assert metric(under, 'holdfast_gateway_cache_requests_total{cache="pages",result="stale"}') > 8
    finally:
        under.stop()


def stale_answers_while_the_breaker_is_open():
    modes = {"well": True}

    def answer(request, connection):
        fields = "Cache-Control: max-age=1, stale-if-error=600\r\n"
        return say("good", "200 OK" if modes["well"] else "500 Error", fields)(request, connection)

    server = Server(answer)
    under = gateway("breaker", server, upstream="breaker: { enabled = true; calls_minimum = 3; open = \"60s\"; };",
                    route='retry_on = [ "http_500" ];')
    try:
        assert fetch(under)[1:3] == (b"good", "miss")
        modes["well"] = False
        for number in range(10):
            assert fetch(under, "/other%d" % number)[0] in (500, 503)
        before = len(server.seen)
        wait_until(lambda: fetch(under)[2] == "stale", what="it to be stale")
        assert fetch(under)[:3] == (200, b"good", "stale") and fetch(under, "/else")[0] == 503
        assert len(server.seen) == before
    finally:
        under.stop()
        server.stop()


def stale_answers_while_it_is_fetched_anew():
    """The client does not wait; one request goes out, with the condition, and what it brings is there for the next."""
    pages = Pages(lambda head: 'Cache-Control: max-age=1, stale-while-revalidate=600\r\nETag: "%d"\r\n' % len(pages.seen))
    under = gateway("swr", pages)
    try:
        assert fetch(under)[1:3] == (b"1", "miss")
        results = []
        wait_until(lambda: results.append(fetch(under)[1:3]) or results[-1][1] == "stale", what="it to be stale")
        assert results[-1] == (b"1", "stale")
        wait_until(lambda: fetch(under)[1] == b"2", what="the new one")
        assert fetch(under)[2] in ("hit", "stale")
        assert field_of(pages.seen[1][0], "if-none-match") == '"1"' and len(pages.seen) <= 3
        # A server that fails in the background costs nobody anything, and is asked once a second.
        pages.status = "500 Error"
        wait_until(lambda: fetch(under)[2] == "stale", what="it to be stale")
        end, before = time.monotonic() + 1.5, len(pages.seen)
        while time.monotonic() < end:
            assert fetch(under)[0] == 200
        assert 0 <= len(pages.seen) - before <= 3, len(pages.seen) - before
        pages.status = "200 OK"
        wait_until(lambda: fetch(under)[1] == b"%d" % len(pages.seen), what="the newest")
    finally:
        under.stop()
        pages.stop()


# ---- Invalid answers -----------------------------------------------------------------------------------------------------


def unsafe_requests_make_it_invalid():
    pages = Pages("Cache-Control: max-age=60\r\n")
    under = gateway("unsafe", pages)
    try:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            fetch(under, "/x")
            assert fetch(under, "/x")[2] == "hit"
            pages.status = "403 Forbidden"
            assert fetch(under, "/x", method=method)[0] == 403
            assert fetch(under, "/x")[2] == "hit"
            pages.status = "200 OK"
            assert fetch(under, "/y")[2] in ("miss", "hit")
            assert fetch(under, "/x", method=method)[0] == 200
            assert fetch(under, "/x")[2] == "miss" and fetch(under, "/y")[2] == "hit", method
        # Also what is being fetched at that time.
        going, go_on = threading.Event(), threading.Event()

        def slow(head):
            if head[0].startswith("GET"):
                going.set()
                go_on.wait(20)
            return "Cache-Control: max-age=60\r\n"

        pages.fields = slow
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(fetch, under, "/z")
            assert going.wait(20)
            assert fetch(under, "/z", method="POST")[0] == 200
            go_on.set()
            assert answer.result()[2] == "miss"
        assert fetch(under, "/z")[2] == "miss" and fetch(under, "/z")[2] == "hit"
    finally:
        under.stop()
        pages.stop()


def operators_purge():
    pages = Pages("Cache-Control: max-age=60\r\n")
    under = gateway("purge", pages)

    def purge(what, name="pages", status=200):
        got, body, _ = under.get("/v1/gateway/caches/%s%s" % (name, what), method="DELETE", address=under.admin)
        assert got == status, (got, body)
        return json.loads(body)

    try:
        base = "http://" + under.address()
        for path in ("/a/1", "/a/2", "/b"):
            fetch(under, path)
        def caches():
            return json.loads(under.get("/v1/gateway/caches", address=under.admin)[1])["caches"]

        wait_until(lambda: caches()[0]["miss"] == 3)
        shown = caches()
        assert [cache["name"] for cache in shown] == ["pages"] and shown[0]["objects"] == 3 and shown[0]["memory"] > 300, shown
        assert shown[0]["memory_maximum"] == 64 << 20 and shown[0]["miss"] == 3, shown
        assert purge("?url=" + base + "/b")["purged"] == 1 and purge("?url=" + base + "/b")["purged"] == 0
        assert fetch(under, "/b")[2] == "miss" and fetch(under, "/a/1")[2] == "hit"
        assert purge("?prefix=" + base + "/a/")["purged"] == 2
        assert fetch(under, "/a/1")[2] == "miss" and fetch(under, "/b")[2] == "hit"
        assert purge("")["purged"] == 2 and fetch(under, "/b")[2] == "miss"
        purge("", "none", 404)

        def cli(*arguments):
            done = subprocess.run([under.holdfast, "--node", under.admin, *arguments], capture_output=True,
                                  text=True, timeout=60)
            return done.returncode, done.stdout + done.stderr

        code, said = cli("cache", "list")
        assert code == 0 and re.search(r"pages +1 ", said), said
        code, said = cli("cache", "purge", "pages", "--prefix", base + "/b")
        assert (code, said) == (0, "1 purged\n"), said
        assert cli("cache", "purge", "none")[0] != 0 and cli("cache", "purge", "pages", "--url", "a", "--prefix", "b")[0] == 2
        purge("?url=a&prefix=b", status=400)
    finally:
        under.stop()
        pages.stop()


# ---- Bodies, memory ------------------------------------------------------------------------------------------------------


def bodies_of_all_kinds():
    content = random.Random(5).randbytes(900000)

    def answer(request, connection):
        kind, size = request[0][0].split()[1].strip("/").split("-")
        body = content[:int(size)]
        head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
        if kind == "length":
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        elif kind == "chunked":
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 30000):
                connection.sendall(b"%x\r\n%s\r\n" % (len(body[at:at + 30000]), body[at:at + 30000]))
            connection.sendall(b"0\r\n\r\n")
        else:
            connection.sendall(head + b"\r\n" + body)
        return kind != "close"

    server = Server(answer)
    under = gateway("bodies", server)
    connection = http.client.HTTPConnection(under.address(), timeout=20)
    try:
        for kind in ("length", "chunked", "close"):
            for size in (0, 1, 65536, 65537, 200000, 900000):
                results = []
                for _ in range(3):
                    connection.request("GET", "/%s-%d" % (kind, size))
                    got = connection.getresponse()
                    assert got.read() == content[:size], (kind, size)
                    results.append(got.headers["X-Cache"])
                assert results == ["miss", "hit", "hit"], (kind, size, results)
        # Old clients.
        answer = under.raw(b"GET /length-900000 HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % under.ports[0])
        assert answer.endswith(content) and b"X-Cache: hit" in answer[:500]
        # Many requests that are sent at once.
        request = b"GET /length-65537 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%%s\r\n" % under.ports[0]
        answer = under.raw(request % b"" * 20 + request % b"Connection: close\r\n")
        assert answer.count(b"HTTP/1.1 200 OK") == 21 and answer.count(content[:65537]) == 21
    finally:
        connection.close()
        under.stop()
        server.stop()


def broken_answers_are_not_stored():
    def answer(request, connection):
        if len(server.seen) == 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1000\r\n\r\nshort")
            return False
        return say("whole", fields="Cache-Control: max-age=60\r\n")(request, connection)

    server = Server(answer)
    under = gateway("short", server)
    try:
        try:
            under.get("/")
            assert False, "it was taken for a whole one"
        except http.client.IncompleteRead:
            pass
        assert fetch(under)[1:3] == (b"whole", "miss") and fetch(under)[1:3] == (b"whole", "hit")
    finally:
        under.stop()
        server.stop()


def resident(under):
    """KiB that the gateway's process has, which is the only child of the supervisor."""
    with open("/proc/%d/task/%d/children" % (under.process.pid, under.process.pid)) as file:
        child = file.read().split()[0]
    with open("/proc/%s/status" % child) as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def memory_is_bounded():
    pages = Pages("Cache-Control: max-age=600\r\n", body=random.Random(1).randbytes(50000))
    under = gateway("memory", pages, 'memory = "4MiB"; object_maximum = "64KiB";')
    try:
        for number in range(200):  # 10 MB
            assert fetch(under, "/%d" % number)[2] == "miss"
        shown = json.loads(under.get("/v1/gateway/caches", address=under.admin)[1])["caches"][0]
        assert shown["memory"] <= 4 << 20 and shown["objects"] >= 40, shown
        assert fetch(under, "/199")[2] == "hit" and fetch(under, "/0")[2] == "miss"
        pages.body = b"x" * 65537
        assert [fetch(under, "/large")[2] for _ in range(2)] == ["miss", "miss"]
        # A client that reads slowly has its answer, though that is no longer stored.
        pages.body = random.Random(2).randbytes(65536)
        assert fetch(under, "/slow")[2] == "miss"
        host, port = under.address().split(":")
        with socket.create_connection((host, int(port))) as client:
            request = b"GET /slow HTTP/1.1\r\nHost: %s:%s\r\n%%s\r\n" % (host.encode(), port.encode())
            before = resident(under)
            client.sendall(request % b"" * 299 + request % b"Connection: close\r\n")  # 20 MB
            time.sleep(0.5)  # it does not read
            assert fetch(under, "/199")[0] == 200
            # Nor is the rest answered before it does.
            assert resident(under) - before < 8192 * (8 if is_sanitized(BINARIES) else 1), (before, resident(under))
            assert under.get("/v1/gateway/caches/pages", method="DELETE", address=under.admin)[0] == 200
            answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
        assert answer.count(pages.body) == 300, (answer.count(pages.body), len(answer))
    finally:
        under.stop()
        pages.stop()


def stored_answers_are_compressed_on_their_way():
    body = b"order 1 customer 2 line 3 amount 4 " * 8000
    pages = Pages("Cache-Control: max-age=60\r\nContent-Type: text/plain\r\nETag: \"a\"\r\n", body=body)
    under = gateway("gzip", pages, route="gzip: { enabled = true; };")
    try:
        for takes in ({"Accept-Encoding": "gzip"}, {}, {"Accept-Encoding": "gzip"}):
            status, got, result, fields = fetch(under, "/", takes)
            assert (gzip.decompress(got) if takes else got) == body and fields["Vary"] == "Accept-Encoding", fields
            assert fields["ETag"] == ('W/"a"' if takes else '"a"')
        assert result == "hit" and len(pages.seen) == 1
        assert fetch(under, "/", {"If-None-Match": 'W/"a"'})[:3] == (304, b"", "hit")
        answers = under.raw(b"GET / HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n" %
                            under.address().encode())
        assert b"X-Cache: hit" in answers and answers.endswith(b"\r\n0\r\n\r\n")
    finally:
        under.stop()
        pages.stop()


def clients_of_http2_get_them_too():
    curl = shutil.which("curl")
    if not curl or "nghttp2" not in subprocess.run([curl, "--version"], capture_output=True, text=True).stdout:
        print("  left out: there is no curl with HTTP/2")
        return
    body = random.Random(5).randbytes(700000)
    pages = Pages("Cache-Control: max-age=60\r\n", body=body)
    under = gateway("http2", pages)

    def ask(*more):
        done = subprocess.run([curl, "-sS", "--http2-prior-knowledge", "-D", "-", *more], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        for result in (b"miss", b"hit", b"hit"):
            head, got = ask("http://%s/" % under.address()).split(b"\r\n\r\n", 1)
            assert got == body and b"x-cache: " + result in head and b"HTTP/2 200" in head, head
        assert fetch(under)[2] == "hit"  # the same one
        h2load = shutil.which("h2load")
        if h2load:  # side by side
            done = subprocess.run([h2load, "-n", "200", "-c", "3", "-m", "20", "http://%s/" % under.address()],
                                  capture_output=True, text=True, timeout=60)
            assert "200 succeeded, 0 failed" in done.stdout and "(%d) data" % (200 * len(body)) in done.stdout, done.stdout
        assert len(pages.seen) == 1
    finally:
        under.stop()
        pages.stop()


# ---- Configuration -------------------------------------------------------------------------------------------------------


def options_are_obeyed():
    pages = Pages()
    under = Gateway(fresh_directory(DIRECTORY, "options"), BINARIES, PLUGINS, LISTENER + """
caches: {
  short: { default_ttl = "1s"; status_field = false; };
  keyed: { default_ttl = "60s"; key = [ "cookie lang", "field X-Tenant" ]; };
};
routes: {
  one: { path = "/short"; upstream = "app"; cache = "short"; };
  two: { path = "/keyed"; upstream = "app"; cache = "keyed"; };
  three: { path = "/other"; replace_prefix = "/keyed"; upstream = "app"; cache = "keyed"; };
  rest: { upstream = "app"; };
};
upstreams: { app: { servers: { one: { address = "%s"; }; }; }; };""" % pages.address)
    under.start()
    try:
        assert fetch(under, "/short")[1:3] == (b"1", None) and fetch(under, "/short")[1:3] == (b"1", None)
        wait_until(lambda: fetch(under, "/short")[1] == b"2", what="it to be stale")
        seen = len(pages.seen)
        assert fetch(under, "/rest")[2] is None and fetch(under, "/rest")[2] is None and len(pages.seen) == seen + 2
        asked = [{}, {"Cookie": "lang=de"}, {"Cookie": "a=b; lang=en"}, {"Cookie": "lang=en", "X-Tenant": "t"}]
        assert [fetch(under, "/keyed", headers)[2] for headers in asked] == ["miss"] * 4
        assert [fetch(under, "/keyed", headers)[2] for headers in asked] == ["hit"] * 4
        assert fetch(under, "/keyed", {"Cookie": "other=1"})[2] == "hit"
        # A reload keeps what is stored, one of another size begins anew.
        with open(under.config) as file:
            text = file.read()
        before = under.version()
        for old, new, result in (('status_field = false', 'status_field = true', "hit"),
                                 ('key = [', 'memory = "32MiB"; key = [', "miss")):
            text = text.replace(old, new)
            with open(under.config, "w") as file:
                file.write(text)
            under.reload()
            assert fetch(under, "/keyed")[2] == result
        assert under.version() == before + 2
    finally:
        under.stop()
        pages.stop()


def mistakes_are_found():
    pages = Pages()
    under = Gateway(fresh_directory(DIRECTORY, "mistakes"), BINARIES, PLUGINS, "")
    try:
        for wrong, word in (('object_maximum = "17MiB"', "quarter of memory"), ('key = [ "body x" ]', "not known"),
                            ('key = [ "thing" ]', "key"), ('memory = "1KiB"', "memory"), ("", "did you mean 'pages'")):
            under.configure(LISTENER + 'caches: { pages: { %s; }; };\nroutes: { all: { upstream = "app"; cache = "%s"; }; };\n'
                            'upstreams: { app: { servers: { one: { address = "%s"; }; }; }; };'
                            % (wrong or 'memory = "8MiB"', "pages" if wrong else "page", pages.address))
            code, said = under.check()
            assert code != 0 and word in said and "holdfast.cfg:" in said, said
    finally:
        pages.stop()


CASES = [fresh_answers_are_given_again, what_must_not_be_stored_is_not, answers_vary, clients_say_what_they_take,
         clients_get_304_from_the_cache, servers_say_that_it_is_still_right, what_has_changed_replaces_it,
         one_fetches_and_others_wait, nobody_waits_for_long, clients_that_wait_may_go, stale_answers_while_servers_fail,
         stale_answers_while_the_breaker_is_open, stale_answers_while_it_is_fetched_anew,
         unsafe_requests_make_it_invalid, operators_purge, bodies_of_all_kinds, broken_answers_are_not_stored,
         memory_is_bounded, stored_answers_are_compressed_on_their_way, clients_of_http2_get_them_too,
         options_are_obeyed, mistakes_are_found]

if __name__ == "__main__":
    try:
        run_cases(CASES, sys.argv[3:])
    finally:
        shutil.rmtree(DIRECTORY, ignore_errors=True)
