#!/usr/bin/env python3
"""A small server to stand behind the gateway: answers every request with who it is and what it saw.

  backend.py --name a --port 9001 [--version 1]

POST /break?percent=100&seconds=10 makes it fail, POST /slow?ms=800&seconds=10 makes it slow, for a while; /healthz says
whether it is well."""
import argparse
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Mood:
    """What it was told to do, and until when."""

    def __init__(self):
        self.lock = threading.Lock()
        self.percent, self.ms, self.until = 0.0, 0.0, 0.0

    def set(self, seconds, percent=0.0, ms=0.0):
        with self.lock:
            self.percent, self.ms, self.until = percent, ms, time.monotonic() + seconds

    def now(self):
        with self.lock:
            return (self.percent, self.ms) if time.monotonic() < self.until else (0.0, 0.0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = version = mood = None

    def answer(self, status, document):
        body = (json.dumps(document) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_request(self):
        target = urlsplit(self.path)
        arguments = {name: float(values[0]) for name, values in parse_qs(target.query).items()
                     if name in ("percent", "seconds", "ms")}
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "POST" and target.path == "/break":
            self.mood.set(arguments.get("seconds", 10), percent=arguments.get("percent", 100))
            return self.answer(200, {"server": self.name, "breaks": True})
        if self.command == "POST" and target.path == "/slow":
            self.mood.set(arguments.get("seconds", 10), ms=arguments.get("ms", 800))
            return self.answer(200, {"server": self.name, "slow": True})
        percent, ms = self.mood.now()
        time.sleep(ms / 1000)
        if random.random() * 100 < percent:
            return self.answer(500, {"server": self.name, "error": "it was told to fail"})
        return self.answer(200, {"server": self.name, "version": self.version, "method": self.command,
                                 "path": target.path, "user": self.headers.get("X-User"),
                                 "client": self.headers.get("X-Forwarded-For")})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    def log_message(self, *arguments):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", default="1")
    options = parser.parse_args()
    Handler.name, Handler.version, Handler.mood = options.name, options.version, Mood()
    ThreadingHTTPServer.request_queue_size = 1024
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
