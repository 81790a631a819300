// PackedDecoder against the decoder's own way: prompts, then steps, over caches of their own.
#include "model/packed_decoder.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "cache/page_pool.h"
#include "cache/sequence_cache.h"
#include "model/model_test_folder.h"
#include "model/synth.h"

namespace throughline {
namespace {

// Sequences of unlike length, all fed the same ids by either way.
struct Sequences {
  const Decoder& decoder;
  std::unique_ptr<const EvictionPolicy> policy;
  std::unique_ptr<PagePool> pool;
  std::vector<std::unique_ptr<SequenceCache>> caches;

  Sequences(const Decoder& d, const std::string& kv, bool int8, int64_t sequences) : decoder(d) {
    policy = make_policy(parse_spec(kv, policy_infos(), "test").value(), "test").value();
    const ModelConfig& c = d.config();
    const KvShape shape{.layers = c.layers,
                        .kv_heads = c.kv_heads,
                        .head_dim = c.head_dim,
                        .page_tokens = int8 ? 16 : 4,
                        .dtype = int8 ? at::kChar : at::kFloat};
    pool = PagePool::create(shape, sequences * 32).value();
    for (int64_t i = 0; i < sequences; ++i)
      caches.push_back(std::make_unique<SequenceCache>(pool.get(), policy.get(), c.q_heads, d.attention_scale(), 2));
  }

  // rows[s] ids for each sequence; logits of all. `packed` null: the decoder's way.
  at::Tensor step(const std::vector<int64_t>& rows, const std::vector<int64_t>& ids, const PackedDecoder* packed,
                  TokenKind kind) {
    std::vector<StepSequence> sequences;
    for (size_t s = 0; s < rows.size(); ++s) {
      caches[s]->reserve(rows[s]);
      sequences.push_back({caches[s].get(), std::vector<TokenKind>(rows[s], kind)});
    }
    StepAttention attention(std::move(sequences), decoder.rope(), decoder.attention_scale(), ops::NumericMode::kFast);
    const at::Tensor id_tensor = at::tensor(ids);
    at::Tensor logits;
    if (packed != nullptr) {
      EXPECT_TRUE(PackedDecoder::takes(attention));
      logits = packed->logits(packed->forward(id_tensor, attention));
    } else {
      logits = decoder.logits(decoder.forward(id_tensor, attention, ops::NumericMode::kFast), ops::NumericMode::kFast);
    }
    for (size_t s = 0; s < rows.size(); ++s) {
      caches[s]->commit(std::vector<TokenKind>(rows[s], kind));
      if (caches[s]->due()) caches[s]->compress({1, s, 0, RngPurpose::kEvict});
    }
    return logits;
  }
};

void expect_alike(const Decoder& decoder, const std::string& kv, bool int8 = false) {
  const c10::InferenceMode inference;
  ASSERT_TRUE(PackedDecoder::suits(decoder));
  const PackedDecoder packed(decoder);
  const int64_t sequences = 40, vocab = decoder.config().vocab;
  Sequences plain(decoder, kv, int8, sequences), small(decoder, kv, int8, sequences);
  CounterStream stream(7, 0, RngPurpose::kTest);
  for (int64_t step = 0; step < 20; ++step) {
    std::vector<int64_t> rows, ids;
    for (int64_t s = 0; s < sequences; ++s) {
      rows.push_back(step == 0 ? 1 + s % 5 : 1);
      for (int64_t i = 0; i < rows.back(); ++i) ids.push_back(stream.integer(0, vocab - 1));
    }
    const TokenKind kind = step == 0 ? TokenKind::kPrompt : TokenKind::kSampled;
    const at::Tensor expected = plain.step(rows, ids, nullptr, kind), logits = small.step(rows, ids, &packed, kind);
    ASSERT_EQ(logits.sizes(), expected.sizes());
    ASSERT_TRUE(at::allclose(logits, expected, 1e-3, int8 ? 2e-2 : 2e-4)) << kv << " step " << step;
  }
  for (size_t s = 0; s < small.caches.size(); ++s)
    EXPECT_EQ(small.caches[s]->cached_tokens(), plain.caches[s]->cached_tokens());
}

std::unique_ptr<Decoder> golden(const std::string& name) {
  return std::move(Decoder::load(golden_model(name), {.dtype = "fp32"}).value());
}

TEST(PackedDecoder, EveryFamilyAsTheDecoder) {
  for (const char* name : {"qwen3", "qwen3-head-dim-6", "qwen2-gqa-tied", "qwen2-untied-bf16", "llama-odd-sizes",
                           "llama3-rope", "llama2-mha"}) {
    SCOPED_TRACE(name);
    expect_alike(*golden(name), "full");
  }
}

// The window of rpc's queries is kept by this way too.
TEST(PackedDecoder, UnderAPolicy) { expect_alike(*golden("qwen3"), "rpc:interval=8,ratio=2,window=4"); }

TEST(PackedDecoder, KvInInt8) { expect_alike(*golden("qwen3"), "full", /*int8=*/true); }

TEST(PackedDecoder, DoesNotDependOnThreads) {
  const c10::InferenceMode inference;
  const auto decoder = golden("qwen3");
  const PackedDecoder packed(*decoder);
  const int threads = at::get_num_threads();
  const std::vector<int64_t> rows(50, 1), ids(50, 3);
  std::vector<at::Tensor> logits;
  for (const int n : {1, 2}) {
    at::set_num_threads(n);
    Sequences run(*decoder, "full", false, 50);
    logits.push_back(run.step(rows, ids, &packed, TokenKind::kSampled));
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(logits[0], logits[1]));
}

TEST(PackedDecoder, LeavesOthersAlone) {
  const c10::InferenceMode inference;
  EXPECT_FALSE(PackedDecoder::suits(*Decoder::load(golden_model("qwen3"), {.dtype = "bf16"}).value()));
  EXPECT_FALSE(
      PackedDecoder::suits(*Decoder::load(golden_model("qwen3"), {.dtype = "fp32", .weights = "int8"}).value()));
  const auto decoder = golden("qwen3");
  const auto takes = [&](const std::string& kv, const std::vector<int64_t>& rows) {
    Sequences run(*decoder, kv, false, static_cast<int64_t>(rows.size()));
    std::vector<StepSequence> sequences;
    for (size_t s = 0; s < rows.size(); ++s) {
      run.caches[s]->reserve(rows[s]);
      sequences.push_back({run.caches[s].get(), std::vector<TokenKind>(rows[s], TokenKind::kSampled)});
    }
    return PackedDecoder::takes(
        StepAttention(std::move(sequences), decoder->rope(), decoder->attention_scale(), ops::NumericMode::kFast));
  };
  EXPECT_TRUE(takes("full", std::vector<int64_t>(64, 1)));
  EXPECT_FALSE(takes("full", {1}));
  EXPECT_FALSE(takes("full", {64, 1}));                                // one sequence is a thread's whole work
  EXPECT_FALSE(takes("tova:budget=64", std::vector<int64_t>(64, 1)));  // wants to see the step's attention
}

}  // namespace
}  // namespace throughline
