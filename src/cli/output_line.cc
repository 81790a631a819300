#include "cli/output_line.h"

#include <algorithm>

#include "engine/kv_totals.h"
#include "text/stop_strings.h"

namespace throughline {
namespace {

// JSON has no NaN: a forced id has no log-prob.
Json logprob_json(float value) { return value == value ? Json(value) : Json(nullptr); }

Json logprobs_of(const Trace& trace, bool with_sampling) {
  Json out = Json::array();
  for (const auto& chunk : trace.chunks) {
    for (const auto& draw : chunk.draws) {
      Json top = Json::array();
      for (const auto& [id, logprob] : draw.top) top.push_back(Json::array({id, logprob}));
      Json entry = {{"token_id", draw.id}, {"logprob", logprob_json(draw.logprob)}, {"top", std::move(top)}};
      if (with_sampling) entry["sampling_logprob"] = logprob_json(draw.sampling_logprob);
      out.push_back(std::move(entry));
    }
  }
  return out;
}

Json chunks_of(const Trace& trace) {
  Json out = Json::array();
  for (const auto& chunk : trace.chunks) {
    Json forced = Json::array();
    for (const auto& [from, to] : chunk.forced) forced.push_back(Json::array({from, to}));
    out.push_back({{"prompt_ids", chunk.prompt_ids}, {"token_ids", chunk.token_ids}, {"forced", std::move(forced)}});
  }
  return out;
}

Json kv_of(const SampleResult& result, const OutputContext& context) {
  const CacheStats total = kv_totals(result.kv);
  Json out = {{"method", context.policy != nullptr ? context.policy->spec().method : "full"},
              {"peak_tokens", total.peak_tokens},
              {"mean_tokens", mean_kv_tokens(total)},
              {"final_tokens", total.final_tokens},
              {"compressions", total.compressions},
              {"evicted_tokens", total.evicted_tokens}};
  if (total.lowered > 0) out["lowered_to"] = total.lowest_budget;
  if (context.trace_kv) out["events"] = context.policy != nullptr ? kv_events(result, context) : Json::array();
  return out;
}

std::string decode_until_stop(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                              const std::vector<std::string>& stops) {
  StopStrings search(stops);
  const auto match = search.push(tokenizer.decode(ids, /*skip_special=*/true));
  return match.stopped ? match.text : match.text + search.flush();
}

}  // namespace

Json kv_events(const SampleResult& result, const OutputContext& context) {
  Json events = Json::array();
  const bool per_head = context.policy->scope() == KeptScope::kHead;
  const int64_t heads = per_head ? context.kv_heads : 1;
  const int64_t sets = context.layers * heads;
  for (size_t chunk = 0; chunk < result.kv.size(); ++chunk) {
    std::vector<std::vector<int32_t>> kept(sets);  // ascending
    int32_t seen = 0;                              // positions below this have entered `kept`
    for (const auto& record : result.kv[chunk].records) {
      for (int64_t set = 0; set < sets; ++set) {
        for (auto position = seen; position < record.tokens; ++position) kept[set].push_back(position);
        const auto gone = record.evicted_of(set);
        std::vector<int32_t> left;
        std::set_difference(kept[set].begin(), kept[set].end(), gone.begin(), gone.end(), std::back_inserter(left));
        kept[set] = std::move(left);
        events.push_back({{"chunk", chunk},
                          {"decoded", record.decoded},
                          {"layer", set / heads},
                          {"head", per_head ? Json(set % heads) : Json(nullptr)},
                          {"kept", kept[set]}});
      }
      seen = static_cast<int32_t>(record.tokens);
    }
  }
  return events;
}

Json output_of(const SampleResult& result, const OutputContext& context) {
  const Trace& trace = result.trace;
  const std::vector<int32_t> ids = trace.token_ids();
  const auto total = static_cast<int64_t>(ids.size());
  const bool ends_with_id = trace.finish == FinishDetail::kEos || trace.finish == FinishDetail::kStopToken;
  const int64_t thinking_to = trace.thinking_to < 0 ? total : trace.thinking_to;
  const int64_t thinking = trace.thinking_from < 0 ? 0 : thinking_to - trace.thinking_from;
  const int64_t answer = trace.answer_from < 0 ? 0 : total - trace.answer_from;

  Json out = Json::object();
  out["text"] = result.text ? Json(*result.text) : Json(nullptr);
  out["thinking"] = nullptr;
  out["answer"] = nullptr;
  if (context.tokenizer != nullptr) {
    const std::span<const int32_t> all(ids.data(), ids.size() - (ends_with_id && !ids.empty() ? 1 : 0));
    const auto part = [&](int64_t from, int64_t to) {
      to = std::min<int64_t>(to, static_cast<int64_t>(all.size()));
      from = std::min(from, to);
      return decode_until_stop(*context.tokenizer, all.subspan(from, to - from), context.sampling->stop);
    };
    if (trace.thinking_from >= 0) out["thinking"] = part(trace.thinking_from, thinking_to);
    out["answer"] = trace.answer_from >= 0 ? part(trace.answer_from, total) : std::string();
  }
  out["prompt_ids"] = trace.query_ids;
  out["token_ids"] = ids;
  if (context.sampling->logprobs >= 0 || context.sampling->sampling_logprobs) {
    out["logprobs"] = logprobs_of(trace, context.sampling->sampling_logprobs);
  }
  out["finish_reason"] = to_string(reason_of(trace.finish));
  out["finish_detail"] = to_string(trace.finish);
  out["chunks"] = chunks_of(trace);
  out["usage"] = {{"prompt", trace.query_ids.size()}, {"thinking", thinking}, {"answer", answer}};
  out["kv"] = kv_of(result, context);
  out["timing"] = {{"prefill_s", result.timing.prefill_s},
                   {"decode_s", result.timing.decode_s},
                   {"queue_s", result.timing.queue_s},
                   {"draft_tokens", result.draft_tokens},
                   {"accepted_tokens", result.accepted_tokens}};
  if (!result.error.empty()) out["error"] = result.error;
  return out;
}

}  // namespace throughline
