#include "text/replace.h"

#include "text/json_fields.h"
#include "text/utf8.h"

namespace throughline {

Result<TextPattern> TextPattern::from_json(const Json& json, const std::string& where) {
  if (json.is_string()) return TextPattern(json.get<std::string>());  // the spelling of old files
  JsonFields fields(json, where);
  if (fields.has("Regex")) {
    const std::string pattern = fields.text("Regex", "");
    TL_TRY_STATUS(fields.status());
    TL_TRY(Regex regex, Regex::compile(pattern, fields.at("Regex")));
    return TextPattern(std::move(regex));
  }
  const std::string pattern = fields.required_text("String");
  TL_TRY_STATUS(fields.status());
  return TextPattern(pattern);
}

std::vector<TextRange> TextPattern::find_all(std::string_view text) const {
  if (const auto* regex = std::get_if<Regex>(&pattern_)) return regex->find_all(text);
  const std::string& wanted = std::get<std::string>(pattern_);
  std::vector<TextRange> out;
  if (wanted.empty()) {
    for (size_t at = 0; at < text.size(); at += utf8_size(static_cast<unsigned char>(text[at])))
      out.push_back({at, at});
    out.push_back({text.size(), text.size()});
    return out;
  }
  for (size_t at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size())) {
    out.push_back({at, at + wanted.size()});
  }
  return out;
}

Result<ReplaceRule> ReplaceRule::from_json(const Json& json, const std::string& where) {
  JsonFields fields(json, where);
  if (!fields.has("pattern")) fields.fail("pattern", "is missing");
  std::string content = fields.required_text("content");
  TL_TRY_STATUS(fields.status());
  TL_TRY(TextPattern pattern, TextPattern::from_json(json.at("pattern"), fields.at("pattern")));
  return ReplaceRule(std::move(pattern), std::move(content));
}

std::string ReplaceRule::apply(std::string_view text, size_t limit_bytes) const {
  std::string out;
  size_t at = 0;
  for (const TextRange& match : pattern_.find_all(text)) {
    if (out.size() + content_.size() + (text.size() - at) > limit_bytes) break;
    out.append(text, at, match.begin - at).append(content_);
    at = match.end;
  }
  return out.append(text.substr(at));
}

bool ReplaceRule::removes_start(std::string_view text) const {
  if (!content_.empty() || text.empty()) return false;
  const auto matches = pattern_.find_all(text);
  return !matches.empty() && matches.front().begin == 0 && matches.front().end > 0;
}

}  // namespace throughline
