// One engine of `bench compare`: measures when it is told to, over lines of JSON on standard input and output, so that
// the conductor runs several engines in turn within the same minutes. Every peer speaks the same (bench/peers/peer.py):
//
//   -> {"kind": "decode", "batch": 1, "depth": 8192, "tokens": 32, "repeat": 5, "threads": 2}
//   <- {"ready": true}                     the case stands: weights loaded, cache filled, warmed up
//   -> run            `repeat` times       "tokens" steps of every sequence, or one whole prefill of "depth" tokens
//   <- {"seconds": 1.73}
//   -> finish
//   <- {"done": true, "version": ..., "bytes_per_step": ..., "event_s_per_step": ..., "peak_rss_mib": ..., "note": ...}
//
// An {"error": "..."} in place of any answer ends it.
#pragma once

#include <string>

#include "base/result.h"

namespace throughline {

struct BenchWorkerOptions {
  std::string model, dtype, weights, kv = "full";
  bool mmap = true, int8_kv = false;
};

// Serves one case and returns; every error has also been said in the protocol.
Status bench_worker(const BenchWorkerOptions& options);

}  // namespace throughline
