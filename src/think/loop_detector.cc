#include "think/loop_detector.h"

#include <algorithm>

#include "base/result.h"

namespace throughline {

LoopDetector::LoopDetector(int64_t repeats) : repeats_(repeats), ring_(kMaxPeriod), equal_(kMaxPeriod + 1) {
  TL_CHECK(repeats >= 2, "a loop needs two repeats");
}

bool LoopDetector::push(int32_t id) {
  bool found = false;
  const int64_t periods = std::min<int64_t>(seen_, kMaxPeriod);
  for (int64_t period = 1; period <= periods; ++period) {
    const bool same = ring_[(seen_ - period) % kMaxPeriod] == id;
    equal_[period] = same ? equal_[period] + 1 : 0;
    found |= equal_[period] >= (repeats_ - 1) * period;
  }
  ring_[seen_ % kMaxPeriod] = id;
  ++seen_;
  return found;
}

void LoopDetector::reset() {
  seen_ = 0;
  std::fill(equal_.begin(), equal_.end(), 0);
}

}  // namespace throughline
