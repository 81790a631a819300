#include "train/step_metrics.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "base/files.h"

namespace throughline {
namespace {

TEST(StepMetrics, ReadsWhatItWrote) {
  StepMetrics metrics{.step = 12};
  metrics.set("reward", 0.1);
  metrics.set("logprob_gap_max", 1.25e-7);
  metrics.set("entropy", std::nan(""));
  metrics.set("reward", 0.3);  // replaces
  const std::string line = write_step_metrics(metrics);
  EXPECT_EQ(line, R"({"step":12,"reward":0.3,"logprob_gap_max":1.25e-07,"entropy":null})");
  const auto read = parse_step_metrics(line, "m line 1");
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(write_step_metrics(*read), line);
  EXPECT_TRUE(read->has("reward"));
  EXPECT_FALSE(read->has("entropy"));
  EXPECT_FALSE(read->has("loss"));
}

TEST(StepMetrics, BadLinesAreSkippedAndTold) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("tl_metrics_" + std::to_string(::getpid()) + ".jsonl")).string();
  ASSERT_TRUE(write_atomically(path,
                               "{\"step\":2,\"reward\":0.2,\"note\":\"text\"}\n"
                               "{\"step\":1,\"reward\":0.1}\n\n"
                               "{\"reward\":0.1}\n"
                               "{\"step\":\"x\"}\n"
                               "{\"step\":2,\"reward\":0.25}\n"
                               "{\"step\":3,\"rew")
                  .ok());
  const auto run = read_run_metrics(path);
  ASSERT_TRUE(run.ok());
  ASSERT_EQ(run->steps.size(), 2u);
  EXPECT_EQ(run->steps[0].step, 1);
  EXPECT_EQ(run->steps[1].get("reward"), 0.25);  // the resumed run's line
  EXPECT_EQ(run->skipped, "skipped 3 bad lines, the first: " + path + " line 4: has no \"step\"");
  std::filesystem::remove(path);
  EXPECT_FALSE(read_run_metrics(path).ok());
}

TEST(StepMetrics, ElapsedSecondsAddUp) {
  std::vector<StepMetrics> steps(3);
  steps[0].set("rollout_s", 2);
  steps[0].set("update_s", 1);
  steps[1].set("step_s", 4);
  steps[2].set("elapsed_s", 10);
  EXPECT_EQ(elapsed_seconds(steps), (std::vector<double>{3, 7, 10}));
}

TEST(StepMetrics, TheIssuesNamesAreKnown) {
  for (const char* name :
       {"reward", "accuracy", "trace_tokens_mean", "chunks_mean", "truncated", "no_answer", "zero_variance_groups",
        "entropy", "logprob_gap_mean", "logprob_gap_max", "tokens_per_s", "rollout_s", "update_s", "peak_rss_mib"}) {
    EXPECT_NE(find_metric(name), nullptr) << name;
  }
  EXPECT_EQ(tensorboard_tag("reward"), "rollout/reward");
  EXPECT_EQ(tensorboard_tag("mine"), "other/mine");
}

}  // namespace
}  // namespace throughline
