#include "cli/bench_rollout.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/files.h"
#include "base/json.h"
#include "cli/bench_test_kit.h"

namespace throughline {
namespace {

TEST(BenchRollout, CountsOperations) {
  const ModelParts model = ModelParts::load(kModel, {}).value();
  const ModelConfig& c = model.decoder->config();
  // By hand: each fed id goes through every matrix, each sampled one through the head, each row attends all before it.
  double expected = 0;
  for (int64_t row = 0; row < 3 + 5 - 1; ++row) {
    for (int64_t l = 0; l < c.layers; ++l) {
      const int64_t q = c.q_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
      expected += 2.0 * (c.hidden * (q + 2 * kv) + q * c.hidden + 3 * c.hidden * c.ffn);
      expected += 2.0 * 2 * q * (row + 1);
    }
  }
  expected += 5 * 2.0 * c.vocab * c.hidden;
  EXPECT_DOUBLE_EQ(rollout_flop(*model.decoder, 3, 5), expected);
}

TEST(BenchRollout, MeasuresAndWritesALine) {
  const std::string file = ::testing::TempDir() + "/bench_rollout.jsonl";
  std::remove(file.c_str());
  ASSERT_EQ(run("bench rollout --model " + kModel + " --threads 1 --batch 2,5 --tokens 6 --repeat 2 --json " + file),
            0);
  std::stringstream lines(read_file(file).value());
  std::vector<Json> out;
  for (std::string line; std::getline(lines, line);) out.push_back(parse_json(line, file).value());
  ASSERT_EQ(out.size(), 2u);
  for (const Json& line : out) {
    EXPECT_EQ(line["bench"], "rollout");
    EXPECT_EQ(line["model"], "stories260K");
    EXPECT_GT(line["gflop_s"].get<double>(), 0.01);
    EXPECT_LE(line["tok_s_min"], line["tok_s_median"]);
    EXPECT_LE(line["tok_s_median"], line["tok_s_max"]);
    EXPECT_NEAR(line["tok_s_median"].get<double>() * line["flop_per_token"].get<double>() /
                    (line["gflop_s"].get<double>() * 1e9),
                line["flop_fraction"].get<double>(), 1e-9);
  }
  EXPECT_EQ(out[1]["batch"], 5);
}

TEST(BenchRollout, TellsThePeerWhatToDo) {
  const std::string file = ::testing::TempDir() + "/bench_rollout_peer.jsonl", script = file + ".sh";
  ASSERT_TRUE(
      write_atomically(script, "read order\necho \"$order\" >" + script +
                                   ".order\necho '{\"ready\": true}'\n"
                                   "while read word; do case $word in run) echo '{\"seconds\": 2}';;\n"
                                   "finish) echo '{\"done\": true, \"version\": \"a peer\"}'; exit;; esac; done\n")
          .ok());
  std::remove(file.c_str());
  const std::string common = "bench rollout --model " + kModel + " --threads 1 --batch 4 --tokens 3 --repeat 2 ";
  ASSERT_EQ(run(common + "--json " + file + " --peer sh " + script), 0);
  const Json line = parse_json(read_file(file).value(), file).value();
  EXPECT_EQ(line["peer"]["version"], "a peer");
  EXPECT_DOUBLE_EQ(line["peer"]["tok_s_median"].get<double>(), 4 * 3 / 2.0);
  const Json order = parse_json(read_file(script + ".order").value(), "order").value();
  EXPECT_EQ(order["batch"], 4);
  EXPECT_EQ(order["tokens"], 3);
  EXPECT_EQ(order["model"], kModel);
  EXPECT_EQ(run(common + "--peer false"), 2);
}

TEST(BenchRollout, RefusesWhatIsWrong) {
  EXPECT_EQ(run("bench rollout --model /nowhere"), 2);
  EXPECT_EQ(run("bench rollout --model " + kModel + " --kv nonsense"), 2);
  EXPECT_EQ(run("bench rollout --model " + kModel + " --batch 0"), -1);
}

}  // namespace
}  // namespace throughline
