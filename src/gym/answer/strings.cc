#include "gym/answer/strings.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace throughline::answer {

std::string_view trim(std::string_view s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.back()))) s.remove_suffix(1);
  return s;
}

size_t find_part(std::string_view s, std::string_view part, size_t from) {
  constexpr size_t kShort = 64;  // below, starting memmem takes longer than the search
  if (s.size() < from + kShort) return s.find(part, from);
  const void* at = memmem(s.data() + from, s.size() - from, part.data(), part.size());
  return at == nullptr ? std::string_view::npos : static_cast<size_t>(static_cast<const char*>(at) - s.data());
}

std::string replace_all(std::string_view s, std::string_view from, std::string_view to) {
  size_t at = find_part(s, from);
  if (at == std::string_view::npos) return std::string(s);
  std::string out;
  size_t start = 0;
  for (; at != std::string_view::npos; at = find_part(s, from, start)) {
    out.append(s.substr(start, at - start)).append(to);
    start = at + from.size();
  }
  out.append(s.substr(start));
  return out;
}

std::string to_lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::vector<std::string> split(std::string_view s, std::string_view separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t at = find_part(s, separator); at != std::string_view::npos; at = find_part(s, separator, start)) {
    parts.emplace_back(s.substr(start, at - start));
    start = at + separator.size();
  }
  parts.emplace_back(s.substr(start));
  return parts;
}

bool contains(std::string_view s, std::string_view part) { return find_part(s, part) != std::string_view::npos; }
bool starts_with(std::string_view s, std::string_view part) { return s.substr(0, part.size()) == part; }
bool ends_with(std::string_view s, std::string_view part) {
  return s.size() >= part.size() && s.substr(s.size() - part.size()) == part;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool parse_int_text(std::string_view s, std::string* canonical) {
  s = trim(s);
  bool negative = false;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  if (s.empty()) return false;
  for (const char c : s) {
    if (!is_digit(c)) return false;
  }
  while (s.size() > 1 && s[0] == '0') s.remove_prefix(1);
  *canonical = (negative && s != "0" ? "-" : "") + std::string(s);
  return true;
}

bool parse_float_text(std::string_view s, double* value) {
  s = trim(s);
  bool negative = false;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  const std::string low = to_lower(s);
  if (low == "inf" || low == "infinity") {
    *value = negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    return true;
  }
  if (low == "nan") {
    *value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  if (s.empty() || !(is_digit(s[0]) || (s[0] == '.' && s.size() > 1 && is_digit(s[1])))) return false;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), *value);
  if (error == std::errc::result_out_of_range) *value = std::numeric_limits<double>::infinity();
  if (error == std::errc::invalid_argument || end != s.data() + s.size()) return false;
  if (negative) *value = -*value;
  return true;
}

}  // namespace throughline::answer
