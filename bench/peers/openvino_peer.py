"""openvino-genai's ContinuousBatchingPipeline, driven step by step: MODEL WEIGHTS(bf16|int8|int4) KV(bf16|f32|u8) HINT(bf16|f32) [EVICT tokens]

Prompts over 8192 tokens are prefilled with its tri-shape sparse attention, to save time; decode reads the whole cache.
With EVICT its CacheEvictionConfig keeps so many tokens; the prompt is then EVICT + 512 tokens, whatever the depth."""
import sys
import numpy, openvino as ov, openvino_genai as og
from peer import PEERS, bytes_per_step, serve

model, weights, kv, hint = sys.argv[1:5]
evict = int(sys.argv[5]) if len(sys.argv) > 5 else 0
WEIGHT_BYTES = {"bf16": 2, "int8": 1, "int4": 0.5625}
rng = numpy.random.default_rng(1)


def pipeline(order, length):
    s = og.SchedulerConfig()
    spare = order["tokens"] * (order["repeat"] + 1) + 64
    s.num_kv_blocks = order["batch"] * ((length + spare) // 32 + 2)
    s.max_num_batched_tokens, s.max_num_seqs, s.dynamic_split_fuse, s.enable_prefix_caching = 2048, order["batch"], True, False
    if evict:
        s.use_cache_eviction = True
        s.cache_eviction_config = og.CacheEvictionConfig(32, 128, evict, og.AggregationMode.NORM_SUM)
    elif length > 8192:
        s.use_sparse_attention = True
        s.sparse_attention_config = og.SparseAttentionConfig(og.SparseAttentionMode.TRISHAPE, 32, 128, 256)
    properties = {"INFERENCE_NUM_THREADS": order["threads"], "INFERENCE_PRECISION_HINT": hint, "KV_CACHE_PRECISION": kv,
                  "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    return og.ContinuousBatchingPipeline(f"{PEERS}/models/{model}-ov-{weights}", s, "CPU", properties)


def add(pipe, first, batch, length):
    g = og.GenerationConfig(max_new_tokens=100000, ignore_eos=True, do_sample=False)
    handles = [pipe.add_request(first + i, ov.Tensor(rng.integers(1000, 100000, (1, length), dtype=numpy.int64)), g) for i in range(batch)]
    waiting = set(range(batch))
    while waiting:
        pipe.step()
        waiting -= {i for i in waiting if handles[i].can_read()}
    return handles


def prepare(order):
    batch, depth, tokens = order["batch"], order["depth"], order["tokens"]
    if order["kind"] == "prefill":
        pipe, first = pipeline(order, depth), [0]

        def prefill():
            handle = add(pipe, first[0], 1, depth)[0]
            first[0] += 1
            handle.cancel()
            pipe.step()

        prefill()
        return prefill, 0, ""
    length = evict + 512 if evict else depth
    pipe = pipeline(order, length)
    handles = add(pipe, 0, batch, length)

    def decode(steps=tokens):
        for _ in range(steps):
            pipe.step()
        assert handles

    decode(4)
    note = f"cache bounded to {evict}" if evict else "sparse prefill" if depth > 8192 else ""
    return decode, bytes_per_step(model, batch, evict or depth, WEIGHT_BYTES[weights], {"bf16": 2, "f32": 4, "u8": 1}[kv]), note


serve(prepare, og.__version__)
