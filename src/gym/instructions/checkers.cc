#include "gym/instructions/checkers.h"

#include <algorithm>
#include <map>

#include "gym/instructions/approximate.h"
#include "gym/instructions/unicode.h"

namespace throughline {
namespace {

using Text = std::u32string_view;
using Options = InstructionOptions;
constexpr size_t kNone = Text::npos;

bool starts_at(Text text, size_t at, Text part) {
  return at <= text.size() && text.compare(at, part.size(), part) == 0;
}

// The end of "\s?" at `at`, greedy.
size_t after_space(Text text, size_t at) { return at < text.size() && is_py_space(text[at]) ? at + 1 : at; }

// Of each place, the next one (itself included) that is not white space: "^\s*" from many line starts must stay linear.
std::vector<size_t> next_non_space(Text text) {
  std::vector<size_t> out(text.size() + 1, text.size());
  for (size_t i = text.size(); i-- > 0;) out[i] = is_py_space(text[i]) ? out[i + 1] : i;
  return out;
}

size_t line_end(Text text, size_t at) { return std::min(text.find(U'\n', at), text.size()); }

// ---- keywords

bool keyword_existence(Text text, const Options& options) {
  const std::u32string folded = py_fold(text);
  return std::all_of(options.words.begin(), options.words.end(),
                     [&](const auto& word) { return folded.find(py_fold(word)) != kNone; });
}

bool keyword_frequency(Text text, const Options& options) {
  const std::u32string folded = py_fold(text), word = py_fold(py_strip(options.text));
  int64_t count = word.empty() ? static_cast<int64_t>(text.size()) + 1 : 0;  // re.findall("") matches everywhere
  for (size_t at = folded.find(word); !word.empty() && at != kNone; at = folded.find(word, at + word.size())) ++count;
  return compare_count(count, options);
}

bool forbidden_words(Text text, const Options& options) {
  const std::u32string folded = py_fold(text);
  const auto boundary = [&](size_t at) {
    const bool before = at > 0 && is_py_word(text[at - 1]);
    const bool after = at < text.size() && is_py_word(text[at]);
    return before != after;
  };
  for (const auto& raw : options.words) {
    const std::u32string word = py_fold(raw);
    for (size_t at = folded.find(word); at != kNone; at = folded.find(word, at + 1)) {
      if (boundary(at) && boundary(at + word.size())) return false;
    }
  }
  return true;
}

bool letter_frequency(Text text, const Options& options) {
  const std::u32string lowered = py_lower(text), letter = py_lower(py_strip(options.text));
  return compare_count(letter.size() == 1 ? std::count(lowered.begin(), lowered.end(), letter[0]) : 0, options);
}

// ---- length_constraints

bool number_words(Text text, const Options& options) {
  int64_t count = 0;
  for (size_t i = 0; i < text.size(); ++i) count += is_py_word(text[i]) && (i == 0 || !is_py_word(text[i - 1]));
  return compare_count(count, options);
}

// re.split(r"\s?\*\*\*\s?", text)
std::vector<Text> split_at_dividers(Text text) {
  std::vector<Text> out;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t stars = is_py_space(text[at]) && starts_at(text, at + 1, U"***") ? at + 1 : at;
    if (!starts_at(text, stars, U"***")) {
      ++at;
      continue;
    }
    out.push_back(text.substr(begin, at - begin));
    begin = at = after_space(text, stars + 3);
  }
  out.push_back(text.substr(begin));
  return out;
}

bool number_paragraphs(Text text, const Options& options) {
  const std::vector<Text> paragraphs = split_at_dividers(text);
  auto count = static_cast<int64_t>(paragraphs.size());
  for (size_t i = 0; i < paragraphs.size(); ++i) {
    if (!py_strip(paragraphs[i]).empty()) continue;
    if (i != 0 && i != paragraphs.size() - 1) return false;
    --count;
  }
  return count == options.count;
}

bool nth_paragraph_first_word(Text text, const Options& options) {
  const std::vector<Text> paragraphs = split_text(text, U"\n\n");
  const auto count =
      std::count_if(paragraphs.begin(), paragraphs.end(), [](Text part) { return !py_strip(part).empty(); });
  if (options.paragraph > count) return false;
  // The number counts the blank parts too, as published.
  Text word = py_strip(paragraphs[static_cast<size_t>(options.paragraph - 1)]);
  if (word.empty()) return false;
  word = word.substr(0, static_cast<size_t>(std::find_if(word.begin(), word.end(), is_py_space) - word.begin()));
  while (!word.empty() && word.front() == '\'') word.remove_prefix(1);
  while (!word.empty() && word.front() == '"') word.remove_prefix(1);
  std::u32string first;
  for (char32_t c : word.substr(0, word.find_first_of(U".,?!'\""))) first += py_lower(Text(&c, 1));
  return count == options.count && first == py_lower(options.text);
}

// ---- detectable_content, detectable_format

bool number_placeholders(Text text, const Options& options) {  // \[.*?\]
  int64_t count = 0;
  for (size_t at = text.find('['); at != kNone; at = text.find('[', at)) {
    const size_t end = text.find_first_of(U"]\n", at);
    if (end == kNone) break;
    count += text[end] == ']';
    at = end + 1;
  }
  return count >= options.count;
}

bool postscript(Text text, const Options& options) {
  const std::u32string lowered = py_lower(text);
  const Text seen = lowered;
  const std::u32string marker(py_strip(options.text));
  if (marker == U"P.P.S" || marker == U"P.S.") {
    for (size_t at = seen.find(U"p."); at != kNone; at = seen.find(U"p.", at + 1)) {
      size_t next = after_space(seen, at + 2);
      if (marker == U"P.S." && starts_at(seen, next, U"s.")) return true;
      if (marker == U"P.P.S" && starts_at(seen, next, U"p.") && starts_at(seen, after_space(seen, next + 2), U"s"))
        return true;
    }
    return false;
  }
  const std::u32string pattern = py_lower(marker);  // a regular expression as published: "." is any character
  for (size_t at = 0; at + pattern.size() <= seen.size(); ++at) {
    size_t i = 0;
    while (i < pattern.size() && (pattern[i] == '.' ? seen[at + i] != '\n' : pattern[i] == seen[at + i])) ++i;
    if (i == pattern.size()) return true;
  }
  return false;
}

// ^\s*\*[^\*].*$ and ^\s*-.*$, over several lines as the patterns allow.
int64_t count_bullets(Text text, char32_t bullet) {
  const std::vector<size_t> non_space = next_non_space(text);
  int64_t count = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = non_space[at];
    const bool starred = bullet == '*';
    const bool match =
        mark < text.size() && text[mark] == bullet && (!starred || (mark + 1 < text.size() && text[mark + 1] != '*'));
    count += match;
    // A match ends at the end of its line; "[^\*]" may have taken a line feed, then it is the next line's.
    at = line_end(text, match ? mark + (starred ? 2 : 1) : at) + 1;
  }
  return count;
}

bool number_bullet_lists(Text text, const Options& options) {
  return count_bullets(text, '*') + count_bullets(text, '-') == options.count;
}

bool constrained_response(Text text, const Options&) {
  return text.find(U"My answer is yes.") != kNone || text.find(U"My answer is no.") != kNone ||
         text.find(U"My answer is maybe.") != kNone;
}

bool number_highlighted_sections(Text text, const Options& options) {
  int64_t count = 0;
  for (size_t at = text.find('*'); at != kNone;) {  // \*[^\n\*]*\*
    const size_t end = text.find_first_of(U"*\n", at + 1);
    const bool match = end != kNone && text[end] == '*';
    count += match && !py_strip(strip_char(text.substr(at, end - at), '*')).empty();
    at = end == kNone ? kNone : text.find('*', match ? end + 1 : end);
  }
  for (size_t at = text.find(U"**"); at != kNone;) {  // \*\*[^\n\*]*\*\*
    const size_t end = text.find_first_of(U"*\n", at + 2);
    const bool match = end != kNone && starts_at(text, end, U"**");
    count += match && !py_strip(text.substr(at + 2, end - at - 2)).empty();
    at = end == kNone ? kNone : text.find(U"**", match ? end + 2 : at + 1);
  }
  return count >= options.count;
}

bool multiple_sections(Text text, const Options& options) {  // \s?NAME\s?\d+\s?
  const std::u32string name(py_strip(options.text));
  int64_t count = 0;
  for (size_t at = 0; at < text.size();) {
    size_t next = kNone;
    for (size_t begin : {after_space(text, at), at}) {
      if (!starts_at(text, begin, name)) continue;
      const size_t digits = after_space(text, begin + name.size());
      size_t end = digits;
      while (end < text.size() && is_py_digit(text[end])) ++end;
      if (end == digits) continue;
      next = after_space(text, end);
      break;
    }
    count += next != kNone;
    at = next != kNone ? next : at + 1;
  }
  return count >= options.count;
}

bool json_format(Text text, const Options&) {
  text = py_strip(text);
  for (Text prefix : {Text(U"```json"), Text(U"```Json"), Text(U"```JSON"), Text(U"```")}) {
    if (starts_at(text, 0, prefix)) text.remove_prefix(prefix.size());
  }
  if (text.size() >= 3 && text.substr(text.size() - 3) == U"```") text.remove_suffix(3);
  return is_python_json(py_strip(text));
}

bool title(Text text, const Options&) {  // <<[^\n]+>>, greedy: at most one a line
  for (Text line : split_text(text, U"\n")) {
    const size_t begin = line.find(U"<<"), end = line.rfind(U">>");
    if (begin == kNone || end == kNone || end < begin + 3) continue;
    Text inner = line.substr(begin, end + 2 - begin);
    while (!inner.empty() && inner.front() == '<') inner.remove_prefix(1);
    while (!inner.empty() && inner.back() == '>') inner.remove_suffix(1);
    if (!py_strip(inner).empty()) return true;
  }
  return false;
}

// ---- combination, startend, punctuation

bool two_responses(Text text, const Options&) {
  const std::vector<Text> parts = split_text(text, U"******");
  std::vector<Text> valid;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Text part = py_strip(parts[i]);
    if (!part.empty()) {
      valid.push_back(part);
    } else if (i != 0 && i != parts.size() - 1) {
      return false;
    }
  }
  return valid.size() == 2 && valid[0] != valid[1];
}

bool repeat_prompt(Text text, const Options& options) {
  return starts_at(py_lower(py_strip(text)), 0, py_lower(py_strip(options.text)));
}

bool end_checker(Text text, const Options& options) {
  const std::u32string seen = py_lower(strip_char(py_strip(text), '"'));
  const std::u32string phrase = py_lower(py_strip(options.text));
  return seen.size() >= phrase.size() && starts_at(seen, seen.size() - phrase.size(), phrase);
}

bool no_comma(Text text, const Options&) { return text.find(',') == kNone; }

bool quotation(Text text, const Options&) {
  text = py_strip(text);
  return text.size() > 1 && text.front() == '"' && text.back() == '"';
}

// ---- approximate ones

bool number_sentences(Text text, const Options& options) { return compare_count(count_sentences(text), options); }
bool capital_word_frequency(Text text, const Options& options) {
  return compare_count(count_capital_words(text), options);
}
// A text without letters has no language to detect: the published checkers count the instruction as followed, but only
// where they get as far as detection.
bool response_language(Text text, const Options& options) {
  const std::string seen = detect_language(text);
  return seen.empty() || decode_utf8(seen) == options.text;
}
bool english_capital(Text text, const Options&) { return is_all_upper(text) && detect_language(text) == "en"; }
bool english_lowercase(Text text, const Options&) { return is_all_lower(text) && detect_language(text) == "en"; }

constexpr InstructionChecker kCheckers[] = {
    {"keywords:existence", "", "", "", "keywords", false, keyword_existence},
    {"keywords:frequency", "frequency", "relation", "keyword", "", false, keyword_frequency},
    {"keywords:forbidden_words", "", "", "", "forbidden_words", false, forbidden_words},
    {"keywords:letter_frequency", "let_frequency", "let_relation", "letter", "", false, letter_frequency},
    {"language:response_language", "", "", "language", "", true, response_language},
    {"length_constraints:number_sentences", "num_sentences", "relation", "", "", true, number_sentences},
    {"length_constraints:number_paragraphs", "num_paragraphs", "", "", "", false, number_paragraphs},
    {"length_constraints:number_words", "num_words", "relation", "", "", false, number_words},
    {"length_constraints:nth_paragraph_first_word", "num_paragraphs", "", "first_word", "", false,
     nth_paragraph_first_word},
    {"detectable_content:number_placeholders", "num_placeholders", "", "", "", false, number_placeholders},
    {"detectable_content:postscript", "", "", "postscript_marker", "", false, postscript},
    {"detectable_format:number_bullet_lists", "num_bullets", "", "", "", false, number_bullet_lists},
    {"detectable_format:constrained_response", "", "", "", "", false, constrained_response},
    {"detectable_format:number_highlighted_sections", "num_highlights", "", "", "", false, number_highlighted_sections},
    {"detectable_format:multiple_sections", "num_sections", "", "section_spliter", "", false, multiple_sections},
    {"detectable_format:json_format", "", "", "", "", false, json_format},
    {"detectable_format:title", "", "", "", "", false, title},
    {"combination:two_responses", "", "", "", "", false, two_responses},
    {"combination:repeat_prompt", "", "", "prompt_to_repeat", "", false, repeat_prompt},
    {"startend:end_checker", "", "", "end_phrase", "", false, end_checker},
    {"change_case:capital_word_frequency", "capital_frequency", "capital_relation", "", "", true,
     capital_word_frequency},
    {"change_case:english_capital", "", "", "", "", true, english_capital},
    {"change_case:english_lowercase", "", "", "", "", true, english_lowercase},
    {"punctuation:no_comma", "", "", "", "", false, no_comma},
    {"startend:quotation", "", "", "", "", false, quotation},
};

}  // namespace

std::span<const InstructionChecker> instruction_checkers() { return kCheckers; }

bool compare_count(int64_t seen, const InstructionOptions& options) {
  return options.less_than ? seen < options.count : seen >= options.count;
}

}  // namespace throughline
