#!/usr/bin/env bash
# server_peer.sh FOLDER [TOKENIZER]: what tests/server/load.py needs to measure llama-server beside us: FOLDER/llama-server (from the source package
# of llama-cpp-python), FOLDER/model (a random Qwen3 of 121 M parameters, bf16) and FOLDER/model.gguf (the same bits). TOKENIZER: a folder with
# GPT-2's vocab.json and merges.txt. Development only; takes half an hour of one core.
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
  [[ -d source ]] || { pip download -q --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36 -d . && mkdir source && tar xzf llama_cpp_python-*.tar.gz -C source --strip-components=1; }
  cmake -S source/vendor/llama.cpp -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF > cmake.log
  ninja -C build llama-server > build.log
  ln -sf build/bin/llama-server llama-server
fi
echo "tests/server/load.py streams --model $PWD/model --llama-server $PWD/llama-server --gguf $PWD/model.gguf --threads 2 --tokens 64"
