#include "train/rollout.h"

#include <gtest/gtest.h>

#include <exception>

namespace throughline {
namespace {

TEST(RolloutEngine, WhatTheSamplingThreadThrowsIsThrownByTake) {
  const auto model = TrainModel::load(THROUGHLINE_SOURCE_DIR "/models/iterate_map", "");
  ASSERT_TRUE(model.ok()) << model.error().line();
  const auto group = single_process_group();
  const auto rollouts =
      RolloutEngine::create(&*model, {.section = {.think = "longcot", .kv = "full", .batch = 1}}, group.get());
  ASSERT_TRUE(rollouts.ok()) << rollouts.error().line();
  const TrainItems items{};
  constexpr int kNoThreads = 0;  // libtorch throws
  (*rollouts)->start({}, 1, 1, 1.0, kNoThreads);
  EXPECT_THROW((void)(*rollouts)->take(items), std::exception);
  EXPECT_FALSE((*rollouts)->started());
}

}  // namespace
}  // namespace throughline
