#!/usr/bin/env bash
# A trained checkpoint loads in transformers and gives the same ids and greedy tokens, in the llama and the qwen3 form; so
# does an adapter in PEFT, merged or not.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
check_checkpoint() { "$PYTHON" "$THROUGHLINE_SOURCE_DIR/tools/check_checkpoint.py" --binary "$THROUGHLINE" --prompt "ab bc ca;au3;2au0" "$@" >out 2>err || fail "$*: $(tail -n 5 out err)"; }

tiny_config >llama.json
sed -e 's/"llama"/"qwen3"/' -e 's/"num_key_value_heads":1/"num_key_value_heads":2/' llama.json >qwen3.json
for family in llama qwen3; do
  cat >$family.toml <<TOML
[run]
steps = 20
threads = 1
[model]
config = "$family.json"
[[task]]
spec = "iterate_map:form=compact,style=plain,steps=2,states=2,marks=1,restate=0"
[optimizer]
lr = 0.01
TOML
  expect 0 "$THROUGHLINE" train sft $family.toml --run-dir $family
  check_checkpoint $family/checkpoints/step-20
done

sed -e '/^config/d' -e 's|^\[model\]|[model]\npath = "llama/checkpoints/step-20"|' llama.toml >adapter.toml
printf '[lora]\nrank = 4\n' >>adapter.toml
expect 0 "$THROUGHLINE" train sft adapter.toml --run-dir adapter
check_checkpoint adapter/checkpoints/step-20
check_checkpoint adapter/checkpoints/step-20 --base llama/checkpoints/step-20 --adapter adapter/adapter
