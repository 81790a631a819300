#include "train/rollout.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/rng.h"
#include "base/stopwatch.h"
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

// The engine names the flags of the other commands.
Error as_option(Error error) {
  if (error.where == "--kv-memory") error.where = "rollout.kv_memory";
  return error;
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
  engine.speculation.num_speculative_tokens = 0;  // rollouts run in full batches, where it never pays
  engine.kv_memory_bytes =
      options.section.kv_memory_bytes > 0 ? options.section.kv_memory_bytes : default_kv_bytes(*model->decoder, engine);
  engine.park_memory_bytes = engine.kv_memory_bytes;  // parking keeps every bit; replay in fast mode would not
  auto created = Engine::create(model->decoder.get(), model->tokenizer.get(), model->eos_ids, engine);
  if (!created.ok()) return as_option(created.error());
  out->engine_ = std::move(created).value();
  return out;
}

int64_t RolloutEngine::most_tokens(int64_t prompt_tokens) const {
  int64_t most = environment_->most_tokens();
  if (most >= kUnlimited) most = std::max<int64_t>(1, engine_->max_context() - prompt_tokens + 1);
  return options_.section.max_tokens > 0 ? std::min(most, options_.section.max_tokens) : most;
}

bool RolloutEngine::has_room(int64_t prompt_tokens) const {
  return environment_->longest_prompt(prompt_tokens) <= engine_->max_context();
}

Rollout RolloutEngine::judge(const TrainItems& items, const TrainItem& item, SampleResult result) const {
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

std::unique_ptr<RolloutEngine::Batch> RolloutEngine::submit(std::span<const TrainItem> chosen, int64_t samples,
                                                            uint64_t seed, double temperature) {
  auto batch = std::make_unique<Batch>();
  batch->chosen.assign(chosen.begin(), chosen.end());
  batch->samples = samples;
  batch->results.resize(chosen.size() * static_cast<size_t>(samples));
  batch->submitted = submit_own(*batch, seed, temperature);
  return batch;
}

Status RolloutEngine::submit_own(Batch& batch, uint64_t seed, double temperature) {
  const auto first = static_cast<size_t>(group_->rank()), world = static_cast<size_t>(group_->world());
  for (size_t i = first; i < batch.chosen.size(); i += world) {
    TL_TRY(PromptIds prompt, model_->prompt(batch.chosen[i].prompt));
    const auto prompt_tokens = static_cast<int64_t>(prompt.ids.size());
    if (!has_room(prompt_tokens)) {
      return Error{"its prompt of " + std::to_string(prompt_tokens) + " tokens is too long for the context of " +
                       std::to_string(max_context()),
                   "item " + batch.chosen[i].id, "take shorter tasks or a rollout.think that carries less"};
    }
    Request request;
    request.max_tokens = most_tokens(prompt_tokens);
    request.prompt_ids = std::move(prompt.ids);
    request.opens_thinking = prompt.opens_thinking;
    request.sampling.temperature = temperature;
    request.sampling.seed = random_bits({seed, i, 0, RngPurpose::kSample});
    request.sampling.sampling_logprobs = true;
    request.samples = batch.samples;
    request.policy = policy_;
    request.environment = environment_;
    request.on_finish = [results = &batch.results,
                         first_place = i * static_cast<size_t>(batch.samples)](SampleResult result) {
      (*results)[first_place + static_cast<size_t>(result.sample)] = std::move(result);
    };
    TL_TRY(const auto ticket, engine_->submit(std::move(request), "item " + batch.chosen[i].id));
    (void)ticket;
  }
  return {};
}

void RolloutEngine::sample(Batch& batch) {
  const Stopwatch watch;
  while (!give_up_ && engine_->step()) {
  }
  batch.seconds = watch.seconds();
}

void RolloutEngine::start(std::span<const TrainItem> chosen, int64_t samples, uint64_t seed, double temperature,
                          int threads) {
  TL_CHECK(!started(), "rollouts were started and not taken");
  ahead_ = submit(chosen, samples, seed, temperature);
  thread_ = std::thread([this, threads, batch = ahead_.get()] {
    try {
      at::get_num_threads();  // libtorch gives a new thread the process's number at its first call: not later than this
      at::set_num_threads(threads);
      sample(*batch);
    } catch (...) {
      batch->failure = std::current_exception();
    }
  });
}

void RolloutEngine::wait() {
  if (thread_.joinable()) thread_.join();
}

RolloutEngine::~RolloutEngine() {
  give_up_ = true;
  wait();
}

Status RolloutEngine::check(const Batch& batch) const {
  TL_TRY_STATUS(batch.submitted);
  for (size_t i = 0; i < batch.results.size(); ++i) {
    if (!batch.results[i].error.empty())
      return Error{batch.results[i].error, "rollout of item " + batch.chosen[i / static_cast<size_t>(batch.samples)].id,
                   "raise rollout.kv_memory or lower rollout.batch"};
  }
  return {};
}

// Places of another process's items are filled with what it sampled.
Status RolloutEngine::exchange(Batch& batch) {
  if (group_->world() == 1) return {};
  std::vector<SampleResult>& results = batch.results;
  const auto owner = [&](size_t place) {
    return static_cast<int>(place / static_cast<size_t>(batch.samples)) % group_->world();
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

Result<std::vector<Rollout>> RolloutEngine::finish(const TrainItems& items, Batch& batch) {
  TL_TRY_STATUS(agree(group_, check(batch)));
  TL_TRY_STATUS(exchange(batch));
  sampling_s_ += batch.seconds;
  std::vector<Rollout> out;
  for (size_t place = 0; place < batch.results.size(); ++place) {
    const size_t i = place / static_cast<size_t>(batch.samples);
    out.push_back(judge(items, batch.chosen[i], std::move(batch.results[place])));
    out.back().group = static_cast<int64_t>(i);
  }
  return out;
}

Result<std::vector<Rollout>> RolloutEngine::run(const TrainItems& items, std::span<const TrainItem> chosen,
                                                int64_t samples, uint64_t seed, double temperature) {
  wait();
  const auto batch = submit(chosen, samples, seed, temperature);
  sample(*batch);
  return finish(items, *batch);
}

Result<std::vector<Rollout>> RolloutEngine::take(const TrainItems& items) {
  TL_CHECK(started(), "no rollouts were started");
  wait();
  const auto batch = std::move(ahead_);
  if (batch->failure) std::rethrow_exception(batch->failure);
  return finish(items, *batch);
}

}  // namespace throughline
