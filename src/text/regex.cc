#include "text/regex.h"

#include <oniguruma.h>

#include <algorithm>
#include <mutex>

#include "text/utf8.h"

namespace throughline {
namespace {

constexpr size_t kMaxPatternBytes = 16384;  // real ones are below 1000
constexpr unsigned kParseDepth = 128;       // of brackets; Oniguruma's compiler recurses

// Retries are Oniguruma's count of backtracks. A search gets kFirstRetries; if that is too few it is run again with
// eight times as many, and so on, as long as all such second runs together stay within kRetriesAtLeast +
// kRetriesPerByte * bytes. Real patterns need a few retries a match, and about one a byte in long runs of white space.
constexpr size_t kFirstRetries = 512;
constexpr size_t kRetriesAtLeast = size_t{1} << 22;
constexpr size_t kRetriesPerByte = 32;
// Entries of 40 bytes or so on Oniguruma's heap stack; a greedy loop over one long word takes one a character.
constexpr size_t kStackAtLeast = size_t{1} << 16;
constexpr size_t kStackAtMost = size_t{1} << 23;

void initialize_oniguruma() {
  static std::once_flag once;
  std::call_once(once, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
    onig_set_warn_func(onig_null_warn);
    onig_set_verb_warn_func(onig_null_warn);
    onig_set_parse_depth_limit(kParseDepth);
  });
}

const OnigUChar* bytes(const char* text) { return reinterpret_cast<const OnigUChar*>(text); }

// One text's searches, with their shared budget.
class Search {
 public:
  Search(regex_t* regex, std::string_view text)
      : regex_(regex),
        text_(text),
        budget_(kRetriesAtLeast + kRetriesPerByte * text.size()),
        limits_(onig_new_match_param()),
        region_(onig_region_new()) {
    const size_t stack = std::min(kStackAtMost, kStackAtLeast + 2 * text.size());
    if (limits_) onig_set_match_stack_limit_size_of_match_param(limits_, static_cast<unsigned>(stack));
  }
  ~Search() {
    if (limits_) onig_free_match_param(limits_);
    if (region_) onig_region_free(region_, 1);
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  // The leftmost match at or after `from`; false when there is none or the budget is spent.
  bool find(size_t from, TextRange& found) {
    if (!limits_ || !region_) return false;
    for (size_t retries = kFirstRetries;; retries *= 8) {
      onig_set_retry_limit_in_match_of_match_param(limits_, retries);
      onig_set_retry_limit_in_search_of_match_param(limits_, retries);
      const OnigUChar* begin = bytes(text_.data());
      const OnigUChar* end = begin + text_.size();
      onig_region_clear(region_);
      const int at = onig_search_with_param(regex_, begin, end, begin + from, end, region_, ONIG_OPTION_NONE, limits_);
      if (at >= 0) {
        // \K or a look-behind may report a begin before `from`; what is already taken stays taken.
        found.begin = std::max(from, static_cast<size_t>(std::max(0, region_->beg[0])));
        found.end = std::max(found.begin, static_cast<size_t>(std::max(0, region_->end[0])));
        return true;
      }
      const bool out_of_retries = at == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER || at == ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER;
      if (!out_of_retries || retries * 8 > budget_) return false;
      budget_ -= retries * 8;
    }
  }

 private:
  regex_t* regex_;
  std::string_view text_;
  size_t budget_;
  OnigMatchParam* limits_;
  OnigRegion* region_;
};

}  // namespace

void Regex::Free::operator()(re_pattern_buffer* regex) const { onig_free(regex); }

Result<Regex> Regex::compile(const std::string& pattern, const std::string& where) {
  if (pattern.size() > kMaxPatternBytes) {
    return Error{"a regular expression of " + std::to_string(pattern.size()) + " bytes", where,
                 "at most " + std::to_string(kMaxPatternBytes)};
  }
  if (!is_valid_utf8(pattern)) return Error{"a regular expression that is not UTF-8", where, ""};
  initialize_oniguruma();
  regex_t* regex = nullptr;
  OnigErrorInfo info{};
  const OnigUChar* begin = bytes(pattern.data());
  const int code =
      onig_new(&regex, begin, begin + pattern.size(), ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (code != ONIG_NORMAL) {
    OnigUChar message[ONIG_MAX_ERROR_MESSAGE_LEN];
    const int size = onig_error_code_to_str(message, code, &info);
    return Error{"bad regular expression \"" + pattern +
                     "\": " + std::string(reinterpret_cast<char*>(message), std::max(0, size)),
                 where, ""};
  }
  return Regex(regex);
}

std::vector<TextRange> Regex::find_all(std::string_view text) const {
  std::vector<TextRange> out;
  Search search(regex_.get(), text);
  size_t from = 0;
  TextRange match;
  while (from <= text.size() && search.find(from, match)) {
    if (match.begin == match.end && !out.empty() && out.back().end == match.end) {
      if (from >= text.size()) break;
      from += utf8_size(static_cast<unsigned char>(text[from]));
      continue;
    }
    out.push_back(match);
    from = match.end;
  }
  return out;
}

}  // namespace throughline
