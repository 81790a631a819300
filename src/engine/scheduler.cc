#include "engine/scheduler.h"

#include <algorithm>

namespace throughline {
namespace {

bool runs(const Sample& sample) { return sample.state == Sample::State::kRunning && !sample.finished(); }

}  // namespace

std::vector<std::unique_ptr<Sample>> Scheduler::take_finished() {
  std::vector<std::unique_ptr<Sample>> done;
  const auto first =
      std::stable_partition(samples_.begin(), samples_.end(), [](const auto& sample) { return !sample->finished(); });
  std::move(first, samples_.end(), std::back_inserter(done));
  samples_.erase(first, samples_.end());
  return done;
}

int64_t Scheduler::parked_bytes() const {
  int64_t bytes = 0;
  for (const auto& sample : samples_) {
    if (sample->parked) bytes += SequenceCache::parked_bytes(*sample->parked);
  }
  return bytes;
}

void Scheduler::fail_for_memory(Sample& sample, int64_t pages) {
  const int64_t page = pool_->shape().page_tokens;
  sample.error = "KV memory holds " + std::to_string(pool_->pages() * page) + " tokens; this request needs " +
                 std::to_string((pool_->used_pages() + pages) * page) +
                 " or more; raise --kv-memory or bound the cache with a --kv policy and a budget";
  sample.finish(FinishDetail::kKvMemory);  // its pages go back when its result is made, in this step
}

// Pages free up from: unused prefix pages, then samples younger than `keep`.
bool Scheduler::make_room(int64_t pages, const Sample* keep) {
  if (pool_->free_pages() >= pages) return true;
  prefixes_->shrink(pages);
  while (pool_->free_pages() < pages) {
    if (!preempt_youngest(keep)) return false;
    prefixes_->shrink(pages);
  }
  return true;
}

bool Scheduler::find_room(Sample& sample, int64_t rows) {
  if (make_room(sample.pages_needed(rows), &sample)) return true;
  // Everybody younger has given way already. If someone older runs, this one gives way too.
  const auto other_runs = [&](const auto& other) { return other.get() != &sample && runs(*other); };
  if (std::any_of(samples_.begin(), samples_.end(), other_runs)) {
    give_way(sample);
    return false;
  }
  // Alone, it may still fit without the copies that an event makes of pages it shares with the prefix cache.
  prefixes_->clear();
  const int64_t pages = sample.pages_needed(rows);
  if (pool_->free_pages() < pages) fail_for_memory(sample, pages);
  return !sample.finished();
}

// The first stage of memory pressure: what running samples allow to be evicted, before anybody gives way or waits on.
void Scheduler::lower_budgets(const std::vector<Slice>& next) {
  while (true) {
    int64_t pages = pages_waited_for_ <= pool_->pages() ? pages_waited_for_ : 0;
    for (const auto& [sample, rows] : next) pages += sample->pages_needed(rows);
    if (pool_->free_pages() < pages) prefixes_->shrink(pages);
    if (pool_->free_pages() >= pages) return;
    Sample* best = nullptr;
    int64_t most = 0;
    for (const auto& sample : samples_) {
      const int64_t gain = sample->pages_to_gain();
      if (gain <= most) continue;
      most = gain;
      best = sample.get();
    }
    if (best == nullptr) return;
    best->lower_budget();
    ++lowered;
  }
}

void Scheduler::give_way(Sample& sample) {
  ++sample.preemptions;
  sample.forget_lookups();
  const int64_t bytes = static_cast<int64_t>(sample.cache->pages().size()) * pool_->shape().bytes_per_page();
  if (!sample.replaying() && parked_bytes() + bytes <= options_.park_memory_bytes) {
    sample.parked = sample.cache->park();
    sample.state = Sample::State::kParked;
    ++parked;
  } else {
    sample.drop();
    ++replayed;
  }
}

bool Scheduler::preempt_youngest(const Sample* older_than) {
  for (auto it = samples_.rbegin(); it != samples_.rend() && it->get() != older_than; ++it) {
    if (!runs(**it)) continue;
    give_way(**it);
    return true;
  }
  return false;
}

bool Scheduler::admit_one(Sample& sample, int64_t promised) {
  const auto fits = [&](int64_t pages) {
    pages_waited_for_ = pages;
    if (pool_->free_pages() < pages) prefixes_->shrink(pages);
    if (pool_->free_pages() >= pages) pages_waited_for_ = 0;
    return pages_waited_for_ == 0;
  };
  if (sample.state == Sample::State::kParked) {
    // One page more than it had, so that its next token does not preempt it at once.
    if (!fits(std::min(promised + sample.cache->pages_to_unpark(*sample.parked) + 1, pool_->pages()))) return false;
    sample.cache->unpark(*sample.parked);
    sample.parked.reset();
    sample.mark_admitted();
    return true;
  }
  const auto& request = sample.job().request;
  const Decoder& decoder = *weights_.decoder;
  auto cache = std::make_unique<SequenceCache>(pool_, request.policy.get(), decoder.config().q_heads,
                                               decoder.attention_scale(), sample.prompt_tokens());
  std::vector<int32_t> shared;
  const bool begins = sample.weights().decoder == nullptr;
  if (options_.prefix_cache && cache->takes_prefix_hits() && !sample.wants_prompt_logprobs() &&
      (begins || is_newest(sample)))
    shared = prefixes_->find(sample.prompt(), sample.prompt_tokens() - 1);
  const int64_t hit = static_cast<int64_t>(shared.size()) * pool_->shape().page_tokens;
  if (hit > 0) cache->adopt_prefix(shared, hit);
  const int64_t pages = cache->pages_needed(std::min(sample.prompt_tokens() - hit + 1, sample.context_tokens() - hit));
  if (!fits(promised + pages)) return false;
  prefix_hit_tokens += hit;
  if (sample.runner().chunk_index() == 0) sample.prefix_hit_tokens = hit;
  sample.cache = std::move(cache);
  if (begins) sample.begin_chunk(weights_);
  sample.mark_admitted();
  return true;
}

void Scheduler::admit() {
  pages_waited_for_ = 0;
  int64_t running = 0, promised = 0;  // pages that running samples still need for their prompts
  const auto count = [&](const Sample& sample) {
    ++running;
    promised += sample.pages_needed(std::max<int64_t>(1, sample.prompt_tokens() - sample.cache->next_position()));
  };
  for (const auto& sample : samples_) {
    if (runs(*sample)) count(*sample);
  }
  for (const auto& sample : samples_) {
    if (running >= options_.batch_max) return;
    if (sample->finished() || runs(*sample)) continue;
    if (admit_one(*sample, promised)) {
      sample->ran_from = sample->runner().tokens();
      count(*sample);
    } else if (running > 0) {
      return;  // wait until somebody gives pages back
    } else {
      fail_for_memory(*sample, (sample->prompt_tokens() + pool_->shape().page_tokens) / pool_->shape().page_tokens);
    }
  }
}

void Scheduler::begin_turn(Sample& sample, double at) const {
  const int64_t left = std::max<int64_t>(1, sample.job().limits.max_tokens - sample.runner().tokens());
  sample.turn_from = sample.runner().tokens();
  sample.turn_ends = at + static_cast<double>(std::min(options_.turn_tokens, left)) / sample.job().request.weight;
}

void Scheduler::insert_in_order(std::unique_ptr<Sample> sample) {
  const auto later = [](double ends, const auto& other) { return ends < other->turn_ends; };
  samples_.insert(std::upper_bound(samples_.begin(), samples_.end(), sample->turn_ends, later), std::move(sample));
}

void Scheduler::add(std::unique_ptr<Sample> sample) {
  if (takes_turns()) begin_turn(*sample, virtual_time_);
  insert_in_order(std::move(sample));
}

void Scheduler::end_turns() {
  if (!takes_turns()) return;
  int64_t tokens = 0;
  double weights = 0;
  for (const auto& sample : samples_) {
    tokens += sample->runner().tokens();
    weights += sample->job().request.weight;
  }
  // Those that ended meanwhile are not counted: time stands still, to their successors' good, for a step.
  virtual_time_ += static_cast<double>(std::max<int64_t>(0, tokens - tokens_seen_)) / std::max(weights, 1e-9);
  tokens_seen_ = tokens;
  if (!someone_waits_) {
    const auto sooner = [](const auto& a, const auto& b) { return a->turn_ends < b->turn_ends; };
    for (const auto& sample : samples_) begin_turn(*sample, virtual_time_);
    if (!std::is_sorted(samples_.begin(), samples_.end(), sooner))
      std::stable_sort(samples_.begin(), samples_.end(), sooner);
    return;
  }
  std::vector<std::unique_ptr<Sample>> again;
  again.reserve(samples_.size());  // what throws must not leave holes
  for (auto& sample : samples_) {
    const int64_t turn = sample->runner().tokens() - sample->turn_from;
    if (turn < options_.turn_tokens) continue;
    begin_turn(*sample, sample->turn_ends);
    again.push_back(std::move(sample));
  }
  std::erase(samples_, nullptr);
  for (auto& sample : again) insert_in_order(std::move(sample));
}

// One a step, so that those who wait come in one after the other.
void Scheduler::change_places() {
  if (!takes_turns() || !someone_waits_) return;
  const int64_t page_bytes = pool_->shape().bytes_per_page();
  const auto waits = [](const auto& sample) { return !sample->finished() && !runs(*sample); };
  const auto first = std::find_if(samples_.begin(), samples_.end(), waits);
  for (auto it = samples_.rbegin(); first != samples_.end() && it->get() != first->get(); ++it) {
    Sample& sample = **it;
    if (!runs(sample) || sample.next_is_prefill()) continue;
    if (sample.runner().tokens() - sample.ran_from < std::max<int64_t>(1, options_.turn_tokens / 8)) continue;
    const int64_t bytes = static_cast<int64_t>(sample.cache->pages().size()) * page_bytes;
    if (parked_bytes() + bytes > options_.park_memory_bytes) continue;
    give_way(sample);
    --parked;  // not for memory
    ++turns;
    return;
  }
}

// Prefill rows of each sample (0 for those that decode): shares by weight; what short ones leave goes to the first.
std::vector<int64_t> Scheduler::prefill_shares() const {
  constexpr int64_t kLeastShare = 64;
  std::vector<int64_t> wants(samples_.size()), shares(samples_.size());
  int64_t left = options_.prefill_slice_tokens;
  double weights = 0;
  for (size_t i = 0; i < samples_.size(); ++i) {
    if (!runs(*samples_[i]) || !samples_[i]->next_is_prefill()) continue;
    wants[i] = samples_[i]->next_rows(options_.prefill_slice_tokens);
    weights += samples_[i]->job().request.weight;
  }
  if (weights <= 0) return shares;
  const double row_share = static_cast<double>(left) / weights;
  for (const bool fair : {true, false}) {
    for (size_t i = 0; i < samples_.size(); ++i) {
      const auto share = static_cast<int64_t>(row_share * samples_[i]->job().request.weight);
      const int64_t most = fair ? std::max(kLeastShare, share) : options_.prefill_slice_tokens;
      const int64_t more = std::min({wants[i] - shares[i], most, left});
      shares[i] += more;
      left -= more;
    }
  }
  return shares;
}

std::vector<Slice> Scheduler::plan() {
  end_turns();
  change_places();
  admit();
  someone_waits_ = std::any_of(samples_.begin(), samples_.end(),
                               [](const auto& sample) { return !sample->finished() && !runs(*sample); });
  std::vector<Slice> next, slices;
  const std::vector<int64_t> shares = prefill_shares();
  for (size_t i = 0; i < samples_.size(); ++i) {
    Sample& sample = *samples_[i];
    if (!runs(sample)) continue;
    const bool prefill = sample.next_is_prefill();
    if (prefill && shares[i] <= 0) continue;
    next.push_back({&sample, sample.next_rows(prefill ? shares[i] : options_.prefill_slice_tokens)});
  }
  lower_budgets(next);
  for (const auto& [sample, rows] : next) {
    if (!runs(*sample)) continue;  // gave way to an earlier one
    if (!find_room(*sample, rows)) continue;
    sample->reserve(rows);
    slices.push_back({sample, rows});
  }
  return slices;
}

void Scheduler::add_drafts(const std::vector<Slice>& slices, const RowCost& cost) const {
  const SpeculationOptions& options = options_.speculation;
  int64_t left = options.num_speculative_tokens > 0 ? kMostRows : 0;
  for (const Slice& slice : slices) left -= slice.rows;
  const double row_cost = cost.of(static_cast<int64_t>(slices.size()));
  for (const auto& [sample, rows] : slices) {
    if (left <= 0) return;
    sample->make_drafts(options, left, row_cost);
    const auto drafts = static_cast<int64_t>(sample->drafts().size());
    if (drafts == 0) continue;
    if (sample->pages_needed(rows + drafts) > pool_->free_pages()) {
      sample->void_drafts();
      continue;
    }
    sample->reserve(rows + drafts);
    left -= drafts;
  }
}

void Scheduler::use_weights(const WeightVersion& weights) {
  for (const auto& sample : samples_) {
    const WeightVersion& used = sample->weights();
    if (sample->finished() || used.decoder == nullptr) continue;
    TL_CHECK(used.decoder != weights.decoder || used.version == weights.version,
             "weights changed in place under a chunk that uses them");
  }
  weights_ = weights;
  prefixes_->clear();
}

void Scheduler::offer_prefix(const Sample& sample) {
  if (!options_.prefix_cache || !is_newest(sample) || !sample.cache->takes_prefix_hits() ||
      !sample.cache->pages_are_plain())
    return;
  prefixes_->insert(sample.prompt(), sample.cache->pages());
  const auto most = static_cast<int64_t>(options_.prefix_cache_share * static_cast<double>(pool_->pages()));
  const int64_t excess = prefixes_->reclaimable_pages() - most;
  if (excess > 0) prefixes_->shrink(pool_->free_pages() + excess);
}

}  // namespace throughline
