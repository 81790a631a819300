// The decoder of tokenizer.json: from pieces back to text, one piece at a time.
//
// Sequence, ByteLevel, ByteFallback, Metaspace, Fuse, Strip, Replace; others are refused by name. Without a decoder the
// pieces are joined by spaces. Semantics: Hugging Face tokenizers 0.23. Its quirks are kept: a run of <0xNN> pieces
// that is not valid UTF-8 as a whole becomes one U+FFFD a piece, so such text is certain only when the run ends;
// ByteLevel replaces invalid bytes by one U+FFFD a maximal subpart. Whole and streamed decoding are one code path.
//
// PieceDecoder: immutable, thread-safe. Run: one stream, one thread; must not outlive its PieceDecoder.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

class DecodeStage;
class DecodeStageMaker;

class PieceDecoder {
 public:
  PieceDecoder();
  PieceDecoder(PieceDecoder&&) noexcept;
  PieceDecoder& operator=(PieceDecoder&&) noexcept;
  ~PieceDecoder();

  static Result<PieceDecoder> from_json(const Json& json, const std::string& where);
  static PieceDecoder byte_level();

  class Run {
   public:
    explicit Run(const PieceDecoder& decoder);
    Run(Run&&) noexcept;
    Run& operator=(Run&&) noexcept;
    ~Run();
    // Text that has become certain is appended to `out`; it never ends inside a code point.
    void put(std::string_view piece, std::string& out);
    void finish(std::string& out);

   private:
    friend class DecodeStage;
    std::vector<std::unique_ptr<DecodeStage>> stages_;
    bool join_by_spaces_ = false;
    bool first_ = true;
  };

 private:
  std::vector<std::unique_ptr<const DecodeStageMaker>> makers_;
  bool join_by_spaces_ = true;
};

}  // namespace throughline
