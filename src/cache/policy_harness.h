// For tests only: drives a SequenceCache with made-up projections, and beside it a slow, obvious model of the same
// rules that keeps every query, key and value ever seen and computes in double loops from shared/POLICIES.md.
//
// Nothing here uses the code under test but its public interface: own rotation, attention, sums, sets and choice.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "cache/page_pool.h"
#include "cache/sequence_cache.h"
#include "cache/step_attention.h"

namespace throughline::harness {

using Vector = std::vector<double>;

struct Shape {
  int64_t layers = 2, kv_heads = 2, group = 2, head_dim = 8, page_tokens = 8;
  int64_t prompt = 11;
  uint64_t seed = 1;
  at::ScalarType dtype = at::kFloat;  // of the pool; kChar is fed fp32
  int64_t pool_pages = 400;
  int64_t q_heads() const { return kv_heads * group; }
  double scale() const { return 1 / std::sqrt(static_cast<double>(head_dim)); }
};

// Element of the unrotated projection `what` ('q', 'k', 'v') of the token at `position`: a pure function, so a token
// fed again is the same. Neighbouring keys resemble each other a little, as real ones do.
double projection(const Shape& shape, char what, int64_t layer, int64_t position, int64_t head, int64_t d);
at::Tensor projections(const Shape& shape, char what, int64_t layer, int64_t first, int64_t rows);
ops::RopeFrequencies frequencies(int64_t head_dim);

// ---- the code under test ----

struct Subject {
  Shape shape;
  PagePool* pool;
  const EvictionPolicy* policy;
  SequenceCache cache;
  RngKey random{77, 3, 0, RngPurpose::kEvict};

  Subject(const Shape& s, PagePool* p, const EvictionPolicy* e)
      : shape(s), pool(p), policy(e), cache(p, e, s.q_heads(), s.scale(), s.prompt) {}

  // Feeds the next rows; returns the outputs, [layers] of [rows, q_heads, head_dim]. No event.
  std::vector<at::Tensor> feed(const std::vector<TokenKind>& kinds, std::span<const EvictionRecord> replayed = {});
  bool event_if_due();
  void prefill(int64_t slice = 1 << 20);
};

std::unique_ptr<PagePool> make_pool(const Shape& shape);
std::unique_ptr<const EvictionPolicy> policy_of(const std::string& spec);

// ---- the slow model ----

class SlowModel;

// What a score sees: one layer, and one KV head (or -1 for the set of the whole layer).
struct View {
  const SlowModel* model;
  int64_t layer, head;
  std::vector<int> cached;      // positions, ascending
  std::vector<int> candidates;  // those that are neither protected nor in the window
  int64_t decoded, events, previous_event;
};

struct Rule {
  bool per_head = false;
  int64_t window = 0;
  std::function<bool(int64_t decoded, int64_t cached)> due;
  // (n-th event, protected, candidates) -> how many candidates stay
  std::function<int64_t(int64_t n, int64_t protected_tokens, int64_t candidates)> survivors;
  std::function<Vector(const View&)> score;
  int64_t sinks = 0;
  bool by_rank = false;  // streaming rotate=cache
};

class SlowModel {
 public:
  struct Event {
    int64_t decoded;
    std::vector<std::vector<int>> kept;  // [layer * sets]
  };

  SlowModel(const Shape& shape, Rule rule, const std::string& protect);

  // The projection turned by the angle of `angle_position`.
  Vector rotated(char what, int64_t layer, int64_t position, int64_t head, int64_t angle_position) const;
  const Vector& query(int64_t layer, int64_t position, int64_t head) const { return memo('q', layer, position, head); }
  const Vector& key(int64_t layer, int64_t position, int64_t head) const { return memo('k', layer, position, head); }
  double logit(int64_t layer, int64_t query_position, int64_t q_head, int64_t key_position) const;  // scaled
  // Position of the query of decode step `step` (1-based).
  int64_t step_position(int64_t step) const { return decode_positions[step - 1]; }

  // Feeds one token; outputs [layer][q_head * head_dim].
  std::vector<Vector> feed(TokenKind kind);
  static void softmax(Vector* w);

  Shape shape;
  Rule rule;
  int64_t protected_limit = 0, tokens = 0, peak = 0, attended = 0, previous_event = 0;
  std::vector<std::vector<int>> sets;       // [layer * kv_heads] ascending positions
  std::vector<std::map<int, double>> sums;  // attention received, by position
  std::vector<int64_t> decode_positions;
  std::vector<Event> events;
  std::map<std::pair<int64_t, int64_t>, Vector> weights;  // (layer, q head) -> of the newest query over its set

 private:
  void attend(int64_t layer, int64_t position, int64_t q_head, Vector* out);
  void maybe_event();
  const Vector& memo(char what, int64_t layer, int64_t position, int64_t head) const;

  mutable std::vector<std::vector<Vector>> memo_;  // [layer][q, k, v][head][position]
};

// Slow pools over a vector, real elements only (or zeros outside, counted).
Vector slow_average_pool(const Vector& x, int64_t kernel, bool count_outside = false);
Vector slow_max_pool(const Vector& x, int64_t kernel);

// Budget rule of the page: max(0, budget - protected - window).
std::function<int64_t(int64_t, int64_t, int64_t)> within(int64_t budget, int64_t window);

// Runs `steps` sampled tokens (some forced between them) through both and compares outputs, events and kept sets.
// Returns the number of events.
int64_t compare(const Shape& shape, const std::string& spec, const Rule& rule, const std::string& protect,
                int64_t steps, int64_t forced_every = 0);

// The shapes every policy is tried on: groups 1, 2 and 4, several head sizes, a one-token prompt.
std::vector<Shape> shapes();
std::vector<std::string> protect_modes();

// Every policy with small options; budgets that tests of a few dozen tokens reach.
std::vector<std::string> small_policies();

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b);  // to the bit
std::vector<std::byte> bytes_of(const PagePool& pool, int32_t page);
// fp32 [kv_heads, cached, head_dim] of K or V, in slot order.
at::Tensor used_slots(const Subject& s, int64_t layer, ops::KvSide side);
// The used slots of two caches hold the same bits for the same positions in the same slots.
void expect_same_cache(const Subject& a, const Subject& b);

}  // namespace throughline::harness
