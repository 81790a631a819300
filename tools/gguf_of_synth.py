#!/usr/bin/env python3
"""gguf_of_synth.py MODEL OUT.gguf: a Qwen3 checkpoint of `throughline synth` (bf16, one file, tied) with a GPT-2-like tokenizer (vocab.json, merges.txt)
as a GGUF file, the same bits, so that llama-server can be measured on the same model. Needs PyPI's gguf."""
import json
import pathlib
import sys

import gguf
import numpy as np

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def gguf_name(name):
    if name in ("model.embed_tokens.weight", "model.norm.weight"):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def main():
    folder, out = pathlib.Path(sys.argv[1]), sys.argv[2]
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "qwen3" and config["tie_word_embeddings"]
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_name("synth")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(config.get("rope_theta", 1e6))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)

    vocab = json.loads((folder / "vocab.json").read_text())
    by_id = {i: text for text, i in vocab.items()}
    size = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([by_id.get(i, f"<unused{i}>") for i in range(size)])
    writer.add_token_types([gguf.TokenType.NORMAL if i in by_id else gguf.TokenType.UNUSED for i in range(size)])
    writer.add_token_merges([line for line in (folder / "merges.txt").read_text().splitlines() if line and not line.startswith("#")])
    writer.add_eos_token_id(size - 1)

    data = (folder / "model.safetensors").read_bytes()
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    base = 8 + int.from_bytes(data[:8], "little")
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        assert tensor["dtype"] == "BF16", name
        begin, end = tensor["data_offsets"]
        raw = np.frombuffer(data[base + begin:base + end], np.uint16).reshape(tensor["shape"])
        if len(tensor["shape"]) == 1:  # llama.cpp wants norms in fp32
            writer.add_tensor(gguf_name(name), (raw.astype(np.uint32) << 16).view(np.float32))
        else:
            writer.add_tensor(gguf_name(name), raw.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
