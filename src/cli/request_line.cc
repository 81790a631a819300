#include "cli/request_line.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace throughline {
namespace {

constexpr size_t kListLimit = size_t{1} << 24;

class Fields {
 public:
  explicit Fields(std::string where) : where_(std::move(where)) {}

  Error wrong(const std::string& key, const std::string& wants) const {
    return Error{"must be " + wants, where_ + ": " + key, ""};
  }

  Result<int64_t> integer(const std::string& key, const Json& value, int64_t low, int64_t high) const {
    const std::string wants = "a whole number from " + std::to_string(low) +
                              (high < (int64_t{1} << 53) ? " to " + std::to_string(high) : " up");
    if (value.is_number_float()) {  // 16.0 is whole; JavaScript writes it so
      const double number = value.get<double>();
      if (number != std::floor(number) || std::fabs(number) > 9e15) return wrong(key, wants);
      return range(key, static_cast<int64_t>(number), low, high, wants);
    }
    if (!value.is_number_integer()) return wrong(key, wants);
    if (value.is_number_unsigned() &&
        value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return wrong(key, wants);
    return range(key, value.get<int64_t>(), low, high, wants);
  }

  Result<double> number(const std::string& key, const Json& value) const {
    if (!value.is_number()) return wrong(key, "a number");
    return value.get<double>();
  }

  Result<bool> boolean(const std::string& key, const Json& value) const {
    if (!value.is_boolean()) return wrong(key, "true or false");
    return value.get<bool>();
  }

  Result<std::vector<int32_t>> ids(const std::string& key, const Json& value) const {
    if (!value.is_array() || value.size() > kListLimit) return wrong(key, "a list of token ids");
    std::vector<int32_t> out;
    for (const auto& item : value) {
      TL_TRY(const int64_t id, integer(key, item, 0, std::numeric_limits<int32_t>::max()));
      out.push_back(static_cast<int32_t>(id));
    }
    return out;
  }

  Result<std::vector<std::string>> texts(const std::string& key, const Json& value) const {
    if (value.is_string()) return std::vector<std::string>{value.get<std::string>()};
    if (!value.is_array() || value.size() > 64) return wrong(key, "a string or a list of at most 64 strings");
    std::vector<std::string> out;
    for (const auto& item : value) {
      if (!item.is_string()) return wrong(key, "a string or a list of strings");
      out.push_back(item.get<std::string>());
    }
    return out;
  }

  Result<std::map<int32_t, double>> biases(const std::string& key, const Json& value) const {
    if (!value.is_object() || value.size() > kListLimit) return wrong(key, "an object of token id: bias");
    std::map<int32_t, double> out;
    for (const auto& [id, bias] : value.items()) {
      const bool digits = !id.empty() && id.size() <= 9 &&
                          std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (!digits) return Error{"\"" + id + "\" is not a token id", where_ + ": " + key, "write {\"1234\": -100}"};
      TL_TRY(out[std::stoi(id)], number(key, bias));
    }
    return out;
  }

 private:
  Result<int64_t> range(const std::string& key, int64_t value, int64_t low, int64_t high,
                        const std::string& wants) const {
    if (value < low || value > high) return wrong(key, wants);
    return value;
  }

  std::string where_;
};

constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

struct Reader {
  RequestLine& line;
  const KnownSpecs& known;
  const std::string& where;
  Fields read{where};

  Status field(const std::string& key, const Json& value) {
    RequestFields& f = line.fields;
    if (key == "id") return id(value);
    if (key == "prompt") return prompt(value);
    if (key == "prompt_ids") return set(line.prompt_ids, read.ids(key, value));
    if (key == "messages") return messages(value);
    if (key == "tools") return keep(line.tools, value, value.is_array(), key, "a list of tools");
    if (key == "chat_template_kwargs") return keep(line.template_options, value, value.is_object(), key, "an object");
    if (key == "max_tokens") return set(f.max_tokens, read.integer(key, value, 1, kAny));
    if (key == "temperature") return set(f.temperature, read.number(key, value));
    if (key == "top_p") return set(f.top_p, read.number(key, value));
    if (key == "top_k") return set(f.top_k, read.integer(key, value, -1, kAny));
    if (key == "min_p") return set(f.min_p, read.number(key, value));
    if (key == "seed") return seed(value);
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
    if (key == "kv") return set(f.kv, parse_spec_json(value, known.policies, where + ": kv"));
    if (key == "think") return set(f.think, parse_spec_json(value, known.environments, where + ": think"));
    return Error{"unknown key \"" + key + "\"", where,
                 "known: id, prompt, prompt_ids, messages, tools, chat_template_kwargs, max_tokens, temperature, "
                 "top_p, top_k, min_p, seed, stop, "
                 "stop_token_ids, ignore_eos, logprobs, sampling_logprobs, min_tokens, repetition_penalty, "
                 "presence_penalty, frequency_penalty, "
                 "logit_bias, n, kv, think"};
  }

  template <typename T>
  Status set(std::optional<T>& target, Result<T> value) {
    if (!value.ok()) return value.error();
    target = std::move(value).value();
    return {};
  }
  Status keep(Json& target, const Json& value, bool good, const std::string& key, const std::string& wants) {
    if (!good) return read.wrong(key, wants);
    target = value;
    return {};
  }
  Status id(const Json& value) {
    return keep(line.id, value, value.is_string() || value.is_number_integer() || value.is_null(), "id",
                "a string or a whole number");
  }
  Status prompt(const Json& value) {
    if (!value.is_string()) return read.wrong("prompt", "a string");
    line.prompt = value.get<std::string>();
    return {};
  }
  Status messages(const Json& value) {
    bool good = value.is_array() && !value.empty();
    if (good)
      good = std::all_of(value.begin(), value.end(),
                         [](const Json& m) { return m.is_object() && m.contains("role") && m["role"].is_string(); });
    return keep(line.messages, value, good, "messages", "a list of objects with a \"role\"");
  }
  Status seed(const Json& value) {
    if (!value.is_number_integer()) return read.wrong("seed", "a whole number");
    line.fields.seed = value.is_number_unsigned() ? value.get<uint64_t>() : static_cast<uint64_t>(value.get<int64_t>());
    return {};
  }
};

}  // namespace

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
  return out;
}

Json request_id(std::string_view text) {
  const auto parsed = parse_json(text, "");
  if (!parsed.ok() || !parsed->is_object()) return nullptr;
  const auto id = parsed->find("id");
  if (id == parsed->end() || !(id->is_string() || id->is_number_integer())) return nullptr;
  return *id;
}

Result<RequestLine> parse_request_line(std::string_view text, const KnownSpecs& known, const std::string& where) {
  TL_TRY(const Json json, parse_json(text, where));
  if (!json.is_object()) return Error{"is not a JSON object", where, "write {\"id\": ..., \"prompt\": ...}"};
  RequestLine line;
  Reader reader{line, known, where};
  for (const auto& [key, value] : json.items()) {
    if (value.is_null() && key != "id") continue;  // as left out
    TL_TRY_STATUS(reader.field(key, value));
  }
  const int prompts = line.prompt.has_value() + line.prompt_ids.has_value() + !line.messages.is_null();
  if (prompts != 1) {
    return Error{prompts == 0 ? "has no prompt" : "has more than one prompt", where,
                 "give exactly one of prompt, prompt_ids, messages"};
  }
  return line;
}

}  // namespace throughline
