// For tests: leaves whose sum depends on the order, and their sum on one process.
#pragma once

#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "dist/fixed_order_sum.h"

namespace throughline {

// Numbers whose sum depends on the order: magnitudes from 2^-20 to 2^20.
inline at::Tensor awkward_leaf(int64_t leaf, int64_t elements, at::ScalarType dtype = at::kFloat) {
  at::Tensor out = at::zeros({elements}, at::kDouble);
  double* values = out.mutable_data_ptr<double>();
  CounterStream random(7, static_cast<uint64_t>(leaf), RngPurpose::kTest);
  for (int64_t i = 0; i < elements; ++i) {
    values[i] = (random.uniform() - 0.5) * std::ldexp(1.0, static_cast<int>(random.integer(-20, 20)));
  }
  return out.to(dtype);
}

inline at::Tensor sum_alone(int64_t leaves, int64_t elements) {
  const auto one = single_process_group();
  FixedOrderSum sum(leaves, elements, at::kFloat, 0, 1);
  for (int64_t leaf = 0; leaf < leaves; ++leaf) sum.add(awkward_leaf(leaf, elements));
  at::Tensor total = at::zeros({elements});
  EXPECT_TRUE(sum.finish(*one, total).ok());
  return total;
}

}  // namespace throughline
