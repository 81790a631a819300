#include "text/chat_template.h"

#include <algorithm>

#include "base/files.h"
#include "text/jinja_eval.h"
#include "text/jinja_parser.h"
#include "text/jinja_text.h"

namespace throughline {
namespace {

constexpr size_t kConfigLimit = size_t{64} << 20;  // bytes; tokenizer_config.json with thousands of added tokens

Error template_error(const jinja::TemplateError& error, const std::string& where) {
  const std::string line = error.line > 0 ? " line " + std::to_string(error.line) : "";
  return Error{error.message, where + line, error.remedy};
}

std::tm system_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

Result<Json> read_config(const std::string& path) {
  TL_TRY(const std::string text, read_file(path, kConfigLimit));
  return parse_json(text, path);
}

// Two private-use characters that no conversation holds: they mark where the last message's text ends.
constexpr std::string_view kMark = "\xEE\x80\x91\xEE\x80\x92";

// The messages with the mark behind the last one's text; nothing when that has no text or is made of parts.
std::optional<Json> mark_last(const Json& messages) {
  if (!messages.is_array() || messages.empty() || !messages.back().is_object()) return std::nullopt;
  const auto content = messages.back().find("content");
  if (content == messages.back().end() || !content->is_string()) return std::nullopt;
  Json marked = messages;
  marked.back()["content"] = content->get_ref<const std::string&>() + std::string(kMark);
  return marked;
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const std::string& where) {
  ChatTemplate made;
  TL_TRY_STATUS(made.add("default", source, where));
  return made;
}

Status ChatTemplate::add(const std::string& name, std::string_view text, const std::string& where) {
  try {
    auto program = std::make_shared<const jinja::Program>(jinja::parse_program(text));
    sources_[name] = Source{std::move(program), where};
    return {};
  } catch (const jinja::TemplateError& error) {
    return template_error(error, where);
  }
}

Status ChatTemplate::add_from_json(const Json& value, const std::string& where) {
  if (value.is_string()) return add("default", value.get_ref<const std::string&>(), where);
  if (!value.is_array()) return Error{"must be a string or a list of {name, template}", where, ""};
  for (const Json& entry : value) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() || !entry.contains("template") ||
        !entry["template"].is_string()) {
      return Error{"each entry must be an object with the strings \"name\" and \"template\"", where, ""};
    }
    const auto& name = entry["name"].get_ref<const std::string&>();
    TL_TRY_STATUS(add(name, entry["template"].get_ref<const std::string&>(), where + " \"" + name + "\""));
  }
  if (sources_.empty()) return Error{"the list of chat templates is empty", where, ""};
  return {};
}

void ChatTemplate::read_special_tokens(const Json& config) {
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const auto found = config.find(name);
    if (found == config.end()) continue;
    if (found->is_string()) {
      special_tokens_[name] = *found;
    } else if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
      special_tokens_[name] = (*found)["content"];
    }
  }
}

Result<std::optional<ChatTemplate>> ChatTemplate::load(const std::string& model_dir) {
  if (!is_directory(model_dir)) return Error{"is not a directory", model_dir, ""};
  ChatTemplate made;
  Json config = Json::object();
  const std::string config_path = join_path(model_dir, "tokenizer_config.json");
  if (file_exists(config_path)) {
    TL_TRY(config, read_config(config_path));
    if (!config.is_object()) return Error{"must be a JSON object", config_path, ""};
    made.read_special_tokens(config);
  }
  const std::string jinja_path = join_path(model_dir, "chat_template.jinja");
  const std::string tool_path = join_path(model_dir, "additional_chat_templates/tool_use.jinja");
  const std::string json_path = join_path(model_dir, "chat_template.json");
  if (file_exists(jinja_path)) {
    TL_TRY(const std::string text, read_file(jinja_path, jinja::kSourceLimit));
    TL_TRY_STATUS(made.add("default", text, jinja_path));
    if (file_exists(tool_path)) {
      TL_TRY(const std::string tool_text, read_file(tool_path, jinja::kSourceLimit));
      TL_TRY_STATUS(made.add("tool_use", tool_text, tool_path));
    }
  } else if (config.contains("chat_template") && !config["chat_template"].is_null()) {
    TL_TRY_STATUS(made.add_from_json(config["chat_template"], config_path + ": chat_template"));
  } else if (file_exists(json_path)) {
    TL_TRY(const Json file, read_config(json_path));
    if (!file.is_object() || !file.contains("chat_template")) {
      return Error{"has no \"chat_template\"", json_path, ""};
    }
    TL_TRY_STATUS(made.add_from_json(file["chat_template"], json_path + ": chat_template"));
  } else {
    return std::optional<ChatTemplate>();
  }
  return std::optional<ChatTemplate>(std::move(made));
}

std::vector<std::string> ChatTemplate::names() const {
  std::vector<std::string> names;
  for (const auto& [name, source] : sources_) names.push_back(name);
  return names;
}

Result<const ChatTemplate::Source*> ChatTemplate::choose(const Options& options) const {
  auto found = options.tools.is_null() ? sources_.end() : sources_.find("tool_use");
  if (found == sources_.end()) found = sources_.find("default");
  if (found == sources_.end()) {
    return Error{"none of the chat templates is called \"default\"", sources_.begin()->second.where,
                 "name one of them \"default\""};
  }
  return &found->second;
}

Result<std::string> ChatTemplate::render(const Json& messages, const Options& options) const {
  TL_TRY(const Source* source, choose(options));
  if (!messages.is_array()) return Error{"messages must be a list", source->where, ""};
  if (!options.extra.is_object()) return Error{"chat_template_kwargs must be an object", source->where, ""};
  for (const char* reserved : {"messages", "tools", "documents", "add_generation_prompt"}) {
    if (options.extra.contains(reserved)) {
      return Error{"chat_template_kwargs must not set \"" + std::string(reserved) + "\"", source->where, ""};
    }
  }
  const jinja::Variables variables = [&](jinja::Runtime& rt, const std::string& name) -> std::optional<jinja::Value> {
    const auto given = [&](const std::optional<std::string>& token) -> std::optional<jinja::Value> {
      return rt.string(jinja::make_valid_utf8(*token));
    };
    if (name == "messages") return rt.from_json(messages);
    if (name == "tools") return rt.from_json(options.tools);
    if (name == "documents") return rt.from_json(options.documents);
    if (name == "add_generation_prompt") return jinja::Value::boolean(options.add_generation_prompt);
    if (const auto found = options.extra.find(name); found != options.extra.end()) return rt.from_json(*found);
    if (name == "bos_token" && options.bos_token) return given(options.bos_token);
    if (name == "eos_token" && options.eos_token) return given(options.eos_token);
    if (name == "unk_token" && options.unk_token) return given(options.unk_token);
    if (name == "pad_token" && options.pad_token) return given(options.pad_token);
    if (const auto found = special_tokens_.find(name); found != special_tokens_.end()) return rt.from_json(*found);
    return std::nullopt;
  };
  try {
    return jinja::render_program(*source->program, variables, options.limits,
                                 options.clock ? options.clock : jinja::Clock(system_time));
  } catch (const jinja::TemplateError& error) {
    return template_error(error, source->where);
  }
}

Result<ChatTemplate::Rendered> ChatTemplate::render_parts(const Json& messages, const Options& options) const {
  Rendered made;
  TL_TRY(made.text, render(messages, options));
  std::string without = made.text;
  if (options.add_generation_prompt) {
    Options closed = options;
    closed.add_generation_prompt = false;
    // A template that refuses to end without the prompt is treated as one that ignores the option.
    if (Result<std::string> other = render(messages, closed); other.ok()) without = std::move(other).value();
  }
  const auto differs = std::mismatch(made.text.begin(), made.text.end(), without.begin(), without.end()).first;
  made.generation_begin = static_cast<size_t>(differs - made.text.begin());
  if (made.generation_begin == made.text.size()) {
    const std::optional<Json> marked = mark_last(messages);
    const Result<std::string> other = marked ? render(*marked, options) : Result<std::string>(std::string());
    const size_t mark = other.ok() ? other->rfind(kMark) : std::string::npos;
    if (mark != std::string::npos) {
      const std::string_view rest = std::string_view(*other).substr(mark + kMark.size());
      const size_t begin = made.text.size() - std::min(rest.size(), made.text.size());
      if (made.text.compare(begin, rest.size(), rest) == 0) made.generation_begin = begin;
    }
  }
  // Not into the middle of a character.
  while (made.generation_begin > 0 && made.generation_begin < made.text.size() &&
         (static_cast<unsigned char>(made.text[made.generation_begin]) & 0xC0) == 0x80) {
    --made.generation_begin;
  }
  return made;
}

}  // namespace throughline
