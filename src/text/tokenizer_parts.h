// What a Tokenizer is made of. Only for tokenizer.cc and tokenizer_load.cc.
#pragma once

#include <cstdint>
#include <optional>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"

namespace throughline {

struct TokenizerParts {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  AddedTokens added;
  PieceDecoder decoder;
  PostProcessor post_processor;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
  int32_t vocab_size = 0;
};

}  // namespace throughline
