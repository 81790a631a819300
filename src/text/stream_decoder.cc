#include "text/stream_decoder.h"

namespace throughline {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special), run_(tokenizer.start_decoding()) {}

std::string StreamDecoder::push(int32_t id) {
  std::string out;
  if (const std::string* piece = tokenizer_.piece_to_decode(id, skip_special_)) run_.put(*piece, out);
  return out;
}

std::string StreamDecoder::flush() {
  std::string out;
  run_.finish(out);
  run_ = tokenizer_.start_decoding();
  return out;
}

}  // namespace throughline
