#include "cli/train_view_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "train/step_metrics.h"
#include "train/trace_line.h"

namespace throughline {
namespace {

class TrainViewTest : public testing::Test {
 protected:
  TrainViewTest()
      : dir_((std::filesystem::temp_directory_path() / ("tl_view_" + std::to_string(::getpid()))).string()) {
    std::filesystem::create_directories(dir_);
    std::ofstream metrics(dir_ + "/metrics.jsonl"), traces(dir_ + "/traces.jsonl");
    for (int64_t step = 1; step <= 4; ++step) {
      StepMetrics line{.step = step};
      line.set("reward", 0.2 * static_cast<double>(step));
      line.set("loss", 1.0);
      metrics << write_step_metrics(line) << "\n";
      TraceLine trace;
      trace.step = step;
      trace.reward = step > 2 ? 1 : 0;
      trace.tokens = 10 * step;
      trace.verdict = step > 2 ? "right" : "wrong";
      trace.chunks.push_back(
          {.prompt_ids = {1}, .token_ids = {2}, .text = "text-" + std::to_string(step), .token_ends = {6}});
      traces << write_trace_line(trace) << "\n";
    }
  }
  ~TrainViewTest() override { std::filesystem::remove_all(dir_); }

  int run(std::vector<std::string> arguments) {
    CLI::App app;
    CLI::App* train = app.add_subcommand("train");
    int status = -1;
    add_train_view_commands(*train, &status);
    arguments.insert(arguments.begin(), "train");
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    try {
      app.parse(arguments);
    } catch (const CLI::ParseError& error) {
      status = 2;
    }
    out_ = testing::internal::GetCapturedStdout();
    error_ = testing::internal::GetCapturedStderr();
    return status;
  }
  static size_t count(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
  }

  std::string dir_, out_, error_;
};

TEST_F(TrainViewTest, PrintsWhatPassesTheFilterInOrder) {
  EXPECT_EQ(run({"view", dir_, "--print", "--reward", "1", "--sort", "length"}), 0);
  EXPECT_EQ(count(out_, "text-"), 2u);
  EXPECT_LT(out_.find("text-4"), out_.find("text-3"));
  EXPECT_EQ(error_, "2 of 4 traces\n");
  EXPECT_EQ(run({"view", dir_, "--list", "--step", "..3", "--limit", "2"}), 0);
  EXPECT_EQ(count(out_, "\n"), 3u);  // with its heading
  EXPECT_EQ(error_, "the first 2 of 3 of 4 traces\n");
  EXPECT_EQ(run({"view", dir_ + "/traces.jsonl", "--filter", "tokens=10..20"}), 0);  // no terminal: the list
  EXPECT_EQ(count(out_, "wrong"), 2u);
}

TEST_F(TrainViewTest, BadLinesAreToldAndSkipped) {
  std::ofstream(dir_ + "/traces.jsonl", std::ios::app)
      << "nonsense\n{\"step\":5,\"reward\":1,\"chunks\":[{\"token_ids\":[-1]}]}\n";
  EXPECT_EQ(run({"view", dir_, "--print"}), 0);
  EXPECT_EQ(count(out_, "text-"), 4u);
  EXPECT_NE(error_.find("line 5: invalid JSON"), std::string::npos);
  EXPECT_NE(error_.find("line 6: chunks[0].token_ids: must hold integers"), std::string::npos);
}

TEST_F(TrainViewTest, DrawsPlots) {
  EXPECT_EQ(run({"plot", dir_, "--ascii"}), 0);
  EXPECT_NE(out_.find("** reward 0.800"), std::string::npos);
  EXPECT_TRUE(file_exists(dir_ + "/plots/overview.svg"));
  EXPECT_EQ(run({"plot", "--metric", "loss", dir_, dir_ + "/metrics.jsonl", "--output", dir_ + "/both"}), 0);
  EXPECT_EQ(out_.find("Reward"), std::string::npos);
  EXPECT_TRUE(file_exists(dir_ + "/both/loss.svg"));
}

TEST_F(TrainViewTest, ErrorsAreOneLineAndTwo) {
  const std::vector<std::vector<std::string>> wrong = {{"view", dir_ + "/none"},
                                                       {"view", dir_, "--step", "x"},
                                                       {"view", dir_, "--sort", "size"},
                                                       {"plot", dir_ + "/none"},
                                                       {"plot", dir_, "--metric", "none"}};
  for (const auto& arguments : wrong) {
    EXPECT_EQ(run(arguments), 2) << arguments.back();
    EXPECT_EQ(count(error_, "\n"), 1u) << error_;
    EXPECT_EQ(error_.find("throughline: "), 0u) << error_;
  }
  EXPECT_EQ(run({"plot", dir_, "--smooth", "1"}), 2);
}

}  // namespace
}  // namespace throughline
