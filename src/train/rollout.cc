#include "train/rollout.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/rng.h"
#include "train/row_attention.h"
#include "train/rows_from_trace.h"
#include "train/sample_bytes.h"

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

Result<std::unique_ptr<RolloutEngine>> RolloutEngine::create(const TrainModel* model, const RolloutOptions& options,
                                                             ProcessGroup* group) {
  std::unique_ptr<RolloutEngine> out(new RolloutEngine());
  out->model_ = model;
  out->group_ = group;
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

Status RolloutEngine::sample_own(std::span<const TrainItem> chosen, int64_t samples, uint64_t seed, double temperature,
                                 std::vector<SampleResult>& out) {
  for (size_t i = static_cast<size_t>(group_->rank()); i < chosen.size(); i += static_cast<size_t>(group_->world())) {
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
    request.on_finish = [&out, i, samples](SampleResult result) {
      out[i * static_cast<size_t>(samples) + static_cast<size_t>(result.sample)] = std::move(result);
    };
    TL_TRY(const auto ticket, engine_->submit(std::move(request), "item " + chosen[i].id));
    (void)ticket;
  }
  engine_->run_until_idle();
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].error.empty())
      return Error{out[i].error, "rollout of item " + chosen[i / static_cast<size_t>(samples)].id,
                   "raise rollout.kv_memory or lower rollout.batch"};
  }
  return {};
}

// Places of another process's items are filled with what it sampled.
Status RolloutEngine::exchange(std::vector<SampleResult>& results, int64_t samples) {
  if (group_->world() == 1) return {};
  const auto owner = [&](size_t place) {
    return static_cast<int>(place / static_cast<size_t>(samples)) % group_->world();
  };
  std::string own;
  for (size_t place = 0; place < results.size(); ++place) {
    if (owner(place) != group_->rank()) continue;
    const std::string bytes = pack_sample(results[place]);
    const uint64_t size = bytes.size();
    own.append(reinterpret_cast<const char*>(&size), sizeof size).append(bytes);
  }
  TL_TRY(const auto all, group_->all_gather_bytes(own));
  std::vector<size_t> read(all.size(), 0);
  for (size_t place = 0; place < results.size(); ++place) {
    const auto from = static_cast<size_t>(owner(place));
    uint64_t size = 0;
    TL_CHECK(read[from] + sizeof size <= all[from].size(), "a rank sent fewer traces than it has items");
    std::memcpy(&size, all[from].data() + read[from], sizeof size);
    read[from] += sizeof size;
    if (owner(place) != group_->rank()) {
      TL_TRY(results[place], unpack_sample(std::string_view(all[from]).substr(read[from], size)));
    }
    read[from] += size;
  }
  return {};
}

Result<std::vector<Rollout>> RolloutEngine::run(const TrainItems& items, std::span<const TrainItem> chosen,
                                                int64_t samples, uint64_t seed, double temperature) {
  std::vector<SampleResult> results(chosen.size() * static_cast<size_t>(samples));
  TL_TRY_STATUS(agree(group_, sample_own(chosen, samples, seed, temperature, results)));
  TL_TRY_STATUS(exchange(results, samples));
  std::vector<Rollout> out;
  for (size_t place = 0; place < results.size(); ++place) {
    const size_t i = place / static_cast<size_t>(samples);
    out.push_back(finish(items, chosen[i], std::move(results[place])));
    out.back().group = static_cast<int64_t>(i);
  }
  return out;
}

}  // namespace throughline
