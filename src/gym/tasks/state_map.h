// A map over the letters a, b, ..., shared by iterate_map and planted_fact. Written "ag bk cd": a->g, b->k, c->d.
#pragma once

#include <string>

#include "base/rng.h"

namespace throughline {

class StateMap {
 public:
  // One cycle through all states, or (cycle = false) a uniformly drawn function without fixed points.
  // REQUIRES: 2 <= states <= 20
  static StateMap draw(CounterStream& draw, int states, bool cycle);

  char next(char state) const { return targets_[static_cast<size_t>(state - 'a')]; }
  int states() const { return static_cast<int>(targets_.size()); }
  std::string text() const;

 private:
  explicit StateMap(std::string targets) : targets_(std::move(targets)) {}
  std::string targets_;
};

}  // namespace throughline
