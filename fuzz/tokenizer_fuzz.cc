// rooms: text base
// tokenizer.json from a stranger, then a text: loading gives a Tokenizer or an error, encoding and decoding are total,
// and a stream decodes to what the whole does. The input is the file's text; after a first NUL byte comes the text to
// encode.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/stream_decoder.h"
#include "text/tokenizer.h"

using throughline::StreamDecoder;
using throughline::Tokenizer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t nul = input.find('\0');
  const std::string_view text = nul == std::string_view::npos ? input.substr(0, 200) : input.substr(nul + 1);
  const std::string_view file = input.substr(0, nul);
  // The same bytes serve as tokenizer_config.json: an object may be both.
  const auto loaded = Tokenizer::from_json(file, size % 3 == 0 ? file : std::string_view(), "fuzz");
  if (!loaded.ok()) {
    if (loaded.error().line().find('\n') != std::string::npos) std::abort();
    return 0;
  }
  const Tokenizer& tokenizer = **loaded;
  for (const bool flag : {true, false}) {
    auto ids = tokenizer.encode(text, {.add_special_tokens = flag, .parse_special = flag});
    for (const int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    }
    for (const char c : text) ids.push_back(static_cast<signed char>(c));  // any ids may come
    StreamDecoder stream(tokenizer, flag);
    std::string joined;
    for (const int32_t id : ids) joined += stream.push(id);
    joined += stream.flush();
    if (joined != tokenizer.decode(ids, flag)) std::abort();
  }
  return 0;
}
