// One line of `generate`'s input, checked and typed; torch-free, so that it can be fuzzed.
//
// The same fields come from three places: the line, the flags of the same names, generation_config.json. Unknown keys,
// wrong types and out-of-range numbers are errors naming the field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request_fields.h"

namespace throughline {

struct RequestLine {
  Json id = nullptr;  // string or number; null: known by its line number
  std::optional<std::string> prompt;
  std::optional<std::vector<int32_t>> prompt_ids;
  Json messages = nullptr;
  Json tools = nullptr;
  Json template_options = Json::object();  // chat_template_kwargs
  RequestFields fields;
};

// The line's id as far as it can be read, for the error line of a bad one.
Json request_id(std::string_view text);
Result<RequestLine> parse_request_line(std::string_view text, const KnownSpecs& known, const std::string& where);

}  // namespace throughline
