#include "grammar/json_grammar.h"

#include <algorithm>
#include <map>

#include "base/json.h"

namespace throughline {
namespace {

constexpr int kDepth = 16, kDigits = 16, kBlanks = 16;
// Decimals of so many digits stay apart as doubles, so that what is over an excluded bound is not read as the bound.
constexpr int kExactDigits = 15;

struct Encoded {
  uint8_t bytes[4];
  int count;
};

Encoded utf8(char32_t c) {
  const auto tail = [c](int shift) { return static_cast<uint8_t>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) return {{static_cast<uint8_t>(c)}, 1};
  if (c < 0x800) return {{static_cast<uint8_t>(0xC0 | c >> 6), tail(0)}, 2};
  if (c < 0x10000) return {{static_cast<uint8_t>(0xE0 | c >> 12), tail(6), tail(0)}, 3};
  return {{static_cast<uint8_t>(0xF0 | c >> 18), tail(12), tail(6), tail(0)}, 4};
}

// Sequences of one length, from `low` to `high`, by their bytes from `at` on.
void add_sequences(GrammarBuilder& builder, int32_t from, Encoded low, Encoded high, int at, int32_t to) {
  if (at + 1 == low.count) return builder.edge(from, low.bytes[at], high.bytes[at], to);
  const auto branch = [&](uint8_t first, uint8_t last, const Encoded& a, const Encoded& b) {
    const int32_t next = builder.state();
    builder.edge(from, first, last, next);
    add_sequences(builder, next, a, b, at + 1, to);
  };
  Encoded least = low, most = high;
  for (int i = at + 1; i < low.count; ++i) {
    least.bytes[i] = 0x80;
    most.bytes[i] = 0xBF;
  }
  if (low.bytes[at] == high.bytes[at]) return branch(low.bytes[at], low.bytes[at], low, high);
  const bool low_whole = std::equal(low.bytes + at + 1, low.bytes + low.count, least.bytes + at + 1);
  const bool high_whole = std::equal(high.bytes + at + 1, high.bytes + high.count, most.bytes + at + 1);
  int first = low.bytes[at], last = high.bytes[at];
  if (!low_whole) branch(low.bytes[at], static_cast<uint8_t>(first++), low, most);
  if (!high_whole) branch(high.bytes[at], static_cast<uint8_t>(last--), least, high);
  if (first <= last) branch(static_cast<uint8_t>(first), static_cast<uint8_t>(last), least, most);
}

void add_utf8(GrammarBuilder& builder, int32_t from, CodePoints range, int32_t to) {
  static constexpr CodePoints kLengths[] = {
      {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
  for (const auto& [least, most] : kLengths) {
    const char32_t low = std::max(range.low, least), high = std::min(range.high, most);
    if (low <= high) add_sequences(builder, from, utf8(low), utf8(high), 0, to);
  }
}

bool has_to_be_escaped(char32_t c) { return c < 0x20 || c == '"' || c == '\\'; }

}  // namespace

void json_characters(GrammarBuilder& builder, int32_t from, const std::vector<CodePoints>& ranges, int32_t to) {
  for (const auto& [low, high] : ranges) {
    char32_t begin = low;
    for (char32_t c = low; c <= std::min<char32_t>(high, '\\'); ++c) {
      if (!has_to_be_escaped(c)) continue;
      if (begin < c) add_utf8(builder, from, {begin, c - 1}, to);
      begin = c + 1;
      const std::string quoted = dump_json(Json(std::string(1, static_cast<char>(c))));
      builder.jump(builder.literal(from, std::string_view(quoted).substr(1, quoted.size() - 2)), to);
    }
    if (begin <= high) add_utf8(builder, from, {begin, high}, to);
  }
}

int32_t JsonRules::blank() {
  if (blank_ >= 0) return blank_;
  blank_ = builder_.declare_rule();
  const int32_t start = builder_.state(), end = builder_.state();
  builder_.edge(start, ' ', ' ', end);
  int32_t line = builder_.literal(start, "\n");
  const int32_t second = builder_.literal(line, "\n");
  builder_.jump(line, second);
  line = second;
  for (int i = 0; i < kBlanks; ++i) {
    builder_.jump(line, end);
    const int32_t next = builder_.literal(line, " ");
    builder_.edge(line, '\t', '\t', next);
    line = next;
  }
  builder_.jump(line, end);
  builder_.define_rule(blank_, start, end);
  return blank_;
}

int32_t JsonRules::space(int32_t from) {
  const int32_t to = builder_.call(from, blank());
  builder_.jump(from, to);
  return to;
}

int32_t JsonRules::character() {
  if (character_ >= 0) return character_;
  character_ = builder_.declare_rule();
  const int32_t start = builder_.state(), end = builder_.state();
  add_utf8(builder_, start, {0x20, '!'}, end);
  add_utf8(builder_, start, {'#', '['}, end);
  add_utf8(builder_, start, {']', 0x10FFFF}, end);
  const int32_t escape = builder_.literal(start, "\\");
  for (const char c : std::string_view("\"\\/bfnrt"))
    builder_.edge(escape, static_cast<uint8_t>(c), static_cast<uint8_t>(c), end);
  const auto hex = [this](int32_t from, int32_t to) {
    builder_.edge(from, '0', '9', to);
    builder_.edge(from, 'a', 'f', to);
    builder_.edge(from, 'A', 'F', to);
  };
  const int32_t first = builder_.literal(escape, "u"), second = builder_.state(), after_d = builder_.state(),
                third = builder_.state(), fourth = builder_.state();
  for (const auto& [low, high] : {std::pair('0', '9'), {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}})
    builder_.edge(first, static_cast<uint8_t>(low), static_cast<uint8_t>(high), second);
  builder_.edge(first, 'd', 'd', after_d);
  builder_.edge(first, 'D', 'D', after_d);
  hex(second, third);
  builder_.edge(after_d, '0', '7', third);  // from D8 on they are surrogates
  hex(third, fourth);
  hex(fourth, end);
  builder_.define_rule(character_, start, end);
  return character_;
}

int32_t JsonRules::string() {
  if (string_ >= 0) return string_;
  string_ = builder_.declare_rule();
  const int32_t start = builder_.state(), inside = builder_.literal(start, "\"");
  builder_.call(inside, character(), inside);
  builder_.define_rule(string_, start, builder_.literal(inside, "\""));
  return string_;
}

void JsonRules::optional_digits(int32_t from, int count, int32_t to) {
  for (int i = 0; i < count; ++i) {
    builder_.jump(from, to);
    const int32_t next = builder_.state();
    builder_.edge(from, '0', '9', next);
    from = next;
  }
  builder_.jump(from, to);
}

int32_t JsonRules::integer() {
  if (integer_ >= 0) return integer_;
  integer_ = builder_.declare_rule();
  const int32_t start = builder_.state(), unsigned_start = builder_.literal(start, "-"), end = builder_.state();
  builder_.jump(start, unsigned_start);
  builder_.edge(unsigned_start, '0', '0', end);
  const int32_t digits = builder_.state();
  builder_.edge(unsigned_start, '1', '9', digits);
  optional_digits(digits, kDigits - 1, end);
  builder_.define_rule(integer_, start, end);
  return integer_;
}

int32_t JsonRules::number() {
  if (number_ >= 0) return number_;
  number_ = builder_.declare_rule();
  const int32_t start = builder_.state(), whole = builder_.call(start, integer()), fraction = builder_.state(),
                end = builder_.state();
  const int32_t point = builder_.literal(whole, "."), first = builder_.state();
  builder_.jump(whole, fraction);
  builder_.edge(point, '0', '9', first);
  optional_digits(first, kDigits - 1, fraction);
  builder_.jump(fraction, end);
  const int32_t exponent = builder_.literal(fraction, "e"), sign = builder_.literal(exponent, "-");
  builder_.edge(fraction, 'E', 'E', exponent);
  builder_.edge(exponent, '+', '+', sign);
  builder_.jump(exponent, sign);
  const int32_t power = builder_.state();
  builder_.edge(sign, '0', '9', power);
  optional_digits(power, 1, end);
  builder_.define_rule(number_, start, end);
  return number_;
}

int32_t JsonRules::any(int depth) {
  while (static_cast<int>(any_.size()) <= depth) any_.push_back(-1);
  if (any_[depth] >= 0) return any_[depth];
  const int32_t rule = any_[depth] = builder_.declare_rule();
  const int32_t start = builder_.state(), end = builder_.state();
  builder_.call(start, string(), end);
  builder_.call(start, number(), end);
  for (const char* word : {"true", "false", "null"}) builder_.jump(builder_.literal(start, word), end);
  if (depth < kDepth) {
    builder_.call(start, any_object(depth), end);
    builder_.call(start, any_array(depth), end);
  }
  builder_.define_rule(rule, start, end);
  return rule;
}

int32_t JsonRules::any_object(int depth) {
  while (static_cast<int>(object_.size()) <= depth) object_.push_back(-1);
  if (object_[depth] >= 0) return object_[depth];
  const int32_t rule = object_[depth] = builder_.declare_rule();
  const int32_t start = builder_.state(), open = space(builder_.literal(start, "{"));
  const int32_t name = builder_.call(open, string());
  const int32_t value = space(builder_.literal(space(name), ":"));
  const int32_t more = space(builder_.call(value, any(depth + 1)));
  builder_.call(space(builder_.literal(more, ",")), string(), name);
  const int32_t end = builder_.literal(more, "}");
  builder_.edge(open, '}', '}', end);
  builder_.define_rule(rule, start, end);
  return rule;
}

int32_t JsonRules::any_array(int depth) {
  while (static_cast<int>(array_.size()) <= depth) array_.push_back(-1);
  if (array_[depth] >= 0) return array_[depth];
  const int32_t rule = array_[depth] = builder_.declare_rule();
  const int32_t start = builder_.state(), open = space(builder_.literal(start, "["));
  const int32_t item = builder_.call(open, any(depth + 1));
  const int32_t more = space(item);
  builder_.call(space(builder_.literal(more, ",")), any(depth + 1), item);
  const int32_t end = builder_.literal(more, "]");
  builder_.edge(open, ']', ']', end);
  builder_.define_rule(rule, start, end);
  return rule;
}

namespace {

// A bound's size, as digits before and behind the point.
struct Size {
  std::string whole = "0", fraction;
  bool included = true;
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};

Size size_of(const NumberBound& bound) {
  const std::string_view text = std::string_view(bound.digits).substr(bound.digits[0] == '-' ? 1 : 0);
  const size_t point = text.find('.');
  Size out{std::string(text.substr(0, point)), {}, bound.included};
  if (point != std::string_view::npos) out.fraction = text.substr(point + 1);
  while (!out.fraction.empty() && out.fraction.back() == '0') out.fraction.pop_back();
  return out;
}

// Numbers without sign between two sizes, digit by digit: `tight_low`, `tight_high` say that all digits so far are the
// bound's own. States are shared where only what is left matters.
class Between {
 public:
  Between(GrammarBuilder& builder, const Size& low, const std::optional<Size>& high, bool integer, int32_t end)
      : builder_(builder), low_(low), high_(high), integer_(integer), end_(end) {}

  void add(int32_t from) {
    for (int count = 1; count <= (integer_ ? kDigits : kExactDigits); ++count) {
      const int low = static_cast<int>(low_.whole.size()),
                high = high_ ? static_cast<int>(high_->whole.size()) : kDigits + 1;
      if (count < low || count > high) continue;
      count_ = count;
      digits(from, 0, count == low, count == high);
    }
  }

 private:
  // The digit of a bound at a place: from 0 before the point, from count_ on behind it.
  int digit(const Size& size, int at) const {
    if (at < count_) return size.whole[at] - '0';
    const auto behind = static_cast<size_t>(at - count_);
    return behind < size.fraction.size() ? size.fraction[behind] - '0' : 0;
  }
  bool rest_is_zero(const Size& size, int at) const {
    for (int i = at; i < count_ + static_cast<int>(size.fraction.size()); ++i) {
      if (digit(size, i) != 0) return false;
    }
    return true;
  }
  // May the number end before the digit at `at`, that is, go on as zeros?
  bool may_end(int at, bool tight_low, bool tight_high) const {
    if (tight_low && !(rest_is_zero(low_, at) && low_.included)) return false;
    return !tight_high || !rest_is_zero(*high_, at) || high_->included;
  }
  int32_t place(int at, bool tight_low, bool tight_high) {
    const int count = tight_low || tight_high || !integer_ ? count_ : 0;
    const auto [found, is_new] = places_.emplace(std::tuple(count, count_ - at, tight_low, tight_high), 0);
    if (!is_new) return found->second;
    const int32_t state = found->second = builder_.state();
    if (at >= count_ && may_end(at, tight_low, tight_high)) builder_.jump(state, end_);
    if (at < count_) {
      digits(state, at, tight_low, tight_high);
    } else if (!integer_ && at < kExactDigits) {
      const int32_t next = at == count_ ? builder_.literal(state, ".") : state;
      digits(next, at, tight_low, tight_high);
    }
    return state;
  }
  void digits(int32_t from, int at, bool tight_low, bool tight_high) {
    if (builder_.full()) return;
    const int least = at == 0 && count_ > 1 ? 1 : 0;
    const int low = tight_low ? std::max(least, digit(low_, at)) : least, high = tight_high ? digit(*high_, at) : 9;
    const auto step = [&](int a, int b, bool still_low, bool still_high) {
      if (a > b) return;
      const int32_t to = place(at + 1, still_low, still_high);
      builder_.edge(from, static_cast<uint8_t>('0' + a), static_cast<uint8_t>('0' + b), to);
    };
    if (low > high) return;
    if (low == high) return step(low, high, tight_low, tight_high);
    if (tight_low) step(low, low, true, false);
    if (tight_high) step(high, high, false, true);
    step(low + (tight_low ? 1 : 0), high - (tight_high ? 1 : 0), false, false);
  }

  GrammarBuilder& builder_;
  const Size& low_;
  const std::optional<Size>& high_;
  const bool integer_;
  const int32_t end_;
  int count_ = 0;  // digits before the point
  std::map<std::tuple<int, int, bool, bool>, int32_t> places_;
};

}  // namespace

bool JsonRules::number_between(int32_t rule, const std::optional<NumberBound>& low,
                               const std::optional<NumberBound>& high, bool integer) {
  const auto below_zero = [](const std::optional<NumberBound>& bound) { return bound && bound->digits[0] == '-'; };
  std::optional<Size> low_size, high_size;
  if (low) low_size = size_of(*low);
  if (high) high_size = size_of(*high);
  for (const auto& size : {low_size, high_size}) {
    if (!size || integer || size->whole.size() > kDigits) continue;  // beyond all that can be written
    if (size->whole.size() + size->fraction.size() > kExactDigits) return false;
  }
  const int32_t start = builder_.state(), end = builder_.state();
  const std::optional<Size> none;
  if (!high || !below_zero(high)) {  // zero and above
    const Size from = low && !below_zero(low) ? *low_size : Size();
    Between(builder_, from, high_size, integer, end).add(start);
  }
  if (!low || below_zero(low)) {  // below zero: larger sizes are smaller numbers
    Size from = high && below_zero(high) ? *high_size : Size();
    if (from.is_zero()) from.included = false;
    Between(builder_, from, low_size, integer, end).add(builder_.literal(start, "-"));
  }
  builder_.define_rule(rule, start, end);
  return true;
}

int32_t JsonRules::name_except(const std::vector<std::string>& taken) {
  if (taken.empty()) return string();
  if (beyond_ascii_ < 0) {
    beyond_ascii_ = builder_.declare_rule();
    const int32_t start = builder_.state(), end = builder_.state();
    add_utf8(builder_, start, {0x80, 0x10FFFF}, end);
    builder_.define_rule(beyond_ascii_, start, end);
  }
  struct Branch {
    int32_t state;
    std::map<uint8_t, size_t> children;
    bool is_name = false;
    bool only_ascii = false;  // a name goes on beyond it here: then nothing else may
  };
  const int32_t rule = builder_.declare_rule(), start = builder_.state();
  std::vector<Branch> branches = {{builder_.literal(start, "\""), {}}};
  for (const auto& name : taken) {
    size_t at = 0, i = 0;
    for (; i < name.size(); ++i) {
      const auto c = static_cast<uint8_t>(name[i]);
      if (c >= 0x80) branches[at].only_ascii = true;
      if (c >= 0x80 || has_to_be_escaped(c)) break;
      const auto [child, is_new] = branches[at].children.emplace(c, branches.size());
      const size_t next = child->second;
      if (is_new) branches.push_back({builder_.literal(branches[at].state, name.substr(i, 1)), {}});
      at = next;
    }
    if (i == name.size()) branches[at].is_name = true;
  }
  const int32_t other = builder_.state(), end = builder_.literal(other, "\"");
  const auto others = [&](int32_t from, const std::map<uint8_t, size_t>& but, bool only_ascii) {
    int low = 0x20;
    for (int c = 0x20; c <= 0x80; ++c) {
      if (c != 0x80 && !has_to_be_escaped(static_cast<char32_t>(c)) && but.count(static_cast<uint8_t>(c)) == 0)
        continue;
      if (low < c) builder_.edge(from, static_cast<uint8_t>(low), static_cast<uint8_t>(c - 1), other);
      low = c + 1;
    }
    if (!only_ascii) builder_.call(from, beyond_ascii_, other);
  };
  others(other, {}, false);
  for (const auto& branch : branches) {
    others(branch.state, branch.children, branch.only_ascii);
    if (!branch.is_name) builder_.edge(branch.state, '"', '"', end);
  }
  builder_.define_rule(rule, start, end);
  return rule;
}

}  // namespace throughline
