// The post-processor of tokenizer.json, for one sequence: which ids go before and after those of the text.
//
// TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (nothing: it only trims offsets), Sequence; others
// are refused by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

struct PostProcessor {
  std::vector<int32_t> before;
  std::vector<int32_t> after;

  static Result<PostProcessor> from_json(const Json& json, const std::string& where);
};

}  // namespace throughline
