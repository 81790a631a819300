// Eviction policies: what a policy is to the cache. The exact rules are docs/policies.md (from shared/POLICIES.md).
//
// A policy is data plus small pure functions. It says what it needs to see, when an event is due, how many candidates
// survive it, and scores them; the cache does the rest (protection, window, top-k with ties to the larger position,
// compaction, bookkeeping). *Candidates* are the cached tokens that are neither protected nor in the window: in
// position order the cached columns [first_candidate, first_candidate + candidates).
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "base/spec.h"

namespace throughline {

enum class KeptScope { kLayer, kHead };  // one kept set a layer, or one a KV head

struct PolicyNeeds {
  int64_t query_window = 0;     // ring of the last so many decode queries (after RoPE), per layer
  bool step_attention = false;  // attention of the current decode query over the cache
  bool attention_sums = false;  // attention received so far by each token, prefill included; carried with it
  bool unrotated_keys = false;  // keys stored unrotated and rotated by place at each read (streaming rotate=cache)

  // Whether a sequence may start from prompt pages that another one filled: not if it needs the prefill's attention,
  // nor if its pages hold something else.
  bool takes_prefix_hits() const { return !attention_sums && !unrotated_keys; }
};

// Where a sequence stands when a policy is asked.
struct EventClock {
  int64_t decoded = 0;           // sampled tokens fed in this chunk
  int64_t cached = 0;            // cached tokens per layer and head, the current one included
  int64_t protected_tokens = 0;  // cached tokens that can never go
  int64_t events = 0;            // the policy's own events so far in this chunk
  int64_t budget_limit = std::numeric_limits<int64_t>::max();  // in force after an event under memory pressure
};

// One layer at an event, on the CPU. Columns are cached tokens in position order (per KV head where the sets differ).
struct ScoreInputs {
  int64_t layer = 0;
  int64_t q_heads = 0, kv_heads = 0;
  double scale = 1;  // of the attention scores
  int64_t first_candidate = 0, candidates = 0;
  at::Tensor positions;   // int64 [kv_heads or 1, cached], ascending
  at::Tensor keys;        // fp32 or bf16 [kv_heads, cached, head_dim]; undefined unless needs().query_window > 0
  at::Tensor key_scales;  // fp32 [kv_heads, cached], of int8 pages only: a key is its row of `keys` times its scale
  at::Tensor queries;     // fp32 [rows, q_heads, head_dim], oldest first: what the ring holds
  std::vector<int64_t> query_steps;  // the `decoded` of each row of `queries`
  at::Tensor attention;              // fp32: step_attention: [q_heads, cached]; attention_sums: [kv_heads, cached]
  EventClock clock;
  int64_t previous_event_decoded = 0;  // 0 before the first
  RngKey random;                       // for random draws, with (clock.events, layer, head, position)
};

class EvictionPolicy {
 public:
  explicit EvictionPolicy(Spec spec) : spec_(std::move(spec)) {}
  virtual ~EvictionPolicy() = default;
  const Spec& spec() const { return spec_; }

  virtual PolicyNeeds needs() const { return {}; }
  virtual KeptScope scope() const = 0;
  virtual int64_t window() const { return 0; }          // last cached tokens, always kept
  virtual bool due(const EventClock& clock) const = 0;  // asked after each decode step of a sampled token
  // How many of the candidates stay, 0 .. candidates.
  virtual int64_t survivors(const EventClock& clock, int64_t candidates) const = 0;
  // fp32 [kv_heads (kHead) or 1 (kLayer), candidates]; the highest stay, of equal ones the larger position.
  virtual at::Tensor scores(const ScoreInputs& in) const = 0;
  // Positions 0 .. n-1 that never go, for a prompt of so many tokens (`protect`, and streaming's sinks).
  virtual int64_t protected_tokens(int64_t prompt_tokens) const;

  int64_t candidates(const EventClock& clock) const;
  bool event_due(const EventClock& clock) const;       // due, with at least one candidate: what is recorded as an event
  int64_t kept_tokens(const EventClock& clock) const;  // cached tokens after an event at `clock`
  // `min_budget`: what the engine may lower the budget to under memory pressure; 0: not at all.
  int64_t least_budget() const { return spec_.has("min_budget") ? spec_.integer("min_budget") : 0; }
  // Cached tokens that such a sequence can always be brought down to, one more for the next token included.
  int64_t least_tokens(int64_t prompt_tokens) const;
  // `survivors` under a budget that counts protected and window: max(0, budget - protected - window).
  int64_t survivors_within(int64_t budget, const EventClock& clock, int64_t candidates) const;
  // The most tokens ever cached while `decoded` tokens are sampled after the prompt; for admission.
  int64_t peak_tokens(int64_t prompt_tokens, int64_t decoded) const;

 protected:
  static int64_t lower_of(int64_t budget, const EventClock& clock) { return std::min(budget, clock.budget_limit); }

 private:
  Spec spec_;
};

using PolicyFactory = Result<std::unique_ptr<const EvictionPolicy>> (*)(const Spec&, const std::string& where);

// All known policies, in the order of the docs.
std::span<const SpecInfo> policy_infos();
// nullptr for `full`: nothing ever goes.
Result<std::unique_ptr<const EvictionPolicy>> make_policy(const Spec& spec, const std::string& where);

}  // namespace throughline
