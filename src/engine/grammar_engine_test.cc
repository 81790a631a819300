#include "engine/engine_fixture.h"
#include "engine/loaded_model.h"
#include "grammar/grammar_test_kit.h"

namespace throughline {
namespace {

const std::string kStories = THROUGHLINE_SOURCE_DIR "/models/stories260K";
const std::string kPuzzles = THROUGHLINE_SOURCE_DIR "/models/iterate_map";
const char* const kPerson =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer",
    "minimum":0,"maximum":150},"tags":{"type":"array","items":{"enum":["red","green"]},"maxItems":3}},"required":["name","age"]})";

class GrammarEngineTest : public ::testing::Test {
 protected:
  void start(const std::string& folder, EngineOptions options = {.exact = true}) {
    auto loaded = LoadedModel::load(folder, {}, options);
    ASSERT_TRUE(loaded.ok()) << loaded.error().line();
    model_ = std::move(loaded).value();
  }
  Request request(const std::string& schema, uint64_t seed, int64_t max_tokens = 200, double temperature = 1.5) {
    Request out;
    out.prompt_ids = model_->encode("Once upon a time", "test").value().ids;
    out.max_tokens = max_tokens;
    out.sampling.temperature = temperature;
    out.sampling.seed = seed;
    out.grammar = model_->grammar({.schema = parse_json(schema, "schema").value(), .where = "test"}).value();
    return out;
  }
  std::unique_ptr<LoadedModel> model_;
};

TEST_F(GrammarEngineTest, AnswersSatisfyTheirSchema) {
  start(kStories);
  const Json schema = parse_json(kPerson, "x").value();
  std::vector<Request> requests;
  for (uint64_t seed = 0; seed < 24; ++seed) requests.push_back(request(kPerson, seed, 200, seed % 4 == 0 ? 0 : 2.0));
  for (const auto& result : run_all(*model_->engine, std::move(requests))) {
    ASSERT_TRUE(result.error.empty()) << result.error;
    EXPECT_EQ(result.trace.finish, FinishDetail::kGrammar);
    const Json value = Json::parse(*result.text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << *result.text;
    EXPECT_TRUE(Validator(schema).valid(schema, value)) << *result.text;
  }
}

TEST_F(GrammarEngineTest, NeighboursAndPreemptionChangeNothing) {
  start(kStories);
  std::vector<std::vector<int32_t>> alone;
  for (uint64_t seed = 0; seed < 12; ++seed)
    alone.push_back(run_one(*model_->engine, request(kPerson, seed)).trace.token_ids());
  // Room for about two of them: the others are dropped and replayed.
  start(kStories, {.kv_memory_bytes = 220 * model_->engine->options().kv_memory_bytes / (64 * 528),
                   .page_tokens = 16,
                   .exact = true});
  std::vector<Request> requests;
  for (uint64_t seed = 0; seed < 12; ++seed) requests.push_back(request(kPerson, seed));
  const auto results = run_all(*model_->engine, std::move(requests));
  EXPECT_GT(model_->engine->stats().preemptions_replayed, 0);
  for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].trace.token_ids(), alone[i]) << results[i].error;
}

TEST_F(GrammarEngineTest, BudgetsAndFiltersStand) {
  start(kStories);
  const SampleResult cut = run_one(*model_->engine, request(kPerson, 1, 3));
  EXPECT_EQ(cut.trace.finish, FinishDetail::kMaxTokens);
  EXPECT_EQ(cut.trace.tokens(), 3);

  Request early = request(R"({"type":"integer","minimum":0,"maximum":99999})", 2);
  early.sampling.min_tokens = 4;
  const SampleResult late = run_one(*model_->engine, std::move(early));
  EXPECT_GE(late.trace.tokens(), 4);
  EXPECT_EQ(reason_of(late.trace.finish), FinishReason::kStop);

  Request biased = request(R"({"enum":["aa","bb"]})", 3, 50, 0);
  const auto b = model_->tokenizer->token_id("b");
  ASSERT_TRUE(b);
  biased.sampling.logit_bias[*b] = 900;
  EXPECT_EQ(*run_one(*model_->engine, std::move(biased)).text, "\"bb\"");

  Request stopped = request(R"({"const":"one two"})", 3);
  stopped.sampling.stop = {"tw"};
  const SampleResult stop = run_one(*model_->engine, std::move(stopped));
  EXPECT_EQ(stop.trace.finish, FinishDetail::kStopString);
  EXPECT_EQ(*stop.text, "\"one ");

  Request filtered = request(kPerson, 4, 200, 1);
  filtered.sampling.top_k = 1;
  filtered.sampling.top_p = 0.1;
  filtered.sampling.repetition_penalty = 1.5;
  filtered.sampling.frequency_penalty = 1;
  EXPECT_EQ(run_one(*model_->engine, std::move(filtered)).trace.finish, FinishDetail::kGrammar);
}

TEST_F(GrammarEngineTest, LogProbsAreTheModelsOwn) {
  start(kStories);
  Request free = request("true", 1, 1, 0);
  free.grammar = nullptr;
  free.sampling.logprobs = 512;
  const SampleResult all = run_one(*model_->engine, std::move(free));
  Request held = request(R"({"const":7})", 1, 1, 0);
  held.sampling.logprobs = 1;
  const SampleResult result = run_one(*model_->engine, std::move(held));
  const TokenDraw& draw = result.trace.chunks[0].draws[0];
  const auto& top = all.trace.chunks[0].draws[0].top;
  EXPECT_EQ(draw.top[0].id, top[0].id);
  const auto same = std::find_if(top.begin(), top.end(), [&](const auto& entry) { return entry.id == draw.id; });
  ASSERT_NE(same, top.end());
  EXPECT_EQ(draw.logprob, same->logprob);
}

// The thinking is free, in one context and in several; the answer is held.
TEST_F(GrammarEngineTest, OnlyTheAnswerIsHeld) {
  start(kPuzzles);
  const Json messages = Json::array({{{"role", "user"}, {"content", "ab bd ce dc ea;du3;24eu0"}}});
  for (const char* think : {"longcot:max_thinking=60", "delethink:chunk=64,carry=32,head=8,max_thinking=120"}) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      Request request = this->request(R"({"type":"integer","minimum":10,"maximum":99})", seed);
      const ModelPrompt prompt = model_->render(messages, {}, "test").value();
      request.prompt_ids = prompt.ids;
      request.opens_thinking = prompt.opens_thinking;
      request.environment = environment_of(think);
      const SampleResult result = run_one(*model_->engine, std::move(request));
      ASSERT_TRUE(result.error.empty()) << result.error;
      const Trace& trace = result.trace;
      ASSERT_GE(trace.answer_from, 0);
      EXPECT_GT(trace.thinking_to, trace.thinking_from);
      EXPECT_EQ(trace.finish, FinishDetail::kGrammar);
      const auto ids = trace.token_ids();
      const std::string answer = model_->tokenizer->decode(
          {ids.data() + trace.answer_from, ids.size() - static_cast<size_t>(trace.answer_from)}, true);
      const Json value = Json::parse(answer, nullptr, false);
      EXPECT_TRUE(value.is_number_integer() && value >= 10 && value <= 99) << answer;
    }
  }
}

}  // namespace
}  // namespace throughline
