// The body of /v1/responses as the body of a chat: what that API writes otherwise is put into chat's words, and the one
// parser (api_request.h) judges it. Torch-free.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace throughline::serve {

struct ResponsesBody {
  Json chat = Json::object();
  Json echo = Json::object();  // what the answer repeats: instructions, tools, metadata, ...
};

Result<ResponsesBody> chat_of_responses(std::string_view body);

}  // namespace throughline::serve
