#!/usr/bin/env python3
"""Golden values of GRPO's losses and gradients: a plain PyTorch statement of what src/train/ computes.

Development only (needs torch). Writes tests/golden/train/grpo.json. Everything is float64; the gradients are autograd's, so
they check the slopes that src/train/token_loss.cc writes down by hand, and the chunked head of src/ops/token_logprobs.cc.
"""
import json
import math
import pathlib

import torch

torch.manual_seed(20261122)
torch.set_default_dtype(torch.float64)
OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "train" / "grpo.json"


def numbers(tensor):
    return [float(f"{x:.17g}") for x in tensor.detach().reshape(-1).tolist()]


def f32(tensor):
    """Values that fp32 holds exactly, so that both sides start from the same numbers."""
    return tensor.to(torch.float32).to(torch.float64)


# ---- advantages -------------------------------------------------------------------------------------------------------

def advantages(rewards, kind):
    r = torch.tensor(rewards)
    if len(rewards) == 1:
        return r
    if kind == "group_norm":
        return (r - r.mean()) / (r.std() + 1e-6)
    if kind == "group_mean":
        return r - r.mean()
    n = len(rewards)
    return torch.stack([r[i] - (r.sum() - r[i]) / (n - 1) for i in range(n)])


GROUPS = [[0, 1, 0, 1, 1, 0, 0, 0], [1, 1, 1, 1], [0.3, 0.3, 0.3], [0.25], [-1, 0.5, 2.5, 0.125], [0, 0, 0, 0, 0, 0, 0, 1]]


# ---- token loss and aggregation ------------------------------------------------------------------------------------------

# Five traces, nine rows: (trace, trained mask of the response).
ROWS = [
    (0, [1, 1, 1, 1, 1]), (0, [1, 1, 0, 1]), (0, [1, 1, 1]),
    (1, [1, 1, 1, 1, 1, 1]),
    (2, [1, 0, 0, 1, 1]), (2, [1]),
    (3, [1, 1, 1, 1, 1, 1, 1]), (3, [0, 1]),
    (4, [1, 1, 1, 1]),
]
ADVANTAGES = [1.25, -0.75, 0.0, -2.0, 0.5]


def draw_rows():
    rows = []
    for trace, mask in ROWS:
        n = len(mask)
        logprob = f32(-torch.rand(n) * 3)
        old = f32(logprob + torch.randn(n) * 0.35)
        behavior = f32(old + torch.randn(n) * 0.45)
        reference = f32(logprob + torch.randn(n) * 0.6)
        rows.append(dict(trace=trace, mask=mask, logprob=logprob, old=old, behavior=behavior, reference=reference))
    # Far-off ratios: the clamp of d, the dual clip, the cap and the mask all bite somewhere.
    rows[0]["old"][1] = rows[0]["logprob"][1] - 25
    rows[3]["old"][2] = rows[3]["logprob"][2] - 2
    rows[6]["old"][4] = rows[6]["logprob"][4] - 1.75
    rows[6]["old"][5] = rows[6]["logprob"][5] + 30
    rows[7]["reference"][1] = rows[7]["logprob"][1] + 22
    rows[8]["reference"][0] = rows[8]["logprob"][0] - 24
    rows[8]["old"][1] = rows[8]["logprob"][1].clone()
    return rows


def policy_loss(logprob, old, behavior, reference, advantage, o):
    limit = 20.0
    d = torch.clamp(logprob - old, -limit, limit)
    ratio = torch.exp(d)
    l1 = -advantage * ratio
    l2 = -advantage * torch.clamp(ratio, 1 - o["clip_low"], 1 + o["clip_high"])
    loss = torch.maximum(l1, l2)
    if o["dual_clip"] > 0 and advantage < 0:
        loss = torch.minimum(loss, torch.full_like(loss, -advantage * o["dual_clip"]))
    mismatch = torch.exp(old - behavior)
    if o["correction"] == "truncate":
        loss = loss * torch.clamp(mismatch, max=o["correction_cap"])
    elif o["correction"] == "mask":
        cap = o["correction_cap"]
        loss = loss * ((mismatch <= cap) & (mismatch >= 1 / cap)).to(loss.dtype)
    if o["kl_coefficient"] > 0:
        x = torch.clamp(reference - logprob, -limit, limit)
        loss = loss + o["kl_coefficient"] * (torch.exp(x) - x - 1)
    return loss


def step_loss(rows, leaves, o):
    """All rows are one optimizer step of `optimizer_steps` over `traces` traces."""
    trace_tokens = {t: sum(sum(r["mask"]) for r in rows if r["trace"] == t) for t in range(len(ADVANTAGES))}
    all_tokens = sum(trace_tokens.values())
    total = torch.zeros(())
    for row, logprob in zip(rows, leaves):
        mask = torch.tensor(row["mask"], dtype=torch.float64)
        if o["kind"] == "cross_entropy":
            loss = -logprob
        else:
            loss = policy_loss(logprob, row["old"], row["behavior"], row["reference"], ADVANTAGES[row["trace"]], o)
        summed = (mask * loss).sum()
        s_over_n = o["optimizer_steps"] / o["traces"]
        if o["aggregation"] == "trace_length":
            total = total + s_over_n * summed / trace_tokens[row["trace"]]
        elif o["aggregation"] == "token_mean":
            total = total + summed / all_tokens
        elif o["aggregation"] == "constant":
            total = total + s_over_n * summed / o["constant_tokens"]
        elif o["aggregation"] == "sequence_mean":
            total = total + summed / mask.sum() / len(rows)
    return total


BASE = dict(kind="policy_gradient", clip_low=0.20, clip_high=0.26, dual_clip=3.0, correction="truncate",
            correction_cap=2.0, kl_coefficient=0.0, aggregation="trace_length", constant_tokens=0.0, traces=10,
            optimizer_steps=2)
CASES = [
    ("delethink", {}),
    ("no dual clip", dict(dual_clip=0.0)),
    ("no correction", dict(correction="none")),
    ("masked mismatch", dict(correction="mask", correction_cap=1.5)),
    ("kl", dict(kl_coefficient=0.05)),
    ("kl of masked tokens stays", dict(kl_coefficient=0.5, correction="mask", correction_cap=1.25)),
    ("symmetric clip", dict(clip_low=0.2, clip_high=0.2, dual_clip=0.0, correction="none")),
    ("dapo", dict(clip_low=0.2, clip_high=0.28, aggregation="token_mean", dual_clip=10.0)),
    ("dr grpo", dict(aggregation="constant", constant_tokens=32.0, dual_clip=0.0, correction="none")),
    ("grpo", dict(aggregation="sequence_mean", clip_high=0.2, kl_coefficient=0.04, dual_clip=0.0, correction="none")),
    ("one step", dict(traces=5, optimizer_steps=1)),
    ("sft", dict(kind="cross_entropy", aggregation="token_mean")),
]


def loss_goldens():
    rows = draw_rows()
    out = []
    for name, changes in CASES:
        o = {**BASE, **changes}
        leaves = [r["logprob"].clone().requires_grad_(True) for r in rows]
        loss = step_loss(rows, leaves, o)
        loss.backward()
        out.append(dict(name=name, options=o, loss=loss.item(), slopes=[numbers(x.grad) for x in leaves]))
    shown = [dict(trace=r["trace"], trained=r["mask"], **{k: numbers(r[k]) for k in ("logprob", "old", "behavior", "reference")})
             for r in rows]
    return dict(advantages=ADVANTAGES, rows=shown, cases=out)


# ---- the head --------------------------------------------------------------------------------------------------------------

def head_golden(rows, width, vocab, temperature):
    hidden = f32(torch.randn(rows, width)).requires_grad_(True)
    head = f32(torch.randn(vocab, width) * 0.5).requires_grad_(True)
    targets = torch.randint(0, vocab, (rows,))
    upstream = f32(torch.randn(rows))
    logits = hidden @ head.T / temperature
    logprobs = torch.log_softmax(logits, -1)
    picked = logprobs.gather(1, targets.unsqueeze(1)).squeeze(1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    picked.backward(upstream)
    return dict(temperature=temperature, hidden=numbers(hidden), head=numbers(head), rows=rows, width=width, vocab=vocab,
                targets=targets.tolist(), upstream=numbers(upstream), logprobs=numbers(picked), entropy=numbers(entropy),
                grad_hidden=numbers(hidden.grad), grad_head=numbers(head.grad))


# ---- AdamW -----------------------------------------------------------------------------------------------------------------

def adamw_golden():
    """Three steps of a matrix (decays) and a vector (does not), with a clip of the global norm at 1."""
    o = dict(learning_rate=0.01, beta1=0.9, beta2=0.95, epsilon=1e-8, weight_decay=0.1, max_grad_norm=1.0)
    matrix, vector = f32(torch.randn(3, 5)), f32(torch.randn(4))
    start = dict(matrix=numbers(matrix), vector=numbers(vector))
    matrix.requires_grad_(True)
    vector.requires_grad_(True)
    opt = torch.optim.AdamW([dict(params=[matrix], weight_decay=o["weight_decay"]), dict(params=[vector], weight_decay=0.0)],
                            lr=o["learning_rate"], betas=(o["beta1"], o["beta2"]), eps=o["epsilon"])
    steps = []
    for scale in (0.1, 2.0, 0.5):
        matrix.grad, vector.grad = f32(torch.randn(3, 5) * scale), f32(torch.randn(4) * scale)
        grads = dict(matrix=numbers(matrix.grad), vector=numbers(vector.grad))
        norm = torch.sqrt(matrix.grad.square().sum() + vector.grad.square().sum())
        factor = min(1.0, o["max_grad_norm"] / float(norm))
        matrix.grad.mul_(factor)
        vector.grad.mul_(factor)
        opt.step()
        steps.append(dict(gradients=grads, norm=float(norm), matrix=numbers(matrix), vector=numbers(vector)))
    return dict(options=o, start=start, steps=steps)


def main():
    golden = dict(
        groups=[dict(rewards=g, **{k: numbers(advantages([float(x) for x in g], k))
                                   for k in ("group_norm", "group_mean", "leave_one_out")}) for g in GROUPS],
        losses=loss_goldens(),
        heads=[head_golden(5, 4, 7, 1.0), head_golden(9, 6, 19, 0.6)],
        adamw=adamw_golden(),
    )
    assert all(math.isfinite(x) for case in golden["losses"]["cases"] for row in case["slopes"] for x in row)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
