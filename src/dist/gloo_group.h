// Gloo behind ProcessGroup. gloo_group.cc is the one file that sees c10d, whose headers take a quarter of a minute.
#pragma once

#include "dist/process_group.h"

namespace throughline {

// REQUIRES: launch.world > 1
Result<std::unique_ptr<ProcessGroup>> connect_gloo(const Launch& launch, const ProcessGroupOptions& options);

}  // namespace throughline
