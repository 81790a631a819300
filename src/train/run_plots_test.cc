#include "train/run_plots.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "base/files.h"

namespace throughline {
namespace {

PlottedRun run(const std::string& name, int64_t steps) {
  PlottedRun out{.name = name};
  for (int64_t step = 1; step <= steps; ++step) {
    StepMetrics metrics{.step = step};
    metrics.set("reward", 0.01 * static_cast<double>(step));
    metrics.set("accuracy", 0.5);
    if (step % 2 == 0) metrics.set("eval_accuracy", 0.4);
    metrics.set("logprob_gap_mean", 0);
    metrics.set("logprob_gap_max", step == 2 ? std::nan("") : 0);
    metrics.set("rollout_s", 2);
    metrics.set("update_s", 1);
    metrics.set("mine", 7);
    out.steps.push_back(std::move(metrics));
  }
  return out;
}

std::vector<std::string> files(const std::vector<RunPlot>& plots) {
  std::vector<std::string> out;
  for (const RunPlot& plot : plots) out.push_back(plot.file);
  return out;
}

TEST(RunPlots, OneRunGroupsWhatBelongsTogether) {
  const PlottedRun one = run("a", 4);
  const auto plots = make_run_plots({&one, 1}, {});
  EXPECT_EQ(files(plots), (std::vector<std::string>{"accuracy", "reward", "gap", "seconds"}));
  const Plot& accuracy = plots[0].plot;
  EXPECT_TRUE(accuracy.percent);
  ASSERT_EQ(accuracy.series.size(), 2u);
  EXPECT_EQ(accuracy.series[1].name, "held out");
  EXPECT_EQ(accuracy.series[1].x, (std::vector<double>{2, 4}));
  EXPECT_EQ(accuracy.series[0].smoothing, 0);  // a short run
  EXPECT_TRUE(std::isnan(plots[2].plot.series[1].y[1]));
}

TEST(RunPlots, AgainstSecondsAndSmoothed) {
  const PlottedRun one = run("a", 50);
  const auto plots = make_run_plots({&one, 1}, {.against_seconds = true});
  EXPECT_EQ(plots[1].plot.series[0].x[3], 12);
  EXPECT_GT(plots[1].plot.series[0].smoothing, 0);
  EXPECT_EQ(make_run_plots({&one, 1}, {.smoothing = 0.0})[1].plot.series[0].smoothing, 0);
}

TEST(RunPlots, SeveralRunsOverEachOther) {
  const std::vector<PlottedRun> runs = {run("a", 4), run("b", 3)};
  const auto plots = make_run_plots(runs, {.metrics = {"reward", "mine", "../x", "loss"}});
  EXPECT_EQ(files(plots), (std::vector<std::string>{"reward", "mine"}));  // what no run has is left out
  ASSERT_EQ(plots[1].plot.series.size(), 2u);
  EXPECT_EQ(plots[1].plot.series[1].name, "b");
  EXPECT_EQ(make_run_plots(runs, {}).size(), 7u);
}

TEST(RunPlots, FilesAndText) {
  const std::string folder =
      (std::filesystem::temp_directory_path() / ("tl_plots_" + std::to_string(::getpid()))).string();
  const PlottedRun one = run("a", 4);
  const auto plots = make_run_plots({&one, 1}, {});
  const auto overview = write_run_plots(folder, plots, "runs/a");
  ASSERT_TRUE(overview.ok()) << overview.error().line();
  EXPECT_TRUE(file_exists(folder + "/gap.svg"));
  EXPECT_NE(read_file(*overview)->find(">runs/a<"), std::string::npos);
  std::filesystem::remove_all(folder);

  const std::string text = run_plots_text(plots, {.columns = 80, .rows = 12, .dots = PlotDots::kAscii});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 12 + 8 + 8);
  EXPECT_EQ(run_plots_text({}, {}), "");
}

TEST(RunPlots, NamesTellFoldersApart) {
  const auto names = [](std::vector<std::string> folders) { return run_names(folders); };
  EXPECT_EQ(names({"runs/a/", "runs/b"}), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(names({"x/a", "y/a"}), (std::vector<std::string>{"x/a", "y/a"}));
  EXPECT_EQ(names({"x/a", "x/a"}), (std::vector<std::string>{"x/a", "x/a"}));
  EXPECT_EQ(names({"."}), (std::vector<std::string>{"."}));
}

}  // namespace
}  // namespace throughline
