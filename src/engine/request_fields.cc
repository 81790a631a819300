#include "engine/request_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace throughline {
namespace {

constexpr size_t kListLimit = size_t{1} << 24;
constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

Result<uint64_t> seed_of(const TypedValues& read, const Json& value) {
  if (!value.is_number_integer()) return read.wrong("seed", "a whole number");
  return value.is_number_unsigned() ? value.get<uint64_t>() : static_cast<uint64_t>(value.get<int64_t>());
}

}  // namespace

Error TypedValues::wrong(const std::string& key, const std::string& wants) const {
  return Error{"must be " + wants, where_ + ": " + key, ""};
}

Result<int64_t> TypedValues::integer(const std::string& key, const Json& value, int64_t low, int64_t high) const {
  const std::string wants = "a whole number from " + std::to_string(low) +
                            (high < (int64_t{1} << 53) ? " to " + std::to_string(high) : " up");
  int64_t whole = 0;
  if (value.is_number_float()) {  // JavaScript writes 16.0 so
    const double number = value.get<double>();
    if (number != std::floor(number) || std::fabs(number) > 9e15) return wrong(key, wants);
    whole = static_cast<int64_t>(number);
  } else if (!value.is_number_integer() ||
             (value.is_number_unsigned() &&
              value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))) {
    return wrong(key, wants);
  } else {
    whole = value.get<int64_t>();
  }
  if (whole < low || whole > high) return wrong(key, wants);
  return whole;
}

Result<double> TypedValues::number(const std::string& key, const Json& value) const {
  if (!value.is_number()) return wrong(key, "a number");
  return value.get<double>();
}

Result<bool> TypedValues::boolean(const std::string& key, const Json& value) const {
  if (!value.is_boolean()) return wrong(key, "true or false");
  return value.get<bool>();
}

Result<std::string> TypedValues::text(const std::string& key, const Json& value) const {
  if (!value.is_string()) return wrong(key, "a string");
  return value.get<std::string>();
}

Result<std::vector<int32_t>> TypedValues::ids(const std::string& key, const Json& value) const {
  if (!value.is_array() || value.size() > kListLimit) return wrong(key, "a list of token ids");
  std::vector<int32_t> out;
  for (const auto& item : value) {
    TL_TRY(const int64_t id, integer(key, item, 0, std::numeric_limits<int32_t>::max()));
    out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

Result<std::vector<std::string>> TypedValues::texts(const std::string& key, const Json& value) const {
  if (value.is_string()) return std::vector<std::string>{value.get<std::string>()};
  if (!value.is_array() || value.size() > 64) return wrong(key, "a string or a list of at most 64 strings");
  std::vector<std::string> out;
  for (const auto& item : value) {
    if (!item.is_string()) return wrong(key, "a string or a list of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<std::map<int32_t, double>> TypedValues::biases(const std::string& key, const Json& value) const {
  if (!value.is_object() || value.size() > kListLimit) return wrong(key, "an object of token id: bias");
  std::map<int32_t, double> out;
  for (const auto& [id, bias] : value.items()) {
    const bool digits =
        !id.empty() && id.size() <= 9 && std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) return Error{"\"" + id + "\" is not a token id", where_ + ": " + key, "write {\"1234\": -100}"};
    TL_TRY(out[std::stoi(id)], number(key, bias));
  }
  return out;
}

Status check_messages(const TypedValues& read, const Json& value) {
  bool good = value.is_array() && !value.empty();
  if (good)
    good = std::all_of(value.begin(), value.end(),
                       [](const Json& m) { return m.is_object() && m.contains("role") && m["role"].is_string(); });
  if (!good) return read.wrong("messages", "a list of objects with a \"role\"");
  return {};
}

Result<bool> read_request_field(RequestFields& f, const std::string& key, const Json& value, const KnownSpecs& known,
                                const TypedValues& read) {
  const auto set = [](auto& target, auto result) -> Result<bool> {
    TL_TRY_STATUS(set_field(target, std::move(result)));
    return true;
  };
  if (key == "max_tokens") return set(f.max_tokens, read.integer(key, value, 1, kAny));
  if (key == "temperature") return set(f.temperature, read.number(key, value));
  if (key == "top_p") return set(f.top_p, read.number(key, value));
  if (key == "top_k") return set(f.top_k, read.integer(key, value, -1, kAny));
  if (key == "min_p") return set(f.min_p, read.number(key, value));
  if (key == "seed") return set(f.seed, seed_of(read, value));
  if (key == "stop") return set(f.stop, read.texts(key, value));
  if (key == "stop_token_ids") return set(f.stop_token_ids, read.ids(key, value));
  if (key == "ignore_eos") return set(f.ignore_eos, read.boolean(key, value));
  if (key == "logprobs") return set(f.logprobs, read.integer(key, value, 0, kAny));
  if (key == "sampling_logprobs") return set(f.sampling_logprobs, read.boolean(key, value));
  if (key == "min_tokens") return set(f.min_tokens, read.integer(key, value, 0, kAny));
  if (key == "repetition_penalty") return set(f.repetition_penalty, read.number(key, value));
  if (key == "presence_penalty") return set(f.presence_penalty, read.number(key, value));
  if (key == "frequency_penalty") return set(f.frequency_penalty, read.number(key, value));
  if (key == "logit_bias") return set(f.logit_bias, read.biases(key, value));
  if (key == "n") return set(f.n, read.integer(key, value, 1, 1024));
  if (key == "kv") return set(f.kv, parse_spec_json(value, known.policies, read.where() + ": kv"));
  if (key == "think") return set(f.think, parse_spec_json(value, known.environments, read.where() + ": think"));
  if (key == "json_schema") return set(f.json_schema, Result<Json>(value));
  return false;
}

RequestFields RequestFields::over(const RequestFields& fallback) const {
  RequestFields out = *this;
  const auto fill = [](auto& mine, const auto& other) {
    if (!mine) mine = other;
  };
  fill(out.max_tokens, fallback.max_tokens);
  fill(out.top_k, fallback.top_k);
  fill(out.logprobs, fallback.logprobs);
  fill(out.min_tokens, fallback.min_tokens);
  fill(out.n, fallback.n);
  fill(out.temperature, fallback.temperature);
  fill(out.top_p, fallback.top_p);
  fill(out.min_p, fallback.min_p);
  fill(out.repetition_penalty, fallback.repetition_penalty);
  fill(out.presence_penalty, fallback.presence_penalty);
  fill(out.frequency_penalty, fallback.frequency_penalty);
  fill(out.seed, fallback.seed);
  fill(out.stop, fallback.stop);
  fill(out.stop_token_ids, fallback.stop_token_ids);
  fill(out.logit_bias, fallback.logit_bias);
  fill(out.ignore_eos, fallback.ignore_eos);
  fill(out.sampling_logprobs, fallback.sampling_logprobs);
  fill(out.kv, fallback.kv);
  fill(out.think, fallback.think);
  fill(out.json_schema, fallback.json_schema);
  return out;
}

}  // namespace throughline
