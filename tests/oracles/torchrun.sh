#!/usr/bin/env bash
# Launched by torchrun: two processes of `train --exact` leave the weights of one.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
tiny_config >config.json
cat >sft.toml <<TOML
[run]
steps = 5
threads = 1
exact = true
[model]
config = "config.json"
[[task]]
spec = "iterate_map:form=compact,style=plain,steps=2,states=2,marks=1,restate=0"
[optimizer]
lr = 0.01
TOML
expect 0 "$THROUGHLINE" train sft sft.toml --run-dir one
expect 0 "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node 2 --no-python "$THROUGHLINE" train sft sft.toml --run-dir two
cmp one/checkpoints/step-5/model.safetensors two/checkpoints/step-5/model.safetensors || fail "other weights"
[[ -e two/checkpoints/step-5/optimizer-00002-of-00002.safetensors ]] || fail "not two processes: $(ls two/checkpoints/step-5)"
