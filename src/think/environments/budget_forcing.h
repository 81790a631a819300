// Budget forcing (s1, arXiv 2501.19393): a close sampled too early is replaced by a text such as "Wait". A baseline.
#pragma once

#include "think/environment.h"

namespace throughline {

class BudgetForcing : public Environment {
 public:
  static SpecInfo info();
  static Result<std::unique_ptr<const Environment>> make(const Spec& spec, const std::string& where);
  int64_t min_thinking() const override { return spec().integer("min_thinking"); }
  int64_t max_replacements() const override { return spec().integer("max_forces"); }

 private:
  using Environment::Environment;
};

}  // namespace throughline
