// A model's chat template: messages in, the prompt's text out, as transformers' apply_chat_template renders it.
//
// An own small Jinja engine (text/jinja_*; the subset and its limits are listed in jinja_parser.h, jinja_filters.h and
// jinja_runtime.h) with Hugging Face's settings: trim_blocks, lstrip_blocks, loop controls, {% generation %},
// raise_exception, strftime_now, and a `tojson` without HTML escapes. Checked against Python's jinja2: see
// tests/golden/text. Templates are untrusted: a render is limited in steps, output, memory and depth.
// Immutable and thread-safe; cheap to copy. Errors name the template and the line; text a template raises is `what`.
#pragma once

#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "text/jinja_runtime.h"

namespace throughline {

namespace jinja {
struct Program;
}

class ChatTemplate {
 public:
  // From chat_template.jinja (with additional_chat_templates/tool_use.jinja beside it, if there), else
  // tokenizer_config.json's "chat_template" (a string, or a list of {name, template}), else chat_template.json.
  // Special tokens come from tokenizer_config.json. nullopt when the directory has no template.
  static Result<std::optional<ChatTemplate>> load(const std::string& model_dir);
  static Result<ChatTemplate> parse(std::string_view source, const std::string& where);

  struct Options {
    bool add_generation_prompt = true;  // end with the opening of the assistant's turn
    Json tools = nullptr;               // a list of tool schemas, or null for none
    Json documents = nullptr;           // a list of documents, or null for none
    Json extra = Json::object();        // chat_template_kwargs, such as {"enable_thinking": false}
    // Absent: what the directory's tokenizer_config.json says; undefined in the template when that says nothing.
    std::optional<std::string> bos_token, eos_token, unk_token, pad_token;
    std::function<std::tm()> clock;  // local time for strftime_now; empty: the system's
    jinja::Limits limits;
  };
  Result<std::string> render(const Json& messages, const Options& options) const;
  Result<std::string> render(const Json& messages) const { return render(messages, Options()); }

  struct Rendered {
    std::string text;
    // Where in `text` the generation part begins: what add_generation_prompt adds; when the template ignores that
    // option, what follows the last message's text. For ThinkingTags, which must not take a user's "<think>" for it.
    size_t generation_begin = 0;
  };
  Result<Rendered> render_parts(const Json& messages, const Options& options) const;

  // The names of the templates ("default", "tool_use", ...).
  std::vector<std::string> names() const;

 private:
  struct Source {
    std::shared_ptr<const jinja::Program> program;
    std::string where;
  };
  ChatTemplate() = default;
  Status add(const std::string& name, std::string_view text, const std::string& where);
  Status add_from_json(const Json& value, const std::string& where);
  void read_special_tokens(const Json& tokenizer_config);
  Result<const Source*> choose(const Options& options) const;

  std::map<std::string, Source> sources_;
  Json special_tokens_ = Json::object();
};

}  // namespace throughline
