#!/usr/bin/env python3
"""Load on loopback: N streams at once, for each N requests/s, tokens/s, and quantiles of the time to the first token and
between tokens; beside it what the engine alone does on the same requests (`throughline generate`). One client thread
without parsing beyond line ends, so that it costs little. Standard library only.

    tests/server/load.py [--model DIR] [--streams 1,8,32,128] [--tokens 200] [--threads 1] [--url HOST:PORT]

With --url it drives a server that already runs (llama-server, say) instead of starting one.
"""
import argparse
import json
import os
import pathlib
import selectors
import socket
import subprocess
import tempfile
import time

from client import ROOT, Server


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def run(address, streams, body):
    """Opens all streams at once; per stream the times at which data arrived, with the events in it."""
    selector = selectors.DefaultSelector()
    began = time.monotonic()
    states = []
    for i in range(streams):
        connection = socket.create_connection(address)
        data = json.dumps({**body, "seed": i}).encode()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        state = {"at": [], "events": 0, "head": b""}
        states.append(state)
        selector.register(connection, selectors.EVENT_READ, state)
    left = streams
    while left:
        for key, _ in selector.select():
            part = key.fileobj.recv(1 << 16)
            state = key.data
            if not part:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                left -= 1
                continue
            if len(state["head"]) < 15:
                state["head"] += part[:15]
            events = part.count(b'"finish_reason":null')
            if events:
                state["at"].append(time.monotonic())
                state["events"] += events
    seconds = time.monotonic() - began
    bad = [s["head"] for s in states if b" 200" not in s["head"]]
    assert not bad, bad[:3]
    first = [s["at"][0] - began for s in states]
    gaps = [b - a for s in states for a, b in zip(s["at"], s["at"][1:])]
    return seconds, first, gaps


def engine_alone(model, streams, body, flags):
    folder = pathlib.Path(tempfile.mkdtemp())
    with open(folder / "in.jsonl", "w") as file:
        for i in range(streams):
            file.write(json.dumps({"id": i, "prompt": body["prompt"], "max_tokens": body["max_tokens"], "temperature": 0.8, "ignore_eos": True, "seed": i}) + "\n")
    binary = os.environ.get("THROUGHLINE_BINARY") or ROOT / "build/release/throughline"
    subprocess.run([binary, "generate", "--model", model, "--input", folder / "in.jsonl", "--output", folder / "out.jsonl", *flags],
                   check=True, stderr=subprocess.DEVNULL)
    answers = [json.loads(line) for line in open(folder / "out.jsonl")]
    return max(a["timing"]["queue_s"] + a["timing"]["prefill_s"] + a["timing"]["decode_s"] for a in answers)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=str(ROOT / "models/stories260K"))
    parser.add_argument("--streams", default="1,8,32,128")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--kv-memory", default="256M")
    parser.add_argument("--url")
    options = parser.parse_args()
    flags = ["--batch-max", "128", "--threads", options.threads, "--kv-memory", options.kv_memory]
    server = None if options.url else Server(options.model, *flags, "--log-level", "warn")
    address = tuple(options.url.split(":")) if options.url else ("127.0.0.1", server.port)
    body = {"prompt": "Once upon a time", "max_tokens": options.tokens, "n_predict": options.tokens, "temperature": 0.8, "ignore_eos": True, "stream": True}
    try:
        run(address, 1, {**body, "max_tokens": 20, "n_predict": 20})  # warm
        print(f"{'streams':>7} {'req/s':>7} {'tok/s':>9} {'engine':>9} {'share':>6}  {'TTFT p50':>9} {'p95':>8}  {'ITL p50':>8} {'p95':>8}  ms")
        for streams in map(int, options.streams.split(",")):
            best = min((run(address, streams, body) for _ in range(3)), key=lambda r: r[0])
            seconds, first, gaps = best
            alone = float("nan") if options.url else min(engine_alone(options.model, streams, body, flags) for _ in range(3))
            tokens = streams * options.tokens
            print(f"{streams:7} {streams / seconds:7.1f} {tokens / seconds:9.0f} {tokens / alone:9.0f} {alone / seconds:6.1%}  {quantile(first, .5) * 1e3:9.2f} "
                  f"{quantile(first, .95) * 1e3:8.2f}  {quantile(gaps, .5) * 1e3:8.2f} {quantile(gaps, .95) * 1e3:8.2f}", flush=True)
    finally:
        if server:
            server.stop()


if __name__ == "__main__":
    main()
