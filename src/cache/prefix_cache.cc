#include "cache/prefix_cache.h"

#include <algorithm>
#include <map>
#include <queue>

namespace throughline {
namespace {

// One page: the ids it holds, below the node of the pages before it.
struct Node {
  Node* parent = nullptr;
  const std::vector<int32_t>* ids = nullptr;  // the key in the parent's map
  int32_t page = -1;
  int64_t used_at = 0;  // by the cache's clock
  std::map<std::vector<int32_t>, std::unique_ptr<Node>> children;
};

struct UsedLater {
  bool operator()(const Node* a, const Node* b) const { return a->used_at > b->used_at; }
};

}  // namespace

// A tree of pages: the path from the root spells the ids. Exact ids, no hashes, so no false hits.
struct PrefixCache::State {
  PagePool* pool = nullptr;
  Node root;
  int64_t clock = 0;

  int64_t page_tokens() const { return pool->shape().page_tokens; }
  bool can_go(const Node& node) const {
    return &node != &root && node.children.empty() && pool->owners(node.page) == 1;
  }

  void release_below(Node& node) {
    for (auto& [ids, child] : node.children) {
      release_below(*child);
      pool->release(child->page);
    }
    node.children.clear();
  }

  void collect(Node& node, std::vector<Node*>& out) const {
    if (can_go(node)) out.push_back(&node);
    for (auto& [ids, child] : node.children) collect(*child, out);
  }

  // Pages that shrink() could free: held by the cache alone, and so is everything below them.
  int64_t reclaimable_below(const Node& node, bool* all) const {
    int64_t count = 0;
    *all = true;
    for (const auto& [ids, child] : node.children) {
      bool below = false;
      count += reclaimable_below(*child, &below);
      const bool free = below && pool->owners(child->page) == 1;
      count += free ? 1 : 0;
      *all = *all && free;
    }
    return count;
  }
};

PrefixCache::PrefixCache(PagePool* pool) : state_(std::make_unique<State>()) { state_->pool = pool; }
PrefixCache::~PrefixCache() { clear(); }

std::vector<int32_t> PrefixCache::find(std::span<const int32_t> ids, int64_t limit_tokens) {
  const int64_t page_tokens = state_->page_tokens();
  const int64_t usable = std::min<int64_t>(limit_tokens, static_cast<int64_t>(ids.size())) / page_tokens;
  ++state_->clock;
  std::vector<int32_t> pages;
  Node* node = &state_->root;
  for (int64_t i = 0; i < usable; ++i) {
    const auto begin = ids.begin() + i * page_tokens;
    const auto child = node->children.find(std::vector<int32_t>(begin, begin + page_tokens));
    if (child == node->children.end()) break;
    node = child->second.get();
    node->used_at = state_->clock;
    pages.push_back(node->page);
  }
  return pages;
}

void PrefixCache::insert(std::span<const int32_t> ids, std::span<const int32_t> pages) {
  const int64_t page_tokens = state_->page_tokens();
  const int64_t whole = std::min(static_cast<int64_t>(ids.size()) / page_tokens, static_cast<int64_t>(pages.size()));
  ++state_->clock;
  Node* node = &state_->root;
  for (int64_t i = 0; i < whole; ++i) {
    const auto begin = ids.begin() + i * page_tokens;
    const auto [entry, is_new] = node->children.try_emplace(std::vector<int32_t>(begin, begin + page_tokens));
    std::unique_ptr<Node>& child = entry->second;
    if (is_new) {  // else the page that is there already stays: it holds the same
      child = std::make_unique<Node>();
      child->parent = node;
      child->ids = &entry->first;
      child->page = pages[i];
      state_->pool->retain(pages[i]);
    }
    child->used_at = state_->clock;
    node = child.get();
  }
}

int64_t PrefixCache::shrink(int64_t pages) {
  if (state_->pool->free_pages() >= pages) return 0;
  std::vector<Node*> leaves;
  state_->collect(state_->root, leaves);
  std::priority_queue<Node*, std::vector<Node*>, UsedLater> oldest(UsedLater{}, std::move(leaves));
  int64_t freed = 0;
  while (state_->pool->free_pages() < pages && !oldest.empty()) {
    Node* leaf = oldest.top();
    oldest.pop();
    Node* parent = leaf->parent;
    state_->pool->release(leaf->page);
    ++freed;
    parent->children.erase(*leaf->ids);
    if (state_->can_go(*parent)) oldest.push(parent);
  }
  return freed;
}

int64_t PrefixCache::reclaimable_pages() const {
  bool all = false;
  return state_->reclaimable_below(state_->root, &all);
}

void PrefixCache::clear() { state_->release_below(state_->root); }

}  // namespace throughline
