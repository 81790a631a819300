#include "engine/lookup_drafter.h"

#include <algorithm>
#include <bit>

#include "base/result.h"

namespace throughline {
namespace {

constexpr int64_t kFewestIds = 512;
constexpr double kLearningRate = 1.0 / 16;

}  // namespace

LookupIndex::LookupIndex(int64_t least, int64_t most, int64_t expected_ids) : least_(least), most_(most) {
  TL_CHECK(least >= 1 && least <= most && most <= kLongestNgram, "n-gram lengths out of range");
  const auto room = static_cast<uint64_t>(std::clamp(expected_ids, kFewestIds, kMostIds));
  ids_.resize(std::bit_ceil(room));
  slots_per_id_ = std::bit_ceil(static_cast<uint64_t>(2 * (most - least) + 3));  // more than two for each n
  endings_.resize(ids_.size() * slots_per_id_);
  mask_ = static_cast<int64_t>(ids_.size()) - 1;
}

int64_t LookupIndex::suffix_match(int64_t end) const {
  const int64_t oldest = std::max<int64_t>(0, total_ - mask_ - 1);
  const int64_t most = std::min(kLongestComparison, end - oldest);
  int64_t length = 0;
  while (length < most && at(end - 1 - length) == at(total_ - 1 - length)) ++length;
  return length;
}

// Of the newest id's n-grams each takes its slot of the table; before, what stands there may be a longer match.
void LookupIndex::look_up_and_remember(bool look_up) {
  const int64_t most = std::min(most_, total_);
  const uint64_t slots = endings_.size() - 1;
  uint64_t hash = 0x2545f4914f6cdd1dULL;  // not 0: all n-grams of id 0 would share a slot
  std::array<uint32_t*, kLongestNgram + 1> slot = {};
  for (int64_t n = 1; n <= most; ++n) {
    hash = (hash ^ static_cast<uint32_t>(at(total_ - n))) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 29;
    if (n >= least_) slot[n] = &endings_[hash & slots];
  }
  for (int64_t n = most; n >= least_; --n) {
    const int64_t age = static_cast<uint32_t>(total_) - *slot[n];  // positions count modulo 2^32
    const bool there = *slot[n] != 0 && age > 0 && age < std::min(total_, mask_);
    if (look_up && there && length_ < n) {
      const int64_t length = suffix_match(total_ - age);
      if (length >= std::max(n, length_ + 1)) {  // else another n-gram of the same hash
        source_ = total_ - age;
        length_ = length;
      }
    }
    *slot[n] = static_cast<uint32_t>(total_);
  }
}

void LookupIndex::grow() {
  std::vector<int32_t> old(2 * ids_.size());
  old.swap(ids_);
  std::fill(endings_.begin(), endings_.end(), 0);
  endings_.resize(ids_.size() * slots_per_id_);
  mask_ = static_cast<int64_t>(ids_.size()) - 1;
  const int64_t count = total_;
  std::copy(old.begin(), old.end(), ids_.begin());
  for (total_ = 1; total_ <= count; ++total_) look_up_and_remember(false);
  total_ = count;
}

LookupIndex::Guess LookupIndex::push(int32_t id) {
  const auto capacity = static_cast<int64_t>(ids_.size());
  if (total_ == capacity && capacity < kMostIds) grow();
  const Guess guess{length_, length_ > 0 && at(source_) == id};
  ids_[total_ & mask_] = id;
  ++total_;
  source_ += guess.right ? 1 : 0;
  length_ = guess.right ? length_ + 1 : 0;
  look_up_and_remember(length_ < most_);
  return guess;
}

int32_t LookupIndex::guess(int64_t k, std::span<const int32_t> before) const {
  const int64_t position = source_ + k;
  return position < total_ ? at(position) : before[position - total_];
}

size_t DraftOdds::bucket(int64_t match_length) {
  const auto bits = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(match_length)));
  return std::clamp<size_t>(bits, 1, 6) - 1;
}

void DraftOdds::learn(const LookupIndex::Guess& guess) {
  if (guess.length == 0) return;
  double& chance = chances_[bucket(guess.length)];
  chance += ((guess.right ? 1.0 : 0.0) - chance) * kLearningRate;
}

}  // namespace throughline
