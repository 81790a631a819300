#!/usr/bin/env bash
# Installs the engines that `throughline bench compare --peers $PEERS/peers.json` measures beside us, from PyPI, and writes
# random-weight models in published shapes (speed does not depend on the values): setup.sh [SHAPE...]
# $PEERS (default ~/.cache/throughline-peers) takes about 20 GB. What is there already is kept. Not part of any test.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
export PEERS=${PEERS:-$HOME/.cache/throughline-peers}
shapes=("$@")
((${#shapes[@]})) || shapes=(qwen3-0.6b r1-qwen-1.5b)
mkdir -p -- "$PEERS/models"
cd -- "$PEERS"

venv() { [[ -x $1/bin/pip ]] || python3 -m venv "$1"; "$1/bin/pip" install -q "${@:2}"; }
venv hf torch==2.15.0 transformers==5.23.0 safetensors sentencepiece protobuf gguf
venv ov openvino-genai==2026.4.1.0 "optimum-intel[openvino]==2.2.0"

"$root/tools/llama_cpp.sh" . hf/bin/pip llama-bench llama-quantize llama-server
source=lc/vendor/llama.cpp
g++ -O2 -std=c++17 "$here/llama_peer.cpp" -I$source/include -I$source/ggml/include -Llcbuild/bin -lllama -lggml -lggml-base \
  -lggml-cpu -Wl,-rpath,"$PEERS/lcbuild/bin" -o llama_peer

for shape in "${shapes[@]}"; do
  model=models/$shape
  if [[ ! -e $model/config.json ]]; then
    hf/bin/python "$here/make_model.py" "$shape" "$model"
    cp -- "$root"/../shared/data/tokenizers/qwen2/{merges.txt,vocab.json,tokenizer_config.json} "$model/" # for the exporters
  fi
  if [[ ! -e $model-bf16.gguf ]]; then
    hf/bin/python $source/convert_hf_to_gguf.py "$model" --outtype bf16 --outfile "$model-bf16.gguf"
  fi
  for quant in q8_0:Q8_0 q4_0:Q4_0; do
    [[ -e $model-${quant%:*}.gguf ]] || lcbuild/bin/llama-quantize "$model-bf16.gguf" "$model-${quant%:*}.gguf" "${quant#*:}"
  done
  for weights in fp16:bf16 int8:int8 int4:int4; do
    [[ -e $model-ov-${weights#*:}/openvino_model.xml ]] ||
      ov/bin/optimum-cli export openvino -m "$model" --task text-generation-with-past --weight-format "${weights%:*}" \
        "$model-ov-${weights#*:}"
  done
done
for shape in "${shapes[@]}"; do
  hf/bin/python "$here/write_manifest.py" "$shape" "$(<llamacpp.version)" >"$PEERS/peers-$shape.json"
  echo "$PEERS/peers-$shape.json"
done
