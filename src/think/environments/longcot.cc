#include "think/environments/longcot.h"

namespace throughline {

SpecInfo LongCot::info() { return {"longcot", "one context; the close is forced in time for an answer", {}}; }

Result<std::unique_ptr<const Environment>> LongCot::make(const Spec& spec, const std::string& /*where*/) {
  return std::unique_ptr<const Environment>(new LongCot(spec));
}

}  // namespace throughline
