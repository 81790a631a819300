#include "serve/sample_writer.h"

namespace throughline::serve {

SampleWriter::SampleWriter(const WriterOptions& options) : options_(options) {
  thinking_ = options_.tags && options_.opened_by_prompt;
  open_part(thinking_);
  if (decoder_) {
    for (const int32_t id : options_.follows) decoder_->push(id);
    first_ = options_.follows.empty();
  }
}

void SampleWriter::open_part(bool thinking) {
  thinking_ = thinking;
  decoded_ = released_ = 0;
  first_ = true;
  stops_.reset();
  if (options_.tokenizer == nullptr) return;
  decoder_.emplace(*options_.tokenizer, options_.skip_special);
  if (!thinking && !options_.stop.empty()) stops_.emplace(options_.stop);
}

Piece& SampleWriter::piece(std::vector<Piece>& out) {
  if (out.empty() || out.back().thinking != thinking_) out.push_back({.thinking = thinking_});
  return out.back();
}

void SampleWriter::push(TokenDraw draw, bool ending, std::vector<Piece>& out) {
  piece(out).ids.push_back(draw.id);
  const bool is_open = options_.tags && draw.id == options_.tags->open_id;
  const bool is_close = options_.tags && draw.id == options_.tags->close_id;
  if (is_close || is_open) {
    if (is_close ? thinking_ : !thinking_ && !thought_) {
      close_part(out);
      thought_ = is_close;
      if (!stopped_) open_part(is_open);
    }
    return;
  }
  if (ending || stopped_ || !decoder_) return;
  std::string text = decoder_->push(draw.id);
  if (options_.logprobs) {
    std::string bytes = options_.tokenizer->token_bytes(draw.id);
    // A text's first token may lose a space.
    if (first_ && !bytes.empty() && bytes[0] == ' ' && (text.empty() || text[0] != ' ')) bytes.erase(0, 1);
    if (!options_.skip_special || !options_.tokenizer->is_special(draw.id))
      held_.push_back({std::move(draw), std::move(bytes), decoded_ + text.size()});
  }
  first_ = false;
  add_text(std::move(text), out);
}

void SampleWriter::add_text(std::string decoded, std::vector<Piece>& out) {
  decoded_ += decoded.size();
  if (!stops_) return release(std::move(decoded), out);
  auto match = stops_->push(decoded);
  if (match.stopped) {
    stopped_ = true;
    found_ = stops_->found();
    if (options_.include_stop_string) match.text += found_;
  }
  release(std::move(match.text), out);
  if (stopped_) held_.clear();
}

void SampleWriter::release(std::string text, std::vector<Piece>& out) {
  released_ += text.size();
  if (text.empty() && (held_.empty() || held_.front().end > released_)) return;
  Piece& target = piece(out);
  target.text += text;
  while (!held_.empty() && held_.front().end <= released_) {
    target.draws.push_back(std::move(held_.front().draw));
    target.texts.push_back(std::move(held_.front().text));
    held_.pop_front();
  }
}

void SampleWriter::close_part(std::vector<Piece>& out) {
  if (decoder_ && !stopped_) {
    add_text(decoder_->flush(), out);
    if (stops_ && !stopped_) release(stops_->flush(), out);
    // Whatever bytes the last tokens lacked has been replaced: they belong to this part all the same.
    if (!stopped_ && !held_.empty()) {
      for (auto& held : held_) held.end = 0;
      release("", out);
    }
  }
  held_.clear();
}

void SampleWriter::finish(std::vector<Piece>& out) { close_part(out); }

}  // namespace throughline::serve
