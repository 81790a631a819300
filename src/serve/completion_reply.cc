#include "serve/completion_reply.h"

#include <algorithm>

#include "serve/tool_calls.h"

namespace throughline::serve {

struct CompletionReply::Sample {
  Sample(int64_t index, const WriterOptions& options) : index(index), writer(options) {}
  int64_t index = 0;
  SampleWriter writer;
  std::vector<Piece> pieces;  // not sent yet; without a stream: all of them
  KeptSets kept;
  Json events = Json::array();  // without a stream: all of them
  int64_t first_chunk_tokens = 0;
  int64_t offset = 0;  // characters of the text so far, for the legacy log-probs
  int64_t reasoning = 0, tokens = 0;
  std::unique_ptr<SampleResult> result;
  std::optional<ToolCallParser> tools;
  int64_t calls = 0;
};

namespace {

Json calls_json(const std::string& id, int64_t sample, int64_t first, std::vector<ToolCall> calls, bool numbered) {
  Json out = Json::array();
  for (auto& call : calls) {
    Json one = Json::object();
    if (numbered) one["index"] = first;
    one["id"] = "call_" + id.substr(id.find('-') + 1) + "_" + std::to_string(sample) + "_" + std::to_string(first++);
    one["type"] = "function";
    one["function"] = {{"name", std::move(call.name)}, {"arguments", std::move(call.arguments)}};
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

CompletionReply::CompletionReply(CompletionJob job) : job_(std::move(job)) {
  const ApiRequest& api = job_.api;
  for (size_t p = 0; p < job_.prompts.size(); ++p) {
    const ModelPrompt& prompt = job_.prompts[p];
    usage_.prompt += static_cast<int64_t>(prompt.ids.size());
    WriterOptions options{.tokenizer = job_.context.tokenizer,
                          .stop = api.fields.stop.value_or(std::vector<std::string>()),
                          .include_stop_string = api.include_stop_string,
                          .skip_special = api.skip_special_tokens,
                          .logprobs = api.fields.logprobs.has_value()};
    if (chat() && api.split_reasoning && job_.tags) {
      options.tags = job_.tags;
      options.opened_by_prompt = prompt.opens_thinking.value_or(job_.tags->opened_by(prompt.ids));
    }
    if (!chat()) options.follows = prompt.ids;
    for (int64_t i = 0; i < job_.samples_each; ++i)
      samples_.push_back(std::make_unique<Sample>(static_cast<int64_t>(samples_.size()), options));
  }
  for (const auto& sample : samples_) {
    if (!api.tools.is_null()) sample->tools.emplace();
  }
}

CompletionReply::~CompletionReply() {
  end(499);
  job_.active->remove(job_.id);
}

void CompletionReply::abandon() {
  for (const auto ticket : job_.tickets) job_.driver->cancel(ticket, FinishDetail::kDisconnect);
  if (ending_.empty()) ending_ = "disconnect";
  end(499);
}

void CompletionReply::end(int status) {
  if (ended_) return;
  ended_ = true;
  if (job_.on_end) job_.on_end(status, usage_, ending_);
}

Json CompletionReply::frame(bool chunk) const {
  const char* object = !chat() ? "text_completion" : chunk ? "chat.completion.chunk" : "chat.completion";
  return {{"id", job_.id},
          {"object", object},
          {"created", job_.created},
          {"model", job_.model},
          {"system_fingerprint", "throughline"}};
}

Json CompletionReply::choice_chunk(const Sample& sample, Json delta) const {
  Json choice = {{"index", sample.index}};
  choice[chat() ? "delta" : "text"] = std::move(delta);
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = nullptr;
  return choice;
}

void CompletionReply::send(Json chunk, std::string& out) { write_event(out, dump_json(chunk)); }

bool CompletionReply::pull(std::string& out) {
  if (!begun_) begin_stream(out);
  begun_ = true;
  auto letters = job_.stream->take();
  // One sample after the other, so that what came together goes out together.
  std::stable_sort(letters.begin(), letters.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  for (size_t i = 0; i < letters.size(); ++i) {
    take(letters[i], &out);
    // Who follows chunks is told token by token: marks lie between tokens.
    if (job_.api.extras.chunks || i + 1 == letters.size() || letters[i + 1].index != letters[i].index)
      flush(*samples_[static_cast<size_t>(letters[i].index)], &out);
  }
  if (finished_ < samples_.size()) return false;
  end_stream(out);
  return true;
}

void CompletionReply::begin_stream(std::string& out) {
  for (const auto& sample : samples_) {
    const size_t prompt = static_cast<size_t>(sample->index / job_.samples_each);
    const bool echo = job_.api.echo && !job_.api.prompt_logprobs;
    if (!chat() && !echo && !job_.api.return_token_ids) continue;
    Json chunk = frame(true);
    Json choice = choice_chunk(*sample, chat() ? Json({{"role", "assistant"}, {"content", nullptr}})
                                               : Json(echo ? job_.prompt_texts[prompt] : std::string()));
    if (job_.api.return_token_ids) {
      if (chat()) {
        chunk["prompt_token_ids"] = job_.prompts[prompt].ids;
      } else {
        choice["prompt_token_ids"] = job_.prompts[prompt].ids;
      }
    }
    if (echo) sample->offset = characters(job_.prompt_texts[prompt]);
    chunk["choices"] = Json::array({std::move(choice)});
    send(std::move(chunk), out);
  }
}

void CompletionReply::take(Letter& letter, std::string* out) {
  Sample& sample = *samples_[static_cast<size_t>(letter.index)];
  if (auto* token = std::get_if<TokenNews>(&letter.news)) {
    ++sample.tokens;
    if (!job_.api.no_new_tokens) sample.writer.push(std::move(token->draw), token->ending, sample.pieces);
  } else if (const auto* chunk = std::get_if<std::unique_ptr<ChunkNews>>(&letter.news)) {
    const int64_t number = (*chunk)->chunk;
    if (number == 1) sample.first_chunk_tokens = (*chunk)->at_token;
    const auto query =
        static_cast<int64_t>(job_.prompts[static_cast<size_t>(sample.index / job_.samples_each)].ids.size());
    const int64_t head = number == 0 ? 0 : head_tokens(job_.context, sample.first_chunk_tokens);
    tell_event(sample, chunk_event(**chunk, query, head, job_.context), out);
  } else if (const auto* kv = std::get_if<std::unique_ptr<KvNews>>(&letter.news)) {
    tell_event(sample, sample.kept.event(**kv, job_.context), out);
  } else if (auto* result = std::get_if<std::unique_ptr<SampleResult>>(&letter.news)) {
    finish(sample, std::move(*result), out);
  }
}

// Text first, then what happened after it.
void CompletionReply::tell_event(Sample& sample, Json event, std::string* out) {
  if (out == nullptr) {
    sample.events.push_back(std::move(event));
    return;
  }
  flush(sample, out);
  Json chunk = frame(true);
  chunk["choices"] = Json::array({choice_chunk(sample, chat() ? Json::object() : Json(""))});
  chunk["throughline"] = {{"index", sample.index}};
  if (job_.api.extras.progress) chunk["throughline"]["progress"] = progress_of(sample);
  chunk["throughline"]["events"] = Json::array({std::move(event)});
  send(std::move(chunk), *out);
}

// As it was when the newest token told was sampled.
Json CompletionReply::progress_of(const Sample& sample) const {
  SampleView view = job_.stream->views()[static_cast<size_t>(sample.index)];
  view.tokens = sample.tokens;
  return progress_json(view);
}

void CompletionReply::flush(Sample& sample, std::string* out) {
  if (out == nullptr) return;
  for (auto& piece : std::exchange(sample.pieces, {})) send_piece(sample, piece, *out);
}

void CompletionReply::send_piece(Sample& sample, Piece& piece, std::string& out) {
  const ApiRequest& api = job_.api;
  const bool hidden = piece.thinking && !api.include_reasoning;
  std::vector<ToolCall> calls;
  if (sample.tools && !piece.thinking) {
    auto found = sample.tools->push(piece.text);
    piece.text = std::move(found.text);
    calls = std::move(found.calls);
  }
  if (calls.empty() && piece.text.empty() && piece.draws.empty() && !api.return_token_ids && !api.extras.progress)
    return;
  if (hidden && !api.extras.progress && !api.return_token_ids) return;
  Json delta = chat() ? Json::object() : Json(piece.text);
  if (chat() && !hidden && !piece.text.empty()) {
    if (piece.thinking) {
      delta["reasoning_content"] = piece.text;
      delta["reasoning"] = piece.text;
    } else {
      delta["content"] = piece.text;
    }
  }
  add_calls(sample, std::move(calls), delta);
  Json chunk = frame(true);
  Json choice = choice_chunk(sample, std::move(delta));
  if (api.fields.logprobs && !hidden) {
    if (!chat()) {
      choice["logprobs"] = completion_logprobs(piece.draws, piece.texts, &sample.offset, job_.context);
    } else {
      choice["logprobs"] = {{"content", Json::array()}, {"refusal", nullptr}};
      choice["logprobs"][piece.thinking ? "reasoning_content" : "content"] = chat_logprobs(piece, job_.context);
    }
  }
  if (api.return_token_ids) choice["token_ids"] = piece.ids;
  chunk["choices"] = Json::array({std::move(choice)});
  const SampleView view = api.extras.progress || api.continuous_usage
                              ? job_.stream->views()[static_cast<size_t>(sample.index)]
                              : SampleView();
  if (api.extras.progress) chunk["throughline"] = {{"index", sample.index}, {"progress", progress_of(sample)}};
  if (api.continuous_usage) {
    Usage now = usage_;
    now.completion += view.tokens;
    now.reasoning += view.reasoning_tokens;
    chunk["usage"] = usage_json(now);
  }
  send(std::move(chunk), out);
}

void CompletionReply::add_calls(Sample& sample, std::vector<ToolCall> calls, Json& delta) const {
  if (calls.empty()) return;
  const auto count = static_cast<int64_t>(calls.size());
  delta["tool_calls"] = calls_json(job_.id, sample.index, sample.calls, std::move(calls), true);
  sample.calls += count;
}

std::string CompletionReply::reason_of(const Sample& sample) const {
  const FinishDetail detail = sample.result->trace.finish;
  const bool called =
      sample.calls > 0 && throughline::reason_of(detail) == FinishReason::kStop && detail != FinishDetail::kStopString;
  return called ? "tool_calls" : finish_reason(detail);
}

void CompletionReply::finish(Sample& sample, std::unique_ptr<SampleResult> result, std::string* out) {
  if (!job_.api.no_new_tokens) sample.writer.finish(sample.pieces);
  flush(sample, out);
  if (job_.api.no_new_tokens) {
    usage_.cached = std::max(usage_.cached, result->prefix_hit_tokens);
  } else {
    usage_.add(*result);
  }
  ++finished_;
  ending_ += (ending_.empty() ? "" : ",") + std::string(to_string(result->trace.finish));
  sample.result = std::move(result);
  if (out == nullptr) return;
  if (sample.tools) {
    auto found = sample.tools->finish();
    Json delta = Json::object();
    if (!found.text.empty()) delta["content"] = std::move(found.text);
    add_calls(sample, std::move(found.calls), delta);
    if (!delta.empty()) {
      Json chunk = frame(true);
      chunk["choices"] = Json::array({choice_chunk(sample, std::move(delta))});
      send(std::move(chunk), *out);
    }
  }
  Json chunk = frame(true);
  Json choice = choice_chunk(sample, chat() ? Json::object() : Json(""));
  choice["finish_reason"] = reason_of(sample);
  choice["stop_reason"] = stop_reason(*sample.result);
  chunk["choices"] = Json::array({std::move(choice)});
  chunk["throughline"] = final_json(sample.index, *sample.result, job_.context);
  chunk["timings"] = timings_json(*sample.result);
  send(std::move(chunk), *out);
}

void CompletionReply::end_stream(std::string& out) {
  if (job_.api.include_usage || job_.api.continuous_usage) {
    Json chunk = frame(true);
    chunk["choices"] = Json::array();
    chunk["usage"] = usage_json(usage_);
    send(std::move(chunk), out);
  }
  write_event(out, "[DONE]");
  end(200);
}

Json CompletionReply::responses_usage() const {
  return {{"input_tokens", usage_.prompt},
          {"input_tokens_details", {{"cached_tokens", usage_.cached}}},
          {"output_tokens", usage_.completion},
          {"output_tokens_details", {{"reasoning_tokens", usage_.reasoning}}},
          {"total_tokens", usage_.prompt + usage_.completion}};
}

std::optional<HttpResponse> CompletionReply::poll() {
  for (auto& letter : job_.stream->take()) take(letter, nullptr);
  if (finished_ < samples_.size()) return std::nullopt;
  HttpResponse response = whole();
  end(response.status);
  return response;
}

HttpResponse CompletionReply::whole() {
  for (const auto& sample : samples_) {
    // Nothing of it can be used: an error is the honest answer.
    const SampleResult& result = *sample->result;
    if (result.trace.finish == FinishDetail::kInternal && result.trace.tokens() == 0)
      return error_response(500, result.error);
    if (result.trace.finish == FinishDetail::kKvMemory && result.trace.tokens() == 0)
      return error_response(503, result.error, "", "kv_memory");
  }
  Json body = frame(false);
  Json choices = Json::array(), finals = Json::array();
  for (const auto& sample : samples_) {
    choices.push_back(whole_choice(*sample));
    Json final = final_json(sample->index, *sample->result, job_.context);
    if (!sample->events.empty()) final["events"] = std::move(sample->events);
    finals.push_back(std::move(final));
  }
  body["choices"] = std::move(choices);
  body["usage"] = usage_json(usage_);
  if (chat() && job_.api.return_token_ids) body["prompt_token_ids"] = job_.prompts.front().ids;
  if (chat() && job_.api.prompt_logprobs)
    body["prompt_logprobs"] = prompt_logprobs_json(samples_.front()->result->prompt_draws, job_.context);
  body["timings"] = timings_json(*samples_.front()->result);
  body["throughline"] = {{"choices", std::move(finals)}};
  return json_response(200, body);
}

Json CompletionReply::whole_choice(Sample& sample) {
  Json choice = Json::object();
  if (chat()) {
    Json logprobs = nullptr;
    choice = {{"index", sample.index}, {"message", chat_message(sample, &logprobs)}, {"logprobs", std::move(logprobs)}};
  } else {
    choice = completion_choice(sample);
  }
  choice["finish_reason"] = reason_of(sample);
  choice["stop_reason"] = stop_reason(*sample.result);
  if (job_.api.return_token_ids) {
    const std::vector<int32_t> ids = sample.result->trace.token_ids();
    choice["token_ids"] = job_.api.no_new_tokens ? std::vector<int32_t>() : ids;
  }
  return choice;
}

Json CompletionReply::chat_message(Sample& sample, Json* logprobs) const {
  std::vector<ToolCall> calls;
  std::string thinking, content;
  bool thought = false;
  Json content_logprobs = Json::array(), thinking_logprobs = Json::array();
  for (const auto& piece : sample.pieces) {
    (piece.thinking ? thinking : content) += piece.text;
    thought = thought || piece.thinking;
    if (!job_.api.fields.logprobs) continue;
    Json entries = chat_logprobs(piece, job_.context);
    Json& list = piece.thinking ? thinking_logprobs : content_logprobs;
    list.insert(list.end(), entries.begin(), entries.end());
  }
  const bool shown = thought && job_.api.include_reasoning;
  if (job_.api.fields.logprobs) {
    *logprobs = {{"content", std::move(content_logprobs)}, {"refusal", nullptr}};
    if (shown) (*logprobs)["reasoning_content"] = std::move(thinking_logprobs);
  }
  if (sample.tools) {
    auto found = sample.tools->push(content), rest = sample.tools->finish();
    content = found.text + rest.text;
    calls = std::move(found.calls);
    std::move(rest.calls.begin(), rest.calls.end(), std::back_inserter(calls));
    sample.calls = static_cast<int64_t>(calls.size());
  }
  Json message = {{"role", "assistant"},
                  {"content", calls.empty() || !content.empty() ? Json(content) : Json(nullptr)},
                  {"refusal", nullptr},
                  {"reasoning_content", shown ? Json(thinking) : Json(nullptr)},
                  {"reasoning", shown ? Json(thinking) : Json(nullptr)}};
  if (!calls.empty()) message["tool_calls"] = calls_json(job_.id, sample.index, 0, std::move(calls), false);
  return message;
}

Json CompletionReply::completion_choice(Sample& sample) const {
  const ApiRequest& api = job_.api;
  const size_t prompt = static_cast<size_t>(sample.index / job_.samples_each);
  const std::vector<TokenDraw>& prompt_draws = sample.result->prompt_draws;
  std::string text;
  std::vector<TokenDraw> draws;
  std::vector<std::string> texts;
  int64_t offset = 0;
  if (api.echo) {
    text = job_.prompt_texts[prompt];
    bool first = true;
    for (size_t i = 0; api.fields.logprobs && i < prompt_draws.size(); ++i) {
      const TokenDraw& draw = prompt_draws[i];
      const Tokenizer* tokenizer = job_.context.tokenizer;
      const bool shown = tokenizer != nullptr && !tokenizer->is_special(draw.id);
      std::string bytes = shown ? tokenizer->token_bytes(draw.id) : "";
      // The space that tokenizers put before a text is not in it.
      if (shown && first && !bytes.empty() && bytes[0] == ' ' && (text.empty() || text[0] != ' ')) bytes.erase(0, 1);
      first = first && !shown;
      draws.push_back(draw);
      texts.push_back(std::move(bytes));
    }
  }
  for (auto& piece : sample.pieces) {
    text += piece.text;
    draws.insert(draws.end(), piece.draws.begin(), piece.draws.end());
    texts.insert(texts.end(), piece.texts.begin(), piece.texts.end());
  }
  Json choice = {{"index", sample.index}, {"text", text}, {"logprobs", nullptr}};
  if (api.fields.logprobs) choice["logprobs"] = completion_logprobs(draws, texts, &offset, job_.context);
  if (api.return_token_ids) choice["prompt_token_ids"] = job_.prompts[prompt].ids;
  if (api.prompt_logprobs) choice["prompt_logprobs"] = prompt_logprobs_json(prompt_draws, job_.context);
  return choice;
}

}  // namespace throughline::serve
