// The two special tokens between which a reasoning model thinks, resolved by their text to single ids.
//
// Knows these pairs, first match wins (both texts must be one token each in the model's vocabulary):
//   <think> </think>                        DeepSeek-R1 and its distillations, QwQ, Qwen3, GLM, MiniMax, Nemotron
//   [THINK] [/THINK]                        Magistral
//   <seed:think> </seed:think>              Seed-OSS
//   <|START_THINKING|> <|END_THINKING|>     Command A Reasoning
//   <longcat_think> </longcat_think>        LongCat-Flash-Thinking
// GPT-OSS thinks in a channel, not between tags: it has none here. Values only; thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace throughline {

struct ThinkingTags {
  int32_t open_id = -1, close_id = -1;
  std::string open_text, close_text;

  // `token_id` gives the single id of a text, or nothing.
  static std::optional<ThinkingTags> resolve(const std::function<std::optional<int32_t>(std::string_view)>& token_id);

  // Does a prompt end within thinking: is there an open tag with no close tag behind it? R1, QwQ and Qwen3-Thinking
  // templates end with "<think>\n"; Qwen3 with enable_thinking=false ends with a pair that is closed again.
  // `generation_begin` is the first id of the generation part (ChatTemplate::render_parts): tags before it are the
  // conversation's, and a user's literal "<think>" must not count. 0: the whole prompt, for one given as plain text.
  bool opened_by(std::span<const int32_t> prompt_ids, size_t generation_begin = 0) const;
  // The same on the generation part's text.
  bool opened_by_text(std::string_view generation_text) const;
};

}  // namespace throughline
