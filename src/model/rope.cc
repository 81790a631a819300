#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/result.h"

namespace throughline {
namespace {

// theta^(2i/d) for every pair, as fp32 values of an fp32 power.
std::vector<float> periods(const ModelConfig& config) {
  std::vector<float> out(static_cast<size_t>(config.head_dim / 2));
  const double base = static_cast<float>(config.rope.theta);
  for (size_t i = 0; i < out.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    out[i] = static_cast<float>(std::pow(base, static_cast<double>(exponent)));
  }
  return out;
}

double original_length(const ModelConfig& config) {
  return static_cast<double>(config.rope.original_max_positions > 0 ? config.rope.original_max_positions
                                                                    : config.max_positions);
}

// Long waves are stretched by `factor`, short ones kept, those between blended.
void apply_llama3(const ModelConfig& config, std::vector<float>& inv_freq) {
  const RopeConfig& rope = config.rope;
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor), high = static_cast<float>(rope.high_freq_factor);
  const auto original = static_cast<float>(original_length(config));
  const auto longest = static_cast<float>(original_length(config) / rope.low_freq_factor);
  const auto shortest = static_cast<float>(original_length(config) / rope.high_freq_factor);
  for (float& f : inv_freq) {
    const float wave = static_cast<float>(2 * std::numbers::pi) / f;
    if (wave > longest) {
      f /= factor;
    } else if (wave >= shortest) {
      const float smooth = (original / wave - low) / (high - low);
      f = (1 - smooth) * f / factor + smooth * f;
    }
  }
}

double yarn_mscale(double scale, double mscale) { return scale <= 1 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0; }

double yarn_attention_factor(const RopeConfig& rope) {
  if (rope.attention_factor > 0) return rope.attention_factor;
  if (rope.mscale != 0 && rope.mscale_all_dim != 0)
    return yarn_mscale(rope.factor, rope.mscale) / yarn_mscale(rope.factor, rope.mscale_all_dim);
  return yarn_mscale(rope.factor, 1);
}

// Pairs that turn more than beta_fast times over the original length are kept, those under beta_slow are stretched.
std::vector<float> yarn(const ModelConfig& config, const std::vector<float>& period) {
  const RopeConfig& rope = config.rope;
  const auto dim = static_cast<double>(config.head_dim);
  const auto pair_of = [&](double rotations) {
    return dim * std::log(original_length(config) / (rotations * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
  };
  double low = pair_of(rope.beta_fast), high = pair_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  std::vector<float> out(period.size());
  for (size_t i = 0; i < out.size(); ++i) {
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float keep = 1 - std::clamp(ramp, 0.0F, 1.0F);
    const float stretched = 1.0F / (static_cast<float>(rope.factor) * period[i]);
    out[i] = stretched * (1 - keep) + (1.0F / period[i]) * keep;
  }
  return out;
}

}  // namespace

ops::RopeFrequencies rope_frequencies(const ModelConfig& config) {
  const std::vector<float> period = periods(config);
  ops::RopeFrequencies out;
  out.inv_freq.resize(period.size());
  for (size_t i = 0; i < period.size(); ++i) out.inv_freq[i] = 1.0F / period[i];
  const std::string& kind = config.rope.kind;
  if (kind == "linear") {
    for (float& f : out.inv_freq) f /= static_cast<float>(config.rope.factor);
  } else if (kind == "llama3") {
    apply_llama3(config, out.inv_freq);
  } else if (kind == "yarn") {
    out.inv_freq = yarn(config, period);
    out.attention_factor = static_cast<float>(yarn_attention_factor(config.rope));
  } else {
    TL_CHECK(kind == "default" || kind == "dynamic", "rope kind " + kind);
  }
  return out;
}

}  // namespace throughline
