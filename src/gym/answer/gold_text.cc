#include "gym/answer/gold_text.h"

#include <algorithm>
#include <charconv>

namespace throughline::answer {
namespace {

// A double's range with room; a longer exponent stands for 0, which the digits cannot show.
constexpr int64_t kMostZeros = 1000;

// Finds the text of the number that is an object's member "gold".
class GoldNumber : public nlohmann::json_sax<Json> {
 public:
  std::string text;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t& written) override {
    if (depth_ == 1 && is_gold_) text = written;
    return true;
  }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_ > 0; }
  bool end_object() override { return --depth_ >= 0; }
  bool start_array(std::size_t) override { return ++depth_ > 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool key(string_t& name) override {
    if (depth_ == 1) is_gold_ = name == "gold";
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  int depth_ = 0;
  bool is_gold_ = false;
};

}  // namespace

std::string plain_decimals(std::string_view number) {
  const size_t e = number.find_first_of("eE");
  if (e == std::string_view::npos) return std::string(number);
  const bool negative = number.front() == '-';
  const std::string_view mantissa = number.substr(negative, e - negative);
  const size_t power = e + (number[e + 1] == '+' ? 2 : 1);
  int64_t exponent = 0;
  if (std::from_chars(number.data() + power, number.data() + number.size(), exponent).ec != std::errc()) return "0";
  if (std::abs(exponent) > kMostZeros) return "0";
  std::string digits(mantissa);
  digits.erase(std::remove(digits.begin(), digits.end(), '.'), digits.end());
  int64_t point = static_cast<int64_t>(std::min(mantissa.find('.'), mantissa.size())) + exponent;  // digits before it
  if (point < 1) digits.insert(0, static_cast<size_t>(1 - point), '0'), point = 1;
  if (point > static_cast<int64_t>(digits.size())) digits.resize(static_cast<size_t>(point), '0');
  if (point < static_cast<int64_t>(digits.size())) digits.insert(static_cast<size_t>(point), 1, '.');
  const size_t zeros = digits.find_first_not_of('0');  // 0.5e3 is 500, not 0500
  digits.erase(0, std::min(zeros, static_cast<size_t>(point) - 1));
  return (negative ? "-" : "") + digits;
}

std::optional<std::string> gold_text(const Json& gold, std::string_view line) {
  if (gold.is_string()) return gold.get<std::string>();
  if (!gold.is_number()) return std::nullopt;
  std::string text = gold.dump();
  if (text.find('e') == std::string::npos) return text;
  GoldNumber found;
  Json::sax_parse(line, &found);
  return plain_decimals(found.text.empty() ? text : found.text);
}

}  // namespace throughline::answer
