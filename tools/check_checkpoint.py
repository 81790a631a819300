#!/usr/bin/env python3
"""Loads a checkpoint that `throughline train` wrote in transformers and compares tokenizer ids and greedy ids with `throughline generate`.

  tools/check_checkpoint.py RUN/checkpoints/step-N --prompt TEXT [--binary ./throughline] [--tokens 64]
      [--base MODEL --adapter RUN/adapter]   theirs: that adapter, put onto the model by PEFT
"""
import argparse
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--binary", default="./throughline")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--base")
    parser.add_argument("--adapter")
    options = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.base or options.model, dtype=torch.float32)
    if options.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, options.adapter)
    messages = [{"role": "user", "content": options.prompt}]
    templated = tokenizer.chat_template is not None
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) if templated else options.prompt
    ids = tokenizer(text, add_special_tokens=not templated)["input_ids"]
    with torch.no_grad():
        out = model.generate(torch.tensor([ids]), max_new_tokens=options.tokens, do_sample=False)
    theirs = out[0][len(ids):].tolist()

    request = {"id": 1, "prompt_ids": ids, "temperature": 0, "max_tokens": options.tokens, "think": "longcot:reserve=0"}
    run = subprocess.run([options.binary, "generate", "--model", options.model, "--dtype", "fp32", "--threads", "1"],
                         input=json.dumps(request), capture_output=True, text=True, check=True)
    ours = json.loads(run.stdout)["token_ids"]
    tokenized = subprocess.run([options.binary, "tokenize", "--model", options.model, text], capture_output=True, text=True)
    print("text  ", repr(tokenizer.decode(theirs)))
    print("theirs", theirs)
    print("ours  ", ours)
    print("ids   ", ids, tokenized.stdout.strip())
    if ours != theirs:
        sys.exit("the greedy ids differ")
    print("the same", len(ours), "greedy ids")


if __name__ == "__main__":
    main()
