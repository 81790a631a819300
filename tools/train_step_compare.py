#!/usr/bin/env python3
"""Throughline's training step against transformers', step by step in turn, so that both meet the same machine.

    tools/train_step_compare.py build/release/train_step_bench [--steps 9] [--shapes 0.8M,4.3M] [--dtypes fp32,bf16]

Development only (torch, transformers). One JSON line a shape and dtype: medians and bests of both, their ratios, and each
one's share of the machine's matrix-product rate as the bench measured it (ATen, 1024 cubed, same dtype and threads).
"""
import argparse
import json
import statistics
import subprocess
import time

import torch

import train_step_peer as peer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--shapes", default="0.8M,4.3M")
    parser.add_argument("--dtypes", default="fp32,bf16")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for shape in args.shapes.split(","):
        for dtype in args.dtypes.split(","):
            ours = subprocess.Popen([args.bench, "--serve", "--shape", shape, "--dtype", dtype, "--rows", str(args.rows),
                                     "--tokens", str(args.tokens), "--threads", str(args.threads)],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            flops, gemm = map(float, ours.stdout.readline().split())
            model = peer.make_model(shape, dict(fp32=torch.float32, bf16=torch.bfloat16)[dtype], 64)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
            ids = torch.randint(0, 64, (args.rows, args.tokens + 1))
            weights = torch.full((args.rows, args.tokens), 1.0 / (args.rows * args.tokens))
            peer.step(model, optimizer, ids, weights)
            mine, theirs = [], []
            for _ in range(args.steps):
                ours.stdin.write("step\n")
                ours.stdin.flush()
                mine.append(float(ours.stdout.readline()))
                start = time.perf_counter()
                peer.step(model, optimizer, ids, weights)
                theirs.append(args.rows * args.tokens / (time.perf_counter() - start))
            ours.stdin.close()
            ours.wait()
            median, other = statistics.median(mine), statistics.median(theirs)
            print(json.dumps(dict(
                shape=shape, dtype=dtype, rows=args.rows, row_tokens=args.tokens, threads=args.threads, steps=args.steps,
                throughline_tok_s=round(median), transformers_tok_s=round(other), ratio=round(median / other, 2),
                throughline_best=round(max(mine)), transformers_best=round(max(theirs)),
                ratio_of_bests=round(max(mine) / max(theirs), 2), gemm_gflop_s=round(gemm / 1e9, 1),
                throughline_gemm_share=round(median * flops / gemm, 3),
                transformers_gemm_share=round(other * flops / gemm, 3))), flush=True)


if __name__ == "__main__":
    main()
