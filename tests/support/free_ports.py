"""Ports for servers that a test starts, stops and starts again."""
import random
import socket


def free_ports(count):
    """Numbers that nobody listens on, below those that the kernel gives to outgoing connections: one of these would
    take the port while the server that it is meant for is down."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first_given = int(file.read().split()[0])
    ports = []
    while len(ports) < count:
        port = random.randrange(10000, max(first_given, 10001))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports
