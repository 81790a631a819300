#include "gym/answer/string_graders.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "gym/answer/compare.h"
#include "gym/answer/parser.h"
#include "gym/answer/strings.h"

namespace throughline::answer {
namespace {

// \frac12 -> \frac{1}{2}, \frac1{72} -> \frac{1}{72}; nullopt where the original raises an error.
std::string fix_fractions(std::string_view text, bool* error) {
  std::vector<std::string> parts = split(text, "\\frac");
  std::string out = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    out += "\\frac";
    if (part.empty()) {
      *error = true;
      return std::string(text);
    }
    if (part[0] == '{') {
      out += part;
    } else {
      if (part.size() < 2) return std::string(text);
      out += std::string("{") + part[0] + "}";
      out += part[1] != '{' ? std::string("{") + part[1] + "}" : "{";
      out += part.substr(2);
    }
  }
  return out;
}

// "3/4" of two integers -> \frac{3}{4}
std::string fix_slash(const std::string& text, bool allow_root) {
  const std::vector<std::string> parts = split(text, "/");
  if (parts.size() != 2) return text;
  std::string a = parts[0], b = parts[1];
  if (!(allow_root && contains(a, "sqrt")) && !parse_int_text(parts[0], &a)) return text;
  if (!(allow_root && contains(b, "sqrt")) && !parse_int_text(parts[1], &b)) return text;
  if (text != a + "/" + b) return text;
  return "\\frac{" + a + "}{" + b + "}";
}

std::string drop_short_left_side(const std::string& text) {
  const std::vector<std::string> parts = split(text, "=");
  return parts.size() == 2 && parts[0].size() <= 2 ? parts[1] : text;
}

std::string strip_string(std::string s, bool* error) {
  s = replace_all(s, "\n", "");
  s = replace_all(s, "\\!", "");
  s = replace_all(s, "\\\\", "\\");
  s = replace_all(s, "tfrac", "frac");
  s = replace_all(s, "dfrac", "frac");
  s = replace_all(s, "\\left", "");
  s = replace_all(s, "\\right", "");
  s = replace_all(s, "^{\\circ}", "");
  s = replace_all(s, "^\\circ", "");
  s = replace_all(s, "\\$", "");
  if (contains(s, "\\text{ ")) {
    const std::vector<std::string> parts = split(s, "\\text{ ");
    if (parts.size() != 2) {
      *error = true;
      return s;
    }
    s = parts[0];
  }
  s = replace_all(s, "\\%", "");
  s = replace_all(s, " .", " 0.");
  s = replace_all(s, "{.", "{0.");
  if (s.empty()) return s;
  if (s[0] == '.') s = "0" + s;
  s = drop_short_left_side(s);
  if (contains(s, "\\sqrt")) {
    const std::vector<std::string> parts = split(s, "\\sqrt");
    std::string fixed = parts[0];
    for (size_t i = 1; i < parts.size(); ++i) {
      if (parts[i].empty()) {
        *error = true;
        return s;
      }
      fixed += parts[i][0] == '{' ? "\\sqrt" + parts[i]
                                  : std::string("\\sqrt{") + parts[i][0] + "}" + parts[i].substr(1);
    }
    s = fixed;
  }
  s = replace_all(s, " ", "");
  s = fix_fractions(s, error);
  if (s == "0.5") s = "\\frac{1}{2}";
  return fix_slash(s, false);
}

// The content of a \text{...} that is the whole answer (shortest match, as in the original's regex).
bool whole_text(std::string_view s, std::string* inner) {
  constexpr std::string_view kOpen = "\\text{";
  if (!starts_with(s, kOpen) || s.size() < kOpen.size() + 2 || s.back() != '}') return false;
  *inner = std::string(s.substr(kOpen.size(), s.size() - kOpen.size() - 1));
  return !contains(*inner, "\n");
}

std::string mathd_normalize(std::string_view answer) {
  std::string s(trim(answer)), inner;
  if (whole_text(s, &inner)) s = std::string(trim(inner));
  bool error = false;
  const std::string stripped = strip_string(s, &error);
  return error ? s : stripped;
}

// What the original asks its algebra system. `latex`: the text is read as LaTeX alone (sqrt and pi are letters).
bool equal_as_expressions(const std::string& a, const std::string& b, bool latex, Steps* steps) {
  ParseOptions options;
  options.lex.bare_pi = !latex;
  options.lex.plain_functions = !latex;
  options.mixed_numbers = false;
  options.units = false;
  Tree gold = parse_answer(a, options, steps), answer = parse_answer(b, options, steps);
  if (gold.root == kNoNode || answer.root == kNoNode) return false;
  CompareOptions compare;
  compare.case_sensitive_text = false;
  compare.decimal_places = 12;
  compare.percent_leniency = false;
  compare.expressions_only = true;
  if (latex) compare.relative_tolerance = 1e-4L;
  return compare_answers(std::move(gold), std::move(answer), compare, steps).equal == Tri::kEqual;
}

// --- PRM800K --------------------------------------------------------------------------------------------------------

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
      "degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour",
      "day",    "week", "month",    "year",  "foot", "feet",   "inch",   "yard"};
  for (const std::string_view unit : kUnits) {
    std::string out;
    size_t i = 0;
    while (i < s.size()) {
      if (s.compare(i, unit.size(), unit) != 0) {
        out.push_back(s[i++]);
        continue;
      }
      i += unit.size();
      if (s.compare(i, 2, "es") == 0) i += 2;
      if (i < s.size() && s[i] == 's') ++i;
      while (i < s.size() && s[i] == ' ') ++i;
      if (i + 1 < s.size() && s[i] == '^' && is_digit(s[i + 1])) {
        for (++i; i < s.size() && is_digit(s[i]);) ++i;
      }
    }
    s = out;
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

// --- Qwen -----------------------------------------------------------------------------------------------------------

bool word_character(char c) { return is_letter(c) || is_digit(c) || c == '_'; }

constexpr std::array<std::string_view, 131> kQwenUnits = {
    "east", "degree", "mph", "kmph", "ft", "m sqaure", " m east", "sq m", "deg", "mile", "q .", "monkey", "prime",
    "ratio", "profit of rs", "rd", "o", "gm", "p . m", "lb", "tile", "per", "dm", "lt", "gain", "ab", "way", "west",
    "", "", "", "", "", "", "", "", "t", "a", "h", "no change", "men", "soldier", "pie", "bc",
    "excess", "st", "inches", "noon", "percent", "by", "gal", "kmh", "c", "acre", "rise", "a . m", "th", "sq", "mark",
    "l", "toy", "coin", "sq . m", "gallon", "profit", "minw", "yr", "women", "feet", "am", "pm", "hr", "cu cm",
    "square", "are", "rupee", "rounds", "cubic", "cc", "mtr", "s", "ohm", "number", "kmph", "day", "hour", "minute",
    "min", "second", "man", "woman", "sec", "cube", "mt", "sq inch", "mp", "hectare", "more", "sec", "unit", "cu . m",
    "cm 2", "rs .", "rs", "kg", "g", "month", "km", "m", "cm", "mm", "apple", "liter", "loss", "yard", "pure", "year",
    "increase", "decrease", "d", "less", "Surface", "litre", "pi sq m", "s .", "metre", "meter", "inch", "", "", ""};

// Where `unit` begins at or behind `from`. A '.' of the original's pattern stands for any character.
size_t find_unit(std::string_view s, std::string_view unit, size_t from) {
  const size_t dot = unit.find('.');
  if (dot == std::string_view::npos) return s.find(unit, from);
  // All patterns with a dot begin with plain characters: look for those first.
  const std::string_view head = unit.substr(0, dot);
  for (size_t at = s.find(head, from); at != std::string_view::npos; at = s.find(head, at + 1)) {
    if (at + unit.size() > s.size()) return std::string_view::npos;
    bool equal = true;
    for (size_t i = dot; i < unit.size() && equal; ++i) equal = unit[i] == '.' || unit[i] == s[at + i];
    if (equal) return at;
  }
  return std::string_view::npos;
}

// Removes `unit` where it stands alone; the characters around it stay, and cannot begin the next match.
std::string remove_unit(const std::string& s, std::string_view unit) {
  size_t at = find_unit(s, unit, 0);
  if (at == std::string::npos) return s;
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
  return out;
}

std::string erase_between(std::string s, std::string_view open, char close, bool keep_inner) {
  for (size_t at = s.find(open); at != std::string::npos; at = s.find(open, at)) {
    const size_t end = s.find(close, at + open.size());
    if (end == std::string::npos) break;
    const std::string inner = keep_inner ? s.substr(at + open.size(), end - at - open.size()) : "";
    s = s.substr(0, at) + inner + s.substr(end + 1);
    at += inner.size();
  }
  return s;
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
  if (depth > 8 || !steps->charge(1 + static_cast<int64_t>(answer.size() + gold.size()) / 4)) return false;
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
    return qwen_symbolic(form(answer), form(gold), steps) || qwen_symbolic("-(" + form(answer) + ")", form(gold), steps);
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

std::string hendrycks_normalize(std::string_view answer) {
  bool error = false;
  std::string s = strip_string(std::string(answer), &error);
  return error ? std::string(answer) : s;
}

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

std::string qwen_normalize(std::string_view answer) {
  std::string s(trim(answer));
  s = replace_all(s, "\n", "");
  while (!s.empty() && s.back() == '.') s.pop_back();
  s = replace_all(s, "\\!", "");
  for (size_t at = s.find("\\begin{array}{"); at != std::string::npos; at = s.find("\\begin{array}{", at)) {
    const size_t end = s.find('}', at + 14);
    if (end == std::string::npos) break;
    s = s.substr(0, at) + "\\begin{pmatrix}" + s.substr(end + 1);
  }
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
  for (int round = 0; round < 2; ++round) {
    for (const std::string_view plural : {"", "s"}) {
      for (const std::string_view unit : kQwenUnits) {
        if (unit.empty()) continue;
        const std::string pattern = std::string(unit) + std::string(plural);
        const std::string without = remove_unit(s, pattern);
        if (!without.empty()) s = without;
      }
    }
  }
  s = replace_all(s, "^{\\circ}", "");
  s = replace_all(s, "^\\circ", "");
  s = replace_all(s, "\\$", "");
  s = replace_all(s, "$", "");
  s = replace_all(s, "\\(", "");
  s = replace_all(s, "\\)", "");
  s = erase_between(s, "\\text{", '}', true);
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
  s = erase_between(s, "\\mbox{", '}', false);
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

std::string qwen_extract(std::string_view response) {
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
  return qwen_normalize(joined);
}

std::string dapo_normalize(std::string_view answer) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kSubstitutions = {{
      {"an ", ""}, {"a ", ""}, {".$", "$"}, {"\\$", ""}, {"\\ ", ""}, {" ", ""}, {"mbox", "text"},
      {",\\text{and}", ","}, {"\\text{and}", ","}, {"\\text{m}", "\\text{}"}}};
  static constexpr std::array<std::string_view, 40> kRemoved = {
      "square", "ways", "integers", "dollars", "mph", "inches", "hours", "km", "units", "\\ldots", "sue", "points",
      "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
      "childrentickets", "multiples", "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3",
      "\\text{\n}", "\\text{}", "\\mathrm{th}", "^\\circ", "^{\\circ}", "\\;", ",\\!", "{,}", "\""};
  std::string s = split(answer, "=").back();
  for (const auto& [from, to] : kSubstitutions) s = replace_all(s, from, to);
  for (const std::string_view part : kRemoved) s = replace_all(s, part, "");
  s = replace_all(s, "\\dots", "");
  // Only what is between the first two dollars counts.
  const size_t open = s.find('$');
  const size_t close = open == std::string::npos ? open : s.find('$', open + 1);
  if (close != std::string::npos) s = s.substr(open, close - open + 1);
  for (const std::string_view command : {"\\text{", "\\textbf{", "\\overline{"}) s = erase_between(s, command, '}', true);
  if (const size_t box = s.find("\\boxed{"); box != std::string::npos) {
    const size_t end = s.rfind('}');
    if (end != std::string::npos && end > box) s = s.substr(0, box) + s.substr(box + 7, end - box - 7) + s.substr(end + 1);
  }
  std::string fixed;
  for (size_t i = 0; i < s.size();) {
    if (s.compare(i, 4, "frac") == 0 && i + 5 < s.size() && s[i + 4] != '{') {
      fixed += std::string("frac{") + s[i + 4] + "}{" + s[i + 5] + "}";
      i += 6;
    } else {
      fixed.push_back(s[i++]);
    }
  }
  s.clear();
  for (size_t i = 0; i < fixed.size();) {
    if (fixed.compare(i, 4, "sqrt") == 0 && i + 4 < fixed.size() && fixed[i + 4] != '{') {
      s += std::string("sqrt{") + fixed[i + 4] + "}";
      i += 5;
    } else {
      s.push_back(fixed[i++]);
    }
  }
  s = replace_all(s, "$", "");
  const std::string digits = replace_all(s, ",", "");
  if (!digits.empty() && std::all_of(digits.begin(), digits.end(), is_digit)) s = digits;
  return std::string(trim(s));
}

std::optional<std::string> dapo_extract(std::string_view response) {
  // The last 300 code points: the original counts characters.
  size_t start = response.size();
  for (int left = 300; start > 0 && left > 0; --left) {
    do --start;
    while (start > 0 && (static_cast<unsigned char>(response[start]) & 0xC0) == 0x80);
  }
  const std::string_view tail = response.substr(start);
  const std::string low = to_lower(tail);
  for (size_t at = low.rfind("answer"); at != std::string::npos; at = at == 0 ? std::string::npos : low.rfind("answer", at - 1)) {
    size_t p = at + 6;
    while (p < tail.size() && (tail[p] == ' ' || tail[p] == '\t' || tail[p] == '\n')) ++p;
    if (p >= tail.size() || tail[p] != ':') continue;
    ++p;
    while (p < tail.size() && (tail[p] == ' ' || tail[p] == '\t' || tail[p] == '\n')) ++p;
    const std::string_view rest = tail.substr(p);
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (!line.empty()) return std::string(line);
  }
  return std::nullopt;
}

std::optional<std::string> gsm8k_extract(std::string_view response) {
  for (size_t i = response.size(); i-- > 0;) {
    std::string_view rest;
    if (response.compare(i, 4, "####") == 0) {
      rest = response.substr(i + 4);
    } else if (response.compare(i, 2, "A:") == 0) {
      rest = response.substr(i + 2);
    } else {
      continue;
    }
    while (!rest.empty() && (rest[0] == ' ' || rest[0] == '$')) rest.remove_prefix(1);
    std::string number;
    for (const char c : rest) {
      if (is_digit(c) || c == '.' || (c == '-' && number.empty())) {
        number.push_back(c);
      } else if (c != ',') {
        break;
      }
    }
    while (!number.empty() && number.back() == '.') number.pop_back();
    if (std::any_of(number.begin(), number.end(), is_digit)) return number;
  }
  return std::nullopt;
}

std::optional<std::string> last_boxed_plain(std::string_view response, bool fbox) {
  size_t at = response.rfind("\\boxed");
  if (at == std::string_view::npos && fbox) at = response.rfind("\\fbox");
  if (at == std::string_view::npos) return std::nullopt;
  int depth = 0;
  const size_t open = response.find('{', at);
  if (open == std::string_view::npos) return std::nullopt;
  for (size_t i = open; i < response.size(); ++i) {
    if (response[i] == '{') ++depth;
    if (response[i] == '}' && --depth == 0) return std::string(response.substr(open + 1, i - open - 1));
  }
  return std::nullopt;
}

}  // namespace throughline::answer
