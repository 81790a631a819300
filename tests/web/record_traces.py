#!/usr/bin/env python3
"""Records real answers of the shipped models for mock_server.py: throughline generate --trace-kv, made compact.

    tests/web/record_traces.py PATH/TO/throughline

writes tests/web/data/*.json. Standard library only. Needed again only when the shipped models change.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PUZZLE = "ab bd ca de ec;au8;24bu0\n"  # ends at a with 0
CHUNKS = "delethink:chunk=24,carry=12,max_chunks=20,reserve=8,head=0"
STORY = "Once upon a time"
STORY_CHUNKS = "delethink:chunk=160,carry=64,max_chunks=6,head=16"

# name, model, kv, think, temperature, seed
RUNS = [
    ("puzzle_delethink", "iterate_map", "full", CHUNKS, 0.6, 15),
    ("puzzle_delethink_rpc", "iterate_map", "rpc:interval=4,ratio=2,window=2,kernel=1", CHUNKS, 0.6, 15),
    ("puzzle_longcot", "iterate_map", "full", "longcot:max_thinking=150", 0.6, 2),
    ("puzzle_rpc", "iterate_map", "rpc:interval=16,ratio=2,window=8,aggregation=group", "longcot:max_thinking=150", 0.6, 2),
    ("story_full", "stories260K", "full", "longcot", 0.8, 3),
    ("story_rpc", "stories260K", "rpc:interval=32,ratio=4,window=8,aggregation=group", "longcot", 0.8, 3),
    ("story_snapkv", "stories260K", "snapkv:budget=96,interval=32", "longcot", 0.8, 3),
    ("story_recency", "stories260K", "recency:budget=64", "longcot", 0.8, 3),
    ("story_delethink", "stories260K", "full", STORY_CHUNKS, 0.8, 3),
    ("story_delethink_rpc", "stories260K", "rpc:interval=16,ratio=4,window=8", STORY_CHUNKS, 0.8, 3),
]


def vocabulary(model):
    spec = json.loads((ROOT / "models" / model / "tokenizer.json").read_text())
    pieces = {i: text for text, i in spec["model"]["vocab"].items()}
    special = {t["id"]: t["content"] for t in spec.get("added_tokens", []) if t.get("special", True)}
    pieces.update({t["id"]: t["content"] for t in spec.get("added_tokens", [])})
    return pieces, special


def text_of(piece):
    if len(piece) == 6 and piece.startswith("<0x"):
        return chr(int(piece[3:5], 16))
    return piece.replace("\u2581", " ")


def ranges(positions):
    out = []
    for p in positions:
        if out and out[-1][1] == p:
            out[-1][1] = p + 1
        else:
            out.append([p, p + 1])
    return out


def compact(run, line):
    name, model, kv, think, temperature, seed = run
    pieces, special = vocabulary(model)
    ids = line["token_ids"]
    close = next((i for i, t in special.items() if t == "</think>"), None)
    close = next((i for i, t in pieces.items() if t == "</think>"), close)
    thinking = line["thinking"] is not None
    kinds, texts = "", []
    for i in ids:
        if i == close or pieces[i] in ("<eos>", "</s>", "<s>"):
            thinking = thinking and i != close
            kinds += "x"
            texts.append("")
        else:
            kinds += "t" if thinking else "a"
            texts.append(text_of(pieces[i]))
    head, query = 0, line["prompt_ids"]
    options = dict(o.split("=") for o in think.partition(":")[2].split(",") if "=" in o)
    chunks, starts, at = [], [], 0
    for n, chunk in enumerate(line["chunks"]):
        prompt = len(chunk["prompt_ids"])
        if n == 1:
            head = min(int(options.get("head", 100)), len(line["chunks"][0]["token_ids"]))
        starts.append(at)
        chunks.append({"prompt_tokens": prompt, "query_tokens": len(query), "head_tokens": head if n else 0,
                       "carried_tokens": prompt - len(query) - head if n else 0, "tokens": len(chunk["token_ids"]),
                       "at_token": at})
        at += len(chunk["token_ids"])
    events = []
    for e in line["kv"].get("events", []):
        key = (e["chunk"], e["decoded"])
        if line["kv"]["method"] == "recency" and e["layer"] > 1:
            continue  # one event a token: two layers tell enough
        if not events or events[-1]["key"] != key:
            context = chunks[e["chunk"]]["prompt_tokens"] + e["decoded"]
            events.append({"key": key, "chunk": e["chunk"], "decoded": e["decoded"],
                           "at_token": starts[e["chunk"]] + e["decoded"], "context_tokens": context,
                           "per_head": e["head"] is not None, "kept": []})
        kept = sorted(e["kept"])
        events[-1]["kept_tokens"] = len(kept)
        events[-1]["evicted_tokens"] = events[-1]["context_tokens"] - len(kept)
        events[-1]["kept"].append({"layer": e["layer"], "head": e["head"], "ranges": ranges(kept)})
    for e in events:
        del e["key"]
    total = len(ids)
    usage = line["usage"]
    final = {"index": 0, "finish_detail": line["finish_detail"], "stop": None, "think": think, "seed": seed,
             "tokens": {"prompt": usage["prompt"], "reasoning": usage["thinking"], "answer": usage["answer"],
                        "generated": total, "forced": sum(b - a for c in line["chunks"] for a, b in c["forced"])},
             "chunks": [{k: c[k] for k in ("prompt_tokens", "head_tokens", "carried_tokens", "tokens")} for c in chunks],
             "kv": {"spec": kv, **{k: v for k, v in line["kv"].items() if k != "events"}},
             "timing": line["timing"], "preemptions": 0, "error": None}
    return {"name": name, "model": model, "prompt": PUZZLE if "puzzle" in name else STORY, "kv": kv, "think": think,
            "finish_reason": line["finish_reason"], "texts": texts, "kinds": kinds, "chunks": chunks, "events": events,
            "final": final}


def methods(binary, what):
    """METHOD objects as /props has them, read from the help (types are guessed from the defaults)."""
    out = []
    for line in subprocess.run([binary, "help", what], capture_output=True, text=True, check=True).stdout.splitlines():
        if re.match(r"  \w", line):
            method, _, text = line.strip().partition("  ")
            out.append({"method": method, "help": text, "options": []})
        elif match := re.match(r"      (\w+) +(\S+)(?: \| \S+ \(form 2\))? +(.*)$", line):
            name, default, text = match.group(1), match.group(2), match.group(3)
            choices = re.search(r" \(([^()]*, [^()]*)\)$", text)
            option = {"name": name, "type": "integer", "default": default, "required": default == "required",
                      "minimum": 0, "maximum": 1e12, "choices": [], "help": text}
            if choices:
                option.update(type="choice", choices=choices.group(1).split(", "), help=text[: choices.start()])
            elif default in ("true", "false"):
                option["type"] = "boolean"
            elif re.fullmatch(r"\d+\.\d+", default):
                option["type"] = "number"
            elif re.fullmatch(r"[A-Z]\w+", default):
                option["type"] = "text"
            if default in ("required", "off"):
                option["default"] = None
            out[-1]["options"].append(option)
    return out


def props(binary, model):
    config = json.loads((ROOT / "models" / model / "config.json").read_text())
    kv, think = methods(binary, "kv"), methods(binary, "think")
    return {
        "model": {"id": model, "family": "llama", "layers": config["num_hidden_layers"],
                  "heads": config["num_attention_heads"], "kv_heads": config["num_key_value_heads"],
                  "vocab_size": config["vocab_size"], "max_context": config["max_position_embeddings"],
                  "dtype": "float32", "chat_template": model == "iterate_map",
                  "thinking_tags": ["<think>", "</think>"] if model == "iterate_map" else None},
        "server": {"version": "0.1.0", "uptime_s": 1.5, "exact": False, "batch_max": 64, "max_queue": 256, "keys": False},
        "defaults": {"kv": "full", "think": "longcot", "max_tokens": None, "temperature": 1, "top_p": 1, "top_k": 0,
                     "min_p": 0, "repetition_penalty": 1},
        "kv": {"memory_bytes": 1 << 30, "page_tokens": 16, "pages": 65536, "allowed": [m["method"] for m in kv],
               "methods": kv},
        "think": {"allowed": [m["method"] for m in think], "methods": think},
        "chat_template": None,
    }


def main():
    (HERE / "data").mkdir(exist_ok=True)
    for model in ("iterate_map", "stories260K"):
        (HERE / "data" / f"props_{model}.json").write_text(json.dumps(props(sys.argv[1], model), indent=1) + "\n")
    for run in RUNS if "--props" not in sys.argv else []:
        name, model, kv, think, temperature, seed = run
        request = {"id": name, "kv": kv, "think": think, "temperature": temperature, "seed": seed, "max_tokens": 420}
        if model == "iterate_map":
            request["messages"] = [{"role": "user", "content": PUZZLE}]
        else:
            request["prompt"] = STORY
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            (path / "in.jsonl").write_text(json.dumps(request) + "\n")
            subprocess.run([sys.argv[1], "generate", "--model", str(ROOT / "models" / model), "--input", "in.jsonl",
                            "--output", "out.jsonl", "--trace-kv", "--threads", "1"], cwd=folder, check=True)
            line = json.loads((path / "out.jsonl").read_text())
        trace = compact(run, line)
        said = "".join(trace["texts"])
        print(name, len(trace["chunks"]), "chunks,", len(trace["events"]), "events,", repr(said[-60:]))
        (HERE / "data" / f"{name}.json").write_text(json.dumps(trace, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
