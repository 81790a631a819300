// Splits a Jinja template into text and tokens, as jinja2 3.1's lexer does with trim_blocks and lstrip_blocks on
// (Hugging Face's settings), comments and raw blocks resolved, one trailing newline dropped, \r\n read as \n.
// Errors: TemplateError with the line. Tokens point into nothing: they own their text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace throughline::jinja {

enum class TokenKind : uint8_t {
  kText,        // template text
  kPrintBegin,  // {{
  kPrintEnd,
  kTagBegin,  // {%
  kTagEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,  // its spelling in `text`
  kEnd
};

struct Token {
  TokenKind kind;
  int line;
  std::string text;
  int64_t integer = 0;
  double real = 0;
  bool is(TokenKind other) const { return kind == other; }
  bool is_operator(std::string_view spelling) const { return kind == TokenKind::kOperator && text == spelling; }
  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
};

std::vector<Token> tokenize(std::string_view source);
// How an error message calls a token.
std::string describe(const Token& token);

}  // namespace throughline::jinja
