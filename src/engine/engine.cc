#include "engine/engine.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/narrow.h>
#include <c10/util/Exception.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>

#include "base/stopwatch.h"
#include "cache/page_pool.h"
#include "cache/prefix_cache.h"
#include "cache/step_attention.h"
#include "engine/sample.h"
#include "engine/scheduler.h"
#include "model/packed_decoder.h"
#include "ops/parallel.h"
#include "ops/rows.h"

namespace throughline {
namespace {

int64_t free_memory_bytes() { return static_cast<int64_t>(::sysconf(_SC_AVPHYS_PAGES)) * ::sysconf(_SC_PAGESIZE); }

at::Tensor to_tensor(const std::vector<int64_t>& values, at::Device device) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
  return out.to(device);
}

struct Turn {  // of drawing an id
  Sample* sample;
  int64_t row;  // of the logits; those of its drafts follow
};

// The end of a sample that no step has seen.
SampleResult never_begun(const Job& job, int64_t index, const std::string& error) {
  SampleResult out;
  out.sample = index;
  out.trace.query_ids = job.query_ids;
  out.trace.chunks.push_back({.prompt_ids = job.query_ids});
  out.trace.finish = FinishDetail::kInternal;
  out.kv.emplace_back();
  out.error = error;
  return out;
}

// Runs one after the other, whatever they throw: the first of it is thrown in the end.
struct FirstFailure {
  template <typename Call>
  void guard(const Call& call) {
    try {
      call();
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  }
  void rethrow() const {
    if (failure) std::rethrow_exception(failure);
  }
  std::exception_ptr failure;
};

// One batch for each state of the weights, which is one but shortly after a change.
std::vector<std::vector<Slice>> by_decoder(const std::vector<Slice>& slices) {
  std::vector<std::vector<Slice>> out;
  for (const Slice& slice : slices) {
    const Decoder* decoder = slice.sample->weights().decoder;
    const auto same = [&](const auto& batch) { return batch.front().sample->weights().decoder == decoder; };
    const auto place = std::find_if(out.begin(), out.end(), same);
    (place != out.end() ? *place : out.emplace_back()).push_back(slice);
  }
  return out;
}

}  // namespace

std::string internal_error(const std::exception& failure) {
  const auto* ours = dynamic_cast<const c10::Error*>(&failure);
  const std::string text = ours != nullptr ? ours->what_without_backtrace() : failure.what();
  return "internal error: " + text.substr(0, text.find('\n'));
}

struct Engine::State {
  const Decoder* decoder = nullptr;  // of the shape; a batch runs with its samples' own (Sample::weights)
  const Tokenizer* tokenizer = nullptr;
  EngineOptions options;
  std::optional<ThinkingTags> tags;
  std::vector<int32_t> eos_ids;
  std::shared_ptr<const Environment> longcot;
  std::unique_ptr<PagePool> pool;
  std::unique_ptr<PrefixCache> prefixes;
  std::unique_ptr<Scheduler> scheduler;
  EngineStats stats;
  RowCost row_cost;
  uint64_t arrivals = 0;
  int64_t begun = 0;  // samples of the inbox's first job that the scheduler has
  std::map<const Decoder*, std::optional<PackedDecoder>> packed;  // of those that suit; till the weights change

  mutable std::mutex mutex;  // guards the four below: all that calls from other threads touch
  uint64_t last_ticket = 0;
  std::deque<std::shared_ptr<const Job>> inbox;
  std::vector<std::pair<Ticket, FinishDetail>> cancels;
  std::optional<WeightVersion> next_weights;

  Result<std::shared_ptr<const Job>> make_job(Request request, const std::string& where) const;
  void take_inbox();
  std::shared_ptr<const Job> first_in_inbox() const;
  void pop_inbox();
  void report_finished();
  void run(const std::vector<Slice>& slices);
  const PackedDecoder* packed_for(const Decoder& weights);
  at::Tensor forward(const Decoder& weights, const std::vector<Slice>& slices, std::vector<int64_t>* last_rows);
  void score_prompt(Sample& sample, const at::Tensor& hidden, int64_t first_position);
  void sample(std::vector<Turn> turns, const at::Tensor& logits);
  void tell(Sample& sample);
};

Engine::Engine() : state_(std::make_unique<State>()) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(const Decoder* decoder, const Tokenizer* tokenizer,
                                               std::vector<int32_t> eos_ids, const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine());
  State& state = *engine->state_;
  const ModelConfig& config = decoder->config();
  state.decoder = decoder;
  state.tokenizer = tokenizer;
  state.options = options;
  state.eos_ids = std::move(eos_ids);
  EngineOptions& filled = state.options;
  if (filled.max_context <= 0) filled.max_context = config.max_positions;
  if (config.rope.kind == "dynamic" && filled.max_context > config.max_positions) {
    return Error{"dynamic RoPE cannot go past its original length of " + std::to_string(config.max_positions),
                 "--max-context", "stored rotations cannot follow it; use a smaller context"};
  }
  if (filled.page_tokens <= 0) filled.page_tokens = filled.max_context <= 2048 ? 16 : 64;
  KvShape shape{.layers = config.layers,
                .kv_heads = config.kv_heads,
                .head_dim = config.head_dim,
                .page_tokens = filled.page_tokens,
                .dtype = filled.int8_kv ? at::kChar : decoder->dtype()};
  if (filled.kv_memory_bytes <= 0) {
    // More than every running sample could fill is of no use.
    const int64_t most = filled.batch_max * (filled.max_context + filled.page_tokens) * shape.bytes_per_token();
    filled.kv_memory_bytes =
        std::clamp<int64_t>(free_memory_bytes() / 2, shape.bytes_per_page(), std::max(most, shape.bytes_per_page()));
  }
  const int64_t pages = filled.kv_memory_bytes / shape.bytes_per_page();
  if (pages < 1) {
    return Error{std::to_string(filled.kv_memory_bytes) + " bytes hold not even one page of " +
                     std::to_string(filled.page_tokens) + " tokens",
                 "--kv-memory", "give at least " + std::to_string(shape.bytes_per_page()) + " bytes"};
  }
  TL_TRY_STATUS(check_speculation(filled.speculation, "--speculate"));
  if (filled.batch_max < 1) return Error{"must be at least 1", "--batch-max", ""};
  TL_TRY(state.pool, PagePool::create(shape, pages));
  state.prefixes = std::make_unique<PrefixCache>(state.pool.get());
  state.scheduler =
      std::make_unique<Scheduler>(state.pool.get(), state.prefixes.get(), filled, WeightVersion{decoder, 0});
  state.stats.pages = pages;
  if (tokenizer != nullptr) {
    state.tags = ThinkingTags::resolve([tokenizer](std::string_view text) { return tokenizer->token_id(text); });
  }
  TL_TRY(const Spec spec, parse_spec("longcot", environment_infos(), "--think"));
  TL_TRY(auto longcot, make_environment(spec, "--think"));
  state.longcot = std::move(longcot);
  return engine;
}

// What a request needs is checked here once, so that a step cannot fail on it.
Result<std::shared_ptr<const Job>> Engine::State::make_job(Request request, const std::string& where) const {
  const ModelConfig& config = decoder->config();
  if (!request.environment) request.environment = longcot;
  TL_TRY_STATUS(check_sampling(request.sampling, config.vocab, where));
  if (request.prompt_ids.empty())
    return Error{"the prompt has no tokens", where, "give a prompt, prompt_ids or messages"};
  for (const int32_t id : request.prompt_ids) {
    if (id < 0 || id >= config.vocab) {
      return Error{"token id " + std::to_string(id) + " is not in the vocabulary", where + ": prompt_ids",
                   "ids go from 0 to " + std::to_string(config.vocab - 1)};
    }
  }
  const auto prompt = static_cast<int64_t>(request.prompt_ids.size());
  if (request.environment->longest_prompt(prompt) > options.max_context) {
    return Error{"the prompt of " + std::to_string(request.environment->longest_prompt(prompt)) +
                     " tokens (carried state included) exceeds the context of " + std::to_string(options.max_context),
                 where, "shorten it or raise --max-context"};
  }
  if (request.max_tokens == 0 || request.max_tokens < -1)
    return Error{"must be at least 1", where + ": max_tokens", ""};
  if (request.prompt_logprobs > config.vocab || request.prompt_logprobs < -1)
    return Error{"must be 0 up to the vocabulary's size", where + ": prompt_logprobs", ""};
  if (!(request.weight > 0 && request.weight <= 1e6)) return Error{"must be over 0", where + ": weight", ""};
  if (request.samples < 1 || request.samples > 1024) return Error{"must be 1 to 1024", where + ": n", ""};
  if (!request.sampling.stop.empty() && tokenizer == nullptr) {
    return Error{"stop strings need a tokenizer", where + ": stop",
                 "use stop_token_ids, or add the tokenizer files to the model"};
  }

  auto job = std::make_shared<Job>();
  job->query_ids = request.prompt_ids;
  job->limits = {.max_tokens = request.max_tokens < 0 ? kUnlimited : request.max_tokens,
                 .max_context = options.max_context,
                 .ignore_eos = request.sampling.ignore_eos,
                 .eos_ids = eos_ids,
                 .stop_ids = request.sampling.stop_token_ids};
  job->ending_ids = job->limits.stop_ids;
  if (!request.sampling.ignore_eos) job->ending_ids.insert(job->ending_ids.end(), eos_ids.begin(), eos_ids.end());
  if (tags) {
    job->tags = ThinkingIds{tags->open_id, tags->close_id};
    job->opened_by_prompt = request.opens_thinking.value_or(tags->opened_by(request.prompt_ids));
  }
  if (request.environment->max_replacements() > 0 && tags) {
    const auto ids = tokenizer->encode(request.environment->spec().text("text"),
                                       {.add_special_tokens = false, .parse_special = false});
    if (ids.empty()) return Error{"text encodes to no token", where + ": think", "use another text"};
    job->replacement = ids;
  }
  job->request = std::move(request);
  return std::shared_ptr<const Job>(std::move(job));
}

Result<Engine::Ticket> Engine::submit(Request request, const std::string& where) {
  TL_TRY(auto job, state_->make_job(std::move(request), where));
  const std::lock_guard lock(state_->mutex);
  const Ticket ticket = ++state_->last_ticket;
  std::const_pointer_cast<Job>(job)->ticket = ticket;  // nobody else holds it yet
  state_->inbox.push_back(std::move(job));
  return ticket;
}

void Engine::cancel(Ticket ticket, FinishDetail detail) {
  const std::lock_guard lock(state_->mutex);
  state_->cancels.emplace_back(ticket, detail);
}

std::shared_ptr<const Job> Engine::State::first_in_inbox() const {
  const std::lock_guard lock(mutex);
  return inbox.empty() ? nullptr : inbox.front();
}

void Engine::State::pop_inbox() {
  const std::lock_guard lock(mutex);
  inbox.pop_front();
  begun = 0;
}

void Engine::State::take_inbox() {
  std::vector<std::pair<Ticket, FinishDetail>> ended;
  std::optional<WeightVersion> weights;
  {
    const std::lock_guard lock(mutex);
    ended.swap(cancels);
    weights.swap(next_weights);
  }
  if (weights) {
    scheduler->use_weights(*weights);
    packed.clear();
  }
  // A job leaves the inbox when all its samples are there: what throws in between loses none (fail_all).
  for (; const auto job = first_in_inbox(); pop_inbox()) {
    for (; begun < job->request.samples; ++begun)
      scheduler->add(std::make_unique<Sample>(job, begun, arrivals++, tokenizer));
  }
  const auto now = std::chrono::steady_clock::now();
  for (const auto& sample : scheduler->samples()) {
    for (const auto& [ticket, detail] : ended) {
      if (sample->job().ticket == ticket) sample->finish(detail);
    }
    const auto& deadline = sample->job().request.deadline;
    if (deadline && now >= *deadline) sample->finish(FinishDetail::kDeadline);
  }
}

void Engine::State::report_finished() {
  FirstFailure failure;
  for (const auto& sample : scheduler->take_finished()) {
    failure.guard([&] {
      auto result = sample->result();
      if (sample->job().request.on_finish) sample->job().request.on_finish(std::move(result));
    });
  }
  failure.rethrow();
}

void Engine::fail_all(const std::string& error) {
  State& state = *state_;
  for (const auto& sample : state.scheduler->samples()) {
    if (sample->finished()) continue;
    sample->error = error;
    sample->finish(FinishDetail::kInternal);
  }
  FirstFailure failure;
  for (; const auto job = state.first_in_inbox(); state.pop_inbox()) {
    for (; state.begun < job->request.samples; ++state.begun)
      failure.guard([&] {
        if (job->request.on_finish) job->request.on_finish(never_begun(*job, state.begun, error));
      });
  }
  failure.guard([&] { state.report_finished(); });
  failure.rethrow();
}

bool Engine::step() {
  State& state = *state_;
  state.take_inbox();
  state.report_finished();
  if (state.scheduler->samples().empty()) return false;
  const std::vector<Slice> plan = state.scheduler->plan();
  state.scheduler->add_drafts(plan, state.row_cost);
  for (const auto& batch : by_decoder(plan)) {
    try {
      state.run(batch);
    } catch (const std::exception& failure) {  // ours or libtorch's: it fails these samples, not the engine
      for (const auto& slice : batch) {
        slice.sample->error = internal_error(failure);
        slice.sample->finish(FinishDetail::kInternal);
      }
    }
  }
  ++state.stats.steps;
  state.report_finished();
  return true;
}

void Engine::run_until_idle() {
  while (step()) {
  }
}

void Engine::use_weights(WeightVersion weights) {
  const std::lock_guard lock(state_->mutex);
  state_->next_weights = weights;
}

// Null: the batch goes the decoder's own way.
const PackedDecoder* Engine::State::packed_for(const Decoder& weights) {
  if (options.exact) return nullptr;
  const auto [place, is_new] = packed.try_emplace(&weights);
  if (is_new && PackedDecoder::suits(weights)) place->second.emplace(weights);
  return place->second ? &*place->second : nullptr;
}

// One batch through the decoder; returns the hidden states of rows whose logits may be wanted and, per slice, the last
// of them that is no draft. Drafts are committed when they have been sampled.
at::Tensor Engine::State::forward(const Decoder& weights, const std::vector<Slice>& slices,
                                  std::vector<int64_t>* last_rows) {
  std::vector<int64_t> ids, wanted;
  std::vector<StepSequence> sequences;
  std::vector<TokenKind> kinds;  // of all rows but drafts
  sequences.reserve(slices.size());
  for (const auto& [sample, rows] : slices) {
    StepSequence sequence{.cache = sample->cache.get()};
    const int64_t fed = sample->cache->next_position();
    for (int64_t position = fed; position < fed + rows; ++position) {
      ids.push_back(sample->id_at(position));
      sequence.kinds.push_back(sample->kind_at(position));
    }
    kinds.insert(kinds.end(), sequence.kinds.begin(), sequence.kinds.end());
    const auto fed_rows = static_cast<int64_t>(ids.size());
    ids.insert(ids.end(), sample->drafts().begin(), sample->drafts().end());
    const auto all_rows = static_cast<int64_t>(ids.size());
    for (int64_t row = fed_rows - (sample->wants_prompt_logprobs() ? rows : 1); row < all_rows; ++row)
      wanted.push_back(row);
    last_rows->push_back(static_cast<int64_t>(wanted.size()) - 1 - (all_rows - fed_rows));
    sequence.kinds.resize(sequence.kinds.size() + sample->drafts().size(), TokenKind::kSampled);
    if (sample->next_is_prefill()) stats.prefill_tokens += rows;
    sequences.push_back(std::move(sequence));
  }
  const auto mode = options.exact ? ops::NumericMode::kExact : ops::NumericMode::kFast;
  StepAttention attention(std::move(sequences), weights.rope(), weights.attention_scale(), mode);
  const at::Tensor id_tensor = to_tensor(ids, at::kCPU);
  const at::Tensor wanted_rows = wanted.size() == ids.size() ? at::Tensor() : to_tensor(wanted, at::kCPU);
  const PackedDecoder* small = PackedDecoder::takes(attention) ? packed_for(weights) : nullptr;
  at::Tensor hidden = small != nullptr ? ops::selected_rows(small->forward(id_tensor, attention), wanted_rows)
                                       : weights.forward(id_tensor, attention, mode, {.wanted_rows = wanted_rows});
  std::span<const TokenKind> left(kinds);
  for (const auto& [sample, rows] : slices) {
    sample->cache->commit(left.first(static_cast<size_t>(rows)));
    left = left.subspan(static_cast<size_t>(rows));
  }
  return hidden;
}

void Engine::State::run(const std::vector<Slice>& slices) {
  const at::NoGradGuard no_grad;
  const Decoder& weights = *slices.front().sample->weights().decoder;
  const Stopwatch forward_watch;
  std::vector<int64_t> last_rows;
  const at::Tensor hidden = forward(weights, slices, &last_rows);
  int64_t fed = 0;
  for (const auto& [sample, count] : slices) fed += count + static_cast<int64_t>(sample->drafts().size());
  const double forward_s = forward_watch.seconds();

  for (size_t i = 0; i < slices.size(); ++i) {
    const auto& [sample, count] = slices[i];
    if (!sample->wants_prompt_logprobs()) continue;
    score_prompt(*sample, at::narrow(hidden, 0, last_rows[i] + 1 - count, count),
                 sample->cache->next_position() - count);
  }

  std::vector<Turn> turns;
  std::vector<int64_t> rows;
  for (size_t i = 0; i < slices.size(); ++i) {
    Sample& sample = *slices[i].sample;
    const bool prompt_done = sample.cache->next_position() == sample.prompt_tokens();
    const bool wants_next = sample.settle();
    if (prompt_done) scheduler->offer_prefix(sample);
    if (!wants_next) continue;
    turns.push_back({&sample, static_cast<int64_t>(rows.size())});
    for (size_t draft = 0; draft <= sample.drafts().size(); ++draft)
      rows.push_back(last_rows[i] + static_cast<int64_t>(draft));
  }
  if (turns.empty()) return;
  const bool all = static_cast<int64_t>(rows.size()) == hidden.size(0);
  const at::Tensor wanted = all ? hidden : at::index_select(hidden, 0, to_tensor(rows, hidden.device()));
  const auto mode = options.exact ? ops::NumericMode::kExact : ops::NumericMode::kFast;
  const Stopwatch logits_watch;
  const PackedDecoder* small = wanted.size(0) >= PackedDecoder::kLeastRows ? packed_for(weights) : nullptr;
  const at::Tensor logits =
      small != nullptr ? small->logits(wanted) : weights.logits(wanted, mode).to(at::kCPU).contiguous();
  if (all && fed == hidden.size(0) && fed <= kMostRows) row_cost.learn(fed, forward_s + logits_watch.seconds());
  sample(std::move(turns), logits);
  for (const Slice& slice : slices) {
    const auto drafts = static_cast<int64_t>(slice.sample->drafts().size());
    if (drafts == 0) continue;
    ++stats.drafts;
    stats.draft_tokens += drafts;
    stats.accepted_tokens += slice.sample->end_drafts();
  }
}

// Rows of the first prompt, from `first_position` on: the log-prob of the id that follows each.
void Engine::State::score_prompt(Sample& sample, const at::Tensor& hidden, int64_t first_position) {
  constexpr int64_t kBlock = 32;  // rows whose logits are held at once
  const auto prompt = sample.prompt();
  const int64_t top = sample.job().request.prompt_logprobs;
  if (sample.prompt_draws.empty()) {
    for (const int32_t id : prompt) sample.prompt_draws.push_back({.id = id});
  }
  const int64_t rows = std::min(hidden.size(0), static_cast<int64_t>(prompt.size()) - 1 - first_position);
  const auto mode = options.exact ? ops::NumericMode::kExact : ops::NumericMode::kFast;
  SamplerScratch scratch;
  for (int64_t from = 0; from < rows; from += kBlock) {
    const int64_t count = std::min(kBlock, rows - from);
    const at::Tensor logits =
        sample.weights().decoder->logits(at::narrow(hidden, 0, from, count), mode).to(at::kCPU).contiguous();
    const int64_t vocab = logits.size(1);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = first_position + from + i + 1;
      sample.prompt_draws[position] = score_token(
          {logits.const_data_ptr<float>() + i * vocab, static_cast<size_t>(vocab)}, prompt[position], top, scratch);
    }
  }
}

// One id for each sample; whose id was the draft of its next row has another turn, until none has.
void Engine::State::sample(std::vector<Turn> turns, const at::Tensor& logits) {
  const int64_t vocab = logits.size(1);
  const float* data = logits.const_data_ptr<float>();
  std::vector<TokenDraw> draws(turns.size());
  const auto draw = [&](int64_t begin, int64_t end) {
    static thread_local SamplerScratch scratch;
    for (int64_t i = begin; i < end; ++i) {
      Sample& sample = *turns[i].sample;
      const SamplingOptions& options = sample.job().request.sampling;
      const bool too_early = sample.history().tokens < options.min_tokens;
      const std::span<const int32_t> forbidden =
          too_early ? std::span<const int32_t>(sample.job().ending_ids) : std::span<const int32_t>();
      DrawLimits limits{.forbidden = forbidden};
      if (sample.restrict_ids(!too_early, scratch.allowed)) {
        if (scratch.allowed.empty()) {
          sample.error = "no token of the vocabulary goes on with what the grammar asks for";
          continue;
        }
        limits.allowed = scratch.allowed;
      }
      draws[i] = draw_token({data + turns[i].row * vocab, static_cast<size_t>(vocab)}, options, sample.history(),
                            limits, static_cast<uint64_t>(sample.index()), scratch);
    }
  };
  while (!turns.empty()) {
    ops::parallel_for(0, static_cast<int64_t>(turns.size()), 1, draw);
    size_t more = 0;
    for (size_t i = 0; i < turns.size(); ++i) {
      const auto [sample, row] = turns[i];
      if (!sample->error.empty()) {
        sample->finish(FinishDetail::kInternal);
        continue;
      }
      ++stats.sampled_tokens;
      sample->mark_sampled();
      sample->add_sampled(std::move(draws[i]));
      tell(*sample);
      if (sample->accept_draft()) turns[more++] = {sample, row + 1};
    }
    turns.resize(more);
  }
}

void Engine::State::tell(Sample& sample) {
  const std::string text = sample.take_new_text();
  if (!sample.job().request.on_progress) return;
  sample.job().request.on_progress({.sample = sample.index(),
                                    .chunk = sample.runner().chunk_index(),
                                    .tokens = sample.runner().tokens(),
                                    .kv_tokens = sample.cache ? sample.cache->cached_tokens() : 0,
                                    .context_tokens = sample.cache ? sample.cache->next_position() : 0,
                                    .draft_tokens = sample.draft_tokens,
                                    .accepted_tokens = sample.accepted_tokens,
                                    .thinking = sample.runner().thinking(),
                                    .text = text,
                                    .trace = &sample.runner().trace(),
                                    .closed_kv = sample.closed_kv(),
                                    .events = sample.cache ? std::span<const EvictionRecord>(sample.cache->records())
                                                           : std::span<const EvictionRecord>()});
}

EngineStats Engine::stats() const {
  EngineStats out = state_->stats;
  for (const auto& sample : state_->scheduler->samples()) {
    (sample->state == Sample::State::kRunning ? out.running : out.waiting) += 1;
  }
  out.used_pages = state_->pool->used_pages();
  out.shared_prefix_pages = state_->prefixes->reclaimable_pages();
  out.budgets_lowered = state_->scheduler->lowered;
  out.turns = state_->scheduler->turns;
  out.preemptions_parked = state_->scheduler->parked;
  out.preemptions_replayed = state_->scheduler->replayed;
  out.prefix_hit_tokens = state_->scheduler->prefix_hit_tokens;
  return out;
}

const EngineOptions& Engine::options() const { return state_->options; }
const std::optional<ThinkingTags>& Engine::thinking_tags() const { return state_->tags; }
int64_t Engine::max_context() const { return state_->options.max_context; }

}  // namespace throughline
