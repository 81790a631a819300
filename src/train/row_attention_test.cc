// RowAttention against dense attention under an explicit mask, through autograd: outputs and gradients, packed rows of
// unlike lengths, evictions by layer and by head, both modes, fp32 and bf16; and a finite difference.
#include "train/row_attention.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>

#include "engine/engine_fixture.h"
#include "model/model_test_folder.h"
#include "ops/rope.h"

namespace throughline {
namespace {

const std::string kModel = THROUGHLINE_SOURCE_DIR "/tests/golden/model/qwen3";  // 2 layers, 4/2 heads of 32

// A record as a policy could leave it: `gone` of the tokens still cached, chosen at random, of each set of each layer.
class RandomEvictions {
 public:
  RandomEvictions(int64_t layers, int64_t sets, uint64_t seed)
      : sets_(layers * sets), draws_(seed, 0, RngPurpose::kTest), alive_(layers * sets) {}

  // After `tokens` tokens were seen; the newest never goes.
  EvictionRecord event(int64_t tokens, int64_t gone) {
    EvictionRecord record{.decoded = tokens - 1, .tokens = tokens, .gone = gone};
    for (auto& set : alive_) {
      for (; seen_of(set) < tokens; ++set.second) set.first.push_back(static_cast<int32_t>(set.second));
      std::vector<int32_t> out;
      for (int64_t i = 0; i < gone; ++i) {
        const auto pick = set.first.begin() + draws_.integer(0, static_cast<int64_t>(set.first.size()) - 2);
        out.push_back(*pick);
        set.first.erase(pick);
      }
      std::sort(out.begin(), out.end());
      record.evicted.insert(record.evicted.end(), out.begin(), out.end());
      record.kept = static_cast<int64_t>(set.first.size());
    }
    return record;
  }

 private:
  using Set = std::pair<std::vector<int32_t>, int64_t>;  // cached positions; how many were ever seen
  static int64_t seen_of(const Set& set) { return set.second; }
  int64_t sets_;
  CounterStream draws_;
  std::vector<Set> alive_;
};

// [q_heads, n, n] true where query t must not see key i, from the records alone.
at::Tensor unseen(const PackedRow& row, int64_t layer, const ModelConfig& config) {
  const int64_t n = row.tokens;
  at::Tensor out = at::ones({config.q_heads, n, n}, at::kBool).triu(1);
  if (row.evictions == nullptr) return out;
  for (const EvictionRecord& record : *row.evictions) {
    if (record.gone == 0 || record.tokens >= n) continue;
    const int64_t sets = static_cast<int64_t>(record.evicted.size()) / (config.layers * record.gone);
    for (int64_t head = 0; head < config.q_heads; ++head) {
      const int64_t set = sets == 1 ? 0 : head / (config.q_heads / config.kv_heads);
      for (const int32_t i : record.evicted_of(layer * sets + set)) {
        out[head].narrow(0, record.tokens, n - record.tokens).select(1, i).fill_(true);
      }
    }
  }
  return out;
}

// What RowAttention must equal: dense fp32 attention under the mask, differentiated by autograd.
class MaskedDense : public AttentionContext {
 public:
  MaskedDense(const Decoder& decoder, std::vector<PackedRow> rows) : decoder_(decoder), rows_(std::move(rows)) {
    std::vector<int64_t> positions;
    for (const PackedRow& row : rows_) {
      for (int64_t i = 0; i < row.tokens; ++i) positions.push_back(i);
    }
    angles_ = ops::rope_angles(decoder.rope(), positions, at::kCPU);
  }
  at::Tensor attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override {
    const int64_t groups = q.size(1) / k.size(1);
    const at::Tensor queries = ops::rope(q, angles_).to(at::kFloat).transpose(0, 1);
    const at::Tensor keys = ops::rope(k, angles_).to(at::kFloat).transpose(0, 1).repeat_interleave(groups, 0);
    const at::Tensor values = v.to(at::kFloat).transpose(0, 1).repeat_interleave(groups, 0);
    std::vector<at::Tensor> outputs;
    int64_t begin = 0;
    for (const PackedRow& row : rows_) {
      const auto part = [&](const at::Tensor& x) { return x.narrow(1, begin, row.tokens); };
      const at::Tensor scores = at::matmul(part(queries), part(keys).transpose(1, 2)).mul(decoder_.attention_scale());
      const at::Tensor mask = unseen(row, layer, decoder_.config());
      outputs.push_back(
          at::matmul(at::softmax(scores.masked_fill(mask, -std::numeric_limits<float>::infinity()), -1), part(values)));
      begin += row.tokens;
    }
    return at::cat(outputs, 1).transpose(0, 1).contiguous().to(q.scalar_type());
  }

 private:
  const Decoder& decoder_;
  std::vector<PackedRow> rows_;
  ops::RopeAngles angles_;
};

struct Projections {
  at::Tensor q, k, v, grad;

  Projections(const ModelConfig& c, int64_t tokens, at::ScalarType dtype) {
    const auto leaf = [&](int64_t heads) {
      return at::randn({tokens, heads, c.head_dim}).to(dtype).set_requires_grad(true);
    };
    q = leaf(c.q_heads), k = leaf(c.kv_heads), v = leaf(c.kv_heads);
    grad = at::randn({tokens, c.q_heads, c.head_dim}).to(dtype);
  }
  std::vector<at::Tensor> run(AttentionContext& attention, int layer) const {  // out, then the gradients of q, k, v
    const at::Tensor out = attention.attend(layer, q, k, v);
    auto grads = torch::autograd::grad({out}, {q, k, v}, {grad});
    grads.insert(grads.begin(), out.detach());
    return grads;
  }
};

double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kFloat), y = b.to(at::kFloat);
  return x.sub(y).abs().max().item<double>() / (y.abs().max().item<double>() + 1e-6);
}

struct Rows {
  std::vector<std::vector<EvictionRecord>> records;  // one a row; empty: full attention
  std::vector<int64_t> tokens;
  std::vector<PackedRow> packed() const {
    std::vector<PackedRow> out;
    for (size_t r = 0; r < tokens.size(); ++r) out.push_back({tokens[r], &records[r]});
    return out;
  }
  int64_t total() const {
    int64_t sum = 0;
    for (const int64_t n : tokens) sum += n;
    return sum;
  }
};

// Full rows, rows with evictions by head and by layer, an event after every token, and an event at the very end.
Rows mixed_rows(const ModelConfig& c) {
  Rows rows;
  const auto add = [&](int64_t tokens, std::vector<EvictionRecord> records) {
    rows.tokens.push_back(tokens);
    rows.records.push_back(std::move(records));
  };
  RandomEvictions by_head(c.layers, c.kv_heads, 1), by_layer(c.layers, 1, 2), each_step(c.layers, c.kv_heads, 3);
  add(1, {});
  add(150, {by_head.event(40, 30), by_head.event(41, 5), by_head.event(90, 33), by_head.event(150, 20)});
  add(70, {});
  add(97, {by_layer.event(64, 20), by_layer.event(80, 40)});
  std::vector<EvictionRecord> steps;
  for (int64_t t = 8; t < 40; ++t) steps.push_back(each_step.event(t, 1));
  add(40, std::move(steps));
  add(17, {});
  return rows;
}

class RowAttentionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { model_ = std::make_unique<TinyModel>(TinyModel::load(kModel)); }
  static void TearDownTestSuite() { model_.reset(); }
  static std::unique_ptr<TinyModel> model_;
  static const Decoder& decoder() { return *model_->decoder; }
};
std::unique_ptr<TinyModel> RowAttentionTest::model_;

TEST_F(RowAttentionTest, EqualsDenseUnderTheMaskInBothModesAndDtypes) {
  const Rows rows = mixed_rows(decoder().config());
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Projections in(decoder().config(), rows.total(), dtype);
    const double bound = dtype == at::kFloat ? 2e-5 : 2e-2;
    for (int layer = 0; layer < 2; ++layer) {
      MaskedDense dense(decoder(), rows.packed());
      const auto want = in.run(dense, layer);
      for (const auto mode : {ops::NumericMode::kFast, ops::NumericMode::kExact}) {
        RowAttention attention(decoder(), rows.packed(), mode);
        const auto got = in.run(attention, layer);
        for (size_t i = 0; i < want.size(); ++i) {
          EXPECT_LT(distance(got[i], want[i]), bound) << "layer " << layer << ", tensor " << i;
          EXPECT_EQ(got[i].scalar_type(), dtype);
        }
      }
    }
  }
}

// The mask is not decoration: without the records the outputs are far away.
TEST_F(RowAttentionTest, FullAttentionIsSomethingElse) {
  const Rows rows = mixed_rows(decoder().config());
  Rows full = rows;
  for (auto& records : full.records) records.clear();
  const Projections in(decoder().config(), rows.total(), at::kFloat);
  RowAttention replayed(decoder(), rows.packed(), ops::NumericMode::kFast);
  RowAttention plain(decoder(), full.packed(), ops::NumericMode::kFast);
  EXPECT_GT(distance(plain.attend(0, in.q, in.k, in.v), replayed.attend(0, in.q, in.k, in.v)), 0.1);
}

// Outputs and gradients of a row are the same bits alone and packed, with grad mode on and off, and when asked twice.
TEST_F(RowAttentionTest, ARowDoesNotDependOnItsNeighbours) {
  const Rows rows = mixed_rows(decoder().config());
  const Projections in(decoder().config(), rows.total(), at::kFloat);
  for (const auto mode : {ops::NumericMode::kFast, ops::NumericMode::kExact}) {
    RowAttention all(decoder(), rows.packed(), mode);
    const auto packed = in.run(all, 1);
    EXPECT_TRUE(at::equal(all.attend(1, in.q.detach(), in.k.detach(), in.v.detach()), packed[0]));
    int64_t begin = 0;
    for (size_t r = 0; r < rows.tokens.size(); ++r) {
      const int64_t n = rows.tokens[r];
      Projections own(decoder().config(), n, at::kFloat);
      const auto cut = [&](const at::Tensor& x) {
        return x.detach().narrow(0, begin, n).clone().set_requires_grad(true);
      };
      own.q = cut(in.q), own.k = cut(in.k), own.v = cut(in.v), own.grad = in.grad.narrow(0, begin, n);
      RowAttention alone(decoder(), {rows.packed()[r]}, mode);
      const auto got = own.run(alone, 1);
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_TRUE(at::equal(got[i], packed[i].narrow(0, begin, n))) << "row " << r << ", tensor " << i;
      }
      begin += n;
    }
  }
}

TEST_F(RowAttentionTest, GradientsEqualFiniteDifferences) {
  const ModelConfig& c = decoder().config();
  RandomEvictions events(c.layers, c.kv_heads, 9);
  Rows rows;
  rows.tokens = {5, 12};
  rows.records = {{}, {events.event(6, 3), events.event(9, 2)}};
  const Projections in(c, rows.total(), at::kFloat);
  RowAttention attention(decoder(), rows.packed(), ops::NumericMode::kFast);
  const auto grads = in.run(attention, 0);
  const auto loss = [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    return attention.attend(0, q, k, v).mul(in.grad).to(at::kDouble).sum().item<double>();
  };
  const at::NoGradGuard guard;
  for (int which = 0; which < 3; ++which) {
    at::Tensor at[3] = {in.q, in.k, in.v};
    const at::Tensor direction = at::randn(at[which].sizes());
    const at::Tensor middle = at[which];
    const double step = 1e-2;
    at[which] = middle.add(direction, step);
    const double above = loss(at[0], at[1], at[2]);
    at[which] = middle.sub(direction, step);
    const double below = loss(at[0], at[1], at[2]);
    const double slope = grads[1 + which].mul(direction).sum().item<double>();
    EXPECT_NEAR((above - below) / (2 * step), slope, 2e-3 * std::abs(slope) + 5e-3) << "tensor " << which;
  }
}

TEST_F(RowAttentionTest, GradientsOutliveTheContext) {
  const Rows rows = mixed_rows(decoder().config());
  const Projections in(decoder().config(), rows.total(), at::kFloat);
  auto attention = std::make_unique<RowAttention>(decoder(), rows.packed(), ops::NumericMode::kExact);
  const at::Tensor out = attention->attend(0, in.q, in.k, in.v);
  const auto want = torch::autograd::grad({out}, {in.q}, {in.grad}, /*retain_graph=*/true);
  attention.reset();
  const auto got = torch::autograd::grad({out}, {in.q}, {in.grad});
  EXPECT_TRUE(at::equal(got[0], want[0]));
}

TEST_F(RowAttentionTest, RefusesRecordsThatCannotBe) {
  const ModelConfig& c = decoder().config();
  RandomEvictions events(c.layers, c.kv_heads, 5);
  std::vector<EvictionRecord> twice = {events.event(6, 3)};
  twice.push_back(twice[0]);
  twice[1].tokens = 8;
  std::vector<EvictionRecord> misfit = {events.event(20, 3)};
  misfit[0].evicted.pop_back();
  for (const auto* records : {&twice, &misfit}) {
    const Projections in(c, 30, at::kFloat);
    for (const auto mode : {ops::NumericMode::kFast, ops::NumericMode::kExact}) {
      RowAttention attention(decoder(), {{30, records}}, mode);
      EXPECT_THROW(attention.attend(0, in.q, in.k, in.v), InvariantError);
    }
  }
}

TEST(CheckTrainable, RefusesPoliciesWhoseKeysChange) {
  EXPECT_TRUE(check_trainable(nullptr, "kv").ok());
  for (const char* fine : {"rpc:interval=16,window=4", "h2o:budget=40,recent=8", "streaming:budget=24"}) {
    EXPECT_TRUE(check_trainable(policy_of(fine).get(), "kv").ok()) << fine;
  }
  const auto status = check_trainable(policy_of("streaming:budget=24,rotate=cache").get(), "recipe.toml: kv");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(
      status.error().line(),
      "recipe.toml: kv: streaming:budget=24,rotate=cache cannot be trained on: it rotates keys anew at each read, "
      "which has no replay; use rotate=true_position, or another policy");
}

}  // namespace
}  // namespace throughline
