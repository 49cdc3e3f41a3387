"""A real gateway for the system tests, and servers behind it that do what a test tells them."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from free_ports import free_ports


def wait_until(condition, seconds=20, what="the condition"):
    """Returns what the condition gives, once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("%s did not come true within %s s" % (what, seconds))


def is_sanitized(binaries):
    """Whether a sanitizer is in the programs: it keeps what was freed, and takes its time."""
    with open(os.path.join(binaries, "holdfastd"), "rb") as program:
        text = program.read()
    return b"__asan_init" in text or b"__tsan_init" in text


class Server:
    """A server that reads HTTP/1.1 requests and gives each to `answer(request, connection)`, which sends what it likes;
    returning True keeps the connection.  `seen` has all requests, as (head, body)."""

    def __init__(self, answer=None, port=None):
        self.answer = answer or say("hello")
        self.port = port or free_ports(1)[0]
        self.address = "127.0.0.1:%d" % self.port
        self.seen = []
        self.connections = 0
        self.listener = None
        self.open = set()
        self.start()

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(1024)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """As if it were killed: nobody listens any more, and what is open breaks off."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        reader = connection.makefile("rb")
        try:
            while True:
                request = read_request(reader)
                if request is None:
                    break
                self.seen.append(request)
                if not self.answer(request, connection):
                    break
        except OSError:
            pass
        finally:
            self.open.discard(connection)
            reader.close()
            connection.close()


def read_request(reader):
    """One request as (head, body), the head's lines without their ends; None: the connection ended before it did."""
    head = []
    while True:
        line = reader.readline()
        if not line:
            return None
        if line == b"\r\n":
            break
        head.append(line.rstrip(b"\r\n").decode("latin-1"))
    fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head[1:]}
    body = b""
    if fields.get("transfer-encoding") == "chunked":
        while True:
            line = reader.readline()
            if not line:
                return None
            size = int(line.split(b";")[0], 16)
            while size == 0:  # trailers, and the end of them
                line = reader.readline()
                if not line:
                    return None
                if line == b"\r\n":
                    return head, body
            body += reader.read(size)
            if not reader.readline():
                return None
    size = int(fields.get("content-length", "0"))
    body = reader.read(size)
    return (head, body) if len(body) == size else None


def field_of(head, name):
    """The value of the first field of that name in a head's lines, or None."""
    for line in head[1:]:
        if line.split(":", 1)[0].lower() == name.lower():
            return line.split(":", 1)[1].strip()
    return None


def say(text, status="200 OK", fields=""):
    body = text.encode() if isinstance(text, str) else text

    def answer(request, connection):
        shown = b"" if request[0][0].startswith("HEAD ") else body
        connection.sendall(("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), fields)).encode() + shown)
        return True

    return answer


class Gateway:
    """A node whose only service is the gateway.  `section` is what stands in its section; PORT(n) in it is the n-th
    port that was found free."""

    def __init__(self, directory, binaries, plugins, section, ports=1, workers=2, more="", enabled=()):
        self.directory = directory
        self.holdfastd = os.path.join(binaries, "holdfastd")
        self.holdfast = os.path.join(binaries, "holdfast")
        self.plugins = plugins
        self.workers = workers
        self.more = more
        self.enabled = ["service/gateway", "balancer/round_robin", *enabled]
        self.ports = free_ports(ports + 1)
        self.admin = "127.0.0.1:%d" % self.ports.pop()
        self.config = os.path.join(directory, "holdfast.cfg")
        self.log_path = os.path.join(directory, "log")
        self.process = None
        self.configure(section)

    def address(self, n=0):
        return "127.0.0.1:%d" % self.ports[n]

    def configure(self, section):
        for n, port in enumerate(self.ports):
            section = section.replace("PORT(%d)" % n, str(port))
        enabled = ", ".join('"%s"' % name for name in self.enabled)
        with open(self.config, "w") as file:
            file.write('node: { name = "g1"; state_directory = "data"; };\n'
                       'plugins: { directory = "%s"; enabled = [ %s ]; };\n'
                       'processes: { run: { edge: { services = [ "gateway" ]; worker_threads = %d; listen = "%s"; }; }; };\n'
                       'http: { anonymous = "admin"; };\n%s\n'
                       'gateway: {\n%s\n};\n' % (self.plugins, enabled, self.workers, self.admin, self.more, section))

    def check(self):
        done = subprocess.run([self.holdfastd, "--check", "--config", self.config], capture_output=True, text=True,
                              timeout=60)
        return done.returncode, done.stdout + done.stderr

    def log(self):
        try:
            with open(self.log_path, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def start(self):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([self.holdfastd, "--config", self.config], stderr=log, stdout=log)
        self.wait_ready()

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("holdfastd ended:\n" + self.log())
            return self.is_live()

        wait_until(ready, 60, "the gateway's start")

    def is_live(self):
        try:
            return self.get("/healthz", address=self.admin)[0] == 200
        except OSError:
            return False

    def version(self):
        """Of the configuration in force."""
        return json.loads(self.get("/v1/admin/status", address=self.admin)[1])["configuration_version"]

    def reload(self, section=None):
        """Has the configuration read again, and waits until it is in force."""
        before = self.version()
        if section is not None:
            self.configure(section)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.version() > before, 30, "the reload")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        for words in ("Sanitizer", "runtime error", "has not freed", "starting it again"):
            assert words not in self.log(), self.log()[-8000:]
        return self.process.returncode if self.process else None

    # ---- What it takes -------------------------------------------------------------------------------------------------

    def worker_process(self):
        """The process that has the gateway: the supervisor's child."""
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
            return int(file.read().split()[0])

    def memory_bytes(self):
        with open("/proc/%d/status" % self.worker_process()) as file:
            return int(next(line for line in file if line.startswith("VmRSS:")).split()[1]) << 10

    def cpu_seconds(self):
        spent, pid = 0, self.worker_process()
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
                spent += int(file.read().split()[0])
        return spent / 1e9

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.worker_process()))

    # ---- Requests ------------------------------------------------------------------------------------------------------

    def get(self, path="/", headers={}, method="GET", body=None, address=None, timeout=20):
        """One request over a connection of its own: (status, body, headers)."""
        connection = http.client.HTTPConnection(address or self.address(), timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def raw(self, data, n=0, timeout=20, end=False):
        """Sends the bytes and reads until the gateway closes the connection, or nothing comes any more."""
        host, port = self.address(n).split(":")
        with socket.create_connection((host, int(port)), timeout=timeout) as connection:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                try:
                    piece = connection.recv(65536)
                except socket.timeout:
                    return answer
                if not piece:
                    return answer
                answer += piece


def run_cases(cases, names):
    """Runs each of the functions, or those that are named; says which."""
    for case in cases:
        if names and case.__name__ not in names:
            continue
        print("%s ..." % case.__name__, flush=True)
        case()


def fresh_directory(parent, name):
    path = os.path.join(parent, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path
