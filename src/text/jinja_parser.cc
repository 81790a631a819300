#include "text/jinja_parser.h"

#include <algorithm>
#include <unordered_map>

#include "text/jinja_filters.h"
#include "text/jinja_lexer.h"
#include "text/jinja_runtime.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {
    for (const char* name : {"loop", "caller", "varargs", "kwargs"}) intern(name);
  }

  Program run() {
    program_.body = parse_body({});
    if (!unknown_.empty()) throw unknown_.front();
    return std::move(program_);
  }

 private:
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
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.level_ > kNestingLimit) {
        parser_.fail("nested deeper than " + std::to_string(kNestingLimit) + " levels", parser_.current().line);
      }
    }
    ~Level() { --parser_.level_; }
    Parser& parser_;
  };

  // ---- expressions ----
  ExprPtr make(ExprKind kind, int line) { return std::make_unique<Expr>(kind, line); }

  // Chains of postfixes and filters grow the tree without recursion here, but not in the evaluator.
  ExprPtr finish(ExprPtr expr) const {
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

  ExprPtr wrap(ExprKind kind, int line, ExprPtr child) {
    auto expr = make(kind, line);
    expr->children.push_back(std::move(child));
    return finish(std::move(expr));
  }

  ExprPtr parse_expression(bool with_conditional = true) {
    const Level level(*this);
    return with_conditional ? parse_conditional() : parse_or();
  }

  ExprPtr parse_conditional() {
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
  ExprPtr parse_chain(ExprKind kind, ParseOperand operand, TakeOperator take) {
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

  ExprPtr parse_or() {
    return parse_chain(
        ExprKind::kOr, [this] { return parse_and(); }, [this] { return skip_name("or") ? "or" : ""; });
  }
  ExprPtr parse_and() {
    return parse_chain(
        ExprKind::kAnd, [this] { return parse_not(); }, [this] { return skip_name("and") ? "and" : ""; });
  }
  ExprPtr parse_not() {
    if (!current().is_name("not")) return parse_compare();
    const Level level(*this);
    const int line = next().line;
    return wrap(ExprKind::kNot, line, parse_not());
  }
  std::string take_any(std::initializer_list<std::string_view> ops) {
    for (const std::string_view op : ops) {
      if (skip_operator(op)) return std::string(op);
    }
    return "";
  }
  ExprPtr parse_compare() {
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
  ExprPtr parse_sum() {
    return parse_chain(
        ExprKind::kArithmetic, [this] { return parse_concat(); },
        [this] {
          return take_any({"+", "-"});
        });
  }
  ExprPtr parse_concat() {
    return parse_chain(
        ExprKind::kConcat, [this] { return parse_product(); }, [this] { return take_any({"~"}); });
  }
  ExprPtr parse_product() {
    return parse_chain(
        ExprKind::kArithmetic, [this] { return parse_power(); },
        [this] {
          return take_any({"*", "/", "//", "%"});
        });
  }
  ExprPtr parse_power() {
    return parse_chain(
        ExprKind::kArithmetic, [this] { return parse_unary(true); }, [this] { return take_any({"**"}); });
  }

  ExprPtr parse_unary(bool with_filter) {
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

  ExprPtr constant(Value value, int line) {
    auto expr = make(ExprKind::kConstant, line);
    expr->value = std::move(value);
    return expr;
  }

  ExprPtr parse_primary() {
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

  ExprPtr parse_name() {
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

  ExprPtr parse_list(int line) {
    auto expr = make(ExprKind::kList, line);
    while (!current().is_operator("]")) {
      if (!expr->children.empty()) expect_operator(",");
      if (current().is_operator("]")) break;
      expr->children.push_back(parse_expression());
    }
    expect_operator("]");
    return finish(std::move(expr));
  }

  ExprPtr parse_dict(int line) {
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

  bool at_tuple_end(std::string_view end_name) const {
    const Token& token = current();
    return token.is(TokenKind::kPrintEnd) || token.is(TokenKind::kTagEnd) || token.is_operator(")") ||
           (!end_name.empty() && token.is_name(end_name));
  }

  // One expression, or a tuple when commas follow.
  ExprPtr parse_tuple(bool with_conditional, bool in_parentheses, std::string_view end_name) {
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

  ExprPtr parse_postfix(ExprPtr expr) {
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

  ExprPtr parse_attribute(ExprPtr object, int line) {
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

  ExprPtr parse_item(ExprPtr object, int line) {
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

  ExprPtr parse_subscript() {
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

  Arguments parse_arguments() {
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

  ExprPtr parse_call(ExprPtr callee) {
    auto expr = make(ExprKind::kCall, current().line);
    expr->children.push_back(std::move(callee));
    expr->arguments = parse_arguments();
    return finish(std::move(expr));
  }

  ExprPtr parse_filters_and_tests(ExprPtr expr) {
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

  std::string parse_dotted_name(const char* what) {
    std::string name = expect_name(what);
    while (skip_operator(".")) name += "." + expect_name(what);
    return name;
  }

  ExprPtr parse_filter(ExprPtr input) {
    auto expr = make(ExprKind::kFilter, current().line);
    expr->text = parse_dotted_name("a filter name");
    if (!is_filter(expr->text)) note_unknown("filter", expr->text, expr->line);
    expr->children.push_back(std::move(input));
    if (current().is_operator("(")) expr->arguments = parse_arguments();
    return finish(std::move(expr));
  }

  // The filters of a block: {% filter a | b(1) %}.
  ExprPtr parse_filter_chain() {
    ExprPtr expr = parse_filter(nullptr);
    while (skip_operator("|")) expr = parse_filter(std::move(expr));
    return expr;
  }

  ExprPtr parse_test(ExprPtr input) {
    const int line = next().line;
    const bool negated = skip_name("not");
    auto expr = make(ExprKind::kTest, line);
    expr->text = parse_dotted_name("a test name");
    if (!is_test(expr->text)) note_unknown("test", expr->text, line);
    expr->children.push_back(std::move(input));
    const Token& token = current();
    const bool starts_operand = token.is(TokenKind::kName) || token.is(TokenKind::kString) ||
                                token.is(TokenKind::kInteger) || token.is(TokenKind::kFloat) ||
                                token.is_operator("[") || token.is_operator("{");
    if (token.is_operator("(")) {
      expr->arguments = parse_arguments();
    } else if (starts_operand && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
      if (token.is_name("is")) fail("tests cannot be chained with \"is\"", token.line);
      expr->arguments.positional.push_back(parse_postfix(parse_primary()));
    }
    ExprPtr done = finish(std::move(expr));
    return negated ? wrap(ExprKind::kNot, line, std::move(done)) : std::move(done);
  }

  void note_unknown(const char* what, const std::string& name, int line) {
    if (!soft_) unknown_.push_back({std::string("there is no ") + what + " named " + quote_text(name), line, ""});
  }

  // ---- statements ----
  bool at_end_tag(const std::vector<std::string_view>& ends) const {
    return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return current().is_name(end); });
  }

  // Statements up to a tag named in `ends`; the tag's name is the current token then. No ends: the whole template.
  Body parse_body(const std::vector<std::string_view>& ends) {
    const Level level(*this);
    Body body;
    while (true) {
      const Token& token = current();
      if (token.is(TokenKind::kEnd)) {
        if (ends.empty()) return body;
        fail("the template ends, but {% " + std::string(ends.back()) + " %} is missing for the block opened in line " +
                 std::to_string(open_lines_.back()),
             token.line);
      }
      next();
      if (token.is(TokenKind::kText)) {
        auto stmt = std::make_unique<Stmt>(StmtKind::kText, token.line);
        stmt->text = token.text;
        body.push_back(std::move(stmt));
      } else if (token.is(TokenKind::kPrintBegin)) {
        auto stmt = std::make_unique<Stmt>(StmtKind::kPrint, token.line);
        stmt->expr = parse_tuple(true, false, "");
        expect_kind(TokenKind::kPrintEnd, "'}}'");
        body.push_back(std::move(stmt));
      } else {
        if (at_end_tag(ends)) return body;
        parse_statement(body);
        expect_kind(TokenKind::kTagEnd, "'%}'");
      }
    }
  }

  // The body of a block tag: from its '%}' to one of `ends`.
  Body parse_block(const std::vector<std::string_view>& ends) {
    skip_operator(":");
    open_lines_.push_back(current().line);
    expect_kind(TokenKind::kTagEnd, "'%}'");
    Body body = parse_body(ends);
    open_lines_.pop_back();
    return body;
  }

  void parse_statement(Body& body) {
    if (!current().is(TokenKind::kName)) fail_here("a tag name");
    const Token& tag = next();
    const std::string& name = tag.text;
    if (name == "print") return parse_print(body);
    using Parse = std::unique_ptr<Stmt> (Parser::*)(int);
    static constexpr std::pair<std::string_view, Parse> kTags[] = {
        {"if", &Parser::parse_if},         {"for", &Parser::parse_for},
        {"set", &Parser::parse_set},       {"macro", &Parser::parse_macro},
        {"call", &Parser::parse_call_tag}, {"filter", &Parser::parse_filter_tag},
        {"with", &Parser::parse_with},     {"generation", &Parser::parse_generation},
        {"break", &Parser::parse_jump},    {"continue", &Parser::parse_jump}};
    for (const auto& [known, parse] : kTags) {
      if (name == known) {
        body.push_back((this->*parse)(tag.line));
        return;
      }
    }
    if (name.rfind("end", 0) == 0 || name == "else" || name == "elif") {
      fail("{% " + name + " %} does not match the open block" +
               (open_lines_.empty() ? "" : " of line " + std::to_string(open_lines_.back())),
           tag.line);
    }
    fail("the tag " + quote_text(name) + " is not supported in chat templates", tag.line,
         "use if, for, set, macro, call, filter, with, print, raw, generation, break, continue");
  }

  void parse_print(Body& body) {
    bool first = true;
    while (!current().is(TokenKind::kTagEnd)) {
      if (!std::exchange(first, false)) expect_operator(",");
      auto stmt = std::make_unique<Stmt>(StmtKind::kPrint, current().line);
      stmt->expr = parse_expression();
      body.push_back(std::move(stmt));
    }
  }

  std::unique_ptr<Stmt> parse_if(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kIf, line);
    const bool outer_soft = std::exchange(soft_, true);
    while (true) {
      ExprPtr test = parse_tuple(false, false, "");
      Body body = parse_block({"elif", "else", "endif"});
      stmt->branches.emplace_back(std::move(test), std::move(body));
      if (skip_name("elif")) continue;
      if (next().text == "else") {
        stmt->body = parse_block({"endif"});
        next();
      }
      break;
    }
    soft_ = outer_soft;
    return stmt;
  }

  std::unique_ptr<Stmt> parse_for(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kFor, line);
    stmt->target = parse_target("in");
    if (!skip_name("in")) fail_here("'in'");
    stmt->expr = parse_tuple(false, false, "recursive");
    if (skip_name("if")) stmt->test = parse_expression();
    stmt->recursive = skip_name("recursive");
    const bool outer_soft = std::exchange(soft_, false);
    loops_.push_back(stmt.get());
    ++loop_depth_;
    stmt->body = parse_block({"else", "endfor"});
    --loop_depth_;
    loops_.pop_back();
    if (next().text == "else") {
      stmt->else_body = parse_block({"endfor"});
      next();
    }
    soft_ = outer_soft;
    return stmt;
  }

  std::unique_ptr<Stmt> parse_jump(int line) {
    const bool is_break = tokens_[position_ - 1].text == "break";
    if (loop_depth_ == 0) fail(std::string("{% ") + (is_break ? "break" : "continue") + " %} outside a loop", line);
    return std::make_unique<Stmt>(is_break ? StmtKind::kBreak : StmtKind::kContinue, line);
  }

  Target parse_target(std::string_view end_name) {
    const Level level(*this);
    std::vector<Target> items;
    bool is_tuple = false;
    while (true) {
      if (!items.empty()) expect_operator(",");
      if (current().is_operator("=") || at_tuple_end(end_name)) break;
      items.push_back(parse_single_target());
      if (!current().is_operator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && items.size() == 1) return std::move(items[0]);
    if (items.empty()) fail_here("a name to assign to");
    Target target;
    target.is_tuple = true;
    target.tuple = std::move(items);
    return target;
  }

  Target parse_single_target() {
    if (skip_operator("(")) {
      Target target = parse_target("");
      expect_operator(")");
      return target;
    }
    Target target;
    const Token& token = current();
    const std::string& name = expect_name("a name to assign to");
    for (const char* reserved : {"true", "false", "none", "True", "False", "None"}) {
      if (name == reserved) fail("cannot assign to " + quote_text(name), token.line);
    }
    target.name = intern(name);
    return target;
  }

  std::unique_ptr<Stmt> parse_set(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kSet, line);
    if (current().is(TokenKind::kName) && ahead().is_operator(".")) {
      stmt->target.name = intern(next().text);
      next();
      stmt->target.attribute = expect_name("a namespace attribute");
    } else {
      stmt->target = parse_target("");
    }
    if (skip_operator("=")) {
      stmt->expr = parse_tuple(true, false, "");
      return stmt;
    }
    stmt->kind = StmtKind::kSetBlock;
    if (skip_operator("|")) stmt->expr = parse_filter_chain();
    stmt->body = parse_block({"endset"});
    next();
    return stmt;
  }

  void parse_parameters(Macro& macro) {
    expect_operator("(");
    while (!current().is_operator(")")) {
      if (!macro.parameters.empty()) expect_operator(",");
      const int line = current().line;
      const int name = intern(expect_name("a parameter name"));
      if (std::count(macro.parameters.begin(), macro.parameters.end(), name) > 0) {
        fail("the parameter " + quote_text(program_.names[static_cast<size_t>(name)]) + " is there twice", line);
      }
      macro.parameters.push_back(name);
      if (skip_operator("=")) {
        macro.defaults.push_back(parse_expression());
      } else if (!macro.defaults.empty()) {
        fail("a parameter without a default follows one with a default", line);
      }
    }
    expect_operator(")");
  }

  // The body of a macro or a call block: no loop around it is its own.
  void parse_macro_body(Macro& macro, std::string_view end) {
    const int outer_depth = std::exchange(loop_depth_, 0);
    const bool outer_soft = std::exchange(soft_, false);
    macros_.push_back(&macro);
    macro.body = parse_block({end});
    macros_.pop_back();
    loop_depth_ = outer_depth;
    soft_ = outer_soft;
    next();
  }

  std::unique_ptr<Stmt> parse_macro(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kMacro, line);
    stmt->macro = std::make_unique<Macro>();
    stmt->macro->name = expect_name("a macro name");
    stmt->target.name = intern(stmt->macro->name);
    parse_parameters(*stmt->macro);
    parse_macro_body(*stmt->macro, "endmacro");
    return stmt;
  }

  std::unique_ptr<Stmt> parse_call_tag(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kCallBlock, line);
    stmt->macro = std::make_unique<Macro>();
    stmt->macro->name = "caller";
    if (current().is_operator("(")) parse_parameters(*stmt->macro);
    stmt->expr = parse_expression();
    if (stmt->expr->kind != ExprKind::kCall) fail("{% call %} needs a call", line);
    parse_macro_body(*stmt->macro, "endcall");
    return stmt;
  }

  std::unique_ptr<Stmt> parse_filter_tag(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kFilterBlock, line);
    stmt->expr = parse_filter_chain();
    stmt->body = parse_block({"endfilter"});
    next();
    return stmt;
  }

  std::unique_ptr<Stmt> parse_with(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kWith, line);
    while (!current().is(TokenKind::kTagEnd) && !current().is_operator(":")) {
      if (!stmt->bindings.empty()) expect_operator(",");
      Target target = parse_single_target();
      expect_operator("=");
      stmt->bindings.emplace_back(std::move(target), parse_expression());
    }
    stmt->body = parse_block({"endwith"});
    next();
    return stmt;
  }

  std::unique_ptr<Stmt> parse_generation(int line) {
    auto stmt = std::make_unique<Stmt>(StmtKind::kScope, line);
    const int outer_depth = std::exchange(loop_depth_, 0);  // it is a call block in Hugging Face's extension
    stmt->body = parse_block({"endgeneration"});
    loop_depth_ = outer_depth;
    next();
    return stmt;
  }

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int level_ = 0;
  int loop_depth_ = 0;
  bool soft_ = false;  // inside an if: unknown filters and tests fail only when reached
  std::vector<TemplateError> unknown_;
  std::vector<Stmt*> loops_;
  std::vector<Macro*> macros_;
  std::vector<int> open_lines_;
  std::unordered_map<std::string, int> name_ids_;
  Program program_;
};

}  // namespace

Program parse_program(std::string_view source) {
  if (source.size() > kSourceLimit) {
    throw TemplateError{"the template is longer than " + std::to_string(kSourceLimit) + " bytes", 1, ""};
  }
  if (const size_t bad = find_invalid_utf8(source); bad != kNowhere) {
    const auto line = 1 + std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    throw TemplateError{"the template is not UTF-8 at byte " + std::to_string(bad), static_cast<int>(line), ""};
  }
  return Parser(source).run();
}

}  // namespace throughline::jinja
