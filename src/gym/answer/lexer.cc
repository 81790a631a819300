#include "gym/answer/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "gym/answer/strings.h"

namespace throughline::answer {
namespace {

struct Spelling {
  std::string_view name;
  TokenKind kind;
  char op;
  std::string_view text;
};

// LaTeX commands, sorted by name for the binary search.
constexpr std::array kCommands = {
    Spelling{"Delta", TokenKind::kLetter, 0, "Delta"},
    Spelling{"Gamma", TokenKind::kLetter, 0, "Gamma"},
    Spelling{"Lambda", TokenKind::kLetter, 0, "Lambda"},
    Spelling{"Leftrightarrow", TokenKind::kUnknown, 0, ""},
    Spelling{"Omega", TokenKind::kLetter, 0, "Omega"},
    Spelling{"Phi", TokenKind::kLetter, 0, "Phi"},
    Spelling{"Pi", TokenKind::kLetter, 0, "Pi"},
    Spelling{"Psi", TokenKind::kLetter, 0, "Psi"},
    Spelling{"Sigma", TokenKind::kLetter, 0, "Sigma"},
    Spelling{"Theta", TokenKind::kLetter, 0, "Theta"},
    Spelling{"Xi", TokenKind::kLetter, 0, "Xi"},
    Spelling{"alpha", TokenKind::kLetter, 0, "alpha"},
    Spelling{"angle", TokenKind::kLetter, 0, "angle"},
    Spelling{"approx", TokenKind::kSymbol, '~', ""},
    Spelling{"arccos", TokenKind::kCommand, 0, "arccos"},
    Spelling{"arcsin", TokenKind::kCommand, 0, "arcsin"},
    Spelling{"arctan", TokenKind::kCommand, 0, "arctan"},
    Spelling{"ast", TokenKind::kSymbol, '*', ""},
    Spelling{"begin", TokenKind::kCommand, 0, "begin"},
    Spelling{"beta", TokenKind::kLetter, 0, "beta"},
    Spelling{"binom", TokenKind::kCommand, 0, "binom"},
    Spelling{"cap", TokenKind::kSymbol, 'I', ""},
    Spelling{"cdot", TokenKind::kSymbol, '*', ""},
    Spelling{"cdots", TokenKind::kUnknown, 0, ""},
    Spelling{"cfrac", TokenKind::kCommand, 0, "frac"},
    Spelling{"chi", TokenKind::kLetter, 0, "chi"},
    Spelling{"choose", TokenKind::kUnknown, 0, ""},
    Spelling{"circ", TokenKind::kSymbol, 'D', ""},
    Spelling{"colon", TokenKind::kSymbol, ':', ""},
    Spelling{"cos", TokenKind::kCommand, 0, "cos"},
    Spelling{"cosh", TokenKind::kCommand, 0, "cosh"},
    Spelling{"cot", TokenKind::kCommand, 0, "cot"},
    Spelling{"csc", TokenKind::kCommand, 0, "csc"},
    Spelling{"cup", TokenKind::kSymbol, 'U', ""},
    Spelling{"dbinom", TokenKind::kCommand, 0, "binom"},
    Spelling{"deg", TokenKind::kSymbol, 'D', ""},
    Spelling{"degree", TokenKind::kSymbol, 'D', ""},
    Spelling{"delta", TokenKind::kLetter, 0, "delta"},
    Spelling{"dfrac", TokenKind::kCommand, 0, "frac"},
    Spelling{"div", TokenKind::kSymbol, '/', ""},
    Spelling{"dots", TokenKind::kUnknown, 0, ""},
    Spelling{"ell", TokenKind::kLetter, 0, "ell"},
    Spelling{"emptyset", TokenKind::kCommand, 0, "emptyset"},
    Spelling{"end", TokenKind::kCommand, 0, "end"},
    Spelling{"epsilon", TokenKind::kLetter, 0, "epsilon"},
    Spelling{"equiv", TokenKind::kSymbol, '=', ""},
    Spelling{"eta", TokenKind::kLetter, 0, "eta"},
    Spelling{"euro", TokenKind::kSymbol, '$', "euro"},
    Spelling{"exp", TokenKind::kCommand, 0, "exp"},
    Spelling{"frac", TokenKind::kCommand, 0, "frac"},
    Spelling{"gamma", TokenKind::kLetter, 0, "gamma"},
    Spelling{"gcd", TokenKind::kCommand, 0, "gcd"},
    Spelling{"ge", TokenKind::kSymbol, 'g', ""},
    Spelling{"geq", TokenKind::kSymbol, 'g', ""},
    Spelling{"geqslant", TokenKind::kSymbol, 'g', ""},
    Spelling{"gt", TokenKind::kSymbol, '>', ""},
    Spelling{"imath", TokenKind::kLetter, 0, "i"},
    Spelling{"in", TokenKind::kSymbol, 'e', ""},
    Spelling{"infin", TokenKind::kCommand, 0, "infty"},
    Spelling{"infinity", TokenKind::kCommand, 0, "infty"},
    Spelling{"infty", TokenKind::kCommand, 0, "infty"},
    Spelling{"int", TokenKind::kCommand, 0, "int"},
    Spelling{"iota", TokenKind::kLetter, 0, "iota"},
    Spelling{"kappa", TokenKind::kLetter, 0, "kappa"},
    Spelling{"lVert", TokenKind::kSymbol, '|', ""},
    Spelling{"lambda", TokenKind::kLetter, 0, "lambda"},
    Spelling{"land", TokenKind::kSymbol, ',', ""},
    Spelling{"langle", TokenKind::kSymbol, '(', ""},
    Spelling{"lbrace", TokenKind::kSymbol, 'L', ""},
    Spelling{"lbrack", TokenKind::kSymbol, '[', ""},
    Spelling{"lceil", TokenKind::kCommand, 0, "lceil"},
    Spelling{"lcm", TokenKind::kCommand, 0, "lcm"},
    Spelling{"le", TokenKind::kSymbol, 'l', ""},
    Spelling{"leq", TokenKind::kSymbol, 'l', ""},
    Spelling{"leqslant", TokenKind::kSymbol, 'l', ""},
    Spelling{"lfloor", TokenKind::kCommand, 0, "lfloor"},
    Spelling{"lg", TokenKind::kCommand, 0, "lg"},
    Spelling{"lim", TokenKind::kCommand, 0, "lim"},
    Spelling{"ln", TokenKind::kCommand, 0, "ln"},
    Spelling{"log", TokenKind::kCommand, 0, "log"},
    Spelling{"lor", TokenKind::kSymbol, ',', ""},
    Spelling{"lt", TokenKind::kSymbol, '<', ""},
    Spelling{"lvert", TokenKind::kSymbol, '|', ""},
    Spelling{"max", TokenKind::kCommand, 0, "max"},
    Spelling{"mid", TokenKind::kSymbol, 'B', ""},
    Spelling{"min", TokenKind::kCommand, 0, "min"},
    Spelling{"mp", TokenKind::kSymbol, 'M', ""},
    Spelling{"mu", TokenKind::kLetter, 0, "mu"},
    Spelling{"ne", TokenKind::kSymbol, 'n', ""},
    Spelling{"neq", TokenKind::kSymbol, 'n', ""},
    Spelling{"nu", TokenKind::kLetter, 0, "nu"},
    Spelling{"oint", TokenKind::kCommand, 0, "int"},
    Spelling{"omega", TokenKind::kLetter, 0, "omega"},
    Spelling{"over", TokenKind::kUnknown, 0, ""},
    Spelling{"overline", TokenKind::kCommand, 0, "overline"},
    Spelling{"phi", TokenKind::kLetter, 0, "phi"},
    Spelling{"pi", TokenKind::kCommand, 0, "pi"},
    Spelling{"pm", TokenKind::kSymbol, 'P', ""},
    Spelling{"prime", TokenKind::kSymbol, '\'', ""},
    Spelling{"prod", TokenKind::kCommand, 0, "prod"},
    Spelling{"psi", TokenKind::kLetter, 0, "psi"},
    Spelling{"rVert", TokenKind::kSymbol, '|', ""},
    Spelling{"rangle", TokenKind::kSymbol, ')', ""},
    Spelling{"rbrace", TokenKind::kSymbol, 'R', ""},
    Spelling{"rbrack", TokenKind::kSymbol, ']', ""},
    Spelling{"rceil", TokenKind::kCommand, 0, "rceil"},
    Spelling{"rfloor", TokenKind::kCommand, 0, "rfloor"},
    Spelling{"rho", TokenKind::kLetter, 0, "rho"},
    Spelling{"rvert", TokenKind::kSymbol, '|', ""},
    Spelling{"sec", TokenKind::kCommand, 0, "sec"},
    Spelling{"setminus", TokenKind::kSymbol, 'S', ""},
    Spelling{"sigma", TokenKind::kLetter, 0, "sigma"},
    Spelling{"sim", TokenKind::kSymbol, '~', ""},
    Spelling{"simeq", TokenKind::kSymbol, '~', ""},
    Spelling{"sin", TokenKind::kCommand, 0, "sin"},
    Spelling{"sinh", TokenKind::kCommand, 0, "sinh"},
    Spelling{"smallsetminus", TokenKind::kSymbol, 'S', ""},
    Spelling{"sqrt", TokenKind::kCommand, 0, "sqrt"},
    Spelling{"star", TokenKind::kSymbol, '*', ""},
    Spelling{"sum", TokenKind::kCommand, 0, "sum"},
    Spelling{"tan", TokenKind::kCommand, 0, "tan"},
    Spelling{"tanh", TokenKind::kCommand, 0, "tanh"},
    Spelling{"tau", TokenKind::kLetter, 0, "tau"},
    Spelling{"tbinom", TokenKind::kCommand, 0, "binom"},
    Spelling{"tfrac", TokenKind::kCommand, 0, "frac"},
    Spelling{"theta", TokenKind::kLetter, 0, "theta"},
    Spelling{"times", TokenKind::kSymbol, '*', ""},
    Spelling{"to", TokenKind::kUnknown, 0, ""},
    Spelling{"upsilon", TokenKind::kLetter, 0, "upsilon"},
    Spelling{"varepsilon", TokenKind::kLetter, 0, "epsilon"},
    Spelling{"varnothing", TokenKind::kCommand, 0, "emptyset"},
    Spelling{"varphi", TokenKind::kLetter, 0, "phi"},
    Spelling{"vartheta", TokenKind::kLetter, 0, "theta"},
    Spelling{"vert", TokenKind::kSymbol, '|', ""},
    Spelling{"xi", TokenKind::kLetter, 0, "xi"},
    Spelling{"zeta", TokenKind::kLetter, 0, "zeta"},
};

static_assert(std::is_sorted(kCommands.begin(), kCommands.end(),
                             [](const Spelling& a, const Spelling& b) { return a.name < b.name; }));

// Commands without any effect on the value.
constexpr std::array<std::string_view, 24> kInvisible = {
    "Big",      "Bigg",    "Bigl",  "Bigr",         "big",   "bigg", "biggl",     "biggr",
    "bigl",     "bigr",    "boxed", "displaystyle", "fbox",  "left", "limits",    "middle",
    "nolimits", "phantom", "qquad", "quad",         "right", "rm",   "textstyle", "thinspace"};

constexpr std::array<std::string_view, 22> kTextCommands = {
    "bf",           "emph", "hbox",   "mathbb", "mathbf",     "mathcal", "mathit", "mathrm", "mathsf", "mathtt", "mbox",
    "operatorname", "text", "textbf", "textit", "textnormal", "textrm",  "textsc", "textsf", "texttt", "textup", "vec"};

// Plain words that act like the command of the same name.
constexpr std::array<std::string_view, 20> kPlainFunctions = {
    "arccos", "arcsin", "arctan", "cos", "cosh", "cot", "csc",  "exp",  "gcd", "lcm",
    "ln",     "log",    "max",    "min", "sec",  "sin", "sinh", "sqrt", "tan", "tanh"};

// Unicode signs, as UTF-8.
constexpr std::array kUnicode = {
    Spelling{"π", TokenKind::kCommand, 0, "pi"},     Spelling{"∞", TokenKind::kCommand, 0, "infty"},
    Spelling{"√", TokenKind::kCommand, 0, "sqrt"},   Spelling{"∅", TokenKind::kCommand, 0, "emptyset"},
    Spelling{"×", TokenKind::kSymbol, '*', ""},      Spelling{"·", TokenKind::kSymbol, '*', ""},
    Spelling{"⋅", TokenKind::kSymbol, '*', ""},      Spelling{"÷", TokenKind::kSymbol, '/', ""},
    Spelling{"−", TokenKind::kSymbol, '-', ""},      Spelling{"–", TokenKind::kSymbol, '-', ""},
    Spelling{"±", TokenKind::kSymbol, 'P', ""},      Spelling{"≤", TokenKind::kSymbol, 'l', ""},
    Spelling{"≥", TokenKind::kSymbol, 'g', ""},      Spelling{"≠", TokenKind::kSymbol, 'n', ""},
    Spelling{"≈", TokenKind::kSymbol, '~', ""},      Spelling{"∈", TokenKind::kSymbol, 'e', ""},
    Spelling{"∪", TokenKind::kSymbol, 'U', ""},      Spelling{"∩", TokenKind::kSymbol, 'I', ""},
    Spelling{"°", TokenKind::kSymbol, 'D', ""},      Spelling{"€", TokenKind::kSymbol, '$', "euro"},
    Spelling{"£", TokenKind::kSymbol, '$', "pound"}, Spelling{"¥", TokenKind::kSymbol, '$', "yen"},
    Spelling{"，", TokenKind::kSymbol, ',', ""},     Spelling{"θ", TokenKind::kLetter, 0, "theta"},
    Spelling{"α", TokenKind::kLetter, 0, "alpha"},   Spelling{"β", TokenKind::kLetter, 0, "beta"},
    Spelling{"ℝ", TokenKind::kCommand, 0, "reals"},
};

static_assert(std::is_sorted(kInvisible.begin(), kInvisible.end()));
static_assert(std::is_sorted(kTextCommands.begin(), kTextCommands.end()));
static_assert(std::is_sorted(kPlainFunctions.begin(), kPlainFunctions.end()));

template <size_t N>
bool contains(const std::array<std::string_view, N>& sorted_names, std::string_view name) {
  return std::binary_search(sorted_names.begin(), sorted_names.end(), name);
}

class Lexer {
 public:
  Lexer(std::string_view text, const LexOptions& options, size_t max_tokens, std::vector<Token>* tokens, int level)
      : text_(text), options_(options), max_tokens_(max_tokens), tokens_(tokens), level_(level) {}

  bool run() {
    while (at_ < text_.size()) {
      if (!next() || tokens_->size() > max_tokens_) return false;
    }
    return true;
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool starts(std::string_view s) const { return text_.substr(at_, s.size()) == s; }

  void emit(TokenKind kind, char op, std::string_view text) {
    Token token;
    token.kind = kind;
    token.op = op;
    token.space_before = space_;
    token.text = std::string(text);
    tokens_->push_back(std::move(token));
    space_ = false;
  }
  void symbol(char op, size_t width) {
    emit(TokenKind::kSymbol, op, "");
    at_ += width;
  }

  bool next() {
    const char c = peek();
    if (std::isspace(static_cast<unsigned char>(c)) || c == '~') {
      space_ = true;
      ++at_;
      return true;
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number();
    if (is_letter(c)) return word();
    if (c == '\\') return command();
    if (static_cast<unsigned char>(c) >= 0x80) return unicode();
    return punctuation(c);
  }

  bool punctuation(char c) {
    const char second = peek(1);
    if (c == '<' && second == '=') return symbol('l', 2), true;
    if (c == '=' && second == '<') return symbol('l', 2), true;
    if (c == '>' && second == '=') return symbol('g', 2), true;
    if (c == '!' && second == '=') return symbol('n', 2), true;
    if (c == '=' && second == '=') return symbol('=', 2), true;
    if (c == '+' && second == '-') return symbol('P', 2), true;
    if (c == '+' && second == '/' && peek(2) == '-') return symbol('P', 3), true;
    if (c == '*' && second == '*') return symbol('^', 2), true;
    if (c == '{' && second == ',' && peek(2) == '}') return symbol(',', 3), true;
    switch (c) {
      case '(':
      case '[':
        brackets_.push_back(c);
        return symbol(c, 1), true;
      case ')':
      case ']':
        if (!brackets_.empty()) brackets_.pop_back();
        return symbol(c, 1), true;
      case '{':
      case '}': {
        if (c == '{') {
          brackets_.push_back(c);
        } else if (!brackets_.empty()) {
          brackets_.pop_back();
        }
        return symbol(c, 1), true;
      }
      case '$':
        if (is_digit(peek(1))) {  // "$5": money; other dollars are delimiters that the extraction left
          emit(TokenKind::kSymbol, '$', "dollar");
        }
        ++at_;
        return true;
      case '.':
      case '"':
      case '`':
        ++at_;  // a full stop at the end, quotes
        space_ = true;
        return true;
      case '|':
      case ',':
      case ';':
      case ':':
      case '+':
      case '-':
      case '*':
      case '/':
      case '^':
      case '_':
      case '=':
      case '<':
      case '>':
      case '!':
      case '%':
      case '&':
      case '\'':
        return symbol(c, 1), true;
      default:
        emit(TokenKind::kUnknown, c, "");
        ++at_;
        return true;
    }
  }

  bool unicode() {
    for (const Spelling& s : kUnicode) {
      if (s.name[0] == text_[at_] && starts(s.name)) {
        emit(s.kind, s.op, s.text);
        at_ += s.name.size();
        return true;
      }
    }
    static constexpr std::string_view kPowers[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    for (int i = 0; i < 10; ++i) {
      if (starts(kPowers[i])) {
        emit(TokenKind::kSymbol, '^', "");
        emit(TokenKind::kNumber, 0, std::string(1, static_cast<char>('0' + i)));
        at_ += kPowers[i].size();
        return true;
      }
    }
    emit(TokenKind::kUnknown, '?', "");
    ++at_;
    while (at_ < text_.size() && (static_cast<unsigned char>(text_[at_]) & 0xC0) == 0x80) ++at_;
    return true;
  }

  // Commas group thousands unless they stand directly between round, square or set brackets.
  bool commas_group() const { return brackets_.empty() || brackets_.back() == '{'; }

  // Width of a thousands separator at `from` that is followed by exactly three digits, else 0.
  size_t separator_width(size_t from) const {
    static constexpr std::string_view kAlways[] = {"{,}", "\\,", "\\!,\\!", ",\\!", "\\;", "\\ "};
    const std::string_view rest = text_.substr(from);
    if (rest.empty() || (rest[0] != ',' && rest[0] != '{' && rest[0] != '\\')) return 0;
    size_t width = 0;
    for (const std::string_view s : kAlways) {
      if (rest.substr(0, s.size()) == s) {
        width = s.size();
        if (s == ",\\!") {
          while (from + width < text_.size() && text_[from + width] == ' ') ++width;
        }
        break;
      }
    }
    if (width == 0 && rest.substr(0, 1) == "," && commas_group()) width = 1;
    if (width == 0 || rest.size() < width + 3) return 0;
    for (size_t i = 0; i < 3; ++i) {
      if (!is_digit(rest[width + i])) return 0;
    }
    if (rest.size() > width + 3 && is_digit(rest[width + 3])) return 0;
    return width;
  }

  bool number() {
    std::string digits;
    size_t p = at_;
    while (p < text_.size() && is_digit(text_[p])) digits.push_back(text_[p++]);
    const bool zero = digits == "0";
    if (!digits.empty() && digits.size() <= 3 && !(zero && text_.substr(p, 1) != ",")) {
      bool first = true;
      while (const size_t width = separator_width(p)) {
        if (zero) {  // "0,111": no group of thousands begins with 0, so this is a decimal comma
          if (!first || !commas_group()) break;
          digits += '.';
        }
        first = false;
        digits.append(text_.substr(p + width, 3));
        p += width + 3;
      }
    }
    if (digits.find('.') == std::string::npos && p + 1 < text_.size() && text_[p] == '.' && is_digit(text_[p + 1])) {
      digits.push_back('.');
      ++p;
      while (p < text_.size() && is_digit(text_[p])) digits.push_back(text_[p++]);
    } else if (p < text_.size() && text_[p] == '.') {
      ++p;  // "5." at the end of a sentence, or "5." for 5
    }
    at_ = p;
    emit(TokenKind::kNumber, 0, digits);
    return true;
  }

  bool word() {
    size_t end = at_;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    std::string_view run = text_.substr(at_, end - at_);
    // "1orW(x)", "3andx": the separator sticks to what follows it.
    const char before = at_ > 0 ? text_[at_ - 1] : ' ';
    if (is_digit(before) || before == ')' || before == '}') {
      const size_t width = run.substr(0, 2) == "or" ? 2 : run.substr(0, 3) == "and" ? 3 : 0;
      if (width != 0 && run.size() == width + 1) {
        run = run.substr(0, width);
        end = at_ + width;
      }
    }
    at_ = end;
    if (run.size() == 1) {
      emit(TokenKind::kLetter, 0, run);
    } else if (options_.plain_functions && contains(kPlainFunctions, run)) {
      emit(TokenKind::kCommand, 0, run);
    } else if (run == "and" || run == "or") {
      emit(TokenKind::kSymbol, ',', run);
    } else if (run == "inf" || run == "infinity" || run == "infty" || run == "oo") {
      emit(TokenKind::kCommand, 0, "infty");
    } else if (run == "pi" && options_.bare_pi) {
      emit(TokenKind::kCommand, 0, "pi");
    } else if (run == "percent" || run == "pct" || run == "percentage") {
      emit(TokenKind::kSymbol, '%', "");
    } else {
      emit(TokenKind::kWord, 0, run);
    }
    return true;
  }

  bool command() {
    if (peek(1) == '\\') {
      if (environments_ == 0 && (is_letter(peek(2)) || peek(2) == '(' || peek(2) == '[')) {
        ++at_;  // a backslash that was escaped twice
        return command();
      }
      emit(TokenKind::kSymbol, 'N', "");
      at_ += 2;
      return true;
    }
    const char c = peek(1);
    if (!is_letter(c)) return command_sign(c);
    size_t end = at_ + 1;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end;
    if (name.size() > 4 && name.substr(0, 4) == "quad") {  // "\quadx": the space before x was lost
      at_ = end - (name.size() - 4);
      name = "quad";
    }
    if (contains(kInvisible, name)) {
      if ((name == "left" || name == "right") && peek() == '.') ++at_;
      space_ = true;
      return true;
    }
    if (contains(kTextCommands, name)) return text_command(name);
    const auto found = std::lower_bound(kCommands.begin(), kCommands.end(), name,
                                        [](const Spelling& s, std::string_view n) { return s.name < n; });
    if (found == kCommands.end() || found->name != name) {
      emit(TokenKind::kUnknown, '\\', name);
      return true;
    }
    if (name == "begin") ++environments_;
    if (name == "end") --environments_;
    emit(found->kind, found->op, found->text);
    return true;
  }

  bool command_sign(char c) {
    at_ += 2;
    switch (c) {
      case '{':
        brackets_.push_back('L');
        emit(TokenKind::kSymbol, 'L', "");
        break;
      case '}':
        if (!brackets_.empty()) brackets_.pop_back();
        emit(TokenKind::kSymbol, 'R', "");
        break;
      case '%':
        emit(TokenKind::kSymbol, '%', "");
        break;
      case '$':
        emit(TokenKind::kSymbol, '$', "dollar");
        break;
      case '|':
        emit(TokenKind::kSymbol, '|', "");
        break;
      case '&':
        emit(TokenKind::kSymbol, ',', "");
        break;
      case '_':
        emit(TokenKind::kUnknown, '_', "");
        break;
      case '\0':
        at_ = text_.size();
        break;
      default:
        space_ = true;  // \, \; \: \! "\ " \( \) \[ \]: space or delimiters
    }
    return true;
  }

  // \text{...}: words stay words, digits inside are read as mathematics, "and"/"or" separate.
  bool text_command(std::string_view name) {
    while (peek() == ' ') ++at_;
    std::string_view content;
    if (peek() == '{') {
      int depth = 0;
      size_t end = at_;
      for (; end < text_.size(); ++end) {
        if (text_[end] == '\\') {
          ++end;
          continue;
        }
        if (text_[end] == '{') ++depth;
        if (text_[end] == '}' && --depth == 0) break;
      }
      if (end >= text_.size()) return emit(TokenKind::kUnknown, '{', ""), at_ = text_.size(), true;
      content = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    } else if (at_ < text_.size()) {
      content = text_.substr(at_, 1);
      ++at_;
    }
    const std::string_view inner = trim(content);
    if (inner.empty()) {
      space_ = true;
      return true;
    }
    if (inner == "and" || inner == "or" || inner == ",") return emit(TokenKind::kSymbol, ',', "and"), true;
    if (name == "mathbb" && inner == "R") return emit(TokenKind::kCommand, 0, "reals"), true;
    if (inner == "percent" || inner == "pct" || inner == "%" || inner == "\\%") {
      return emit(TokenKind::kSymbol, '%', ""), true;
    }
    const bool words = name.substr(0, 4) == "text" || name == "mbox" || name == "hbox" || name == "emph";
    if (!words && inner.size() == 1 && is_letter(inner[0])) return emit(TokenKind::kLetter, 0, inner), true;
    if (contains(kPlainFunctions, inner)) return emit(TokenKind::kCommand, 0, inner), true;
    const bool mathematics =
        std::any_of(inner.begin(), inner.end(), [](char ch) { return is_digit(ch) || ch == '\\' || ch == '='; });
    if (mathematics || name == "vec") {
      if (level_ > 8) return false;
      Lexer nested(inner, options_, max_tokens_, tokens_, level_ + 1);
      return nested.run();
    }
    emit(TokenKind::kText, 0, inner);
    return true;
  }

  std::string_view text_;
  const LexOptions& options_;
  size_t max_tokens_;
  std::vector<Token>* tokens_;
  int level_;
  size_t at_ = 0;
  bool space_ = false;
  int environments_ = 0;
  std::string brackets_;  // the open brackets, 'L' for \{
};

}  // namespace

bool lex(std::string_view text, const LexOptions& options, size_t max_tokens, std::vector<Token>* tokens) {
  tokens->clear();
  if (text.size() > options.max_length) return false;
  if (!Lexer(text, options, max_tokens, tokens, 0).run()) return false;
  tokens->push_back(Token{});
  return true;
}

}  // namespace throughline::answer
