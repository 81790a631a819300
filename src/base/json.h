// JSON as users and untrusted files give it: parsed with a depth limit, duplicate keys refused, errors with a place.
// The tree itself is nlohmann::json (ordered: keys keep the order in which they were written).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace throughline {

using Json = nlohmann::ordered_json;

constexpr int kJsonDepthLimit = 64;

// `where` names the text in errors ("x/config.json", "in.jsonl line 3"). Rejects invalid UTF-8, duplicate keys,
// trailing text and nesting deeper than `depth_limit`.
Result<Json> parse_json(std::string_view text, const std::string& where, int depth_limit = kJsonDepthLimit);
Result<Json> read_json_file(const std::string& path);

// Compact, one line, invalid UTF-8 in strings replaced by U+FFFD.
std::string dump_json(const Json& value);

}  // namespace throughline
