"""Starts `throughline serve` on a free port and talks to it; standard library only. For the scripts beside it."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def events_of(rest):
    """The `data:` of a chunked stream's body that was read whole, [DONE] included."""
    text = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        text += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]
    return [line[6:] for line in text.decode().split("\n") if line.startswith("data: ")]


class Server:
    def __init__(self, model="stories260K", *flags, binary=None):
        binary = binary or os.environ.get("THROUGHLINE_BINARY") or str(ROOT / "build/release/throughline")
        defaults = {"--port": "0", "--threads": "1", "--kv-memory": "16M"}
        unsaid = [word for flag, value in defaults.items() if flag not in flags for word in (flag, value)]
        self.process = subprocess.Popen([binary, "serve", "--model", str(ROOT / "models" / model), *unsaid, *flags],
                                        stderr=subprocess.PIPE, text=True)
        self.lines = []
        line = self.process.stderr.readline()
        found = re.search(r"https?://[^:/]+:(\d+)", line)
        if not found:
            raise RuntimeError(f"no start: {line}{self.process.stderr.read()}")
        self.port = int(found.group(1))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response, text

    def json(self, path, body=None, status=200, headers=None):
        response, text = self.request("GET" if body is None else "POST", path, body, headers)
        assert response.status == status, (response.status, text)
        return json.loads(text)

    def stream(self, path, body, headers=None):
        """Yields the chunks; checks that [DONE] comes last."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", path, json.dumps({**body, "stream": True}), headers or {})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.getheader("Content-Type").startswith("text/event-stream")
        done = False
        for line in response:
            line = line.decode().rstrip("\n")
            if not line or line.startswith(":"):
                continue
            assert line.startswith("data: "), line
            assert not done, line
            if line == "data: [DONE]":
                done = True
            else:
                yield json.loads(line[6:])
        assert done
        connection.close()

    def raw(self, data=b"", timeout=10):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout)
        if data:
            connection.sendall(data)
        return connection

    def metric(self, name):
        _, text = self.request("GET", "/metrics")
        for line in text.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        raise KeyError(name)

    def wait_idle(self, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            now = self.json("/requests")
            if not now["requests"] and now["queued"] == 0 and now["kv"]["usage"] == 0:
                return now
            time.sleep(0.02)
        raise AssertionError(f"not idle: {now}")

    def rss_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])

    def stop(self, sig=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        status = self.process.wait(timeout)
        self.reader.join(5)
        return status
