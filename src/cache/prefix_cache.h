// Prompt pages that several sequences share: whole pages of never-compressed prefill, found again by their token ids.
//
// Keyed by the chain of ids of all pages up to this one (weight version and KV dtype are fixed per pool; a weight
// update calls clear()). The cache holds one reference to each of its pages; pages that nobody else holds are given up,
// least recently found or inserted first and ends before beginnings, when the pool needs room. What may enter and who
// takes no hits: DESIGN 4.1. Not thread-safe. Must not outlive its pool.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/page_pool.h"

namespace throughline {

class PrefixCache {
 public:
  explicit PrefixCache(PagePool* pool);
  ~PrefixCache();  // releases its pages
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The longest run of whole pages that hold exactly the first ids. At most `limit_tokens` (a prompt's last token must
  // be computed to get its logits, so callers pass prompt - 1). The pages are not yet retained for the caller.
  std::vector<int32_t> find(std::span<const int32_t> ids, int64_t limit_tokens);
  // Offers the first pages of a sequence, which hold `ids` (whole pages only are taken).
  void insert(std::span<const int32_t> ids, std::span<const int32_t> pages);
  // Gives up pages that only this cache holds until `pages` are free in the pool, or none is left. Returns how many
  // were freed.
  int64_t shrink(int64_t pages);
  int64_t reclaimable_pages() const;  // held by this cache alone
  void clear();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace throughline
