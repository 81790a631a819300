#include "text/thinking_tags.h"

#include <algorithm>
#include <utility>

namespace throughline {

std::optional<ThinkingTags> ThinkingTags::resolve(
    const std::function<std::optional<int32_t>(std::string_view)>& token_id) {
  static constexpr std::pair<std::string_view, std::string_view> kSpellings[] = {
      {"<think>", "</think>"},
      {"[THINK]", "[/THINK]"},
      {"<seed:think>", "</seed:think>"},
      {"<|START_THINKING|>", "<|END_THINKING|>"},
      {"<longcat_think>", "</longcat_think>"}};
  for (const auto& [open, close] : kSpellings) {
    const std::optional<int32_t> open_id = token_id(open), close_id = token_id(close);
    if (open_id && close_id && *open_id != *close_id) {
      return ThinkingTags{*open_id, *close_id, std::string(open), std::string(close)};
    }
  }
  return std::nullopt;
}

bool ThinkingTags::opened_by(std::span<const int32_t> prompt_ids, size_t generation_begin) const {
  const auto part = prompt_ids.subspan(std::min(generation_begin, prompt_ids.size()));
  for (size_t i = part.size(); i-- > 0;) {
    if (part[i] == close_id) return false;
    if (part[i] == open_id) return true;
  }
  return false;
}

bool ThinkingTags::opened_by_text(std::string_view generation_text) const {
  const size_t open = generation_text.rfind(open_text), close = generation_text.rfind(close_text);
  return open != std::string_view::npos && (close == std::string_view::npos || close < open);
}

}  // namespace throughline
