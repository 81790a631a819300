// Thinking environments: how a trace is cut into contexts and when thinking is forced to end. Rules:
// docs/environments.md.
//
// An environment is stateless; TraceRunner keeps the state of one trace and asks it. It works on ids alone: no text, no
// tensors, no cache. Any environment runs under any KV policy.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/spec.h"
#include "think/trace.h"

namespace throughline {

constexpr int64_t kUnlimited = int64_t{1} << 60;

class Environment {
 public:
  explicit Environment(Spec spec) : spec_(std::move(spec)) {}
  virtual ~Environment() = default;
  const Spec& spec() const { return spec_; }

  // New tokens the chunk with this index may hold, by the environment's own rule.
  virtual int64_t chunk_limit(int64_t /*chunk*/) const { return kUnlimited; }
  virtual int64_t max_chunks() const { return 1; }
  int64_t most_tokens() const;  // over all chunks
  // Longest prompt of any chunk for a query of so many ids.
  virtual int64_t longest_prompt(int64_t query_tokens) const { return query_tokens; }
  // The prompt that follows the trace's last chunk. REQUIRES: max_chunks() > 1.
  virtual std::vector<int32_t> next_prompt(const Trace& /*trace*/) const { return {}; }

  // Thinking tokens at which the close is forced, before the answer reserve is applied.
  int64_t max_thinking() const { return spec_.has("max_thinking") ? spec_.integer("max_thinking") : kUnlimited; }
  // A sampled close is replaced while fewer thinking tokens than this have been seen, at most max_replacements() times.
  virtual int64_t min_thinking() const { return 0; }
  virtual int64_t max_replacements() const { return 0; }

  bool has_reserve() const { return spec_.has("reserve"); }
  // Tokens kept for the answer: as given, else min(1024, max_tokens / 4); at least 1 where two tokens fit.
  int64_t reserve(int64_t max_tokens) const;
  int64_t loop_repeats() const { return spec_.has("loop") ? spec_.integer("loop") : 0; }  // 0: off
  bool loop_closes() const { return spec_.text("loop_action") == "close"; }

 private:
  Spec spec_;
};

std::span<const SpecInfo> environment_infos();
Result<std::unique_ptr<const Environment>> make_environment(const Spec& spec, const std::string& where);

}  // namespace throughline
