#include "train/sample_bytes.h"

#include <gtest/gtest.h>

namespace throughline {
namespace {

SampleResult example() {
  SampleResult sample;
  sample.sample = 3;
  sample.text = "";
  sample.preemptions = 2;
  sample.timing.decode_s = 1.5;
  Trace& trace = sample.trace;
  trace.query_ids = {1, 2, 3};
  trace.finish = FinishDetail::kMaxChunks;
  trace.thinking_from = 4, trace.thinking_to = 5, trace.answer_from = -1;
  for (int c = 0; c < 2; ++c) {
    ChunkTrace& chunk = trace.chunks.emplace_back();
    chunk.prompt_ids = {1, 2, 3, 9};
    chunk.token_ids = {7, 8};
    chunk.draws = {{7, -0.5F, -0.25F, {}}, {8, kNoLogprob, kNoLogprob, {}}};
    chunk.forced = {{1, 2}};
    chunk.weight_version = 40 + c;
    ChunkKv& kv = sample.kv.emplace_back();
    kv.stats.peak_tokens = 11;
    kv.records = {{1, 2, 3, 2, 0, {0, 1, 0, 2}}, {4, 5, 6, 0, 9, {}}};
  }
  return sample;
}

TEST(SampleBytes, ComeBackWhole) {
  const SampleResult before = example();
  const std::string bytes = pack_sample(before);
  const auto after = unpack_sample(bytes);
  ASSERT_TRUE(after.ok()) << after.error().line();
  EXPECT_EQ(pack_sample(*after), bytes);  // NaN and all
  EXPECT_EQ(after->sample, 3);
  EXPECT_EQ(after->text, "");
  EXPECT_EQ(after->preemptions, 2);
  EXPECT_EQ(after->trace.query_ids, before.trace.query_ids);
  EXPECT_EQ(after->trace.finish, FinishDetail::kMaxChunks);
  EXPECT_EQ(after->trace.answer_from, -1);
  ASSERT_EQ(after->trace.chunks.size(), 2u);
  EXPECT_EQ(after->trace.chunks[1].weight_version, 41);
  EXPECT_EQ(after->trace.chunks[1].draws[0].sampling_logprob, -0.25F);
  EXPECT_EQ(after->trace.chunks[1].forced, before.trace.chunks[1].forced);
  EXPECT_EQ(after->kv[0].records[0].evicted, before.kv[0].records[0].evicted);
  EXPECT_EQ(after->kv[0].records[1].lowered_to, 9);
  EXPECT_EQ(after->kv[0].stats.peak_tokens, 11);
}

TEST(SampleBytes, CutAndForeignBytesAreErrors) {
  const std::string bytes = pack_sample(example());
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(unpack_sample(bytes.substr(0, n)).ok()) << n;
  EXPECT_FALSE(unpack_sample(bytes + "x").ok());
  // Any eight bytes as a huge or negative size: never a crash, never a large allocation.
  for (size_t at = 4; at + 12 < bytes.size(); ++at) {
    for (const char fill : {'\xff', '\x7f'}) {
      std::string damaged = bytes;
      damaged.replace(at, 8, 8, fill);
      (void)unpack_sample(damaged).ok();
    }
  }
}

}  // namespace
}  // namespace throughline
