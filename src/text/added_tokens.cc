#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace throughline {
namespace {

// A match costs at most kMaxContentBytes steps at each place of a text; real tokens have up to about 40 bytes.
constexpr size_t kMaxContentBytes = 1024;
constexpr size_t kMaxTotalBytes = size_t{4} << 20;

// The code point that ends right before `at` (> 0).
Utf8Step previous_code_point(std::string_view text, size_t at) {
  size_t begin = at - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return next_code_point(text, begin);
}

bool touches_a_word(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && is_word_character(previous_code_point(text, begin).code)) ||
         (end < text.size() && is_word_character(next_code_point(text, end).code));
}

size_t white_space_begin(std::string_view text, size_t at, size_t stop) {
  while (at > stop) {
    const Utf8Step step = previous_code_point(text, at);
    if (!is_white_space(step.code)) break;
    at -= step.size;
  }
  return std::max(at, stop);
}

size_t white_space_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Utf8Step step = next_code_point(text, at);
    if (!is_white_space(step.code)) break;
    at += step.size;
  }
  return at;
}

}  // namespace

void AddedTokens::insert(Trie& trie, std::string_view content, int32_t token) {
  int32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = trie[node].children;
    auto it = std::lower_bound(children.begin(), children.end(), std::pair{byte, INT32_MIN});
    if (it != children.end() && it->first == byte) {
      node = it->second;
      continue;
    }
    const auto added = static_cast<int32_t>(trie.size());
    children.insert(it, {byte, added});
    trie.emplace_back();
    node = added;
  }
  if (trie[node].token < 0) trie[node].token = token;
}

const int32_t* AddedTokens::child(const Node& node, unsigned char byte) {
  const auto it = std::lower_bound(node.children.begin(), node.children.end(), std::pair{byte, INT32_MIN});
  return it != node.children.end() && it->first == byte ? &it->second : nullptr;
}

AddedTokens::Match AddedTokens::longest_match(const Trie& trie, std::string_view text, size_t at) {
  Match best;
  const Node* node = &trie[0];
  for (size_t i = at; i < text.size(); ++i) {
    const int32_t* next = child(*node, static_cast<unsigned char>(text[i]));
    if (next == nullptr) break;
    node = &trie[*next];
    if (node->token >= 0) best = {node->token, i + 1 - at};
  }
  return best;
}

Result<AddedTokens> AddedTokens::build(std::vector<AddedToken> tokens, const Normalizer& normalizer,
                                       const std::string& where) {
  AddedTokens out;
  out.tokens_ = std::move(tokens);
  out.raw_.resize(1);
  out.normalized_.resize(1);
  size_t total_bytes = 0;
  for (size_t i = 0; i < out.tokens_.size(); ++i) {
    AddedToken& token = out.tokens_[i];
    const auto index = static_cast<int32_t>(i);
    out.by_content_.emplace(token.content, index);
    out.by_id_.emplace(token.id, index);
    NormalizedText spelling{token.content};
    if (token.normalized) normalizer.apply(spelling);
    token.spelling = std::move(spelling.text);
    total_bytes += token.spelling.size();
    if (token.spelling.size() > kMaxContentBytes || total_bytes > kMaxTotalBytes) {
      return Error{
          "the added tokens are too long (token " + std::to_string(token.id) + ")", where,
          "at most " + std::to_string(kMaxContentBytes) + " bytes each, " + std::to_string(kMaxTotalBytes) + " in all"};
    }
    if (!token.spelling.empty()) insert(token.normalized ? out.normalized_ : out.raw_, token.spelling, index);
  }
  return out;
}

void AddedTokens::split(std::string_view text, bool normalized, bool parse_special, std::vector<Part>& out) const {
  const Trie& trie = normalized ? normalized_ : raw_;
  out.clear();
  size_t done = 0;        // all before it has been given out
  size_t spaces_end = 0;  // where the run of white space ends that was looked at last
  for (size_t at = 0; at < text.size();) {
    const Match match = longest_match(trie, text, at);
    if (match.token < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[match.token];
    size_t begin = at, end = at + match.size;
    at = end;
    if (token.special && !parse_special) continue;
    if (token.single_word && touches_a_word(text, begin, end)) continue;
    if (token.lstrip) begin = white_space_begin(text, begin, std::min(begin, done));
    if (token.rstrip) {
      if (end >= spaces_end) spaces_end = white_space_end(text, end);
      end = std::max(end, spaces_end);
    }
    if (done < begin) out.push_back({done, begin, -1});
    out.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
}

std::optional<int32_t> AddedTokens::id(std::string_view content) const {
  const auto it = by_content_.find(std::string(content));
  return it == by_content_.end() ? std::nullopt : std::optional<int32_t>(tokens_[it->second].id);
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

}  // namespace throughline
