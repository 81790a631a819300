#include "cli/request_line.h"

namespace throughline {
namespace {

struct Reader {
  RequestLine& line;
  const KnownSpecs& known;
  const std::string& where;
  TypedValues read{where};

  Status field(const std::string& key, const Json& value) {
    if (key == "id")
      return keep(line.id, value, value.is_string() || value.is_number_integer() || value.is_null(), key,
                  "a string or a whole number");
    if (key == "prompt") return set_field(line.prompt, read.text(key, value));
    if (key == "prompt_ids") return set_field(line.prompt_ids, read.ids(key, value));
    if (key == "messages") return messages(value);
    if (key == "tools") return keep(line.tools, value, value.is_array(), key, "a list of tools");
    if (key == "chat_template_kwargs") return keep(line.template_options, value, value.is_object(), key, "an object");
    TL_TRY(const bool shared, read_request_field(line.fields, key, value, known, read));
    if (shared) return {};
    return Error{
        "unknown key \"" + key + "\"", where,
        std::string("known: id, prompt, prompt_ids, messages, tools, chat_template_kwargs, ") + kRequestFieldNames};
  }

  Status keep(Json& target, const Json& value, bool good, const std::string& key, const std::string& wants) {
    if (!good) return read.wrong(key, wants);
    target = value;
    return {};
  }
  Status messages(const Json& value) {
    TL_TRY_STATUS(check_messages(read, value));
    line.messages = value;
    return {};
  }
};

}  // namespace

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
