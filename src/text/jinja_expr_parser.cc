#include "text/jinja_expr_parser.h"

#include <algorithm>

#include "text/jinja_filters.h"

namespace throughline::jinja {

ExprParser::ExprParser(std::string_view source) : tokens_(tokenize(source)) {
  for (const char* name : {"loop", "caller", "varargs", "kwargs"}) intern(name);
}

ExprPtr ExprParser::make(ExprKind kind, int line) { return std::make_unique<Expr>(kind, line); }

ExprPtr ExprParser::finish(ExprPtr expr) const {
  const auto deepen = [&](const ExprPtr& child) {
    if (child) expr->depth = std::max(expr->depth, child->depth + 1);
  };
  for (const auto& child : expr->children) deepen(child);
  for (const auto& child : expr->arguments.positional) deepen(child);
  for (const auto& [name, child] : expr->arguments.named) deepen(child);
  deepen(expr->arguments.star);
  deepen(expr->arguments.double_star);
  if (expr->depth > kNestingLimit) {
    fail("an expression nested deeper than " + std::to_string(kNestingLimit) + " levels", expr->line);
  }
  return expr;
}

ExprPtr ExprParser::wrap(ExprKind kind, int line, ExprPtr child) {
  auto expr = make(kind, line);
  expr->children.push_back(std::move(child));
  return finish(std::move(expr));
}

ExprPtr ExprParser::parse_expression(bool with_conditional) {
  const Level level(*this);
  return with_conditional ? parse_conditional() : parse_or();
}

ExprPtr ExprParser::parse_conditional() {
  const int line = current().line;
  const bool outer_soft = soft_;
  const size_t unknown_before = unknown_.size();
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    unknown_.resize(unknown_before);  // what is conditional fails only when reached
    auto expr = make(ExprKind::kConditional, line);
    expr->children.push_back(std::move(value));
    soft_ = true;
    expr->children.push_back(parse_or());
    expr->children.push_back(nullptr);
    if (skip_name("else")) expr->children[2] = parse_expression();
    soft_ = outer_soft;
    value = finish(std::move(expr));
  }
  return value;
}

template <typename ParseOperand, typename TakeOperator>
ExprPtr ExprParser::parse_chain(ExprKind kind, ParseOperand operand, TakeOperator take) {
  const int line = current().line;
  ExprPtr first = operand();
  ExprPtr chain;
  while (true) {
    std::string op = take();
    if (op.empty()) break;
    if (!chain) {
      chain = make(kind, line);
      chain->children.push_back(std::move(first));
    }
    chain->ops.push_back(std::move(op));
    chain->children.push_back(operand());
  }
  return chain ? finish(std::move(chain)) : std::move(first);
}

ExprPtr ExprParser::parse_or() {
  return parse_chain(
      ExprKind::kOr, [this] { return parse_and(); }, [this] { return skip_name("or") ? "or" : ""; });
}

ExprPtr ExprParser::parse_and() {
  return parse_chain(
      ExprKind::kAnd, [this] { return parse_not(); }, [this] { return skip_name("and") ? "and" : ""; });
}

ExprPtr ExprParser::parse_not() {
  if (!current().is_name("not")) return parse_compare();
  const Level level(*this);
  const int line = next().line;
  return wrap(ExprKind::kNot, line, parse_not());
}

std::string ExprParser::take_any(std::initializer_list<std::string_view> ops) {
  for (const std::string_view op : ops) {
    if (skip_operator(op)) return std::string(op);
  }
  return "";
}

ExprPtr ExprParser::parse_compare() {
  return parse_chain(
      ExprKind::kCompare, [this] { return parse_sum(); },
      [this]() -> std::string {
        if (skip_name("in")) return "in";
        if (current().is_name("not") && ahead().is_name("in")) {
          next();
          next();
          return "not in";
        }
        return take_any({"==", "!=", "<", "<=", ">", ">="});
      });
}

ExprPtr ExprParser::parse_sum() {
  return parse_chain(
      ExprKind::kArithmetic, [this] { return parse_concat(); },
      [this] {
        return take_any({"+", "-"});
      });
}

ExprPtr ExprParser::parse_concat() {
  return parse_chain(
      ExprKind::kConcat, [this] { return parse_product(); }, [this] { return take_any({"~"}); });
}

ExprPtr ExprParser::parse_product() {
  return parse_chain(
      ExprKind::kArithmetic, [this] { return parse_power(); },
      [this] {
        return take_any({"*", "/", "//", "%"});
      });
}

ExprPtr ExprParser::parse_power() {
  return parse_chain(
      ExprKind::kArithmetic, [this] { return parse_unary(true); }, [this] { return take_any({"**"}); });
}

ExprPtr ExprParser::parse_unary(bool with_filter) {
  const int line = current().line;
  ExprPtr expr;
  if (current().is_operator("-") || current().is_operator("+")) {
    const Level level(*this);
    const ExprKind kind = next().text == "-" ? ExprKind::kNegative : ExprKind::kPositive;
    expr = wrap(kind, line, parse_unary(false));
  } else {
    expr = parse_primary();
  }
  expr = parse_postfix(std::move(expr));
  return with_filter ? parse_filters_and_tests(std::move(expr)) : std::move(expr);
}

ExprPtr ExprParser::constant(Value value, int line) {
  auto expr = make(ExprKind::kConstant, line);
  expr->value = std::move(value);
  return expr;
}

ExprPtr ExprParser::parse_primary() {
  const Token& token = current();
  switch (token.kind) {
    case TokenKind::kName:
      return parse_name();
    case TokenKind::kString: {
      std::string text;
      while (current().is(TokenKind::kString)) text += next().text;
      return constant(Value::string(std::move(text)), token.line);
    }
    case TokenKind::kInteger:
      next();
      return constant(Value::integer(token.integer), token.line);
    case TokenKind::kFloat:
      next();
      return constant(Value::real(token.real), token.line);
    default:
      break;
  }
  if (skip_operator("(")) {
    ExprPtr expr = parse_tuple(true, true, "");
    expect_operator(")");
    return expr;
  }
  if (skip_operator("[")) return parse_list(token.line);
  if (skip_operator("{")) return parse_dict(token.line);
  fail_here("an expression");
}

ExprPtr ExprParser::parse_name() {
  const Token& token = next();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return constant(Value::boolean(true), token.line);
  if (name == "false" || name == "False") return constant(Value::boolean(false), token.line);
  if (name == "none" || name == "None") return constant(Value::none(), token.line);
  auto expr = make(ExprKind::kName, token.line);
  expr->name = intern(name);
  if (expr->name == kNameLoop) {
    for (Stmt* loop : loops_) loop->uses_loop = true;
  }
  for (Macro* macro : macros_) {
    macro->uses_caller |= expr->name == kNameCaller;
    macro->uses_varargs |= expr->name == kNameVarargs;
    macro->uses_kwargs |= expr->name == kNameKwargs;
  }
  return expr;
}

ExprPtr ExprParser::parse_list(int line) {
  auto expr = make(ExprKind::kList, line);
  while (!current().is_operator("]")) {
    if (!expr->children.empty()) expect_operator(",");
    if (current().is_operator("]")) break;
    expr->children.push_back(parse_expression());
  }
  expect_operator("]");
  return finish(std::move(expr));
}

ExprPtr ExprParser::parse_dict(int line) {
  auto expr = make(ExprKind::kDict, line);
  while (!current().is_operator("}")) {
    if (!expr->children.empty()) expect_operator(",");
    if (current().is_operator("}")) break;
    expr->children.push_back(parse_expression());
    expect_operator(":");
    expr->children.push_back(parse_expression());
  }
  expect_operator("}");
  return finish(std::move(expr));
}

bool ExprParser::at_tuple_end(std::string_view end_name) const {
  const Token& token = current();
  return token.is(TokenKind::kPrintEnd) || token.is(TokenKind::kTagEnd) || token.is_operator(")") ||
         (!end_name.empty() && token.is_name(end_name));
}

ExprPtr ExprParser::parse_tuple(bool with_conditional, bool in_parentheses, std::string_view end_name) {
  const Level level(*this);
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_operator(",");
    if (at_tuple_end(end_name)) break;
    items.push_back(parse_expression(with_conditional));
    if (!current().is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !in_parentheses) fail_here("an expression");
  auto expr = make(ExprKind::kTuple, line);
  expr->children = std::move(items);
  return finish(std::move(expr));
}

ExprPtr ExprParser::parse_postfix(ExprPtr expr) {
  while (true) {
    const int line = current().line;
    if (skip_operator(".")) {
      expr = parse_attribute(std::move(expr), line);
    } else if (skip_operator("[")) {
      expr = parse_item(std::move(expr), line);
    } else if (current().is_operator("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExprParser::parse_attribute(ExprPtr object, int line) {
  if (current().is(TokenKind::kInteger)) {
    auto expr = make(ExprKind::kItem, line);
    expr->children.push_back(std::move(object));
    expr->children.push_back(constant(Value::integer(next().integer), line));
    return finish(std::move(expr));
  }
  auto expr = make(ExprKind::kAttribute, line);
  expr->text = expect_name("an attribute name or a number");
  expr->children.push_back(std::move(object));
  return finish(std::move(expr));
}

ExprPtr ExprParser::parse_item(ExprPtr object, int line) {
  std::vector<ExprPtr> items;
  while (!current().is_operator("]")) {
    if (!items.empty()) expect_operator(",");
    items.push_back(parse_subscript());
  }
  expect_operator("]");
  auto expr = make(ExprKind::kItem, line);
  expr->children.push_back(std::move(object));
  if (items.size() == 1) {
    expr->children.push_back(std::move(items[0]));
  } else {
    for (const auto& item : items) {
      if (item->kind == ExprKind::kSlice) fail("a slice within a tuple of subscripts is not supported", line);
    }
    auto tuple = make(ExprKind::kTuple, line);
    tuple->children = std::move(items);
    expr->children.push_back(finish(std::move(tuple)));
  }
  return finish(std::move(expr));
}

ExprPtr ExprParser::parse_subscript() {
  const int line = current().line;
  const auto at_end = [this] { return current().is_operator("]") || current().is_operator(","); };
  ExprPtr start, stop, step;
  if (!current().is_operator(":")) {
    start = parse_expression();
    if (!current().is_operator(":")) return start;
  }
  expect_operator(":");
  if (!current().is_operator(":") && !at_end()) stop = parse_expression();
  if (skip_operator(":") && !at_end()) step = parse_expression();
  auto expr = make(ExprKind::kSlice, line);
  expr->children.push_back(std::move(start));
  expr->children.push_back(std::move(stop));
  expr->children.push_back(std::move(step));
  return finish(std::move(expr));
}

Arguments ExprParser::parse_arguments() {
  const int line = current().line;
  Arguments args;
  const auto ensure = [&](bool good) {
    if (!good) fail("arguments in an order that a call does not allow", line);
  };
  expect_operator("(");
  bool comma_due = false;
  while (!current().is_operator(")")) {
    if (std::exchange(comma_due, true)) {
      expect_operator(",");
      if (current().is_operator(")")) break;
    }
    if (skip_operator("*")) {
      ensure(!args.star && !args.double_star);
      args.star = parse_expression();
    } else if (skip_operator("**")) {
      ensure(!args.double_star);
      args.double_star = parse_expression();
    } else if (current().is(TokenKind::kName) && ahead().is_operator("=")) {
      ensure(!args.double_star);
      std::string name = next().text;
      next();
      for (const auto& [other, value] : args.named) {
        if (other == name) fail("the argument " + quote_text(name) + " is given twice", line);
      }
      args.named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(!args.star && !args.double_star && args.named.empty());
      args.positional.push_back(parse_expression());
    }
  }
  expect_operator(")");
  return args;
}

ExprPtr ExprParser::parse_call(ExprPtr callee) {
  auto expr = make(ExprKind::kCall, current().line);
  expr->children.push_back(std::move(callee));
  expr->arguments = parse_arguments();
  return finish(std::move(expr));
}

ExprPtr ExprParser::parse_filters_and_tests(ExprPtr expr) {
  while (true) {
    if (skip_operator("|")) {
      expr = parse_filter(std::move(expr));
    } else if (current().is_name("is")) {
      expr = parse_test(std::move(expr));
    } else if (current().is_operator("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

std::string ExprParser::parse_dotted_name(const char* what) {
  std::string name = expect_name(what);
  while (skip_operator(".")) name += "." + expect_name(what);
  return name;
}

ExprPtr ExprParser::parse_filter(ExprPtr input) {
  auto expr = make(ExprKind::kFilter, current().line);
  expr->text = parse_dotted_name("a filter name");
  if (!is_filter(expr->text)) note_unknown("filter", expr->text, expr->line);
  expr->children.push_back(std::move(input));
  if (current().is_operator("(")) expr->arguments = parse_arguments();
  return finish(std::move(expr));
}

ExprPtr ExprParser::parse_filter_chain() {
  ExprPtr expr = parse_filter(nullptr);
  while (skip_operator("|")) expr = parse_filter(std::move(expr));
  return expr;
}

ExprPtr ExprParser::parse_test(ExprPtr input) {
  const int line = next().line;
  const bool negated = skip_name("not");
  auto expr = make(ExprKind::kTest, line);
  expr->text = parse_dotted_name("a test name");
  if (!is_test(expr->text)) note_unknown("test", expr->text, line);
  expr->children.push_back(std::move(input));
  const Token& token = current();
  const bool starts_operand = token.is(TokenKind::kName) || token.is(TokenKind::kString) ||
                              token.is(TokenKind::kInteger) || token.is(TokenKind::kFloat) || token.is_operator("[") ||
                              token.is_operator("{");
  if (token.is_operator("(")) {
    expr->arguments = parse_arguments();
  } else if (starts_operand && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
    if (token.is_name("is")) fail("tests cannot be chained with \"is\"", token.line);
    expr->arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  ExprPtr done = finish(std::move(expr));
  return negated ? wrap(ExprKind::kNot, line, std::move(done)) : std::move(done);
}

void ExprParser::note_unknown(const char* what, const std::string& name, int line) {
  if (!soft_) unknown_.push_back({std::string("there is no ") + what + " named " + quote_text(name), line, ""});
}

}  // namespace throughline::jinja
