#include "gym/task_text.h"

#include <algorithm>

namespace throughline {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string_view trim_spaces(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string remove_chars(std::string_view text, std::string_view unwanted) {
  std::string out;
  for (char c : text) {
    if (unwanted.find(c) == std::string_view::npos) out += c;
  }
  return out;
}

std::vector<std::string_view> split_on(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (true) {
    const size_t end = text.find(separator);
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::optional<int64_t> parse_integer(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.size() > 18 || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  int64_t value = 0;
  for (char c : text) value = value * 10 + (c - '0');
  return negative ? -value : value;
}

std::optional<std::string> canonical_integer(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size() - 1));
  return (negative && text != "0" ? "-" : "") + std::string(text);
}

bool chance(CounterStream& draw, double probability) { return draw.uniform() < probability; }

std::string styled(const Spec& difficulty, CounterStream& style, const std::vector<std::string>& choices) {
  const std::string& drawn = pick(style, choices);
  return difficulty.text("style") == "plain" ? choices.front() : drawn;
}

TaskVerdict judge_exact(std::string_view answer, std::string_view given, std::string_view allowed) {
  const std::string seen = remove_chars(given, " ");
  if (seen.find_first_not_of(allowed) != std::string::npos) return TaskVerdict::kNoAnswer;
  return seen == remove_chars(answer, " ") ? TaskVerdict::kRight : TaskVerdict::kWrong;
}

}  // namespace throughline
