// Delethink (The Markovian Thinker, arXiv 2510.06557, section 4.1 and Algorithm 1): thinking in chunks of fixed size.
// Each chunk after the first starts from the query, the head of the first response, and the tail of what was said last.
//
// head_placement=inside is the published training code (head counts within `carry`), on_top the paper and its demo.
// The tail is taken from previous tail + response, as the training code does (research/delethink.md A.7, item 3).
#pragma once

#include "think/environment.h"

namespace throughline {

class Delethink : public Environment {
 public:
  static SpecInfo info();
  static Result<std::unique_ptr<const Environment>> make(const Spec& spec, const std::string& where);

  int64_t chunk_limit(int64_t chunk) const override;
  int64_t max_chunks() const override;
  int64_t longest_prompt(int64_t query_tokens) const override;
  std::vector<int32_t> next_prompt(const Trace& trace) const override;

 private:
  using Environment::Environment;
  int64_t tail_tokens() const;
};

}  // namespace throughline
