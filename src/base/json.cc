#include "base/json.h"

#include <set>
#include <vector>

#include "base/files.h"

namespace throughline {

Result<Json> parse_json(std::string_view text, const std::string& where, int depth_limit) {
  std::string problem;
  std::vector<std::set<std::string>> keys;
  int depth = 0;
  const Json::parser_callback_t watch = [&](int, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      keys.emplace_back();
      if (++depth > depth_limit && problem.empty()) {
        problem = "nested deeper than " + std::to_string(depth_limit) + " levels";
        // nlohmann has no way to stop but an exception; the tree so far is dropped with it.
        throw InvariantError(problem);
      }
    } else if (event == Event::object_end || event == Event::array_end) {
      keys.pop_back();
      --depth;
    } else if (event == Event::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second && problem.empty()) problem = "duplicate key \"" + key + "\"";
    }
    return true;
  };
  try {
    Json value = Json::parse(text, watch);
    if (!problem.empty()) return Error{"invalid JSON: " + problem, where, ""};
    return value;
  } catch (const Json::parse_error& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ..." -> from "line" on
    std::string message = e.what();
    if (const size_t at = message.find("] "); at != std::string::npos) message.erase(0, at + 2);
    return Error{"invalid JSON: " + message, where, ""};
  } catch (const std::exception& e) {
    return Error{"invalid JSON: " + (problem.empty() ? std::string(e.what()) : problem), where, ""};
  }
}

Result<Json> read_json_file(const std::string& path) {
  TL_TRY(const std::string text, read_file(path));
  return parse_json(text, path);
}

std::string dump_json(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace throughline
