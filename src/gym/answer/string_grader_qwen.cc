// Qwen2.5-Math's grader (string_graders.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "gym/answer/string_graders.h"
#include "gym/answer/string_graders_common.h"
#include "gym/answer/strings.h"

namespace throughline::answer {

using namespace graders;

namespace {

constexpr int64_t kBytesSearchedPerStep = 512;  // for one unit
constexpr int64_t kComparisonCost = 8;          // of two parts, beside their bytes
constexpr int64_t kBytesNormalizedPerStep = 2;  // by all the other substitutions

bool word_character(char c) { return is_letter(c) || is_digit(c) || c == '_'; }

constexpr std::array<std::string_view, 131> kQwenUnits = {"east",     "degree",  "mph",      "kmph",     "ft",
                                                          "m sqaure", " m east", "sq m",     "deg",      "mile",
                                                          "q .",      "monkey",  "prime",    "ratio",    "profit of rs",
                                                          "rd",       "o",       "gm",       "p . m",    "lb",
                                                          "tile",     "per",     "dm",       "lt",       "gain",
                                                          "ab",       "way",     "west",     "",         "",
                                                          "",         "",        "",         "",         "",
                                                          "",         "t",       "a",        "h",        "no change",
                                                          "men",      "soldier", "pie",      "bc",       "excess",
                                                          "st",       "inches",  "noon",     "percent",  "by",
                                                          "gal",      "kmh",     "c",        "acre",     "rise",
                                                          "a . m",    "th",      "sq",       "mark",     "l",
                                                          "toy",      "coin",    "sq . m",   "gallon",   "profit",
                                                          "minw",     "yr",      "women",    "feet",     "am",
                                                          "pm",       "hr",      "cu cm",    "square",   "are",
                                                          "rupee",    "rounds",  "cubic",    "cc",       "mtr",
                                                          "s",        "ohm",     "number",   "kmph",     "day",
                                                          "hour",     "minute",  "min",      "second",   "man",
                                                          "woman",    "sec",     "cube",     "mt",       "sq inch",
                                                          "mp",       "hectare", "more",     "sec",      "unit",
                                                          "cu . m",   "cm 2",    "rs .",     "rs",       "kg",
                                                          "g",        "month",   "km",       "m",        "cm",
                                                          "mm",       "apple",   "liter",    "loss",     "yard",
                                                          "pure",     "year",    "increase", "decrease", "d",
                                                          "less",     "Surface", "litre",    "pi sq m",  "s .",
                                                          "metre",    "meter",   "inch",     "",         "",
                                                          ""};

// Where `unit` begins at or behind `from`. A '.' of the original's pattern stands for any character.
size_t find_unit(std::string_view s, std::string_view unit, size_t from) {
  const size_t dot = unit.find('.');
  if (dot == std::string_view::npos) return find_part(s, unit, from);
  // All patterns with a dot begin with plain characters: look for those first.
  const std::string_view head = unit.substr(0, dot);
  for (size_t at = find_part(s, head, from); at != std::string_view::npos; at = find_part(s, head, at + 1)) {
    if (at + unit.size() > s.size()) return std::string_view::npos;
    bool equal = true;
    for (size_t i = dot; i < unit.size() && equal; ++i) equal = unit[i] == '.' || unit[i] == s[at + i];
    if (equal) return at;
  }
  return std::string_view::npos;
}

// Removes `unit` where it stands alone, unless nothing would be left; the characters around it stay, and cannot begin
// the next match.
void remove_unit(std::string_view unit, std::string* text) {
  const std::string& s = *text;
  size_t at = find_unit(s, unit, 0);
  if (at == std::string::npos) return;
  std::string out;
  size_t done = 0;  // copied so far
  for (; at != std::string::npos; at = find_unit(s, unit, at)) {
    const size_t end = at + unit.size();
    const bool left = at == 0 || (at > done && !word_character(s[at - 1]));
    const bool right = end >= s.size() || !word_character(s[end]);
    if (!left || !right) {
      ++at;
      continue;
    }
    out.append(s, done, at - done);
    if (end < s.size()) out.push_back(s[end]);
    done = std::min(end + 1, s.size());
    at = done;
  }
  out.append(s, done);
  if (!out.empty()) *text = std::move(out);
}

// 12.000x -> 12x, 12.000 -> 12
std::string drop_zero_decimals(const std::string& s) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '.' && i > 0 && is_digit(s[i - 1])) {
      size_t end = i + 1;
      while (end < s.size() && s[end] == '0') ++end;
      if (end >= s.size() || !is_digit(s[end])) {
        i = end - 1;
        continue;
      }
    }
    out.push_back(s[i]);
  }
  return out;
}

bool qwen_number(std::string_view text, double* value) {
  std::string s = replace_all(text, ",", "");
  if (parse_float_text(s, value)) return true;
  if (s.empty() || s.back() != '%') return false;
  s.pop_back();
  if (!s.empty() && s.back() == '\\') s.pop_back();
  if (!parse_float_text(s, value)) return false;
  *value /= 100;
  return true;
}

bool close_enough(double a, double b) {
  if (a == b) return true;
  if (!std::isfinite(a) || !std::isfinite(b)) return false;
  return std::fabs(a - b) <= 1e-4 * std::max(std::fabs(a), std::fabs(b));
}

std::string strip_characters(std::string_view s, std::string_view set) {
  while (!s.empty() && set.find(s.front()) != std::string_view::npos) s.remove_prefix(1);
  while (!s.empty() && set.find(s.back()) != std::string_view::npos) s.remove_suffix(1);
  return std::string(s);
}

bool list_format(std::string_view s) {
  if (s.size() < 3 || (s[0] != '(' && s[0] != '[')) return false;
  return s.find_first_of(")]", 2) != std::string_view::npos;
}

bool matrix_format(std::string_view s) {
  return (starts_with(s, "\\begin{pmatrix}") || starts_with(s, "\\begin{bmatrix}")) &&
         (ends_with(s, "\\end{pmatrix}") || ends_with(s, "\\end{bmatrix}"));
}

bool qwen_compare(std::string answer, std::string gold, Steps* steps, int depth);

bool qwen_parts(const std::vector<std::string>& a, const std::vector<std::string>& b, Steps* steps, int depth) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!qwen_compare(a[i], b[i], steps, depth + 1)) return false;
  }
  return true;
}

// The LaTeX parser of the original stops at a closing bracket that was not opened, and keeps what it has.
std::string balanced_prefix(const std::string& s) {
  int depth = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '(' || s[i] == '[' || s[i] == '{') ++depth;
    if ((s[i] == ')' || s[i] == ']' || s[i] == '}') && --depth < 0) return s.substr(0, i);
  }
  return s;
}

bool qwen_symbolic(const std::string& a, const std::string& b, Steps* steps) {
  if (a == b) return true;
  if (equal_as_expressions(balanced_prefix(b), balanced_prefix(a), true, steps)) return true;
  return contains(a + b, "\\\\") &&
         equal_as_expressions(replace_all(b, "\\\\", "\\"), replace_all(a, "\\\\", "\\"), true, steps);
}

std::vector<std::string> matrix_rows(std::string_view s) {
  constexpr size_t kOpen = 15, kClose = 13;  // of \begin{pmatrix} and \end{pmatrix}
  std::vector<std::string> rows;
  for (const std::string& row : split(s.substr(kOpen, s.size() - kOpen - kClose), "\\\\")) {
    if (!trim(row).empty()) rows.emplace_back(trim(row));
  }
  return rows;
}

bool qwen_compare(std::string answer, std::string gold, Steps* steps, int depth) {
  if (depth > 8 || !steps->charge(kComparisonCost + static_cast<int64_t>(answer.size() + gold.size()) / 4))
    return false;
  if (to_lower(trim(answer)) == to_lower(trim(gold))) return true;
  if (gold.size() == 1 && gold[0] >= 'A' && gold[0] <= 'E') {
    // The last letter A-E that stands alone.
    char last = 0;
    for (size_t i = 0; i < answer.size(); ++i) {
      const char c = answer[i] >= 'a' && answer[i] <= 'z' ? static_cast<char>(answer[i] - 32) : answer[i];
      if (c < 'A' || c > 'E') continue;
      if (i > 0 && word_character(answer[i - 1])) continue;
      if (i + 1 < answer.size() && word_character(answer[i + 1])) continue;
      last = c;
    }
    if (last == gold[0]) return true;
  }
  double x = 0, y = 0;
  if (qwen_number(answer, &x) && qwen_number(gold, &y) &&
      (close_enough(x, y / 100) || close_enough(x, y) || close_enough(x, y * 100))) {
    return true;
  }
  if (answer.empty()) return false;
  gold = std::string(trim(gold));
  answer = std::string(trim(answer));
  std::string a = answer, b = gold;
  const auto between = [](const std::string& s, char open, char close) {
    return !s.empty() && s.front() == open && s.back() == close;
  };
  if ((between(a, '[', ']') && !between(b, '(', ')')) || (between(a, '(', ')') && !between(b, '[', ']'))) {
    a = strip_characters(a, "[]()");
    b = strip_characters(b, "[]()");
  }
  for (const std::string_view bracket : {"{", "}", "(", ")"}) {
    a = replace_all(a, bracket, "");
    b = replace_all(b, bracket, "");
  }
  if (to_lower(a) == to_lower(b)) return true;
  if (list_format(answer) && list_format(gold)) {
    const auto inner = [](const std::string& s) { return split(std::string_view(s).substr(1, s.size() - 2), ","); };
    return qwen_parts(inner(answer), inner(gold), steps, depth);
  }
  if (matrix_format(answer) && matrix_format(gold)) {
    const std::vector<std::string> rows = matrix_rows(answer), gold_rows = matrix_rows(gold);
    if (rows.size() != gold_rows.size()) return false;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!qwen_parts(split(rows[i], "&"), split(gold_rows[i], "&"), steps, depth)) return false;
    }
    return true;
  }
  const auto equations = [](const std::string& s) { return std::count(s.begin(), s.end(), '='); };
  const auto short_left = [](const std::string& s) { return trim(split(s, "=")[0]).size() <= 2; };
  if (equations(answer) == 1 && equations(gold) == 1) {
    const auto form = [](const std::string& s) {
      const std::vector<std::string> sides = split(s, "=");
      return std::string(trim(sides[0])) + " - (" + std::string(trim(sides[1])) + ")";
    };
    return qwen_symbolic(form(answer), form(gold), steps) ||
           qwen_symbolic("-(" + form(answer) + ")", form(gold), steps);
  }
  if (equations(answer) == 1 && short_left(answer) && equations(gold) == 0) {
    return qwen_compare(split(answer, "=")[1], gold, steps, depth + 1);
  }
  if (equations(gold) == 1 && short_left(gold) && equations(answer) == 0) {
    return qwen_compare(answer, split(gold, "=")[1], steps, depth + 1);
  }
  return qwen_symbolic(answer, gold, steps);
}

}  // namespace

std::string qwen_normalize(std::string_view answer, Steps* steps) {
  if (answer.size() > kMaxAnswerBytes) return std::string(answer);  // it will not be graded
  steps->charge(static_cast<int64_t>(answer.size()) / kBytesNormalizedPerStep);
  std::string s(trim(answer));
  s = replace_all(s, "\n", "");
  while (!s.empty() && s.back() == '.') s.pop_back();
  s = replace_all(s, "\\!", "");
  s = erase_between(s, "\\begin{array}{", '}', "\\begin{pmatrix}", false);
  s = replace_all(s, "\\end{array}", "\\end{pmatrix}");
  s = replace_all(s, "bmatrix", "pmatrix");
  s = replace_all(s, "tfrac", "frac");
  s = replace_all(s, "dfrac", "frac");
  s = replace_all(s, "\\neq", "\\ne");
  s = replace_all(s, "\\leq", "\\le");
  s = replace_all(s, "\\geq", "\\ge");
  s = replace_all(s, "\\left", "");
  s = replace_all(s, "\\right", "");
  s = replace_all(s, "\\{", "{");
  s = replace_all(s, "\\}", "}");
  // A \text{...} at the end is a unit (from the first such, as the original's regex finds it).
  if (const size_t at = s.find("\\text{"); at != std::string::npos && s.back() == '}') {
    const std::string rest(trim(s.substr(0, at)));
    if (!rest.empty()) s = rest;
  }
  std::array<bool, 256> present{};  // removing never brings in a new character
  for (const char c : s) present[static_cast<unsigned char>(c)] = true;
  const auto possible = [&](std::string_view unit) {
    return std::all_of(unit.begin(), unit.end(),
                       [&](char c) { return c == '.' || present[static_cast<unsigned char>(c)]; });
  };
  for (int round = 0; round < 2; ++round) {
    for (const std::string_view plural : {"", "s"}) {
      for (const std::string_view unit : kQwenUnits) {
        if (unit.empty() || !possible(unit) || !possible(plural)) continue;
        steps->charge(1 + static_cast<int64_t>(s.size()) / kBytesSearchedPerStep);
        remove_unit(std::string(unit) + std::string(plural), &s);
      }
    }
  }
  s = replace_all(s, "^{\\circ}", "");
  s = replace_all(s, "^\\circ", "");
  s = replace_all(s, "\\$", "");
  s = replace_all(s, "$", "");
  s = replace_all(s, "\\(", "");
  s = replace_all(s, "\\)", "");
  s = erase_between(s, "\\text{", '}', "", true);
  for (const std::string_view key : {"x=", "y=", "z=", "x\\in", "y\\in", "z\\in", "x\\to", "y\\to", "z\\to"}) {
    s = replace_all(s, key, "");
  }
  s = replace_all(s, "\\emptyset", "{}");
  s = replace_all(s, "(-\\infty,\\infty)", "\\mathbb{R}");
  s = replace_all(s, "\\%", "");
  s = replace_all(s, "%", "");
  s = replace_all(s, " .", " 0.");
  s = replace_all(s, "{.", "{0.");
  s = replace_all(s, "infinity", "\\infty");
  if (!contains(s, "\\infty")) s = replace_all(s, "inf", "\\infty");
  s = replace_all(s, "and", "");
  s = replace_all(s, "\\mathbf", "");
  s = erase_between(s, "\\mbox{", '}', "", false);
  if (contains(s, "j") && !contains(s, "i")) s = replace_all(s, "j", "i");
  s = drop_zero_decimals(s);
  if (s.empty()) return s;
  if (s[0] == '.') s = "0" + s;
  s = drop_short_left_side(s);
  std::string rooted;
  for (size_t i = 0; i < s.size();) {
    if (s.compare(i, 5, "\\sqrt") == 0) {
      size_t end = i + 5;
      while (end < s.size() && word_character(s[end])) ++end;
      rooted += end > i + 5 ? "\\sqrt{" + s.substr(i + 5, end - i - 5) + "}" : "\\sqrt";
      i = end;
    } else {
      rooted.push_back(s[i++]);
    }
  }
  s = replace_all(rooted, " ", "");
  bool error = false;
  s = fix_fractions(s, &error);
  return fix_slash(s, true);
}

bool qwen_equal(std::string_view gold, std::string_view answer, Steps* steps) {
  return qwen_compare(std::string(answer), std::string(gold), steps, 0);
}

std::string qwen_extract(std::string_view response, Steps* steps) {
  std::string answer;
  const size_t final_answer = response.find("final answer is $");
  const size_t box = response.rfind("boxed");
  if (final_answer != std::string_view::npos && contains(response, "$. I hope")) {
    const std::string_view rest = response.substr(final_answer + 17);
    answer = std::string(trim(rest.substr(0, rest.find("$. I hope"))));
  } else if (box != std::string_view::npos) {
    const std::string_view rest = response.substr(box + 5);
    if (rest.empty()) return "";
    if (rest[0] == '{') {
      int depth = 1;
      for (size_t i = 1; i < rest.size(); ++i) {
        if (rest[i] == '{') ++depth;
        if (rest[i] == '}' && --depth == 0) break;
        answer.push_back(rest[i]);
      }
    } else {
      answer = std::string(trim(rest.substr(0, rest.find('$'))));
    }
  } else if (const size_t at = response.rfind("he answer is"); at != std::string_view::npos) {
    answer = std::string(trim(response.substr(at + 12)));
  } else {
    // The last number, commas removed.
    const std::string plain = replace_all(response, ",", "");
    size_t end = plain.size();
    while (end > 0 && !is_digit(plain[end - 1])) --end;
    size_t start = end;
    while (start > 0 && is_digit(plain[start - 1])) --start;
    if (start > 0 && end > start && plain[start - 1] == '.') {
      --start;
      while (start > 0 && is_digit(plain[start - 1])) --start;
    }
    if (start > 0 && end > start && plain[start - 1] == '-') --start;
    answer = plain.substr(start, end - start);
  }
  std::string joined;
  for (size_t i = 0; i < answer.size(); ++i) {
    if (answer[i] != '\n') {
      joined.push_back(answer[i]);
    } else {
      while (i + 1 < answer.size() && (answer[i + 1] == ' ' || answer[i + 1] == '\n' || answer[i + 1] == '\t')) ++i;
    }
  }
  if (starts_with(joined, ":")) joined.erase(0, 1);
  if (ends_with(joined, ".")) joined.pop_back();
  if (ends_with(joined, "/")) joined.pop_back();
  return qwen_normalize(joined, steps);
}

}  // namespace throughline::answer
