// One sample's ids on their way to a client: split into thinking and answer, decoded, stop strings held back.
//
// Works on ids: the tags themselves never appear, a template may have opened thinking, stray tags are dropped. Text is
// UTF-8 without split code points; what may be the beginning of a stop string waits. Log-probs and ids go out with the
// text they belong to. Torch-free. One sample, one thread; must not outlive its tokenizer.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "text/stop_strings.h"
#include "text/stream_decoder.h"
#include "text/thinking_tags.h"
#include "think/trace.h"

namespace throughline::serve {

struct WriterOptions {
  const Tokenizer* tokenizer = nullptr;  // null: pieces hold ids only
  std::optional<ThinkingTags> tags;      // none: everything is content
  bool opened_by_prompt = false;         // the prompt ends within thinking
  std::vector<std::string> stop;         // looked for in the content
  bool include_stop_string = false;
  bool skip_special = true;
  bool logprobs = false;
  std::span<const int32_t> follows;  // ids whose text this one goes on from; empty: a text of its own
};

struct Piece {
  bool thinking = false;
  std::string text;
  std::vector<TokenDraw> draws;    // with logprobs: those whose text is in, or was in an earlier piece of this part
  std::vector<std::string> texts;  // bytes of each of them
  std::vector<int32_t> ids;        // all ids since the last piece, tags and ending included
  bool empty() const { return text.empty() && ids.empty(); }
};

class SampleWriter {
 public:
  explicit SampleWriter(const WriterOptions& options);

  // `ending`: the id that ended the sample (EOS, stop id); it has no text. Pieces are appended; neighbours of one part
  // are joined.
  void push(TokenDraw draw, bool ending, std::vector<Piece>& out);
  // The sample is over: what was held back.
  void finish(std::vector<Piece>& out);
  bool thinking() const { return thinking_; }
  // The stop string that was found; empty when none was.
  const std::string& stop_string() const { return found_; }

 private:
  struct Held {  // a token whose text is not out yet
    TokenDraw draw;
    std::string text;
    size_t end = 0;  // of the part's text, after it
  };
  void open_part(bool thinking);
  void close_part(std::vector<Piece>& out);
  void add_text(std::string decoded, std::vector<Piece>& out);
  void release(std::string text, std::vector<Piece>& out);
  Piece& piece(std::vector<Piece>& out);

  WriterOptions options_;
  std::optional<StreamDecoder> decoder_;
  std::optional<StopStrings> stops_;
  std::deque<Held> held_;
  size_t decoded_ = 0, released_ = 0;  // bytes of the present part
  bool thinking_ = false, thought_ = false, first_ = true, stopped_ = false;
  std::string found_;
};

}  // namespace throughline::serve
