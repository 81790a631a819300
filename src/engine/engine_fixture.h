// For tests of the engine: a tiny model of tests/golden/model, and requests run to their end.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"

namespace throughline {

struct TinyModel {
  std::unique_ptr<Decoder> decoder;
  std::vector<int32_t> eos_ids;

  static TinyModel load(const std::string& folder) {
    TinyModel out;
    auto decoder = Decoder::load(folder, {});
    EXPECT_TRUE(decoder.ok()) << decoder.error().line();
    out.decoder = std::move(decoder).value();
    out.eos_ids = load_generation_defaults(folder, out.decoder->config()).value().eos_ids;
    return out;
  }

  std::unique_ptr<Engine> engine(const EngineOptions& options = {}) const {
    auto made = Engine::create(decoder.get(), nullptr, eos_ids, options);
    EXPECT_TRUE(made.ok()) << made.error().line();
    return std::move(made).value();
  }

  int64_t kv_bytes(int64_t tokens) const {
    const ModelConfig& c = decoder->config();
    return tokens * 2 * c.layers * c.kv_heads * c.head_dim * static_cast<int64_t>(at::elementSize(decoder->dtype()));
  }
};

inline std::shared_ptr<const EvictionPolicy> policy_of(const std::string& text) {
  const auto spec = parse_spec(text, policy_infos(), "kv");
  EXPECT_TRUE(spec.ok()) << spec.error().line();
  auto made = make_policy(*spec, "kv");
  EXPECT_TRUE(made.ok()) << made.error().line();
  return std::move(made).value();
}

inline std::shared_ptr<const Environment> environment_of(const std::string& text) {
  const auto spec = parse_spec(text, environment_infos(), "think");
  EXPECT_TRUE(spec.ok()) << spec.error().line();
  auto made = make_environment(*spec, "think");
  EXPECT_TRUE(made.ok()) << made.error().line();
  return std::move(made).value();
}

inline Request greedy_request(std::vector<int32_t> prompt, int64_t max_tokens, const std::string& kv = "full",
                              const std::string& think = "longcot") {
  Request request;
  request.prompt_ids = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  request.policy = policy_of(kv);
  request.environment = environment_of(think);
  return request;
}

// Submits all at once and runs to the end; results in the order of the requests (one sample each).
inline std::vector<SampleResult> run_all(Engine& engine, std::vector<Request> requests) {
  std::vector<SampleResult> results(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_finish = [&results, i](SampleResult result) { results[i] = std::move(result); };
    const auto ticket = engine.submit(std::move(requests[i]), "request " + std::to_string(i));
    EXPECT_TRUE(ticket.ok()) << ticket.error().line();
  }
  engine.run_until_idle();
  return results;
}

inline SampleResult run_one(Engine& engine, Request request) {
  std::vector<Request> one;
  one.push_back(std::move(request));
  return std::move(run_all(engine, std::move(one))[0]);
}

inline std::vector<int32_t> random_prompt(int64_t tokens, int64_t vocab, uint64_t seed) {
  CounterStream stream(seed, 0, RngPurpose::kTest);
  std::vector<int32_t> ids(tokens);
  for (auto& id : ids) id = static_cast<int32_t>(stream.integer(3, vocab - 1));
  return ids;
}

}  // namespace throughline
