// One completion or chat answer: from the engine's news to OpenAI's chunks, or to the one object.
//
// Belongs to its connection; the engine's side is AnswerStream. Whatever happens after the first byte, a stream ends
// with finish_reason and [DONE].
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "serve/active_requests.h"
#include "serve/answer_json.h"
#include "serve/api_request.h"
#include "serve/http_types.h"

namespace throughline::serve {

struct ToolCall;

// What an answer is made of besides the news.
struct CompletionJob {
  std::string id, model;
  int64_t created = 0;
  ApiRequest api;
  std::vector<ModelPrompt> prompts;       // each gives api.fields.n samples
  std::vector<std::string> prompt_texts;  // for echo
  int64_t samples_each = 1;
  std::optional<ThinkingTags> tags;
  AnswerContext context;
  std::shared_ptr<AnswerStream> stream;
  ActiveRequests* active = nullptr;
  std::vector<EngineDriver::Ticket> tickets;
  EngineDriver* driver = nullptr;
  std::function<void(int status, const Usage& usage, const std::string& ending)> on_end;  // once, for the log
};

class CompletionReply : public Reply {
 public:
  explicit CompletionReply(CompletionJob job);
  ~CompletionReply() override;

  void set_wake(std::function<void()> wake) override { job_.stream->set_wake(std::move(wake)); }
  bool streamed() const override { return job_.api.stream; }
  bool pull(std::string& out) override;
  std::optional<HttpResponse> poll() override;
  void abandon() override;

 protected:
  const CompletionJob& job() const { return job_; }
  // One chunk of a stream, as a chat's or completion's.
  virtual void send(Json chunk, std::string& out);
  virtual void end_stream(std::string& out);
  virtual HttpResponse whole();
  void end(int status);
  Json responses_usage() const;  // in the words of /v1/responses

 private:
  struct Sample;
  using Letter = AnswerStream::Letter;
  bool chat() const { return job_.api.kind == ApiKind::kChat; }
  Json frame(bool chunk) const;
  Json choice_chunk(const Sample& sample, Json delta) const;
  void begin_stream(std::string& out);
  void take(Letter& letter, std::string* out);
  void flush(Sample& sample, std::string* out);
  Json progress_of(const Sample& sample) const;
  void send_piece(Sample& sample, Piece& piece, std::string& out);
  void add_calls(Sample& sample, std::vector<ToolCall> calls, Json& delta) const;
  std::string reason_of(const Sample& sample) const;
  void tell_event(Sample& sample, Json event, std::string* out);
  void finish(Sample& sample, std::unique_ptr<SampleResult> result, std::string* out);
  Json whole_choice(Sample& sample);
  Json chat_message(Sample& sample, Json* logprobs) const;
  Json completion_choice(Sample& sample) const;

  CompletionJob job_;
  std::vector<std::unique_ptr<Sample>> samples_;
  size_t finished_ = 0;
  Usage usage_;
  bool begun_ = false, ended_ = false;
  std::string ending_;  // the samples' details, for the log
};

}  // namespace throughline::serve
