#!/usr/bin/env python3
"""Many users who ask the gateway without a pause, and say each second what they got.

  users.py http://127.0.0.1:7450/ [--users 200] [--threads 8] [--seconds 60]"""
import argparse
import collections
import http.client
import json
import random
import threading
import time
from urllib.parse import urlsplit


class Counts:
    """What the answers of the present second were."""

    def __init__(self):
        self.lock = threading.Lock()
        self.kinds = collections.Counter()

    def add(self, kind):
        with self.lock:
            self.kinds[kind] += 1

    def take(self):
        with self.lock:
            kinds, self.kinds = self.kinds, collections.Counter()
            return kinds


def kind_of(status, body):
    if status != 200:
        return "failed (%d)" % status
    document = json.loads(body)
    return "degraded" if "degraded" in document else "version %(version)s at %(server)s" % document


def ask(address, path, users, counts, end):
    connection = http.client.HTTPConnection(address, timeout=30)
    while time.monotonic() < end:
        try:
            connection.request("GET", path, headers={"X-User": "u%d" % random.randrange(users)})
            answer = connection.getresponse()
            counts.add(kind_of(answer.status, answer.read()))
        except (OSError, http.client.HTTPException) as error:
            counts.add("failed (%s)" % type(error).__name__)
            connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    url = urlsplit(options.url)
    counts, end = Counts(), time.monotonic() + options.seconds
    for _ in range(options.threads):
        threading.Thread(target=ask, args=(url.netloc, url.path or "/", options.users, counts, end), daemon=True).start()
    while time.monotonic() < end:
        time.sleep(1)
        print(", ".join("%s: %d" % pair for pair in sorted(counts.take().items())) or "no answers", flush=True)


if __name__ == "__main__":
    main()
