"""Writes a random-weight model in a published shape (for speed only): make_model.py SHAPE FOLDER"""
import sys, torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

COMMON = dict(vocab_size=151936, num_hidden_layers=28, rms_norm_eps=1e-6, max_position_embeddings=40960,
              rope_parameters=dict(rope_type="default", rope_theta=1e6), bos_token_id=151643, eos_token_id=151645)
SHAPES = {
    "qwen3-0.6b": (Qwen3ForCausalLM, Qwen3Config(hidden_size=1024, intermediate_size=3072, num_attention_heads=16,
                   num_key_value_heads=8, head_dim=128, tie_word_embeddings=True, **COMMON)),
    "r1-qwen-1.5b": (Qwen2ForCausalLM, Qwen2Config(hidden_size=1536, intermediate_size=8960, num_attention_heads=12,
                     num_key_value_heads=2, tie_word_embeddings=False, **COMMON)),
}
make, config = SHAPES[sys.argv[1]]
torch.manual_seed(1234)
torch.set_default_dtype(torch.bfloat16)
make(config).save_pretrained(sys.argv[2])
