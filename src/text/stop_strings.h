// Finds stop strings in text that arrives in pieces, also across their borders.
//
// The match that is complete first wins (of those complete at the same byte, the longest); what comes out does not
// depend on how the text was cut into pieces. Text that may be the beginning of a stop string is held back, so nothing
// is given out that would have to be taken back. Pieces and stop strings are UTF-8 without split code points; then so
// is what comes out. Empty stop strings are ignored. Cost: one step per byte and stop string. One stream, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace throughline {

class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);

  struct Match {
    bool stopped = false;
    std::string text;  // certain text before the stop string; the stop string itself is left out
  };
  // After a match all further pieces are dropped ({true, ""}).
  Match push(std::string_view piece);
  // What was held back; call at the end of the text.
  std::string flush();
  // The stop string that was found; empty before.
  const std::string& found() const { return found_; }

 private:
  struct Stop {
    std::string text;
    std::vector<size_t> fallback;  // Knuth-Morris-Pratt: length of the longest border of each prefix
    size_t matched = 0;            // longest prefix that the text so far ends with
  };
  std::vector<Stop> stops_;
  std::string held_;
  bool stopped_ = false;
  std::string found_;
};

}  // namespace throughline
