#!/usr/bin/env bash
# server_peer.sh FOLDER [TOKENIZER]: what tests/server/load.py needs to measure llama-server beside us: FOLDER/llama-server
# (tools/llama_cpp.sh), FOLDER/model (a random Qwen3 of 121 M parameters, bf16) and FOLDER/model.gguf (the same bits).
# TOKENIZER: a folder with GPT-2's vocab.json and merges.txt. Development only; takes half an hour of one core.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
mkdir -p "$1" && cd "$1"
tokenizer=${2:-$root/../shared/data/tokenizers/gpt2}
binary=${THROUGHLINE_BINARY:-$root/build/release/throughline}
if [[ ! -d model ]]; then
  cat > shape.json <<'JSON'
{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 768, "intermediate_size": 2304, "num_hidden_layers": 12,
 "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 50257, "max_position_embeddings": 40960,
 "hidden_act": "silu", "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "tie_word_embeddings": true, "attention_bias": false,
 "torch_dtype": "bfloat16", "eos_token_id": 50256}
JSON
  "$binary" synth --shape shape.json --dtype bf16 --output model
  cp "$tokenizer"/{vocab.json,merges.txt} model/
  echo '{"tokenizer_class": "GPT2Tokenizer"}' > model/tokenizer_config.json
fi
if [[ ! -f model.gguf ]]; then
  [[ -x venv/bin/python ]] || python3 -m venv venv
  venv/bin/pip -q install gguf
  venv/bin/python "$root/tools/gguf_of_synth.py" model model.gguf
fi
if [[ ! -x llama-server ]]; then
  "$root/tools/llama_cpp.sh" . "$(command -v pip)" llama-server
  ln -sf lcbuild/bin/llama-server llama-server
fi
echo "tests/server/load.py streams --model $PWD/model --llama-server $PWD/llama-server --gguf $PWD/model.gguf --threads 2 --tokens 64"
