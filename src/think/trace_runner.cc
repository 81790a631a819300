#include "think/trace_runner.h"

#include <algorithm>

#include "base/result.h"

namespace throughline {
namespace {

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

TraceRunner::TraceRunner(const Environment& environment, std::vector<int32_t> query_ids, TraceLimits limits,
                         std::optional<ThinkingIds> thinking, bool opened_by_prompt, std::vector<int32_t> replacement)
    : environment_(environment), limits_(std::move(limits)), tags_(thinking), replacement_(std::move(replacement)) {
  TL_CHECK(!query_ids.empty(), "a trace needs a query");
  if (environment.loop_repeats() > 0) loops_.emplace(environment.loop_repeats());
  thinking_now_ = tags_ && opened_by_prompt;
  if (thinking_now_) {
    trace_.thinking_from = 0;
    trace_.answer_from = -1;
  }
  trace_.query_ids = query_ids;
  open_chunk(std::move(query_ids));
  settle();
}

void TraceRunner::open_chunk(std::vector<int32_t> prompt) {
  const auto index = static_cast<int64_t>(trace_.chunks.size());
  const int64_t by_rule = std::min(environment_.chunk_limit(index), limits_.max_tokens - total_tokens_);
  // The chunk's last id is never fed, so a context of n positions takes one id more than it has places for.
  const int64_t by_context = std::max<int64_t>(0, limits_.max_context - static_cast<int64_t>(prompt.size()) + 1);
  chunk_cut_by_context_ = by_context < by_rule;
  chunk_end_ = total_tokens_ + std::min(by_rule, by_context);
  // A chunk that only takes forced ids is never run: it goes with the one before.
  const int64_t version = trace_.chunks.empty() ? 0 : trace_.chunks.back().weight_version;
  trace_.chunks.push_back({.prompt_ids = std::move(prompt), .weight_version = version});
}

void TraceRunner::set_weight_version(int64_t version) { trace_.chunks.back().weight_version = version; }

bool TraceRunner::is_last_chunk() const {
  return static_cast<int64_t>(trace_.chunks.size()) >= environment_.max_chunks() || chunk_end_ >= limits_.max_tokens ||
         chunk_cut_by_context_;
}

int64_t TraceRunner::chunk_room() const { return chunk_end_ - total_tokens_; }

int64_t TraceRunner::thinking_room() const {
  if (!thinking_now_ || thinking_done_) return kUnlimited;
  const bool one_chunk = environment_.max_chunks() == 1;
  const int64_t budget = one_chunk ? chunk_end_ : limits_.max_tokens;
  const int64_t reserve = environment_.reserve(budget);
  int64_t room = environment_.max_thinking() - thinking_tokens_;
  if (one_chunk) {
    room = std::min(room, budget - reserve - 1 - thinking_tokens_);
  } else if (is_last_chunk()) {
    room = std::min(room, chunk_room() - reserve - 1);
  }
  // Whatever was said before thinking began, one token is left for the answer (unless no reserve is wanted).
  if (is_last_chunk() && reserve > 0) room = std::min(room, chunk_room() - 2);
  return room;
}

void TraceRunner::track_thinking(int32_t id) {
  if (!tags_ || thinking_done_) return;
  if (thinking_now_ && id == tags_->close) {
    thinking_now_ = false;
    thinking_done_ = true;
    trace_.thinking_to = total_tokens_ - 1;
    trace_.answer_from = total_tokens_;
  } else if (!thinking_now_ && id == tags_->open) {
    thinking_now_ = true;
    trace_.thinking_from = total_tokens_;
    trace_.answer_from = -1;
  } else if (thinking_now_) {
    ++thinking_tokens_;
  }
}

void TraceRunner::append(TokenDraw draw, bool forced) {
  ChunkTrace& chunk = trace_.chunks.back();
  const auto index = static_cast<int64_t>(chunk.token_ids.size());
  if (forced) {
    if (!chunk.forced.empty() && chunk.forced.back().second == index) {
      ++chunk.forced.back().second;
    } else {
      chunk.forced.emplace_back(index, index + 1);
    }
  }
  chunk.token_ids.push_back(draw.id);
  ++total_tokens_;
  track_thinking(draw.id);
  chunk.draws.push_back(std::move(draw));
}

// EOS and stop ids end a trace only when sampled; the limits end it after any token.
bool TraceRunner::ends_at(int32_t id) {
  if (contains(limits_.stop_ids, id)) {
    finish(FinishDetail::kStopToken);
  } else if (!limits_.ignore_eos && contains(limits_.eos_ids, id)) {
    finish(FinishDetail::kEos);
  }
  return finished();
}

void TraceRunner::add_sampled(TokenDraw draw) {
  TL_CHECK(!finished(), "the trace has ended");
  const int32_t id = draw.id;
  if (thinking_now_ && tags_ && id == tags_->close && thinking_tokens_ < environment_.min_thinking() &&
      replacements_ < environment_.max_replacements()) {
    ++replacements_;
    to_force_.assign(replacement_.begin(), replacement_.end());
    settle();
    return;
  }
  append(std::move(draw), false);
  if (ends_at(id)) return;
  if (loops_ && loops_->push(id)) {
    if (!environment_.loop_closes() || !thinking_now_) {
      finish(FinishDetail::kLoop);
      return;
    }
    to_force_.assign(1, tags_->close);
    loops_->reset();
  }
  settle();
}

void TraceRunner::flush_forced() {
  while (!to_force_.empty() && chunk_room() > 0) {
    append(TokenDraw{.id = to_force_.front()}, true);
    to_force_.pop_front();
  }
}

void TraceRunner::settle() {
  while (!finished()) {
    flush_forced();
    if (thinking_room() <= 0 && chunk_room() > 0) {
      to_force_.assign(1, tags_->close);
      closed_by_force_ = true;
      continue;
    }
    if (chunk_room() > 0) return;
    // A close that was forced into the very last place leaves no answer: the thinking budget is what ended it.
    const bool no_answer = closed_by_force_ && trace_.answer_from == total_tokens_;
    if (total_tokens_ >= limits_.max_tokens) {
      finish(no_answer ? FinishDetail::kMaxThinking : FinishDetail::kMaxTokens);
    } else if (chunk_cut_by_context_) {
      finish(FinishDetail::kContext);
    } else if (static_cast<int64_t>(trace_.chunks.size()) >= environment_.max_chunks()) {
      finish(FinishDetail::kMaxChunks);
    } else {
      open_chunk(environment_.next_prompt(trace_));
    }
  }
}

void TraceRunner::finish(FinishDetail detail) {
  // A stop string, or a grammar's end, is found a moment after its last id was added; it goes before a limit reached by
  // that same id.
  const bool stop_at_limit =
      reason_of(detail) == FinishReason::kStop && reason_of(trace_.finish) == FinishReason::kLength;
  if (finished() && !stop_at_limit) return;
  // That id may have been its chunk's last: the next one was opened for nothing.
  if (reason_of(detail) == FinishReason::kStop && trace_.chunks.size() > 1 && trace_.chunks.back().token_ids.empty())
    trace_.chunks.pop_back();
  trace_.finish = detail;
  if (thinking_now_) trace_.thinking_to = total_tokens_;
}

}  // namespace throughline
