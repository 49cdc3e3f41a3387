#!/usr/bin/env python3
"""All of h2spec against the gateway, without TLS and with it.  h2spec is built from its Go module in a folder that is kept;
without Go, or when the module cannot be had, the test is left out (exit code 77).

  test_gateway_h2spec.py BINARIES PLUGINS CACHE"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from gateway import Gateway, Server, fresh_directory, say

BINARIES, PLUGINS, CACHE = (os.path.abspath(folder) for folder in sys.argv[1:4])
MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
SECTIONS = ["generic", "http2", "hpack"]


def leave_out(why):
    print("left out: " + why)
    sys.exit(77)


def h2spec():
    """The program's path."""
    program = os.path.join(CACHE, "h2spec")
    if os.access(program, os.X_OK):
        return program
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin:/usr/lib/go/bin")
    if not go:
        leave_out("there is no program go, which builds h2spec (Debian: golang-go)")
    os.makedirs(CACHE, exist_ok=True)
    environment = dict(os.environ, GOBIN=CACHE, GOPATH=os.path.join(CACHE, "go"), GOFLAGS="-modcacherw",
                       GOCACHE=os.path.join(CACHE, "go-build"))
    done = subprocess.run([go, "install", MODULE], env=environment, capture_output=True, text=True, timeout=550)
    if done.returncode != 0:
        leave_out("h2spec could not be built: " + done.stderr.strip()[-500:])
    return program


def run(program, address, *more):
    host, port = address.split(":")
    done = subprocess.run([program, "-h", host, "-p", port, "-P", "/", "-o", "5", *more, *SECTIONS], capture_output=True,
                          text=True, timeout=300)
    counts = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert counts, done.stdout[-4000:] + done.stderr
    print(counts.group(0))
    every, passed, _, failed = map(int, counts.groups())
    assert failed == 0 and passed == every and every >= 145, done.stdout[done.stdout.index("Failures"):]


def main(directory):
    program = h2spec()
    crt, key = os.path.join(directory, "a.crt"), os.path.join(directory, "a.key")
    has_openssl = shutil.which("openssl")
    if has_openssl:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=a",
                        "-keyout", key, "-out", crt], check=True, capture_output=True)
    back = Server(say("hello"))
    under = Gateway(fresh_directory(directory, "node"), BINARIES, PLUGINS, """
        listeners: { plain: { address = "127.0.0.1:PORT(0)"; http1 = false; }; %s };
        routes: { all: { upstream = "app"; }; };
        upstreams: { app: { servers: { a: { address = "%s"; max_fails = 0; }; }; }; };
        """ % ("""secret: { address = "127.0.0.1:PORT(1)";
                            tls: { certificates: { a: { certificate = "%s"; key = "%s"; }; }; }; };""" % (crt, key)
               if has_openssl else "", back.address), ports=2)
    under.start()
    try:
        run(program, under.address(0))
        if has_openssl:
            run(program, under.address(1), "-t", "-k")
        else:
            print("without TLS only: it makes a certificate with the program openssl")
    finally:
        under.stop()


if __name__ == "__main__":
    temporary = tempfile.mkdtemp(prefix="holdfast-gateway-h2spec-")
    try:
        main(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
