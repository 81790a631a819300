"""transformers' `generate` for `throughline bench rollout --peer`: a batch of sampled continuations of one prompt."""
import torch, transformers
from transformers import AutoModelForCausalLM
from peer import serve


def prepare(order):
    torch.set_num_threads(order["threads"])
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(order["model"], dtype="auto", attn_implementation="sdpa").eval()
    ids = torch.arange(1, order["depth"] + 1).remainder(model.config.vocab_size).repeat(order["batch"], 1)
    plain = dict(attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0)

    def generate(tokens=order["tokens"]):
        out = model.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, **plain)
        assert out.shape == (order["batch"], order["depth"] + tokens), out.shape

    generate(16)
    return generate, 0, ""


serve(prepare, f"transformers {transformers.__version__}, torch {torch.__version__}")
