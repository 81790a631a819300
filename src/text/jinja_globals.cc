#include "text/jinja_globals.h"

#include <algorithm>

#include "text/jinja_print.h"

namespace throughline::jinja {
namespace {

Value global_range(Runtime& rt, const Args& args, const Clock&) {
  if (args.positional.empty() || args.positional.size() > 3 || !args.named.empty()) {
    rt.fail("range expects 1 to 3 positional arguments");
  }
  const auto number = [&](size_t i) { return rt.as_index(args.positional[i], "range's argument"); };
  const int64_t start = args.positional.size() > 1 ? number(0) : 0;
  const int64_t stop = number(args.positional.size() > 1 ? 1 : 0);
  const int64_t step = args.positional.size() > 2 ? number(2) : 1;
  if (step == 0) rt.fail("range() arg 3 must not be zero");
  const auto distance = step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const auto stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
  const auto count = distance <= 0 ? 0 : (distance - 1) / stride + 1;
  if (count > kRangeLimit) rt.fail("a range with more than " + std::to_string(kRangeLimit) + " numbers");
  return Value::object(rt.make<RangeObject>(start, stop, step, static_cast<int64_t>(count)));
}

// dict(mapping or pairs, name=value, ...)
Dict build_dict(Runtime& rt, const char* function, const Args& args) {
  Dict made;
  if (args.positional.size() > 1) rt.fail(std::string(function) + " expected at most 1 argument");
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    if (from.is_dict()) {
      for (const auto& [key, value] : from.dict().entries()) rt.set(made, key, value);
    } else {
      for (const Value& pair : rt.iterate(from)) {
        const Values both = rt.iterate(pair);
        if (both.size() != 2) rt.fail(std::string(function) + " needs pairs");
        rt.set(made, both[0], both[1]);
      }
    }
  }
  for (const auto& [name, value] : args.named) rt.set(made, rt.string(name), value);
  return made;
}

Value global_dict(Runtime& rt, const Args& args, const Clock&) { return rt.dict(build_dict(rt, "dict", args)); }

Value global_namespace(Runtime& rt, const Args& args, const Clock&) {
  auto* space = rt.make<NamespaceObject>();
  const Dict attributes = build_dict(rt, "namespace", args);
  for (const auto& [key, value] : attributes.entries()) {
    if (!key.is_string()) rt.fail("namespace attributes must have names");
    space->attributes.emplace_back(key.text(), value);
  }
  return Value::object(space);
}

Value global_cycler(Runtime& rt, const Args& args, const Clock&) {
  if (args.positional.empty() || !args.named.empty()) rt.fail("cycler: at least one item has to be provided");
  return Value::object(rt.make<CyclerObject>(args.positional));
}

Value global_joiner(Runtime& rt, const Args& args, const Clock&) {
  const Bound bound(rt, "joiner", args, {"sep"});
  return Value::object(rt.make<JoinerObject>(bound.has(0) ? to_str(rt, bound[0]) : ", "));
}

Value global_raise_exception(Runtime& rt, const Args& args, const Clock&) {
  const Bound bound(rt, "raise_exception", args, {"message"}, 1);
  rt.fail(to_str(rt, bound[0]));
}

Value global_strftime_now(Runtime& rt, const Args& args, const Clock& clock) {
  const Bound bound(rt, "strftime_now", args, {"format"}, 1);
  const std::string& format = rt.as_text(bound[0], "strftime_now's format");
  constexpr size_t kFormatLimit = 1000;  // bytes
  if (format.size() > kFormatLimit) rt.fail("strftime_now's format is longer than 1000 bytes");
  const std::tm now = clock();
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    std::string directive = "%";
    if (i + 1 < format.size() && format[i + 1] == '-') directive += format[++i];
    const char letter = ++i < format.size() ? format[i] : '\0';
    if (letter == 'f') {
      out += "000000";  // the clock has no fractions
    } else if (std::string_view("zZ").find(letter) != std::string_view::npos) {
      // Python's datetime.now() knows no zone: nothing
    } else if (letter != '\0' &&
               std::string_view("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY%").find(letter) != std::string_view::npos) {
      directive += letter;
      char buffer[128];
      out.append(buffer, std::strftime(buffer, sizeof buffer, directive.c_str(), &now));
    } else {
      rt.fail("strftime_now: the directive " + quote_text(directive + (letter ? std::string(1, letter) : "")) +
              " is not supported");
    }
  }
  return rt.string(std::move(out));
}

}  // namespace

std::optional<Value> find_global(Runtime& rt, std::string_view name) {
  static constexpr std::pair<std::string_view, FunctionObject::Call> kGlobals[] = {
      {"range", global_range},
      {"dict", global_dict},
      {"namespace", global_namespace},
      {"cycler", global_cycler},
      {"joiner", global_joiner},
      {"raise_exception", global_raise_exception},
      {"strftime_now", global_strftime_now}};
  for (const auto& [known, call] : kGlobals) {
    if (known == name) return Value::object(rt.make<FunctionObject>(known, call));
  }
  return std::nullopt;
}

}  // namespace throughline::jinja
