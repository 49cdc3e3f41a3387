#!/usr/bin/env python3
"""Five thousand requests a second through a gateway that is given a hundred configurations, one after the other, killed
once, and restarted in place: none fails.  (What was under way when it was killed does; nothing else.)

  test_gateway_reloads.py BINARIES PLUGINS [--rate 5000] [--reloads 100]"""
import argparse
import os
import shutil
import signal
import subprocess
import tempfile

from gateway import Gateway, free_ports, wait_until

CLIENTS = 64


def section(backends, i):
    """The i-th configuration: other servers, another balancer, other options of everything."""
    kept = [port for n, port in enumerate(backends) if n != i % len(backends)]
    servers = " ".join('s%d: { address = "127.0.0.1:%d"; weight = %d; };' % (port, port, 1 + i % 3) for port in kept)
    return """
  listeners: { web: { address = "127.0.0.1:PORT(0)"; idle_timeout = "%ds"; }; %s };
  routes: { all: { upstream = "app"; response_fields = [ "X-Version: %d" ]; }; };
  upstreams: { app: { balancer = "%s"; slow_start = "%ds"; servers: { %s }; }; };
""" % (60 + i, 'more: { address = "127.0.0.1:PORT(1)"; };' if i % 5 == 0 else "", i,
       ("round_robin", "ketama", "least_connections")[i % 3], i % 2, servers)


def start_load(binaries, port, rate):
    return subprocess.Popen([os.path.join(binaries, "gateway_load"), "paced", str(port), str(CLIENTS), str(rate)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_load(load):
    """(requests, requests a second, p99 in us, errors, what it said of them)"""
    out, err = load.communicate(timeout=60)
    requests, rate, _, p99, errors = out.split()
    return int(requests), float(rate), int(p99), int(errors), err


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binaries")
    parser.add_argument("plugins")
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--reloads", type=int, default=100)
    options = parser.parse_args()
    binaries = os.path.abspath(options.binaries)
    directory = tempfile.mkdtemp(prefix="holdfast-reloads-")
    ports = free_ports(3)
    backends = [subprocess.Popen([os.path.join(binaries, "gateway_backend"), str(port)]) for port in ports]
    gateway = Gateway(directory, binaries, os.path.abspath(options.plugins), section(ports, 0), ports=2,
                      enabled=["balancer/ketama", "balancer/least_connections"])
    try:
        gateway.start()
        load = start_load(binaries, gateway.ports[0], options.rate)
        for i in range(1, options.reloads + 1):
            gateway.reload(section(ports, i))
            wait_until(lambda: gateway.get()[2]["X-Version"] == str(i), 20, "configuration %d" % i)
        gateway.configure(section(ports, options.reloads + 1))
        gateway.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: gateway.get()[2]["X-Version"] == str(options.reloads + 1), 60, "the restart")
        requests, rate, p99, errors, said = end_load(load)
        print("%d reloads and a restart: %d requests, %.0f a second, p99 %d us, %d failed" %
              (options.reloads, requests, rate, p99, errors))
        assert errors == 0, said
        assert rate > options.rate * 0.9, "the machine was too slow for the load: nothing is shown"

        load = start_load(binaries, gateway.ports[0], options.rate)
        os.kill(gateway.worker_process(), signal.SIGKILL)
        wait_until(lambda: gateway.is_live() and gateway.get()[0] == 200, 60, "the successor")
        requests, rate, p99, errors, said = end_load(load)
        print("a kill -9: %d requests, %d failed" % (requests, errors))
        assert errors <= CLIENTS, said  # one for each connection at most: new ones wait for the successor
        assert "no connection" not in said, said
    finally:
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(60)
        for backend in backends:
            backend.kill()
            backend.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
