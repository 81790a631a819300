#include "grammar/pattern.h"

#include <algorithm>
#include <map>
#include <optional>

#include "text/utf8.h"

namespace throughline {
namespace {

constexpr int kMostDepth = 64;
constexpr int kMostCount = 1000;

using Set = std::vector<CodePoints>;

const Set kDigit = {{'0', '9'}}, kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
          kSpace = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}},
          kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}, kAll = {{0, 0x10FFFF}};

Set complement(Set set) {
  std::sort(set.begin(), set.end(), [](const auto& a, const auto& b) { return a.low < b.low; });
  Set out;
  char32_t next = 0;
  for (const auto& [low, high] : set) {
    if (low > next) out.push_back({next, low - 1});
    next = std::max<char32_t>(next, high + 1);
  }
  if (next <= 0x10FFFF) out.push_back({next, 0x10FFFF});
  return out;
}

struct Node {
  enum class Kind { kSet, kSequence, kChoice, kRepeat } kind = Kind::kSequence;
  Set set;
  std::vector<Node> children;
  int least = 0, most = 0;  // most -1: no end
};

class Parser {
 public:
  explicit Parser(std::u32string_view text) : text_(text) {}

  // Alternatives at the top, each with its anchors.
  struct Alternative {
    Node node;
    bool at_start = false, at_end = false;
  };
  Result<std::vector<Alternative>> parse() {
    std::vector<Alternative> out;
    do {
      Alternative one;
      while (take('^')) one.at_start = true;
      one.node = sequence(0);
      while (take('$')) one.at_end = true;
      if (at_ < text_.size() && text_[at_] != '|')
        fail(text_[at_] == ')' ? "has a ) too many" : "has an anchor that is not at an end");
      out.push_back(std::move(one));
    } while (!problem_ && take('|'));
    if (problem_) return Error{*problem_, "", ""};
    return out;
  }

 private:
  bool more() const { return at_ < text_.size() && !problem_; }
  bool take(char32_t c) {
    if (!more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void fail(const std::string& what) {
    if (!problem_) problem_ = what;
  }

  Node choice(int depth) {
    Node out{.kind = Node::Kind::kChoice};
    do {
      out.children.push_back(sequence(depth));
    } while (take('|'));
    return out;
  }

  Node sequence(int depth) {
    Node out;
    while (more() && text_[at_] != '|' && text_[at_] != ')' && text_[at_] != '$') out.children.push_back(repeat(depth));
    return out;
  }

  Node repeat(int depth) {
    Node one = atom(depth);
    while (more()) {
      int least = 0, most = -1;
      if (take('*')) {
      } else if (take('+')) {
        least = 1;
      } else if (take('?')) {
        most = 1;
      } else if (!braces(&least, &most)) {
        break;
      }
      take('?');  // lazy or not: the same texts
      if (++depth > kMostDepth) fail("is nested too deeply");
      Node outer{.kind = Node::Kind::kRepeat, .least = least, .most = most};
      outer.children.push_back(std::move(one));
      one = std::move(outer);
    }
    return one;
  }

  // {m}, {m,} or {m,n}; anything else is text.
  bool braces(int* least, int* most) {
    const size_t begin = at_;
    const auto number = [this]() -> int {
      int value = -1;
      for (; more() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
        value = std::min(kMostCount + 1, std::max(value, 0) * 10 + static_cast<int>(text_[at_] - '0'));
      return value;
    };
    if (!take('{')) return false;
    *least = number();
    *most = take(',') ? number() : *least;
    if (*least < 0 || !take('}')) {
      at_ = begin;
      return false;
    }
    if (*least > kMostCount || *most > kMostCount) fail("repeats more than 1000 times");
    if (*most >= 0 && *most < *least) fail("has a repetition whose end is before its begin");
    return true;
  }

  Node atom(int depth) {
    if (depth > kMostDepth) fail("is nested too deeply");
    if (!more()) return {};
    const char32_t c = text_[at_++];
    if (c == '(') return group(depth);
    if (c == '[') return of(bracket());
    if (c == '.') return of(complement(kLineEnds));
    if (c == '\\') return of(escape(false));
    if (c == '*' || c == '+' || c == '?') fail("has nothing to repeat");
    if (c == '^') fail("has an anchor that is not at an end");
    return of({{c, c}});
  }

  static Node of(Set set) { return {.kind = Node::Kind::kSet, .set = std::move(set)}; }

  Node group(int depth) {
    if (take('?')) {
      if (take('<')) {
        if (more() && (text_[at_] == '=' || text_[at_] == '!')) {
          fail("looks behind, which is not supported");
        } else {
          while (more() && text_[at_] != '>') ++at_;
          take('>');
        }
      } else if (!take(':')) {
        fail("looks ahead, which is not supported");
      }
    }
    Node out = choice(depth + 1);
    if (!take(')')) fail(more() && text_[at_] == '$' ? "has an anchor that is not at an end" : "lacks a )");
    return out;
  }

  Set bracket() {
    const bool negated = take('^');
    Set out;
    while (more() && text_[at_] != ']') {
      Set low = member();
      const bool is_range = at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']';
      if (is_range && low.size() == 1 && low[0].low == low[0].high) {
        ++at_;
        const Set high = member();
        if (high.size() != 1 || high[0].low != high[0].high || high[0].low < low[0].low) {
          fail("has a range out of order");
          return out;
        }
        low[0].high = high[0].low;
      }
      out.insert(out.end(), low.begin(), low.end());
    }
    if (!take(']')) fail("lacks a ]");
    return negated ? complement(std::move(out)) : out;
  }

  Set member() {
    if (!more()) return {};
    const char32_t c = text_[at_++];
    return c == '\\' ? escape(true) : Set{{c, c}};
  }

  Set escape(bool in_bracket) {
    if (!more()) {
      fail("ends with a backslash");
      return {};
    }
    const char32_t c = text_[at_++];
    switch (c) {
      case 'd':
        return kDigit;
      case 'D':
        return complement(kDigit);
      case 'w':
        return kWord;
      case 'W':
        return complement(kWord);
      case 's':
        return kSpace;
      case 'S':
        return complement(kSpace);
      case 't':
        return {{'\t', '\t'}};
      case 'n':
        return {{'\n', '\n'}};
      case 'r':
        return {{'\r', '\r'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case 'x':
        return hex(2);
      case 'u':
        if (!take('{')) return hex(4);
        return hex(-1);
      default:
        break;
    }
    if (c == '0' && !(more() && text_[at_] >= '0' && text_[at_] <= '9')) return {{0, 0}};
    if (c == 'b' && in_bracket) return {{'\b', '\b'}};
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter) fail(std::string("has \\") + static_cast<char>(c) + ", which is not supported");
    return {{c, c}};
  }

  Set hex(int digits) {
    char32_t value = 0;
    int seen = 0;
    for (; more() && (digits < 0 ? text_[at_] != '}' : seen < digits); ++seen, ++at_) {
      const char32_t c = text_[at_] | 0x20;
      const bool is_digit = text_[at_] >= '0' && text_[at_] <= '9';
      if (!is_digit && !(c >= 'a' && c <= 'f')) break;
      value = std::min<char32_t>(0x110000, value * 16 + (is_digit ? text_[at_] - '0' : c - 'a' + 10));
    }
    const bool whole = digits < 0 ? seen > 0 && take('}') : seen == digits;
    if (!whole || value > 0x10FFFF) fail("has a bad \\x or \\u escape");
    if (value >= 0xD800 && value < 0xE000) fail("has a surrogate; write the character itself");
    return {{value, value}};
  }

  std::u32string_view text_;
  size_t at_ = 0;
  std::optional<std::string> problem_;
};

class Emitter {
 public:
  explicit Emitter(GrammarBuilder& builder) : builder_(builder) {}

  // The state behind.
  int32_t add(const Node& node, int32_t from) {
    if (builder_.full()) return from;
    switch (node.kind) {
      case Node::Kind::kSet:
        return builder_.call(from, rule_of(node.set));
      case Node::Kind::kSequence:
        for (const auto& child : node.children) from = add(child, from);
        return from;
      case Node::Kind::kChoice:
        return choice(node, from);
      case Node::Kind::kRepeat:
        return repeat(node, from);
    }
    return from;
  }

  int32_t anything(int32_t from) {
    const int32_t loop = builder_.state();
    builder_.jump(from, loop);
    builder_.call(loop, rule_of(kAll), loop);
    return loop;
  }

 private:
  int32_t choice(const Node& node, int32_t from) {
    const int32_t to = builder_.state();
    for (const auto& child : node.children) {
      const int32_t begin = builder_.state();  // a repetition in one way must not lead into another
      builder_.jump(from, begin);
      builder_.jump(add(child, begin), to);
    }
    return to;
  }

  int32_t repeat(const Node& node, int32_t from) {
    const Node& child = node.children[0];
    for (int i = 0; i < node.least && !builder_.full(); ++i) from = add(child, from);
    const int32_t to = builder_.state();
    if (node.most < 0) {
      const int32_t loop = builder_.state();
      builder_.jump(from, loop);
      builder_.jump(add(child, loop), loop);
      builder_.jump(loop, to);
      return to;
    }
    for (int i = node.least; i < node.most && !builder_.full(); ++i) {
      builder_.jump(from, to);
      const int32_t begin = builder_.state();
      builder_.jump(from, begin);
      from = add(child, begin);
    }
    builder_.jump(from, to);
    return to;
  }

  int32_t rule_of(const Set& set) {
    std::vector<std::pair<char32_t, char32_t>> key;
    for (const auto& [low, high] : set) key.emplace_back(low, high);
    const auto [found, is_new] = rules_.emplace(std::move(key), 0);
    if (!is_new) return found->second;
    const int32_t rule = found->second = builder_.declare_rule(), start = builder_.state(), end = builder_.state();
    json_characters(builder_, start, set, end);
    builder_.define_rule(rule, start, end);
    return rule;
  }

  GrammarBuilder& builder_;
  std::map<std::vector<std::pair<char32_t, char32_t>>, int32_t> rules_;
};

}  // namespace

Status add_pattern(GrammarBuilder& builder, int32_t from, int32_t to, std::string_view pattern) {
  std::u32string text;
  for (size_t at = 0; at < pattern.size();) {
    const Utf8Step step = next_code_point(pattern, at);
    text.push_back(step.code);
    at += static_cast<size_t>(step.size);
  }
  TL_TRY(const auto alternatives, Parser(text).parse());
  Emitter emitter(builder);
  for (const auto& [node, at_start, at_end] : alternatives) {
    int32_t at = builder.state();
    builder.jump(from, at);
    if (!at_start) at = emitter.anything(at);
    at = emitter.add(node, at);
    if (!at_end) at = emitter.anything(at);
    builder.jump(at, to);
  }
  return {};
}

}  // namespace throughline
