// Spec strings: "rpc:interval=1024,ratio=4,window=32", or the JSON object {"method":"rpc","interval":1024,...}.
// The same in the CLI, TOML and HTTP; policies, environments and whatever else has named options declare a
// SpecInfo each, from which parsing, help text and docs tables all come.
//
// In the string form "budget=192" may be written with K/M suffixes (1024-based): "budget=2K". A string that begins
// with '{' is the object's text: only there may a value hold a comma.
// Unknown methods and keys are errors that list the known ones; so are values outside the declared range.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

enum class OptionType { kInteger, kNumber, kBoolean, kChoice, kText };

struct OptionInfo {
  std::string name;
  OptionType type = OptionType::kInteger;
  std::string default_text;  // "" with required = false: off (SpecValues::has() is false)
  std::string help;          // one line, with its unit
  bool required = false;
  double minimum = 0;  // for kInteger and kNumber, inclusive
  double maximum = 1e12;
  std::vector<std::string> choices;  // for kChoice; "first:N" stands for a choice with a number
  std::string default_note;          // shown instead of "off" where the default depends on another option
};

struct SpecInfo {
  std::string method;
  std::string help;  // one line, with its source
  std::vector<OptionInfo> options;
};

// A parsed spec: every option that has a default or was given, checked against its SpecInfo.
class Spec {
 public:
  std::string method;

  bool has(const std::string& name) const { return values_.count(name) != 0; }
  // REQUIRES for all three: has(name), and the declared type.
  int64_t integer(const std::string& name) const;
  double number(const std::string& name) const;
  bool boolean(const std::string& name) const { return text(name) == "true"; }
  const std::string& text(const std::string& name) const;  // any type, in its canonical spelling

  // Only what differs from the defaults; parses back to an equal Spec. A value with a comma makes it the object's text.
  std::string to_string() const;
  // The same with one option set anew, checked as when it was parsed. `known` holds its method.
  Result<Spec> with(const std::string& name, std::string_view value, std::span<const SpecInfo> known,
                    const std::string& where) const;
  bool operator==(const Spec& other) const { return method == other.method && values_ == other.values_; }

 private:
  friend class SpecBuilder;
  std::map<std::string, std::string> values_;
  std::vector<std::pair<std::string, std::string>> given_;  // those not equal to the default, in declared order
};

// `where` names the place in errors: "--kv", "line 3: kv".
Result<Spec> parse_spec(std::string_view text, std::span<const SpecInfo> known, const std::string& where);
Result<Spec> parse_spec_json(const Json& value, std::span<const SpecInfo> known,
                             const std::string& where);  // string or object

// Help for the CLI: one block a method, one line an option.
std::string describe_specs(std::span<const SpecInfo> known);

// "64", "2K", "1.5G" -> bytes or tokens (1024-based).
Result<int64_t> parse_size(std::string_view text, const std::string& where);

}  // namespace throughline
