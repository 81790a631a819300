// --exact through the whole decoder: a row's hidden state and logits are the same bits alone, in a batch of unlike
// neighbours, for whole and sliced prefill, with one thread and with several.
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <map>

#include "base/rng.h"
#include "model/decoder.h"
#include "model/dense_attention.h"
#include "model/model_test_folder.h"

namespace throughline {
namespace {

// Attention by plain loops over stored rows, one query at a time: row-exact by construction, so that a difference can
// only come from the decoder itself.
class LoopAttention : public AttentionContext {
 public:
  struct Sequence {
    std::map<int, std::vector<float>> keys, values;  // per layer: [tokens, kv_heads, head_dim]
    int64_t tokens = 0;
  };
  // Each entry: a sequence and how many rows of this step are its next ones.
  LoopAttention(const Decoder& decoder, std::vector<std::pair<Sequence*, int64_t>> parts)
      : scale_(decoder.attention_scale()), parts_(std::move(parts)) {
    std::vector<int64_t> positions;
    for (const auto& [sequence, rows] : parts_) {
      for (int64_t r = 0; r < rows; ++r) positions.push_back(sequence->tokens + r);
    }
    angles_ = ops::rope_angles(decoder.rope(), positions, at::kCPU);
  }

  at::Tensor attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override {
    const at::Tensor queries = ops::rope(q, angles_).to(at::kFloat);
    const at::Tensor keys = ops::rope(k, angles_).to(at::kFloat), values = v.to(at::kFloat).contiguous();
    at::Tensor out = at::empty_like(queries);
    int64_t row = 0;
    for (auto& [sequence, rows] : parts_) {
      auto& stored_keys = sequence->keys[layer];
      auto& stored_values = sequence->values[layer];
      const int64_t width = k.size(1) * k.size(2);
      for (int64_t r = 0; r < rows; ++r, ++row) {
        const float* key = keys.const_data_ptr<float>() + row * width;
        const float* value = values.const_data_ptr<float>() + row * width;
        stored_keys.insert(stored_keys.end(), key, key + width);
        stored_values.insert(stored_values.end(), value, value + width);
        one_row(queries.const_data_ptr<float>() + row * q.size(1) * q.size(2), stored_keys, stored_values, q.size(1),
                k.size(1), q.size(2), out.mutable_data_ptr<float>() + row * q.size(1) * q.size(2));
      }
    }
    return out.to(q.scalar_type());
  }

  void commit() {
    for (auto& [sequence, rows] : parts_) sequence->tokens += rows;
  }

 private:
  void one_row(const float* q, const std::vector<float>& keys, const std::vector<float>& values, int64_t q_heads,
               int64_t kv_heads, int64_t dim, float* out) const {
    const auto tokens = static_cast<int64_t>(keys.size()) / (kv_heads * dim);
    for (int64_t h = 0; h < q_heads; ++h) {
      const int64_t kv = h / (q_heads / kv_heads);
      std::vector<double> weight(static_cast<size_t>(tokens));
      double total = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        double dot = 0;
        for (int64_t d = 0; d < dim; ++d) dot += q[h * dim + d] * keys[(t * kv_heads + kv) * dim + d];
        total += weight[t] = std::exp(dot * scale_);
      }
      for (int64_t d = 0; d < dim; ++d) {
        double sum = 0;
        for (int64_t t = 0; t < tokens; ++t) sum += weight[t] * values[(t * kv_heads + kv) * dim + d];
        out[h * dim + d] = static_cast<float>(sum / total);
      }
    }
  }

  double scale_;
  std::vector<std::pair<Sequence*, int64_t>> parts_;
  ops::RopeAngles angles_;
};

std::vector<int64_t> random_ids(int64_t count, int64_t vocab, uint64_t seed) {
  CounterStream stream(seed, 0, RngPurpose::kTest);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(stream.integer(0, vocab - 1));
  return ids;
}

std::unique_ptr<Decoder> golden(const std::string& name) {
  auto loaded = Decoder::load(golden_model(name), {});
  EXPECT_TRUE(loaded.ok());
  return std::move(loaded).value();
}

// Logits of all rows of `ids`, fed in slices; `neighbours` other sequences go along, each with `slice` rows a step.
at::Tensor sliced_logits(const Decoder& decoder, const std::vector<int64_t>& ids, int64_t slice, int neighbours) {
  const auto mode = ops::NumericMode::kExact;
  LoopAttention::Sequence own;
  std::vector<LoopAttention::Sequence> others(static_cast<size_t>(neighbours));
  std::vector<at::Tensor> out;
  const auto total = static_cast<int64_t>(ids.size());
  for (int64_t at = 0; at < total; at += slice) {
    const int64_t rows = std::min(slice, total - at);
    std::vector<std::pair<LoopAttention::Sequence*, int64_t>> parts;
    std::vector<int64_t> fed;
    for (int n = 0; n < neighbours; ++n) {
      const auto more = random_ids(1 + (at + n) % 3, decoder.config().vocab, 1000 * at + n);
      fed.insert(fed.end(), more.begin(), more.end());
      parts.emplace_back(&others[n], static_cast<int64_t>(more.size()));
    }
    const auto first = static_cast<int64_t>(fed.size());
    fed.insert(fed.end(), ids.begin() + at, ids.begin() + at + rows);
    parts.emplace_back(&own, rows);
    LoopAttention attention(decoder, parts);
    const at::Tensor hidden = decoder.forward(at::tensor(fed), attention, mode);
    attention.commit();
    out.push_back(decoder.logits(hidden, mode).narrow(0, first, rows));
  }
  return at::cat(out);
}

TEST(Exactness, LogitsDoNotDependOnSlicesNeighboursOrThreads) {
  for (const char* name : {"qwen3", "llama-odd-sizes", "qwen2-untied-bf16", "qwen3-head-dim-6"}) {
    const auto decoder = golden(name);
    const std::vector<int64_t> ids = random_ids(40, decoder->config().vocab, 3);
    at::set_num_threads(1);
    const at::Tensor whole = sliced_logits(*decoder, ids, 40, 0);
    for (const int threads : {1, 2}) {
      at::set_num_threads(threads);
      for (const int64_t slice : {1, 2, 3, 8, 17, 40}) {
        for (const int neighbours : {0, 7}) {
          EXPECT_TRUE(at::equal(sliced_logits(*decoder, ids, slice, neighbours), whole))
              << name << ", slices of " << slice << ", " << neighbours << " neighbours, " << threads << " threads";
        }
      }
    }
    at::set_num_threads(2);
  }
}

TEST(Exactness, WantedRowsAreThoseOfAll) {
  for (const char* name : {"qwen3", "qwen2-untied-bf16"}) {
    const auto decoder = golden(name);
    const std::vector<int64_t> ids = random_ids(21, decoder->config().vocab, 4);
    const at::Tensor wanted = at::tensor(std::vector<int64_t>{20, 3, 7});
    for (const bool grad : {false, true}) {  // two ways through a layer
      const c10::AutoGradMode guard(grad);
      LoopAttention::Sequence first, second;
      LoopAttention all(*decoder, {{&first, 21}}), some(*decoder, {{&second, 21}});
      const auto mode = ops::NumericMode::kExact;
      const at::Tensor hidden = decoder->forward(at::tensor(ids), all, mode);
      const at::Tensor rows = decoder->forward(at::tensor(ids), some, mode, {.wanted_rows = wanted});
      EXPECT_TRUE(at::equal(rows, hidden.index_select(0, wanted))) << name;
    }
  }
}

TEST(DenseAttention, EqualsLoopsForPackedSequences) {
  const auto decoder = golden("qwen2-gqa-tied");
  const std::vector<int64_t> a = random_ids(9, 139, 1), b = random_ids(14, 139, 2);
  std::vector<int64_t> both = a, positions;
  both.insert(both.end(), b.begin(), b.end());
  for (int64_t i = 0; i < 9; ++i) positions.push_back(i);
  for (int64_t i = 0; i < 14; ++i) positions.push_back(i);
  const auto mode = ops::NumericMode::kFast;
  DenseAttention dense({0, 9, 9, 23}, positions, decoder->rope(), decoder->attention_scale());
  const at::Tensor packed = decoder->forward(at::tensor(both), dense, mode);
  LoopAttention::Sequence first, second;
  LoopAttention loops(*decoder, {{&first, 9}, {&second, 14}});
  const at::Tensor want = decoder->forward(at::tensor(both), loops, mode);
  EXPECT_LT(packed.sub(want).abs().max().item<double>(), 1e-4);
}

TEST(Decoder, IsDifferentiableInBothModes) {
  const auto decoder = golden("qwen3");
  const std::vector<int64_t> ids = random_ids(12, decoder->config().vocab, 9);
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < 12; ++i) positions.push_back(i);
  std::vector<at::Tensor> parameters;
  for (auto& [name, tensor] : decoder->parameters()) parameters.push_back(tensor.set_requires_grad(true));
  std::vector<std::vector<at::Tensor>> gradients;
  for (const auto mode : {ops::NumericMode::kFast, ops::NumericMode::kExact}) {
    DenseAttention attention({0, 12}, positions, decoder->rope(), decoder->attention_scale());
    const at::Tensor hidden = decoder->forward(at::tensor(ids), attention, mode);
    const at::Tensor loss = decoder->logits(hidden, mode).square().mean();
    gradients.push_back(torch::autograd::grad({loss}, parameters));
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const double size = gradients[0][i].abs().max().item<double>();
    EXPECT_GT(size, 0) << decoder->parameters()[i].first;
    EXPECT_LT(gradients[0][i].sub(gradients[1][i]).abs().max().item<double>(), 1e-4 * (size + 1e-3));
  }
  // Against a finite difference along one direction of one matrix.
  at::Tensor w = parameters[5];
  const at::Tensor direction = gradients[0][5];
  const auto loss_at = [&](double step) {
    const at::NoGradGuard guard;
    const at::Tensor shift = direction.mul(step / direction.norm().item<double>());
    const at::Tensor kept = w.clone();
    // Weights are mapped read-only: move the direction in through the parameter's storage-free alias.
    w.set_data(kept.add(shift));
    DenseAttention attention({0, 12}, positions, decoder->rope(), decoder->attention_scale());
    const at::Tensor hidden = decoder->forward(at::tensor(ids), attention, ops::NumericMode::kExact);
    const double loss = decoder->logits(hidden, ops::NumericMode::kExact).square().mean().item<double>();
    w.set_data(kept);
    return loss;
  };
  const double slope = (loss_at(0.02) - loss_at(-0.02)) / 0.04;
  EXPECT_NEAR(slope, direction.norm().item<double>(), 0.02 * std::abs(slope));
}

}  // namespace
}  // namespace throughline
