#include "text/bpe.h"

#include <algorithm>
#include <cstdio>

#include "text/utf8.h"

namespace throughline {
namespace {

constexpr size_t kSingles = 0x250;  // Latin, and all characters of the byte-level alphabet

uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

uint64_t mix(uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// std::*_heap keeps the greatest on top: "later" means a higher rank, then a place further right.
bool later(const Bpe::Scratch::Candidate& a, const Bpe::Scratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

Result<Bpe> Bpe::build(Vocabulary vocabulary, const MergeList& merges, BpeOptions options, const std::string& where) {
  Bpe out(std::move(vocabulary), std::move(options));
  if (out.options_.unk_token) {
    out.unk_id_ = out.vocabulary_.id(*out.options_.unk_token);
    if (!out.unk_id_)
      return Error{"\"" + *out.options_.unk_token + "\" is not in the vocabulary", where + ".unk_token", ""};
  }
  TL_TRY_STATUS(out.add_merges(merges, where));
  out.find_single_pieces();
  return out;
}

Status Bpe::add_merges(const MergeList& merges, const std::string& where) {
  size_t capacity = 16;
  while (capacity < 2 * merges.size()) capacity *= 2;
  table_.assign(capacity, {});
  const std::string& prefix = options_.continuing_subword_prefix;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto unknown = [&](const std::string& piece) {
      return Error{"\"" + piece + "\" is not in the vocabulary", where + ".merges[" + std::to_string(rank) + "]", ""};
    };
    const auto left_id = vocabulary_.id(left);
    if (!left_id) return unknown(left);
    const auto right_id = vocabulary_.id(right);
    if (!right_id) return unknown(right);
    const std::string whole = left + right.substr(std::min(prefix.size(), right.size()));
    const auto whole_id = vocabulary_.id(whole);
    if (!whole_id) return unknown(whole);
    const uint64_t key = pair_key(*left_id, *right_id);
    size_t slot = mix(key) & (capacity - 1);
    while (table_[slot].rank >= 0 && table_[slot].pair != key) slot = (slot + 1) & (capacity - 1);
    table_[slot] = {key, static_cast<int32_t>(rank), *whole_id};  // given twice: the later one counts, as in tokenizers
  }
  return {};
}

void Bpe::find_single_pieces() {
  single_.assign(kSingles, -1);
  for (size_t code = 0; code < kSingles; ++code) {
    std::string character;
    append_utf8(character, static_cast<char32_t>(code));
    single_[code] = vocabulary_.id(character).value_or(-1);
  }
  if (!options_.byte_fallback) return;
  byte_pieces_.assign(256, -1);
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    byte_pieces_[byte] = vocabulary_.id(name).value_or(-1);
  }
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  size_t slot = mix(key) & (table_.size() - 1);
  while (table_[slot].rank >= 0) {
    if (table_[slot].pair == key) return &table_[slot];
    slot = (slot + 1) & (table_.size() - 1);
  }
  return nullptr;
}

void Bpe::add_unknown_character(std::string_view character, std::vector<Scratch::Symbol>& out,
                                bool& pending_unknown) const {
  if (options_.byte_fallback) {
    const bool all = std::all_of(character.begin(), character.end(),
                                 [&](char c) { return byte_pieces_[static_cast<unsigned char>(c)] >= 0; });
    if (all) {
      // A pending unknown stays pending, so it comes after these bytes: tokenizers does the same.
      for (const char c : character) out.push_back({byte_pieces_[static_cast<unsigned char>(c)], 0, 0, true});
      return;
    }
  }
  if (!unk_id_) return;
  if (pending_unknown && !options_.fuse_unk) out.push_back({*unk_id_, 0, 0, true});
  pending_unknown = true;
}

void Bpe::split_into_symbols(std::string_view word, std::vector<Scratch::Symbol>& out) const {
  out.clear();
  const std::string& prefix = options_.continuing_subword_prefix;
  const std::string& suffix = options_.end_of_word_suffix;
  bool pending_unknown = false;
  std::string decorated;
  for (size_t at = 0; at < word.size();) {
    const Utf8Step step = next_code_point(word, at);
    std::string_view character = word.substr(at, step.size);
    const bool with_prefix = at > 0 && !prefix.empty();
    at += step.size;
    const bool with_suffix = at == word.size() && !suffix.empty();
    int32_t id = -1;
    if (!with_prefix && !with_suffix && step.code < kSingles) {
      id = single_[step.code];
    } else {
      if (with_prefix || with_suffix) {
        decorated = (with_prefix ? prefix : "") + std::string(character) + (with_suffix ? suffix : "");
        character = decorated;
      }
      id = vocabulary_.id(character).value_or(-1);
    }
    if (id < 0) {
      add_unknown_character(character, out, pending_unknown);
      continue;
    }
    if (pending_unknown) out.push_back({*unk_id_, 0, 0, true});
    pending_unknown = false;
    out.push_back({id, 0, 0, true});
  }
  if (pending_unknown) out.push_back({*unk_id_, 0, 0, true});
}

void Bpe::merge_symbols(Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& queue = scratch.queue;
  const auto count = static_cast<int32_t>(symbols.size());
  queue.clear();
  for (int32_t i = 0; i < count; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < count ? i + 1 : -1;
    if (i + 1 == count) break;
    if (const Merge* merge = find_merge(symbols[i].id, symbols[i + 1].id)) queue.push_back({merge->rank, i, merge->id});
  }
  std::make_heap(queue.begin(), queue.end(), later);
  const auto offer = [&](int32_t left, int32_t right) {
    if (const Merge* merge = find_merge(symbols[left].id, symbols[right].id)) {
      queue.push_back({merge->rank, left, merge->id});
      std::push_heap(queue.begin(), queue.end(), later);
    }
  };
  while (!queue.empty()) {
    const Scratch::Candidate top = queue.front();
    std::pop_heap(queue.begin(), queue.end(), later);
    queue.pop_back();
    auto& left = symbols[top.position];
    if (!left.alive || left.next < 0) continue;
    auto& right = symbols[left.next];
    const Merge* merge = find_merge(left.id, right.id);
    if (merge == nullptr || merge->id != top.id) continue;  // the pair has changed since it was queued
    left.id = top.id;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    if (left.previous >= 0) offer(left.previous, top.position);
    if (left.next >= 0) offer(top.position, left.next);
  }
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    if (const auto id = vocabulary_.id(word)) {
      out.push_back(*id);
      return;
    }
  }
  split_into_symbols(word, scratch.symbols);
  merge_symbols(scratch);
  for (const auto& symbol : scratch.symbols) {
    if (symbol.alive) out.push_back(symbol.id);
  }
}

}  // namespace throughline
