#include "train/run_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <sstream>

namespace throughline {
namespace {

StepMetrics grpo_step(int64_t step) {
  StepMetrics metrics{.step = step};
  for (const auto& [name, value] : std::vector<std::pair<const char*, double>>{{"reward", 0.412},
                                                                               {"accuracy", 0.406},
                                                                               {"trace_tokens_mean", 812.3},
                                                                               {"chunks_mean", 3.25},
                                                                               {"truncated", 0.125},
                                                                               {"no_answer", 0.14},
                                                                               {"zero_variance_groups", 0.25},
                                                                               {"entropy", 0.231},
                                                                               {"logprob_gap_mean", 0},
                                                                               {"logprob_gap_max", 0},
                                                                               {"tokens_per_s", 20643},
                                                                               {"rollout_s", 3.2},
                                                                               {"update_s", 1.1},
                                                                               {"peak_rss_mib", 812}}) {
    metrics.set(name, value);
  }
  return metrics;
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

TEST(RunTable, OneRowAStepUnderItsHeader) {
  RunTable table({.columns = 80, .header_every = 2});
  EXPECT_EQ(table.row(grpo_step(1)),
            "step reward right tokens chunks   cut entropy     gap  tok/s seconds memory\n"
            "   1  0.412 40.6%  812.3   3.25 12.5%   0.231       0  20643     4.3   812M\n");
  EXPECT_EQ(lines(table.row(grpo_step(2))).size(), 1u);
  EXPECT_EQ(lines(table.row(grpo_step(3))).size(), 2u);  // the header again
}

TEST(RunTable, AWideTerminalShowsAll) {
  RunTable table({.columns = 200});
  const auto out = lines(table.row(grpo_step(1)));
  for (const char* heading : {"flat", "gap max", "no ans", "sample s", "update s"}) {
    EXPECT_NE(out[0].find(heading), std::string::npos) << heading;
  }
}

TEST(RunTable, AFileHasAllColumnsAndWarningsOnOneLine) {
  RunTable table({.columns = 0, .header_every = 0});
  StepMetrics metrics = grpo_step(1);
  metrics.set("truncated", 1);
  const auto out = lines(table.row(metrics));
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0].size(), out[1].size());
  EXPECT_GT(out[0].size(), 120u);
  EXPECT_NE(out[2].find("keeps cut traces out of the loss"), std::string::npos);
}

TEST(RunTable, SftShowsItsLoss) {
  StepMetrics metrics{.step = 5};
  metrics.set("loss", 1.2345678);
  metrics.set("tokens_per_s", 123456);
  metrics.set("step_s", 0.5);
  RunTable table({.columns = 40});
  EXPECT_EQ(table.row(metrics), "step     loss   tok/s  seconds\n   5   1.2346  123456      0.5\n");
  metrics.step = 6;
  metrics.set("eval_loss", 2);  // comes up later: a new header
  EXPECT_EQ(lines(table.row(metrics)).size(), 2u);
  metrics.values.pop_back();
  EXPECT_NE(table.row(metrics).find(" - "), std::string::npos);  // not measured in this step
}

TEST(RunTable, WarningsSayWhatToDoAndDoNotFlood) {
  StepMetrics metrics = grpo_step(1);
  metrics.set("truncated", 0.725);
  RunTable table({.columns = 80, .header_every = 0, .color = true});
  const std::string first = table.row(metrics);
  EXPECT_NE(first.find("WARNING 72.5% of the traces were cut off"), std::string::npos);
  EXPECT_NE(first.find("rollout.max_tokens"), std::string::npos);
  EXPECT_NE(first.find("\033[1;33m72.5%\033[0m"), std::string::npos);  // its cell, too
  for (metrics.step = 2; metrics.step <= 10; ++metrics.step) {
    EXPECT_EQ(table.row(metrics).find("WARNING"), std::string::npos) << metrics.step;
  }
  EXPECT_NE(table.row(metrics).find("WARNING"), std::string::npos);
}

std::string what_of(const StepMetrics& metrics, const WarningOptions& options = {}) {
  const auto warnings = find_warnings(metrics, options);
  return warnings.empty() ? "" : warnings[0].what;
}

TEST(RunWarnings, EachHasItsCondition) {
  EXPECT_EQ(find_warnings(grpo_step(1), {}).size(), 0u);
  EXPECT_EQ(find_warnings(StepMetrics{}, {}).size(), 0u);  // nothing known, nothing said

  StepMetrics metrics = grpo_step(1);
  metrics.set("zero_variance_groups", 0.75);
  EXPECT_EQ(what_of(metrics), "in 75% of the groups all rewards are equal: they were sampled for nothing");
  metrics.set("zero_variance_groups", 1);
  EXPECT_EQ(what_of(metrics), "in every group all rewards are equal: the step has no gradient");
  metrics.set("reward_min", 0);
  metrics.set("reward_max", 0);
  metrics.set("reward", 0);
  EXPECT_EQ(what_of(metrics), "all rewards of the step are 0: it has no gradient");
  metrics.set("reward_max", 1);
  metrics.set("zero_variance_groups", 0);
  EXPECT_EQ(what_of(metrics), "");

  metrics.set("no_answer", 0.9);
  EXPECT_EQ(what_of(metrics), "90% of the traces ended without an answer in the asked form");
  metrics.set("truncated", 0.5);  // not more than half; and these are the ones without an answer
  EXPECT_EQ(what_of(metrics), "");

  metrics = grpo_step(1);
  metrics.set("logprob_gap_mean", 0.2);
  EXPECT_NE(what_of(metrics).find("differ by 0.2000 nats a token on average (limit 0.1000)"), std::string::npos);
  metrics.set("logprob_gap_mean", 1e-7);
  EXPECT_EQ(what_of(metrics), "");
  EXPECT_NE(what_of(metrics, {.exact = true}).find("--exact promises 0"), std::string::npos);

  metrics = grpo_step(1);
  metrics.set("loss", std::nan(""));
  EXPECT_EQ(what_of(metrics), "loss is not a finite number");
}

RC_GTEST_PROP(RunTable, NoNumberAndNoTerminalBreaksTheColumns, ()) {
  RunTable table({.columns = *rc::gen::inRange(1, 220), .header_every = 3, .total_steps = 1000});
  for (int64_t step = 1; step <= 8; ++step) {
    StepMetrics metrics{.step = step};
    for (const MetricInfo& info : known_metrics()) {
      if (*rc::gen::inRange(0, 4) != 0) metrics.set(info.name, std::bit_cast<double>(*rc::gen::arbitrary<uint64_t>()));
    }
    const int columns = *rc::gen::inRange(1, 220);
    table.resize(columns);
    size_t width = 0;
    for (const std::string& line : lines(table.row(metrics))) {
      const bool warning = line.find("WARNING") == 0 || line.find("        ") == 0;
      if (!warning && width == 0) width = line.size();
      if (!warning) RC_ASSERT(line.size() == width);  // header and row are equally wide
      RC_ASSERT(static_cast<int>(line.size()) <= std::max(columns, 40));
    }
  }
}

}  // namespace
}  // namespace throughline
