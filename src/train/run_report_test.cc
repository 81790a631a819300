#include "train/run_report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"

namespace throughline {
namespace {

class RunReportTest : public testing::Test {
 protected:
  RunReportTest() : dir_((std::filesystem::temp_directory_path() / ("tl_run_" + std::to_string(::getpid()))).string()) {
    std::filesystem::create_directories(dir_);
  }
  ~RunReportTest() override { std::filesystem::remove_all(dir_); }

  // As a loop does it: the line first, then the report.
  void run(RunReport& report, int64_t from, int64_t to) {
    auto lines = LineWriter::append(dir_ + "/metrics.jsonl");
    ASSERT_TRUE(lines.ok());
    for (int64_t step = from; step <= to; ++step) {
      StepMetrics metrics{.step = step};
      metrics.set("reward", 0.1 * static_cast<double>(step));
      metrics.set("truncated", 0.9);
      ASSERT_TRUE(lines->write(write_step_metrics(metrics)).ok());
      report.step(metrics);
    }
  }
  RunReportOptions options() {
    RunReportOptions out{.run_dir = dir_, .heading = "a run"};
    out.print = [this](std::string_view text) { printed_ += text; };
    return out;
  }

  std::string dir_, printed_;
};

TEST_F(RunReportTest, TableEventsAndPlots) {
  {
    RunReport report(options());
    report.note("recipe", "`steps = 3`");
    run(report, 1, 3);
    report.finish();
  }
  EXPECT_EQ(printed_.find("step  reward    cut\n   1   0.100    90%\nWARNING 90% of the traces were cut off"), 0u)
      << printed_;
  EXPECT_NE(printed_.find("plots: " + dir_ + "/plots/overview.svg\n"), std::string::npos);
  EXPECT_NE(printed_.find("Reward"), std::string::npos);
  EXPECT_TRUE(file_exists(dir_ + "/plots/reward.svg"));
  std::string events;
  for (const auto& entry : std::filesystem::directory_iterator(dir_ + "/tensorboard")) {
    events += *read_file(entry.path().string());
  }
  EXPECT_NE(events.find("rollout/reward"), std::string::npos);
  EXPECT_NE(events.find("`steps = 3`"), std::string::npos);
}

TEST_F(RunReportTest, AFolderThatCannotBeWrittenDoesNotEndTheRun) {
  ASSERT_TRUE(write_atomically(dir_ + "/tensorboard", "a file").ok());
  ASSERT_TRUE(write_atomically(dir_ + "/plots", "a file").ok());
  RunReport report(options());
  run(report, 1, 2);
  report.finish();
  EXPECT_NE(printed_.find("WARNING no TensorBoard events"), std::string::npos);
  EXPECT_NE(printed_.find("WARNING no plots"), std::string::npos);
  EXPECT_NE(printed_.find("\n   2   0.200"), std::string::npos);
}

}  // namespace
}  // namespace throughline
