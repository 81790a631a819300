// How far a model's next-token distributions are from another's on a text: the price of quantized weights and of int8
// K and V.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "model/decoder.h"

namespace throughline {

struct QualityReport {
  int64_t positions = 0;
  double mean_kl = 0;                         // nats; KL(reference || model)
  double p99_kl = 0;                          // 99th percentile over positions
  double top1_agreement = 0;                  // share of positions with the same most likely token
  double reference_loss = 0, model_loss = 0;  // mean -log p of the text's next token, nats
};

// ids are cut into windows of `window` tokens, each read from its own beginning; `int8_kv`: `model` keeps K and V in
// int8 pages. REQUIRES: the same vocabulary.
QualityReport compare_models(const Decoder& reference, const Decoder& model, const std::vector<int64_t>& ids,
                             int64_t window, bool int8_kv);

}  // namespace throughline
