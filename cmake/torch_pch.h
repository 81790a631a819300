// Precompiled for the rooms that use torch: the light tensor header and what nearly every file includes anyway.
// Operators are not here: a source includes the <ATen/ops/...> that it calls.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
