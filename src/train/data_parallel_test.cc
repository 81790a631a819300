// Several real processes (dist/worker_group.h) against one: the same rows, the same weights.
#include "train/data_parallel.h"

#include <ATen/Parallel.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/files.h"
#include "base/rng.h"
#include "dist/worker_group.h"
#include "model/model_test_folder.h"
#include "train/checkpoint.h"
#include "train/row_attention.h"

namespace throughline {
namespace {

const std::string kModel = THROUGHLINE_SOURCE_DIR "/tests/golden/model/qwen3";

// Eleven traces of one to three rows, as unequal as sampled ones.
std::vector<TrainRow> make_rows(int64_t vocab) {
  std::vector<TrainRow> rows;
  CounterStream random(3, 1, RngPurpose::kTest);
  for (int64_t trace = 0; trace < 11; ++trace) {
    const auto first = rows.size();
    for (int64_t chunk = random.integer(1, 3); chunk > 0; --chunk) {
      TrainRow& row = rows.emplace_back();
      row.trace = trace;
      row.advantage = static_cast<float>(random.uniform() * 2 - 1);
      row.prompt_tokens = random.integer(1, 6);
      const int64_t response = random.integer(1, 20);
      for (int64_t i = 0; i < row.prompt_tokens + response; ++i) {
        row.ids.push_back(static_cast<int32_t>(random.integer(0, vocab - 1)));
      }
      row.trained.assign(response, 1);
      for (int64_t i = 0; i < response; ++i) {
        row.behavior_logprobs.push_back(static_cast<float>(-4.5 - random.uniform()));
      }
    }
    int64_t tokens = 0;
    for (size_t i = first; i < rows.size(); ++i) tokens += trained_tokens(rows[i]);
    for (size_t i = first; i < rows.size(); ++i) rows[i].trace_tokens = tokens;
  }
  return rows;
}

AttentionFactory attention_of(ops::NumericMode mode) {
  return [mode](const Decoder& decoder, std::span<const TrainRow* const> rows) -> std::unique_ptr<AttentionContext> {
    std::vector<PackedRow> packed;
    for (const TrainRow* row : rows) packed.push_back({row->tokens() - 1, nullptr});
    return std::make_unique<RowAttention>(decoder, std::move(packed), mode);
  };
}

// A model in training, alone or as one of a group.
struct Trainer {
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<FullTrainable> trainable;
  std::unique_ptr<DataParallel> parallel;
  std::unique_ptr<Updater> updater;
  std::vector<TrainRow> rows;

  Trainer(ProcessGroup* group, bool exact, const std::string& model = kModel) {
    const auto mode = exact ? ops::NumericMode::kExact : ops::NumericMode::kFast;
    decoder = Decoder::load(model, {}).value();
    rows = make_rows(decoder->config().vocab);
    trainable = std::make_unique<FullTrainable>(decoder.get());
    parallel = std::make_unique<DataParallel>(group, exact, 64);
    UpdateOptions options;
    options.mode = mode;
    options.optimizer.max_grad_norm = 0.5;
    const ShardRange own = parallel->own_range(*trainable);
    updater =
        std::make_unique<Updater>(decoder.get(), trainable.get(), options, attention_of(mode), own.begin, own.end);
  }

  Result<UpdateStats> step() { return parallel->update(*updater, rows, count_step(rows, 11, 1), 1e-2); }

  // Weights and metrics, as bytes that can be held against those of another run.
  std::string bits(const UpdateStats& stats) const {
    const at::Tensor values = trainable->values().detach().contiguous();
    std::string out(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
    for (const double number : {stats.loss, stats.entropy, stats.gap_mean, stats.gap_max, stats.clip_fraction,
                                stats.correction_mean, stats.kl, stats.grad_norm}) {
      out.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    for (const int64_t number : {stats.trained_tokens, stats.fed_tokens, stats.rows}) {
      out.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    return out;
  }
};

std::string one_process(bool exact, int steps) {
  const auto one = single_process_group();
  Trainer trainer(one.get(), exact);
  UpdateStats stats;
  for (int i = 0; i < steps; ++i) stats = trainer.step().value();
  return trainer.bits(stats);
}

TEST(SplitRows, KeepsTracesWholeAndEvensTokens) {
  const auto rows = make_rows(100);
  for (const int64_t shares : {1, 2, 3, 8, 20}) {
    const auto split = split_rows(rows, shares);
    ASSERT_EQ(split.size(), static_cast<size_t>(shares));
    std::vector<int> seen(rows.size());
    std::map<int64_t, size_t> share_of;
    int64_t most = 0, all = 0, longest_trace = 0;
    std::map<int64_t, int64_t> tokens_of;
    for (size_t s = 0; s < split.size(); ++s) {
      int64_t tokens = 0;
      for (const int64_t row : split[s]) {
        ++seen[row];
        EXPECT_EQ(share_of.try_emplace(rows[row].trace, s).first->second, s);
        tokens += rows[row].tokens();
        longest_trace = std::max(longest_trace, tokens_of[rows[row].trace] += rows[row].tokens());
      }
      most = std::max(most, tokens);
      all += tokens;
    }
    EXPECT_EQ(seen, std::vector<int>(rows.size(), 1));
    EXPECT_LE(most, all / shares + longest_trace);
  }
}

// ---- workers ----

std::string variable(const char* name) { return std::getenv(name) ? std::getenv(name) : ""; }

void worker_check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "ERROR %s\n", status.error().line().c_str());
  _exit(3);
}

TEST(Worker, DISABLED_update) {
  auto group = connect_processes(launch_from_environment().value()).value();
  const bool exact = variable("EXACT") == "1";
  const std::string folder = variable("WORKER_FOLDER");
  Trainer trainer(group.get(), exact);
  UpdateStats stats;
  for (int i = 0; i < 3; ++i) {
    auto done = trainer.step();
    worker_check(done.ok() ? Status() : done.error());
    stats = *done;
    if (i != 1 || variable("SAVE").empty()) continue;
    CheckpointContent content{2, Json::object(), trainer.updater->optimizer().state(),
                              trainer.parallel->own_range(*trainer.trainable)};
    auto saved = save_checkpoint(variable("SAVE"), content, *trainer.decoder, "", 0, group.get());
    worker_check(saved.ok() ? Status() : saved.error());
  }
  worker_check(write_atomically(folder + "/bits." + std::to_string(group->rank()), trainer.bits(stats)));
  group->leave();
}

// Rank 1's range alone goes wrong: all must know.
TEST(Worker, DISABLED_diverge) {
  auto group = connect_processes(launch_from_environment().value()).value();
  Trainer trainer(group.get(), false);
  if (group->rank() == 1) trainer.updater->optimizer().state()[1].second.fill_(NAN);  // its first moment
  const auto stats = trainer.step();
  group->leave();
  _exit(stats.ok() && !stats->skipped && !stats->weights_finite ? 0 : 3);
}

std::vector<std::string> many_processes(int world, bool exact, const std::string& save = "") {
  WorkerGroup group("update", world, {std::string("EXACT=") + (exact ? "1" : "0"), "SAVE=" + save});
  std::vector<std::string> bits;
  for (const auto& end : group.wait()) EXPECT_EQ(end.code, 0) << end.output;
  for (int rank = 0; rank < world; ++rank) {
    auto read = read_file(group.folder() / ("bits." + std::to_string(rank)));
    bits.push_back(read.ok() ? *read : "");
  }
  return bits;
}

TEST(DataParallel, ExactStepsHaveOneProcessesBits) {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);  // the workers have one each
  const std::string one = one_process(true, 3);
  at::set_num_threads(threads);
  for (const int world : {2, 3}) {
    for (const std::string& bits : many_processes(world, true)) EXPECT_TRUE(bits == one) << world << " processes";
  }
}

TEST(DataParallel, PlainStepsAgreeUpToRounding) {
  const std::string one = one_process(false, 3);
  const auto two = many_processes(2, false);
  EXPECT_TRUE(two[0] == two[1]);
  EXPECT_FALSE(two[0] == one);  // or the test above would show nothing
  ASSERT_EQ(two[0].size(), one.size());
  const int64_t floats = static_cast<int64_t>((one.size() - 11 * 8) / sizeof(float));
  const auto values = [&](const std::string& bits) {
    return at::from_blob(const_cast<char*>(bits.data()), {floats}, at::kFloat).clone();
  };
  // Adam's first steps are near sign(gradient) * rate: entries with gradients near 0 may move differently.
  const at::Tensor apart = values(one).sub(values(two[0])).abs();
  EXPECT_LT(apart.mean().item<double>(), 1e-6);
  double loss[2];
  std::memcpy(&loss[0], one.data() + one.size() - 88, 8);
  std::memcpy(&loss[1], two[0].data() + one.size() - 88, 8);
  EXPECT_NEAR(loss[0], loss[1], 1e-5 * std::abs(loss[0]));
}

TEST(DataParallel, WeightsThatAreNotFiniteInOneRangeAreKnownToAll) {
  WorkerGroup group("diverge", 2, {});
  for (const auto& end : group.wait()) EXPECT_EQ(end.code, 0) << end.output;
}

TEST(DataParallel, ACheckpointOfThreeProcessesResumesOnOne) {
  const TestFolder own;
  const std::string& folder = own.path();
  const auto straight = many_processes(3, true, folder);
  const auto found = load_newest_checkpoint(folder, [](const std::string&) { FAIL(); });
  ASSERT_TRUE(found.ok()) << found.error().line();
  ASSERT_TRUE(found->has_value());
  const std::string step = (*found)->path;
  EXPECT_TRUE(file_exists(step + "/optimizer-00003-of-00003.safetensors"));

  const auto one = single_process_group();
  Trainer trainer(one.get(), true, step);
  auto state = load_optimizer_state(step, {0, trainer.trainable->size()});
  ASSERT_TRUE(state.ok()) << state.error().line();
  ASSERT_TRUE(trainer.updater->optimizer().restore(*state, step).ok());
  const UpdateStats stats = trainer.step().value();
  EXPECT_TRUE(trainer.bits(stats) == straight[0]);

  // A part of a range, and a checkpoint that lost a part.
  const int64_t half = Trainable::kShardAlign;
  auto part = load_optimizer_state(step, {half, half + 5});
  ASSERT_TRUE(part.ok()) << part.error().line();
  for (const auto& [name, tensor] : *part) {
    if (name == "step") continue;
    for (const auto& [other, whole] : *state) {
      if (other == name) EXPECT_TRUE(at::equal(tensor, whole.narrow(0, half, 5)));
    }
  }
  std::filesystem::remove(step + "/optimizer-00002-of-00003.safetensors");
  EXPECT_FALSE(load_optimizer_state(step, {0, trainer.trainable->size()}).ok());
  EXPECT_FALSE(check_checkpoint(step).ok());
}

}  // namespace
}  // namespace throughline
