#include "gym/answer/extract.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "gym/answer/parser.h"
#include "gym/answer/strings.h"

namespace throughline::answer {
namespace {

constexpr size_t kMaxListBoxes = 32;
constexpr size_t kMaxShortAnswer = 120;

std::string_view skip_space(std::string_view s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  return s;
}

// "%", "\%", "percent" or "pct" right behind mathematics or a box.
bool percent_follows(std::string_view rest) {
  while (!rest.empty() && (rest[0] == ' ' || rest[0] == '$')) rest.remove_prefix(1);
  if (starts_with(rest, "\\)") || starts_with(rest, "\\]")) rest = skip_space(rest.substr(2));
  const std::string word = to_lower(rest.substr(0, 7));
  return starts_with(word, "%") || starts_with(word, "\\%") || starts_with(word, "percent") || starts_with(word, "pct");
}

bool word_in(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool left = at == 0 || !is_letter(text[at - 1]);
    const bool right = at + word.size() >= text.size() || !is_letter(text[at + word.size()]);
    if (left && right) return true;
  }
  return false;
}

// Does the text between two boxes say that the second takes the first one's place?
bool replaces(std::string_view between) {
  static constexpr std::array<std::string_view, 22> kTurns = {
      "so",       "wait",  "then",  "thus",    "hence",   "therefore",  "finally",   "final",
      "actually", "no",    "not",   "instead", "rather",  "correction", "corrected", "sorry",
      "mistake",  "wrong", "gives", "implies", "correct", "becomes"};
  const std::string low = to_lower(between);
  if (contains(low, "...") || contains(low, "\\implies") || contains(low, "\\therefore")) return true;
  return std::any_of(kTurns.begin(), kTurns.end(), [&](std::string_view word) { return word_in(low, word); });
}

struct Span {
  size_t begin = 0, end = 0;  // with delimiters
  std::string_view content;
};

// Mathematics between delimiters. An unescaped $ that has no partner on its line is money, not a delimiter.
std::vector<Span> find_mathematics(std::string_view text) {
  std::vector<Span> spans;
  size_t i = 0;
  // Where a closing delimiter was not found once, it will not be found further on.
  bool no_bracket = false, no_paren = false, no_dollars = false;
  while (i < text.size()) {
    const char c = text[i];
    if (c == '\\' && i + 1 < text.size()) {
      const char next = text[i + 1];
      bool& none = next == '[' ? no_bracket : no_paren;
      if ((next == '[' || next == '(') && !none) {
        const size_t end = text.find(next == '[' ? "\\]" : "\\)", i + 2);
        if (end != std::string_view::npos) {
          spans.push_back({i, end + 2, text.substr(i + 2, end - i - 2)});
          i = end + 2;
          continue;
        }
        none = true;
      }
      i += 2;
      continue;
    }
    if (c == '$') {
      if (i + 1 < text.size() && text[i + 1] == '$') {
        const size_t end = no_dollars ? std::string_view::npos : text.find("$$", i + 2);
        if (end != std::string_view::npos) {
          spans.push_back({i, end + 2, text.substr(i + 2, end - i - 2)});
          i = end + 2;
          continue;
        }
        no_dollars = true;
        i += 2;
        continue;
      }
      size_t end = i + 1;
      while (end < text.size() && text[end] != '$' && text[end] != '\n') end += text[end] == '\\' ? 2 : 1;
      if (end < text.size() && text[end] == '$') {
        spans.push_back({i, end + 1, text.substr(i + 1, end - i - 1)});
        i = end + 1;
        continue;
      }
    }
    ++i;
  }
  return spans;
}

bool joins(std::string_view between) {
  const std::string s = to_lower(trim(between));
  return s == "and" || s == "," || s == ", and" || s == "or" || s == ", or" || s == ";";
}

bool has_digit(std::string_view s) { return std::any_of(s.begin(), s.end(), is_digit); }

// Mathematics that could be an answer although it holds no digit.
bool answer_like(std::string_view s) {
  return has_digit(s) || contains(s, "\\infty") || contains(s, "\\pi") || contains(s, "\\emptyset") ||
         contains(s, "\\text") || contains(s, "=") || contains(s, "<") || contains(s, ">");
}

std::string with_percent(std::string_view content, std::string_view rest) {
  std::string result(content);
  if (percent_follows(rest) && !contains(content, "%")) result += "\\%";
  return result;
}

struct NumberSpan {
  size_t begin = 0, end = 0;
  std::string value;
};

// A number that stands alone, from `i` on ("AZYUK2A" holds none). Fractions of integers belong to it.
bool number_at(std::string_view text, size_t i, NumberSpan* span) {
  size_t p = i;
  const auto digits = [&](std::string* out) {
    const size_t start = p;
    while (p < text.size() && is_digit(text[p])) out->push_back(text[p++]);
    return p - start;
  };
  std::string value;
  if (i > 0 && text[i - 1] == '-' &&
      (i < 2 || !(is_digit(text[i - 2]) || is_letter(text[i - 2]) || text[i - 2] == ')')))
    value = "-";
  const size_t first = digits(&value);
  if (first == 0 && !(text[p] == '.' && p + 1 < text.size() && is_digit(text[p + 1]))) return false;
  bool grouped = false;
  const auto group_follows = [&](size_t at) {
    return at + 3 < text.size() && text[at] == ',' && is_digit(text[at + 1]) && is_digit(text[at + 2]) &&
           is_digit(text[at + 3]) && (at + 4 >= text.size() || !is_digit(text[at + 4]));
  };
  if (first > 0 && first <= 3 && !(first == 1 && text[i] == '0')) {
    while (group_follows(p)) {
      value.append(text.substr(p + 1, 3));
      p += 4;
      grouped = true;
    }
  }
  if (p + 1 < text.size() && (text[p] == '.' || (text[p] == ',' && !grouped)) && is_digit(text[p + 1])) {
    const bool comma = text[p] == ',';
    value.push_back('.');
    ++p;
    digits(&value);
    if (comma && p + 1 < text.size() && text[p] == ',' && is_digit(text[p + 1])) return false;  // 1,2,3: a list
  }
  if (p + 1 < text.size() && text[p] == '/' && is_digit(text[p + 1])) {
    value.push_back('/');
    ++p;
    digits(&value);
  }
  const bool letter_before = i > 0 && is_letter(text[i - 1]);
  if (letter_before) return false;
  span->begin = i;
  span->end = p;
  span->value = value;
  if (percent_follows(text.substr(p, 16))) span->value += "\\%";
  return true;
}

// Cuts prose after the answer: at the end of the sentence or line, or at a special token.
std::string_view first_sentence(std::string_view s) {
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\n') return s.substr(0, i);
    if (s[i] == '.' && (i + 1 >= s.size() || std::isspace(static_cast<unsigned char>(s[i + 1])))) return s.substr(0, i);
    if (s[i] == '<' && i + 1 < s.size() && s[i + 1] == '|') return s.substr(0, i);
  }
  return s;
}

}  // namespace

std::vector<Box> find_boxes(std::string_view text) {
  std::vector<Box> boxes;
  struct Open {
    size_t brace;
    size_t box;  // where its \boxed begins, or npos for another brace
  };
  std::vector<Open> open;
  size_t pending = std::string_view::npos;  // a \boxed whose brace has not come yet
  for (size_t i = std::min(text.find("\\boxed"), text.find("\\fbox")); i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      const std::string_view rest = text.substr(i);
      const size_t width = starts_with(rest, "\\boxed") ? 6 : starts_with(rest, "\\fbox") ? 5 : 0;
      pending = width != 0 ? i : std::string_view::npos;
      // The escaped character is skipped, but for a backslash that was escaped twice ("\\\\boxed").
      const std::string_view next = rest.substr(1);
      i += width != 0 ? width - 1 : starts_with(next, "\\boxed") || starts_with(next, "\\fbox") ? 0 : 1;
    } else if (c == '{') {
      open.push_back({i, pending});
      pending = std::string_view::npos;
    } else if (c == '}') {
      if (open.empty()) continue;
      const Open last = open.back();
      open.pop_back();
      if (last.box == std::string_view::npos) continue;
      while (!boxes.empty() && boxes.back().begin > last.box) boxes.pop_back();  // boxes inside of this one
      boxes.push_back({last.box, i + 1, text.substr(last.brace + 1, i - last.brace - 1)});
    } else if (!std::isspace(static_cast<unsigned char>(c))) {
      pending = std::string_view::npos;
    }
  }
  return boxes;
}

std::optional<std::string_view> answer_region(std::string_view text, ThinkRegion region) {
  constexpr std::string_view kClose = "</think>";
  if (region == ThinkRegion::kWhole) return text;
  const size_t close = region == ThinkRegion::kAfterLast ? text.rfind(kClose) : text.find(kClose);
  if (close == std::string_view::npos) {
    // Thinking that was cut off: whatever it holds is no answer.
    if (region == ThinkRegion::kRequired || contains(text, "<think>")) return std::nullopt;
    return text;
  }
  return text.substr(close + kClose.size());
}

std::optional<std::string> boxed_answer(std::string_view region, const BoxOptions& options) {
  std::vector<Box> boxes = find_boxes(region);
  if (!options.fbox) {
    std::erase_if(boxes, [&](const Box& box) { return region.compare(box.begin, 2, "\\f") == 0; });
  }
  if (boxes.empty()) return std::nullopt;
  size_t first = boxes.size() - 1;
  while (first > 0 && boxes.size() - first < kMaxListBoxes) {
    const size_t gap_begin = boxes[first - 1].end, gap = boxes[first].begin - gap_begin;
    if (gap > options.list_distance) break;
    if (options.later_replaces && replaces(region.substr(gap_begin, gap))) break;
    --first;
  }
  std::vector<std::string> parts;
  for (size_t i = first; i < boxes.size(); ++i) {
    std::string part = with_percent(trim(boxes[i].content), region.substr(boxes[i].end, 24));
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(std::move(part));
  }
  std::string joined = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) joined += ", " + parts[i];
  return joined;
}

std::optional<std::string> last_mathematics(std::string_view region, bool digits_only, size_t* position) {
  const std::vector<Span> spans = find_mathematics(region);
  for (size_t i = spans.size(); i-- > 0;) {
    if (trim(spans[i].content).empty() || (digits_only && !answer_like(spans[i].content))) continue;
    size_t first = i;
    while (first > 0 && joins(region.substr(spans[first - 1].end, spans[first].begin - spans[first - 1].end))) --first;
    std::string joined = with_percent(trim(spans[first].content), region.substr(spans[first].end, 24));
    for (size_t j = first + 1; j <= i; ++j) {
      joined += ", " + with_percent(trim(spans[j].content), region.substr(spans[j].end, 24));
    }
    *position = spans[i].begin;
    return joined;
  }
  return std::nullopt;
}

std::optional<std::string> last_number_or_choice(std::string_view region, size_t* position) {
  // From the end backwards to the start of the last number or lone capital letter.
  for (size_t i = region.size(); i-- > 0;) {
    const char c = region[i];
    if (is_digit(c)) {
      size_t start = i;
      const auto part = [&](size_t k) {
        const char d = region[k];
        if (is_digit(d)) return true;
        if (d != '.' && d != ',' && d != '/') return false;
        return k + 1 <= i && is_digit(region[k + 1]) && (d == '.' || (k > 0 && is_digit(region[k - 1])));
      };
      while (start > 0 && i - start < 400 && part(start - 1)) --start;
      // A list such as 1,2,3 is no number: take its last element.
      NumberSpan span;
      for (size_t s = start; s <= i; ++s) {
        if ((s == start || !is_digit(region[s - 1])) && number_at(region, s, &span) && span.end > i) {
          *position = span.begin;
          return span.value;
        }
      }
      i = start;
      continue;
    }
    if (c >= 'A' && c <= 'J') {
      const bool left = i == 0 || !(is_letter(region[i - 1]) || is_digit(region[i - 1]) || region[i - 1] == '\\');
      const bool right =
          i + 1 >= region.size() || !(is_letter(region[i + 1]) || is_digit(region[i + 1]) || region[i + 1] == '\'');
      const bool bracketed = i > 0 && region[i - 1] == '(' && i + 1 < region.size() && region[i + 1] == ')';
      const bool article = !bracketed && (c == 'A' || c == 'I') && i + 1 < region.size() && region[i + 1] == ' ';
      if (left && right && !article) {
        *position = i;
        return std::string(1, c);
      }
    }
  }
  return std::nullopt;
}

std::optional<std::string> whole_answer(std::string_view region) {
  const std::string_view s = trim(region);
  if (s.empty() || s.size() > kMaxShortAnswer || contains(s, "\n")) return std::nullopt;
  const std::vector<Span> spans = find_mathematics(s);
  if (spans.size() == 1 && spans[0].begin == 0) {
    const std::string_view rest = trim(s.substr(spans[0].end));
    if (rest.empty() || rest == ".") return std::string(trim(spans[0].content));
  }
  if (!spans.empty()) return std::nullopt;
  // Prose: two words side by side, or one long word among numbers, that are neither functions, separators nor units.
  static constexpr std::array<std::string_view, 9> kKnown = {"and",      "or",      "sqrt", "inf", "infty",
                                                             "infinity", "percent", "pct",  "log"};
  size_t run = 0, last_word_end = std::string_view::npos;
  for (size_t i = 0; i <= s.size(); ++i) {
    if (i < s.size() && is_letter(s[i])) {
      ++run;
      continue;
    }
    const size_t start = i - run;
    const bool command = run > 0 && start > 0 && s[start - 1] == '\\';
    const std::string_view word = s.substr(start, run);
    if (run >= 2 && !command && !is_unit_word(word) && std::find(kKnown.begin(), kKnown.end(), word) == kKnown.end()) {
      if (run > 3 && has_digit(s)) return std::nullopt;
      if (start > 0 && last_word_end == start - 1 && (s[start - 1] == ' ' || s[start - 1] == '\'')) return std::nullopt;
      last_word_end = i;
    }
    run = 0;
  }
  return std::string(s);
}

std::optional<std::string> anchored_answer(std::string_view region) {
  static constexpr std::array<std::string_view, 6> kAnchors = {
      "answer is", "answer:", "answer is:", "####", "\na:", "answer**:"};
  const std::string low = to_lower(region);
  size_t best = std::string::npos, width = 0;
  for (const std::string_view anchor : kAnchors) {
    const size_t at = low.rfind(anchor);
    if (at != std::string::npos && (best == std::string::npos || at + anchor.size() > best + width)) {
      best = at;
      width = anchor.size();
    }
  }
  if (best == std::string::npos && starts_with(low, "a:")) best = 0, width = 2;
  if (best == std::string::npos) return std::nullopt;
  std::string_view rest = region.substr(best + width);
  while (!rest.empty() && (rest[0] == ':' || rest[0] == '*' || rest[0] == ' ' || rest[0] == '\n'))
    rest.remove_prefix(1);
  if (rest.empty()) return std::nullopt;
  const std::string_view sentence = first_sentence(rest);
  const std::vector<Span> spans = find_mathematics(rest);
  if (!spans.empty() && spans[0].begin == 0) {
    size_t last = 0;
    while (last + 1 < spans.size() && joins(rest.substr(spans[last].end, spans[last + 1].begin - spans[last].end))) {
      ++last;
    }
    std::string joined;
    for (size_t i = 0; i <= last; ++i) {
      joined += (i == 0 ? "" : ", ") + with_percent(trim(spans[i].content), rest.substr(spans[i].end, 24));
    }
    return joined;
  }
  std::string_view content = trim(sentence);
  while (!content.empty() && (content.back() == '.' || content.back() == '*' || content.back() == ',')) {
    content.remove_suffix(1);
  }
  if (content.empty()) return std::nullopt;
  const bool prose_mathematics = !spans.empty() && spans[0].begin < sentence.size();
  if (!prose_mathematics) {
    if (const auto whole = whole_answer(content)) return whole;
  }
  // Prose. A number or choice right at its start is the answer; else the last value of the sentence.
  NumberSpan span;
  const size_t skip = !content.empty() && (content[0] == '-' || content[0] == '$') ? 1 : 0;
  if (content.size() > skip && is_digit(content[skip]) && number_at(content, skip, &span)) return span.value;
  if (content.size() > 2 && content[0] == '(' && content[1] >= 'A' && content[1] <= 'J' && content[2] == ')') {
    return std::string(1, content[1]);
  }
  size_t mathematics_at = 0, number_place = 0;
  const auto mathematics = last_mathematics(content, true, &mathematics_at);
  const auto number = last_number_or_choice(content, &number_place);
  if (mathematics && (!number || number_place < mathematics_at + mathematics->size() + 4)) return mathematics;
  if (number) return number;
  return std::string(content);
}

std::string gold_answer(std::string_view gold) {
  const std::string_view s = trim(gold);
  if (contains(s, "\\boxed") || contains(s, "\\fbox")) {
    BoxOptions options;
    if (auto boxed = boxed_answer(s, options)) return *boxed;
    const size_t open = s.find('{', s.find("box"));
    if (open != std::string_view::npos) return std::string(s.substr(open + 1));
  }
  const std::vector<Span> spans = find_mathematics(s);
  if (spans.size() == 1 && spans[0].begin == 0 && spans[0].end == s.size()) {
    return std::string(trim(spans[0].content));
  }
  if (!spans.empty() && s.size() > 200) {
    if (auto anchored = anchored_answer(s)) return *anchored;
  }
  size_t position = 0;
  if (!spans.empty()) {
    if (auto mathematics = last_mathematics(s, false, &position)) return *mathematics;
  }
  if (const size_t mark = s.rfind("####"); mark != std::string_view::npos) return std::string(trim(s.substr(mark + 4)));
  return std::string(s);
}

}  // namespace throughline::answer
