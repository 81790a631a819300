#include "think/environment.h"

#include <algorithm>

#include "think/environments/budget_forcing.h"
#include "think/environments/delethink.h"
#include "think/environments/longcot.h"

namespace throughline {
namespace {

SpecInfo with_common_options(SpecInfo info) {
  info.options.push_back({.name = "max_thinking", .help = "thinking tokens at most, over all chunks", .minimum = 0});
  info.options.push_back(
      {.name = "reserve", .help = "tokens kept for the answer; off: min(1024, max_tokens / 4)", .minimum = 0});
  info.options.push_back(
      {.name = "loop", .help = "repeats of the same pattern (1-1024 ids) that count as a loop", .minimum = 2});
  info.options.push_back({.name = "loop_action",
                          .type = OptionType::kChoice,
                          .default_text = "stop",
                          .help = "what a loop causes",
                          .choices = {"stop", "close"}});
  return info;
}

}  // namespace

int64_t Environment::most_tokens() const {
  if (chunk_limit(0) >= kUnlimited) return kUnlimited;
  return chunk_limit(0) + (max_chunks() - 1) * (max_chunks() > 1 ? chunk_limit(1) : 0);
}

int64_t Environment::reserve(int64_t max_tokens) const {
  if (has_reserve()) return spec_.integer("reserve");
  return std::max<int64_t>(max_tokens >= 2 ? 1 : 0, std::min<int64_t>(1024, max_tokens / 4));
}

std::span<const SpecInfo> environment_infos() {
  static const std::vector<SpecInfo> infos = {with_common_options(LongCot::info()),
                                              with_common_options(Delethink::info()),
                                              with_common_options(BudgetForcing::info())};
  return infos;
}

Result<std::unique_ptr<const Environment>> make_environment(const Spec& spec, const std::string& where) {
  if (spec.method == "longcot") return LongCot::make(spec, where);
  if (spec.method == "delethink") return Delethink::make(spec, where);
  if (spec.method == "force") return BudgetForcing::make(spec, where);
  return Error{"unknown environment \"" + spec.method + "\"", where, ""};
}

}  // namespace throughline
