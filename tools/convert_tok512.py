#!/usr/bin/env python3
"""Converts a llama2.c checkpoint (stories260K.bin + tok512.bin) into a Hugging Face directory. Standard library only.

    tools/convert_tok512.py [--model stories260K.bin] [--tokenizer tok512.bin] [--output models/stories260K]

What changes on the way, and why:
* RoPE. llama2.c rotates neighbours (2i, 2i+1) of a head; Hugging Face's Llama rotates (i, i + head_dim/2). The rows of
  wq and wk are permuted within each head so that both give the same scores.
* The classifier is tied to the embedding (vocab_size > 0 in the header), so no lm_head.weight is written.
* tok512.bin holds pieces with scores and greedily merges the best-scored pair. The scores fall with the id, so
  "all splits of a piece, in the order of the pieces' scores" is the same rule as a list of merges. Splits of one piece
  have equal scores in tok512 (the leftmost wins) but different ranks here. That could only differ for a piece that overlaps a
  copy of itself by a whole piece; the script checks that there is none.
* llama2.c spells the space " " and the specials "\\n<s>\\n"; here they are "▁" (U+2581) and "<s>", as Llama 2 has them.
* llama2.c ends a story at BOS (id 1), never at </s>: generation_config.json lists both as ends.
"""
import argparse
import array
import json
import os
import struct
import sys

HEADER = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
FIRST_PIECE = 3 + 256  # <unk>, <s>, </s>, then 256 bytes


def read_checkpoint(path):
    """The header as a dict, and name -> (shape, float array) in Hugging Face's names and row order."""
    with open(path, "rb") as f:
        data = f.read()
    c = dict(zip(HEADER, struct.unpack_from("<7i", data)))
    if c["vocab_size"] <= 0:
        sys.exit(f"{path}: an untied classifier (negative vocabulary size) is not supported")
    head = c["dim"] // c["n_heads"]
    kv = head * c["n_kv_heads"]
    values = array.array("f", data[28:])
    if sys.byteorder != "little":
        values.byteswap()
    at = 0

    def take(*shape):
        nonlocal at
        n = 1
        for s in shape:
            n *= s
        at += n
        if at > len(values):
            sys.exit(f"{path}: truncated")
        return (list(shape), values[at - n : at])

    dim, hidden, layers = c["dim"], c["hidden_dim"], c["n_layers"]
    tensors = {"model.embed_tokens.weight": take(c["vocab_size"], dim)}
    per_layer = (
        ("input_layernorm", (dim,)),
        ("self_attn.q_proj", (dim, dim)),
        ("self_attn.k_proj", (kv, dim)),
        ("self_attn.v_proj", (kv, dim)),
        ("self_attn.o_proj", (dim, dim)),
        ("post_attention_layernorm", (dim,)),
        ("mlp.gate_proj", (hidden, dim)),
        ("mlp.down_proj", (dim, hidden)),
        ("mlp.up_proj", (hidden, dim)),
    )
    for name, shape in per_layer:  # the file has all layers of one matrix side by side
        for layer in range(layers):
            tensor = take(*shape)
            if name.endswith(("q_proj", "k_proj")):
                tensor = half_split_rows(tensor, head)
            tensors[f"model.layers.{layer}.{name}.weight"] = tensor
    tensors["model.norm.weight"] = take(dim)
    at += c["seq_len"] * head  # two tables of rotations that nobody reads any more
    if at != len(values):
        sys.exit(f"{path}: {len(values) - at} floats are left over")
    return c, tensors


def half_split_rows(tensor, head):
    (rows, columns), values = tensor
    out = array.array("f")
    for first in range(0, rows, head):
        for row in [*range(first, first + head, 2), *range(first + 1, first + head, 2)]:
            out.extend(values[row * columns : (row + 1) * columns])
    return [rows, columns], out


def write_safetensors(path, tensors):
    header, body = {"__metadata__": {"format": "pt"}}, bytearray()
    for name, (shape, values) in tensors.items():
        if sys.byteorder != "little":
            values.byteswap()
        begin = len(body)
        body += values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(body)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def read_pieces(path):
    with open(path, "rb") as f:
        data = f.read()
    at, pieces = 4, []
    while at < len(data):
        score, size = struct.unpack_from("<fi", data, at)
        pieces.append((data[at + 8 : at + 8 + size].decode(), score))
        at += 8 + size
    return pieces


def tokenizer_json(pieces):
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    if [p for p, _ in pieces[3:FIRST_PIECE]] != names[3:]:
        sys.exit("the tokenizer's ids 3..258 are not the 256 bytes")
    scores = [score for _, score in pieces[FIRST_PIECE:]]
    if scores != sorted(scores, reverse=True) or len(set(scores)) != len(scores):
        sys.exit("the tokenizer's scores do not fall with the id")
    names += [p.replace(" ", "\u2581") for p, _ in pieces[FIRST_PIECE:]]
    vocab = {name: i for i, name in enumerate(names)}
    if len(vocab) != len(names):
        sys.exit("the tokenizer has a piece twice")
    merges = []
    for piece in names[FIRST_PIECE:]:
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        for a in splits:
            for b in splits:
                if a != b and a[1] == b[0]:
                    sys.exit(f"the piece {piece!r} overlaps itself; merges cannot express llama2.c's order")
        merges += [list(s) for s in splits]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": names[i], **special} for i in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<s>", "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


README = """# stories260K

A 260 thousand parameter Llama (5 layers, 8 heads / 4 KV heads, 512 positions, 512 tokens) trained on TinyStories by Andrej Karpathy for llama2.c;
converted by `tools/convert_tok512.py` from `stories260K.bin` and `tok512.bin`. It writes children's stories: small enough to ship,
real enough to show what KV compression does. A story ends with BOS (id 1). Licence: MIT, see `LICENSE`.
"""

LICENSE = """MIT License

Copyright (c) 2023 Andrej

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

(The weights and the vocabulary are those of github.com/karpathy/llama2.c, stories260K.bin and tok512.bin.)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="../shared/data/models/stories260K/stories260K.bin")
    parser.add_argument("--tokenizer", default="../shared/data/models/stories260K/tok512.bin")
    parser.add_argument("--output", default="models/stories260K")
    args = parser.parse_args()
    c, tensors = read_checkpoint(args.model)
    pieces = read_pieces(args.tokenizer)
    if len(pieces) != c["vocab_size"]:
        sys.exit(f"{args.tokenizer}: {len(pieces)} pieces for a vocabulary of {c['vocab_size']}")
    os.makedirs(args.output, exist_ok=True)

    def path(name):
        return os.path.join(args.output, name)

    def write_json(name, value, indent=2):
        with open(path(name), "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False, indent=indent)
            f.write("\n")

    write_safetensors(path("model.safetensors"), tensors)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": c["dim"],
        "intermediate_size": c["hidden_dim"],
        "num_hidden_layers": c["n_layers"],
        "num_attention_heads": c["n_heads"],
        "num_key_value_heads": c["n_kv_heads"],
        "head_dim": c["dim"] // c["n_heads"],
        "vocab_size": c["vocab_size"],
        "max_position_embeddings": c["seq_len"],
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }
    write_json("config.json", config)
    # llama2.c's own defaults for sampling.
    write_json("generation_config.json", {"bos_token_id": 1, "eos_token_id": [1, 2], "do_sample": True, "temperature": 1.0, "top_p": 0.9})
    write_json("tokenizer.json", tokenizer_json(pieces))
    tokenizer_config = {
        "tokenizer_class": "LlamaTokenizer",
        "legacy": True,
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": c["seq_len"],
    }
    write_json("tokenizer_config.json", tokenizer_config)
    for name, text in (("README.md", README), ("LICENSE", LICENSE)):
        with open(path(name), "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
