"""Prints peers.json for one shape: write_manifest.py SHAPE LLAMA_VERSION"""
import json, os, sys

here = os.path.dirname(os.path.abspath(__file__))
shape, llama = sys.argv[1:3]
# What OpenVINO computes in: without instructions for bf16 it takes K and V in fp32 or u8 only.
wide = "bf16" if "avx512_bf16" in open("/proc/cpuinfo").read() else "f32"


def openvino(weights, kv, evict=None):
    flags = f"INFERENCE_PRECISION_HINT {wide}, KV_CACHE_PRECISION {kv}, weights {weights}" + (f", CacheEvictionConfig {evict}" if evict else "")
    name = f"openvino {weights} kv-{kv}" + (f" evict-{evict}" if evict else "")
    command = ["ov/bin/python", f"{here}/openvino_peer.py", shape, weights, kv, wide] + ([str(evict)] if evict else [])
    return dict(name=name, flags=flags, command=command)


def llama_cpp(weights, weight_bytes, flash):
    return dict(name=f"llama.cpp {weights}" + ("" if flash else " no-fa"), flags=f"GGUF {weights}, kv f16, -fa {'on' if flash else 'off'}, -march=native",
                command=["./llama_peer", os.path.expanduser(f"{os.environ['PEERS']}/models/{shape}-{weights}.gguf"), str(weight_bytes), f"llama-cpp-python {llama}",
                         "f16", str(int(flash))])


print(json.dumps(dict(peers=[
    openvino("bf16", wide), openvino("int8", "u8"), openvino("int4", "u8"), openvino("bf16", wide, 8192), openvino("bf16", wide, 2048),
    llama_cpp("bf16", 2, False), llama_cpp("bf16", 2, True), llama_cpp("q8_0", 34 / 32, False), llama_cpp("q4_0", 18 / 32, False),
    dict(name="transformers static", flags="bf16, SDPA, StaticCache, eager", command=["hf/bin/python", f"{here}/transformers_peer.py", shape, "static"]),
    dict(name="transformers dynamic", flags="bf16, SDPA, DynamicCache, eager", command=["hf/bin/python", f"{here}/transformers_peer.py", shape, "dynamic"]),
]), indent=1))
