#include "grammar/token_trie.h"

#include <algorithm>
#include <numeric>

namespace throughline {

TokenTrie::TokenTrie(std::vector<std::string> all) : tokens(std::move(all)) {
  std::vector<int32_t> sorted(tokens.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  std::erase_if(sorted, [&](int32_t id) { return tokens[id].empty(); });
  std::stable_sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) { return tokens[a] < tokens[b]; });

  struct Range {
    size_t begin, end;  // of `sorted`: the tokens with this node's prefix
  };
  std::vector<Range> level = {{0, sorted.size()}};
  byte.push_back(0);
  for (size_t depth = 0; !level.empty(); ++depth) {
    std::vector<Range> next;
    for (auto [begin, end] : level) {
      first_id.push_back(static_cast<int32_t>(ids.size()));
      first_child.push_back(static_cast<int32_t>(byte.size()));
      for (; begin < end && tokens[sorted[begin]].size() == depth; ++begin) ids.push_back(sorted[begin]);
      while (begin < end) {
        const auto first = static_cast<uint8_t>(tokens[sorted[begin]][depth]);
        size_t stop = begin + 1;
        while (stop < end && static_cast<uint8_t>(tokens[sorted[stop]][depth]) == first) ++stop;
        byte.push_back(first);
        next.push_back({begin, stop});
        begin = stop;
      }
    }
    level = std::move(next);
  }
  first_id.push_back(static_cast<int32_t>(ids.size()));
  first_child.push_back(static_cast<int32_t>(byte.size()));
}

}  // namespace throughline
