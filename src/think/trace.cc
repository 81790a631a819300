#include "think/trace.h"

namespace throughline {

FinishReason reason_of(FinishDetail detail) {
  switch (detail) {
    case FinishDetail::kNone:
      return FinishReason::kNone;
    case FinishDetail::kEos:
    case FinishDetail::kStopString:
    case FinishDetail::kStopToken:
    case FinishDetail::kGrammar:
      return FinishReason::kStop;
    case FinishDetail::kMaxTokens:
    case FinishDetail::kMaxThinking:
    case FinishDetail::kMaxChunks:
    case FinishDetail::kLoop:
    case FinishDetail::kContext:
      return FinishReason::kLength;
    case FinishDetail::kDeadline:
    case FinishDetail::kDisconnect:
    case FinishDetail::kCancelled:
      return FinishReason::kCancelled;
    case FinishDetail::kKvMemory:
    case FinishDetail::kInternal:
      return FinishReason::kError;
  }
  return FinishReason::kError;
}

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "error";
}

std::string_view to_string(FinishDetail detail) {
  switch (detail) {
    case FinishDetail::kNone:
      return "none";
    case FinishDetail::kEos:
      return "eos";
    case FinishDetail::kStopString:
      return "stop_string";
    case FinishDetail::kStopToken:
      return "stop_token";
    case FinishDetail::kGrammar:
      return "grammar";
    case FinishDetail::kMaxTokens:
      return "max_tokens";
    case FinishDetail::kMaxThinking:
      return "max_thinking";
    case FinishDetail::kMaxChunks:
      return "max_chunks";
    case FinishDetail::kLoop:
      return "loop";
    case FinishDetail::kContext:
      return "context";
    case FinishDetail::kDeadline:
      return "deadline";
    case FinishDetail::kDisconnect:
      return "disconnect";
    case FinishDetail::kCancelled:
      return "cancelled";
    case FinishDetail::kKvMemory:
      return "kv_memory";
    case FinishDetail::kInternal:
      return "internal";
  }
  return "internal";
}

bool ChunkTrace::is_forced(int64_t index) const {
  for (const auto& [from, to] : forced) {
    if (index >= from && index < to) return true;
  }
  return false;
}

int64_t Trace::tokens() const {
  int64_t count = 0;
  for (const auto& chunk : chunks) count += static_cast<int64_t>(chunk.token_ids.size());
  return count;
}

std::vector<int32_t> Trace::token_ids() const {
  std::vector<int32_t> ids;
  for (const auto& chunk : chunks) ids.insert(ids.end(), chunk.token_ids.begin(), chunk.token_ids.end());
  return ids;
}

}  // namespace throughline
