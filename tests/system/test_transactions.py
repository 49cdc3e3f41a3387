"""Transactions over partitions: test_transactions.py BINARIES PLUGINS [SECONDS [SEED]]

Clients move money between accounts in different partitions and write each move into a ledger, all in one transaction,
while nodes are killed at random moments.  Whatever happens: no money is made or lost, at no moment that can be seen; a
move is in the ledger exactly when it was answered, or was in doubt and is in the accounts, too; and nothing stays
locked."""
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

ACCOUNTS = 24
START = 1000
STORE = ('replication = "raft"; engine = "rocksdb"; write_timeout = "5s"; '
         'tables: { accounts: { format = "json"; hash_ranges = 6; }; ledger: { format = "json"; hash_ranges = 3; }; }')


def account(number):
    return "account-%d" % number


class Client(threading.Thread):
    def __init__(self, cluster, name, seed):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.name = name
        self.random = random.Random(seed)
        self.moves = 0       # answered
        self.conflicts = 0
        self.refused = 0
        self.sums = 0        # seen at one moment
        self.certain = []    # moves that were answered
        self.longest = 0.0
        self.failed = None
        self.ending = threading.Event()

    def node(self):
        return self.random.choice([node for node in self.cluster.nodes if node.alive] or self.cluster.nodes)

    def ask(self, method, path, body=None, headers={}):
        """None: no answer, or one that says to come back."""
        try:
            status, text, fields = self.node().request(method, path, body, headers, 15)
        except OSError:
            return None
        if status in (503, 504):
            return None
        return status, json.loads(text) if text else None, fields

    def read(self, number):
        answer = self.ask("GET", "/v1/tables/accounts/records/" + account(number))
        if answer is None:
            return None
        assert answer[0] == 200, answer
        return answer[1]["balance"], int(answer[2]["ETag"].strip('"'))

    def transact(self, operations, key):
        """True: done; False: a condition did not hold.  Repeated, with its key, until there is an answer."""
        body = json.dumps({"operations": operations})
        began = time.monotonic()
        while time.monotonic() < began + 60:
            answer = self.ask("POST", "/v1/transactions", body, {"Idempotency-Key": key})
            if answer is None:
                self.refused += 1
                continue
            assert answer[0] in (200, 412), answer
            self.longest = max(self.longest, time.monotonic() - began)
            return answer[0] == 200
        raise AssertionError("transaction %s had no answer for a minute" % key)

    def move(self, number):
        first, second = self.random.sample(range(ACCOUNTS), 2)
        a, b = self.read(first), self.read(second)
        if a is None or b is None:
            return
        amount = self.random.randint(1, 50)
        key = "%s-%d" % (self.name, number)
        done = self.transact([
            {"table": "accounts", "op": "put", "key": account(first), "value": {"balance": a[0] - amount},
             "if_version": a[1]},
            {"table": "accounts", "op": "put", "key": account(second), "value": {"balance": b[0] + amount},
             "if_version": b[1]},
            {"table": "ledger", "op": "put", "key": key, "value": {"from": first, "to": second, "amount": amount},
             "if_absent": True}], key)
        if done:
            self.moves += 1
            self.certain.append(key)
        else:
            self.conflicts += 1

    def look(self, number):
        """All balances as of one moment: when a check of all versions holds."""
        seen = [self.read(i) for i in range(ACCOUNTS)]
        if None in seen:
            return
        checks = [{"table": "accounts", "op": "check", "key": account(i), "if_version": seen[i][1]}
                  for i in range(ACCOUNTS)]
        if self.transact(checks, "%s-look-%s" % (self.name, number)):
            self.sums += 1
            total = sum(balance for balance, _ in seen)
            assert total == ACCOUNTS * START, "there is %d and should be %d" % (total, ACCOUNTS * START)

    def run(self):
        number = 0
        try:
            while not self.ending.is_set():
                number += 1
                self.look(number) if number % 10 == 0 else self.move(number)
        except AssertionError as error:
            self.failed = error

    def end(self):
        self.ending.set()
        self.join()
        if self.failed:
            raise self.failed


def refuses_what_is_wrong(node):
    def status(body):
        return node.json("POST", "/v1/transactions", json.dumps(body))
    good = {"table": "accounts", "op": "put", "key": "x", "value": {}}
    assert status({})[0] == 400
    assert status({"operations": []})[0] == 400
    assert status({"operations": [{"op": "put", "key": "x", "value": 1}]})[0] == 400  # no table
    assert status({"operations": [dict(good, table="nothing")]})[0] == 404
    assert status({"operations": [dict(good, table="_catalog")]})[0] == 403
    assert status({"operations": [good, dict(good, op="check")]})[0] == 400  # checks nothing
    assert status({"operations": [good, good]})[0] == 400  # the same key twice
    code, problem = status({"operations": [dict(good, key="new", if_absent=True),
                                           {"table": "ledger", "op": "put", "key": "y", "value": 1, "if_version": 99}]})
    assert code == 412 and problem["operation"] == 1, problem
    both = {"operations": [dict(good, key="once"), {"table": "ledger", "op": "put", "key": "once", "value": 1}]}
    for turn, (expected, repeated) in enumerate(((200, False), (200, True), (422, None))):
        if turn == 2:
            for operation in both["operations"]:
                operation["value"] = {"other": "body"}
        code, answer = node.json("POST", "/v1/transactions", json.dumps(both), {"Idempotency-Key": "the same"})
        assert code == expected and answer.get("repeated") == repeated, (turn, code, answer)
    assert node.request("GET", "/v1/tables/accounts/records/new")[0] == 404  # nothing was done


def nothing_is_locked(cluster):
    """Each account can be written; what clients left locked has been given back."""
    for i in range(ACCOUNTS):
        path = "/v1/tables/accounts/records/" + account(i)
        node = cluster.nodes[i % 3]
        status, _, fields = node.request("GET", path)
        assert status == 200, (path, status)
        value = node.request("GET", path)[1]
        assert node.request("PUT", path, value, {"If-Match": fields["ETag"]})[0] == 200, path


def main():
    binaries, plugins = sys.argv[1:3]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 20
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
    print("seed %d" % seed, flush=True)
    chance = random.Random(seed)
    directory = tempfile.mkdtemp(prefix="holdfast-transactions-")
    cluster = Cluster(directory, binaries, plugins, STORE)
    try:
        cluster.start("accounts")
        refuses_what_is_wrong(cluster.nodes[0])
        for i in range(ACCOUNTS):
            status = cluster.nodes[i % 3].request("PUT", "/v1/tables/accounts/records/" + account(i),
                                                  json.dumps({"balance": START}))[0]
            assert status == 200, status
        clients = [Client(cluster, "c%d" % i, seed + i) for i in range(6)]
        for client in clients:
            client.start()
        until = time.monotonic() + seconds
        kills = 0
        while time.monotonic() < until and not any(client.failed for client in clients):
            clients[0].ending.wait(chance.uniform(0.2, 2.5))
            node = chance.choice(cluster.nodes)
            node.kill()
            clients[0].ending.wait(chance.uniform(0, 1.5))
            node.start()
            kills += 1
        for node in cluster.nodes: # a power cut
            node.kill()
        for node in cluster.nodes:
            node.start(wait=False)
        for node in cluster.nodes:
            node.wait_ready()
        for client in clients:
            client.end()
        Cluster.wait(lambda: nothing_is_locked(cluster) is None, "what is locked to be free")
        balances = [cluster.nodes[0].json("GET", "/v1/tables/accounts/records/" + account(i))[1]["balance"]
                    for i in range(ACCOUNTS)]
        assert sum(balances) == ACCOUNTS * START, balances
        expected = [START] * ACCOUNTS
        ledger, cursor = {}, ""
        while cursor is not None:
            page = cluster.nodes[1].json("GET", "/v1/tables/ledger/records?limit=500" +
                                         ("&start=" + cursor if cursor else ""))[1]
            ledger.update((record["key"], record["value"]) for record in page["records"])
            cursor = page.get("next")
        del ledger["once"] # of refuses_what_is_wrong
        for entry in ledger.values():
            expected[entry["from"]] -= entry["amount"]
            expected[entry["to"]] += entry["amount"]
        assert balances == expected, (balances, expected)
        lost = [key for client in clients for key in client.certain if key not in ledger]
        assert not lost, lost
        assert sum(client.moves for client in clients) > 0
        clients[0].look("last") # nobody is in its way any more
        assert clients[0].sums > 0
        print("%d moves, %d conflicts, %d asked again, %d sums, %d kills; the longest took %.2f s" % (
            sum(c.moves for c in clients), sum(c.conflicts for c in clients), sum(c.refused for c in clients),
            sum(c.sums for c in clients), kills, max(c.longest for c in clients)))
    except BaseException:
        print("kept %s" % directory)
        cluster.kill()
        raise
    cluster.kill()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
