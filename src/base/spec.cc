#include "base/spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace throughline {
namespace {

std::string names_of(std::span<const SpecInfo> known) {
  std::string out;
  for (const auto& info : known) out += (out.empty() ? "" : ", ") + info.method;
  return out;
}

std::string names_of(const std::vector<OptionInfo>& options) {
  std::string out;
  for (const auto& option : options) out += (out.empty() ? "" : ", ") + option.name;
  return out.empty() ? "none" : out;
}

// "rpc:interval=1024": the first method whose first option has a default, with it.
std::string example_of(std::span<const SpecInfo> known) {
  for (const auto& info : known) {
    if (info.options.empty() || info.options[0].default_text.empty()) continue;
    return info.method + ":" + info.options[0].name + "=" + info.options[0].default_text;
  }
  return known.empty() ? "" : known[0].method;
}

bool parse_double(std::string_view text, double* out) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return code == std::errc() && end == text.data() + text.size() && std::isfinite(*out);
}

// "64", "2K", "1.5G"; of any size.
bool parse_whole(std::string_view text, double* out) {
  if (text.empty()) return false;
  double factor = 1;
  const char last = text.back();
  if (last == 'K' || last == 'k') factor = 1024;
  if (last == 'M' || last == 'm') factor = 1024.0 * 1024;
  if (last == 'G' || last == 'g') factor = 1024.0 * 1024 * 1024;
  if (!parse_double(factor > 1 ? text.substr(0, text.size() - 1) : text, out)) return false;
  *out *= factor;
  return *out == std::floor(*out);
}

Error not_whole(std::string_view text, const std::string& where) {
  return Error{"\"" + std::string(text) + "\" is not a whole number", where, "write 4096, 4K, 1.5M or 2G"};
}

std::string shortest(double value) {
  char buffer[32];
  const auto [end, code] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return code == std::errc() ? std::string(buffer, end) : "0";
}

std::string join(const std::vector<std::string>& items) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ", ") + item;
  return out;
}

// "first:N" in `choices` accepts "first:" and a whole number.
bool matches_choice(std::string_view text, const std::string& choice) {
  if (choice.size() < 2 || choice.substr(choice.size() - 2) != ":N") return text == choice;
  const std::string_view prefix = std::string_view(choice).substr(0, choice.size() - 1);
  if (text.substr(0, prefix.size()) != prefix) return false;
  const std::string_view number = text.substr(prefix.size());
  return !number.empty() && number.size() <= 9 &&
         std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<std::string> canonical_number(const OptionInfo& option, std::string_view text, const std::string& place) {
  double value = 0;
  const bool whole = option.type == OptionType::kInteger;
  if (whole) {
    if (!parse_whole(text, &value)) return not_whole(text, place);
  } else if (!parse_double(text, &value)) {
    return Error{"\"" + std::string(text) + "\" is not a number", place, option.help};
  }
  if (value < option.minimum || value > option.maximum) {
    const auto shown = [whole](double bound) {
      return whole ? std::to_string(static_cast<int64_t>(bound)) : shortest(bound);
    };
    const bool bounded = option.maximum < 1e12 || value > option.maximum;  // else nobody asks how far up it goes
    return Error{std::string(text) + " is out of range", place,
                 "use a " + std::string(whole ? "whole number" : "number") + " from " + shown(option.minimum) +
                     (bounded ? " to " + shown(option.maximum) : " up")};
  }
  return whole ? std::to_string(static_cast<int64_t>(value)) : shortest(value);
}

Result<std::string> canonical(const OptionInfo& option, std::string_view text, const std::string& place) {
  switch (option.type) {
    case OptionType::kInteger:
    case OptionType::kNumber:
      return canonical_number(option, text, place);
    case OptionType::kBoolean:
      if (text == "true" || text == "1" || text == "yes") return std::string("true");
      if (text == "false" || text == "0" || text == "no") return std::string("false");
      return Error{"\"" + std::string(text) + "\" is not true or false", place, "write true or false"};
    case OptionType::kChoice:
      for (const auto& choice : option.choices) {
        if (matches_choice(text, choice)) return std::string(text);
      }
      return Error{"unknown value \"" + std::string(text) + "\"", place, "use one of: " + join(option.choices)};
    case OptionType::kText:
      return std::string(text);
  }
  return Error{"unknown option type", place, ""};
}

}  // namespace

class SpecBuilder {
 public:
  SpecBuilder(const SpecInfo& info, std::string where) : info_(info), where_(std::move(where)) {
    spec_.method = info.method;
  }

  Status set(const std::string& name, std::string_view text) {
    const auto option =
        std::find_if(info_.options.begin(), info_.options.end(), [&](const auto& o) { return o.name == name; });
    if (option == info_.options.end()) {
      return Error{"\"" + info_.method + "\" has no option \"" + name + "\"", where_,
                   "it has: " + names_of(info_.options)};
    }
    if (spec_.has(name)) return Error{"option \"" + name + "\" is given twice", where_, "give it once"};
    TL_TRY(spec_.values_[name], canonical(*option, text, where_ + ": " + name));
    return {};
  }

  Result<Spec> finish() {
    for (const auto& option : info_.options) {
      const auto given = spec_.values_.find(option.name);
      if (given != spec_.values_.end()) {
        if (given->second != option.default_text) spec_.given_.emplace_back(option.name, given->second);
      } else if (option.required) {
        return Error{"\"" + info_.method + "\" needs the option \"" + option.name + "\"", where_,
                     "for example " + info_.method + ":" + option.name + "=1024 (" + option.help + ")"};
      } else if (!option.default_text.empty()) {
        spec_.values_[option.name] = option.default_text;
      }
    }
    return spec_;
  }

 private:
  const SpecInfo& info_;
  std::string where_;
  Spec spec_;
};

namespace {

Result<const SpecInfo*> find_method(std::string_view method, std::span<const SpecInfo> known,
                                    const std::string& where) {
  for (const auto& info : known) {
    if (info.method == method) return &info;
  }
  return Error{"unknown method \"" + std::string(method) + "\"", where, "use one of: " + names_of(known)};
}

}  // namespace

const std::string& Spec::text(const std::string& name) const {
  const auto found = values_.find(name);
  TL_CHECK(found != values_.end(), method + " has no value for " + name);
  return found->second;
}

int64_t Spec::integer(const std::string& name) const { return std::stoll(text(name)); }
double Spec::number(const std::string& name) const { return std::stod(text(name)); }

std::string Spec::to_string() const {
  const auto has_comma = [](const auto& option) { return option.second.find(',') != std::string::npos; };
  if (std::any_of(given_.begin(), given_.end(), has_comma)) {
    Json object = {{"method", method}};
    for (const auto& [name, value] : given_) object[name] = value;
    return dump_json(object);
  }
  std::string out = method;
  for (size_t i = 0; i < given_.size(); ++i) out += (i == 0 ? ":" : ",") + given_[i].first + "=" + given_[i].second;
  return out;
}

Result<Spec> Spec::with(const std::string& name, std::string_view value, std::span<const SpecInfo> known,
                        const std::string& where) const {
  TL_TRY(const SpecInfo* info, find_method(method, known, where));
  SpecBuilder builder(*info, where);
  for (const auto& [given, old] : given_) {
    if (given != name) TL_TRY_STATUS(builder.set(given, old));
  }
  TL_TRY_STATUS(builder.set(name, value));
  return builder.finish();
}

Result<Spec> parse_spec(std::string_view text, std::span<const SpecInfo> known, const std::string& where) {
  if (text.empty()) return Error{"is empty", where, "use one of: " + names_of(known)};
  if (text.substr(0, 1) == "{") {
    TL_TRY(const Json object, parse_json(text, where));
    return parse_spec_json(object, known, where);
  }
  const size_t colon = text.find(':');
  TL_TRY(const SpecInfo* info, find_method(text.substr(0, colon), known, where));
  SpecBuilder builder(*info, where);
  std::string_view rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return Error{"\"" + std::string(item) + "\" is not of the form option=value", where,
                   "write " + info->method + ":option=value,option=value"};
    }
    TL_TRY_STATUS(builder.set(std::string(item.substr(0, equals)), item.substr(equals + 1)));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return builder.finish();
}

Result<Spec> parse_spec_json(const Json& value, std::span<const SpecInfo> known, const std::string& where) {
  if (value.is_string()) return parse_spec(std::string_view(value.get_ref<const std::string&>()), known, where);
  if (!value.is_object())
    return Error{"must be a spec string or an object", where, "for example \"" + example_of(known) + "\""};
  const auto method = value.find("method");
  if (method == value.end() || !method->is_string())
    return Error{"has no \"method\"", where, "use one of: " + names_of(known)};
  TL_TRY(const SpecInfo* info, find_method(method->get_ref<const std::string&>(), known, where));
  SpecBuilder builder(*info, where);
  for (const auto& [key, item] : value.items()) {
    if (key == "method") continue;
    if (item.is_structured() || item.is_null())
      return Error{"must be a number, a string or a boolean", where + ": " + key, ""};
    TL_TRY_STATUS(builder.set(key, item.is_string() ? item.get<std::string>() : item.dump()));
  }
  return builder.finish();
}

std::string describe_specs(std::span<const SpecInfo> known) {
  std::string out;
  for (const auto& info : known) {
    out += "  " + info.method + "  " + info.help + "\n";
    for (const auto& option : info.options) {
      char line[256];
      const std::string shown = option.required                ? "required"
                                : !option.default_note.empty() ? option.default_note
                                : option.default_text.empty()  ? "off"
                                                               : option.default_text;
      std::snprintf(line, sizeof line, "      %-16s %-14s ", option.name.c_str(), shown.c_str());
      out += line + option.help;
      if (!option.choices.empty()) out += " (" + join(option.choices) + ")";
      out += "\n";
    }
  }
  return out;
}

Result<int64_t> parse_size(std::string_view text, const std::string& where) {
  constexpr double kMost = 9e15;  // up to here a double counts by ones
  double number = 0;
  if (!parse_whole(text, &number)) return not_whole(text, where);
  if (std::fabs(number) > kMost) return Error{std::string(text) + " is out of range", where, "use at most 8000000G"};
  return static_cast<int64_t>(number);
}

}  // namespace throughline
