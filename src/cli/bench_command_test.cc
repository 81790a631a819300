#include "cli/bench_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/files.h"
#include "base/json.h"
#include "cli/bench_run.h"
#include "cli/bench_test_kit.h"

namespace throughline {
namespace {

std::vector<Json> bench(const std::string& arguments) {
  const std::string file =
      ::testing::TempDir() + "/bench_" + ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".jsonl";
  std::remove(file.c_str());
  EXPECT_EQ(
      run("bench " + arguments + " --model " + kModel + " --threads 1 --bandwidth-mib 4 --repeat 2 --json " + file), 0);
  std::stringstream stream(read_file(file).value());
  std::vector<Json> out;
  for (std::string line; std::getline(stream, line);) out.push_back(parse_json(line, file).value());
  return out;
}

void expect_fields(const Json& line) {
  EXPECT_EQ(line["engine"], "throughline");
  EXPECT_EQ(line["model"], "stories260K");
  EXPECT_EQ(line["dtype"], "fp32");
  EXPECT_EQ(line["threads"], 1);
  EXPECT_GT(line["tok_s_min"].get<double>(), 0);
  EXPECT_LE(line["tok_s_min"], line["tok_s_median"]);
  EXPECT_LE(line["tok_s_median"], line["tok_s_max"]);
  EXPECT_GT(line["peak_rss_mib"].get<double>(), 10);
  EXPECT_GT(line["bw_gb_s"].get<double>(), 0.01);
  EXPECT_GT(line["roofline_fraction"].get<double>(), 0);
  // Bytes over bandwidth over time, from the line's own figures.
  if (line["bench"] == "decode") {
    EXPECT_NEAR(line["bytes_per_step"].get<double>() / (line["bw_gb_s"].get<double>() * 1e9) *
                    line["tok_s_median"].get<double>() / line["batch"].get<double>(),
                line["roofline_fraction"].get<double>(), 0.05 * line["roofline_fraction"].get<double>());
  }
}

TEST(BenchCommand, RefusesWhatTheMemoryCannotHold) {
  const std::string decode = std::string("bench decode --threads 1 --depth 64 --model ") + kModel;
  for (const auto& [arguments, error] : {std::pair{" --bandwidth-mib 1073741824", "--bandwidth-mib: "},
                                         std::pair{" --bandwidth-mib 4 --batch 1073741824", "--batch: "}}) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(run(decode + arguments), 2);
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr(error));
  }
}

TEST(BenchCommand, DecodeCountsWhatMustMove) {
  const auto lines = bench("decode --depth 64,256 --batch 1,3 --tokens 4 --prompt 16");
  ASSERT_EQ(lines.size(), 4u);
  const auto decoder = Decoder::load(kModel, {}).value();
  const ModelConfig& config = decoder->config();
  const double token_bytes = 2.0 * config.layers * config.kv_heads * config.head_dim * 4;
  for (const Json& line : lines) {
    expect_fields(line);
    EXPECT_EQ(line["kv"], "full");
    // Two warm-up steps and 2 x 4 timed ones; the mean of the latter.
    const double cached = line["depth"].get<double>() + 2 + 4.5;
    EXPECT_NEAR(line["cached_tokens"].get<double>(), cached, 1e-9);
    EXPECT_NEAR(line["bytes_per_step"].get<double>(),
                static_cast<double>(decoder->step_weight_bytes()) + line["batch"].get<double>() * cached * token_bytes,
                1);
    EXPECT_GE(line["kv_bytes"].get<double>(),
              line["batch"].get<double>() * (line["depth"].get<double>() + 10) * token_bytes);
    EXPECT_EQ(line["event_interval"], 0);
  }
}

TEST(BenchCommand, EventsAreMeasuredAndSpread) {
  const auto lines = bench(
      "decode --depth 400 --tokens 4 --prompt 16 "
      "--kv "
      "rpc:interval=64,ratio=4,window=8;random:budget=96,interval=32,window=8;tova:budget=64;h2o:budget=64,recent=8");
  ASSERT_EQ(lines.size(), 4u);
  const std::vector<int64_t> intervals = {64, 32, 1, 1};
  for (size_t i = 0; i < lines.size(); ++i) {
    expect_fields(lines[i]);
    EXPECT_EQ(lines[i]["event_interval"], intervals[i]) << lines[i]["kv"];
    EXPECT_GT(lines[i]["event_ms"].get<double>(), 0);
    EXPECT_LT(lines[i]["cached_tokens"].get<double>(), 300);
  }
}

TEST(BenchCommand, PrefillOfSlices) {
  const auto lines = bench("prefill --depth 40,100 --batch 2 --slice 32");
  ASSERT_EQ(lines.size(), 2u);
  for (const Json& line : lines) {
    expect_fields(line);
    EXPECT_EQ(line["bench"], "prefill");
    EXPECT_EQ(line["batch"], 2);
  }
  EXPECT_GT(lines[1]["kv_bytes"], lines[0]["kv_bytes"]);
}

TEST(BenchCommand, RefusesWhatIsWrong) {
  EXPECT_EQ(run("bench decode --model /nowhere"), 2);
  EXPECT_EQ(run("bench decode --model " + kModel + " --kv full;nonsense"), 2);
  EXPECT_EQ(run("bench decode --model " + kModel + " --device cuda"), 2);
  EXPECT_EQ(run("bench decode --model " + kModel + " --depth 100000000"), 2);
  EXPECT_EQ(run("bench decode --model " + kModel + " --depth 0"), -1);
  EXPECT_EQ(run("bench decode"), -1);
}

}  // namespace
}  // namespace throughline
