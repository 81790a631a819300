// Splits an answer (LaTeX or plain text) into tokens, with the spelling variants made equal.
//
// \dfrac, \tfrac and \cfrac become \frac; \left, \right, \displaystyle and sizes vanish; \leq, <= and the Unicode sign
// become one operator; thousands separators (1,234  1{,}234  1\,234  1,\!234) become one number. Bracketed lists keep
// their commas: (100,200) is a pair. Doubled backslashes before a letter count as one, outside of matrices.
// Never fails: what it does not know becomes kUnknown, on which the parser gives up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace throughline::answer {

enum class TokenKind : uint8_t {
  kEnd,
  kNumber,   // text: digits, perhaps one '.'
  kLetter,   // one variable: "x", "alpha"
  kWord,     // two or more letters in a row, outside of commands
  kCommand,  // a known function or structure: "frac", "sqrt", "sin", "begin"
  kText,     // the words of \text{...}
  kSymbol,   // one character in `op`: ( ) [ ] { } | , ; : + - * / ^ _ = < > ! % & '
             // or a letter code: L \{  R \}  l <=  g >=  n !=  ~ approx  e in  P ±  M ∓  U union  I intersection
             // S setminus  B mid  N row end  D degree  $ currency  A absolute bar
  kUnknown,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  char op = 0;
  bool space_before = false;
  std::string text;
};

struct LexOptions {
  bool bare_pi = false;         // "pi" without a backslash is the constant
  bool plain_functions = true;  // "sqrt", "sin" without a backslash are functions
  size_t max_length = 2000;     // bytes; longer answers are not read
};

// False: the text is longer than the limit, has more than `max_tokens`, or is nested too deep.
bool lex(std::string_view text, const LexOptions& options, size_t max_tokens, std::vector<Token>* tokens);

}  // namespace throughline::answer
