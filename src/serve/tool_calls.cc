#include "serve/tool_calls.h"

#include <algorithm>

namespace throughline::serve {
namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
constexpr std::string_view kBlank = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(kBlank);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kBlank) + 1 - from);
}

// Bytes at the end of `text` that may be the beginning of `word`.
size_t begun(std::string_view text, std::string_view word) {
  for (size_t n = std::min(text.size(), word.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == word.substr(0, n)) return n;
  }
  return 0;
}

bool within_string(std::string_view json) {
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') quoted = !quoted;
    if (json[i] == '\\' && quoted) ++i;
  }
  return quoted;
}

}  // namespace

bool ToolCallParser::take_call(std::string_view text, Found& found) {
  const auto json = parse_json(trimmed(text), "call");
  if (!json.ok() || !json->is_object()) return false;
  const auto name = json->find("name");
  if (name == json->end() || !name->is_string()) return false;
  auto arguments = json->find("arguments");
  if (arguments == json->end()) arguments = json->find("parameters");
  std::string written = "{}";
  if (arguments != json->end()) {
    if (!arguments->is_object() && !arguments->is_string()) return false;
    written = arguments->is_string() ? arguments->get<std::string>() : dump_json(*arguments);
  }
  found.calls.push_back({name->get<std::string>(), std::move(written)});
  return any_ = true;
}

// Calls separated by semicolons; those within strings do not separate.
bool ToolCallParser::take_list(std::string_view text, Found& found) {
  Found taken;
  size_t from = 0;
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ';';
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
      if (i < text.size()) continue;
    }
    if (c == '"') quoted = true;
    if (c == '{') ++depth;
    if (c == '}') --depth;
    if (c != ';' || (depth != 0 && i < text.size())) continue;
    const std::string_view part = text.substr(from, std::min(i, text.size()) - from);
    from = i + 1;
    if (trimmed(part).empty()) continue;
    if (!take_call(part, taken)) return false;
  }
  found.calls.insert(found.calls.end(), taken.calls.begin(), taken.calls.end());
  return !taken.calls.empty();
}

void ToolCallParser::scan(Found& found) {
  while (true) {
    if (mode_ == Mode::kStart) {
      const size_t at = held_.find_first_not_of(kBlank);
      if (at == std::string::npos) return;
      mode_ = held_[at] == '{' ? Mode::kWhole : Mode::kText;
    }
    if (mode_ == Mode::kWhole) return;  // only its end tells
    if (mode_ == Mode::kText) {
      const size_t at = held_.find(kOpen);
      if (at == std::string::npos) {
        const size_t keep = begun(held_, kOpen);
        found.text += held_.substr(0, held_.size() - keep);
        held_.erase(0, held_.size() - keep);
        return;
      }
      // Blanks around calls are the template's, not the answer's.
      const std::string before = held_.substr(0, at);
      if (!trimmed(before).empty()) found.text += before;
      held_.erase(0, at);
      mode_ = Mode::kCall;
    }
    // A string of the arguments may hold the tag, too: then a later one closes the call.
    const size_t first = held_.find(kClose);
    if (first == std::string::npos) return;
    size_t end = first;
    while (end != std::string::npos &&
           !take_call(std::string_view(held_).substr(kOpen.size(), end - kOpen.size()), found))
      end = held_.find(kClose, end + 1);
    if (end == std::string::npos) {
      if (within_string(std::string_view(held_).substr(kOpen.size(), first - kOpen.size()))) return;
      end = first;
      found.text += held_.substr(0, end + kClose.size());
    }
    held_.erase(0, end + kClose.size());
    mode_ = Mode::kText;
  }
}

ToolCallParser::Found ToolCallParser::push(std::string_view text) {
  Found found;
  held_.append(text);
  scan(found);
  if (any_ && trimmed(found.text).empty()) found.text.clear();
  return found;
}

ToolCallParser::Found ToolCallParser::finish() {
  Found found;
  const bool taken = mode_ == Mode::kWhole  ? take_list(held_, found)
                     : mode_ == Mode::kCall ? take_call(std::string_view(held_).substr(kOpen.size()), found)
                                            : false;
  if (!taken && !(any_ && trimmed(held_).empty())) found.text += held_;
  held_.clear();
  return found;
}

}  // namespace throughline::serve
