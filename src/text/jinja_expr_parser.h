// The expression half of the template parser: a cursor over the tokens, jinja2's expression grammar, and the state that
// names inside expressions touch (which loops and macros use `loop`, `caller`, ...). Used by jinja_parser.cc only.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"
#include "text/jinja_runtime.h"

namespace throughline::jinja {

class ExprParser {
 protected:
  explicit ExprParser(std::string_view source);

  // ---- tokens ----
  const Token& current() const { return tokens_[position_]; }
  const Token& ahead() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    const Token& token = current();
    if (!token.is(TokenKind::kEnd)) ++position_;
    return token;
  }
  [[noreturn]] void fail(std::string message, int line, std::string remedy = "") const {
    throw TemplateError{std::move(message), line, std::move(remedy)};
  }
  [[noreturn]] void fail_here(const std::string& expected) const {
    fail("expected " + expected + ", got " + describe(current()), current().line);
  }
  bool skip_operator(std::string_view op) {
    if (!current().is_operator(op)) return false;
    next();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!current().is_name(name)) return false;
    next();
    return true;
  }
  void expect_operator(std::string_view op) {
    if (!skip_operator(op)) fail_here("'" + std::string(op) + "'");
  }
  void expect_kind(TokenKind kind, const char* what) {
    if (!current().is(kind)) fail_here(what);
    next();
  }
  const std::string& expect_name(const char* what) {
    if (!current().is(TokenKind::kName)) fail_here(what);
    return next().text;
  }
  int intern(const std::string& name) {
    const auto [at, added] = name_ids_.emplace(name, static_cast<int>(program_.names.size()));
    if (added) program_.names.push_back(name);
    return at->second;
  }

  // Guards the parser's own recursion.
  struct Level {
    explicit Level(ExprParser& parser) : parser_(parser) {
      if (++parser_.level_ > kNestingLimit) {
        parser_.fail("nested deeper than " + std::to_string(kNestingLimit) + " levels", parser_.current().line);
      }
    }
    ~Level() { --parser_.level_; }
    ExprParser& parser_;
  };

  // ---- expressions ----
  ExprPtr make(ExprKind kind, int line);
  // Chains of postfixes and filters grow the tree without recursion here, but not in the evaluator.
  ExprPtr finish(ExprPtr expr) const;
  ExprPtr wrap(ExprKind kind, int line, ExprPtr child);
  ExprPtr parse_expression(bool with_conditional = true);
  ExprPtr parse_conditional();
  template <typename ParseOperand, typename TakeOperator>
  ExprPtr parse_chain(ExprKind kind, ParseOperand operand, TakeOperator take);
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  std::string take_any(std::initializer_list<std::string_view> ops);
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter);
  ExprPtr constant(Value value, int line);
  ExprPtr parse_primary();
  ExprPtr parse_name();
  ExprPtr parse_list(int line);
  ExprPtr parse_dict(int line);
  bool at_tuple_end(std::string_view end_name) const;
  // One expression, or a tuple when commas follow.
  ExprPtr parse_tuple(bool with_conditional, bool in_parentheses, std::string_view end_name);
  ExprPtr parse_postfix(ExprPtr expr);
  ExprPtr parse_attribute(ExprPtr object, int line);
  ExprPtr parse_item(ExprPtr object, int line);
  ExprPtr parse_subscript();
  Arguments parse_arguments();
  ExprPtr parse_call(ExprPtr callee);
  ExprPtr parse_filters_and_tests(ExprPtr expr);
  std::string parse_dotted_name(const char* what);
  ExprPtr parse_filter(ExprPtr input);
  // The filters of a block: {% filter a | b(1) %}.
  ExprPtr parse_filter_chain();
  ExprPtr parse_test(ExprPtr input);
  void note_unknown(const char* what, const std::string& name, int line);

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int level_ = 0;
  bool soft_ = false;  // inside an if: unknown filters and tests fail only when reached
  std::vector<TemplateError> unknown_;
  std::vector<Stmt*> loops_;
  std::vector<Macro*> macros_;
  std::unordered_map<std::string, int> name_ids_;
  Program program_;
};

}  // namespace throughline::jinja
