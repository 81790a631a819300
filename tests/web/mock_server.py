#!/usr/bin/env python3
"""Serves web/ and answers as `throughline serve` does, from recorded answers of real models (data/*.json).

    tests/web/mock_server.py [--port 8099] [--model iterate_map|stories260K] [--speed TOKENS_PER_S] [--key KEY]

With --upstream http://127.0.0.1:8080 it serves web/ from the working tree and hands everything else on to a real server: for
work on the page without a build.

The recording is chosen by the request's `kv` and `think` methods; what the user asks is echoed nowhere. Prompts that
begin with `!` make trouble on purpose: `!busy` 429, `!bad` 400, `!drop` cuts the stream, `!error` ends with an error,
`!html` answers markup. Standard library only.
"""
import argparse
import hashlib
import http.client
import http.server
import json
import pathlib
import socketserver
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MIME = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml"}
CSP = ("default-src 'self'; img-src 'self' data:; style-src 'self'; connect-src 'self'; frame-ancestors 'none'")
HTML = ("**Bold**, `code` and a list:\n\n- <img src=x onerror=alert(1)>\n- <script>alert(2)</script>\n\n"
        "```python\nprint('<b>not markup</b>')\n```\n\n1. one\n2. [a link](javascript:alert(3))\n\nEnd.")


def method_of(spec, default):
    if isinstance(spec, dict):
        return spec.get("method", default)
    return (spec or default).partition(":")[0]


class State:
    def __init__(self, model, speed, key, upstream=None):
        self.model, self.speed, self.key = model, speed, key
        self.upstream = upstream and upstream.rpartition("/")[2]
        self.traces = [json.loads(p.read_text()) for p in sorted((HERE / "data").glob("*_*.json"))
                       if not p.name.startswith("props_")]
        self.props = json.loads((HERE / "data" / f"props_{model}.json").read_text())
        self.props["server"]["keys"] = bool(key)
        self.lock = threading.Lock()
        self.requests = {}
        self.cancelled = set()
        self.bodies = []
        self.count = 0

    def pick(self, kv, think):
        """The recording of this model nearest to what was asked for."""
        def distance(trace):
            wrong_think = method_of(trace["think"], "longcot") != think
            wrong_kv = method_of(trace["kv"], "full") != kv
            return 2 * wrong_think + wrong_kv
        return min((t for t in self.traces if t["model"] == self.model), key=distance)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def log_message(self, *arguments):
        pass

    def answer(self, status, body, mime="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", mime)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the page went away

    def error(self, status, message, param=None, kind="invalid_request_error", headers=()):
        self.answer(status, {"error": {"message": message, "type": kind, "param": param, "code": None}}, headers=headers)

    def hand_on(self, method):
        """To the real server and back, as it comes."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection(self.state.upstream, timeout=600)
        names = ("Content-Type", "Authorization")
        upstream.request(method, self.path, body or None, {n: self.headers[n] for n in names if n in self.headers})
        reply = upstream.getresponse()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() in ("content-type", "retry-after"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while piece := reply.read1(65536):
            self.wfile.write(piece)
            self.wfile.flush()
        upstream.close()

    def allowed(self):
        if not self.state.key or self.headers.get("Authorization") == f"Bearer {self.state.key}":
            return True
        self.error(401, "this server needs an API key: Authorization: Bearer KEY", kind="authentication_error")
        return False

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/" or path.startswith("/static/"):
            name = "index.html" if path == "/" else path[len("/static/"):]
            file = ROOT / "web" / name
            if "/" in name or not file.is_file():
                return self.error(404, f"no such file: {name}")
            data = file.read_bytes()
            return self.answer(200, data, MIME[file.suffix],
                               [("ETag", '"%s"' % hashlib.sha256(data).hexdigest()[:16]), ("Cache-Control", "no-cache"),
                                ("Content-Security-Policy", CSP), ("X-Content-Type-Options", "nosniff")])
        if path in ("/test/unit.html", "/test/unit.js"):
            file = HERE / path.rpartition("/")[2]
            return self.answer(200, file.read_bytes(), MIME[file.suffix], [("Content-Security-Policy", CSP)])
        if self.state.upstream:
            return self.hand_on("GET")
        if path == "/health":
            return self.answer(200, {"status": "ok"})
        if not self.allowed():
            return None
        if path == "/props":
            return self.answer(200, self.state.props)
        if path == "/requests":
            with self.state.lock:
                live = list(self.state.requests.values())
            used = sum(r["samples"][0]["kv_tokens"] for r in live) // 16
            return self.answer(200, {"running": len(live), "waiting": 0, "queued": 0,
                                     "kv": {"pages": 1024, "used_pages": used, "usage": used / 1024},
                                     "tokens_per_s": self.state.speed * len(live), "requests": live})
        if path == "/mock/bodies":
            return self.answer(200, self.state.bodies)
        return self.error(404, f"no such route: {path}")

    def do_DELETE(self):
        if self.state.upstream:
            return self.hand_on("DELETE")
        if not self.allowed():
            return None
        name = self.path.rpartition("/")[2]
        self.state.cancelled.add(name)
        return self.answer(200, {"id": name, "cancelled": True})

    def do_POST(self):
        if self.state.upstream:
            return self.hand_on("POST")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.allowed():
            return None
        if self.path != "/v1/chat/completions":
            return self.error(404, f"no such route: {self.path}")
        request = json.loads(body)
        self.state.bodies.append(request)
        said = request["messages"][-1]["content"]
        if said.startswith("!busy"):
            return self.error(429, "the queue is full (256 requests)", kind="rate_limit_error", headers=[("Retry-After", "7")])
        if said.startswith("!bad"):
            return self.error(400, "kv: unknown option 'intervall' of 'rpc'; it has interval, ratio, window", "kv")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.stream(request, said)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return None

    def stream(self, request, said):
        state = self.state
        with state.lock:
            state.count += 1
            name = f"chatcmpl-mock{state.count}"
        kv, think = method_of(request.get("kv"), "full"), method_of(request.get("think"), "longcot")
        trace = state.pick(kv, think)
        if said.startswith("!html"):
            trace = {**trace, "texts": list(HTML), "kinds": "a" * len(HTML), "events": [], "chunks": trace["chunks"][:1]}
        ask = request.get("throughline", {})
        live = {"id": name, "kind": "chat", "created": int(time.time()), "age_s": 0, "state": "thinking", "stream": True,
                "kv": kv, "think": think, "prompt_tokens": trace["chunks"][0]["prompt_tokens"],
                "samples": [{"state": "thinking", "tokens": 0, "reasoning_tokens": 0, "chunk": 0, "kv_tokens": 0,
                             "context_tokens": 0}]}
        with state.lock:
            state.requests[name] = live
        try:
            self.play(name, trace, ask, live["samples"][0], said, request)
        finally:
            with state.lock:
                del state.requests[name]

    def send_event(self, name, delta=None, finish=None, extra=None, choices=True):
        chunk = {"id": name, "object": "chat.completion.chunk", "created": int(time.time()), "model": self.state.model,
                 "choices": [{"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}] if choices else []}
        chunk.update(extra or {})
        self.wfile.write(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n")
        self.wfile.flush()

    def play(self, name, trace, ask, sample, said, request):
        self.wfile.write(b": keep-alive\n\n")
        self.send_event(name, {"role": "assistant", "content": None})
        total = len(trace["texts"])
        limit = min(total, request.get("max_tokens") or total)
        chunk, event, reasoning, detail = -1, 0, 0, trace["final"]["finish_detail"]
        cached = 0
        for at in range(limit):
            while chunk + 1 < len(trace["chunks"]) and trace["chunks"][chunk + 1]["at_token"] == at:
                chunk += 1
                cached = trace["chunks"][chunk]["prompt_tokens"]
                if ask.get("chunks"):
                    self.send_event(name, extra={"throughline": {"index": 0, "events": [self.boundary(trace, chunk)]}})
            kind, text = trace["kinds"][at], trace["texts"][at]
            reasoning += kind != "a"
            cached += 1
            here = trace["chunks"][chunk]
            progress = {"state": "answering" if kind == "a" else "thinking", "chunk": chunk, "tokens": at + 1,
                        "reasoning_tokens": reasoning, "kv_tokens": cached,
                        "context_tokens": here["prompt_tokens"] + at + 1 - here["at_token"]}
            sample.update(progress)
            delta = {"content": text} if kind == "a" else {"reasoning_content": text, "reasoning": text}
            extra = {"throughline": {"index": 0, "progress": progress}} if ask.get("progress") else None
            if text or extra:
                self.send_event(name, delta if text else {}, extra=extra)
            while event < len(trace["events"]) and trace["events"][event]["at_token"] <= at + 1:
                found = {"type": "kv", **trace["events"][event]}
                layers = ask.get("kv_events")
                cached = found["kept_tokens"]
                if isinstance(layers, list):
                    found["kept"] = [k for k in found["kept"] if k["layer"] in layers]
                if layers:
                    self.send_event(name, extra={"throughline": {"index": 0, "events": [found]}})
                event += 1
            if said.startswith("!drop") and at == limit // 2:
                return
            if name in self.state.cancelled:
                detail = "cancelled"
                break
            time.sleep(1 / self.state.speed)
        else:
            if limit < total:
                detail = "max_tokens"
        final = dict(trace["final"], finish_detail=detail)
        if said.startswith("!error"):
            final.update(finish_detail="kv_memory", error="KV memory: 3 pages are free and 9 are needed; raise --kv-memory or set a budget")
        finish = "stop" if detail in ("eos", "stop_string", "stop_token") else "length"
        self.send_event(name, finish=finish, extra={"throughline": final})
        tokens = trace["final"]["tokens"]
        if request.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": tokens["prompt"], "completion_tokens": limit, "total_tokens": tokens["prompt"] + limit,
                     "completion_tokens_details": {"reasoning_tokens": reasoning}, "prompt_tokens_details": {"cached_tokens": 0}}
            self.send_event(name, extra={"usage": usage}, choices=False)
        self.wfile.write(b"data: [DONE]\n\n")

    @staticmethod
    def boundary(trace, n):
        chunk = trace["chunks"][n]
        head = "".join(trace["texts"][: chunk["head_tokens"]])
        start = max(0, chunk["at_token"] - chunk["carried_tokens"])
        return {"type": "chunk", "chunk": n, **{k: chunk[k] for k in ("at_token", "prompt_tokens", "query_tokens",
                "head_tokens", "carried_tokens")}, "head_text": head if n else "",
                "carried_text": "".join(trace["texts"][start: chunk["at_token"]]) if n else ""}


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def serve(port=0, model="iterate_map", speed=60.0, key=None, upstream=None):
    """A running server on 127.0.0.1; its `.server_port` tells where, `.shutdown()` ends it."""
    handler = type("Bound", (Handler,), {"state": State(model, speed, key, upstream)})
    server = Server(("127.0.0.1", port), handler)
    server.state = handler.state
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--model", default="iterate_map")
    parser.add_argument("--speed", type=float, default=60)
    parser.add_argument("--key")
    parser.add_argument("--upstream")
    flags = parser.parse_args()
    server = serve(flags.port, flags.model, flags.speed, flags.key, flags.upstream)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
