#include "cli/answered_lines.h"

#include <filesystem>
#include <string_view>

#include "base/files.h"

namespace throughline {
namespace {

enum class LineKind { kAnswer, kError, kForeign };

LineKind kind_of(const Result<Json>& line) {
  if (!line.ok() || !line->is_object() || !line->contains("id")) return LineKind::kForeign;
  if (line->contains("error")) return LineKind::kError;
  return line->contains("finish_reason") ? LineKind::kAnswer : LineKind::kForeign;
}

// Every result begins with its id.
bool may_be_half_a_result(std::string_view half) {
  constexpr std::string_view kBegin = "{\"id\":";
  return half.substr(0, kBegin.size()) == kBegin.substr(0, half.size());
}

}  // namespace

std::string line_key(const Json& id, int64_t line) { return id.is_null() ? "line " + std::to_string(line) : id.dump(); }

Result<std::set<std::string>> answered_in(const std::string& path) {
  std::set<std::string> answered;
  std::error_code ignored;
  if (path == "-" || !std::filesystem::is_regular_file(path, ignored)) return answered;
  TL_TRY(const std::string text, read_file(path, size_t{1} << 40));
  std::string kept;
  bool dropped = false;
  int64_t number = 0;
  for (size_t from = 0; from < text.size();) {
    const size_t end = text.find('\n', from);
    const std::string_view line = std::string_view(text).substr(from, end - from);
    const Error foreign{"is not a result of generate", path + " line " + std::to_string(++number),
                        "choose another --output"};
    if (end == std::string::npos) {
      if (!may_be_half_a_result(line)) return foreign;
      break;  // LineWriter cuts it off
    }
    from = end + 1;
    const auto json = parse_json(line, path);
    const LineKind kind = kind_of(json);
    if (kind == LineKind::kForeign) return foreign;
    if (kind == LineKind::kError) {
      dropped = true;
      continue;
    }
    const auto of_input = json->find("line");
    answered.insert(line_key((*json)["id"],
                             of_input != json->end() && of_input->is_number_integer() ? of_input->get<int64_t>() : 0));
    kept.append(line).push_back('\n');
  }
  if (dropped) TL_TRY_STATUS(write_atomically(path, kept));
  return answered;
}

}  // namespace throughline
