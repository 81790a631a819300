#include "train/trace_line.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/json.h"
#include "text/json_fields.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace throughline {
namespace {

constexpr int64_t kMost = int64_t{1} << 53;  // what any JSON reader keeps exact

Json number_json(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json chunk_json(const TraceLineChunk& chunk) {
  Json forced = Json::array();
  for (const auto& [from, to] : chunk.forced) forced.push_back(Json::array({from, to}));
  return {{"prompt_ids", chunk.prompt_ids},   {"token_ids", chunk.token_ids},
          {"forced", std::move(forced)},      {"text", chunk.text},
          {"token_ends", chunk.token_ends},   {"carried_tokens", chunk.carried_tokens},
          {"head_tokens", chunk.head_tokens}, {"weight_version", chunk.weight_version}};
}

// A list of integers in [0, most].
template <typename Integer>
std::vector<Integer> integers(JsonFields& fields, const char* name, int64_t most) {
  std::vector<Integer> out;
  const Json* list = fields.list(name);
  if (list == nullptr) return out;
  out.reserve(list->size());
  for (const Json& value : *list) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(most)) {
      fields.fail(name, "must hold integers from 0 to " + std::to_string(most));
      return {};
    }
    out.push_back(static_cast<Integer>(value.get<uint64_t>()));
  }
  return out;
}

std::vector<std::pair<int64_t, int64_t>> ranges(JsonFields& fields, const char* name, int64_t tokens) {
  std::vector<std::pair<int64_t, int64_t>> out;
  const Json* list = fields.list(name);
  if (list == nullptr) return out;
  int64_t end = 0;
  for (const Json& value : *list) {
    const bool pair = value.is_array() && value.size() == 2 && value[0].is_number_unsigned() &&
                      value[1].is_number_unsigned() && value[1].get<uint64_t>() <= static_cast<uint64_t>(tokens) &&
                      value[0].get<uint64_t>() <= value[1].get<uint64_t>();
    if (!pair || value[0].get<int64_t>() < end) {
      fields.fail(name,
                  "must hold ascending pairs [from, to) within the chunk's " + std::to_string(tokens) + " tokens");
      return {};
    }
    end = value[1].get<int64_t>();
    out.emplace_back(value[0].get<int64_t>(), end);
  }
  return out;
}

// Ascending, one a token, at the starts of code points.
void check_token_ends(JsonFields& fields, const TraceLineChunk& chunk) {
  if (chunk.token_ends.empty()) return;
  if (chunk.token_ends.size() != chunk.token_ids.size()) {
    return fields.fail("token_ends", "has " + std::to_string(chunk.token_ends.size()) + " entries for " +
                                         std::to_string(chunk.token_ids.size()) + " tokens");
  }
  const auto size = static_cast<int64_t>(chunk.text.size());
  int64_t before = 0;
  for (const int64_t end : chunk.token_ends) {
    if (end < before || end > size || (end < size && (static_cast<unsigned char>(chunk.text[end]) & 0xC0) == 0x80)) {
      return fields.fail("token_ends", "must ascend, and end tokens at whole characters of \"text\"");
    }
    before = end;
  }
}

Result<TraceLineChunk> read_chunk(const Json& json, const std::string& where, int64_t version) {
  JsonFields fields(json, where);
  TraceLineChunk chunk;
  chunk.prompt_ids = integers<int32_t>(fields, "prompt_ids", std::numeric_limits<int32_t>::max());
  chunk.token_ids = integers<int32_t>(fields, "token_ids", std::numeric_limits<int32_t>::max());
  chunk.forced = ranges(fields, "forced", static_cast<int64_t>(chunk.token_ids.size()));
  chunk.text = fields.text("text", "");
  chunk.token_ends = integers<int64_t>(fields, "token_ends", kMost);
  check_token_ends(fields, chunk);
  chunk.carried_tokens = fields.integer("carried_tokens", 0, 0, static_cast<int64_t>(chunk.prompt_ids.size()));
  chunk.head_tokens = fields.integer("head_tokens", 0, 0, chunk.carried_tokens);
  chunk.weight_version = fields.integer("weight_version", version, -kMost, kMost);
  TL_TRY_STATUS(fields.status());
  return chunk;
}

Result<TraceSummary> read_summary(const Json& json, const std::string& where) {
  JsonFields fields(json, where + ": trace");
  for (const char* name : {"step", "reward"}) {
    if (json.is_object() && !json.contains(name)) fields.fail(name, "is missing");  // null is there: not finite
  }
  TraceSummary out;
  out.step = fields.integer("step", 0, 0, kMost);
  out.index = fields.integer("index", 0, 0, kMost);
  out.group = fields.integer("group", 0, 0, kMost);
  out.task = fields.text("task", "");
  out.prompt = fields.text("prompt", "");
  out.gold = fields.text("gold", "");
  out.reward = fields.number("reward", std::numeric_limits<double>::quiet_NaN());
  out.advantage = fields.number("advantage", std::numeric_limits<double>::quiet_NaN());
  out.verdict = fields.text("verdict", "");
  out.finish_reason = fields.text("finish_reason", "");
  out.finish_detail = fields.text("finish_detail", "");
  out.tokens = fields.integer("tokens", 0, 0, kMost);
  out.weight_version = fields.integer("weight_version", 0, -kMost, kMost);
  TL_TRY_STATUS(fields.status());
  return out;
}

Status check_size(std::string_view text, const std::string& where) {
  if (text.size() <= kTraceLineLimit) return {};
  return Error{"the line is longer than " + std::to_string(kTraceLineLimit >> 20) + " MiB", where, ""};
}

}  // namespace

std::string write_trace_line(const TraceLine& line) {
  Json json = {{"step", line.step},
               {"index", line.index},
               {"group", line.group},
               {"task", line.task},
               {"prompt", line.prompt},
               {"gold", line.gold},
               {"reward", number_json(line.reward)},
               {"advantage", number_json(line.advantage)},
               {"verdict", line.verdict},
               {"finish_reason", line.finish_reason},
               {"finish_detail", line.finish_detail},
               {"tokens", line.tokens},
               {"weight_version", line.weight_version}};
  Json chunks = Json::array();
  for (const auto& chunk : line.chunks) chunks.push_back(chunk_json(chunk));
  json["chunks"] = std::move(chunks);
  return dump_json(json);
}

std::vector<TraceLineChunk> trace_line_chunks(const Trace& trace, int64_t head_tokens, const Tokenizer* tokenizer) {
  std::vector<TraceLineChunk> out;
  for (const auto& chunk : trace.chunks) {
    TraceLineChunk line;
    line.prompt_ids = chunk.prompt_ids;
    line.token_ids = chunk.token_ids;
    line.forced = chunk.forced;
    line.weight_version = chunk.weight_version;
    line.carried_tokens = std::max<int64_t>(0, static_cast<int64_t>(chunk.prompt_ids.size() - trace.query_ids.size()));
    line.head_tokens = std::min(head_tokens, line.carried_tokens);
    if (tokenizer != nullptr) {
      StreamDecoder decoder(*tokenizer, /*skip_special=*/false);
      for (const int32_t id : chunk.token_ids) {
        line.text += decoder.push(id);
        line.token_ends.push_back(static_cast<int64_t>(line.text.size()));
      }
      line.text += decoder.flush();
      if (!line.token_ends.empty()) line.token_ends.back() = static_cast<int64_t>(line.text.size());
    }
    out.push_back(std::move(line));
  }
  return out;
}

void set_trace(TraceLine& line, const Trace& trace, int64_t head_tokens, const Tokenizer* tokenizer) {
  line.tokens = trace.tokens();
  line.finish_reason = to_string(reason_of(trace.finish));
  line.finish_detail = to_string(trace.finish);
  line.chunks = trace_line_chunks(trace, head_tokens, tokenizer);
  line.weight_version = line.chunks.empty() ? 0 : line.chunks.front().weight_version;
}

Result<TraceLine> parse_trace_line(std::string_view text, const std::string& where) {
  TL_TRY_STATUS(check_size(text, where));
  TL_TRY(const Json json, parse_json(text, where));
  TL_TRY(TraceSummary summary, read_summary(json, where));
  TraceLine line{std::move(summary), {}};
  JsonFields fields(json, where + ": trace");
  const Json* chunks = fields.list("chunks");
  if (chunks == nullptr) fields.fail("chunks", "is missing");
  TL_TRY_STATUS(fields.status());
  for (size_t i = 0; i < chunks->size(); ++i) {
    TL_TRY(auto chunk, read_chunk((*chunks)[i], where + ": chunks[" + std::to_string(i) + "]", line.weight_version));
    line.chunks.push_back(std::move(chunk));
  }
  return line;
}

Result<TraceSummary> parse_trace_summary(std::string_view text, const std::string& where) {
  TL_TRY_STATUS(check_size(text, where));
  // In valid JSON a quote inside a string is escaped, so these bytes only ever stand for a key.
  const size_t at = text.find(",\"chunks\":[");
  const size_t last = text.find_last_not_of(" \t\r");
  if (at == std::string_view::npos || text.substr(0, last + 1).substr(std::max(at, last - 1)) != "]}") {
    TL_TRY(TraceLine line, parse_trace_line(text, where));  // another writer's order of keys, or a broken line
    return TraceSummary(std::move(line));
  }
  TL_TRY(const Json json, parse_json(std::string(text.substr(0, at)) + "}", where));
  return read_summary(json, where);
}

}  // namespace throughline
