// 200 random requests under --exact, with memory so tight that they are preempted or, where they allow it, compressed,
// and with turns by weight, end with the same ids as when each runs alone (the compressed ones: no error), and leave
// the pool empty.
#include <rapidcheck/gtest.h>

#include "engine/engine_fixture.h"

namespace throughline {
namespace {

const std::string kTiny = THROUGHLINE_SOURCE_DIR "/tests/golden/model/qwen2-gqa-tied";

std::string random_policy(bool may_shrink) {
  const auto small = [](int low, int high) { return std::to_string(*rc::gen::inRange(low, high)); };
  const std::string protect =
      *rc::gen::element<std::string>("", ",protect=none", ",protect=first:3", ",protect=prompt") +
      (may_shrink ? ",min_budget=" + small(1, 9) : "");
  switch (*rc::gen::inRange(0, 9)) {
    case 0:
      return "full";
    case 1:
      return "rpc:interval=" + small(4, 24) + ",ratio=" + small(1, 5) + ",window=" + small(1, 10) +
             *rc::gen::element<std::string>("", ",mode=reference") + protect;
    case 2:
      return "rpc:interval=" + small(4, 24) + ",aggregation=group,window=4,budget=" + small(8, 60) + protect;
    case 3:
      return "random:budget=" + small(8, 60) + ",interval=" + small(1, 20) + ",window=" + small(1, 9) + protect;
    case 4:
      return "snapkv:form=" + small(1, 3) + ",budget=" + small(8, 60) + ",interval=" + small(2, 20) +
             ",window=" + small(1, 9) + protect;
    case 5:
      return "rkv:budget=" + small(8, 60) + ",interval=" + small(2, 20) + ",window=" + small(1, 9) + protect;
    case 6:
      return "h2o:budget=" + small(8, 60) + ",recent=" + small(1, 9) + protect;
    case 7:
      return "tova:budget=" + small(8, 60) + protect;
    default:
      return "streaming:budget=" + small(8, 60) + ",sinks=2" + *rc::gen::element<std::string>("", ",rotate=cache") +
             protect;
  }
}

std::string random_environment() {
  if (*rc::gen::inRange(0, 3) > 0) return *rc::gen::element<std::string>("longcot", "longcot:loop=8");
  const int chunk = *rc::gen::inRange(8, 50), carry = *rc::gen::inRange(0, chunk),
            head = *rc::gen::inRange(0, carry + 1);
  return "delethink:chunk=" + std::to_string(chunk) + ",carry=" + std::to_string(carry) +
         ",head=" + std::to_string(head) + ",max_chunks=" + std::to_string(*rc::gen::inRange(1, 5)) +
         *rc::gen::element<std::string>("", ",head_placement=on_top");
}

Request random_request(int64_t vocab, bool may_shrink) {
  Request request = greedy_request(random_prompt(*rc::gen::inRange(1, 70), vocab, *rc::gen::inRange(0, 6)),
                                   *rc::gen::inRange(1, 90), random_policy(may_shrink), random_environment());
  request.sampling.temperature = *rc::gen::element(0.0, 0.7, 1.0);
  request.sampling.top_p = *rc::gen::element(1.0, 0.9);
  request.sampling.seed = *rc::gen::inRange(0, 100);
  request.sampling.ignore_eos = *rc::gen::arbitrary<bool>();
  request.weight = *rc::gen::element(0.25, 1.0, 1.0, 4.0);
  return request;
}

TEST(EngineProperty, TogetherAsAlone) {
  const TinyModel model = TinyModel::load(kTiny);
  int64_t requests_seen = 0, preempted = 0, lowered = 0, turns = 0;
  const bool ok = rc::check("random requests under --exact", [&] {
    std::vector<Request> requests;
    const int count = *rc::gen::inRange(6, 14);
    for (int i = 0; i < count; ++i)
      requests.push_back(random_request(model.decoder->config().vocab, *rc::gen::inRange(0, 3) == 0));
    const bool int8_kv = *rc::gen::arbitrary<bool>();
    const auto tight =
        model.engine({.kv_memory_bytes = model.kv_bytes(*rc::gen::inRange(7, 16) * 16),
                      .park_memory_bytes = *rc::gen::element<int64_t>(0, model.kv_bytes(200), int64_t{1} << 30),
                      .batch_max = *rc::gen::inRange(2, 9),
                      .prefill_slice_tokens = *rc::gen::inRange(1, 80),
                      .turn_tokens = *rc::gen::element<int64_t>(0, 8, 1024),
                      .page_tokens = 16,
                      .exact = true,
                      .int8_kv = int8_kv});
    std::vector<SampleResult> together(requests.size());
    std::vector<Engine::Ticket> tickets;
    for (size_t i = 0; i < requests.size(); ++i) {
      Request request = requests[i];
      request.on_finish = [&together, i](SampleResult result) { together[i] = std::move(result); };
      tickets.push_back(tight->submit(std::move(request), "x").value());
    }
    const int cancel_at = *rc::gen::inRange(0, 60);
    const size_t victim = *rc::gen::inRange<size_t>(0, requests.size());
    for (int step = 0; tight->step(); ++step) {
      if (step == cancel_at) tight->cancel(tickets[victim], FinishDetail::kCancelled);
    }
    const auto alone = model.engine({.exact = true, .int8_kv = int8_kv});
    for (size_t i = 0; i < requests.size(); ++i) {
      ++requests_seen;
      preempted += together[i].preemptions;
      if (together[i].trace.finish == FinishDetail::kInternal) RC_FAIL(together[i].error);
      int64_t shrunk = 0;
      for (const auto& chunk : together[i].kv) shrunk += chunk.stats.lowered;
      lowered += shrunk;
      if (shrunk > 0) continue;  // it says something else from then on
      const auto ids = together[i].trace.token_ids();
      auto want = run_one(*alone, requests[i]).trace.token_ids();
      if (together[i].trace.finish == FinishDetail::kCancelled || together[i].trace.finish == FinishDetail::kKvMemory) {
        RC_ASSERT(ids.size() <= want.size());
        want.resize(ids.size());
      }
      RC_ASSERT(ids == want);
    }
    turns += tight->stats().turns;
    RC_ASSERT(tight->stats().used_pages == tight->stats().shared_prefix_pages);
    RC_ASSERT(tight->stats().running == 0 && tight->stats().waiting == 0);
  });
  EXPECT_TRUE(ok);
  EXPECT_GE(requests_seen, 200);
  EXPECT_GT(preempted, 50);
  EXPECT_GT(lowered, 2);
  EXPECT_GT(turns, 5);
  std::printf("%lld random requests, %lld preemptions (%lld for turns), %lld budgets lowered\n",
              static_cast<long long>(requests_seen), static_cast<long long>(preempted), static_cast<long long>(turns),
              static_cast<long long>(lowered));
}

}  // namespace
}  // namespace throughline
