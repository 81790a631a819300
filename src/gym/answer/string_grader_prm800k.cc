// PRM800K's grader (string_graders.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "gym/answer/string_graders.h"
#include "gym/answer/string_graders_common.h"
#include "gym/answer/strings.h"

namespace throughline::answer {

using namespace graders;

namespace {

// "1,234" -> "1234", where three digits and then no digit follow the comma.
std::string strip_proper_commas(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    const bool comma = s[i] == ',' && i > 0 && is_digit(s[i - 1]) && i + 3 < s.size() && is_digit(s[i + 1]) &&
                       is_digit(s[i + 2]) && is_digit(s[i + 3]) && (i + 4 >= s.size() || !is_digit(s[i + 4]));
    if (!comma) out.push_back(s[i]);
  }
  return out;
}

bool string_is_integer(std::string_view s) {
  double value = 0;
  return parse_float_text(strip_proper_commas(s), &value) && std::isfinite(value) &&
         std::fabs(value - std::round(value)) <= 1e-7;
}

std::string drop_units(std::string s) {
  static constexpr std::array<std::string_view, 16> kUnits = {
      "degree", "cm",   "centimeter", "meter", "mile", "second", "minute", "hour",
      "day",    "week", "month",      "year",  "foot", "feet",   "inch",   "yard"};
  for (const std::string_view unit : kUnits) {
    size_t at = find_part(s, unit);
    if (at == std::string::npos) continue;
    std::string out;
    size_t done = 0;  // copied or dropped so far
    for (; at != std::string::npos; at = find_part(s, unit, done)) {
      out.append(s, done, at - done);
      size_t i = at + unit.size();
      if (s.compare(i, 2, "es") == 0) i += 2;
      if (i < s.size() && s[i] == 's') ++i;
      while (i < s.size() && s[i] == ' ') ++i;
      if (i + 1 < s.size() && s[i] == '^' && is_digit(s[i + 1])) {
        for (++i; i < s.size() && is_digit(s[i]);) ++i;
      }
      done = i;
    }
    s = out.append(s, done);
  }
  return s;
}

// What is left of LaTeX as plain text: \frac{a}{b} -> a/b, \sqrt{x} -> sqrt(x), other commands their names' signs.
std::string latex_to_text(std::string_view s, int depth = 0) {
  std::string out;
  const auto group = [&](size_t* i) -> std::string {
    while (*i < s.size() && s[*i] == ' ') ++*i;
    if (*i >= s.size()) return "";
    if (s[*i] != '{') {
      if (s[*i] == '\\') {
        size_t end = *i + 1;
        while (end < s.size() && is_letter(s[end])) ++end;
        const std::string command(s.substr(*i, end - *i));
        *i = end;
        return latex_to_text(command, depth + 1);
      }
      return std::string(1, s[(*i)++]);
    }
    int level = 0;
    const size_t start = *i + 1;
    for (; *i < s.size(); ++*i) {
      if (s[*i] == '{') ++level;
      if (s[*i] == '}' && --level == 0) break;
    }
    const std::string inner = depth < 40 ? latex_to_text(s.substr(start, *i - start), depth + 1) : "";
    if (*i < s.size()) ++*i;
    return inner;
  };
  size_t i = 0;
  while (i < s.size()) {
    if (s[i] != '\\') {
      if (s[i] != '{' && s[i] != '}') out.push_back(s[i]);
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < s.size() && is_letter(s[end])) ++end;
    const std::string_view name = s.substr(i + 1, end - i - 1);
    i = end;
    if (name.empty()) {
      if (i < s.size()) {
        if (s[i] == '{' || s[i] == '}' || s[i] == '%' || s[i] == '$') out.push_back(s[i]);
        if (s[i] == ' ' || s[i] == ',') out.push_back(' ');
        ++i;
      }
      continue;
    }
    // A space behind a command belongs to the command.
    if (name == "frac") {
      const auto side = [&] {
        const std::string inner = group(&i);
        return inner.find_first_of("+-*/", 1) == std::string::npos ? inner : "(" + inner + ")";
      };
      const std::string top = side();
      const std::string bottom = side();
      if (!out.empty() && is_digit(out.back())) out += "*";  // 15\frac{39}{40}: see keeps_latex()
      out += top + "/" + bottom;
    } else if (name == "sqrt") {
      out += "sqrt(" + group(&i) + ")";
    } else if (name == "pi") {
      out += "pi";
    } else if (name == "infty") {
      out += "inf";
    } else if (name == "cup") {
      out += "U";
    } else if (name == "cdot" || name == "times") {
      out += "*";
    } else if (name == "in") {
      out += "∈";
    } else if (name == "text" || name == "mbox" || name == "textbf" || name == "mathrm") {
      out += group(&i);
    } else if (name == "begin" || name == "end") {
      const std::string environment = group(&i);
      if (name == "begin" && contains(environment, "matrix")) {
        const size_t close = s.find("\\end", i);
        const std::string_view body = s.substr(i, close == std::string_view::npos ? close : close - i);
        std::string matrix = replace_all(replace_all(body, "\\\\", ";"), "&", " ");
        out += "[ " + latex_to_text(matrix, depth + 1) + " ]";
        i = close == std::string_view::npos ? s.size() : close;
      }
    } else if (name == "left" || name == "right") {
    } else {
      out += name;
    }
  }
  return out;
}

// Forms that the run behind the stored verdicts did not turn into plain text, so that they equal nothing but
// themselves: words within the answer, fractions in matrices, subscripts in braces, roots within tuples.
bool keeps_latex(std::string_view answer) {
  if (contains(answer, "\\text") || contains(answer, "\\mbox")) return true;
  if (contains(answer, "matrix}") && contains(answer, "frac")) return true;
  if (contains(answer, "_{")) return true;
  return !answer.empty() && (answer[0] == '(' || answer[0] == '[') && contains(answer, ",") &&
         contains(answer, "\\sqrt");
}

std::string prm_normalize(std::string_view answer) {
  std::string s(answer), inner;
  if (whole_text(s, &inner)) s = inner;
  s = replace_all(s, "\\%", "%");
  s = replace_all(s, "\\$", "$");
  s = replace_all(s, "$", "");
  s = replace_all(s, "%", "");
  s = replace_all(s, " or ", " , ");
  s = replace_all(s, " and ", " , ");
  s = replace_all(s, "million", "*10^6");
  s = replace_all(s, "billion", "*10^9");
  s = replace_all(s, "trillion", "*10^12");
  s = drop_units(s);
  for (size_t at = s.find('^'); at != std::string::npos; at = s.find('^', at + 1)) {
    size_t end = at + 1;
    while (end < s.size() && s[end] == ' ') ++end;
    if (s.compare(end, 5, "\\circ") == 0) s.erase(at, end + 5 - at);
    if (at >= s.size()) break;
  }
  if (!s.empty() && s[0] == '{' && s.back() == '}') s = s.substr(1, s.size() - 2);
  for (size_t at = s.find(",\\!"); at != std::string::npos; at = s.find(",\\!", at)) {
    size_t end = at + 3;
    while (end < s.size() && s[end] == ' ') ++end;
    s.erase(at, end - at);
  }
  double value = 0;
  if (parse_float_text(s, &value) && std::isfinite(value) && std::fabs(value - std::round(value)) <= 1e-7 &&
      std::fabs(value) < 9e15) {
    s = std::to_string(static_cast<int64_t>(std::llround(value)));
  }
  if (contains(s, "\\")) {
    s = replace_all(s, "\\tfrac", "\\frac");
    s = replace_all(s, "\\dfrac", "\\frac");
    s = std::string(trim(latex_to_text(s)));
  }
  for (size_t at = s.find("- "); at != std::string::npos; at = s.find("- ", at)) s.erase(at + 1, 1);
  // 7 3/4 -> 7+3/4
  std::string mixed;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == ' ' && i > 0 && is_digit(s[i - 1])) {
      size_t end = i;
      while (end < s.size() && s[end] == ' ') ++end;
      if (end < s.size() && is_digit(s[end])) {
        mixed += '+';
        i = end - 1;
        continue;
      }
    }
    mixed += s[i];
  }
  s = replace_all(mixed, " ", "");
  s = replace_all(s, "{", "");
  s = replace_all(s, "}", "");
  s = to_lower(s);
  if (string_is_integer(s)) {
    parse_float_text(replace_all(s, ",", ""), &value);
    if (std::fabs(value) < 9e15) s = std::to_string(static_cast<int64_t>(value));
  }
  return s;
}

bool allow_evaluation(std::string_view s) {
  std::string letters = replace_all(replace_all(s, "sqrt", ""), "frac", "");
  std::sort(letters.begin(), letters.end());
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  if (std::count_if(letters.begin(), letters.end(), is_letter) > 2) return false;
  if (contains(s, "^{") || contains(s, "^(")) return false;
  for (size_t at = s.find('^'); at != std::string_view::npos; at = s.find('^', at + 1)) {
    size_t end = at + 1;
    while (end < s.size() && is_digit(s[end])) ++end;
    if (end - at > 2 || (end - at > 1 && end < s.size() && s[end] == '^')) return false;
  }
  return true;
}

bool is_fraction_text(std::string_view s) {  // ^-?[0-9]+.?/0*[1-9][0-9]*.?$
  size_t i = !s.empty() && s[0] == '-' ? 1 : 0;
  const size_t start = i;
  while (i < s.size() && is_digit(s[i])) ++i;
  if (i == start) return false;
  if (i < s.size() && s[i] != '/') ++i;
  if (i >= s.size() || s[i] != '/') return false;
  const size_t below = ++i;
  bool nonzero = false;
  while (i < s.size() && is_digit(s[i])) nonzero |= s[i++] != '0';
  return i > below && nonzero && s.size() - i <= 1;
}

std::vector<std::string> split_tuple(const std::string& text) {
  const std::string s = strip_proper_commas(text);
  if (s.empty()) return {};
  constexpr std::string_view kBrackets = "()[]";
  const auto bracket = [&](char c) { return kBrackets.find(c) != std::string_view::npos; };
  if (s.size() > 2 && bracket(s[0]) && bracket(s.back()) &&
      std::none_of(s.begin() + 1, s.end() - 1, [&](char c) { return bracket(c); })) {
    std::vector<std::string> parts = split(std::string_view(s).substr(1, s.size() - 2), ",");
    for (std::string& part : parts) part = std::string(trim(part));
    return parts;
  }
  return {s};
}

}  // namespace

bool prm800k_equal(std::string_view gold, std::string_view answer, Steps* steps, std::string* normalized) {
  *normalized = prm_normalize(answer);
  if (mathd_normalize(gold) == mathd_normalize(answer)) return true;
  const std::string a = prm_normalize(gold), b = *normalized;
  std::string inner;
  const bool raw_gold = keeps_latex(gold) && !whole_text(gold, &inner);
  const bool raw_answer = keeps_latex(answer) && !whole_text(answer, &inner);
  if (raw_gold || raw_answer) return false;
  if (a == b) return true;
  if (b.empty()) return false;
  const std::vector<std::string> gold_parts = split_tuple(a), parts = split_tuple(b);
  if (gold_parts.size() > 1 && (a[0] != b[0] || a.back() != b.back())) return false;
  if (gold_parts.size() != parts.size() || parts.empty()) return false;
  for (size_t i = 0; i < parts.size(); ++i) {
    bool equal = false;
    if (is_fraction_text(gold_parts[i]) && is_fraction_text(parts[i])) {
      equal = gold_parts[i] == parts[i];
    } else if (string_is_integer(gold_parts[i]) != string_is_integer(parts[i])) {
      equal = false;
    } else {
      // The original subtracts one from the other: relations, lists and words are no expressions.
      const std::string difference = "(" + gold_parts[i] + ")-(" + parts[i] + ")";
      const bool plain = difference.find_first_of("=<>,;\\&[]_%$'\"") == std::string::npos &&
                         std::all_of(difference.begin(), difference.end(),
                                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
      equal = plain && allow_evaluation(difference) && equal_as_expressions(gold_parts[i], parts[i], false, steps);
    }
    if (!equal) return false;
  }
  return true;
}

}  // namespace throughline::answer
