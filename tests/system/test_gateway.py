#!/usr/bin/env python3
"""The gateway over HTTP/1.1, with real processes: routes and what they change; servers that die, hang, are slow, answer
garbage and break off; retries, queues, breakers and degraded answers; upgrades; reloads under load.

  test_gateway.py BINARIES PLUGINS [CASE...]"""
import http.client
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

from gateway import Gateway, Server, field_of, free_ports, fresh_directory, run_cases, say, wait_until

BINARIES, PLUGINS = (os.path.abspath(folder) for folder in sys.argv[1:3])
DIRECTORY = tempfile.mkdtemp(prefix="holdfast-gateway-")

LISTENER = 'listeners: { web: { address = "127.0.0.1:PORT(0)"; %s }; };\n'


def servers(*addresses, each="", upstream=""):
    lines = ["s%d: { address = \"%s\"; %s };" % (i, address, each) for i, address in enumerate(addresses)]
    return "upstreams: { app: { servers: { %s }; %s }; };\n" % (" ".join(lines), upstream)


def gateway(name, section, **more):
    made = Gateway(fresh_directory(DIRECTORY, name), BINARIES, PLUGINS, section, **more)
    made.start()
    return made


def simple(name, *addresses, each="", upstream="", route="", listener="", **more):
    return gateway(name, LISTENER % listener + 'routes: { all: { upstream = "app"; %s }; };\n' % route +
                   servers(*addresses, each=each, upstream=upstream), **more)


# ---- Routes --------------------------------------------------------------------------------------------------------------


def routes_change_what_they_say():
    back = Server(say("from the server", fields="X-Secret: 1\r\nServer: s\r\n"))
    under = gateway("routes", LISTENER % 'trusted_proxies = [ "127.0.0.0/8" ];' + """
        routes: {
          old: { path = "/old"; redirect = "https://$host/new$path?$query"; status = 301; };
          ping: { path = "/ping"; path_match = "exact"; body = "pong\\n"; };
          tea: { hosts = [ "*.tea.example" ]; status = 418; body = "short and stout"; };
          posts: { methods = [ "POST" ]; path = "/only/post"; status = 204; };
          users: { conditions: { a: { of = "cookie"; key = "user"; test = "equals"; value = "42"; }; };
                   path = "/who"; body = "forty-two"; };
          api: { path = "/api"; replace_prefix = "/v2"; host = "inside.example"; upstream = "app";
                 request_fields = [ "X-Env: test", "X-Gone:" ]; response_fields = [ "X-Secret:", "X-Gate: yes" ]; };
          rest: { path = "/who"; body = "anybody"; };
        };
        """ + servers(back.address))
    try:
        status, _, fields = under.get("/old/page?a=1", headers={"Host": "a.example"})
        assert (status, fields["Location"]) == (301, "https://a.example/new/page?a=1"), (status, fields)
        assert under.get("/ping")[:2] == (200, b"pong\n")
        assert under.get("/ping/more")[0] == 404
        assert under.get("/x", headers={"Host": "green.tea.example"})[:2] == (418, b"short and stout")
        assert under.get("/only/post", method="POST")[0] == 204
        assert under.get("/only/post")[0] == 404
        assert under.get("/who", headers={"Cookie": "a=1; user=42"})[1] == b"forty-two"
        assert under.get("/who", headers={"Cookie": "user=421"})[1] == b"anybody"
        status, body, fields = under.get("/api/x?y=1", headers={"X-Gone": "1", "X-Forwarded-For": "192.0.2.7"})
        assert (status, body) == (200, b"from the server")
        assert fields["X-Secret"] is None and fields["X-Gate"] == "yes"
        head, _ = back.seen[-1]
        assert head[0] == "GET /v2/x?y=1 HTTP/1.1", head
        assert field_of(head, "host") == "inside.example" and field_of(head, "x-env") == "test"
        assert field_of(head, "x-gone") is None
        assert field_of(head, "x-forwarded-for") == "192.0.2.7, 127.0.0.1", head
        assert under.get("/api/../ping")[1] == b"pong\n"
        assert under.get("/a%2e./../../x")[0] == 400
    finally:
        under.stop()


def bodies_go_both_ways():
    def echo(request, connection):
        return say(request[1])(request, connection)

    def chunks(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(request[1]), 10000):
            piece = request[1][i:i + 10000]
            connection.sendall(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        return True

    def until_close(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + request[1])
        return False

    back = Server(lambda request, connection: {"/chunks": chunks, "/close": until_close}.get(
        request[0][0].split()[1], echo)(request, connection))
    under = simple("bodies", back.address)
    try:
        for size in (0, 1, 1000, 65536, 65537, 5 << 20):
            data = os.urandom(size)
            for path in ("/", "/chunks", "/close"):
                assert under.get(path, method="POST", body=data)[:2] == (200, data), (size, path)
                pieces = iter([data[i:i + 7777] for i in range(0, size, 7777)])
                assert under.get(path, method="POST", body=pieces)[:2] == (200, data), (size, path)
        # An old client does not know of chunks: the end of the connection is the end of the body.
        answer = under.raw(b"POST /chunks HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nhello"), answer
        assert b"chunked" not in answer
        # Several requests at once, and one whose body is announced only.
        answer = under.raw(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                           b"HEAD /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 OK") == 3, answer
        answer = under.raw(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
                           b"Connection: close\r\n\r\n", timeout=0.5)
        assert answer == b"HTTP/1.1 100 Continue\r\n\r\n", answer
    finally:
        under.stop()


def bodies_without_a_length_may_come_late():
    """A head that comes alone, before a body that ends with the connection, ends nothing."""
    def late(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        time.sleep(0.1)  # so that the gateway has read it
        connection.sendall(b"late body")
        return False

    back = Server(late)
    under = simple("late", back.address)
    try:
        for _ in range(3):
            assert under.get()[:2] == (200, b"late body")
    finally:
        under.stop()


def limits_are_kept():
    back = Server()
    under = simple("limits", back.address, listener='head_maximum = 2048; body_maximum = 1000; head_timeout = "300ms"; '
                   'body_timeout = "300ms"; idle_timeout = "300ms"; connections_maximum = 20;')
    try:
        assert under.get("/", headers={"X": "a" * 3000})[0] == 431
        assert under.get("/", method="POST", body=b"a" * 1001)[0] == 413
        assert under.get("/", method="POST", body=iter([b"a" * 600, b"b" * 600]))[0] == 413
        assert under.get("/", method="POST", body=b"a" * 1000)[0] == 200
        assert under.raw(b"GET / HTTP/1.1\r\nHost: h\r\n").startswith(b"HTTP/1.1 408 ")
        assert under.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab").startswith(b"HTTP/1.1 408 ")
        assert under.raw(b"") == b""
        assert len(back.seen) == 1, back.seen
    finally:
        under.stop()


# ---- Servers that fail -----------------------------------------------------------------------------------------------------


def a_dead_server_costs_no_request():
    first, second = Server(say("1")), Server(say("2"))
    under = simple("dead", first.address, second.address, each='max_fails = 3; fail_timeout = "30s";')
    try:
        got = [under.get()[1] for _ in range(40)]
        assert abs(got.count(b"1") - 20) <= under.workers, got # each worker takes turns by itself
        first.stop()
        answers = [under.get() for _ in range(100)]
        assert all(answer[:2] == (200, b"2") for answer in answers), answers
        first.start()
    finally:
        under.stop()


def a_backup_gets_what_others_cannot():
    first, backup = Server(say("1")), Server(say("b"))
    under = gateway("backup", LISTENER % "" + 'routes: { all: { upstream = "app"; }; };\n'
                    'upstreams: { app: { servers: { a: { address = "%s"; max_fails = 1; fail_timeout = "400ms"; };'
                    ' b: { address = "%s"; backup = true; }; }; }; };' % (first.address, backup.address))
    try:
        assert {under.get()[1] for _ in range(20)} == {b"1"}
        first.stop()
        assert {under.get()[1] for _ in range(20)} == {b"b"}
        first.start()
        wait_until(lambda: under.get()[1] == b"1", 10, "the first server's return")
    finally:
        under.stop()


def only_what_is_safe_is_sent_again():
    deaf = Server(lambda request, connection: False)  # closes when it has read the request
    good = Server(say("good"))
    under = simple("safe", deaf.address, good.address, each="max_fails = 0;")
    try:
        for _ in range(6):
            assert under.get()[:2] == (200, b"good")
            assert under.get(method="PUT", body=b"x")[:2] == (200, b"good")
        got = [under.get(method="POST", body=b"x")[0] for _ in range(10)]
        assert set(got) == {200, 502}, got
        posts = [request for request in deaf.seen + good.seen if request[0][0].startswith("POST")]
        assert len(posts) == 10, len(posts)
    finally:
        under.stop()


def bad_answers_are_found():
    def garbage(request, connection):
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        return False

    def twice(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
        return False

    def short(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabcd")
        return False

    def hangs(request, connection):
        time.sleep(30)
        return False

    back = Server()
    under = simple("bad", back.address, each="max_fails = 0;", route='timeout = "400ms"; tries = 1;')
    try:
        for answer, status in ((garbage, 502), (twice, 502), (hangs, 504)):
            back.answer = answer
            assert under.get()[0] == status, answer
        back.answer = short
        try:
            under.get()
            raise AssertionError("a body that breaks off was taken for a whole one")
        except http.client.IncompleteRead as error:
            assert error.partial == b"abcd"
        back.answer = say("late, but whole")
        assert under.get()[0] == 200
    finally:
        under.stop()


def a_slow_server_is_left_for_another():
    def slow(request, connection):
        time.sleep(2)
        return say("slow")(request, connection)

    first, second = Server(slow), Server(say("fast"))
    under = simple("slow", first.address, second.address, each="max_fails = 0;", route='try_timeout = "200ms";')
    try:
        assert {under.get()[1] for _ in range(6)} == {b"fast"}
        assert first.seen
    finally:
        under.stop()


def answers_of_failure_are_tried_elsewhere():
    bad, good = Server(say("no", "503 Service Unavailable")), Server(say("yes"))
    under = simple("http503", bad.address, good.address, each="max_fails = 0;", route='retry_on = [ "http_503" ];')
    try:
        assert {under.get()[:2] for _ in range(10)} == {(200, b"yes")}
        assert bad.seen
    finally:
        under.stop()


def retries_have_a_budget():
    bad = [Server(lambda request, connection: False) for _ in range(3)]
    under = simple("budget", *[server.address for server in bad], each="max_fails = 0;",
                   upstream="retry_ratio = 0.1; retry_burst = 5;")
    try:
        assert {under.get()[0] for _ in range(100)} == {502}
        tried = sum(len(server.seen) for server in bad)
        assert 100 + 5 <= tried <= 100 + 5 + 10 + 1, tried
    finally:
        under.stop()


def a_breaker_opens_and_closes():
    bad = Server(say("no", "500 Internal Server Error"))
    under = simple("breaker", bad.address, each="max_fails = 0;", workers=1, upstream="""
        breaker: { enabled = true; calls_minimum = 10; failed_percent = 50; open = "500ms"; tries = 2; };
        degraded: { status = 200; body = "{\\"degraded\\":true}"; type = "application/json"; };""")
    try:
        assert {under.get()[0] for _ in range(10)} == {500}
        status, body, fields = under.get()
        assert (status, body, fields["Content-Type"]) == (200, b'{"degraded":true}', "application/json"), (status, body)
        asked = len(bad.seen)
        assert under.get()[1] == b'{"degraded":true}' and len(bad.seen) == asked
        bad.answer = say("well")
        wait_until(lambda: under.get()[1] == b"well", 10, "the breaker's end")
        assert {under.get()[1] for _ in range(20)} == {b"well"}
    finally:
        under.stop()


def another_upstream_steps_in():
    first, other = Server(say("1")), Server(say("other"))
    under = gateway("fallback", LISTENER % "" + 'routes: { all: { upstream = "app"; }; };\n'
                    'upstreams: { app: { servers: { a: { address = "%s"; }; }; degraded: { upstream = "spare"; }; };'
                    ' spare: { servers: { b: { address = "%s"; }; }; }; };' % (first.address, other.address))
    try:
        assert under.get()[1] == b"1"
        first.stop()
        assert {under.get()[:2] for _ in range(10)} == {(200, b"other")}
    finally:
        under.stop()


def what_is_too_much_waits_or_is_refused():
    may_go = threading.Semaphore(0)

    def waits(request, connection):
        may_go.acquire()
        return say("done")(request, connection)

    back = Server(waits)
    under = simple("queue", back.address, each="requests_maximum = 1;", workers=1,
                   upstream='queue_maximum = 1; queue_timeout = "15s";')
    results = []
    try:
        asking = [threading.Thread(target=lambda: results.append(under.get(timeout=60)[0])) for _ in range(6)]
        for thread in asking:
            thread.start()
        wait_until(lambda: len(results) == 4, 10, "refusals") # one is served, one waits
        assert results == [503] * 4 and len(back.seen) == 1, (results, back.seen)
        may_go.release()
        wait_until(lambda: len(back.seen) == 2, 10, "the turn of the one that waits")
        may_go.release()
        for thread in asking:
            thread.join()
        assert results == [503] * 4 + [200] * 2, results
    finally:
        may_go.release()
        may_go.release()
        under.stop()


# ---- Other protocols -------------------------------------------------------------------------------------------------------


def upgrades_become_tunnels():
    def switch(request, connection):
        if field_of(request[0], "upgrade") != "echo":
            return say("no upgrade")(request, connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nwelcome")
        while True:
            data = connection.recv(65536)
            if not data:
                return False
            connection.sendall(data.upper())

    back = Server(switch)
    under = simple("upgrade", back.address)
    try:
        host, port = under.address().split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            answer = b""
            while b"welcome" not in answer:
                answer += client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 101 ") and b"Upgrade: echo" in answer, answer
            data = b"abc" * 200000
            threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
            answer = b""
            while len(answer) < len(data):
                answer += client.recv(1 << 20)
            assert answer == data.upper()
        assert under.get()[1] == b"no upgrade"
    finally:
        under.stop()


def a_proxy_says_who_the_client_is():
    back = Server()
    under = simple("proxy", back.address, listener="proxy_protocol = true;")
    try:
        answer = under.raw(b"PROXY TCP4 192.0.2.9 198.51.100.1 1234 80\r\n"
                           b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK"), answer
        assert field_of(back.seen[-1][0], "x-forwarded-for") == "192.0.2.9"
        assert under.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n") == b""
    finally:
        under.stop()


# ---- Configurations --------------------------------------------------------------------------------------------------------


class Load:
    """Clients that ask without a pause, each over one connection as long as that lasts; what goes wrong is kept."""

    def __init__(self, address, count, pause=0.0):
        self.address = address
        self.pause = pause
        self.done = 0
        self.failed = []
        self.ending = False
        self.threads = [threading.Thread(target=self.ask) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        while not self.ending:
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failed.append((answer.status, body))
                self.done += 1
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
            time.sleep(self.pause)
        connection.close()

    def end(self):
        self.ending = True
        for thread in self.threads:
            thread.join()


def no_reload_costs_a_request():
    backs = [Server(say("%d" % i)) for i in range(3)]

    def section(i):
        kept = [back.address for back in backs if back is not backs[i % 3]]
        return (LISTENER % ('idle_timeout = "%ds";' % (60 + i)) +
                'routes: { all: { upstream = "app"; response_fields = [ "X-Version: %d" ]; }; };\n' % i +
                servers(*kept, upstream='balancer = "%s";' % ("round_robin", "ketama")[i % 2]))

    under = gateway("reload", section(0), enabled=["balancer/ketama"])
    load = Load(under.address(), 8)
    try:
        for i in range(1, 21):
            before = load.done
            under.reload(section(i))
            wait_until(lambda: under.get()[2]["X-Version"] == str(i), 10, "version %d" % i)
            wait_until(lambda: load.done > before + 20, 20, "more requests")
        before = load.done
        bad = section(21).replace('upstream = "app"', 'upstream = "ap"')
        under.configure(bad)
        under.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "there is no upstream 'ap'; did you mean 'app'?" in under.log(), 20, "the refusal")
        assert under.get()[2]["X-Version"] == "20"
        under.configure(section(22))
        pid = under.process.pid
        under.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: under.get()[2]["X-Version"] == "22", 60, "the restart")
        wait_until(lambda: load.done > before + 200, 20, "more requests")
        assert under.process.poll() is None and under.process.pid == pid
    finally:
        load.end()
        under.stop()
    assert not load.failed, load.failed[:5]


def mistakes_are_told():
    under = Gateway(fresh_directory(DIRECTORY, "mistakes"), BINARIES, PLUGINS, """
  listeners: { a: { address = "127.0.0.1:PORT(0)"; }; b: { address = "127.0.0.1:PORT(0)"; trusted_proxies = [ "10.0/8" ]; }; };
  routes: { r: { upstream = "aap"; path = "x"; listeners = [ "c" ]; request_fields = [ "Content-Length: 3" ];
                 retry_on = [ "bad" ]; }; };
  upstreams: { app: { servers: { s: { address = "127.0.0.1:1"; }; t: { address = "127.0.0.1:1"; }; };
                      key = "nothing"; degraded: { upstream = "spare"; }; };
               spare: { servers: { s: { address = "127.0.0.1:1"; }; }; degraded: { upstream = "app"; }; };
               none: { servers: { }; balancer = "rund_robin"; }; };
""")
    code, text = under.check()
    assert code == 1 and "did you mean 'round_robin'" in text, text
    under.configure(open(under.config).read().split("gateway: {\n")[1].rsplit("\n};", 1)[0].replace(
        ' balancer = "rund_robin";', ""))
    code, text = under.check()
    assert code == 1
    for line, words in ((8, "that of the listener 'a'"), (8, "'10.0/8' is no network"), (9, "no upstream 'aap'; did you"),
                        (9, "'x' does not begin with"), (9, "no listener 'c'"), (9, "'Content-Length' cannot be set"),
                        (10, "there is no 'bad'"), (11, "that of the server 's'"), (12, "'nothing' is no key"),
                        (12, "leads back to 'app'"), (13, "leads back to 'spare'"), (14, "there are 0")):
        assert any("holdfast.cfg:%d: " % line in each and words in each for each in text.splitlines()), (words, text)

def a_port_in_use_changes_nothing():
    section = 'listeners: { a: { address = "127.0.0.1:PORT(0)"; }; %s }; routes: { r: { body = "%s"; }; };'
    under = gateway("port", section % ("", "1"))
    try:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            under.configure(section % ('b: { address = "127.0.0.1:%d"; };' % taken.getsockname()[1], "2"))
            under.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "another program is there" in under.log(), 20, "the refusal")
            assert under.get()[1] == b"1"
        under.reload(section % ("", "3"))
        assert under.get()[1] == b"3"
        under.reload((section % ("", "4")).replace("{ a: {", "{ renamed: {"))
        assert under.get()[1] == b"4"
    finally:
        under.stop()


CASES = [routes_change_what_they_say, bodies_go_both_ways, bodies_without_a_length_may_come_late, limits_are_kept, a_dead_server_costs_no_request,
         a_backup_gets_what_others_cannot, only_what_is_safe_is_sent_again, bad_answers_are_found,
         a_slow_server_is_left_for_another, answers_of_failure_are_tried_elsewhere, retries_have_a_budget,
         a_breaker_opens_and_closes, another_upstream_steps_in, what_is_too_much_waits_or_is_refused,
         upgrades_become_tunnels, a_proxy_says_who_the_client_is, no_reload_costs_a_request, mistakes_are_told,
         a_port_in_use_changes_nothing]

if __name__ == "__main__":
    try:
        run_cases(CASES, sys.argv[3:])
    finally:
        shutil.rmtree(DIRECTORY, ignore_errors=True)
