#include "gym/tasks/state_map.h"

#include "gym/task_text.h"

namespace throughline {

StateMap StateMap::draw(CounterStream& draw, int states, bool cycle) {
  std::string targets(static_cast<size_t>(states), 'a');
  if (cycle) {
    std::vector<int> order;
    for (int i = 0; i < states; ++i) order.push_back(i);
    shuffle(draw, order);
    for (int i = 0; i < states; ++i) targets[order[i]] = static_cast<char>('a' + order[(i + 1) % states]);
  } else {
    for (int i = 0; i < states; ++i) {
      const auto other = static_cast<int>(draw.integer(0, states - 2));
      targets[i] = static_cast<char>('a' + other + (other >= i ? 1 : 0));
    }
  }
  return StateMap(targets);
}

std::string StateMap::text() const {
  std::string out;
  for (int i = 0; i < states(); ++i) {
    if (i > 0) out += ' ';
    out += static_cast<char>('a' + i);
    out += targets_[i];
  }
  return out;
}

}  // namespace throughline
