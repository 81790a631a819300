// One line of `generate`'s input, checked and typed; torch-free, so that it can be fuzzed.
//
// The same fields come from three places: the line, the flags of the same names, generation_config.json. Each field is
// optional here; resolve() takes the first that is there. Unknown keys, wrong types and out-of-range numbers are errors
// naming the field.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
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

  // Fields that are set here win over `fallback`'s.
  RequestFields over(const RequestFields& fallback) const;
};

struct RequestLine {
  Json id = nullptr;  // string or number; null: known by its line number
  std::optional<std::string> prompt;
  std::optional<std::vector<int32_t>> prompt_ids;
  Json messages = nullptr;
  Json tools = nullptr;
  Json template_options = Json::object();  // chat_template_kwargs
  RequestFields fields;
};

struct KnownSpecs {
  std::span<const SpecInfo> policies, environments;
};

// The line's id as far as it can be read, for the error line of a bad one.
Json request_id(std::string_view text);
Result<RequestLine> parse_request_line(std::string_view text, const KnownSpecs& known, const std::string& where);

}  // namespace throughline
