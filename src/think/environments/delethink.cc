#include "think/environments/delethink.h"

#include <algorithm>

namespace throughline {

SpecInfo Delethink::info() {
  return {
      "delethink",
      "chunks of fixed size with a short carried state (arXiv 2510.06557)",
      {{.name = "chunk", .default_text = "8192", .help = "tokens of the first chunk's thinking context", .minimum = 1},
       {.name = "carry",
        .default_text = "4096",
        .help = "tokens carried into the next chunk; less than chunk",
        .minimum = 0},
       {.name = "max_chunks", .default_text = "5", .help = "chunks at most", .minimum = 1},
       {.name = "head",
        .default_text = "100",
        .help = "first tokens of the first response, kept for good",
        .minimum = 0},
       {.name = "head_placement",
        .type = OptionType::kChoice,
        .default_text = "inside",
        .help = "head within carry (training code) or on top of it (paper)",
        .choices = {"inside", "on_top"}}}};
}

Result<std::unique_ptr<const Environment>> Delethink::make(const Spec& spec, const std::string& where) {
  if (spec.integer("carry") >= spec.integer("chunk")) {
    return Error{"carry " + spec.text("carry") + " is not less than chunk " + spec.text("chunk"), where,
                 "a later chunk needs room for new tokens: use carry = chunk / 2"};
  }
  if (spec.integer("head") > spec.integer("carry")) {
    return Error{"head " + spec.text("head") + " is more than carry " + spec.text("carry"), where,
                 "use a smaller head or a larger carry"};
  }
  return std::unique_ptr<const Environment>(new Delethink(spec));
}

int64_t Delethink::chunk_limit(int64_t chunk) const {
  const int64_t size = spec().integer("chunk");
  return chunk == 0 ? size : size - spec().integer("carry");
}

int64_t Delethink::max_chunks() const { return spec().integer("max_chunks"); }

int64_t Delethink::tail_tokens() const {
  return spec().text("head_placement") == "inside" ? spec().integer("carry") - spec().integer("head")
                                                   : spec().integer("carry");
}

int64_t Delethink::longest_prompt(int64_t query_tokens) const {
  return query_tokens + spec().integer("head") + tail_tokens();
}

std::vector<int32_t> Delethink::next_prompt(const Trace& trace) const {
  const auto& first = trace.chunks.front().token_ids;
  const int64_t head = std::min<int64_t>(spec().integer("head"), first.size());
  std::vector<int32_t> prompt = trace.query_ids;
  prompt.insert(prompt.end(), first.begin(), first.begin() + head);

  // previous tail + response; the previous tail is what the last prompt had beyond query and head.
  const auto& last = trace.chunks.back();
  std::vector<int32_t> said;
  if (trace.chunks.size() > 1)
    said.assign(last.prompt_ids.begin() + static_cast<int64_t>(trace.query_ids.size()) + head, last.prompt_ids.end());
  said.insert(said.end(), last.token_ids.begin(), last.token_ids.end());
  const int64_t tail = std::min<int64_t>(tail_tokens(), said.size());
  prompt.insert(prompt.end(), said.end() - tail, said.end());
  return prompt;
}

}  // namespace throughline
