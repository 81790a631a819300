#include "text/jinja_parser.h"

#include <algorithm>

#include "text/jinja_expr_parser.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

class Parser : private ExprParser {
 public:
  explicit Parser(std::string_view source) : ExprParser(source) {}

  Program run() {
    program_.body = parse_body({});
    if (!unknown_.empty()) throw unknown_.front();
    return std::move(program_);
  }

 private:
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

  int loop_depth_ = 0;
  std::vector<int> open_lines_;
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
