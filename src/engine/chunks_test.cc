// Chunks at their edges, on models with a tokenizer and thinking tags: what is opened, run and recorded.
#include "engine/engine_fixture.h"
#include "engine/loaded_model.h"

namespace throughline {
namespace {

// A chunk that takes only the close of thinking is never run; it has its (empty) record all the same.
TEST(Chunks, EachHasARecordWhetherItRanOrNot) {
  const auto model = LoadedModel::load(THROUGHLINE_SOURCE_DIR "/models/iterate_map", {}, {.exact = true}).value();
  for (int64_t max_tokens = 14; max_tokens <= 34; ++max_tokens) {
    Request request = greedy_request(random_prompt(9, model->decoder->config().vocab, 1), max_tokens, "full",
                                     "delethink:chunk=16,carry=8,head=2,max_chunks=9");
    request.opens_thinking = true;
    request.sampling.logit_bias[model->tags->close_id] = -1000;  // only the environment closes
    const SampleResult result = run_one(*model->engine, std::move(request));
    EXPECT_EQ(result.error, "");
    EXPECT_EQ(result.trace.tokens(), max_tokens);
    EXPECT_EQ(result.kv.size(), result.trace.chunks.size()) << max_tokens;
  }
}

// A stop string that a chunk's last id ends leaves no chunk behind that never ran.
TEST(Chunks, AStopAtTheEndIsTheLastChunks) {
  const auto model = LoadedModel::load(THROUGHLINE_SOURCE_DIR "/models/stories260K", {}, {.exact = true}).value();
  const auto stories = [&](const std::vector<std::string>& stop) {
    const auto prompt = model->encode("Once upon a time", "test").value();
    Request request = greedy_request(prompt.ids, 100, "full", "delethink:chunk=16,carry=8,head=2,max_chunks=3");
    request.sampling.stop = stop;
    return run_one(*model->engine, std::move(request));
  };
  const Trace whole = stories({}).trace;
  ASSERT_EQ(whole.chunks.size(), 3u);
  const auto& ids = whole.chunks[1].token_ids;
  const std::string last = model->tokenizer->decode(std::vector<int32_t>(ids.end() - 4, ids.end()), true);
  const SampleResult stopped = stories({last});
  EXPECT_EQ(stopped.trace.finish, FinishDetail::kStopString);
  ASSERT_EQ(stopped.trace.chunks.size(), 2u);
  EXPECT_EQ(stopped.trace.chunks[1].token_ids, ids);
  EXPECT_EQ(stopped.kv.size(), 2u);
}

}  // namespace
}  // namespace throughline
