#!/usr/bin/env python3
"""Writes small tokenizers and golden results of Hugging Face `tokenizers` for them, for src/text/*_golden_test.cc.

    pip install tokenizers    (0.23.3 made the committed files)
    tools/make_tokenizer_goldens.py [--shared ../shared/data/tokenizers]

tests/data/tokenizers/NAME/tokenizer.json   tokenizers in the style of real families, trained here on a few sentences
tests/golden/text/strings.json              the texts
tests/golden/text/tokenizer_NAME.json       {"ids", "plain_ids", "text", "text_all": per text; "random_ids", "random_text"}
tests/golden/text/components.json           normalisers, pre-tokenisers and decoders alone

ids: encode with special tokens; plain_ids: without adding or parsing special tokens; text: decode(ids, skip_special);
null stands for "equal to the text given".
"""
import argparse
import json
import os
import random
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPACE = "\u2581"
QWEN2 = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It wasn't the first time, and it won't be the last.",
    "Let me think step by step. First, we compute 12 + 34 = 46. Then 46 * 2 = 92, so the answer is \\boxed{92}.",
    "Wait, that isn't right. Let's try again: if x = 3.14159 then x^2 = 9.8696...",
    "def main():\n    for i in range(10):\n        print(f\"{i}: {i ** 2}\")\n\n    return 0\n",
    "Größe, Übermut, façade, naïve, Ærø, señor, œuvre; zażółć gęślą jaźń.",
    "Привет, мир! Как дела? Это проверка токенизатора.",
    "你好，世界！我们一步一步地思考。答案是四十二。",
    "こんにちは世界。これはテストです。ありがとうございます。",
    "안녕하세요 세계! 이것은 시험입니다.",
    "שלום עולם · مرحبا بالعالم · नमस्ते दुनिया · สวัสดีชาวโลก",
    "🙂 🚀🚀 👩‍👩‍👧‍👦 ❤️ 🇩🇪 ½ ∑ ∫ √2 ≈ 1.41 → ∞",
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.",
    "tokens   and\ttabs\n\nand newlines \r\n end  ",
]

HAND = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", " \t \n ", "a", " a", "a ", " a ", "Hello", "Hello world", " Hello  world ",
    "Hello, world! How's it going?", "I'M, we'LL, they'd, don't, I've; 's 't", "3", "33", "333", "3333", "33333", "333333 4444444", "3.14 1,000,000",
    "the  quick   brown    fox", "\n\n\n\t\t\t   \n", "x\u00a0y\u2003z\u3000w", "a\u200bb\u200db\ufeffc", "\x00", "a\x00b", "\x01\x02\x1f\x7f\x80\x9f",
    "Größe naïve façade", "Gro\u0308ße nai\u0308ve", "e\u0301\u0327 e\u0327\u0301", "\u1e9b\u0323", "\ufb01\ufb02 \u2460 \u00bd \u3392 \uff21", "İstanbul ΑΣ Σ ς",
    "\u0301", "\u0301a", " \u0301", "\u0301\u0301\u0301", "각\u1100\u1161\u11a8", "नमस्ते", "สวัสดี", "שָׁלוֹם", "你好世界", "こんにちは", "안녕하세요", "Привет",
    "🙂", "🙂🙂", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "❤️", "🏳️‍🌈 flag", "\U0001f9d1\U0001f3fd", "\ufffd", "\ufffd\ufffd", "\ufffe\uffff", "\ue000\U000f0000\U0010fffd",
    "<s>", "</s>", "<unk>", "a<s>b", " <s> ", "<s><s>", "<|endoftext|>", "a <|endoftext|> b", "<|im_start|>user\nhi<|im_end|>\n", "<think>\nhm\n</think>\n\n42",
    "<think></think>", "<think", "think>", "</think>.", "<0x0A>", "<0x0", "<0xFF>x", "a<mask>b", "a <mask> b", "  <mask>  ", "x  <left>  y", "x  <right>  y",
    "x  <both>  y", "<both><both>", " <both> <both> ", "word", "sword", "word wordy aword word", "word.word", "(word)", "Éword wordé", "norm NORM Norm n\u006frm", "a norm b",
    "<multi word>", "a<multi word>b", "<mul", SPACE, SPACE * 2, "a" + SPACE + "b", " " + SPACE + " a", "##a", "a##b", "</w>", "a</w>",
    "a" * 100, "ab" * 60, " " * 63, "\n" * 33, "." * 50, "=" * 77, "-----", "!?!?!?", "a.b.c", "foo_bar_baz fooBar", "https://example.org/a?b=c&d=%20#e",
    "C:\\Users\\x\\y", "{\"a\": [1, 2.5, null]}", "\\frac{1}{2} \\boxed{42}", "$x^2 + y^2 = z^2$", "1 + 1 = 2", "a+b-c*d/e", "½ ² ³ Ⅷ ٣ ५ 一", "'s", "''s", "it's'S",
    "def f(x):\n    return x\n", "if (a && b) { c(); }\r\n\r\n", "\tindented\n\t\tmore\n", "line one\nline two\n\nline four", "trailing spaces   ", "trailing newline\n",
    "Once upon a time, there was a little girl named Lily.", "zażółć gęślą jaźń", "The Answer Is 42", "ALL CAPS TEXT", "MiXeD cAsE",
]

BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
    (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x20BF), (0x2100, 0x22FF), (0x2460, 0x24FF), (0x2600, 0x27BF), (0x3040, 0x30FF), (0x4E00, 0x9FA5),
    (0xAC00, 0xD7A3), (0xF900, 0xFA2D), (0xFB00, 0xFB06), (0xFE00, 0xFE0F), (0xFF01, 0xFF5E), (0x1D400, 0x1D7FF), (0x20000, 0x2A6D6),
]
BITS = [" ", "  ", "\n", "\t", "\r\n", " the", "ing", "'s", "12", "345", "🙂", "🚀", "👩‍👧", "<s>", "<think>", "</think>", "<mask>", "<both>", "word", "norm", SPACE, "e\u0301", "\u00a0", "<|endoftext|>",
        "你", "で", "É", "...", "==", "a", "b", "Z", "_", "<", ">", "|", "\u3000", "\ufffd"]


def make_strings():
    rng = random.Random(20250601)

    def assigned(c):  # in Unicode 3.2 already, so that no library's table is too old
        return unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs")

    out = list(HAND) + CORPUS
    while len(out) < 400:
        parts = []
        for _ in range(rng.randint(1, 14)):
            kind = rng.random()
            if kind < 0.45:
                parts.append(rng.choice(BITS))
            elif kind < 0.6:
                line = rng.choice(CORPUS)
                at = rng.randrange(len(line))
                parts.append(line[at : at + rng.randint(1, 12)])
            else:
                low, high = rng.choice(BLOCKS)
                parts += [chr(c) for c in (rng.randint(low, high) for _ in range(rng.randint(1, 4))) if assigned(c)]
        out.append("".join(parts))
    return out


def byte_pieces():
    return [f"<0x{b:02X}>" for b in range(256)]


def train(tokenizer, size, special, alphabet=(), **options):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), initial_alphabet=list(alphabet), show_progress=False, **options)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)


def with_bytes(tokenizer, specials):
    """Moves a trained model's pieces behind <unk>, <s>, </s> and the 256 bytes, as Llama 2 has them."""
    data = json.loads(tokenizer.to_str())
    pieces = [p for p, _ in sorted(data["model"]["vocab"].items(), key=lambda kv: kv[1]) if p not in specials]
    data["model"]["vocab"] = {p: i for i, p in enumerate(list(specials) + byte_pieces() + pieces)}
    data["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    data["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(data))


def odd_tokens():
    return [
        AddedToken("<mask>", special=True, normalized=False),
        AddedToken("<left>", lstrip=True, normalized=False),
        AddedToken("<right>", rstrip=True, normalized=False),
        AddedToken("<both>", lstrip=True, rstrip=True, normalized=False, special=True),
        AddedToken("word", single_word=True, normalized=False),
        AddedToken("norm", normalized=True),
        AddedToken("<multi word>", normalized=True),
        AddedToken("<think>", normalized=False),
        AddedToken("</think>", normalized=False),
    ]


def template(bos, ids, eos=None):
    single = f"{bos} $A" + (f" {eos}" if eos else "")
    return processors.TemplateProcessing(single=single, pair=single + " $B", special_tokens=ids)


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    train(t, 700, [], pre_tokenizers.ByteLevel.alphabet())
    # A whole word that no merge reaches: only ignore_merges finds it.
    data = json.loads(t.to_str())
    data["model"]["vocab"]["ĠHellowhole"] = len(data["model"]["vocab"])
    t = Tokenizer.from_str(json.dumps(data))
    t.add_special_tokens(["<s>", "<|endoftext|>"])
    t.add_tokens(odd_tokens())
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template("<s>", [("<s>", t.token_to_id("<s>"))])])
    return t


def llama2():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    train(t, 500, ["<unk>", "<s>", "</s>"], limit_alphabet=90)
    t.pre_tokenizer = None
    t = with_bytes(t, ["<unk>", "<s>", "</s>"])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.add_tokens(odd_tokens())
    t.post_processor = template("<s>", [("<s>", 1)])
    t.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return t


def llama2_metaspace():
    """Llama 2 as transformers writes it with legacy=false."""
    t = llama2()
    t.normalizer = None
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=False)
    t.post_processor = template("<s>", [("<s>", 1), ("</s>", 2)], "</s>")
    return t


def metaspace_lower():
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")]
    )
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    train(t, 300, ["<unk>"], limit_alphabet=60)
    t.add_special_tokens(["<unk>", "<s>"])
    t.add_tokens(odd_tokens())
    return t


def words():
    """Prefix, suffix, three pre-tokenisers in a row, and no decoder."""
    t = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>", fuse_unk=True))
    t.normalizer = normalizers.NFKC()
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    train(t, 400, ["<unk>"], limit_alphabet=80, continuing_subword_prefix="##", end_of_word_suffix="</w>")
    t.add_tokens(odd_tokens())
    return t


def read_merges(path):
    with open(path, encoding="utf-8", newline="\n") as f:
        lines = f.read().split("\n")
    return [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def from_merges(merges):
    base = [c for _, c in sorted((ord(c), c) for c in pre_tokenizers.ByteLevel.alphabet())]
    own = [c for c in base if ord(c) < 256] + [c for c in base if ord(c) >= 256]
    vocab = {piece: i for i, piece in enumerate(own + [a + b for a, b in merges])}
    return Tokenizer(models.BPE(vocab=vocab, merges=merges))


def qwen2(shared, specials):
    t = from_merges(read_merges(os.path.join(shared, "qwen2", "merges.txt")))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(specials)
    return t


def gpt2(shared):
    t = from_merges(read_merges(os.path.join(shared, "gpt2", "merges.txt")))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>"])
    return t


def random_ids(tokenizer, rng):
    size = tokenizer.get_vocab_size()
    low = [i for i in range(min(size, 300))]
    out = []
    for _ in range(150):
        ids = []
        while len(ids) < rng.randint(1, 16):
            kind = rng.random()
            if kind < 0.5:
                ids.append(rng.choice(low))  # bytes live here
            elif kind < 0.95:
                ids.append(rng.randrange(size))
            elif kind < 0.97:
                ids.append(size + rng.randrange(1000))  # unknown
            else:
                ids += tokenizer.encode(rng.choice(["é中🙂", "🙂"]), add_special_tokens=False).ids[: rng.randint(1, 6)]
        out.append(ids)
    return out


def golden(tokenizer, strings, seed):
    out = {"ids": [], "plain_ids": [], "text": [], "text_all": []}
    for s in strings:
        ids = tokenizer.encode(s).ids
        out["ids"].append(ids)
        text, text_all = tokenizer.decode(ids, skip_special_tokens=True), tokenizer.decode(ids, skip_special_tokens=False)
        out["text"].append(None if text == s else text)
        out["text_all"].append(None if text_all == s else text_all)
    tokenizer.encode_special_tokens = True
    out["plain_ids"] = [tokenizer.encode(s, add_special_tokens=False).ids for s in strings]
    tokenizer.encode_special_tokens = False
    out["random_ids"] = random_ids(tokenizer, random.Random(seed))
    out["random_text"] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in out["random_ids"]]
    return out


def components(strings):
    """Single parts, through the public functions of `tokenizers`, on a sample of the texts."""
    frame = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
             "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}  # fmt: skip

    def part(key, value):
        return getattr(Tokenizer.from_str(json.dumps({**frame, key: value})), key)

    sample = [s for s in strings if s][::2]
    norm = [{"type": t} for t in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "ByteLevel")]
    norm += [{"type": "Strip", "strip_left": a, "strip_right": b} for a in (True, False) for b in (True, False)]
    norm += [{"type": "Prepend", "prepend": "_x"}, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]
    norm += [{"type": "Replace", "pattern": {"Regex": p}, "content": c} for p, c in (("a+", "b"), ("a*", "-"), (r"\s", ""), (r"(?<=[a-z])(?=[A-Z])", "_"), (r" {2,}", " "))]
    norm += [{"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "NFC"}]}]
    pre = [{"type": t} for t in ("Whitespace", "WhitespaceSplit")]
    pre += [{"type": "Digits", "individual_digits": d} for d in (True, False)]
    behaviors = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
    pre += [{"type": "Punctuation", "behavior": b} for b in behaviors]
    for pattern in ({"String": " "}, {"Regex": r"\d+|[a-m]"}, {"Regex": r"\s*"}):
        pre += [{"type": "Split", "pattern": pattern, "behavior": b, "invert": i} for b in behaviors for i in (False, True)]
    pre += [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in (QWEN2, LLAMA3)]
    pre += [{"type": "ByteLevel", "add_prefix_space": a, "trim_offsets": True, "use_regex": u} for a in (True, False) for u in (True, False)]
    pre += [{"type": "Metaspace", "replacement": SPACE, "prepend_scheme": p, "split": s} for p in ("always", "first", "never") for s in (True, False)]
    pre += [{"type": "Metaspace", "replacement": "_", "add_prefix_space": True}, {"type": "CharDelimiterSplit", "delimiter": "a"}]
    pre += [{"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first"}]}]

    rng = random.Random(5)
    pool = [SPACE + "a", SPACE, SPACE * 3 + "b", "a", " ", "  x ", "<0xE4>", "<0xB8>", "<0xAD>", "<0x0A>", "<0xff>", "<0xZZ>", "é", "中", "Ġthe", "Ã", "©", "Ģ", "\n", "aaa", "  ", "</s>", "x" + SPACE]
    lists = [[rng.choice(pool) for _ in range(rng.randint(1, 9))] for _ in range(120)]
    replace = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    strip = [{"type": "Strip", "content": " ", "start": a, "stop": b} for a, b in ((1, 0), (0, 1), (2, 1))]
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    dec = [byte_level, {"type": "ByteFallback"}, {"type": "Fuse"}, replace, {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"}, strip[0]]
    dec += [{"type": "Metaspace", "replacement": SPACE, "prepend_scheme": p} for p in ("always", "first", "never")]
    dec += [{"type": "Sequence", "decoders": d} for d in (
        [replace, {"type": "ByteFallback"}, {"type": "Fuse"}, strip[0]],
        [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "aa"}, "content": "-"}],
        [{"type": "Fuse"}, {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always"}, {"type": "Fuse"}],
        [byte_level, {"type": "Replace", "pattern": {"String": "the"}, "content": "THE"}],
        [{"type": "Replace", "pattern": {"String": "a"}, "content": "  "}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 1}],
    )]  # fmt: skip
    return {
        "texts": sample,
        "normalizers": [[n, [part("normalizer", n).normalize_str(s) for s in sample]] for n in norm],
        "pre_tokenizers": [[p, [[w for w, _ in part("pre_tokenizer", p).pre_tokenize_str(s)] for s in sample[::2]]] for p in pre],
        "pieces": lists,
        "decoders": [[d, [part("decoder", d).decode(pieces) for pieces in lists]] for d in dec],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", default="../shared/data/tokenizers")
    args = parser.parse_args()
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests")

    def write(path, value):
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")

    strings = make_strings()
    write("golden/text/strings.json", strings)
    for make in (llama3, llama2, llama2_metaspace, metaspace_lower, words):
        t = make()
        write(f"data/tokenizers/{make.__name__}/tokenizer.json", json.loads(t.to_str()))
        write(f"golden/text/tokenizer_{make.__name__}.json", golden(t, strings, make.__name__))
    large = {
        "qwen2": qwen2(args.shared, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        "gpt2": gpt2(args.shared),
        "gpt_neox_20b": Tokenizer.from_file(os.path.join(args.shared, "gpt_neox_20b", "tokenizer.json")),
    }
    for name, t in large.items():
        write(f"golden/text/tokenizer_{name}.json", golden(t, strings, name))
    write("golden/text/components.json", components(strings))


if __name__ == "__main__":
    main()
