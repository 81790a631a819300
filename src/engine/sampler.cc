#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "ops/row_kernels.h"

namespace throughline {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

float largest(std::span<const float> logits) {
  return ops::kernels::largest(logits.data(), static_cast<int64_t>(logits.size()));
}

// The id of the largest, the smallest such.
int32_t best_id(std::span<const float> logits) {
  constexpr size_t kBlock = 1024;
  float best = kNever;
  size_t block = 0;
  for (size_t from = 0; from < logits.size(); from += kBlock) {
    const float here = largest(logits.subspan(from, std::min(kBlock, logits.size() - from)));
    if (here > best) block = from;
    best = std::max(best, here);
  }
  const auto first = logits.begin() + static_cast<std::ptrdiff_t>(block);
  const auto end = first + static_cast<std::ptrdiff_t>(std::min(kBlock, logits.size() - block));
  return static_cast<int32_t>(std::max_element(first, end) - logits.begin());
}

// The sum of exp((logit - top) * inverse_t).
double total_weight(std::span<const float> logits, float top, double inverse_t) {
  constexpr size_t kBlock = 256;
  float weights[kBlock];
  double total = 0;
  for (size_t from = 0; from < logits.size(); from += kBlock) {
    const auto count = static_cast<int64_t>(std::min(kBlock, logits.size() - from));
    total += ops::kernels::softmax_weights(logits.data() + from, count, top, static_cast<float>(inverse_t), weights);
  }
  return total;
}

bool changes_logits(const SamplingOptions& options, const DrawLimits& limits) {
  return !limits.allowed.empty() || !limits.forbidden.empty() || !options.logit_bias.empty() || options.has_penalties();
}

void take_out(std::vector<float>& logits, const DrawLimits& limits) {
  for (size_t i = 0; !limits.allowed.empty() && i < logits.size(); ++i) {
    const bool can = i / 64 < limits.allowed.size() && (limits.allowed[i / 64] >> (i % 64) & 1) != 0;
    if (!can) logits[i] = kNever;
  }
  for (const int32_t id : limits.forbidden) logits[id] = kNever;
}

void apply_penalties(std::vector<float>& logits, const SamplingOptions& options, const TokenHistory& history) {
  const auto repeat = [&](int32_t id) {
    float& logit = logits[id];
    const auto penalty = static_cast<float>(options.repetition_penalty);
    logit = logit > 0 ? logit / penalty : logit * penalty;
  };
  if (options.repetition_penalty != 1) {
    for (const auto& [id, seen] : history.prompt) repeat(id);
    for (const auto& [id, count] : history.output) {
      if (!history.prompt.count(id)) repeat(id);
    }
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    for (const auto& [id, count] : history.output) {
      logits[id] -=
          static_cast<float>(options.presence_penalty + options.frequency_penalty * static_cast<double>(count));
    }
  }
  for (const auto& [id, bias] : options.logit_bias) logits[id] += static_cast<float>(bias);
}

// Before: larger logit first, then smaller id.
struct Better {
  std::span<const float> logits;
  bool operator()(int32_t a, int32_t b) const { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; }
};

// Ids that hold the best `count`, ascending. A block of ids whose best is below the count-th best of the blocks' bests
// has none of them: of 151,936 ids and few wanted, nearly all go at the price of one maximum each.
void candidates(std::span<const float> logits, int64_t count, SamplerScratch& scratch) {
  constexpr int64_t kBlock = 64;
  const auto vocab = static_cast<int64_t>(logits.size());
  const int64_t blocks = (vocab + kBlock - 1) / kBlock;
  std::vector<int32_t>& order = scratch.order;
  if (2 * count >= blocks) {
    order.resize(vocab);
    std::iota(order.begin(), order.end(), 0);
    return;
  }
  std::vector<float>&bests = scratch.weights, &sorted = scratch.sorted;
  bests.resize(blocks);
  for (int64_t b = 0; b < blocks; ++b)
    bests[b] = ops::kernels::largest(logits.data() + b * kBlock, std::min(kBlock, vocab - b * kBlock));
  sorted = bests;
  if (count > 0) std::nth_element(sorted.begin(), sorted.begin() + count - 1, sorted.end(), std::greater<>());
  order.clear();
  for (int64_t b = 0; count > 0 && b < blocks; ++b) {
    if (bests[b] < sorted[count - 1]) continue;
    for (int64_t id = b * kBlock; id < std::min(vocab, (b + 1) * kBlock); ++id) {
      if (logits[id] >= sorted[count - 1]) order.push_back(static_cast<int32_t>(id));
    }
  }
}

// The best `count` ids in order, in scratch.order.
void best_ids(std::span<const float> logits, int64_t count, SamplerScratch& scratch) {
  count = std::min(count, static_cast<int64_t>(logits.size()));
  candidates(logits, count, scratch);
  std::vector<int32_t>& order = scratch.order;
  count = std::min(count, static_cast<int64_t>(order.size()));  // fewer only where there are NaN
  const Better better{logits};
  if (count < static_cast<int64_t>(order.size()))
    std::nth_element(order.begin(), order.begin() + count, order.end(), better);
  order.resize(count);
  std::sort(order.begin(), order.end(), better);
}

void add_logprobs(TokenDraw& draw, std::span<const float> logits, int64_t top, SamplerScratch& scratch) {
  const float peak = largest(logits);
  const double normaliser = peak + std::log(total_weight(logits, peak, 1));
  draw.logprob = static_cast<float>(logits[draw.id] - normaliser);
  best_ids(logits, top, scratch);
  for (const int32_t id : scratch.order) draw.top.push_back({id, static_cast<float>(logits[id] - normaliser)});
}

// What top-k, top-p and min-p leave, best first, in scratch.order.
void filter(std::span<const float> logits, const SamplingOptions& options, SamplerScratch& scratch) {
  const auto vocab = static_cast<int64_t>(logits.size());
  const int64_t limit = options.top_k > 0 ? std::min(options.top_k, vocab) : vocab;
  const double inverse_t = 1 / options.temperature;
  const float top = largest(logits);
  const auto weight = [&](float logit) { return std::exp((logit - top) * inverse_t); };

  // Without top-k the whole vocabulary counts in top-p's total, but only its best ids need an order.
  double total = options.top_p < 1 && limit == vocab ? total_weight(logits, top, inverse_t) : 0;
  int64_t ordered = limit == vocab ? std::min<int64_t>(vocab, 256) : limit;
  while (true) {
    best_ids(logits, ordered, scratch);
    double sum = 0;
    if (limit < vocab) {
      total = 0;
      for (const int32_t id : scratch.order) total += weight(logits[id]);
    }
    size_t keep = scratch.order.size();
    bool enough = ordered >= limit;
    for (size_t i = 0; i < scratch.order.size(); ++i) {
      const double mass = weight(logits[scratch.order[i]]);
      if (mass < options.min_p || mass == 0) {  // relative to the best, whose weight is 1
        keep = std::max<size_t>(i, 1);
        enough = true;
        break;
      }
      sum += mass;
      if (options.top_p < 1 && sum >= options.top_p * total) {
        keep = i + 1;
        enough = true;
        break;
      }
    }
    if (enough) {
      scratch.order.resize(keep);
      if (keep == 0) scratch.order.push_back(best_id(logits));  // of logits that are NaN none is a candidate
      return;
    }
    ordered = std::min(vocab, ordered * 8);
  }
}

// An id drawn from softmax(logits / T). The weights are added up in blocks, so that the search passes most of them by.
int32_t draw_of_all(std::span<const float> logits, double inverse_t, double uniform, SamplerScratch& scratch) {
  constexpr int64_t kBlock = 256;
  const auto vocab = static_cast<int64_t>(logits.size());
  const float peak = largest(logits);
  scratch.weights.resize(vocab);
  scratch.sorted.clear();  // the blocks' sums
  double total = 0;
  for (int64_t from = 0; from < vocab; from += kBlock) {
    scratch.sorted.push_back(ops::kernels::softmax_weights(logits.data() + from, std::min(kBlock, vocab - from), peak,
                                                           static_cast<float>(inverse_t),
                                                           scratch.weights.data() + from));
    total += scratch.sorted.back();
  }
  const double target = total * uniform;
  double sum = 0;
  int64_t block = 0, possible = 0;  // possible: the last such block, should rounding leave the sum short of the target
  for (; block < static_cast<int64_t>(scratch.sorted.size()); ++block) {
    if (scratch.sorted[block] > 0) possible = block;
    if (sum + scratch.sorted[block] > target) break;
    sum += scratch.sorted[block];
  }
  if (block == static_cast<int64_t>(scratch.sorted.size())) block = possible;
  int64_t chosen = block * kBlock;
  for (int64_t id = block * kBlock; id < std::min(vocab, (block + 1) * kBlock); ++id) {
    if (scratch.weights[id] > 0) chosen = id;  // likewise the last possible one
    sum += scratch.weights[id];
    if (sum > target) break;
  }
  return static_cast<int32_t>(chosen);
}

// An id drawn from what filter() left in scratch.order.
TokenDraw draw_of_some(std::span<const float> logits, double inverse_t, double uniform, SamplerScratch& scratch) {
  const float top = logits[scratch.order.front()];
  scratch.weights.resize(scratch.order.size());
  double total = 0;
  for (size_t i = 0; i < scratch.order.size(); ++i) {
    scratch.weights[i] = static_cast<float>(std::exp((logits[scratch.order[i]] - top) * inverse_t));
    total += scratch.weights[i];
  }
  const double target = total * uniform;
  double sum = 0;
  size_t chosen = 0;
  for (size_t i = 0; i < scratch.order.size(); ++i) {
    if (scratch.weights[i] > 0) chosen = i;  // the last possible one, should rounding leave sum short of target
    sum += scratch.weights[i];
    if (sum > target) break;
  }
  TokenDraw draw;
  draw.id = scratch.order[chosen];
  draw.sampling_logprob = static_cast<float>(std::log(scratch.weights[chosen] / total));
  return draw;
}

}  // namespace

Status check_sampling(const SamplingOptions& options, int64_t vocab, const std::string& where) {
  const auto range = [&](const char* field, double value, bool good, const char* remedy) -> Status {
    if (good && std::isfinite(value)) return {};
    char text[64];
    std::snprintf(text, sizeof text, "%g is out of range", value);
    return Error{text, where + ": " + field, remedy};
  };
  TL_TRY_STATUS(range("temperature", options.temperature, options.temperature >= 0 && options.temperature <= 100,
                      "use 0 (greedy) to 100"));
  TL_TRY_STATUS(range("top_p", options.top_p, options.top_p > 0 && options.top_p <= 1, "use a number over 0, up to 1"));
  TL_TRY_STATUS(
      range("top_k", static_cast<double>(options.top_k), options.top_k >= 0, "use 0 (off) or a positive number"));
  TL_TRY_STATUS(range("min_p", options.min_p, options.min_p >= 0 && options.min_p < 1, "use 0 up to less than 1"));
  TL_TRY_STATUS(range("repetition_penalty", options.repetition_penalty,
                      options.repetition_penalty >= 0.01 && options.repetition_penalty <= 100, "use 0.01 to 100"));
  TL_TRY_STATUS(
      range("presence_penalty", options.presence_penalty, std::fabs(options.presence_penalty) <= 2, "use -2 to 2"));
  TL_TRY_STATUS(
      range("frequency_penalty", options.frequency_penalty, std::fabs(options.frequency_penalty) <= 2, "use -2 to 2"));
  TL_TRY_STATUS(range("min_tokens", static_cast<double>(options.min_tokens), options.min_tokens >= 0, "use 0 or more"));
  TL_TRY_STATUS(range("logprobs", static_cast<double>(options.logprobs),
                      options.logprobs >= -1 && options.logprobs <= vocab, "use 0 up to the vocabulary's size"));
  const auto known = [&](const char* field, int32_t id) -> Status {
    if (id >= 0 && id < vocab) return {};
    return Error{"token id " + std::to_string(id) + " is not in the vocabulary", where + ": " + field,
                 "ids go from 0 to " + std::to_string(vocab - 1)};
  };
  for (const int32_t id : options.stop_token_ids) TL_TRY_STATUS(known("stop_token_ids", id));
  for (const auto& [id, bias] : options.logit_bias) {
    TL_TRY_STATUS(known("logit_bias", id));
    TL_TRY_STATUS(range("logit_bias", bias, std::fabs(bias) <= 1000, "use -1000 to 1000"));
  }
  for (const auto& stop : options.stop) {
    if (stop.empty()) return Error{"a stop string is empty", where + ": stop", "leave it out"};
  }
  return {};
}

TokenDraw draw_token(std::span<const float> logits, const SamplingOptions& options, const TokenHistory& history,
                     const DrawLimits& limits, uint64_t sample, SamplerScratch& scratch) {
  std::span<const float> adjusted = logits;
  if (changes_logits(options, limits)) {
    scratch.logits.assign(logits.begin(), logits.end());
    apply_penalties(scratch.logits, options, history);
    take_out(scratch.logits, limits);
    adjusted = scratch.logits;
  }
  TokenDraw draw;
  const bool filtered = options.top_p < 1 || options.top_k > 0 || options.min_p > 0;
  if (options.greedy()) {
    draw.id = best_id(adjusted);
    draw.sampling_logprob = 0;
  } else {
    const double inverse_t = 1 / options.temperature;
    const double uniform =
        random_uniform({options.seed, sample, static_cast<uint64_t>(history.tokens), RngPurpose::kSample});
    if (filtered) {
      filter(adjusted, options, scratch);
      draw = draw_of_some(adjusted, inverse_t, uniform, scratch);
    } else {
      draw.id = draw_of_all(adjusted, inverse_t, uniform, scratch);
      if (options.sampling_logprobs) {  // the trainer computes it by the same function
        const auto n = static_cast<int64_t>(adjusted.size());
        draw.sampling_logprob =
            ops::kernels::scaled_softmax(adjusted.data(), n, static_cast<float>(inverse_t)).logprob(adjusted[draw.id]);
      }
    }
  }
  if (!options.sampling_logprobs) draw.sampling_logprob = kNoLogprob;
  if (options.logprobs >= 0) add_logprobs(draw, logits, options.logprobs, scratch);
  return draw;
}

TokenDraw score_token(std::span<const float> logits, int32_t id, int64_t top, SamplerScratch& scratch) {
  TokenDraw draw{.id = id};
  add_logprobs(draw, logits, top, scratch);
  return draw;
}

}  // namespace throughline
