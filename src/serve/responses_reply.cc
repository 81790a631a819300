#include "serve/responses_reply.h"

namespace throughline::serve {
namespace {

Json text_part(const std::string& type, const std::string& text) {
  Json part = {{"type", type}, {"text", text}};
  if (type == "output_text") {
    part["annotations"] = Json::array();
    part["logprobs"] = Json::array();
  }
  return part;
}

const char* part_type(const std::string& item) { return item == "reasoning" ? "reasoning_text" : "output_text"; }

}  // namespace

ResponsesReply::ResponsesReply(CompletionJob job, Json echo)
    : CompletionReply(std::move(job)), echo_(std::move(echo)) {}

Json ResponsesReply::response(const std::string& status) const {
  Json out = {{"id", job().id},
              {"object", "response"},
              {"created_at", job().created},
              {"status", status},
              {"error", nullptr},
              {"incomplete_details", status == "incomplete" ? Json{{"reason", "max_output_tokens"}} : Json(nullptr)},
              {"model", job().model},
              {"output", output_},
              {"usage", usage_},
              {"previous_response_id", nullptr}};
  for (const auto& [key, value] : echo_.items()) out[key] = value;
  if (out["tools"].is_null()) out["tools"] = Json::array();
  if (out["tool_choice"].is_null()) out["tool_choice"] = "auto";
  if (out["parallel_tool_calls"].is_null()) out["parallel_tool_calls"] = true;
  if (out["metadata"].is_null()) out["metadata"] = Json::object();
  if (!throughline_.is_null()) out["throughline"] = throughline_;
  return out;
}

void ResponsesReply::event(const std::string& type, Json fields, std::string& out) {
  Json all = {{"type", type}, {"sequence_number", sequence_++}};
  all.update(fields);
  write_event(out, type, dump_json(all));
}

void ResponsesReply::open_item(const std::string& type, Json item, std::string& out) {
  const int64_t index = static_cast<int64_t>(output_.size());
  item["id"] = (type == "reasoning" ? "rs_"
                : type == "message" ? "msg_"
                                    : "fc_") +
               job().id + "_" + std::to_string(index);
  item["type"] = type;
  item["status"] = "in_progress";
  item_ = std::move(item);
  text_.clear();
  event("response.output_item.added", {{"output_index", index}, {"item", item_}}, out);
  if (type == "function_call") return;
  event("response.content_part.added",
        {{"item_id", item_["id"]},
         {"output_index", index},
         {"content_index", 0},
         {"part", text_part(part_type(type), "")}},
        out);
}

void ResponsesReply::close_item(std::string& out) {
  if (item_.is_null()) return;
  const std::string type = item_["type"];
  const int64_t index = static_cast<int64_t>(output_.size());
  if (type != "function_call") {
    const Json place = {{"item_id", item_["id"]}, {"output_index", index}, {"content_index", 0}};
    Json done = place, part = place;
    done["text"] = text_;
    if (type == "message") done["logprobs"] = Json::array();
    part["part"] = text_part(part_type(type), text_);
    event(std::string("response.") + part_type(type) + ".done", std::move(done), out);
    event("response.content_part.done", std::move(part), out);
    item_["content"] = Json::array({text_part(part_type(type), text_)});
  }
  item_["status"] = "completed";
  event("response.output_item.done", {{"output_index", index}, {"item", item_}}, out);
  output_.push_back(std::exchange(item_, nullptr));
}

void ResponsesReply::add_text(const std::string& type, const std::string& text, std::string& out) {
  if (item_.is_null() || item_["type"] != type) {
    close_item(out);
    Json item = {{"content", Json::array()}};
    if (type == "message") {
      item["role"] = "assistant";
    } else {
      item["summary"] = Json::array();
    }
    open_item(type, std::move(item), out);
  }
  text_ += text;
  Json fields = {{"item_id", item_["id"]}, {"output_index", output_.size()}, {"content_index", 0}, {"delta", text}};
  if (type == "message") fields["logprobs"] = Json::array();
  event(std::string("response.") + part_type(type) + ".delta", std::move(fields), out);
}

void ResponsesReply::add_calls(const Json& calls, std::string& out) {
  for (const auto& call : calls) {
    close_item(out);
    open_item("function_call", {{"call_id", call["id"]}, {"name", call["function"]["name"]}, {"arguments", ""}}, out);
    const Json place = {{"item_id", item_["id"]}, {"output_index", output_.size()}};
    Json delta = place, done = place;
    delta["delta"] = call["function"]["arguments"];
    done["arguments"] = call["function"]["arguments"];
    event("response.function_call_arguments.delta", std::move(delta), out);
    event("response.function_call_arguments.done", std::move(done), out);
    item_["arguments"] = call["function"]["arguments"];
    close_item(out);
  }
}

void ResponsesReply::send(Json chunk, std::string& out) {
  if (!begun_) {
    begun_ = true;
    event("response.created", {{"response", response("in_progress")}}, out);
    event("response.in_progress", {{"response", response("in_progress")}}, out);
  }
  if (chunk.contains("throughline") && chunk["throughline"].contains("finish_detail")) {
    throughline_ = chunk["throughline"];
  } else if (chunk.contains("throughline")) {
    event("throughline.progress", {{"throughline", chunk["throughline"]}}, out);
  }
  if (chunk["choices"].empty()) return;
  const Json& choice = chunk["choices"][0];
  const Json& delta = choice["delta"];
  if (delta.contains("reasoning")) add_text("reasoning", delta["reasoning"], out);
  if (delta.contains("content") && delta["content"].is_string()) add_text("message", delta["content"], out);
  if (delta.contains("tool_calls")) add_calls(delta["tool_calls"], out);
  if (choice["finish_reason"] == "length") cut_ = true;
}

void ResponsesReply::end_stream(std::string& out) {
  close_item(out);
  usage_ = responses_usage();
  const std::string status = cut_ ? "incomplete" : "completed";
  event("response." + status, {{"response", response(status)}}, out);
  end(200);
}

// The same walk as a stream's, with its events dropped.
HttpResponse ResponsesReply::whole() {
  HttpResponse chat = CompletionReply::whole();
  if (chat.status != 200) return chat;
  const Json body = parse_json(chat.body, "answer").value();
  const Json& message = body["choices"][0]["message"];
  std::string unused;
  begun_ = true;
  if (message["reasoning"].is_string()) add_text("reasoning", message["reasoning"], unused);
  if (message["content"].is_string()) add_text("message", message["content"], unused);
  if (message.contains("tool_calls")) add_calls(message["tool_calls"], unused);
  close_item(unused);
  usage_ = responses_usage();
  throughline_ = body["throughline"]["choices"][0];
  return json_response(200, response(body["choices"][0]["finish_reason"] == "length" ? "incomplete" : "completed"));
}

}  // namespace throughline::serve
