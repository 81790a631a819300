#!/usr/bin/env python3
"""lm-evaluation-harness: `local-completions` against the server and `hf` on the same checkpoint give the same
log-likelihoods. Needs lm-eval, torch and transformers; run by hand.

    tests/server/lm_eval_check.py [--model stories260K] [--tolerance 1e-4]
"""
import argparse

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI

from client import ROOT, Server

PAIRS = [("Once upon a time", " there was a little girl named Lily."), ("Lily had a", " dog."), ("Tom and Sam went to the park.", " They saw a big tree."),
         ("The sun was", " very hot and"), ("", "Once upon a time"), ("One day, a big bird", " flew in the sky and saw a"), ("She said,", " \"I want to play\"")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="stories260K")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    folder = str(ROOT / "models" / options.model)
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)]
    expected = HFLM(pretrained=folder, dtype="float32", device="cpu", batch_size=1).loglikelihood(requests)
    server = Server(options.model)
    try:
        api = LocalCompletionsAPI(base_url=f"http://127.0.0.1:{server.port}/v1/completions", model=options.model, tokenizer=folder,
                                  tokenizer_backend="huggingface", batch_size=4, max_length=512, add_bos_token=True)
        got = api.loglikelihood(requests)
    finally:
        server.stop()
    worst = 0
    for pair, (a, greedy_a), (b, greedy_b) in zip(PAIRS, expected, got):
        print(f"{a:12.5f} {b:12.5f} {greedy_a!s:5} {greedy_b!s:5} {pair}")
        worst = max(worst, abs(a - b))
        assert greedy_a == greedy_b, pair
    print(f"largest difference {worst:.2e}")
    assert worst < options.tolerance


if __name__ == "__main__":
    main()
