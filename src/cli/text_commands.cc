#include "cli/text_commands.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <memory>

#include "base/files.h"
#include "base/json.h"
#include "cli/report.h"
#include "cli/text_input.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace throughline {
namespace {

struct TokenizeOptions {
  std::string model, text;
  bool plain = false, json = false, no_special = false;
};

struct DetokenizeOptions {
  std::string model;
  std::vector<std::string> ids;
  bool skip_special = false;
};

struct TemplateOptions {
  std::string model, messages = "-", tools;
  std::vector<std::string> arguments;  // name=value
  bool no_generation_prompt = false;
};

Status print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return Error{"cannot write", "standard output", ""};
  }
  return {};
}

// JSON escapes keep a piece on its line.
std::string quoted(const std::string& text) { return dump_json(Json(text)); }

Result<int> tokenize(const TokenizeOptions& options) {
  TL_TRY(const auto tokenizer, Tokenizer::load(options.model));
  TL_TRY(const std::string text, text_argument(options.text, "text"));
  const auto ids = tokenizer->encode(text, {.add_special_tokens = !options.no_special, .parse_special = true});
  std::string out;
  if (options.json) {
    Json pieces = Json::array();
    for (const int32_t id : ids) pieces.push_back(tokenizer->token_text(id));
    out = dump_json(Json{{"ids", ids}, {"pieces", std::move(pieces)}}) + "\n";
  } else if (options.plain) {
    for (const int32_t id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
    out += '\n';
  } else {
    for (const int32_t id : ids) out += fmt::format("{:>8}  {}\n", id, quoted(tokenizer->token_text(id)));
    out += fmt::format("{} tokens\n", ids.size());
  }
  TL_TRY_STATUS(print(out));
  return 0;
}

// "1 2 3", "1,2,3", "[1,2,3]" and {"ids": [...]} (what tokenize --json prints) alike.
Result<std::vector<int32_t>> read_ids(const std::string& text) {
  std::string list = text;
  if (const size_t brace = text.find_first_not_of(" \t\r\n"); brace != std::string::npos && text[brace] == '{') {
    TL_TRY(const Json json, parse_json(text, "ids"));
    const auto ids = json.find("ids") != json.end() ? json.find("ids") : json.find("token_ids");
    if (ids == json.end() || !ids->is_array())
      return Error{"has neither \"ids\" nor \"token_ids\"", "ids", "give a list of token ids"};
    list = ids->dump();
  }
  std::vector<int32_t> out;
  const char* at = list.data();
  const char* const end = at + list.size();
  while (true) {
    while (at != end && std::string_view(" ,[]\t\r\n").find(*at) != std::string_view::npos) ++at;
    if (at == end) return out;
    int32_t id = 0;
    const auto [after, code] = std::from_chars(at, end, id);
    const bool ends_well = after == end || std::string_view(" ,[]\t\r\n").find(*after) != std::string_view::npos;
    if (code != std::errc() || id < 0 || !ends_well) {
      const char* const stop = std::find_if(at, end, [](char c) { return c == ' ' || c == ',' || c == '\n'; });
      return Error{"\"" + std::string(at, stop) + "\" is not a token id", "ids", "write 1 2 3, 1,2,3 or [1,2,3]"};
    }
    out.push_back(id);
    at = after;
  }
}

Result<int> detokenize(const DetokenizeOptions& options) {
  TL_TRY(const auto tokenizer, Tokenizer::load(options.model));
  std::string text;
  for (const auto& part : options.ids) text += part + " ";
  if (options.ids.empty() || text == "- ") {
    TL_TRY(text, read_standard_input("list of ids"));
  }
  TL_TRY(const auto ids, read_ids(text));
  for (const int32_t id : ids) {
    if (tokenizer->piece_to_decode(id, /*skip_special=*/false) == nullptr) {
      return Error{"token id " + std::to_string(id) + " is not in the vocabulary", "ids",
                   "ids go from 0 to " + std::to_string(tokenizer->vocab_size() - 1)};
    }
  }
  std::string out = tokenizer->decode(ids, options.skip_special);
  if (::isatty(STDOUT_FILENO) != 0) out += '\n';  // a pipe gets the text to the byte
  TL_TRY_STATUS(print(out));
  return 0;
}

Result<Json> read_json_argument(const std::string& path, const std::string& what) {
  if (path != "-") return read_json_file(path);
  TL_TRY(const std::string text, read_standard_input(what));
  return parse_json(text, "standard input");
}

Result<int> render(const TemplateOptions& options) {
  TL_TRY(const auto chat_template, ChatTemplate::load(options.model));
  if (!chat_template) {
    return Error{"has no chat template", options.model, "add chat_template.jinja to the model directory"};
  }
  TL_TRY(Json messages, read_json_argument(options.messages, "messages"));
  ChatTemplate::Options render;
  render.add_generation_prompt = !options.no_generation_prompt;
  if (messages.is_object()) {  // a generate line, or an API request
    if (messages.contains("tools")) render.tools = messages["tools"];
    if (!messages.contains("messages"))
      return Error{"has no \"messages\"", options.messages, "give a list of messages"};
    messages = Json(messages["messages"]);
  }
  if (!messages.is_array()) return Error{"is not a list of messages", options.messages, "write [{\"role\": ..., ...}]"};
  if (!options.tools.empty()) {
    TL_TRY(render.tools, read_json_file(options.tools));
    if (!render.tools.is_array()) return Error{"is not a list of tools", options.tools, ""};
  }
  for (const auto& argument : options.arguments) {
    const size_t equals = argument.find('=');
    if (equals == 0 || equals == std::string::npos)
      return Error{"\"" + argument + "\" is not name=value", "--kwarg", "for example --kwarg enable_thinking=false"};
    const std::string value = argument.substr(equals + 1);
    const auto json = parse_json(value, "--kwarg");
    render.extra[argument.substr(0, equals)] = json.ok() ? *json : Json(value);  // what is not JSON is text
  }
  TL_TRY(std::string text, chat_template->render(messages, render));
  if (::isatty(STDOUT_FILENO) != 0) text += '\n';
  TL_TRY_STATUS(print(text));
  return 0;
}

void add_tokenize(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "show the token ids of a text");
  command->add_option("-m,--model", options->model, "model directory in Hugging Face form")->required();
  command->add_option("text", options->text, "the text (default, and -: standard input without its last newline)");
  auto* json = command->add_flag("--json", options->json, "one JSON line: {\"ids\", \"pieces\"}");
  command->add_flag("--ids", options->plain, "one line of ids")->excludes(json);
  command->add_flag("--no-special", options->no_special, "no BOS or EOS around the text");
  command->callback([options, exit_status] { *exit_status = report(tokenize(*options)); });
}

void add_detokenize(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<DetokenizeOptions>();
  CLI::App* command = app.add_subcommand("detokenize", "show the text of token ids");
  command->add_option("-m,--model", options->model, "model directory in Hugging Face form")->required();
  command->add_option("ids", options->ids, "1 2 3, 1,2,3, or what tokenize --json prints (default: standard input)");
  command->add_flag("--skip-special", options->skip_special, "leave special tokens out");
  command->callback([options, exit_status] { *exit_status = report(detokenize(*options)); });
}

void add_template(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<TemplateOptions>();
  CLI::App* command = app.add_subcommand("template", "show the prompt that the model's chat template renders");
  command->add_option("-m,--model", options->model, "model directory in Hugging Face form")->required();
  command
      ->add_option("messages", options->messages,
                   "JSON file: a list of messages, or an object with messages; - is standard input")
      ->capture_default_str();
  command->add_option("--tools", options->tools, "JSON file: a list of tool schemas");
  command->add_option("--kwarg", options->arguments,
                      "name=value for the template, the value as JSON or else text: enable_thinking=false");
  command->add_flag("--no-generation-prompt", options->no_generation_prompt, "do not open the assistant's turn");
  command->callback([options, exit_status] { *exit_status = report(render(*options)); });
}

}  // namespace

void add_text_commands(CLI::App& app, int* exit_status) {
  add_tokenize(app, exit_status);
  add_detokenize(app, exit_status);
  add_template(app, exit_status);
}

}  // namespace throughline
