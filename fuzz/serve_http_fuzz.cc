// rooms: base serve/http_parser.cc serve/http_types.cc
// Any bytes as what a connection sends, cut where the first byte says: no crash, no hang, limits hold, and the cut does
// not change what is understood. Seeds: fuzz/corpus/serve_http.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http_parser.h"

namespace {

using throughline::serve::HttpParser;
constexpr throughline::serve::HttpLimits kLimits{.header_bytes = 2048, .body_bytes = 4096};

void must(bool good) {
  if (!good) std::abort();
}

std::vector<std::string> requests_of(std::string_view bytes, size_t step) {
  HttpParser parser(kLimits);
  std::vector<std::string> out;
  while (!bytes.empty()) {
    auto state = parser.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    (void)parser.wants_continue();
    while (state == HttpParser::State::kDone) {
      const auto request = parser.take();
      must(request.body.size() <= kLimits.body_bytes && request.path.find('\0') == std::string::npos);
      out.push_back(request.method + " " + request.path + "?" + request.query + "\n" + request.body);
      state = parser.resume();
    }
    if (state == HttpParser::State::kBad) {
      must(parser.fault().status >= 400);
      break;  // whatever came before it was understood
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  must(requests_of(bytes, 1 + data[0]) == requests_of(bytes, 1));
  return 0;
}
