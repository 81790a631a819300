#!/usr/bin/env python3
"""300 streams a round: half leave at random moments, some read slowly, some send nonsense; SIGTERM in the middle of the
last round. Afterwards nothing may be left: KV in use 0, memory flat over the rounds, and under --exact every survivor's
ids are those of `throughline generate`. Standard library only.

    tests/server/chaos.py [--rounds 5] [--streams 300]
"""
import argparse
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time

from client import ROOT, Server, events_of

POLICIES = ["full", "rpc:interval=16,ratio=2,window=8", "recency:budget=64"]
PROMPTS = ["Once upon a time", "Lily had a dog", "The sun was", "Tom and Sam went to", "One day a big"]


def body_of(seed):
    pick = random.Random(seed)
    return {"prompt": pick.choice(PROMPTS), "max_tokens": pick.randint(20, 200), "seed": seed, "ignore_eos": True, "temperature": 0.8,
            "kv": pick.choice(POLICIES)}


class Stream(threading.Thread):
    def __init__(self, server, seed, results, faults):
        super().__init__(daemon=True)
        self.server, self.seed, self.results, self.faults = server, seed, results, faults

    def run(self):
        try:
            self.stream()
        except Exception as error:  # noqa: BLE001: whatever went wrong is the finding
            self.faults.append(f"seed {self.seed}: {error!r}")

    def stream(self):
        pick = random.Random(self.seed * 7 + 1)
        kind = pick.choice(["whole", "leave", "leave", "slow", "nonsense"] if self.seed % 2 else ["whole", "whole", "leave", "leave", "slow"])
        connection = socket.create_connection(("127.0.0.1", self.server.port), 120)
        if kind == "nonsense":
            connection.sendall(pick.choice([b"\0" * 50, b"POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\n\r\n{{{{{", b"GET", b"PUT / HTTP/1.1\r\n\r\n",
                                            b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999\r\n\r\n{"]))
            if pick.random() < 0.5:
                connection.settimeout(2)
                try:
                    connection.recv(1000)
                except TimeoutError:
                    pass
            connection.close()
            return
        stream = pick.random() < 0.7
        data = json.dumps({**body_of(self.seed), "stream": stream, "return_token_ids": True}).encode()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
        got = b""
        leave_at = pick.choice([0, 200, 1000, 5000, 20000]) if kind == "leave" else None
        while True:
            if leave_at is not None and len(got) >= leave_at:
                if pick.random() < 0.5:  # a reset instead of a farewell
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()
                return
            part = connection.recv(512 if kind == "slow" else 65536)
            if not part:
                break
            got += part
            if kind == "slow":
                time.sleep(0.01)
        connection.close()
        self.check(got, stream)

    def check(self, got, stream):
        head, _, rest = got.partition(b"\r\n\r\n")
        status = int(head.split()[1]) if head else 0
        if status in (429, 503) or not head:
            self.results[self.seed] = None
            return
        assert status == 200, got[:300]
        if not stream:
            choice = json.loads(rest)["choices"][0]
            self.results[self.seed] = (choice["token_ids"], choice["finish_reason"])
            return
        events = events_of(rest)
        assert events and events[-1] == "[DONE]", f"cut off: ...{events[-1:]}"
        chunks = [json.loads(e) for e in events[:-1]]
        ids = [i for c in chunks for i in c["choices"][0].get("token_ids", [])]
        reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"][0]["finish_reason"]]
        assert len(reasons) == 1, reasons
        details = [c["throughline"]["finish_detail"] for c in chunks if "finish_detail" in c.get("throughline", {})]
        self.results[self.seed] = (ids, details[0])


def offline(seeds):
    """The same requests by `throughline generate --exact`."""
    folder = pathlib.Path(tempfile.mkdtemp())
    with open(folder / "in.jsonl", "w") as file:
        for seed in seeds:
            file.write(json.dumps({"id": seed, **body_of(seed)}) + "\n")
    binary = os.environ.get("THROUGHLINE_BINARY") or ROOT / "build/release/throughline"
    subprocess.run([binary, "generate", "--model", ROOT / "models/stories260K", "--exact", "--threads", "1", "--kv-memory", "16M",
                    "--input", folder / "in.jsonl", "--output", folder / "out.jsonl"], check=True, stderr=subprocess.DEVNULL)
    return {o["id"]: o["token_ids"] for o in map(json.loads, open(folder / "out.jsonl"))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=300)
    options = parser.parse_args()
    server = Server("stories260K", "--exact", "--max-queue", "1000", "--drain", "60")
    sizes, survivors, faults = [], {}, []
    for number in range(options.rounds + 1):
        last = number == options.rounds  # the one with SIGTERM
        results = {}
        threads = [Stream(server, number * 10000 + i, results, faults) for i in range(options.streams)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        if last:
            time.sleep(1)
            server.process.send_signal(signal.SIGTERM)
            faults_before = len(faults)
        for thread in threads:
            thread.join(180)
            assert not thread.is_alive(), "a client hangs"
        if last:  # connections that came too late are refused, resets are fair
            del faults[faults_before:]
            faults += [f for f in faults if "cut off" in f]
        survivors.update({s: r for s, r in results.items() if r and (not last or r[1] in ("max_tokens", "length"))})
        print(f"round {number}: {len(results)} answers of {options.streams} in {time.monotonic() - began:.1f} s", flush=True)
        if not last:
            idle = server.wait_idle(60)
            assert idle["kv"]["used_pages"] == idle["kv"]["shared_prefix_pages"], idle
            sizes.append(server.rss_kib())
    status = server.process.wait(120)  # the signal was sent in the last round
    assert status == 0, status
    assert not faults, faults[:5]
    print("memory after each round, KiB:", *sizes)
    assert sizes[-1] < sizes[0] * 1.1 + 4096, sizes
    expected = offline(survivors)
    wrong = [s for s, (ids, _) in survivors.items() if ids != expected[s]]
    assert not wrong, f"{len(wrong)} of {len(survivors)} differ, e.g. seed {wrong[0]}: {survivors[wrong[0]][0][:20]} / {expected[wrong[0]][:20]}"
    print(f"{len(survivors)} survivors equal the offline run; clean exit")


if __name__ == "__main__":
    main()
