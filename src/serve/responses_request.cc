#include "serve/responses_request.h"

#include <algorithm>

#include "serve/api_request.h"

namespace throughline::serve {
namespace {

Error wrong(const std::string& field, const std::string& what) {
  return Error{what, std::string(kRequestWhere) + ": " + field, ""};
}

// One item of `input`. Reasoning items of earlier turns are left out: templates drop old thinking anyway.
Status add_item(const Json& item, const std::string& place, Json& messages) {
  if (!item.is_object()) return wrong(place, "must be an object");
  const std::string type =
      item.contains("type") && item["type"].is_string() ? item["type"].get<std::string>() : "message";
  if (type == "reasoning" || type == "item_reference") return {};
  if (type == "function_call") {
    if (!item.contains("name") || !item["name"].is_string()) return wrong(place + ".name", "must be a string");
    const Json call = {{"id", item.value("call_id", Json(""))},
                       {"type", "function"},
                       {"function", {{"name", item["name"]}, {"arguments", item.value("arguments", Json("{}"))}}}};
    // Calls of one turn belong to one message.
    if (!messages.empty() && messages.back()["role"] == "assistant" && messages.back().contains("tool_calls")) {
      messages.back()["tool_calls"].push_back(call);
    } else {
      messages.push_back({{"role", "assistant"}, {"content", nullptr}, {"tool_calls", Json::array({call})}});
    }
    return {};
  }
  if (type == "function_call_output") {
    messages.push_back({{"role", "tool"},
                        {"tool_call_id", item.value("call_id", Json(""))},
                        {"content", item.value("output", Json(""))}});
    return {};
  }
  if (type != "message") return wrong(place + ".type", "\"" + type + "\" is not supported");
  if (!item.contains("role") || !item["role"].is_string()) return wrong(place + ".role", "must be a string");
  const Json role = item["role"] == "developer" ? Json("system") : item["role"];
  messages.push_back({{"role", role}, {"content", item.value("content", Json(nullptr))}});
  return {};
}

Status read_tools(const Json& tools, Json& chat) {
  if (!tools.is_array()) return wrong("tools", "must be a list");
  Json out = Json::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    const Json& tool = tools[i];
    const std::string place = "tools[" + std::to_string(i) + "]";
    if (!tool.is_object() || tool.value("type", Json()) != "function")
      return wrong(place, "only tools of type \"function\" are supported");
    if (tool.contains("function")) {
      out.push_back(tool);
      continue;
    }
    Json function = tool;
    function.erase("type");
    function.erase("strict");
    out.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  chat["tools"] = std::move(out);
  return {};
}

Status read_text(const Json& text, Json& chat) {
  if (!text.is_object()) return wrong("text", "must be an object");
  if (text.contains("format") && !text["format"].is_null()) chat["response_format"] = text["format"];
  return {};
}

}  // namespace

Result<ResponsesBody> chat_of_responses(std::string_view text) {
  TL_TRY(const Json body, parse_json(text, kRequestWhere));
  if (!body.is_object()) return Error{"the body is not a JSON object", kRequestWhere, ""};
  ResponsesBody out;
  Json::object_t passed_on;  // as it is; no name comes twice
  Json messages = Json::array();
  if (body.contains("instructions") && !body["instructions"].is_null()) {
    if (!body["instructions"].is_string()) return wrong("instructions", "must be a string");
    messages.push_back({{"role", "system"}, {"content", body["instructions"]}});
  }
  for (const auto& [key, value] : body.items()) {
    if (value.is_null()) continue;
    if (key == "input") {
      if (value.is_string()) {
        messages.push_back({{"role", "user"}, {"content", value}});
      } else if (value.is_array() && !value.empty()) {
        for (size_t i = 0; i < value.size(); ++i)
          TL_TRY_STATUS(add_item(value[i], "input[" + std::to_string(i) + "]", messages));
      } else {
        return wrong("input", "must be a string or a list of items");
      }
    } else if (key == "max_output_tokens") {
      out.chat["max_completion_tokens"] = value;
    } else if (key == "tools") {
      TL_TRY_STATUS(read_tools(value, out.chat));
    } else if (key == "text") {
      TL_TRY_STATUS(read_text(value, out.chat));
    } else if (key == "previous_response_id" || key == "conversation" || key == "prompt") {
      return Error{"is not supported: this server keeps no conversations", std::string(kRequestWhere) + ": " + key,
                   "send the whole conversation as input"};
    } else if (key == "background" || key == "truncation" || key == "max_tool_calls" || key == "include") {
      if (value == Json(true)) return wrong(key, "is not supported");
    } else if (key == "n" || key == "logprobs" || key == "messages") {
      return wrong(key, "is not a field of this route");
    } else if (key != "instructions") {
      passed_on.emplace_back(key, value);
    }
  }
  if (!body.contains("input") || body["input"].is_null()) return wrong("input", "is missing");
  if (messages.empty()) return wrong("input", "holds no message");
  out.chat["messages"] = std::move(messages);
  // Looked up among our few names, never among a stranger's many.
  const Json ours = out.chat;
  auto& members = out.chat.get_ref<Json::object_t&>();
  for (auto& member : passed_on) {
    if (!ours.contains(member.first)) members.push_back(std::move(member));
  }
  for (const char* key : {"instructions", "tools", "tool_choice", "metadata", "temperature", "top_p",
                          "max_output_tokens", "reasoning", "text", "parallel_tool_calls", "store"}) {
    out.echo[key] = body.contains(key) ? body[key] : Json(nullptr);
  }
  return out;
}

}  // namespace throughline::serve
