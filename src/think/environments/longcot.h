// LongCoT: one context, thinking as long as the budget allows, then a forced close so that an answer always follows.
#pragma once

#include "think/environment.h"

namespace throughline {

class LongCot : public Environment {
 public:
  static SpecInfo info();
  static Result<std::unique_ptr<const Environment>> make(const Spec& spec, const std::string& where);

 private:
  using Environment::Environment;
};

}  // namespace throughline
