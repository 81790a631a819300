// rooms: base text grammar think serve/api_request.cc serve/http_types.cc engine/request_fields.cc
// Parses any bytes as the body of both completion routes: no crash, no hang; an error is one line that names the body
// or a field, and what is accepted holds a prompt. Errors and texts go through the SSE writer: each must stay one
// event. Seeds: fuzz/corpus/serve_json.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "serve/api_request.h"
#include "serve/http_types.h"
#include "think/environment.h"

namespace {

const throughline::SpecInfo kPolicies[] = {
    {"full", "keeps everything", {}},
    {"rpc", "as rpc", {{.name = "interval", .default_text = "1024", .minimum = 1}, {.name = "budget"}}}};

void must(bool good) {
  if (!good) std::abort();
}

void must_be_one_event(std::string_view text) {
  std::string out;
  throughline::serve::write_event(out, text);
  must(out.size() >= 8 && out.compare(0, 6, "data: ") == 0 && out.compare(out.size() - 2, 2, "\n\n") == 0);
  must(out.find_first_of("\r\n") == out.size() - 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace throughline;
  using namespace throughline::serve;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  must_be_one_event(text);
  for (const ApiKind kind : {ApiKind::kChat, ApiKind::kCompletion}) {
    const auto api = parse_api_request(kind, text, {kPolicies, environment_infos()});
    if (!api.ok()) {
      const std::string message = message_of(api.error());
      must(!message.empty() && message.find('\n') == std::string::npos);
      must_be_one_event(error_response(400, message, field_of(api.error())).body);
      continue;
    }
    must(kind == ApiKind::kChat ? api->messages.is_array() && !api->messages.empty() : !api->prompts.empty());
    must(!api->fields.max_tokens || *api->fields.max_tokens >= 1);
  }
  return 0;
}
