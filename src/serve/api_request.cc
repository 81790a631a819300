#include "serve/api_request.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "base/json.h"

namespace throughline::serve {
namespace {

constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
constexpr size_t kMostPrompts = 2048;
constexpr int64_t kMostBudget = 1'000'000'000'000;  // the most that an option of an environment may be

// Of no meaning here, harmless to leave out: OpenAI's bookkeeping, and hints of other servers.
constexpr std::string_view kIgnored[] = {
    "user",      "metadata",         "store",        "service_tier",    "safety_identifier",
    "verbosity", "prompt_cache_key", "cache_prompt", "id_slot",         "timings_per_token",
    "slot_id",   "request_id",       "cache_salt",   "return_progress", "prompt_cache_retention"};

// Known, but not done here: better refused than silently wrong. Their harmless values pass.
struct Refused {
  std::string_view name;
  Json harmless;
  const char* remedy;
};

const std::vector<Refused>& refused() {
  static const std::vector<Refused> list = {
      {"best_of", 1, "use n"},
      {"suffix", "", "infilling is not supported"},
      {"use_beam_search", false, "use n samples"},
      {"length_penalty", 1.0, "leave it out"},
      {"audio", nullptr, "this model writes text only"},
      {"prediction", nullptr, "leave it out"},
      {"web_search_options", nullptr, "leave it out"},
      {"functions", Json::array(), "use tools"},
      {"function_call", "none", "use tool_choice"},
      {"truncate_prompt_tokens", nullptr, "shorten the prompt"},
      {"grammar", "", "leave it out"},
      {"guided_json", nullptr, "use response_format"},
      {"guided_regex", nullptr, "leave it out"},
      {"guided_choice", nullptr, "leave it out"},
      {"structured_outputs", nullptr, "use response_format"},
      {"spaces_between_special_tokens", true, "leave it out"},
  };
  return list;
}

class BodyReader {
 public:
  BodyReader(ApiRequest& out, const KnownSpecs& known, int64_t max_logprobs)
      : out_(out), known_(known), max_logprobs_(max_logprobs) {}

  Status read(const Json& body) {
    for (const auto& [key, value] : body.items()) {
      if (value.is_null()) continue;  // as left out
      TL_TRY(const bool taken, field(key, value));
      if (!taken) return unknown(key);
    }
    return finish();
  }

 private:
  // A field of both routes, or of this one. False: unknown.
  Result<bool> field(const std::string& key, const Json& value) {
    if (std::find(std::begin(kIgnored), std::end(kIgnored), key) != std::end(kIgnored)) return true;
    for (const auto& [name, harmless, remedy] : refused()) {
      if (name != key) continue;
      if (value == harmless || (name == "best_of" && value.is_number_integer())) {
        if (name == "best_of") best_of_ = value;
        return true;
      }
      return Error{"is not supported", read_.where() + ": " + key, remedy};
    }
    TL_TRY(bool taken, special(key, value));
    if (taken) return true;
    TL_TRY(taken, out_.kind == ApiKind::kChat ? chat_field(key, value) : completion_field(key, value));
    if (taken) return true;
    TL_TRY(taken, common_field(key, value));
    if (taken) return true;
    return read_request_field(out_.fields, key, value, known_, read_);
  }

  template <typename T>
  Result<bool> set(T& target, Result<T> value) {
    if (!value.ok()) return value.error();
    target = std::move(value).value();
    return true;
  }
  template <typename T>
  Result<bool> set(std::optional<T>& target, Result<T> value) {
    TL_TRY_STATUS(set_field(target, std::move(value)));
    return true;
  }

  // Fields whose values mean something else than in RequestFields.
  Result<bool> special(const std::string& key, const Json& value) {
    if (key == "max_tokens" || key == "max_completion_tokens" || key == "n_predict") {
      TL_TRY(const int64_t tokens, read_.integer(key, value, -1, kAny));
      if (tokens == 0) {
        if (out_.kind == ApiKind::kChat) return read_.wrong(key, "at least 1 (or -1: up to the context)");
        out_.no_new_tokens = true;
        out_.fields.max_tokens = 1;
      } else if (tokens > 0) {
        out_.fields.max_tokens = tokens;
      } else {
        out_.unlimited = true;
      }
      return true;
    }
    if (key == "logit_bias") return logit_bias(key, value);
    if (key == "model") return set(out_.model, read_.text(key, value));
    if (key == "seed" && value == Json(-1)) return true;  // llama-server's word for "any"
    return false;
  }

  // OpenAI allows -100 to 100 only as a rule of taste; the engine has its own range. Lists of pairs are llama-server's.
  Result<bool> logit_bias(const std::string& key, const Json& value) {
    if (!value.is_array()) return set(out_.fields.logit_bias, read_.biases(key, value));
    std::map<int32_t, double> biases;
    for (const auto& pair : value) {
      if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer())
        return read_.wrong(key, "an object of token id: bias");
      TL_TRY(const int64_t id, read_.integer(key, pair[0], 0, std::numeric_limits<int32_t>::max()));
      TL_TRY(biases[static_cast<int32_t>(id)], read_.number(key, pair[1]));
    }
    out_.fields.logit_bias = std::move(biases);
    return true;
  }

  // How many candidates to tell of each token: all are kept until the answer is sent.
  Result<int64_t> candidates(const std::string& key, const Json& value) const {
    TL_TRY(const int64_t count, read_.integer(key, value, 0, kAny));
    if (count > max_logprobs_)
      return Error{std::to_string(count) + " is over this server's limit of " + std::to_string(max_logprobs_),
                   read_.where() + ": " + key, "ask for fewer, or serve with a higher --max-logprobs"};
    return count;
  }

  Result<bool> common_field(const std::string& key, const Json& value) {
    if (key == "stream") return set(out_.stream, read_.boolean(key, value));
    if (key == "stream_options") return stream_options(value);
    if (key == "prompt_logprobs") return set(out_.prompt_logprobs, candidates(key, value));
    if (key == "return_token_ids" || key == "return_tokens")
      return set(out_.return_token_ids, read_.boolean(key, value));
    if (key == "return_tokens_as_token_ids") return set(out_.tokens_as_ids, read_.boolean(key, value));
    if (key == "include_stop_str_in_output") return set(out_.include_stop_string, read_.boolean(key, value));
    if (key == "skip_special_tokens") return set(out_.skip_special_tokens, read_.boolean(key, value));
    if (key == "add_special_tokens") return set(out_.add_special_tokens, read_.boolean(key, value));
    if (key == "thinking_token_budget" || key == "thinking_budget_tokens" || key == "thinking_budget" ||
        key == "reasoning_budget")
      return budget(key, value);
    if (key == "thinking") return anthropic_thinking(value);
    if (key == "timeout" || key == "timeout_s") {
      TL_TRY(out_.timeout_s, read_.number(key, value));
      if (!(*out_.timeout_s > 0)) return read_.wrong(key, "a number of seconds over 0");
      return true;
    }
    if (key == "priority") return set(out_.priority, read_.integer(key, value, -kMostPriority, kMostPriority));
    if (key == "response_format") return response_format(value);
    if (key == "throughline") return extras(value);
    return false;
  }

  Result<bool> budget(const std::string& key, const Json& value) {
    TL_TRY(const int64_t tokens, read_.integer(key, value, -1, kAny));
    if (tokens >= 0) out_.thinking_budget = std::min(tokens, kMostBudget);  // -1: no budget
    return true;
  }

  Result<bool> anthropic_thinking(const Json& value) {
    if (!value.is_object() || !value.contains("type") || !value["type"].is_string())
      return read_.wrong("thinking", "an object with a \"type\"");
    const std::string type = value["type"];
    if (type == "disabled") {
      out_.template_options["enable_thinking"] = false;
      out_.thinking_budget = 0;
      return true;
    }
    if (type != "enabled" && type != "adaptive") return read_.wrong("thinking.type", "enabled, adaptive or disabled");
    if (value.contains("budget_tokens") && !value["budget_tokens"].is_null())
      return budget("thinking.budget_tokens", value["budget_tokens"]);
    return true;
  }

  // An object of options: each that is not null goes to take(key, its full name, value), which says whether it knew it.
  template <class Take>
  Result<bool> options(const std::string& field, const Json& value, const Take& take) {
    if (!value.is_object()) return read_.wrong(field, "an object");
    for (const auto& [key, option] : value.items()) {
      if (option.is_null()) continue;
      const std::string name = field + "." + key;
      TL_TRY(const bool known, take(key, name, option));
      if (!known) return unknown(name);
    }
    return true;
  }

  Result<bool> stream_options(const Json& value) {
    return options("stream_options", value,
                   [&](const std::string& key, const std::string& name, const Json& option) -> Result<bool> {
                     if (key == "include_usage") return set(out_.include_usage, read_.boolean(name, option));
                     if (key == "continuous_usage_stats")
                       return set(out_.continuous_usage, read_.boolean(name, option));
                     return key == "include_obfuscation";
                   });
  }

  Result<bool> response_format(const Json& value) {
    if (!value.is_object() || !value.contains("type") || !value["type"].is_string())
      return read_.wrong("response_format", "an object with a \"type\"");
    const std::string type = value["type"];
    if (type == "text") return true;
    std::string place = "response_format";
    if (type == "json_object") {
      const bool described = value.contains("schema");  // llama-server's
      out_.answer_grammar = GrammarSpec{.schema = described ? value["schema"] : Json{{"type", "object"}},
                                        .where = read_.where() + ": " + place + (described ? ".schema" : "")};
      return true;
    }
    if (type != "json_schema") return read_.wrong("response_format.type", "text, json_object or json_schema");
    // OpenAI's chat has it one level deeper than its responses.
    const Json* holder = &value;
    if (value.contains("json_schema")) {
      holder = &value["json_schema"];
      place += ".json_schema";
    }
    if (!holder->is_object() || !holder->contains("schema")) return read_.wrong(place, "an object with a \"schema\"");
    if (holder->contains("strict") && !(*holder)["strict"].is_null())
      TL_TRY_STATUS(as_status(read_.boolean(place + ".strict", (*holder)["strict"])));
    out_.answer_grammar = GrammarSpec{.schema = (*holder)["schema"], .where = read_.where() + ": " + place + ".schema"};
    return true;
  }

  Result<bool> extras(const Json& value) {
    return options("throughline", value,
                   [&](const std::string& key, const std::string& name, const Json& option) -> Result<bool> {
                     if (key == "progress") return set(out_.extras.progress, read_.boolean(name, option));
                     if (key == "chunks") return set(out_.extras.chunks, read_.boolean(name, option));
                     if (key != "kv_events") return false;
                     if (!option.is_array()) return set(out_.extras.kv_events, read_.boolean(name, option));
                     for (const auto& layer : option) {
                       TL_TRY(const int64_t number, read_.integer(name, layer, 0, 65535));
                       out_.extras.layers.push_back(number);
                     }
                     return out_.extras.kv_events = true;
                   });
  }

  Result<bool> completion_field(const std::string& key, const Json& value) {
    if (key == "prompt") return prompts(value);
    if (key == "echo") return set(out_.echo, read_.boolean(key, value));
    if (key != "logprobs") return false;
    if (!value.is_boolean()) return set(out_.fields.logprobs, candidates(key, value));
    return value.get<bool>() ? set(out_.fields.logprobs, candidates(key, 1)) : true;  // llama-server, careless clients
  }

  Result<bool> prompts(const Json& value) {
    const auto is_ids = [](const Json& v) { return v.is_array() && !v.empty() && v[0].is_number(); };
    if (value.is_string()) {
      out_.prompts.emplace_back(value.get<std::string>());
      return true;
    }
    if (is_ids(value)) {
      TL_TRY(auto ids, read_.ids("prompt", value));
      out_.prompts.emplace_back(std::move(ids));
      return true;
    }
    const char* wants = "a string, a list of token ids, or a list of strings or of such lists";
    if (!value.is_array() || value.empty()) return read_.wrong("prompt", wants);
    if (value.size() > kMostPrompts) return read_.wrong("prompt", "at most 2048 prompts");
    for (const auto& item : value) {
      if (item.is_string()) {
        out_.prompts.emplace_back(item.get<std::string>());
      } else if (is_ids(item)) {
        TL_TRY(auto ids, read_.ids("prompt", item));
        out_.prompts.emplace_back(std::move(ids));
      } else {
        return read_.wrong("prompt", wants);
      }
    }
    return true;
  }

  Result<bool> chat_field(const std::string& key, const Json& value) {
    if (key == "messages") return messages(value);
    if (key == "logprobs") {
      TL_TRY(chat_logprobs_, read_.boolean(key, value));
      return true;
    }
    if (key == "top_logprobs") return set(top_logprobs_, candidates(key, value));
    if (key == "tools") return tools(value);
    if (key == "tool_choice") return tool_choice(value);
    if (key == "parallel_tool_calls") return set(out_.parallel_calls, read_.boolean(key, value));
    if (key == "chat_template_kwargs") return template_options(key, value);
    if (key == "enable_thinking") {
      TL_TRY(out_.template_options[key], read_.boolean(key, value));
      return true;
    }
    if (key == "reasoning_effort") return reasoning_effort(value);
    if (key == "reasoning") return reasoning(value);
    if (key == "add_generation_prompt") return set(out_.add_generation_prompt, read_.boolean(key, value));
    if (key == "continue_final_message") return set(out_.continue_final_message, read_.boolean(key, value));
    if (key == "include_reasoning") return set(out_.include_reasoning, read_.boolean(key, value));
    if (key == "reasoning_format") return reasoning_format(value);
    if (key == "modalities") {
      if (value != Json::array({"text"})) return read_.wrong(key, "[\"text\"]");
      return true;
    }
    return false;
  }

  // A stranger's object may have a million names: only the few that other fields have set are looked up in it.
  Result<bool> template_options(const std::string& key, const Json& value) {
    if (!value.is_object()) return read_.wrong(key, "an object");
    const Json earlier = std::exchange(out_.template_options, value);
    for (const auto& [name, option] : earlier.items()) {
      if (!value.contains(name)) out_.template_options[name] = option;
    }
    return true;
  }

  Result<bool> reasoning_effort(const Json& value) {
    TL_TRY(const std::string effort, read_.text("reasoning_effort", value));
    out_.template_options["reasoning_effort"] = effort;
    if (effort == "none") out_.template_options["enable_thinking"] = false;
    return true;
  }

  Result<bool> reasoning(const Json& value) {  // as OpenRouter and the Responses API write it
    return options("reasoning", value,
                   [&](const std::string& key, const std::string& name, const Json& option) -> Result<bool> {
                     if (key == "effort") return reasoning_effort(option);
                     if (key == "max_tokens") return budget(name, option);
                     if (key == "enabled") {
                       TL_TRY(out_.template_options["enable_thinking"], read_.boolean(name, option));
                       return true;
                     }
                     if (key == "exclude") {
                       TL_TRY(const bool exclude, read_.boolean(name, option));
                       out_.include_reasoning = !exclude;
                       return true;
                     }
                     return key == "summary";
                   });
  }

  Result<bool> reasoning_format(const Json& value) {
    TL_TRY(const std::string format, read_.text("reasoning_format", value));
    if (format != "none" && format != "deepseek" && format != "auto")
      return read_.wrong("reasoning_format", "auto, deepseek or none");
    out_.split_reasoning = format != "none";
    return true;
  }

  Result<bool> messages(const Json& value) {
    TL_TRY_STATUS(check_messages(read_, value));
    out_.messages = Json::array();
    for (size_t i = 0; i < value.size(); ++i) {
      TL_TRY(Json message, message_of(value[i], "messages[" + std::to_string(i) + "]"));
      out_.messages.push_back(std::move(message));
    }
    return true;
  }

  // Content as templates expect it: one string. Text parts are joined; other parts are refused by name.
  Result<Json> message_of(const Json& message, const std::string& place) const {
    Json out = message;
    for (const char* name : {"name", "tool_call_id", "reasoning", "reasoning_content"}) {
      const auto text = message.find(name);
      if (text != message.end() && !text->is_null() && !text->is_string())
        return read_.wrong(place + "." + name, "a string");
    }
    if (const auto calls = message.find("tool_calls"); calls != message.end() && !calls->is_null()) {
      const bool objects = calls->is_array() &&
                           std::all_of(calls->begin(), calls->end(), [](const Json& call) { return call.is_object(); });
      if (!objects) return read_.wrong(place + ".tool_calls", "a list of objects");
    }
    const auto content = message.find("content");
    if (content == message.end() || content->is_null()) {
      if (message["role"] != "assistant")
        return Error{"must be a string or a list of text parts", read_.where() + ": " + place + ".content", ""};
      out["content"] = "";
      return out;
    }
    if (content->is_string()) return out;
    if (!content->is_array()) return read_.wrong(place + ".content", "a string or a list of text parts");
    std::string text;
    for (const auto& part : *content) {
      if (part.is_string()) {
        text += part.get<std::string>();
        continue;
      }
      const bool typed = part.is_object() && part.contains("type") && part["type"].is_string();
      const std::string type = typed ? part["type"].get<std::string>() : "";
      if ((type != "text" && type != "input_text" && type != "output_text") || !part.contains("text") ||
          !part["text"].is_string()) {
        return Error{type.empty() || type == "text" ? "a part must be {\"type\":\"text\",\"text\":...}"
                                                    : "parts of type \"" + type + "\" are not supported",
                     read_.where() + ": " + place + ".content", "this model reads text only"};
      }
      text += part["text"].get<std::string>();
    }
    out["content"] = text;
    return out;
  }

  Result<bool> tools(const Json& value) {
    if (!value.is_array()) return read_.wrong("tools", "a list");
    for (size_t i = 0; i < value.size(); ++i) {
      const Json& tool = value[i];
      const bool good = tool.is_object() && tool.value("type", Json()) == "function" && tool.contains("function") &&
                        tool["function"].is_object() && tool["function"].contains("name") &&
                        tool["function"]["name"].is_string();
      if (!good)
        return read_.wrong("tools[" + std::to_string(i) + "]", "{\"type\":\"function\",\"function\":{\"name\":...}}");
    }
    if (!value.empty()) out_.tools = value;
    return true;
  }

  Result<bool> tool_choice(const Json& value) {
    if (value == "none") {
      no_tools_ = true;
    } else if (value == "required") {
      out_.call_required = true;
    } else if (value.is_object() && value.value("type", Json()) == "function") {
      // The chat API writes {"type", "function": {"name"}}, the responses API {"type", "name"}.
      const Json& named = value.contains("function") ? value["function"] : value;
      if (!named.is_object() || !named.contains("name") || !named["name"].is_string())
        return read_.wrong("tool_choice.function", "an object with a \"name\"");
      out_.call_required = true;
      out_.required_function = named["name"];
    } else if (value != "auto") {
      return read_.wrong("tool_choice", "none, auto, required, or a function");
    }
    return true;
  }

  // What hangs on several fields.
  Status finish() {
    if (out_.unlimited) out_.fields.max_tokens.reset();
    if (out_.kind == ApiKind::kChat) {
      if (out_.messages.is_null()) return missing("messages");
      if (no_tools_) out_.tools = nullptr;
      if (out_.call_required && out_.tools.is_null())
        return Error{"a call is asked for, but there are no tools", read_.where() + ": tool_choice", ""};
      const auto is_required = [this](const Json& tool) { return tool["function"]["name"] == out_.required_function; };
      if (!out_.required_function.empty() && std::none_of(out_.tools.begin(), out_.tools.end(), is_required))
        return Error{"\"" + out_.required_function + "\" is none of the tools", read_.where() + ": tool_choice", ""};
      if (out_.continue_final_message && (out_.call_required || out_.answer_grammar))
        return Error{"a message cannot be gone on with under response_format or a required call",
                     read_.where() + ": continue_final_message", ""};
      if (top_logprobs_ && !chat_logprobs_) return Error{"needs logprobs: true", read_.where() + ": top_logprobs", ""};
      if (chat_logprobs_) out_.fields.logprobs = top_logprobs_.value_or(0);
      if (out_.continue_final_message) {
        if (out_.messages.back()["role"] != "assistant")
          return Error{"the last message is not the assistant's", read_.where() + ": continue_final_message", ""};
        out_.add_generation_prompt = false;
      }
    } else {
      if (out_.prompts.empty()) return missing("prompt");
      if (out_.no_new_tokens && !out_.echo && !out_.prompt_logprobs)
        return Error{"0 is for echo and prompt_logprobs", read_.where() + ": max_tokens", "use at least 1"};
      if (out_.echo && out_.fields.logprobs && !out_.prompt_logprobs) out_.prompt_logprobs = out_.fields.logprobs;
    }
    if (!best_of_.is_null() && best_of_ != Json(1) && best_of_ != Json(out_.fields.n.value_or(1)))
      return Error{"is not supported", read_.where() + ": best_of", "use n"};
    if (out_.answer_grammar && out_.fields.json_schema)
      return Error{"beside response_format says it twice", read_.where() + ": json_schema", "leave one out"};
    if (!out_.stream && (out_.include_usage || out_.continuous_usage))
      return Error{"is only for stream: true", read_.where() + ": stream_options", ""};
    return {};
  }

  Error missing(const std::string& key) const { return Error{"is missing", read_.where() + ": " + key, ""}; }
  Error unknown(const std::string& key) const {
    return Error{"is not a known field", read_.where() + ": " + key, "docs/server.md lists them"};
  }
  static Status as_status(const Result<bool>& result) { return result.ok() ? Status() : Status(result.error()); }

  ApiRequest& out_;
  const KnownSpecs& known_;
  const int64_t max_logprobs_;
  TypedValues read_{kRequestWhere};
  bool chat_logprobs_ = false, no_tools_ = false;
  std::optional<int64_t> top_logprobs_;
  Json best_of_ = nullptr;
};

}  // namespace

Result<ApiRequest> parse_api_request(ApiKind kind, std::string_view body, const KnownSpecs& known,
                                     int64_t max_logprobs) {
  TL_TRY(const Json json, parse_json(body, kRequestWhere));
  if (!json.is_object()) return Error{"the body is not a JSON object", kRequestWhere, ""};
  ApiRequest out;
  out.kind = kind;
  BodyReader reader(out, known, max_logprobs);
  TL_TRY_STATUS(reader.read(json));
  return out;
}

namespace {

// "kv: ratio" of an error at "request: kv: ratio".
std::string place_of(const Error& error) {
  const std::string prefix = std::string(kRequestWhere) + ": ";
  return error.where.compare(0, prefix.size(), prefix) == 0 ? error.where.substr(prefix.size()) : "";
}

}  // namespace

std::string field_of(const Error& error) {
  const std::string place = place_of(error);
  return place.substr(0, place.find_first_of(": "));
}

std::string message_of(const Error& error) {
  Error plain = error;
  plain.where = place_of(error);
  return plain.line();
}

}  // namespace throughline::serve
