// How a request is sampled, as lines, flags and HTTP bodies say it: the same fields everywhere, each optional.
//
// Checked and typed, torch-free (so that it can be fuzzed); what the numbers may be is judged by Engine::submit().
// over() takes the first that is there: the request's own, the command's, the model's. Wrong types and whole numbers
// out of range are errors naming the field.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/spec.h"

namespace throughline {

struct RequestFields {
  std::optional<int64_t> max_tokens, top_k, logprobs, min_tokens, n;
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<uint64_t> seed;
  std::optional<std::vector<std::string>> stop;
  std::optional<std::vector<int32_t>> stop_token_ids;
  std::optional<std::map<int32_t, double>> logit_bias;
  std::optional<bool> ignore_eos, sampling_logprobs;
  std::optional<Spec> kv, think;
  std::optional<Json> json_schema;  // of the answer

  // Fields that are set here win over `fallback`'s.
  RequestFields over(const RequestFields& fallback) const;
};

struct KnownSpecs {
  std::span<const SpecInfo> policies, environments;
};

// Typed values of an untrusted JSON object; `key` names the field in the error.
class TypedValues {
 public:
  explicit TypedValues(std::string where) : where_(std::move(where)) {}
  const std::string& where() const { return where_; }

  Error wrong(const std::string& key, const std::string& wants) const;
  // 16.0 is whole.
  Result<int64_t> integer(const std::string& key, const Json& value, int64_t low, int64_t high) const;
  Result<double> number(const std::string& key, const Json& value) const;
  Result<bool> boolean(const std::string& key, const Json& value) const;
  Result<std::string> text(const std::string& key, const Json& value) const;
  Result<std::vector<int32_t>> ids(const std::string& key, const Json& value) const;
  Result<std::vector<std::string>> texts(const std::string& key, const Json& value) const;  // a string is a list of one
  Result<std::map<int32_t, double>> biases(const std::string& key, const Json& value) const;

 private:
  std::string where_;
};

template <typename T>
Status set_field(std::optional<T>& target, Result<T> value) {
  if (!value.ok()) return value.error();
  target = std::move(value).value();
  return {};
}

// Chat messages: a list of objects with a "role", not empty.
Status check_messages(const TypedValues& read, const Json& value);

// Reads one of RequestFields' fields, by its name. False: `key` is none of them.
Result<bool> read_request_field(RequestFields& fields, const std::string& key, const Json& value,
                                const KnownSpecs& known, const TypedValues& read);
constexpr const char* kRequestFieldNames =
    "max_tokens, temperature, top_p, top_k, min_p, seed, stop, stop_token_ids, ignore_eos, logprobs, "
    "sampling_logprobs, min_tokens, repetition_penalty, presence_penalty, frequency_penalty, logit_bias, n, kv, think, "
    "json_schema";

}  // namespace throughline
