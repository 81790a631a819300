#!/usr/bin/env python3
"""1,000 streams at once whose readers take nothing until all is said, then a little at a time: few threads, little memory a stream, nobody
held up, nothing lost. Standard library only; half a minute.

    tests/server/slow.py [--streams 1000] [--tokens 48]
"""
import argparse
import json
import pathlib
import selectors
import socket
import time

from client import Server, events_of


def threads_of(server):
    text = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("Threads:")).split()[1])


def open_streams(server, count, body):
    data = json.dumps(body).encode()
    out = []
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
        out.append(connection)
    return out


def read_slowly(connections):
    """What each said; of each connection 1 KiB at a time, all in turn."""
    selector = selectors.DefaultSelector()
    said = {c: b"" for c in connections}
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ)
    while selector.get_map():
        for key, _ in selector.select():
            part = key.fileobj.recv(1024)
            said[key.fileobj] += part
            if not part:
                selector.unregister(key.fileobj)
                key.fileobj.close()
    return list(said.values())


def ids_of(got):
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b" 200 " in head, got[:200]
    events = events_of(rest)
    assert events[-1] == "[DONE]" and events.count("[DONE]") == 1
    choices = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["length"]
    return [i for c in choices for i in c.get("token_ids", [])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=48)
    options = parser.parse_args()
    server = Server("stories260K", "--exact", "--batch-max", "64", "--max-queue", str(options.streams), "--max-connections", str(2 * options.streams),
                    "--kv-memory", "32M", "--ping", "1", "--log-level", "warn")
    try:
        body = {"prompt": "Once upon a time", "max_tokens": options.tokens, "temperature": 0, "ignore_eos": True, "stream": True, "return_token_ids": True}
        expected = server.json("/v1/completions", {**body, "stream": False})["choices"][0]["token_ids"]
        assert len(expected) == options.tokens
        read_slowly(open_streams(server, 64, body))  # what a batch of any kind needs once is not counted
        server.wait_idle()
        before, began = server.rss_kib(), time.monotonic()
        connections = open_streams(server, options.streams, body)
        opened = server.rss_kib()
        most_threads = threads_of(server)
        while (now := server.json("/requests"))["queued"] or now["running"]:
            time.sleep(0.2)
        said_in, peak, threads = time.monotonic() - began, server.rss_kib(), max(most_threads, threads_of(server))
        began = time.monotonic()
        assert server.json("/v1/completions", {**body, "stream": False})["choices"][0]["token_ids"] == expected
        fast = time.monotonic() - began  # beside a thousand connections that nobody reads
        wrong = sum(ids_of(got) != expected for got in read_slowly(connections))
        assert wrong == 0, f"{wrong} streams said something else"
        server.wait_idle()
        each = (max(peak, opened) - before) / options.streams
        print(f"{options.streams} slow streams of {options.tokens} tokens: {said_in:.1f} s, {threads} threads, {each:.1f} KiB a stream "
              f"(all said, nothing read); another request meanwhile: {fast:.2f} s; all ids right")
        assert threads <= 12, threads
        assert each < 100, each
        assert fast < 5, fast
        assert server.stop() == 0
    finally:
        server.process.kill()


if __name__ == "__main__":
    main()
