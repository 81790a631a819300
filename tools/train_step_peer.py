#!/usr/bin/env python3
"""The peer of bench/train_step_bench.cc: one full training step (forward, backward, clip, AdamW) in transformers.

Development only (torch and transformers). Prints one JSON line a measurement with the fields of the C++ bench. The rows
are of equal length, so transformers needs no padding and no packing: the easiest case for it. SDPA attention, fused AdamW,
log-probs of logits / T, a weighted sum as the loss: the same work as the C++ step.
"""
import argparse
import json
import time

import torch
import transformers

SHAPES = {
    "0.8M": dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, intermediate_size=384),
    "4.3M": dict(hidden_size=256, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=2, intermediate_size=704),
}


def make_model(shape, dtype, vocab):
    config = transformers.Qwen3Config(vocab_size=vocab, head_dim=32, max_position_embeddings=4096, tie_word_embeddings=True,
                                      attention_bias=False, **SHAPES[shape])
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    return transformers.Qwen3ForCausalLM(config).to(dtype).train()


def step(model, optimizer, ids, weights, temperature=1.0):
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    logprobs = torch.log_softmax(logits.float() / temperature, -1)
    picked = logprobs.gather(-1, ids[:, 1:, None]).squeeze(-1)
    (-(picked * weights)).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", default="0.8M,4.3M")
    parser.add_argument("--dtypes", default="fp32,bf16")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--vocab", type=int, default=64)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for shape in args.shapes.split(","):
        for dtype in args.dtypes.split(","):
            model = make_model(shape, dict(fp32=torch.float32, bf16=torch.bfloat16)[dtype], args.vocab)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
            ids = torch.randint(0, args.vocab, (args.rows, args.tokens + 1))
            weights = torch.full((args.rows, args.tokens), 1.0 / (args.rows * args.tokens))
            step(model, optimizer, ids, weights)
            rates = []
            for _ in range(args.reps):
                start = time.perf_counter()
                step(model, optimizer, ids, weights)
                rates.append(args.rows * args.tokens / (time.perf_counter() - start))
            rates.sort()
            print(json.dumps(dict(peer="transformers", version=transformers.__version__, torch=torch.__version__, shape=shape,
                                  dtype=dtype, rows=args.rows, row_tokens=args.tokens, tok_s_median=round(rates[len(rates) // 2]),
                                  tok_s_max=round(rates[-1]), reps=args.reps)), flush=True)
            if args.profile:
                with torch.profiler.profile() as prof:
                    step(model, optimizer, ids, weights)
                print(prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40))


if __name__ == "__main__":
    main()
