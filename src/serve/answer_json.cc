#include "serve/answer_json.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "engine/kv_totals.h"
#include "text/utf8.h"

namespace throughline::serve {
namespace {

// OpenAI's schema wants a number; a forced id has no log-prob.
constexpr double kNoNumber = -9999.0;
double logprob_number(float value) { return std::isfinite(value) ? static_cast<double>(value) : kNoNumber; }

std::string name_of(int32_t id, const std::string& bytes, const AnswerContext& context, bool legacy) {
  if (context.tokens_as_ids) return "token_id:" + std::to_string(id);
  if (is_valid_utf8(bytes)) return bytes;
  if (!legacy) return replace_invalid_utf8(bytes);
  std::string out = "bytes:";  // as OpenAI names half a character in the legacy lists, where names are keys
  for (const unsigned char byte : bytes) out += fmt::format("\\x{:02x}", byte);
  return out;
}

std::string bytes_of(int32_t id, const AnswerContext& context) {
  return context.tokenizer != nullptr ? context.tokenizer->token_bytes(id) : std::string();
}

Json token_entry(int32_t id, float logprob, const std::string& bytes, const AnswerContext& context) {
  Json numbers = Json::array();
  for (const unsigned char byte : bytes) numbers.push_back(byte);
  return {{"token", name_of(id, bytes, context, false)},
          {"logprob", logprob_number(logprob)},
          {"bytes", std::move(numbers)}};
}

Json ranges_of(const std::vector<int32_t>& ascending) {
  Json out = Json::array();
  for (size_t i = 0; i < ascending.size();) {
    size_t end = i + 1;
    while (end < ascending.size() && ascending[end] == ascending[end - 1] + 1) ++end;
    out.push_back(Json::array({ascending[i], ascending[end - 1] + 1}));
    i = end;
  }
  return out;
}

Json kv_json(const SampleResult& result, const AnswerContext& context) {
  const CacheStats total = kv_totals(result.kv);
  return {{"method", context.policy ? context.policy->spec().method : "full"},
          {"spec", context.kv_spec},
          {"peak_tokens", total.peak_tokens},
          {"mean_tokens", mean_kv_tokens(total)},
          {"final_tokens", total.final_tokens},
          {"evicted_tokens", total.evicted_tokens},
          {"compressions", total.compressions},
          {"lowered_to", total.lowered > 0 ? Json(total.lowest_budget) : Json(nullptr)}};
}

}  // namespace

int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

int64_t reasoning_tokens(const Trace& trace) {
  if (trace.thinking_from < 0) return 0;
  return (trace.thinking_to < 0 ? trace.tokens() : trace.thinking_to) - trace.thinking_from;
}

void Usage::add(const SampleResult& result) {
  completion += result.trace.tokens();
  reasoning += reasoning_tokens(result.trace);
  cached = std::max(cached, result.prefix_hit_tokens);
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt},
          {"completion_tokens", usage.completion},
          {"total_tokens", usage.prompt + usage.completion},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning}}}};
}

std::string finish_reason(FinishDetail detail) { return reason_of(detail) == FinishReason::kStop ? "stop" : "length"; }

Json stop_reason(const SampleResult& result) {
  if (result.trace.finish == FinishDetail::kStopString) return result.stop_string;
  if (result.trace.finish == FinishDetail::kStopToken) return result.trace.chunks.back().token_ids.back();
  return nullptr;
}

Json chat_logprobs(const Piece& piece, const AnswerContext& context) {
  Json list = Json::array();
  for (size_t i = 0; i < piece.draws.size(); ++i) {
    const TokenDraw& draw = piece.draws[i];
    Json entry = token_entry(draw.id, draw.logprob, piece.texts[i], context);
    if (std::isfinite(draw.sampling_logprob)) entry["sampling_logprob"] = draw.sampling_logprob;
    Json top = Json::array();
    for (const auto& [id, logprob] : draw.top)
      top.push_back(token_entry(id, logprob, id == draw.id ? piece.texts[i] : bytes_of(id, context), context));
    entry["top_logprobs"] = std::move(top);
    list.push_back(std::move(entry));
  }
  return list;
}

Json completion_logprobs(const std::vector<TokenDraw>& draws, const std::vector<std::string>& texts, int64_t* offset,
                         const AnswerContext& context) {
  Json tokens = Json::array(), logprobs = Json::array(), tops = Json::array(), offsets = Json::array();
  for (size_t i = 0; i < draws.size(); ++i) {
    const TokenDraw& draw = draws[i];
    const bool scored = std::isfinite(draw.logprob);
    tokens.push_back(name_of(draw.id, texts[i], context, true));
    logprobs.push_back(scored ? Json(draw.logprob) : Json(nullptr));
    offsets.push_back(*offset);
    *offset += characters(texts[i]);
    Json::object_t top;
    std::unordered_set<std::string> names;
    const auto add = [&](std::string name, double logprob) {  // best first: of equal names the better stays
      if (names.insert(name).second) top.emplace_back(std::move(name), logprob);
    };
    for (const auto& [id, logprob] : draw.top)
      add(name_of(id, id == draw.id ? texts[i] : bytes_of(id, context), context, true), logprob_number(logprob));
    if (scored) add(name_of(draw.id, texts[i], context, true), draw.logprob);
    tops.push_back(scored ? Json(std::move(top)) : Json(nullptr));
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

Json prompt_logprobs_json(const std::vector<TokenDraw>& draws, const AnswerContext& context) {
  Json out = Json::array();
  for (const auto& draw : draws) {
    if (!std::isfinite(draw.logprob)) {
      out.push_back(nullptr);
      continue;
    }
    Json::object_t entry;
    const auto add = [&](int32_t id, float logprob, Json rank) {
      entry.emplace_back(std::to_string(id), Json{{"logprob", logprob_number(logprob)},
                                                  {"rank", std::move(rank)},
                                                  {"decoded_token", replace_invalid_utf8(bytes_of(id, context))}});
    };
    Json own_rank = nullptr;
    for (size_t i = 0; i < draw.top.size(); ++i) {
      if (draw.top[i].id == draw.id) own_rank = i + 1;
    }
    add(draw.id, draw.logprob, own_rank);  // the token's own first, and only once
    for (size_t i = 0; i < draw.top.size(); ++i) {
      if (draw.top[i].id != draw.id) add(draw.top[i].id, draw.top[i].logprob, i + 1);
    }
    out.push_back(std::move(entry));
  }
  return out;
}

Json progress_json(const SampleView& view) {
  return {{"state", view.thinking ? "thinking" : "answering"},
          {"chunk", view.chunk},
          {"tokens", view.tokens},
          {"reasoning_tokens", view.reasoning_tokens},
          {"kv_tokens", view.kv_tokens},
          {"context_tokens", view.context_tokens}};
}

int64_t head_tokens(const AnswerContext& context, int64_t first_chunk_tokens) {
  if (!context.environment || !context.environment->spec().has("head")) return 0;
  return std::min(context.environment->spec().integer("head"), first_chunk_tokens);
}

Json chunk_event(const ChunkNews& news, int64_t query_tokens, int64_t head, const AnswerContext& context) {
  const std::span<const int32_t> added = std::span(news.prompt_ids).subspan(static_cast<size_t>(query_tokens));
  head = std::min<int64_t>(head, static_cast<int64_t>(added.size()));
  const auto text = [&](std::span<const int32_t> ids) {
    return context.tokenizer != nullptr ? context.tokenizer->decode(ids, true) : std::string();
  };
  return {{"type", "chunk"},
          {"chunk", news.chunk},
          {"at_token", news.at_token},
          {"prompt_tokens", news.prompt_ids.size()},
          {"query_tokens", query_tokens},
          {"head_tokens", head},
          {"carried_tokens", static_cast<int64_t>(added.size()) - head},
          {"head_text", text(added.first(static_cast<size_t>(head)))},
          {"carried_text", text(added.subspan(static_cast<size_t>(head)))}};
}

Json KeptSets::event(const KvNews& news, const AnswerContext& context) {
  const bool per_head = context.policy && context.policy->scope() == KeptScope::kHead;
  const int64_t heads = per_head ? context.kv_heads : 1;
  if (chunk_ != news.chunk) {
    chunk_ = news.chunk;
    seen_ = 0;
    kept_.assign(static_cast<size_t>(context.layers * heads), {});
  }
  const EvictionRecord& record = news.record;
  Json list = Json::array();
  for (int64_t set = 0; set < context.layers * heads; ++set) {
    auto& kept = kept_[static_cast<size_t>(set)];
    for (auto position = seen_; position < record.tokens; ++position) kept.push_back(position);
    const auto gone = record.evicted_of(set);
    std::vector<int32_t> left;
    std::set_difference(kept.begin(), kept.end(), gone.begin(), gone.end(), std::back_inserter(left));
    kept = std::move(left);
    const int64_t layer = set / heads;
    const auto& shown = context.shown_layers;
    if (!shown.empty() && std::find(shown.begin(), shown.end(), layer) == shown.end()) continue;
    list.push_back(
        {{"layer", layer}, {"head", per_head ? Json(set % heads) : Json(nullptr)}, {"ranges", ranges_of(kept)}});
  }
  seen_ = static_cast<int32_t>(record.tokens);
  return {{"type", "kv"},
          {"chunk", news.chunk},
          {"decoded", record.decoded},
          {"at_token", news.at_token},
          {"context_tokens", record.tokens},
          {"kept_tokens", record.kept},
          {"evicted_tokens", record.gone},
          {"lowered_to", record.lowered_to > 0 ? Json(record.lowered_to) : Json(nullptr)},
          {"per_head", per_head},
          {"kept", std::move(list)}};
}

Json final_json(int64_t index, const SampleResult& result, const AnswerContext& context) {
  const Trace& trace = result.trace;
  const auto query = static_cast<int64_t>(trace.query_ids.size());
  const int64_t first = static_cast<int64_t>(trace.chunks.front().token_ids.size());
  Json chunks = Json::array();
  int64_t forced = 0;
  for (size_t i = 0; i < trace.chunks.size(); ++i) {
    const ChunkTrace& chunk = trace.chunks[i];
    for (const auto& [from, to] : chunk.forced) forced += to - from;
    const auto prompt = static_cast<int64_t>(chunk.prompt_ids.size());
    const int64_t head = i == 0 ? 0 : head_tokens(context, first);
    chunks.push_back({{"prompt_tokens", prompt},
                      {"head_tokens", head},
                      {"carried_tokens", prompt - query - head},
                      {"tokens", chunk.token_ids.size()}});
  }
  const int64_t total = trace.tokens();
  return {{"index", index},
          {"finish_detail", to_string(trace.finish)},
          {"stop", stop_reason(result)},
          {"think", context.think_spec},
          {"seed", context.seed},
          {"tokens",
           {{"prompt", query},
            {"reasoning", reasoning_tokens(trace)},
            {"answer", trace.answer_from < 0 ? 0 : total - trace.answer_from},
            {"generated", total},
            {"forced", forced}}},
          {"chunks", std::move(chunks)},
          {"kv", kv_json(result, context)},
          {"timing",
           {{"queue_s", result.timing.queue_s},
            {"prefill_s", result.timing.prefill_s},
            {"decode_s", result.timing.decode_s},
            {"draft_tokens", result.draft_tokens},
            {"accepted_tokens", result.accepted_tokens}}},
          {"priority", context.priority},
          {"preemptions", result.preemptions},
          {"limited_by_kv_memory", context.limited_by_memory},
          {"error", result.error.empty() ? Json(nullptr) : Json(result.error)}};
}

Json timings_json(const SampleResult& result) {
  const auto prompt = static_cast<int64_t>(result.trace.query_ids.size()) - result.prefix_hit_tokens;
  const int64_t tokens = result.trace.tokens();
  const auto rate = [](int64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
  };
  Json out = {{"cache_n", result.prefix_hit_tokens},
              {"prompt_n", prompt},
              {"prompt_ms", result.timing.prefill_s * 1e3},
              {"prompt_per_second", rate(prompt, result.timing.prefill_s)},
              {"predicted_n", tokens},
              {"predicted_ms", result.timing.decode_s * 1e3},
              {"predicted_per_second", rate(tokens, result.timing.decode_s)}};
  if (result.draft_tokens > 0) {
    out["draft_n"] = result.draft_tokens;
    out["draft_n_accepted"] = result.accepted_tokens;
  }
  return out;
}

}  // namespace throughline::serve
