"""What every peer of `throughline bench compare` shares: the protocol of src/cli/bench_worker.h, and the bytes of a step."""
import json, os, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.environ.get("PEERS") or os.path.expanduser("~/.cache/throughline-peers")


def config(model):
    with open(f"{PEERS}/models/{model}/config.json") as f:
        return json.load(f)


def bytes_per_step(model, batch, depth, weight_bytes, kv_bytes):
    """Weights once (of an untied embedding only a row), K and V of every sequence once."""
    c = config(model)
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    dim = c.get("head_dim") or c["hidden_size"] // heads
    layer = 2 * c["hidden_size"] * heads * dim + 2 * c["hidden_size"] * kv_heads * dim + 3 * c["hidden_size"] * c["intermediate_size"]
    weights = c["num_hidden_layers"] * layer + c["vocab_size"] * c["hidden_size"]
    return weights * weight_bytes + batch * depth * c["num_hidden_layers"] * 2 * kv_heads * dim * kv_bytes


def peak_rss_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024


def serve(prepare, version):
    """prepare(order) -> (run, bytes of a step, note): run() does the order's steps, or one prefill of its depth, and is timed."""
    out = os.fdopen(os.dup(1), "w")  # libraries print to standard output
    os.dup2(2, 1)

    def say(**fields):
        print(json.dumps(fields), file=out, flush=True)

    def expect(word):
        line = sys.stdin.readline().strip()
        if line != word:
            raise SystemExit(f"expected {word}, got {line!r}")

    try:
        order = json.loads(sys.stdin.readline())
        run, step_bytes, note = prepare(order)
        say(ready=True)
        for _ in range(order["repeat"]):
            expect("run")
            start = time.perf_counter()
            run()
            say(seconds=time.perf_counter() - start)
        expect("finish")
        say(done=True, version=version, bytes_per_step=step_bytes, event_s_per_step=0, peak_rss_mib=peak_rss_mib(), note=note)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}"[:300])
        raise
