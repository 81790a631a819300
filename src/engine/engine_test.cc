#include "engine/engine.h"

#include <ATen/core/grad_mode.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "engine/engine_fixture.h"

namespace throughline {
namespace {

const std::string kTiny = THROUGHLINE_SOURCE_DIR "/tests/golden/model/qwen2-gqa-tied";
const std::string kStories = THROUGHLINE_SOURCE_DIR "/models/stories260K";

const std::vector<std::string> kPolicies = {"full",
                                            "rpc:interval=16,ratio=4,window=4",
                                            "rpc:interval=16,ratio=4,window=4,mode=reference",
                                            "rpc:interval=16,ratio=2,window=4,aggregation=group,budget=60",
                                            "random:budget=48,interval=8,window=8",
                                            "recency:budget=40",
                                            "snapkv:form=1,budget=44,interval=8,window=4",
                                            "snapkv:form=2,budget=44,interval=8,window=4",
                                            "rkv:budget=44,interval=8,window=4",
                                            "h2o:budget=40,recent=8",
                                            "tova:budget=40",
                                            "streaming:budget=40,sinks=4",
                                            "streaming:budget=40,sinks=4,rotate=cache"};

// Bits, not values: what --exact promises.
std::vector<std::pair<int32_t, float>> fingerprint(const Trace& trace) {
  std::vector<std::pair<int32_t, float>> out;
  for (const auto& chunk : trace.chunks) {
    for (const auto& draw : chunk.draws)
      out.emplace_back(draw.id, draw.logprob == draw.logprob ? draw.logprob : -1e30F);
  }
  return out;
}

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : model_(TinyModel::load(kTiny)), vocab_(model_.decoder->config().vocab) {}
  Request request(int64_t prompt, int64_t tokens, const std::string& kv = "full",
                  const std::string& think = "longcot") const {
    auto out = greedy_request(random_prompt(prompt, vocab_, 7), tokens, kv, think);
    out.sampling.logprobs = 0;
    return out;
  }
  TinyModel model_;
  int64_t vocab_;
};

TEST(Stories260K, ReproducesItsPublishedText) {
  const TinyModel model = TinyModel::load(kStories);
  const auto tokenizer = Tokenizer::load(kStories).value();
  const auto engine = Engine::create(model.decoder.get(), tokenizer.get(), model.eos_ids, {}).value();
  const Json golden =
      read_json_file(THROUGHLINE_SOURCE_DIR "/tests/golden/model/stories260K/golden_greedy.json").value();
  const auto tokens = golden["tokens"].get<std::vector<int32_t>>();
  const auto result = run_one(*engine, greedy_request({tokens[0]}, 200));
  EXPECT_EQ(result.trace.token_ids(), std::vector<int32_t>(tokens.begin() + 1, tokens.begin() + 201));
  EXPECT_EQ(result.text->substr(0, 57), "Once upon a time, there was a little girl named Lily. She");
}

TEST_F(EngineTest, ABudgetNeverReachedIsFullBitForBit) {
  const auto engine = model_.engine({.exact = true});
  const auto full = fingerprint(run_one(*engine, request(20, 150)).trace);
  for (const char* kv : {"rpc:interval=8,ratio=1,window=4", "rpc:interval=1024", "random:budget=500",
                         "recency:budget=500", "snapkv:budget=500,form=1", "snapkv:budget=500,form=2", "rkv:budget=500",
                         "h2o:budget=500,recent=4", "tova:budget=500", "streaming:budget=500"}) {
    EXPECT_EQ(fingerprint(run_one(*engine, request(20, 150, kv)).trace), full) << kv;
  }
}

TEST_F(EngineTest, CacheSizeFollowsTheRule) {
  // prompt + N*P/c + R after the N-th event, P more just before the next.
  const auto engine = model_.engine();
  const auto result = run_one(*engine, request(20, 200, "rpc:interval=32,ratio=4,window=8"));
  const auto& kv = result.kv[0];
  ASSERT_EQ(kv.records.size(), 5u);
  for (size_t n = 1; n <= kv.records.size(); ++n) {
    EXPECT_EQ(kv.records[n - 1].decoded, static_cast<int64_t>(32 * n + 8));
    EXPECT_EQ(kv.records[n - 1].kept, static_cast<int64_t>(20 + n * 32 / 4 + 8));
  }
  EXPECT_EQ(kv.stats.final_tokens, 20 + 5 * 8 + 8 + (199 - 168));
  EXPECT_EQ(kv.stats.peak_tokens, kv.stats.final_tokens);  // more than the 20 + 4 * 8 + 8 + 32 before the fifth event
  EXPECT_EQ(engine->stats().used_pages, engine->stats().shared_prefix_pages);
}

TEST_F(EngineTest, DelethinkIsAHandDrivenLoopUnderEveryPolicy) {
  for (const auto& kv : kPolicies) {
    const auto engine = model_.engine({.exact = true});
    const auto result = run_one(*engine, request(12, 1000, kv, "delethink:chunk=80,carry=40,head=8,max_chunks=5"));
    EXPECT_EQ(result.trace.finish, FinishDetail::kMaxChunks);
    ASSERT_EQ(result.trace.chunks.size(), 5u);
    std::vector<int32_t> query = random_prompt(12, vocab_, 7), head, tail, prompt = query;
    int64_t peak = 0;
    for (int chunk = 0; chunk < 5; ++chunk) {
      const auto alone = model_.engine({.prefix_cache = false, .exact = true});
      auto plain = greedy_request(prompt, chunk == 0 ? 80 : 40, kv);
      // The draws of `random` are keyed by the tokens generated in the whole trace; a lone generation cannot know them.
      if (kv.rfind("random", 0) == 0 && chunk > 0) break;
      const auto response = run_one(*alone, std::move(plain)).trace.token_ids();
      EXPECT_EQ(result.trace.chunks[chunk].prompt_ids, prompt) << kv << " chunk " << chunk;
      EXPECT_EQ(result.trace.chunks[chunk].token_ids, response) << kv << " chunk " << chunk;
      if (chunk == 0) head.assign(response.begin(), response.begin() + 8);
      tail.insert(tail.end(), response.begin(), response.end());
      tail.erase(tail.begin(), tail.end() - 32);
      prompt = query;
      prompt.insert(prompt.end(), head.begin(), head.end());
      prompt.insert(prompt.end(), tail.begin(), tail.end());
      if (chunk < 2) peak = std::max(peak, result.kv[chunk].stats.peak_tokens);
    }
    for (const auto& chunk : result.kv) EXPECT_LE(chunk.stats.peak_tokens, std::max<int64_t>(peak, 12 + 80 - 1)) << kv;
  }
}

TEST_F(EngineTest, PreemptionChangesNothing) {
  // Room for about one and a half sequences: the younger ones are parked or replayed over and over.
  for (const int64_t park : {int64_t{0}, int64_t{1} << 30}) {
    for (const auto& kv : kPolicies) {
      std::vector<Request> requests;
      for (int i = 0; i < 4; ++i) {
        requests.push_back(greedy_request(random_prompt(10 + 3 * i, vocab_, i), 120, kv));
        requests.back().sampling.logprobs = 0;
        requests.back().sampling.temperature = 0.7 * (i % 2);
      }
      const auto roomy = model_.engine({.exact = true});
      const auto tight = model_.engine(
          {.kv_memory_bytes = model_.kv_bytes(160), .park_memory_bytes = park, .page_tokens = 16, .exact = true});
      const auto want = run_all(*roomy, requests);
      const auto have = run_all(*tight, requests);
      int64_t preemptions = 0;
      for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(fingerprint(have[i].trace), fingerprint(want[i].trace)) << kv << " park " << park << " request " << i;
        EXPECT_EQ(have[i].kv[0].stats.attended_sum, want[i].kv[0].stats.attended_sum) << kv;
        EXPECT_EQ(have[i].kv[0].records.size(), want[i].kv[0].records.size()) << kv;
        preemptions += have[i].preemptions;
      }
      EXPECT_GT(preemptions, 0) << kv;
      EXPECT_EQ(tight->stats().used_pages, tight->stats().shared_prefix_pages);
      if (park > 0) {
        EXPECT_GT(tight->stats().preemptions_parked, 0);
      }
    }
  }
}

TEST_F(EngineTest, LongOnesTakeTurnsWithThoseThatWait) {
  // One place: without turns the short ones wait for the long one's end.
  for (const std::string think : {"longcot", "delethink:chunk=40,carry=20,head=4,max_chunks=100"}) {
    std::vector<std::vector<std::pair<int32_t, float>>> texts;
    for (const int64_t turn : {0, 32}) {
      const auto engine = model_.engine({.kv_memory_bytes = model_.kv_bytes(4096),
                                         .park_memory_bytes = 1 << 30,
                                         .batch_max = 1,
                                         .turn_tokens = turn,
                                         .exact = true});
      std::vector<int> ended;
      std::vector<SampleResult> results(3);
      for (int i = 0; i < 3; ++i) {
        Request one = request(10 + i, i == 0 ? 200 : 50, i == 1 ? "rpc:interval=16,ratio=2,window=4" : "full", think);
        one.on_finish = [&, i](SampleResult result) {
          ended.push_back(i);
          results[i] = std::move(result);
        };
        ASSERT_TRUE(engine->submit(std::move(one), "test").ok());
      }
      engine->run_until_idle();
      EXPECT_EQ(ended, turn == 0 ? (std::vector<int>{0, 1, 2}) : (std::vector<int>{1, 2, 0})) << think;
      for (const auto& result : results) texts.push_back(fingerprint(result.trace));
    }
    for (int i = 0; i < 3; ++i) EXPECT_EQ(texts[i], texts[i + 3]) << think;
  }
}

// What memory pressure leads to, in its order: smaller budgets where requests allow it, parking, recompute; no errors.
TEST_F(EngineTest, MemoryPressureGoesByItsStages) {
  struct Outcome {
    EngineStats stats;
    std::vector<SampleResult> results;
    int64_t lowered_before_preempted = -1;
  };
  const auto run = [&](int64_t tokens, int64_t park, const std::string& kv) {
    const auto engine = model_.engine({.kv_memory_bytes = model_.kv_bytes(tokens),
                                       .park_memory_bytes = park,
                                       .page_tokens = 4,
                                       .prefix_cache = false,
                                       .exact = true});
    Outcome out;
    out.results.resize(4);
    for (int i = 0; i < 4; ++i) {
      Request one = greedy_request(random_prompt(10 + 3 * i, vocab_, i), 120, kv);
      one.sampling.logprobs = 0;
      one.on_finish = [&out, i](SampleResult result) { out.results[i] = std::move(result); };
      EXPECT_TRUE(engine->submit(std::move(one), "test").ok());
      for (int step = 0; i == 1 && step < 28; ++step) engine->step();  // two have grown when the others come
    }
    while (engine->step()) {
      const EngineStats stats = engine->stats();
      if (out.lowered_before_preempted < 0 && stats.preemptions_parked + stats.preemptions_replayed > 0)
        out.lowered_before_preempted = stats.budgets_lowered;
    }
    out.stats = engine->stats();
    for (const auto& result : out.results) {
      EXPECT_EQ(result.trace.finish, FinishDetail::kMaxTokens) << kv << result.error;
      EXPECT_EQ(result.trace.tokens(), 120);
    }
    EXPECT_EQ(out.stats.used_pages, 0);
    return out;
  };
  constexpr int64_t kRoomy = 4096, kParking = 1 << 30;
  for (const std::string kv : {"rpc:interval=64,ratio=2,window=4", "h2o:budget=500,recent=4", "tova:budget=500",
                               "recency:budget=500", "snapkv:budget=500,interval=16,window=4"}) {
    const auto alone = run(kRoomy, kParking, kv);
    // Room for four at their least: only budgets fall, and the ids are the same until one does.
    const auto lowered = run(4 * 64, kParking, kv + ",min_budget=40");
    EXPECT_GT(lowered.stats.budgets_lowered, 0) << kv;
    EXPECT_EQ(lowered.stats.preemptions_parked + lowered.stats.preemptions_replayed, 0) << kv;
    for (size_t i = 0; i < 4; ++i) {
      const SampleResult& result = lowered.results[i];
      const auto want = fingerprint(alone.results[i].trace), have = fingerprint(result.trace);
      size_t until = want.size();
      for (const EvictionRecord& record : result.kv[0].records) {
        if (record.lowered_to == 0) continue;
        until = std::min<size_t>(until, record.tokens - result.trace.query_ids.size() + 1);
        EXPECT_GE(record.lowered_to, 40);
        EXPECT_GE(record.kept, 40);
      }
      EXPECT_EQ(result.kv[0].stats.lowered > 0, until < want.size());
      EXPECT_TRUE(std::equal(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(until), have.begin())) << kv;
    }
    // Less than that: when no budget can fall further, the last gives way. Parked or replayed, the ids are the same.
    const auto parked = run(80, kParking, kv + ",min_budget=16");
    EXPECT_GT(parked.stats.preemptions_parked, 0) << kv;
    EXPECT_EQ(parked.stats.preemptions_replayed, 0) << kv;
    EXPECT_GT(parked.lowered_before_preempted, 0) << kv;
    const auto replayed = run(80, 0, kv + ",min_budget=16");
    EXPECT_GT(replayed.stats.preemptions_replayed, 0) << kv;
    EXPECT_GT(replayed.lowered_before_preempted, 0) << kv;
    // Who allows nothing is never touched.
    const auto untouched = run(3 * 64, kParking, kv);
    EXPECT_EQ(untouched.stats.budgets_lowered, 0) << kv;
    EXPECT_GT(untouched.stats.preemptions_parked, 0) << kv;
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(fingerprint(untouched.results[i].trace), fingerprint(alone.results[i].trace)) << kv;
  }
}

TEST_F(EngineTest, ALoneOneWithALeastBudgetNeverRunsOutOfMemory) {
  const auto engine = model_.engine({.kv_memory_bytes = model_.kv_bytes(64), .page_tokens = 8});
  const auto result = run_one(*engine, request(10, 200, "rpc:interval=1024,min_budget=24"));
  EXPECT_EQ(result.trace.finish, FinishDetail::kMaxTokens) << result.error;
  EXPECT_EQ(result.trace.tokens(), 200);
  EXPECT_LE(result.kv[0].stats.peak_tokens, 64);
  EXPECT_EQ(result.kv[0].stats.lowest_budget, 32);  // half of what was cached, again and again
  EXPECT_EQ(run_one(*engine, request(10, 200, "rpc:interval=1024")).trace.finish, FinishDetail::kKvMemory);
}

TEST_F(EngineTest, TurnsAreSharedByWeight) {
  // One place, so each step is one token of one of them.
  const auto engine = model_.engine({.kv_memory_bytes = model_.kv_bytes(4096),
                                     .park_memory_bytes = 1 << 30,
                                     .batch_max = 1,
                                     .turn_tokens = 16,
                                     .speculation = {.num_speculative_tokens = 0}});
  std::vector<int64_t> said(3);
  for (int i = 0; i < 3; ++i) {
    Request one = request(10 + i, 300);
    one.weight = i == 0 ? 4 : 1;
    one.on_progress = [&said, i](const SampleProgress& progress) { said[i] = progress.tokens; };
    ASSERT_TRUE(engine->submit(std::move(one), "test").ok());
  }
  const auto run = [&](int steps) {
    for (int i = 0; i < steps; ++i) engine->step();
    return said;
  };
  using Counts = std::vector<int64_t>;
  EXPECT_EQ(run(48), (Counts{48, 0, 0}));  // three turns of a quarter each before the others' first one ends
  EXPECT_EQ(run(16), (Counts{48, 16, 0}));
  EXPECT_EQ(run(16), (Counts{48, 16, 16}));
  EXPECT_EQ(run(64), (Counts{112, 16, 16}));
  EXPECT_EQ(run(32), (Counts{112, 32, 32}));
  EXPECT_EQ(run(96), (Counts{176, 48, 48}));
  engine->run_until_idle();
  EXPECT_EQ(said, (Counts{300, 300, 300}));
}

TEST_F(EngineTest, ShortOnesWaitForAnEighthOfATurnAndStarveNobody) {
  // One place, held by a thinker; short requests one after the other, each so many steps after the one before.
  constexpr int64_t kTurn = 64, kSteps = 600;
  for (const int64_t pause : {50, 0}) {
    const auto engine = model_.engine({.kv_memory_bytes = model_.kv_bytes(4096),
                                       .park_memory_bytes = 1 << 30,
                                       .batch_max = 1,
                                       .turn_tokens = kTurn,
                                       .speculation = {.num_speculative_tokens = 0}});
    int64_t thought = 0, step = 0, began = 0, next = 0;
    Request thinker = request(10, 10000, "full", "delethink:chunk=100,carry=20,head=4,max_chunks=100");
    thinker.on_progress = [&](const SampleProgress& progress) { thought = progress.tokens; };
    ASSERT_TRUE(engine->submit(std::move(thinker), "test").ok());
    for (int i = 0; i < 90; ++i) engine->step();
    ASSERT_EQ(thought, 90);
    std::vector<int64_t> waits;
    for (; step < kSteps; ++step) {
      if (step == next) {
        Request brief = request(12, 10);
        brief.on_progress = [&](const SampleProgress& progress) {
          if (progress.tokens == 1) waits.push_back(step - began);
        };
        brief.on_finish = [&](const SampleResult&) { next = step + 1 + pause; };
        ASSERT_TRUE(engine->submit(std::move(brief), "test").ok());
        began = step;
      }
      engine->step();
    }
    const int64_t longest = *std::max_element(waits.begin(), waits.end());
    std::printf("%zu short requests, longest wait %lld steps, the thinker said %lld of %lld\n", waits.size(),
                static_cast<long long>(longest), static_cast<long long>(thought - 90), static_cast<long long>(kSteps));
    EXPECT_EQ(waits[0], 1);  // the thinker had run for long
    if (pause > 0) {
      EXPECT_LE(longest, kTurn / 8 + 2);
    } else {                          // together they want more than their half
      EXPECT_LE(longest, kTurn + 2);  // a step to be seen, and one to come in
      EXPECT_NEAR(static_cast<double>(thought - 90), kSteps / 2.0, kTurn);
    }
  }
}

TEST_F(EngineTest, AShortPromptIsNotHeldUpByALongOne) {
  const auto engine =
      model_.engine({.kv_memory_bytes = model_.kv_bytes(8192), .max_context = 4096, .prefill_slice_tokens = 128});
  std::vector<int> ended;
  for (int i = 0; i < 2; ++i) {
    Request one = request(i == 0 ? 1500 : 20, 2);
    one.on_finish = [&, i](const SampleResult&) { ended.push_back(i); };
    ASSERT_TRUE(engine->submit(std::move(one), "test").ok());
  }
  engine->run_until_idle();
  EXPECT_EQ(ended, (std::vector<int>{1, 0}));
  EXPECT_LE(engine->stats().steps, 16);  // 1520 rows in slices of 128: what the short one left was not wasted
}

TEST_F(EngineTest, PromptScoresAreWhatDecodingSays) {
  const auto engine = model_.engine({.kv_memory_bytes = model_.kv_bytes(1024), .prefill_slice_tokens = 7});
  Request one = request(12, 20);
  const SampleResult said = run_one(*engine, one);
  Request whole = one;
  for (const auto& id : said.trace.token_ids()) whole.prompt_ids.push_back(id);
  whole.max_tokens = 1;
  whole.prompt_logprobs = 2;
  const SampleResult scored = run_one(*engine, whole);
  ASSERT_EQ(scored.prompt_draws.size(), whole.prompt_ids.size());
  EXPECT_NE(scored.prompt_draws[0].logprob, scored.prompt_draws[0].logprob);  // nothing comes before the first
  for (size_t i = 0; i < 20; ++i) {
    const TokenDraw& draw = scored.prompt_draws[12 + i];
    EXPECT_EQ(draw.id, said.trace.chunks[0].token_ids[i]);
    EXPECT_NEAR(draw.logprob, said.trace.chunks[0].draws[i].logprob, 1e-5);
    EXPECT_EQ(draw.top[0].id, draw.id);  // it was greedy
  }
  EXPECT_EQ(scored.prefix_hit_tokens, 0);
}

TEST_F(EngineTest, ThreadsAndNeighboursDoNotMatterUnderExact) {
  const auto engine = model_.engine({.prefill_slice_tokens = 9, .exact = true});
  const auto lone = model_.engine({.exact = true});
  std::vector<Request> requests;
  for (int i = 0; i < 9; ++i) {
    requests.push_back(greedy_request(random_prompt(1 + 7 * i, vocab_, i), 60, kPolicies[i]));
    requests.back().sampling.logprobs = 3;
    requests.back().sampling.temperature = 1;
    requests.back().sampling.seed = i;
  }
  const auto together = run_all(*engine, requests);
  for (int i = 0; i < 9; ++i)
    EXPECT_EQ(fingerprint(together[i].trace), fingerprint(run_one(*lone, requests[i]).trace)) << i;
}

TEST_F(EngineTest, SamplesOfOneRequestDifferAndRepeat) {
  const auto draw = [&](uint64_t seed) {
    const auto engine = model_.engine();
    auto many = request(10, 20);
    many.samples = 3;
    many.sampling.temperature = 1;
    many.sampling.seed = seed;
    std::map<int64_t, std::vector<int32_t>> out;
    many.on_finish = [&](SampleResult result) { out[result.sample] = result.trace.token_ids(); };
    EXPECT_TRUE(engine->submit(std::move(many), "x").ok());
    engine->run_until_idle();
    return out;
  };
  const auto first = draw(5);
  ASSERT_EQ(first.size(), 3u);
  EXPECT_NE(first.at(0), first.at(1));
  EXPECT_EQ(first, draw(5));
  EXPECT_NE(first, draw(6));
}

TEST_F(EngineTest, SharedPromptPagesAreFoundAgain) {
  const auto engine = model_.engine({.page_tokens = 16, .exact = true});
  const auto first = run_one(*engine, request(100, 10));
  EXPECT_EQ(engine->stats().prefix_hit_tokens, 0);
  const auto second = run_one(*engine, request(100, 10, "snapkv:form=1,budget=40,interval=4,window=4,protect=none"));
  EXPECT_EQ(engine->stats().prefix_hit_tokens, 96);
  EXPECT_GT(second.kv[0].stats.evicted_tokens, 0);  // evicted inside the shared pages, which must not change them
  EXPECT_EQ(fingerprint(run_one(*engine, request(100, 10)).trace), fingerprint(first.trace));
  EXPECT_EQ(run_one(*engine, request(100, 10, "h2o:budget=200,recent=4")).trace.token_ids(), first.trace.token_ids());
  EXPECT_EQ(engine->stats().prefix_hit_tokens, 192);  // h2o needs the prefill's attention and takes no hits
}

// An event writes pages that the prefix cache holds too, which takes copies; with no room for these, the prefix cache
// gives them up.
TEST_F(EngineTest, TheLastOneNeedsNoCopiesOfSharedPages) {
  const auto engine = model_.engine(
      {.kv_memory_bytes = model_.kv_bytes(16 * 6), .park_memory_bytes = 0, .page_tokens = 16, .exact = true});
  const auto result = run_one(*engine, request(70, 40, "snapkv:form=1,budget=64,interval=16,window=4,protect=none"));
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.trace.tokens(), 40);
}

// Full batches go by model/packed_decoder.h, which copies the weights.
TEST_F(EngineTest, FullBatchesFollowAChangeOfTheWeights) {
  const auto changed = model_.decoder->clone();
  const auto ids = [&](Engine& engine) {
    std::vector<Request> requests;
    for (uint64_t i = 0; i < 64; ++i) requests.push_back(greedy_request(random_prompt(3 + i % 4, vocab_, i), 8));
    std::vector<std::vector<int32_t>> out;
    for (const auto& result : run_all(engine, std::move(requests))) out.push_back(result.trace.token_ids());
    return out;
  };
  const auto engine_of = [&](bool exact) {
    auto engine = model_.engine({.exact = exact});
    engine->use_weights({changed.get(), 1});
    return engine;
  };
  const auto fast = engine_of(false);
  const auto before = ids(*fast);
  EXPECT_EQ(before, ids(*engine_of(true)));
  {
    const at::NoGradGuard guard;
    changed->flat_weights().mul_(-0.9);
  }
  fast->use_weights({changed.get(), 2});
  const auto after = ids(*fast);
  EXPECT_NE(after, before);
  EXPECT_EQ(after, ids(*engine_of(true)));
}

TEST_F(EngineTest, NewWeightsAreTakenAtAChunksStart) {
  const auto other = model_.decoder->clone();
  {
    const at::NoGradGuard guard;
    for (const auto& [name, weight] : other->parameters()) weight.mul_(-0.9);
  }
  const auto prompt = random_prompt(20, vocab_, 5);
  const auto delethink = [&] { return greedy_request(prompt, 60, "full", "delethink:chunk=16,carry=8,head=4"); };
  const auto engine_of = [&](const Decoder* decoder, int64_t version) {
    auto engine = model_.engine({.page_tokens = 8, .exact = true});
    engine->use_weights({decoder, version});
    return engine;
  };
  const auto before = engine_of(model_.decoder.get(), 3);
  std::vector<Request> both;
  both.push_back(delethink());
  both.push_back(greedy_request(prompt, 40));
  const auto whole = run_all(*before, std::move(both));

  const auto engine = engine_of(model_.decoder.get(), 3);
  std::vector<SampleResult> results(3);
  const auto submit = [&](size_t place, Request request) {
    request.on_finish = [&results, place](SampleResult result) { results[place] = std::move(result); };
    ASSERT_TRUE(engine->submit(std::move(request), "request").ok());
  };
  submit(0, delethink());
  submit(1, greedy_request(prompt, 40));
  for (int step = 0; step < 10; ++step) engine->step();
  engine->use_weights({other.get(), 4});
  submit(2, greedy_request(prompt, 40));  // the same prompt: its pages are of the old weights
  engine->run_until_idle();

  EXPECT_EQ(results[1].trace.token_ids(), whole[1].trace.token_ids()) << "a chunk under way ends on its weights";
  EXPECT_EQ(results[1].trace.chunks[0].weight_version, 3);
  const auto after = engine_of(other.get(), 4);
  EXPECT_EQ(results[2].trace.token_ids(), run_one(*after, greedy_request(prompt, 40)).trace.token_ids());
  EXPECT_EQ(results[2].trace.chunks[0].weight_version, 4);
  const auto& chunks = results[0].trace.chunks;
  ASSERT_GE(chunks.size(), 3U);
  for (size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i].weight_version, i == 0 ? 3 : 4) << i;
    const auto tokens = static_cast<int64_t>(chunks[i].token_ids.size());
    Engine& same = i == 0 ? *before : *after;
    EXPECT_EQ(chunks[i].token_ids, run_one(same, greedy_request(chunks[i].prompt_ids, tokens)).trace.token_ids()) << i;
  }
  EXPECT_NE(results[0].trace.token_ids(), whole[0].trace.token_ids()) << "the new weights say something else";
}

TEST_F(EngineTest, EndsByCancelDeadlineMemoryAndContext) {
  const auto engine = model_.engine({.kv_memory_bytes = model_.kv_bytes(64), .max_context = 60, .page_tokens = 16});
  SampleResult result;
  auto cancelled = request(5, 1000);
  cancelled.on_finish = [&](SampleResult r) { result = std::move(r); };
  const auto ticket = engine->submit(std::move(cancelled), "x").value();
  for (int i = 0; i < 10; ++i) engine->step();
  engine->cancel(ticket, FinishDetail::kDisconnect);
  engine->run_until_idle();
  EXPECT_EQ(result.trace.finish, FinishDetail::kDisconnect);
  EXPECT_EQ(result.trace.tokens(), 10);

  auto late = request(5, 1000);
  late.deadline = std::chrono::steady_clock::now();
  EXPECT_EQ(run_one(*engine, std::move(late)).trace.finish, FinishDetail::kDeadline);
  const auto context = run_one(*engine, request(5, 1000));
  EXPECT_EQ(context.trace.finish, FinishDetail::kContext);
  EXPECT_EQ(context.trace.tokens(), 60 - 5 + 1);

  const auto small = model_.engine({.kv_memory_bytes = model_.kv_bytes(32), .page_tokens = 16});
  const auto starved = run_one(*small, request(5, 1000));
  EXPECT_EQ(starved.trace.finish, FinishDetail::kKvMemory);
  EXPECT_EQ(starved.trace.tokens(), 32 - 5 + 1);
  EXPECT_NE(starved.error.find("--kv-memory"), std::string::npos);
  EXPECT_EQ(run_one(*small, request(40, 5)).trace.finish, FinishDetail::kKvMemory);
  EXPECT_EQ(small->stats().used_pages, small->stats().shared_prefix_pages);
}

TEST_F(EngineTest, RefusesWhatCannotRun) {
  const auto engine = model_.engine({.max_context = 64});
  const auto line = [&](Request request) {
    const auto ticket = engine->submit(std::move(request), "in.jsonl line 3");
    return ticket.ok() ? std::string("accepted") : ticket.error().line();
  };
  EXPECT_EQ(line(request(0, 5)), "in.jsonl line 3: the prompt has no tokens; give a prompt, prompt_ids or messages");
  auto unknown = request(3, 5);
  unknown.prompt_ids[1] = static_cast<int32_t>(vocab_);
  EXPECT_NE(line(unknown).find("prompt_ids: token id " + std::to_string(vocab_) + " is not in the vocabulary"),
            std::string::npos);
  EXPECT_NE(line(request(65, 5)).find("exceeds the context of 64"), std::string::npos);
  EXPECT_NE(line(request(10, 5, "full", "delethink:chunk=100,carry=60,head=4")).find("carried state included"),
            std::string::npos);
  auto hot = request(3, 5);
  hot.sampling.temperature = -1;
  EXPECT_EQ(line(hot), "in.jsonl line 3: temperature: -1 is out of range; use 0 (greedy) to 100");
  auto stop = request(3, 5);
  stop.sampling.stop = {"x"};
  EXPECT_NE(line(stop).find("stop strings need a tokenizer"), std::string::npos);
}

TEST_F(EngineTest, MinTokensHoldsEosBack) {
  const auto engine = model_.engine();
  auto plain = request(10, 50);
  const auto ids = run_one(*engine, plain).trace.token_ids();
  plain.sampling.stop_token_ids = {ids[4]};
  const auto early = run_one(*engine, plain);
  EXPECT_EQ(early.trace.finish, FinishDetail::kStopToken);
  EXPECT_LE(early.trace.tokens(), 5);
  plain.sampling.min_tokens = 20;
  EXPECT_GE(run_one(*engine, plain).trace.tokens(), 20);
}

TEST_F(EngineTest, SubmitAndCancelComeFromAnyThread) {
  const auto engine = model_.engine({.batch_max = 4});
  std::atomic<int> finished{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        auto one = request(5 + t, 20 + i);
        one.on_finish = [&](SampleResult) { ++finished; };
        const auto ticket = engine->submit(std::move(one), "x");
        if (i % 2 == 1) engine->cancel(ticket.value(), FinishDetail::kDisconnect);
      }
    });
  }
  while (finished < 15) {
    if (!engine->step()) std::this_thread::yield();
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(engine->step());
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST_F(EngineTest, MemoryFollowsTheCache) {
  const auto engine = model_.engine({.kv_memory_bytes = int64_t{1} << 30, .max_context = 4096, .prefix_cache = false});
  run_one(*engine, request(10, 10));
  const int64_t before = resident_bytes();
  std::vector<Request> many;
  for (int i = 0; i < 24; ++i) many.push_back(greedy_request(random_prompt(3900, vocab_, i), 2));
  for (auto& request : many) {
    request.on_finish = [](SampleResult) {};
    ASSERT_TRUE(engine->submit(std::move(request), "x").ok());
  }
  int64_t most = 0;
  while (engine->step()) most = std::max(most, engine->stats().used_pages);
  EXPECT_GT(most * 64, 3900);
  EXPECT_EQ(engine->stats().used_pages, 0);
  EXPECT_LT(resident_bytes() - before, int64_t{64} << 20);
}

}  // namespace
}  // namespace throughline
