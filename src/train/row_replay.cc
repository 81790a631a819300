#include "train/row_replay.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/result.h"
#include "ops/paged_attention.h"

namespace throughline {
namespace {

constexpr int64_t kPageTokens = 64;  // results do not depend on it

// Keeps sets of the right scope and decides nothing: events come from records.
class RecordedPolicy final : public EvictionPolicy {
 public:
  explicit RecordedPolicy(KeptScope scope) : EvictionPolicy(Spec()), scope_(scope) {}
  KeptScope scope() const override { return scope_; }
  bool due(const EventClock&) const override { return false; }
  int64_t survivors(const EventClock&, int64_t candidates) const override { return candidates; }
  at::Tensor scores(const ScoreInputs&) const override {
    TL_CHECK(false, "a replay has no scores");
    return {};
  }
  int64_t protected_tokens(int64_t) const override { return 0; }

 private:
  KeptScope scope_;
};

EvictionRecord of_layer(const EvictionRecord& record, int64_t layer, int64_t layers) {
  EvictionRecord out{.decoded = record.decoded, .tokens = record.tokens, .kept = record.kept, .gone = record.gone};
  const auto per_layer = static_cast<int64_t>(record.evicted.size()) / layers;
  out.evicted.assign(record.evicted.begin() + layer * per_layer, record.evicted.begin() + (layer + 1) * per_layer);
  return out;
}

}  // namespace

int64_t sets_of_record(const EvictionRecord& record, int64_t layers, int64_t kv_heads) {
  const auto total = static_cast<int64_t>(record.evicted.size());
  const int64_t sets = total / (layers * record.gone);
  TL_CHECK(sets * layers * record.gone == total && (sets == 1 || sets == kv_heads),
           "an eviction record does not fit the model's layers and heads");
  return sets;
}

RowReplay::RowReplay(int64_t layers, int64_t q_heads, int64_t kv_heads, int64_t head_dim, at::ScalarType dtype,
                     int64_t tokens, double scale)
    : layers_(layers), q_heads_(q_heads), scale_(scale) {
  const KvShape shape{
      .layers = 1, .kv_heads = kv_heads, .head_dim = head_dim, .page_tokens = kPageTokens, .dtype = dtype};
  auto pool = PagePool::create(shape, (tokens + kPageTokens - 1) / kPageTokens + 1);
  TL_CHECK(pool.ok(), pool.error().line());
  pool_ = std::move(pool).value();
}

void RowReplay::attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const std::vector<EvictionRecord>* evictions, const at::Tensor& out, const at::Tensor& lse) {
  const int64_t tokens = q.size(0), kv_heads = k.size(1);
  std::vector<const EvictionRecord*> events;
  KeptScope scope = KeptScope::kLayer;
  for (size_t i = 0; evictions != nullptr && i < evictions->size(); ++i) {
    const EvictionRecord& record = (*evictions)[i];
    if (record.gone == 0 || record.tokens >= tokens) continue;  // moves nothing, or nobody comes after it
    if (sets_of_record(record, layers_, kv_heads) > 1) scope = KeptScope::kHead;
    events.push_back(&record);
  }
  const RecordedPolicy policy(scope);
  SequenceCache cache(pool_.get(), events.empty() ? nullptr : &policy, q_heads_, scale_, 0);
  size_t event = 0;
  for (int64_t from = 0; from < tokens;) {
    const int64_t end = event < events.size() ? events[event]->tokens : tokens;
    const int64_t rows = end - from;
    TL_CHECK(rows > 0, "eviction records are not in order");
    cache.reserve(rows);
    ops::PagedBatch batch;
    batch.row_begin = {0, static_cast<int32_t>(rows)};
    batch.page_table = cache.pages();
    batch.max_pages = static_cast<int32_t>(cache.pages().size());
    batch.lengths.assign(kv_heads, static_cast<int32_t>(cache.cached_tokens() + rows));
    const ops::PagedKv& kv = pool_->layer(0);
    ops::paged_append(k.narrow(0, from, rows), v.narrow(0, from, rows), batch, kv);
    ops::AttentionProbe probe;
    if (lse.defined()) probe.lse = lse.narrow(0, from, rows);
    out.narrow(0, from, rows).copy_(ops::paged_attention(q.narrow(0, from, rows), kv, batch, scale_, &probe));
    // The cache checks `decoded` at the event; which of the segment's tokens were sampled does not matter to it.
    const int64_t sampled = event < events.size() ? events[event]->decoded - cache.decoded() : 0;
    TL_CHECK(sampled >= 0 && sampled <= rows, "an eviction record does not fit its row");
    std::vector<TokenKind> kinds(rows, TokenKind::kPrompt);
    std::fill(kinds.end() - sampled, kinds.end(), TokenKind::kSampled);
    cache.commit(kinds);
    if (event < events.size()) cache.replay(of_layer(*events[event++], layer, layers_));
    from = end;
  }
}

}  // namespace throughline
