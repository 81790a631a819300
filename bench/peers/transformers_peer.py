"""transformers with SDPA in bf16, greedy: MODEL CACHE(static|dynamic). The cache is filled with random values, so any depth starts at once."""
import sys
import torch, transformers
from transformers import AutoModelForCausalLM, DynamicCache, StaticCache
from peer import PEERS, bytes_per_step, serve

name, kind = sys.argv[1:3]


def prepare(order):
    torch.set_num_threads(order["threads"])
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(f"{PEERS}/models/{name}", dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    c, batch, depth = model.config, order["batch"], order["depth"]
    if order["kind"] == "prefill":
        ids = torch.randint(1000, 100000, (1, depth))
        run = lambda: model(ids, use_cache=True, logits_to_keep=1)
        run()
        return run, 0, ""
    heads, dim = c.num_key_value_heads, getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    most = depth + order["tokens"] * order["repeat"] + 5
    cache = DynamicCache(config=c) if kind == "dynamic" else StaticCache(config=c, max_cache_len=most)
    for layer in range(c.num_hidden_layers):
        k = torch.randn(batch, heads, depth, dim, dtype=torch.bfloat16)
        cache.update(k, k * 0.5, layer)

    def decode(steps=order["tokens"]):
        token = torch.full((batch, 1), 1000)
        for _ in range(steps):
            token = model(token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)

    decode(4)
    return decode, bytes_per_step(name, batch, depth, 2, 2), ""


serve(prepare, f"{transformers.__version__}, torch {torch.__version__}")
