// Turns ids into text one at a time: each push() returns the text that has become certain.
//
// Never splits a code point; all pieces and flush() joined equal Tokenizer::decode() of all ids. Mostly nothing is held
// back; an unfinished code point, and a run of <0xNN> pieces (see decoder.h), wait for what follows. One stream, one
// thread; must not outlive its Tokenizer.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace throughline {

class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  std::string push(int32_t id);
  // The rest; the stream starts anew afterwards.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  PieceDecoder::Run run_;
};

}  // namespace throughline
