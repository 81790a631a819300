#include "cli/quantize_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "base/files.h"
#include "base/json.h"
#include "cli/info_command.h"

namespace throughline {
namespace {

using ::testing::HasSubstr;

const std::string kModel = THROUGHLINE_SOURCE_DIR "/models/stories260K";

struct Outcome {
  int status = 0;
  std::string out, err;
};

Outcome run(const std::string& line) {
  CLI::App app{"test"};
  Outcome outcome;
  add_quantize_command(app, &outcome.status);
  add_info_command(app, &outcome.status);
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  try {
    app.parse(line);
  } catch (const CLI::ParseError& error) {
    outcome.status = 2;
    std::fputs(error.what(), stderr);
  }
  std::fflush(stdout);
  outcome.out = ::testing::internal::GetCapturedStdout();
  outcome.err = ::testing::internal::GetCapturedStderr();
  return outcome;
}

TEST(QuantizeCommand, MeasuresSomethingOrSaysThatItCannot) {
  const std::string quantize = "quantize --threads 1 -m " + kModel;
  const std::string folder = ::testing::TempDir() + "/quantize_never";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {" --text /dev/null", "--text /dev/null: has fewer than two tokens"},
      {" --window 1", "--window: "},
      {" --tokens 1", "--tokens: "},
      {" --window 513", "--window: 513 is over the model's context; take at most 512"},
      {" --text nowhere.txt", "nowhere.txt: "},
  };
  for (const auto& [arguments, error] : cases) {
    const Outcome outcome = run(quantize + arguments + " -o " + folder);
    EXPECT_EQ(outcome.status, 2) << arguments;
    EXPECT_THAT(outcome.err, HasSubstr(error));
    EXPECT_FALSE(is_directory(folder)) << arguments;
  }
  // Of two values the 99th percentile is the larger one, so not below the mean.
  const Outcome two = run(quantize + " --tokens 2");
  double mean = 0, percentile = 0;
  ASSERT_EQ(two.status, 0) << two.err;
  ASSERT_EQ(std::sscanf(two.out.c_str() + two.out.find("KL mean"), "KL mean %lf nats, 99th percentile %lf", &mean,
                        &percentile),
            2)
      << two.out;
  EXPECT_GE(percentile, mean);
}

TEST(InfoCommand, PlansQuantizedWeightsAsTheyAre) {
  const std::string folder = ::testing::TempDir() + "/info_q4";
  std::filesystem::remove_all(folder);
  ASSERT_EQ(run("quantize --threads 1 --tokens 2 --weights int4 -m " + kModel + " -o " + folder).status, 0);
  const Outcome json = run("info --json " + folder);
  ASSERT_EQ(json.status, 0) << json.err;
  const Json info = parse_json(json.out, "info").value();
  const auto file = static_cast<int64_t>(std::filesystem::file_size(folder + "/model.safetensors"));
  EXPECT_LE(info["weight_bytes"], file);
  EXPECT_GT(info["weight_bytes"], file * 9 / 10);
  EXPECT_FALSE(info.contains("update_bytes"));
  EXPECT_TRUE(parse_json(run("info --json " + kModel).out, "info")->contains("update_bytes"));
  EXPECT_THAT(run("info " + folder).out,
              ::testing::AllOf(HasSubstr("0.3 M parameters in int4"), HasSubstr("no training")));
  EXPECT_THAT(run("info --memory -1 " + kModel).err, HasSubstr("--memory: must be more than 0"));
}

}  // namespace
}  // namespace throughline
