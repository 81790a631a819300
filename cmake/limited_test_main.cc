// main of the test binaries of ops/ and what computes with it: THROUGHLINE_CPU limits the kernels, as in
// src/cli/main.cc.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "ops/cpu/cpu_limit.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const char* limit = std::getenv("THROUGHLINE_CPU"); limit != nullptr) {
    if (const auto status = throughline::ops::limit_cpu(limit); !status.ok()) {
      std::cerr << status.error().line() << "\n";
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
