#include "engine/sample.h"

#include <algorithm>
#include <array>

namespace throughline {

Sample::Sample(std::shared_ptr<const Job> job, int64_t index, uint64_t arrival, const Tokenizer* tokenizer)
    : job_(std::move(job)),
      index_(index),
      arrival_(arrival),
      runner_(*job_->request.environment, job_->query_ids, job_->limits, job_->tags, job_->opened_by_prompt,
              job_->replacement),
      since_(Clock::now()) {
  if (job_->request.sampling.has_penalties()) {
    for (const int32_t id : job_->query_ids) history_.prompt[id] = true;
  }
  if (tokenizer != nullptr) {
    decoder_.emplace(*tokenizer, /*skip_special=*/true);
    stops_.emplace(job_->request.sampling.stop);
    if (job_->request.continues_text) {
      for (const int32_t id : job_->query_ids) decoder_->push(id);
    }
  }
}

int64_t Sample::context_tokens() const {
  return prompt_tokens() + static_cast<int64_t>(runner_.chunk().token_ids.size());
}

int32_t Sample::id_at(int64_t position) const {
  return position < prompt_tokens() ? prompt()[position] : runner_.chunk().token_ids[position - prompt_tokens()];
}

TokenKind Sample::kind_at(int64_t position) const {
  if (position < prompt_tokens()) return TokenKind::kPrompt;
  return runner_.chunk().is_forced(position - prompt_tokens()) ? TokenKind::kForced : TokenKind::kSampled;
}

bool Sample::per_step_policy() const {
  const auto* policy = job_->request.policy.get();
  return policy != nullptr && (policy->needs().step_attention || policy->needs().attention_sums);
}

bool Sample::next_is_prefill() const { return cache->next_position() < prompt_tokens() || replaying(); }

int64_t Sample::next_rows(int64_t budget) const {
  const int64_t fed = cache->next_position();
  budget = std::max<int64_t>(1, budget);
  if (fed < prompt_tokens()) return std::min(prompt_tokens() - fed, budget);
  if (replaying()) {
    if (per_step_policy()) return 1;
    const int64_t end =
        replay_next_ < replay_.size() ? std::min(replay_until_, replay_[replay_next_].tokens) : replay_until_;
    return std::min(end - fed, budget);
  }
  if (kind_at(fed) == TokenKind::kSampled) return 1;
  int64_t rows = 1;
  while (rows < budget && fed + rows < context_tokens() && kind_at(fed + rows) == TokenKind::kForced) ++rows;
  return rows;
}

std::span<const EvictionRecord> Sample::replayed_after(int64_t rows) const {
  const int64_t fed = cache->next_position() + rows;
  size_t end = replay_next_;
  while (end < replay_.size() && replay_[end].tokens <= fed) ++end;
  return std::span(replay_).subspan(replay_next_, end - replay_next_);
}

RngKey Sample::eviction_key() const {
  return {job_->request.sampling.seed, static_cast<uint64_t>(index_), static_cast<uint64_t>(runner_.tokens()),
          RngPurpose::kEvict};
}

int64_t Sample::smaller_budget() const {
  return std::max(job_->request.policy->least_budget(), cache->cached_tokens() / 2);
}

int64_t Sample::pages_to_gain() const {
  if (state != State::kRunning || finished() || next_is_prefill()) return 0;
  const auto* policy = job_->request.policy.get();
  return policy != nullptr && policy->least_budget() > 0 ? cache->pages_to_gain(smaller_budget()) : 0;
}

void Sample::lower_budget() { cache->lower_budget(smaller_budget(), eviction_key()); }

bool Sample::settle() {
  const int64_t fed = cache->next_position();
  if (replay_next_ < replay_.size()) {
    while (replay_next_ < replay_.size() && replay_[replay_next_].tokens == fed) cache->replay(replay_[replay_next_++]);
  } else if (fed > replay_until_ && cache->due()) {
    cache->compress(eviction_key());
  }
  return fed == context_tokens();
}

void Sample::begin_chunk(const WeightVersion& weights) {
  weights_ = weights;
  runner_.set_weight_version(weights.version);
}

void Sample::drop() {
  // Dropped in the middle of a replay: the longer, older record still holds.
  if (!replaying()) {
    replay_ = cache->records();
    replay_stats_ = cache->stats();
    replay_until_ = cache->next_position();
  }
  replay_next_ = 0;
  cache.reset();
  state = State::kDropped;
}

// The one place that says who is never speculated on.
bool Sample::may_speculate() const { return !per_step_policy(); }

void Sample::make_drafts(const SpeculationOptions& options, int64_t most, double cost) {
  const int64_t fed = cache->next_position();
  if (!may_speculate() || next_is_prefill() || fed + 1 != context_tokens() || kind_at(fed) != TokenKind::kSampled)
    return;
  most = std::min({most, options.num_speculative_tokens, runner_.free_tokens() - 1});
  if (most > 0) most = cache->rows_to_event(most + 1) - 1;
  if (most <= 0) return;
  const Trace& trace = runner_.trace();
  if (!lookup_) {
    lookup_ =
        std::make_unique<Lookup>(Lookup{.index = LookupIndex(options.prompt_lookup_min, options.prompt_lookup_max,
                                                             static_cast<int64_t>(trace.query_ids.size()) +
                                                                 trace.tokens() + options.num_speculative_tokens)});
    for (const int32_t id : trace.query_ids) lookup_->odds.learn(lookup_->index.push(id));
  }
  Lookup& l = *lookup_;
  for (; l.chunk < trace.chunks.size(); ++l.chunk, l.in_chunk = 0) {
    const auto& ids = trace.chunks[l.chunk].token_ids;
    while (l.in_chunk < ids.size()) l.odds.learn(l.index.push(ids[l.in_chunk++]));
    if (l.chunk + 1 == trace.chunks.size()) break;
  }
  if (l.index.match_length() == 0) return;
  double chance = 1;
  while (static_cast<int64_t>(drafts_.size()) < most) {
    const auto k = static_cast<int64_t>(drafts_.size());
    const int32_t id = l.index.guess(k, drafts_);
    chance *= l.odds.chance(l.index.match_length() + k);
    if (options.adaptive && chance <= cost) return;
    const auto& ending = job_->ending_ids;
    if (std::find(ending.begin(), ending.end(), id) != ending.end()) return;  // nothing follows it
    drafts_.push_back(id);
  }
}

bool Sample::accept_draft() {
  if (accepted_ == drafts_.size() || finished() || !cache) return false;
  const int64_t next = cache->next_position();
  if (next == context_tokens() || kind_at(next) != TokenKind::kSampled || id_at(next) != drafts_[accepted_])
    return false;
  ++accepted_;
  cache->commit(std::array{TokenKind::kSampled});
  return settle();
}

int64_t Sample::end_drafts() {
  const auto accepted = static_cast<int64_t>(accepted_);
  draft_tokens += static_cast<int64_t>(drafts_.size());
  accepted_tokens += accepted;
  drafts_.clear();
  accepted_ = 0;
  if (cache) cache->release_uncommitted();
  return accepted;
}

void Sample::add_sampled(TokenDraw draw) {
  runner_.add_sampled(std::move(draw));
  take_new_ids();
  if (!finished() && runner_.chunk_index() != chunk_) {
    close_chunk(runner_.chunk_index());
    chunk_ = runner_.chunk_index();
    weights_ = {};
    state = State::kWaiting;
    enter(Phase::kQueue);
  }
}

// What the last call of the runner appended: the sampled id, forced ones, perhaps some in a new chunk too.
void Sample::take_new_ids() {
  const Trace& trace = runner_.trace();
  const bool ends_with_id = trace.finish == FinishDetail::kEos || trace.finish == FinishDetail::kStopToken;
  while (true) {
    const auto& ids = trace.chunks[seen_chunk_].token_ids;
    if (seen_in_chunk_ == ids.size()) {
      if (seen_chunk_ + 1 == trace.chunks.size()) return;
      ++seen_chunk_;
      seen_in_chunk_ = 0;
      continue;
    }
    const int32_t id = ids[seen_in_chunk_++];
    if (job_->request.sampling.has_penalties()) ++history_.output[id];
    ++history_.tokens;
    const bool is_ending_id = ends_with_id && history_.tokens == runner_.tokens();
    const int64_t index = history_.tokens - 1;
    const bool thought = trace.thinking_from >= 0 && index >= trace.thinking_from &&
                         (trace.thinking_to < 0 || index < trace.thinking_to);
    if (decoder_ && !is_ending_id && !stopped_) stream_text(id, thought);
    const bool answers = trace.answer_from >= 0 && index >= trace.answer_from;
    if (job_->request.grammar && answers && !is_ending_id) follow_grammar(id);
  }
}

void Sample::follow_grammar(int32_t id) {
  TokenGrammar& grammar = *job_->request.grammar;
  if (!grammar.accept(grammar_, id)) {
    error = "internal error: id " + std::to_string(id) + " does not follow the grammar";
    runner_.finish(FinishDetail::kInternal);
  } else if (grammar.must_end(grammar_)) {
    runner_.finish(FinishDetail::kGrammar);
  }
}

// A model that opens its thinking itself does so first of all.
bool Sample::may_open_thinking() const {
  if (!job_->tags || runner_.tokens() > 0) return false;
  const auto& query = job_->query_ids;  // templates that want no thinking write an empty one
  const size_t near = std::min<size_t>(query.size(), 8);
  return std::find(query.end() - static_cast<std::ptrdiff_t>(near), query.end(), job_->tags->close) == query.end();
}

bool Sample::restrict_ids(bool may_end, std::vector<uint64_t>& allowed) {
  if (!job_->request.grammar || runner_.thinking()) return false;
  const TokenGrammar::Next next = job_->request.grammar->next(grammar_);
  allowed = next.ids->bits;
  const auto set = [&](int32_t id, bool can) {
    const size_t word = static_cast<size_t>(id) / 64;
    const uint64_t bit = uint64_t{1} << (id % 64);
    if (can && word >= allowed.size()) allowed.resize(word + 1);
    if (word < allowed.size()) allowed[word] = can ? allowed[word] | bit : allowed[word] & ~bit;
  };
  for (const int32_t id : job_->ending_ids) set(id, may_end && next.may_end);
  if (may_open_thinking()) set(job_->tags->open, true);
  if (std::all_of(allowed.begin(), allowed.end(), [](uint64_t word) { return word == 0; })) allowed.clear();
  return true;
}

void Sample::stream_text(int32_t id, bool thinking) {
  if (thinking && !job_->request.stop_in_thinking) {
    if (std::string held = stops_->flush(); !held.empty()) {  // said before thinking; no match may go on from it
      new_text_ += held;
      stops_.emplace(job_->request.sampling.stop);
    }
    new_text_ += decoder_->push(id);
    return;
  }
  const auto match = stops_->push(decoder_->push(id));
  new_text_ += match.text;
  if (match.stopped) {
    stopped_ = true;
    runner_.finish(FinishDetail::kStopString);
  }
}

void Sample::close_chunk(int64_t closed) {
  if (cache && !replaying()) {
    kv_.push_back({cache->stats(), cache->records()});
  } else if (static_cast<int64_t>(kv_.size()) < static_cast<int64_t>(runner_.trace().chunks.size())) {
    // Ended before it ran (then all is empty), while dropped, or in the middle of a replay: what it was before holds.
    kv_.push_back({replay_stats_, std::move(replay_)});
  }
  kv_.resize(closed);  // those behind it took only forced ids and never ran
  cache.reset();
  replay_.clear();
  replay_stats_ = {};
  replay_next_ = 0;
  replay_until_ = 0;
}

void Sample::finish(FinishDetail detail) { runner_.finish(detail); }

std::string Sample::take_new_text() {
  text_ += new_text_;
  return std::exchange(new_text_, {});
}

SampleResult Sample::result() {
  if (decoder_ && !stopped_) {
    new_text_ += stops_->push(decoder_->flush()).text;
    new_text_ += stops_->flush();
  }
  take_new_text();
  close_chunk(static_cast<int64_t>(runner_.trace().chunks.size()));
  parked.reset();
  enter(phase_);
  SampleResult out;
  out.sample = index_;
  out.trace = runner_.take();
  out.kv = std::move(kv_);
  out.timing = timing_;
  if (decoder_) out.text = std::move(text_);
  if (stops_) out.stop_string = stops_->found();
  out.error = error;
  out.preemptions = preemptions;
  out.draft_tokens = draft_tokens;
  out.accepted_tokens = accepted_tokens;
  out.prefix_hit_tokens = prefix_hit_tokens;
  out.prompt_draws = std::move(prompt_draws);
  return out;
}

void Sample::enter(Phase phase) {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - since_).count();
  (phase_ == Phase::kQueue     ? timing_.queue_s
   : phase_ == Phase::kPrefill ? timing_.prefill_s
                               : timing_.decode_s) += seconds;
  since_ = now;
  phase_ = phase;
}

void Sample::mark_admitted() {
  const bool mid_chunk = state == State::kParked || (state == State::kDropped && replay_until_ > prompt_tokens());
  state = State::kRunning;
  enter(mid_chunk ? Phase::kDecode : Phase::kPrefill);
}

void Sample::mark_sampled() {
  if (phase_ == Phase::kPrefill) enter(Phase::kDecode);
}

}  // namespace throughline
