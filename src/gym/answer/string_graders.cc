#include "gym/answer/string_graders.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "gym/answer/compare.h"
#include "gym/answer/parser.h"
#include "gym/answer/string_graders_common.h"
#include "gym/answer/strings.h"

namespace throughline::answer {
namespace graders {

// The string normalisation of the MATH release.
static std::string strip_string(std::string s, bool* error) {
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
      fixed +=
          parts[i][0] == '{' ? "\\sqrt" + parts[i] : std::string("\\sqrt{") + parts[i][0] + "}" + parts[i].substr(1);
    }
    s = fixed;
  }
  s = replace_all(s, " ", "");
  s = fix_fractions(s, error);
  if (s == "0.5") s = "\\frac{1}{2}";
  return fix_slash(s, false);
}

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

std::string erase_between(std::string_view s, std::string_view open, char close, std::string_view replacement,
                          bool keep_inner) {
  std::string out;
  size_t done = 0;  // copied or dropped so far
  for (size_t at = find_part(s, open); at != std::string_view::npos; at = find_part(s, open, done)) {
    const size_t inner = at + open.size(), end = s.find(close, inner);
    if (end == std::string_view::npos) break;
    out.append(s.substr(done, at - done)).append(replacement);
    if (keep_inner) out.append(s.substr(inner, end - inner));
    done = end + 1;
  }
  out.append(s.substr(done));
  return out;
}

}  // namespace graders

using namespace graders;

std::string hendrycks_normalize(std::string_view answer) {
  bool error = false;
  std::string s = strip_string(std::string(answer), &error);
  return error ? std::string(answer) : s;
}

std::string dapo_normalize(std::string_view answer) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kSubstitutions = {
      {{"an ", ""},
       {"a ", ""},
       {".$", "$"},
       {"\\$", ""},
       {"\\ ", ""},
       {" ", ""},
       {"mbox", "text"},
       {",\\text{and}", ","},
       {"\\text{and}", ","},
       {"\\text{m}", "\\text{}"}}};
  static constexpr std::array<std::string_view, 40> kRemoved = {
      "square",     "ways",       "integers",  "dollars",      "mph",
      "inches",     "hours",      "km",        "units",        "\\ldots",
      "sue",        "points",     "feet",      "minutes",      "digits",
      "cents",      "degrees",    "cm",        "gm",           "pounds",
      "meters",     "meals",      "edges",     "students",     "childrentickets",
      "multiples",  "\\text{s}",  "\\text{.}", "\\text{\ns}",  "\\text{}^2",
      "\\text{}^3", "\\text{\n}", "\\text{}",  "\\mathrm{th}", "^\\circ",
      "^{\\circ}",  "\\;",        ",\\!",      "{,}",          "\""};
  std::string s = split(answer, "=").back();
  for (const auto& [from, to] : kSubstitutions) s = replace_all(s, from, to);
  for (const std::string_view part : kRemoved) s = replace_all(s, part, "");
  s = replace_all(s, "\\dots", "");
  // Only what is between the first two dollars counts.
  const size_t open = s.find('$');
  const size_t close = open == std::string::npos ? open : s.find('$', open + 1);
  if (close != std::string::npos) s = s.substr(open, close - open + 1);
  for (const std::string_view command : {"\\text{", "\\textbf{", "\\overline{"})
    s = erase_between(s, command, '}', "", true);
  if (const size_t box = s.find("\\boxed{"); box != std::string::npos) {
    const size_t end = s.rfind('}');
    if (end != std::string::npos && end > box)
      s = s.substr(0, box) + s.substr(box + 7, end - box - 7) + s.substr(end + 1);
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
  for (size_t at = low.rfind("answer"); at != std::string::npos;
       at = at == 0 ? std::string::npos : low.rfind("answer", at - 1)) {
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
