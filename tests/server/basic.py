#!/usr/bin/env python3
"""The server over real sockets: routes, streams, limits, disconnects, SIGTERM. Standard library only, a few seconds."""
import gzip
import json
import signal
import socket
import threading
import time

from client import Server


FRIEND = "http://friend.example"  # --cors-origin


def chat(text="Once upon a time", **fields):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 12, "temperature": 0, **fields}


def content_of(chunks):
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def test_answers(server):
    assert server.json("/health") == {"status": "ok"}
    assert server.json("/v1/models")["data"][0]["id"] == "stories260K"
    whole = server.json("/v1/chat/completions", chat())
    chunks = list(server.stream("/v1/chat/completions", chat(stream_options={"include_usage": True})))
    assert content_of(chunks) == whole["choices"][0]["message"]["content"] != ""
    assert len({c["id"] for c in chunks}) == 1 and chunks[-1]["usage"] == {**whole["usage"], **chunks[-1]["usage"]}
    one = server.json("/v1/completions", {"prompt": "Lily", "max_tokens": 8, "seed": 1, "n": 2})
    assert [c["index"] for c in one["choices"]] == [0, 1] and one["usage"]["completion_tokens"] == 16


def read_all(connection):
    """What comes until the server closes."""
    got = b""
    while part := connection.recv(65536):
        got += part
    connection.close()
    return got


def test_headers(server):
    """Every answer has its id, whole ones and those of broken connections too."""
    sent = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "Origin": FRIEND}
    bodies = {"/v1/chat/completions": chat(), "/v1/completions": {"prompt": "a", "max_tokens": 2}, "/v1/responses": {"input": "a", "max_output_tokens": 2},
              "/tokenize": {"prompt": "a"}, "/nowhere": {}}
    for path, body in bodies.items():
        for stream in (False, True):
            answer, text = server.request("POST", path, {**body, **({"stream": True} if stream and path[1:3] == "v1" else {})}, sent)
            assert answer.getheader("Server") == "throughline" and answer.getheader("traceparent") == sent["traceparent"], (path, answer.headers)
            assert answer.getheader("Access-Control-Allow-Origin") == FRIEND and answer.getheader("Vary") == "Origin", (path, answer.headers)
            assert answer.getheader("X-Request-Id").encode() in text or path in ("/tokenize", "/nowhere"), path
    for bad in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 100000, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"):
        got = read_all(server.raw(bad))
        assert b"\r\nX-Request-Id: req-" in got and b"\r\nServer: throughline\r\n" in got, got


def test_faults_are_counted(server):
    """What was no request is counted; the log tells of it, though not of each."""
    def count():
        return server.metric('throughline_http_responses_total{code="400"}')

    before = count()
    for _ in range(40):
        read_all(server.raw(b"nonsense\r\n\r\n"))
    assert count() == before + 40
    read_all(server.raw(b"nonsense\r\n\r\n"))
    told = [event for event in map(json.loads, server.lines) if event["event"] == "refused"]
    assert 1 <= len(told) < 25 and told[0]["peer"] == "127.0.0.1" and "well-formed" in told[0]["why"], told


def test_foreign_pages(server):
    """A page by a name that was made to lead to this machine (DNS rebinding) may not call."""
    for name, status in (("evil.example", 403), ("localhost", 200), (f"127.0.0.1:{server.port}", 200)):
        server.json("/tokenize", {"prompt": "a"}, status, {"Host": name, "Origin": f"http://{name}"})


def test_limits(server):
    response, text = server.request("POST", "/v1/chat/completions", b"{" * 100)
    assert response.status == 400 and json.loads(text)["error"]["type"] == "invalid_request_error"
    response, text = server.request("POST", "/v1/chat/completions", b" " * (1 << 20))
    assert response.status == 413 and json.loads(text)["error"]["code"] == "body_too_large", text
    for path in ("/../../etc/passwd", "/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/%00"):
        response, _ = server.request("GET", path)
        assert response.status == 404, path
    connection = server.raw(b"GET / HTTP/1.1\r\nX: " + b"y" * 100000)
    assert b"431" in connection.recv(100)
    connection.close()
    connection = server.raw(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert b"400" in connection.recv(100)
    connection.close()
    # Two requests in one packet are answered in order on one connection.
    connection = server.raw(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    got = read_all(connection)
    assert got.count(b"HTTP/1.1 200 OK") == 2 and got.index(b"version") < got.index(b"status"), got
    body = json.dumps(chat()).encode()
    connection = server.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
    connection.sendall(body)
    assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
    connection.close()


def long_chat(max_tokens=100000, **fields):
    return chat(max_tokens=max_tokens, ignore_eos=True, think="delethink:chunk=128,carry=64,head=8,max_chunks=1000", **fields)


def post(fields):
    body = json.dumps(fields).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_disconnects(server):
    for stream in (False, True):
        connection = server.raw(post(long_chat(stream=stream)))
        if stream:
            connection.recv(1000)
        until = time.monotonic() + 20
        while not server.json("/requests")["requests"] and time.monotonic() < until:
            time.sleep(0.01)
        assert server.json("/requests")["requests"]
        connection.close()
        server.wait_idle()


def test_the_page_is_sent_compressed(server):
    sent = 0
    for name in ("/", *("/static/" + n for n in ("app.js", "base.css", "icon.svg", "inspector.js"))):
        plain, text = server.request("GET", name)
        packed, small = server.request("GET", name, headers={"Accept-Encoding": "br, gzip;q=0.8"})
        assert plain.getheader("Content-Encoding") is None and plain.getheader("Vary") == packed.getheader("Vary") == "Accept-Encoding"
        if packed.getheader("Content-Encoding"):
            assert packed.getheader("Content-Encoding") == "gzip" and gzip.decompress(small) == text and len(small) < len(text)
            assert packed.getheader("ETag") != plain.getheader("ETag")
        sent += len(small)
        again, nothing = server.request("GET", name, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.getheader("ETag")})
        assert again.status == 304 and not nothing
    assert sent < 20000, sent
    assert server.request("GET", "/", headers={"Accept-Encoding": "gzip;q=0"})[0].getheader("Content-Encoding") is None
    assert server.json("/openapi.json")["openapi"].startswith("3.")


def test_pings():
    """A stream that waits for its turn gets comments meanwhile, and is no worse for it."""
    server = Server("stories260K", "--batch-max", "1", "--turn-tokens", "0", "--ping", "0.1")
    try:
        first = server.raw(post(long_chat(stream=True)))
        first.recv(1000)
        began = time.monotonic()
        second = server.raw(post(chat(stream=True)))
        got = b""
        while got.count(b": still working\n\n") < 4:
            got += second.recv(65536)
        assert 0.35 < time.monotonic() - began < 3 and b'"content":"' not in got, got
        first.close()
        while b"data: [DONE]" not in got:
            got += second.recv(65536)
        said = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content") or "" for line in got.decode().split("\n")
                       if line.startswith('data: {'))
        assert said == server.json("/v1/chat/completions", chat())["choices"][0]["message"]["content"]
        second.close()
        assert server.stop() == 0
    finally:
        server.process.kill()


def test_memory_pressure():
    """Two requests of four samples in a pool for about three: those that allow it are compressed, the others wait; none ends with an error.

    The samples of one request begin together, so each of the two makes its own pressure, however late the other comes."""
    server = Server("stories260K", "--kv-memory", "600K", "--exact")
    try:
        common = {"prompt": "Once upon a time", "max_tokens": 150, "ignore_eos": True, "return_token_ids": True}
        bodies = {kv: {**common, "kv": kv, "seed": seed} for seed, kv in enumerate(("full", "rpc:interval=128,window=8,min_budget=48"))}
        results = {}

        def run(kv):
            results[kv] = list(server.stream("/v1/completions", {**bodies[kv], "n": 4, "stream": True}))

        threads = [threading.Thread(target=run, args=(kv,)) for kv in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lowered = {}
        for kv, chunks in results.items():
            told = [c["throughline"] for c in chunks if c.get("throughline", {}).get("finish_detail")]
            assert [t["finish_detail"] for t in told] == ["max_tokens"] * 4 and all(t["error"] is None for t in told), told
            lowered[kv] = [t["kv"]["lowered_to"] for t in told]
        full, rpc = (lowered[kv] for kv in bodies)
        assert not any(full) and any(rpc) and all(n is None or n >= 48 for n in rpc), lowered
        for stage in ("budget", "park"):
            assert server.metric(f'throughline_kv_pressure_total{{stage="{stage}"}}') > 0, stage
        assert server.stop() == 0
    finally:
        server.process.kill()
    roomy = Server("stories260K", "--exact")
    try:
        for choice in roomy.json("/v1/completions", {**bodies["full"], "n": 4})["choices"]:  # with room it says the same
            deltas = [c["choices"][0] for c in results["full"] if c["choices"][0]["index"] == choice["index"]]
            assert [t for d in deltas for t in d.get("token_ids", [])] == choice["token_ids"]
        assert roomy.stop() == 0
    finally:
        roomy.process.kill()


def test_slow_readers(server):
    # A reader that takes nothing does not hold up the others.
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", server.port))
    slow.sendall(post(long_chat(stream=True, throughline={"progress": True})))
    time.sleep(0.5)
    began = time.monotonic()
    assert server.json("/v1/chat/completions", chat())["choices"]
    assert time.monotonic() - began < 5
    slow.close()
    server.wait_idle()


def test_hangup():
    """A hangup drains too, be it sent twice, and does nothing under nohup."""
    server, results = Server("stories260K"), []
    thread = threading.Thread(target=lambda: results.append(server.json("/v1/chat/completions", long_chat(4000))))
    thread.start()
    while not server.json("/requests")["requests"] and not results:
        time.sleep(0.005)
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.02)
    status = server.stop(signal.SIGHUP)
    thread.join()
    assert status == 0 and results[0]["choices"][0]["finish_reason"] == "length", (status, results)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # children inherit it
    server = Server("stories260K")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert server.json("/health") == {"status": "ok"} and server.stop() == 0


def test_drain(server):
    """What runs when SIGTERM comes is answered whole."""
    results = []

    def run(stream):
        body = long_chat(4000, stream=stream)  # so long that all four run at the same time, whenever they begin
        last = list(server.stream("/v1/chat/completions", body))[-1] if stream else server.json("/v1/chat/completions", body)
        results.append(last["choices"][0]["finish_reason"])

    threads = [threading.Thread(target=run, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    while len(server.json("/requests")["requests"]) < 4 and not results:
        time.sleep(0.005)
    status = server.stop()
    for thread in threads:
        thread.join()
    assert status == 0 and results == ["length"] * 4, (status, results)
    events = [json.loads(line) for line in server.lines]
    assert any(e["event"] == "answered" and e["finish"] == "max_tokens" for e in events)
    assert events[-1]["event"] == "stopped"


def main():
    server = Server("stories260K", "--body-limit", "64K", "--ping", "0.1", "--cors-origin", FRIEND)
    try:
        for test in (test_answers, test_headers, test_faults_are_counted, test_foreign_pages, test_limits, test_the_page_is_sent_compressed, test_disconnects, test_slow_readers, test_pings, test_memory_pressure, test_hangup, test_drain):
            began = time.monotonic()
            test(*[server] * test.__code__.co_argcount)
            print(f"{test.__name__}: {time.monotonic() - began:.2f} s", flush=True)
    finally:
        server.process.kill()


if __name__ == "__main__":
    main()
