#include "cache/policy.h"

#include <algorithm>

#include "cache/policies/h2o.h"
#include "cache/policies/random.h"
#include "cache/policies/recency.h"
#include "cache/policies/rkv.h"
#include "cache/policies/rpc.h"
#include "cache/policies/snapkv.h"
#include "cache/policies/streaming.h"
#include "cache/policies/tova.h"

namespace throughline {

int64_t EvictionPolicy::protected_tokens(int64_t prompt_tokens) const {
  const std::string& protect = spec_.text("protect");
  if (protect == "none") return 0;
  if (protect == "prompt") return prompt_tokens;
  return std::stoll(protect.substr(std::string("first:").size()));
}

int64_t EvictionPolicy::candidates(const EventClock& clock) const {
  return std::max<int64_t>(0, clock.cached - clock.protected_tokens - window());
}

bool EvictionPolicy::event_due(const EventClock& clock) const { return candidates(clock) > 0 && due(clock); }

int64_t EvictionPolicy::kept_tokens(const EventClock& clock) const {
  const int64_t all = candidates(clock);
  return clock.cached - all + survivors(clock, all);
}

int64_t EvictionPolicy::survivors_within(int64_t budget, const EventClock& clock, int64_t candidates) const {
  return std::clamp<int64_t>(lower_of(budget, clock) - clock.protected_tokens - window(), 0, candidates);
}

int64_t EvictionPolicy::least_tokens(int64_t prompt_tokens) const {
  const int64_t always = std::min(protected_tokens(prompt_tokens), prompt_tokens) + window();
  return std::max({prompt_tokens, always, least_budget()}) + 1;
}

int64_t EvictionPolicy::peak_tokens(int64_t prompt_tokens, int64_t decoded) const {
  const int64_t limit = protected_tokens(prompt_tokens);
  EventClock clock;
  clock.cached = prompt_tokens;
  int64_t peak = prompt_tokens;
  for (clock.decoded = 1; clock.decoded <= decoded; ++clock.decoded) {
    ++clock.cached;
    clock.protected_tokens = std::min(limit, clock.cached);
    peak = std::max(peak, clock.cached);
    if (!event_due(clock)) continue;
    clock.cached = kept_tokens(clock);
    ++clock.events;
  }
  return peak;
}

namespace {

// The one table of policies: to add one, write its file pair and a line here (docs/adding-a-policy.md).
struct Entry {
  SpecInfo info;
  PolicyFactory make;  // null for `full`
};

const std::vector<Entry>& table() {
  static const std::vector<Entry> entries = {
      {{"full", "keeps everything", {}}, nullptr},
      {rpc_info(), make_rpc},
      {random_info(), make_random},
      {recency_info(), make_recency},
      {snapkv_info(), make_snapkv},
      {rkv_info(), make_rkv},
      {h2o_info(), make_h2o},
      {tova_info(), make_tova},
      {streaming_info(), make_streaming},
  };
  return entries;
}

}  // namespace

std::span<const SpecInfo> policy_infos() {
  static const std::vector<SpecInfo> infos = [] {
    std::vector<SpecInfo> out;
    for (const Entry& entry : table()) out.push_back(entry.info);
    return out;
  }();
  return infos;
}

Result<std::unique_ptr<const EvictionPolicy>> make_policy(const Spec& spec, const std::string& where) {
  for (const Entry& entry : table()) {
    if (entry.info.method != spec.method) continue;
    if (entry.make == nullptr) return std::unique_ptr<const EvictionPolicy>();
    if (spec.has("min_budget") && spec.has("budget") && spec.integer("min_budget") > spec.integer("budget"))
      return Error{"is over the budget of " + spec.text("budget"), where + ": min_budget", "use at most that"};
    return entry.make(spec, where);
  }
  return Error{"unknown policy \"" + spec.method + "\"", where, "use one of policy_infos()"};
}

}  // namespace throughline
