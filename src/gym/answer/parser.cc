#include "gym/answer/parser.h"

#include "gym/answer/parser_internal.h"

namespace throughline::answer {

Tree Parser::run() {
  const NodeId root = list({});
  if (failed_ || peek().kind != TokenKind::kEnd || root == kNoNode) {
    tree_.root = kNoNode;
  } else {
    tree_.root = root;
  }
  return std::move(tree_);
}

// item (separator item)*: one item stays itself.
NodeId Parser::list(std::string_view closers) {
  std::vector<NodeId> items;
  while (!failed_) {
    while (at_separator() || is('N')) advance();  // ", and" and line ends
    if (at_end_of(closers)) break;
    items.push_back(relation());
    if (failed_) break;
    if (!at_separator() && !is('N')) break;
  }
  if (failed_ || items.empty()) return kNoNode;
  if (items.size() == 1) return items[0];
  return add(Kind::kList, std::move(items));
}

// The relation that the next token begins: its code, or 0. "= >" and friends are two tokens of one sign.
char Parser::relation_code() const {
  if (peek().kind != TokenKind::kSymbol) return 0;
  switch (peek().op) {
    case '=':
    case '<':
    case '>':
    case 'l':
    case 'g':
    case 'n':
    case '~':
    case 'e':
      return peek().op;
    default:
      return 0;
  }
}

NodeId Parser::relation() {
  if (failed_) return kNoNode;
  if (relation_code() == '=' || relation_code() == '~') advance();  // "= 5" at the start of a box
  const NodeId first = set_expression();
  if (failed_ || relation_code() == 0) return failed_ ? kNoNode : first;
  std::vector<NodeId> sides = {first};
  std::string operators;
  while (!failed_ && relation_code() != 0) {
    operators.push_back(relation_code());
    advance();
    sides.push_back(set_expression());
  }
  if (failed_) return kNoNode;
  const size_t member = operators.find('e');
  if (member != std::string::npos) {
    if (operators.size() != 1) return fail();
    return add(Kind::kMember, std::move(sides));
  }
  return add(Kind::kRelation, std::move(sides), std::move(operators));
}

NodeId Parser::set_expression() {
  NodeId left = ratio();
  int terms = 0;
  while (!failed_ && (is('U') || is('I') || is('S') || (is_letter("U") && set_like(left)))) {
    const char op = is('I') ? 'I' : is('S') ? 'S' : 'U';
    advance();
    const NodeId right = ratio();
    if (failed_ || ++terms > 64) return fail();
    if (op == 'U' && tree_[left].kind == Kind::kUnion) {
      std::vector<NodeId> kids = tree_[left].kids;
      kids.push_back(right);
      left = add(Kind::kUnion, std::move(kids));
      continue;
    }
    left = add(op == 'U' ? Kind::kUnion : op == 'I' ? Kind::kIntersection : Kind::kSetMinus, {left, right});
  }
  return left;
}

NodeId Parser::ratio() {
  NodeId left = sum();
  while (!failed_ && is(':') && !in_builder_) {
    advance();
    const NodeId right = sum();
    if (failed_) return kNoNode;
    left = add(Kind::kProduct, {left, add(Kind::kInverse, {right})}, ":");
    if (++ratios_ > 16) return fail();
  }
  return left;
}

NodeId Parser::sum() {
  if (failed_) return kNoNode;
  NodeId first = kNoNode;
  if (is('P') || is('M')) {
    advance();
    first = product();
    if (!failed_) first = add(Kind::kPlusMinus, {kNoNode, first});
  } else {
    const bool negative = is('-');
    if (is('+') || negative) advance();
    first = negated(product(), negative);
  }
  const auto goes_on = [this] { return is('+') || is('-') || is('P') || is('M'); };
  if (failed_ || !goes_on()) return failed_ ? kNoNode : first;
  std::vector<NodeId> terms = {first};
  while (!failed_ && goes_on()) {
    const char op = peek().op;
    advance();
    const NodeId term = product();
    if (failed_) return kNoNode;
    if (op == '+' || op == '-') {
      terms.push_back(negated(term, op == '-'));
    } else {
      const NodeId left = terms.size() == 1 ? terms[0] : add(Kind::kSum, terms);
      terms = {add(Kind::kPlusMinus, {left, term})};
      if (++plus_minus_ > 8) return fail();
    }
  }
  if (failed_) return kNoNode;
  if (terms.size() == 1) return terms[0];
  return add(Kind::kSum, std::move(terms));
}

// A factor may follow without a sign.
bool Parser::starts_factor() const {
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::kNumber:
    case TokenKind::kLetter:
    case TokenKind::kWord:
      return true;
    case TokenKind::kCommand:
      return token.text != "end" && token.text != "rfloor" && token.text != "rceil";
    case TokenKind::kSymbol:
      return token.op == '(' || token.op == '[' || token.op == '{' || token.op == 'L' ||
             (token.op == '|' && bars_ == 0 && !in_builder_);
    default:
      return false;
  }
}

NodeId Parser::product() {
  if (failed_) return kNoNode;
  const bool label = peek().kind == TokenKind::kText;
  NodeId first = power();
  if (failed_) return kNoNode;
  if (label && tree_[first].kind == Kind::kText && starts_factor()) first = power();  // "\text{area is } 5"
  if (ends_product()) return first;
  std::vector<NodeId> factors = {first};
  while (!failed_) {
    if (is('*') || is('/')) {
      const bool divide = is('/');
      advance();
      if (unit_after_slash(divide, &factors)) continue;
      const NodeId right = signed_power();
      if (failed_) return kNoNode;
      factors.push_back(divide ? add(Kind::kInverse, {right}) : right);
    } else if (is_unit_here(factors)) {
      unit(&factors);
    } else if (is_letter("U") && set_like(factors.back())) {
      break;
    } else if (starts_factor()) {
      // "17 17" is no product.
      if (peek().kind == TokenKind::kNumber && tree_[factors.back()].kind == Kind::kNumber) return fail();
      const NodeId right = power();
      if (failed_) return kNoNode;
      if (!mixed_number(&factors, right)) factors.push_back(right);
    } else {
      break;
    }
  }
  if (failed_) return kNoNode;
  if (factors.size() == 1) return factors[0];
  return add(Kind::kProduct, std::move(factors));
}

NodeId Parser::signed_power() {
  int minus = 0, signs = 0;
  while (is('-') || is('+')) {
    minus ^= is('-') ? 1 : 0;
    advance();
    if (++signs > 8) return fail();
  }
  const NodeId value = power();
  return failed_ ? kNoNode : negated(value, minus != 0);
}

// 1\frac{4}{5} is nine fifths: an integer, then a fraction of two integers.
bool Parser::mixed_number(std::vector<NodeId>* factors, NodeId right) {
  if (!options_.mixed_numbers || factors->size() != 1 || !plain_integer(factors->back())) return false;
  const Node& fraction = tree_[right];
  if (fraction.kind != Kind::kProduct || fraction.name != "frac") return false;
  const NodeId inverse = fraction.kids[1];
  if (!plain_integer(fraction.kids[0]) || !plain_integer(tree_[inverse].kids[0])) return false;
  const NodeId whole = factors->back();
  (*factors)[0] = add(Kind::kSum, {whole, right});
  return true;
}

// --- units ------------------------------------------------------------------------------------------------------

bool Parser::word_is_unit(const Token& token) const {
  if (!options_.units) return false;
  if (token.kind == TokenKind::kText) return true;
  if (token.kind != TokenKind::kWord) return false;
  return is_unit_word(token.text) || (token.space_before && token.text.size() >= 4);
}

bool Parser::unit_after_slash(bool divide, std::vector<NodeId>* factors) {
  const Node& last = tree_[factors->back()];
  if (!divide || !word_is_unit(peek()) || last.kind != Kind::kUnit) return false;
  tree_[factors->back()].name += "/";
  unit(factors);
  return true;
}

// Words, a power, more words: all become the unit of the whole product so far.
void Parser::unit(std::vector<NodeId>* factors) {
  std::string name;
  while (!failed_ && (peek().kind == TokenKind::kText || peek().kind == TokenKind::kWord)) {
    if (!name.empty()) name += ' ';
    name += peek().text;
    advance();
  }
  if (is('^')) {
    advance();
    const bool group = accept('{');
    if (peek().kind == TokenKind::kNumber) {
      name += "^" + peek().text;
      advance();
    } else {
      fail();
    }
    if (group && !accept('}')) fail();
  }
  if (failed_) return;
  if (tree_[factors->back()].kind == Kind::kUnit) {
    tree_[factors->back()].name += name;
    return;
  }
  const NodeId value = factors->size() == 1 ? factors->front() : add(Kind::kProduct, *factors);
  *factors = {add(Kind::kUnit, {value}, canonical_unit(name))};
}

// --- powers and postfixes ---------------------------------------------------------------------------------------

NodeId Parser::power() {
  if (failed_) return kNoNode;
  NodeId base = primary();
  for (int postfix = 0; !failed_; ++postfix) {
    if (postfix > 16) return fail();
    if (is('!') && !is('=', 1)) {
      advance();
      base = add(Kind::kFactorial, {base});
    } else if (is('%')) {
      advance();
      base = add(Kind::kPercent, {base});
    } else if (is('D')) {
      advance();
      base = add(Kind::kUnit, {base}, "degree");
    } else if (is('\'')) {
      advance();
      if (tree_[base].kind == Kind::kSymbol) {
        tree_[base].name += '\'';
      } else {
        base = add(Kind::kOpaque, {base}, "prime");
      }
    } else if (is('_')) {
      if (!subscript(base)) return fail();
    } else if (is('^')) {
      advance();
      const bool group = is('{');
      if (is('D') || (group && is('D', 1) && is('}', 2)) || is('\'') || (group && is('\'', 1) && is('}', 2))) {
        if (group) advance();
        const bool degree = is('D');
        advance();
        if (group) advance();
        if (degree) {
          // A letter after the sign names the scale: 20^\circ C.
          base = add(Kind::kUnit, {base}, "degree");
        }
        continue;
      }
      const NodeId exponent = argument();
      if (failed_) return kNoNode;
      base = add(Kind::kPower, {base, exponent});
    } else {
      break;
    }
  }
  return failed_ ? kNoNode : base;
}

// x_1, x_{12}, 52_8. False: a subscript that the grammar does not know.
bool Parser::subscript(NodeId base) {
  advance();
  std::string name;
  if (accept('{')) {
    int depth = 1;
    while (depth > 0) {
      if (peek().kind == TokenKind::kEnd || failed_) return false;
      if (is('{')) ++depth;
      if (is('}') && --depth == 0) break;
      name += peek().kind == TokenKind::kSymbol ? std::string(1, peek().op) : peek().text;
      advance();
    }
    advance();
  } else {
    if (peek().kind == TokenKind::kEnd || peek().kind == TokenKind::kSymbol) return false;
    name = peek().text;
    advance();
  }
  Node& node = tree_[base];
  if (node.kind == Kind::kNumber && node.name.empty() && node.number.is_integer()) {
    if (options_.drop_base_subscript) return true;
    const Rational number_base = Rational::from_decimal(name);
    if (!number_base.valid()) return false;
    node.name = node.number.to_string();
    node.number = number_base;
    node.kind = Kind::kBaseNumber;
    return true;
  }
  if (node.kind == Kind::kSymbol || node.kind == Kind::kText || node.kind == Kind::kEuler ||
      node.kind == Kind::kImaginary) {
    if (node.kind == Kind::kEuler) node.name = "e";
    if (node.kind == Kind::kImaginary) node.name = "i";
    node.kind = Kind::kSymbol;
    node.name += "_" + name;
    return true;
  }
  if (node.kind == Kind::kProduct && node.name == "word") {  // S_{MBCN} after letters read as a product
    node.kind = Kind::kSymbol;
    node.name = to_text(tree_, base) + "_" + name;
    node.kids.clear();
    return true;
  }
  return false;
}

Tree parse_answer(std::string_view text, const ParseOptions& options, Steps* steps) {
  constexpr int64_t kStartCost = 4, kTokenCost = 2;
  std::vector<Token> tokens;
  tokens.reserve(64);
  if (!steps->charge(kStartCost + static_cast<int64_t>(text.size()) / 16)) return Tree{};
  const bool read = lex(text, options.lex, static_cast<size_t>(steps->left() / kTokenCost), &tokens);
  if (!steps->charge(kTokenCost * static_cast<int64_t>(tokens.size())) || !read) return Tree{};
  Parser parser(tokens, options, steps);
  return parser.run();
}

}  // namespace throughline::answer
