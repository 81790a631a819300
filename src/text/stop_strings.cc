#include "text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace throughline {

StopStrings::StopStrings(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    if (text.empty()) continue;
    Stop stop{std::move(text), {}, 0};
    stop.fallback.assign(stop.text.size() + 1, 0);
    for (size_t i = 1, border = 0; i < stop.text.size(); ++i) {
      while (border > 0 && stop.text[i] != stop.text[border]) border = stop.fallback[border];
      if (stop.text[i] == stop.text[border]) ++border;
      stop.fallback[i + 1] = border;
    }
    stops_.push_back(std::move(stop));
  }
}

StopStrings::Match StopStrings::push(std::string_view piece) {
  if (stopped_) return {true, ""};
  if (stops_.empty()) return {false, std::string(piece)};
  for (const char c : piece) {
    held_ += c;
    const Stop* complete = nullptr;
    for (Stop& stop : stops_) {
      while (stop.matched > 0 && stop.text[stop.matched] != c) stop.matched = stop.fallback[stop.matched];
      if (stop.text[stop.matched] == c) ++stop.matched;
      if (stop.matched < stop.text.size()) continue;
      if (complete == nullptr || stop.text.size() > complete->text.size()) complete = &stop;
    }
    if (complete == nullptr) continue;
    stopped_ = true;
    found_ = complete->text;
    held_.resize(held_.size() - complete->text.size());
    return {true, std::exchange(held_, {})};
  }
  size_t keep = 0;
  for (const Stop& stop : stops_) keep = std::max(keep, stop.matched);
  Match out{false, held_.substr(0, held_.size() - keep)};
  held_.erase(0, out.text.size());
  return out;
}

std::string StopStrings::flush() { return std::exchange(held_, {}); }

}  // namespace throughline
