#!/usr/bin/env python3
"""Load on loopback. Standard library only; one client thread that parses nothing beyond line ends.

    tests/server/load.py streams [--model DIR] [--streams 1,8,32,128] [--llama-server BINARY --gguf FILE]
    tests/server/load.py beside  [--model DIR] [--thinkers 0,1,4] [--places 4]
    tests/server/load.py markdown FILE.json...

streams: N requests at once, for each N requests/s, tokens/s, quantiles of the time to the first token (TTFT) and between tokens (ITL); what
the engine alone does on the same requests (`throughline generate`), so the server's share of each token; and the same of llama-server.
beside: short requests one after the other beside long thinkers that fill the batch, with and without turns.
Each prints its table as Markdown; --json FILE keeps the figures; markdown prints tables from such files (docs/results/server.md).
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import selectors
import socket
import subprocess
import tempfile
import threading
import time

from client import ROOT, Server

PAGE = """# The server under load

Made by `tests/server/load.py markdown docs/results/server-*.json`; the JSON files by the command above each table, with `--json`.
TTFT: time to the first token, ITL: between two arrivals of tokens, both at the client. *Engine alone*: `throughline generate` on the same requests;
*overhead*: what the server needs more for a token, by wall time; CPU time of both processes beside it. The client runs on the same machine.
FOLDER is made by `tools/server_peer.sh FOLDER`: llama-server, and one random Qwen3 of 121 M parameters in bf16 for both servers.
"""
BINARY = os.environ.get("THROUGHLINE_BINARY") or str(ROOT / "build/release/throughline")


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else None


def milliseconds(values):
    return {f"p{int(100 * q)}": round(quantile(values, q) * 1e3, 3) if values else None for q in (.5, .95, .99)}


def connect(address, body, path="/v1/completions"):
    connection = socket.create_connection(address)
    data = json.dumps(body).encode()
    connection.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                       % (path.encode(), len(data), data))
    return connection


def run_streams(address, streams, body):
    """All at once; per stream the times at which data arrived. Returns seconds, times to the first token, gaps."""
    selector = selectors.DefaultSelector()
    began = time.monotonic()
    states = []
    for i in range(streams):
        states.append({"at": [], "head": b""})
        selector.register(connect(address, {**body, "seed": i}), selectors.EVENT_READ, states[-1])
    left = streams
    while left:
        for key, _ in selector.select():
            part, state = key.fileobj.recv(1 << 16), key.data
            if not part:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                left -= 1
                continue
            if len(state["head"]) < 15:
                state["head"] += part[:15]
            if b'"finish_reason":null' in part:
                state["at"].append(time.monotonic())
    seconds = time.monotonic() - began
    bad = [s["head"] for s in states if b" 200" not in s["head"]]
    assert not bad, bad[:3]
    return seconds, [s["at"][0] - began for s in states], [b - a for s in states for a, b in zip(s["at"], s["at"][1:])]


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def engine_alone(model, streams, body, flags):
    """What `throughline generate` takes for the same requests: seconds from the first one's start to the last one's end, CPU seconds of the process."""
    with tempfile.TemporaryDirectory() as folder:
        lines, out = pathlib.Path(folder) / "in.jsonl", pathlib.Path(folder) / "out.jsonl"
        fields = {k: body[k] for k in ("prompt", "max_tokens", "temperature", "ignore_eos")}
        lines.write_text("".join(json.dumps({"id": i, "seed": i, **fields}) + "\n" for i in range(streams)))
        before = os.times()
        subprocess.run([BINARY, "generate", "--model", model, "--input", lines, "--output", out, *flags], check=True, stderr=subprocess.DEVNULL)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return max(sum(v for k, v in json.loads(line)["timing"].items() if k.endswith("_s")) for line in open(out)), cpu


@contextlib.contextmanager
def llama_server(options, streams):
    """llama-server with as many slots as streams, its context shared by them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = streams * (options.tokens + 64)
    process = subprocess.Popen([options.llama_server, "-m", options.gguf, "--host", "127.0.0.1", "--port", str(port), "-t", options.threads, "-tb", options.threads,
                                "-np", str(streams), "-c", str(context), "-fa", "on"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            time.sleep(0.1)
            assert process.poll() is None, f"llama-server ended with {process.returncode}"
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port))
                connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                if b" 200 " in connection.recv(100):
                    break
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait()


def figures(name, streams, tokens, runs):
    seconds, first, gaps = min(runs, key=lambda run: run[0])
    return {"server": name, "streams": streams, "requests_per_s": round(streams / seconds, 3), "tokens_per_s": round(streams * tokens / seconds, 1),
            "ttft_ms": milliseconds(first), "itl_ms": milliseconds(gaps)}


def measure_streams(options):
    rows, body = [], {"prompt": "Once upon a time", "max_tokens": options.tokens, "temperature": 0.8, "ignore_eos": True, "stream": True}
    counts = [int(n) for n in options.streams.split(",")]
    flags = ["--batch-max", str(max(counts)), "--threads", options.threads, "--kv-memory", options.kv_memory]
    warm = {**body, "max_tokens": 8}
    for streams in counts:
        server = Server(options.model, *flags, "--log-level", "warn")
        runs, alone, cpu = [], [], []
        run_streams(("127.0.0.1", server.port), 1, warm)
        start_cpu = engine_alone(options.model, 1, {**body, "max_tokens": 1}, flags)[1]
        for _ in range(options.repeat):  # turn by turn, so that the machine's moods meet both
            before = cpu_seconds(server.process)
            runs.append(run_streams(("127.0.0.1", server.port), streams, body))
            cpu.append(cpu_seconds(server.process) - before)
            alone.append(engine_alone(options.model, streams, body, flags))
        server.stop()
        tokens = streams * options.tokens
        row = figures("throughline", streams, options.tokens, runs)
        row["engine_tokens_per_s"] = round(tokens / min(seconds for seconds, _ in alone), 1)
        row["overhead"] = round(row["engine_tokens_per_s"] / row["tokens_per_s"] - 1, 4)
        row["cpu_us_per_token"] = round(min(cpu) / tokens * 1e6, 1)
        row["engine_cpu_us_per_token"] = round((min(seconds for _, seconds in alone) - start_cpu) / tokens * 1e6, 1)
        rows.append(row)
        show_streams([row], header=len(rows) == 1)
        if not options.llama_server:
            continue
        with llama_server(options, streams) as address:
            run_streams(address, 1, warm)
            rows.append(figures("llama-server", streams, options.tokens, [run_streams(address, streams, body) for _ in range(options.repeat)]))
        show_streams(rows[-1:], header=False)
    return rows


def show_streams(rows, header=True):
    if header:
        print("| server | streams | req/s | tok/s | engine alone tok/s | overhead | CPU us a token: server / engine | TTFT p50 / p95 / p99 ms | ITL p50 / p95 / p99 ms |\n"
              "|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        engine = over = cpu = ""
        if "overhead" in row:
            engine, over = f"{row['engine_tokens_per_s']:.0f}", f"{row['overhead']:.1%}".replace("%", " %")
            cpu = f"{row['cpu_us_per_token']:.0f} / {row['engine_cpu_us_per_token']:.0f}"
        ttft, itl = (" / ".join(f"{v:.1f}" if v is not None else "-" for v in row[k].values()) for k in ("ttft_ms", "itl_ms"))
        print(f"| {row['server']} | {row['streams']} | {row['requests_per_s']:.2f} | {row['tokens_per_s']:.0f} | {engine} | {over} | {cpu} | {ttft} | {itl} |", flush=True)


class Thinkers:
    """Long requests that are read and thrown away until the end; counts their tokens."""

    def __init__(self, address, count):
        body = {"prompt": "Once upon a time", "max_tokens": 100000, "ignore_eos": True, "stream": True, "think": "delethink:chunk=256,carry=128,head=16,max_chunks=100000"}
        self.tokens, self.stopping = 0, False
        self.connections = [connect(address, {**body, "seed": 1000 + i}) for i in range(count)]
        self.threads = [threading.Thread(target=self.read, args=(c,), daemon=True) for c in self.connections]
        for thread in self.threads:
            thread.start()

    def read(self, connection):
        with contextlib.suppress(OSError):  # when it is closed under it
            while part := connection.recv(1 << 16):
                self.tokens += part.count(b'"finish_reason":null')

    def close(self):
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()


def one_short(address, body, patience):
    """(seconds to the first token, gaps); None when nothing came in `patience` seconds."""
    began, at = time.monotonic(), []
    connection = connect(address, body)
    connection.settimeout(patience)
    try:
        while part := connection.recv(1 << 16):
            if b'"finish_reason":null' in part:
                at.append(time.monotonic())
    except TimeoutError:
        return None
    finally:
        connection.close()
    return at[0] - began, [b - a for a, b in zip(at, at[1:])]


def measure_beside(options):
    rows = []
    for name, flags, fields in (("turns", [], {}), ("turns, priority -3", ["--priority-limit", "-3"], {"priority": -3}), ("no turns", ["--turn-tokens", "0"], {})):
        for count in map(int, options.thinkers.split(",")):
            server = Server(options.model, "--batch-max", str(options.places), "--threads", options.threads, "--kv-memory", options.kv_memory,
                            "--log-level", "warn", *flags)
            address = ("127.0.0.1", server.port)
            one_short(address, {"prompt": "x", "max_tokens": 4, "stream": True}, 30)
            thinkers = Thinkers(address, count)
            time.sleep(options.head_start)
            before, began, shorts, lost = thinkers.tokens, time.monotonic(), [], 0
            for i in range(options.shorts):
                result = one_short(address, {"prompt": "Lily had a dog", "max_tokens": 32, "ignore_eos": True, "stream": True, "seed": i, **fields}, options.patience)
                shorts += [result] if result else []
                lost += result is None
                if lost > 1:
                    break
                time.sleep(options.pause)
            seconds = time.monotonic() - began
            rows.append({"scheduling": name, "thinkers": count, "places": options.places, "shorts": len(shorts), "without_answer": lost,
                         "ttft_ms": milliseconds([s[0] for s in shorts]), "itl_ms": milliseconds([g for s in shorts for g in s[1]]),
                         "thinker_tokens_per_s": round((thinkers.tokens - before) / seconds, 1)})
            thinkers.close()
            server.stop()
            show_beside(rows[-1:], header=len(rows) == 1)
    return rows


def show_beside(rows, header=True):
    if header:
        print("| scheduling | thinkers | places | short requests answered | TTFT p50 / p95 / p99 ms | ITL p50 / p95 / p99 ms | thinkers' tok/s |\n|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        ttft, itl = (" / ".join(f"{v:.1f}" if v is not None else "-" for v in row[k].values()) for k in ("ttft_ms", "itl_ms"))
        print(f"| {row['scheduling']} | {row['thinkers']} | {row['places']} | {row['shorts']} of {row['shorts'] + row['without_answer']} | {ttft} | {itl} | "
              f"{row['thinker_tokens_per_s']:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--model", default=str(ROOT / "models/stories260K"))
    common.add_argument("--threads", default="1")
    common.add_argument("--kv-memory", default="256M")
    common.add_argument("--json")
    common.add_argument("--note", help="goes into the page, of the machine's state, say")
    streams = commands.add_parser("streams", parents=[common])
    streams.add_argument("--streams", default="1,8,32,128")
    streams.add_argument("--tokens", type=int, default=200)
    streams.add_argument("--repeat", type=int, default=3)
    streams.add_argument("--llama-server")
    streams.add_argument("--gguf")
    beside = commands.add_parser("beside", parents=[common])
    beside.add_argument("--thinkers", default="0,1,4")
    beside.add_argument("--places", type=int, default=4, help="--batch-max")
    beside.add_argument("--shorts", type=int, default=40)
    beside.add_argument("--pause", type=float, default=0.1, help="s between two short requests")
    beside.add_argument("--head-start", type=float, default=1, help="s that the thinkers think before the first short one")
    beside.add_argument("--patience", type=float, default=10, help="s after which a short request is given up")
    commands.add_parser("markdown").add_argument("files", nargs="+")
    options = parser.parse_args()
    show = {"streams": show_streams, "beside": show_beside}
    if options.command == "markdown":
        print(PAGE)
        for name in options.files:
            saved = json.loads(pathlib.Path(name).read_text())
            print(f"`{saved['call']}` ({saved['version']}, {saved['cores']} cores{', ' + saved['note'] if saved.get('note') else ''})\n")
            show[saved["command"]](saved["rows"])
            print()
        return
    rows = {"streams": measure_streams, "beside": measure_beside}[options.command](options)
    if options.json:
        version = re.sub(r"\s+", " ", subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout).strip()
        call = "tests/server/load.py " + options.command + "".join(f" --{k.replace('_', '-')} {v}" for k, v in vars(options).items()
                                                                  if k not in ("command", "json", "note") and v is not None)
        call = call.replace(str(ROOT) + "/", "")
        if getattr(options, "gguf", None):
            call = call.replace(str(pathlib.Path(options.gguf).parent), "FOLDER")
        pathlib.Path(options.json).write_text(json.dumps({"command": options.command, "call": call, "version": version, "cores": os.cpu_count(),
                                                          "machine": platform.machine(), "note": options.note, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
