// Finds a sequence that repeats itself: the same pattern of 1 to kMaxPeriod ids at least `repeats` times in a row.
//
// For each period p it counts how many of the newest ids equal the one p places before; `repeats` copies of a pattern
// of length p end here exactly when that count reaches (repeats - 1) * p. O(kMaxPeriod) an id, no allocation after the
// start.
#pragma once

#include <cstdint>
#include <vector>

namespace throughline {

class LoopDetector {
 public:
  static constexpr int kMaxPeriod = 1024;
  explicit LoopDetector(int64_t repeats);  // REQUIRES: repeats >= 2
  bool push(int32_t id);                   // true when a loop ends at this id
  void reset();                            // forgets everything seen

 private:
  int64_t repeats_;
  int64_t seen_ = 0;
  std::vector<int32_t> ring_;   // the last kMaxPeriod ids
  std::vector<int64_t> equal_;  // [period]
};

}  // namespace throughline
