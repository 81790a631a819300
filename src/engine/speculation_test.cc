// Speculation changes nothing: under --exact a run with drafts is the run without, to the last bit and event.
#include "engine/speculation.h"

#include <rapidcheck/gtest.h>

#include <bit>

#include "base/files.h"
#include "engine/engine_fixture.h"
#include "engine/kv_totals.h"

namespace throughline {
namespace {

const std::string kTiny = THROUGHLINE_SOURCE_DIR "/tests/golden/model/qwen2-gqa-tied";
const std::string kStories = THROUGHLINE_SOURCE_DIR "/models/stories260K";

SpeculationOptions drafts_of(int64_t count) { return {.num_speculative_tokens = count, .adaptive = false}; }

// All that a sample leaves behind but for times.
struct Outcome {
  std::vector<int32_t> ids;
  std::vector<uint32_t> logprobs;  // bits
  std::vector<std::vector<int32_t>> prompts, evicted;
  std::vector<int64_t> kv;
  FinishDetail finish;
  std::string text, stop;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const SampleResult& result) {
  Outcome out;
  out.ids = result.trace.token_ids();
  for (const auto& chunk : result.trace.chunks) {
    out.prompts.push_back(chunk.prompt_ids);
    for (const auto& draw : chunk.draws) {
      out.logprobs.push_back(std::bit_cast<uint32_t>(draw.logprob));
      out.logprobs.push_back(std::bit_cast<uint32_t>(draw.sampling_logprob));
    }
  }
  for (const auto& [stats, records] : result.kv) {
    out.kv.insert(out.kv.end(), {stats.peak_tokens, stats.final_tokens, stats.attended_sum, stats.decode_steps,
                                 stats.compressions, stats.evicted_tokens});
    for (const auto& record : records) {
      out.kv.insert(out.kv.end(), {record.decoded, record.tokens, record.kept, record.gone});
      out.evicted.push_back(record.evicted);
    }
  }
  out.finish = result.trace.finish;
  out.text = result.text.value_or("");
  out.stop = result.stop_string;
  return out;
}

// A prompt that repeats itself, and a bias towards a few ids: then greedy and sampled output repeat themselves too.
Request repetitive_request(int64_t vocab, uint64_t seed, int64_t tokens, const std::string& kv,
                           const std::string& think) {
  std::vector<int32_t> phrase = random_prompt(5, vocab, seed), prompt;
  for (int i = 0; i < 4; ++i) prompt.insert(prompt.end(), phrase.begin(), phrase.end());
  Request request = greedy_request(prompt, tokens, kv, think);
  request.sampling.logprobs = 1;
  request.sampling.sampling_logprobs = true;
  request.sampling.seed = seed;
  return request;
}

const std::vector<std::string> kPolicies = {"full",
                                            "rpc:interval=16,ratio=4,window=4",
                                            "rpc:interval=7,ratio=4,window=20,mode=reference",
                                            "rpc:interval=16,ratio=2,window=4,aggregation=group,budget=60",
                                            "random:budget=48,interval=8,window=8",
                                            "recency:budget=60",
                                            "snapkv:form=1,budget=44,interval=8,window=4",
                                            "snapkv:form=2,budget=44,interval=8,window=30",
                                            "rkv:budget=44,interval=8,window=4",
                                            "h2o:budget=40,recent=8",
                                            "tova:budget=40",
                                            "streaming:budget=60,sinks=4",
                                            "streaming:budget=60,sinks=4,rotate=cache"};
const std::vector<std::string> kEnvironments = {
    "longcot", "longcot:loop=4", "delethink:chunk=50,carry=20,head=4,max_chunks=4",
    "delethink:chunk=33,carry=32,head=0,max_chunks=5,head_placement=on_top"};

TEST(Speculation, EveryPolicyAndEnvironmentBitForBit) {
  const TinyModel model = TinyModel::load(kTiny);
  const int64_t vocab = model.decoder->config().vocab;
  for (const auto& kv : kPolicies) {
    int64_t drafts = 0, accepted = 0;
    for (const auto& think : kEnvironments) {
      std::vector<Request> requests;
      for (int i = 0; i < 3; ++i) {
        requests.push_back(repetitive_request(vocab, 10 + i, 130, kv, think));
        requests.back().sampling.temperature = 0.5 * i;
        for (int32_t id = 5; id < 9; ++id) requests.back().sampling.logit_bias[id] = 6 * i;
      }
      const auto without = model.engine({.exact = true, .speculation = drafts_of(0)});
      const auto want = run_all(*without, requests);
      EXPECT_EQ(without->stats().draft_tokens, 0);
      for (const int64_t most : think == "longcot" ? std::vector<int64_t>{1, 16} : std::vector<int64_t>{6}) {
        const auto engine = model.engine({.exact = true, .speculation = drafts_of(most)});
        const auto have = run_all(*engine, requests);
        for (size_t i = 0; i < requests.size(); ++i) {
          EXPECT_EQ(outcome_of(have[i]), outcome_of(want[i])) << kv << " " << think << " request " << i;
          drafts += have[i].draft_tokens;
          accepted += have[i].accepted_tokens;
        }
        EXPECT_EQ(engine->stats().used_pages, engine->stats().shared_prefix_pages);
        if (engine->stats().accepted_tokens > 0) {
          EXPECT_LT(engine->stats().steps, without->stats().steps);
        }
      }
    }
    const auto needs = policy_of(kv) ? policy_of(kv)->needs() : PolicyNeeds{};
    if (needs.attention_sums || needs.step_attention) {
      EXPECT_EQ(drafts, 0) << kv;
    } else {
      EXPECT_GT(accepted, 100) << kv;
      EXPECT_LT(accepted, drafts) << kv;  // both ways were taken
    }
  }
}

TEST(Speculation, StepsShrinkWithWhatIsAccepted) {
  const TinyModel model = TinyModel::load(kTiny);
  // Nothing but one id can be drawn: all drafts are right, but those cut by the end.
  Request request = repetitive_request(model.decoder->config().vocab, 3, 100, "full", "longcot");
  request.sampling.logit_bias[7] = 1000;
  const auto engine = model.engine({.exact = true, .speculation = drafts_of(9)});
  const auto result = run_one(*engine, request);
  EXPECT_EQ(result.trace.tokens(), 100);
  EXPECT_EQ(result.accepted_tokens, result.draft_tokens);
  EXPECT_GE(result.accepted_tokens, 80);
  EXPECT_LE(engine->stats().steps, 100 - result.accepted_tokens + 2);
  EXPECT_EQ(engine->stats().sampled_tokens, 100);
  EXPECT_EQ(result.kv[0].stats.decode_steps, 99);  // the last id is never fed, not even as a draft
  EXPECT_EQ(result.kv[0].stats.final_tokens, 20 + 99);
}

TEST(Speculation, StopsPenaltiesAndTextAsWithout) {
  const TinyModel model = TinyModel::load(kStories);
  const auto tokenizer = Tokenizer::load(kStories).value();
  const auto engine_with = [&](int64_t drafts) {
    return Engine::create(model.decoder.get(), tokenizer.get(), model.eos_ids,
                          {.exact = true, .speculation = drafts_of(drafts)})
        .value();
  };
  std::vector<Request> requests;
  const auto prompt = tokenizer->encode("Lily saw a cat. Lily saw a cat. Lily saw a cat. Lily saw");
  const auto add = [&]() -> SamplingOptions& {
    requests.push_back(greedy_request(prompt, 160));
    requests.back().sampling.logprobs = 2;
    requests.back().sampling.ignore_eos = false;
    return requests.back().sampling;
  };
  add();
  add().repetition_penalty = 1.3;
  add().frequency_penalty = 0.4;
  add().presence_penalty = 1.5;
  const std::string said = *run_one(*engine_with(0), requests[0]).text;
  add().stop = {said.substr(said.size() / 2, 7), "no such thing"};
  add().stop_token_ids = {requests[0].prompt_ids.back()};
  add().min_tokens = 120;
  SamplingOptions& warm = add();
  warm.temperature = 0.8;
  warm.top_p = 0.9;
  warm.top_k = 20;
  add().ignore_eos = true;
  requests.back().max_tokens = 77;
  const auto want = run_all(*engine_with(0), requests);
  int64_t accepted = 0;
  for (const int64_t drafts : {2, 16}) {
    const auto have = run_all(*engine_with(drafts), requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(outcome_of(have[i]), outcome_of(want[i])) << "request " << i << " drafts " << drafts;
      accepted += have[i].accepted_tokens;
    }
  }
  EXPECT_GT(accepted, 50);
  EXPECT_EQ(want[4].trace.finish, FinishDetail::kStopString);
}

// Random requests under --exact, drafts of random length or adaptive, with memory so tight that they are preempted.
TEST(SpeculationProperty, AsWithout) {
  const TinyModel model = TinyModel::load(kTiny);
  const int64_t vocab = model.decoder->config().vocab;
  int64_t accepted = 0, rejected = 0, preempted = 0;
  const bool ok = rc::check("random requests with and without drafts", [&] {
    std::vector<Request> requests;
    const int count = *rc::gen::inRange(4, 9);
    for (int i = 0; i < count; ++i) {
      Request request = repetitive_request(vocab, *rc::gen::inRange(0, 50), *rc::gen::inRange(20, 120),
                                           *rc::gen::elementOf(kPolicies), *rc::gen::elementOf(kEnvironments));
      request.sampling.temperature = *rc::gen::element(0.0, 0.0, 0.7, 1.0);
      request.sampling.top_p = *rc::gen::element(1.0, 0.9);
      request.sampling.top_k = *rc::gen::element(0, 5);
      request.sampling.repetition_penalty = *rc::gen::element(1.0, 1.0, 1.1);
      request.sampling.frequency_penalty = *rc::gen::element(0.0, 0.0, 0.2);
      request.sampling.ignore_eos = *rc::gen::arbitrary<bool>();
      request.sampling.min_tokens = *rc::gen::element(0, 30);
      request.sampling.stop_token_ids = *rc::gen::element(std::vector<int32_t>{}, std::vector<int32_t>{5, 40});
      const int bias = *rc::gen::element(0, 3, 10);
      for (int32_t id = 5; id < 8; ++id) request.sampling.logit_bias[id] = bias;
      requests.push_back(std::move(request));
    }
    const bool int8_kv = *rc::gen::inRange(0, 4) == 0;
    SpeculationOptions options = drafts_of(*rc::gen::inRange(1, 17));
    options.adaptive = *rc::gen::arbitrary<bool>();
    options.prompt_lookup_min = *rc::gen::inRange(1, 4);
    options.prompt_lookup_max = *rc::gen::inRange(static_cast<int>(options.prompt_lookup_min), 9);
    const auto tight =
        model.engine({.kv_memory_bytes = model.kv_bytes(*rc::gen::inRange(10, 12) * 16),
                      .park_memory_bytes = *rc::gen::element<int64_t>(0, model.kv_bytes(200), int64_t{1} << 30),
                      .prefill_slice_tokens = *rc::gen::inRange(1, 40),
                      .turn_tokens = *rc::gen::element(20, 1024),
                      .page_tokens = 16,
                      .exact = true,
                      .int8_kv = int8_kv,
                      .speculation = options});
    const auto have = run_all(*tight, requests);
    const auto plain = model.engine({.exact = true, .int8_kv = int8_kv, .speculation = drafts_of(0)});
    const auto want = run_all(*plain, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      if (have[i].trace.finish == FinishDetail::kKvMemory) continue;
      RC_ASSERT(outcome_of(have[i]) == outcome_of(want[i]));
      accepted += have[i].accepted_tokens;
      rejected += have[i].draft_tokens - have[i].accepted_tokens;
      preempted += have[i].preemptions;
    }
    RC_ASSERT(tight->stats().used_pages == tight->stats().shared_prefix_pages);
  });
  EXPECT_TRUE(ok);
  EXPECT_GT(accepted, 500);
  EXPECT_GT(rejected, 500);
  EXPECT_GT(preempted, 20);
  std::printf("%lld accepted, %lld rejected, %lld preemptions\n", static_cast<long long>(accepted),
              static_cast<long long>(rejected), static_cast<long long>(preempted));
}

TEST(RowCost, LearnsTheSlope) {
  RowCost cost;
  EXPECT_NEAR(cost.of(1), 0.3, 1e-9);                                                // what is usual
  for (int i = 0; i < 400; ++i) cost.learn(1 + i % 5, 0.040 + 0.004 * (1 + i % 5));  // a row costs a tenth of the rest
  EXPECT_NEAR(cost.of(1), 4.0 / 44, 0.03);
  EXPECT_NEAR(cost.of(8), 32.0 / 72, 0.08);
  for (int i = 0; i < 400; ++i) cost.learn(1 + i % 5, 0.010 * (1 + i % 5));  // compute-bound now
  EXPECT_GT(cost.of(1), 0.8);
  cost.learn(5, 100);  // somebody else's
  EXPECT_GT(cost.of(1), 0.8);
  for (int i = 0; i < 400; ++i) cost.learn(1, 0.020);  // rows do not vary: what is usual comes back
  EXPECT_NEAR(cost.of(1), 0.3, 0.02);
}

TEST(SpeculationOptions, AreChecked) {
  EXPECT_TRUE(parse_speculation("auto", "x")->adaptive);
  EXPECT_EQ(parse_speculation("off", "x")->num_speculative_tokens, 0);
  EXPECT_EQ(parse_speculation("5", "x")->num_speculative_tokens, 5);
  EXPECT_FALSE(parse_speculation("5", "x")->adaptive);
  for (const char* bad : {"", "on", "5x", "-"}) EXPECT_FALSE(parse_speculation(bad, "--speculate").ok()) << bad;
  EXPECT_TRUE(check_speculation({}, "x").ok());
  EXPECT_FALSE(check_speculation({.num_speculative_tokens = 17}, "x").ok());
  EXPECT_FALSE(check_speculation({.num_speculative_tokens = -1}, "x").ok());
  EXPECT_FALSE(check_speculation({.prompt_lookup_min = 5}, "x").ok());
  EXPECT_FALSE(check_speculation({.prompt_lookup_max = 9}, "x").ok());
}

}  // namespace
}  // namespace throughline
