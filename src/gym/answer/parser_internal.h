// The parser's one class, shared by parser.cc and parser_primary.cc; not for others (they include parser.h).
//
// Recursive descent, one method a rule of the grammar in docs/verifier.md. Stops without exceptions: once failed, every
// method returns at once.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gym/answer/parser.h"

namespace throughline::answer {

constexpr int64_t kNodeCost = 2;  // a node allocates its children, and the tree grows

class Parser {
 public:
  Parser(const std::vector<Token>& tokens, const ParseOptions& options, Steps* steps)
      : tokens_(tokens), options_(options), steps_(steps) {}

  // The whole text as one answer; root == kNoNode where it is none.
  Tree run();

 private:
  // Every way down leads through primary() or argument(): counting there bounds the recursion.
  struct DepthGuard {
    explicit DepthGuard(Parser* parser) : parser_(parser) {
      if (++parser_->depth_ > parser_->options_.max_depth) parser_->failed_ = true;
    }
    ~DepthGuard() { --parser_->depth_; }
    Parser* parser_;
  };

  const Token& peek() const { return tokens_[at_]; }
  const Token& peek(size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  static bool is(const Token& token, char op) { return token.kind == TokenKind::kSymbol && token.op == op; }
  bool is(char op) const { return is(peek(), op); }
  bool is(char op, size_t ahead) const { return is(peek(ahead), op); }
  bool is_command(std::string_view name) const { return peek().kind == TokenKind::kCommand && peek().text == name; }
  bool accept(char op) {
    if (!is(op)) return false;
    advance();
    return true;
  }
  void advance() {
    if (at_ + 1 < tokens_.size()) ++at_;
    if (!steps_->charge(1)) failed_ = true;
  }
  NodeId fail() {
    failed_ = true;
    return kNoNode;
  }
  NodeId add(Kind kind, std::vector<NodeId> kids = {}, std::string name = {}) {
    if (!steps_->charge(kNodeCost)) failed_ = true;
    return tree_.add(kind, std::move(kids), std::move(name));
  }

  // Inside brackets and groups the enclosing |...| does not close.
  struct BarScope {
    explicit BarScope(Parser* p) : parser(p), saved(p->bars_) { p->bars_ = 0; }
    ~BarScope() { parser->bars_ = saved; }
    Parser* parser;
    int saved;
  };

  // parser.cc: what stands between operators
  bool at_separator() const { return is(',') || is(';'); }
  bool at_end_of(std::string_view closers) const {
    if (peek().kind == TokenKind::kEnd) return true;
    return peek().kind == TokenKind::kSymbol && closers.find(peek().op) != std::string_view::npos;
  }
  NodeId list(std::string_view closers);
  char relation_code() const;
  NodeId relation();
  NodeId set_expression();
  bool is_letter(std::string_view name) const { return peek().kind == TokenKind::kLetter && peek().text == name; }
  bool set_like(NodeId id) const {
    if (id == kNoNode) return false;
    const Kind kind = tree_[id].kind;
    return kind == Kind::kTuple || kind == Kind::kSet || kind == Kind::kUnion;
  }
  NodeId ratio();
  NodeId sum();
  NodeId negated(NodeId id, bool negative) {
    if (failed_ || !negative) return id;
    return add(Kind::kNegate, {id});
  }
  bool starts_factor() const;
  bool ends_product() const {
    return peek().kind == TokenKind::kEnd || is(',') || is('}') || is(')') || is('+') || is('-') || is('=');
  }
  NodeId product();
  NodeId signed_power();
  bool plain_integer(NodeId id) const {
    return tree_[id].kind == Kind::kNumber && tree_[id].name.empty() && tree_[id].number.is_integer();
  }
  bool mixed_number(std::vector<NodeId>* factors, NodeId right);
  bool word_is_unit(const Token& token) const;
  bool is_unit_here(const std::vector<NodeId>& factors) const {
    return word_is_unit(peek()) && tree_[factors.back()].kind != Kind::kText;
  }
  bool unit_after_slash(bool divide, std::vector<NodeId>* factors);
  void unit(std::vector<NodeId>* factors);
  NodeId power();
  bool subscript(NodeId base);

  // parser_primary.cc: what operators stand between
  NodeId argument();
  NodeId take_number();
  NodeId group();
  NodeId primary();
  NodeId letter();
  NodeId word();
  NodeId bracket();
  NodeId set();
  NodeId absolute();
  NodeId command();
  NodeId fraction();
  NodeId square_root();
  NodeId function(const std::string& name);
  NodeId radians(NodeId id);
  bool is_function() const {
    static constexpr std::array<std::string_view, 18> kNames = {"arccos", "arcsin", "arctan", "cos",  "cosh", "cot",
                                                                "csc",    "exp",    "gcd",    "lcm",  "lg",   "ln",
                                                                "log",    "sec",    "sin",    "sinh", "tan",  "tanh"};
    return std::find(kNames.begin(), kNames.end(), peek().text) != kNames.end();
  }
  NodeId opaque(const std::string& name);
  NodeId environment();
  std::string braced_word();

  const std::vector<Token>& tokens_;
  const ParseOptions& options_;
  Steps* steps_;
  Tree tree_;
  size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;
  int ratios_ = 0;
  int plus_minus_ = 0;
  bool in_builder_ = false;
  bool failed_ = false;
};

}  // namespace throughline::answer
