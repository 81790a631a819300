// A /v1/responses answer: the chat answer's pieces as items (reasoning, message, function calls) and their events.
#pragma once

#include "serve/completion_reply.h"

namespace throughline::serve {

class ResponsesReply : public CompletionReply {
 public:
  // `echo`: the fields of the request that the answer repeats.
  ResponsesReply(CompletionJob job, Json echo);

 protected:
  void send(Json chunk, std::string& out) override;
  void end_stream(std::string& out) override;
  HttpResponse whole() override;

 private:
  Json response(const std::string& status) const;
  void event(const std::string& type, Json fields, std::string& out);
  void open_item(const std::string& type, Json item, std::string& out);
  void close_item(std::string& out);
  void add_text(const std::string& type, const std::string& text, std::string& out);
  void add_calls(const Json& calls, std::string& out);

  Json echo_;
  Json output_ = Json::array();  // finished items
  Json item_ = nullptr;          // under way
  std::string text_;             // of it
  Json usage_ = nullptr, throughline_ = nullptr;
  bool begun_ = false, cut_ = false;
  int64_t sequence_ = 0;
};

}  // namespace throughline::serve
