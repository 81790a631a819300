// Drafts for one trace: what followed the last occurrence of its newest ids (prompt lookup; vLLM's "ngram" method).
//
// LookupIndex keeps the newest ids of a trace (over all its chunks) and, in one table of hashed n-grams, where each was
// seen last. It always holds the longest match it knows of the newest ids, follows it while it stays right, and so
// predicts the next id at every token, whether or not anybody asked. DraftOdds learns from that how often a match of a
// given length is right: what a draft is worth is known before a row is spent on it.
// A draft is only a guess: the sampler decides, so nothing here can change a result. Ids only; O(1) a token (hash and
// one comparison an n), memory bounded by kMostIds, no allocation but for doubling up to it. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace throughline {

class LookupIndex {
 public:
  static constexpr int64_t kMostIds = 1 << 16;       // older ids are forgotten; 2.25 MiB with the table
  static constexpr int64_t kLongestNgram = 8;        // for `most`
  static constexpr int64_t kLongestComparison = 32;  // a match's length is counted so far when it is found

  struct Guess {         // about the next id
    int64_t length = 0;  // ids that match before it; 0: there is no guess
    bool right = false;
  };

  // Matches of `least` ids and more; the table holds n-grams of least .. most. REQUIRES: 1 <= least <= most <=
  // kLongestNgram.
  LookupIndex(int64_t least, int64_t most, int64_t expected_ids = 0);

  // Takes the next id; returns what had been guessed of it.
  Guess push(int32_t id);
  int64_t ids() const { return total_; }
  int64_t match_length() const { return length_; }  // 0: none
  // The k-th id from here on, if the match goes on: what followed it, then (a loop) the guesses themselves. `before`
  // are the guesses 0 .. k-1. REQUIRES: match_length() > 0.
  int32_t guess(int64_t k, std::span<const int32_t> before) const;

 private:
  int32_t at(int64_t position) const { return ids_[position & mask_]; }
  int64_t suffix_match(int64_t end) const;  // ids before `end` that equal the newest ones
  void look_up_and_remember(bool look_up);
  void grow();

  int64_t least_, most_;
  size_t slots_per_id_ = 0;
  int64_t mask_ = 0;          // ids_.size() - 1
  int64_t total_ = 0;         // ids ever taken
  int64_t source_ = 0;        // position of the guess for the next id
  int64_t length_ = 0;        // ids that match before it
  std::vector<int32_t> ids_;  // a ring: position p in p & mask_
  // By hash: position after the n-gram's last occurrence (mod 2^32; 0: none). The newest takes the slot.
  std::vector<uint32_t> endings_;
};

// Chance that a guess is right, by the length of its match: moving averages that begin pessimistic.
class DraftOdds {
 public:
  double chance(int64_t match_length) const { return chances_[bucket(match_length)]; }
  void learn(const LookupIndex::Guess& guess);

 private:
  static size_t bucket(int64_t match_length);
  std::array<double, 6> chances_ = {0.1, 0.2, 0.4, 0.6, 0.7, 0.8};  // lengths 1, 2-3, 4-7, 8-15, 16-31, 32-
};

}  // namespace throughline
