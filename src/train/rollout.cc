#include "train/rollout.h"

#include <unistd.h>

#include <algorithm>

#include "base/rng.h"
#include "train/row_attention.h"
#include "train/rows_from_trace.h"

namespace throughline {
namespace {

// Not what is free just now: preemptions must not depend on what else the machine does.
int64_t default_kv_bytes(const Decoder& decoder, const EngineOptions& options) {
  const ModelConfig& c = decoder.config();
  const int64_t token = 2 * c.layers * c.kv_heads * c.head_dim * static_cast<int64_t>(at::elementSize(decoder.dtype()));
  const int64_t half = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE) / 2;
  const int64_t context = (c.max_positions + 64) * options.batch_max;
  return context > half / token ? half : context * token;
}

}  // namespace

Result<std::unique_ptr<RolloutEngine>> RolloutEngine::create(const TrainModel* model, const RolloutOptions& options) {
  std::unique_ptr<RolloutEngine> out(new RolloutEngine());
  out->model_ = model;
  out->options_ = options;
  TL_TRY(const Spec think, parse_spec(options.section.think, environment_infos(), "rollout.think"));
  TL_TRY(out->environment_, make_environment(think, "rollout.think"));
  TL_TRY(const Spec kv, parse_spec(options.section.kv, policy_infos(), "rollout.kv"));
  TL_TRY(out->policy_, make_policy(kv, "rollout.kv"));
  TL_TRY_STATUS(check_trainable(out->policy_.get(), "rollout.kv"));
  EngineOptions engine;
  engine.batch_max = options.section.batch;
  engine.exact = options.exact;
  engine.kv_memory_bytes =
      options.section.kv_memory_bytes > 0 ? options.section.kv_memory_bytes : default_kv_bytes(*model->decoder, engine);
  engine.park_memory_bytes = engine.kv_memory_bytes;  // parking keeps every bit; replay in fast mode would not
  TL_TRY(out->engine_, Engine::create(model->decoder.get(), model->tokenizer.get(), model->eos_ids, engine));
  return out;
}

int64_t RolloutEngine::most_tokens(int64_t prompt_tokens) const {
  int64_t most = environment_->most_tokens();
  if (most >= kUnlimited) most = std::max<int64_t>(1, engine_->max_context() - prompt_tokens + 1);
  return options_.section.max_tokens > 0 ? std::min(most, options_.section.max_tokens) : most;
}

Rollout RolloutEngine::finish(const TrainItems& items, const TrainItem& item, SampleResult result) const {
  Rollout out;
  out.sample = result.sample;
  out.truncated = reason_of(result.trace.finish) == FinishReason::kLength;
  const int64_t from = result.trace.answer_from;
  if (from >= 0) {
    const std::vector<int32_t> ids = result.trace.token_ids();
    out.answer = model_->tokenizer->decode(std::span<const int32_t>(ids).subspan(static_cast<size_t>(from)), true);
    out.verdict = items.judge(item, out.answer);
  }
  out.result = std::move(result);
  return out;
}

Result<std::vector<Rollout>> RolloutEngine::run(const TrainItems& items, std::span<const TrainItem> chosen,
                                                int64_t samples, uint64_t seed, double temperature) {
  std::vector<Rollout> out(chosen.size() * static_cast<size_t>(samples));
  for (size_t i = 0; i < chosen.size(); ++i) {
    TL_TRY(PromptIds prompt, model_->prompt(chosen[i].prompt));
    Request request;
    request.max_tokens = most_tokens(static_cast<int64_t>(prompt.ids.size()));
    request.prompt_ids = std::move(prompt.ids);
    request.opens_thinking = prompt.opens_thinking;
    request.sampling.temperature = temperature;
    request.sampling.seed = random_bits({seed, i, 0, RngPurpose::kSample});
    request.sampling.sampling_logprobs = true;
    request.samples = samples;
    request.policy = policy_;
    request.environment = environment_;
    request.on_finish = [&, i](SampleResult result) {
      const size_t place = i * static_cast<size_t>(samples) + static_cast<size_t>(result.sample);
      out[place] = finish(items, chosen[i], std::move(result));
      out[place].group = static_cast<int64_t>(i);
    };
    TL_TRY(const auto ticket, engine_->submit(std::move(request), "item " + chosen[i].id));
    (void)ticket;
  }
  engine_->run_until_idle();
  for (const Rollout& rollout : out) {
    if (!rollout.result.error.empty())
      return Error{rollout.result.error, "rollout of item " + chosen[static_cast<size_t>(rollout.group)].id,
                   "raise rollout.kv_memory or lower rollout.batch"};
  }
  return out;
}

}  // namespace throughline
