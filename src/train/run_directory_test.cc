#include "train/run_directory.h"

#include <gtest/gtest.h>

#include "train/checkpoint.h"
#include "train/train_fixture.h"

namespace throughline {
namespace {

Recipe small_recipe(const std::vector<std::string>& overrides = {}) {
  auto recipe = parse_recipe(TrainKind::kSft, "[model]\npath=\"/m\"\n[[task]]\nspec=\"chain_sum\"\n", overrides, "r");
  EXPECT_TRUE(recipe.ok()) << recipe.error().line();
  return std::move(recipe).value();
}

TEST(RunDirectory, LinesAfterTheCheckpointAreCut) {
  const TrainFolder folder;
  {
    auto run = RunDirectory::open(folder / "run", small_recipe(), false);
    ASSERT_TRUE(run.ok()) << run.error().line();
    ASSERT_TRUE(run->begin_after(0).ok());
    for (int step = 1; step <= 5; ++step) {
      ASSERT_TRUE(run->write_trace("{\"step\":" + std::to_string(step) + ",\"text\":\"x\"}").ok());
      ASSERT_TRUE(run->write_trace("{\"step\":" + std::to_string(step) + ",\"text\":\"y\"}").ok());
      ASSERT_TRUE(run->write_metrics("{\"step\":" + std::to_string(step) + ",\"loss\":0.5}").ok());
    }
    // A second process may not write here meanwhile.
    const auto second = RunDirectory::open(folder / "run", small_recipe(), true);
    ASSERT_FALSE(second.ok());
    EXPECT_NE(second.error().line().find("another process"), std::string::npos);
  }
  const std::string traces = read_file(folder / "run/traces.jsonl").value();
  ASSERT_TRUE(write_atomically(folder / "run/traces.jsonl", traces + "{\"step\":6,\"te").ok());  // a killed writer's
  auto run = RunDirectory::open(folder / "run", small_recipe(), true);
  ASSERT_TRUE(run.ok()) << run.error().line();
  ASSERT_TRUE(run->begin_after(3).ok());
  EXPECT_EQ(read_file(run->traces_file()).value(), traces.substr(0, traces.find("{\"step\":4")));
  ASSERT_TRUE(run->write_metrics("{\"step\":4,\"loss\":0.25}").ok());
  const std::string metrics = read_file(run->metrics_file()).value();
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 4);
  EXPECT_NE(metrics.find("{\"step\":4,\"loss\":0.25}\n"), std::string::npos);
}

TEST(RunDirectory, RefusesWhatWouldMixTwoRuns) {
  const TrainFolder folder;
  {
    auto run = RunDirectory::open(folder / "run", small_recipe(), false);
    ASSERT_TRUE(run.ok() && run->begin_after(0).ok() && run->write_metrics("{\"step\":1}").ok());
  }
  const auto again = RunDirectory::open(folder / "run", small_recipe(), false);
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().line().find("add --resume"), std::string::npos);
  const auto other = RunDirectory::open(folder / "run", small_recipe({"optimizer.lr=1", "sft.items=3"}), true);
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().line().find("sft.items, optimizer.lr"), std::string::npos) << other.error().line();
  EXPECT_TRUE(RunDirectory::open(folder / "run", small_recipe({"run.steps=7", "checkpoint.every=1"}), true).ok());
}

TEST(RunDirectory, AFailedStartLeavesItEmpty) {
  const TrainFolder folder;
  const auto open = [&](const char* option, bool resume) {
    auto run = RunDirectory::open(folder / "run", small_recipe({option}), resume);
    EXPECT_TRUE(run.ok()) << run.error().line();
    EXPECT_FALSE(file_exists(run->first_weights() + "/config.json"));
    EXPECT_NE(read_file(folder / "run/recipe.toml")->find("items = "), std::string::npos);
    EXPECT_TRUE(make_directories(run->first_weights()).ok());
    EXPECT_TRUE(write_atomically(run->first_weights() + "/config.json", "{}").ok());
  };
  open("sft.items=2", false);
  open("sft.items=3", false);
  open("sft.items=4", true);
  ASSERT_TRUE(make_directories(folder / "run/checkpoints/step-1").ok());
  EXPECT_FALSE(RunDirectory::open(folder / "run", small_recipe({"sft.items=4"}), false).ok());
}

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(make_model_from_scratch(folder_ / "init", folder_ / "config.json", 1).ok());
    auto loaded = TrainModel::load(folder_ / "init", "");
    ASSERT_TRUE(loaded.ok()) << loaded.error().line();
    model_ = std::make_unique<TrainModel>(std::move(loaded).value());
    model_->decoder->make_trainable();
    trainable_ = std::make_unique<FullTrainable>(model_->decoder.get());
    optimizer_ = std::make_unique<Optimizer>(trainable_.get(), AdamWOptions());
  }
  Result<std::string> save(int64_t step, int64_t keep = 0) {
    return save_checkpoint(folder_ / "c", {step, {{"cursor", step * 3}}, optimizer_->state(), {0, trainable_->size()}},
                           *model_->decoder, folder_ / "init", keep);
  }
  Result<std::optional<FoundCheckpoint>> newest() {
    return load_newest_checkpoint(folder_ / "c", [this](const std::string& text) { warnings_.push_back(text); });
  }

  TrainFolder folder_;
  std::unique_ptr<TrainModel> model_;
  std::unique_ptr<FullTrainable> trainable_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<std::string> warnings_;
};

TEST_F(CheckpointTest, IsAModelDirectoryWithItsState) {
  EXPECT_FALSE(newest().value().has_value());
  const auto saved = save(4);
  ASSERT_TRUE(saved.ok()) << saved.error().line();
  const auto found = newest();
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->step, 4);
  EXPECT_EQ((*found)->state["cursor"], 12);
  const auto state = load_optimizer_state((*found)->path, {0, trainable_->size()});
  ASSERT_TRUE(state.ok()) << state.error().line();
  EXPECT_TRUE(optimizer_->restore(*state, "test").ok());
  const auto again = TrainModel::load((*found)->path, "");
  ASSERT_TRUE(again.ok()) << again.error().line();
  EXPECT_EQ(again->prompt("ab;1a")->ids, model_->prompt("ab;1a")->ids);
  for (size_t i = 0; i < again->decoder->parameters().size(); ++i) {
    EXPECT_TRUE(again->decoder->parameters()[i].second.equal(model_->decoder->parameters()[i].second));
  }
}

TEST_F(CheckpointTest, DamagedNewestFallsBackToTheOneBefore) {
  ASSERT_TRUE(save(1).ok());
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "tokenizer.json", "state.json"}) {
    const std::string newest_folder = save(2).value();
    std::string bytes = read_file(newest_folder + "/" + file).value();
    bytes[bytes.size() / 2] ^= 1;  // one bit
    ASSERT_TRUE(write_atomically(newest_folder + "/" + file, bytes).ok());
    warnings_.clear();
    const auto found = newest();
    ASSERT_TRUE(found.ok() && found->has_value()) << file;
    EXPECT_EQ((*found)->step, 1) << file;
    ASSERT_EQ(warnings_.size(), 1U) << file;
    EXPECT_NE(warnings_[0].find("checkpoint passed over"), std::string::npos);
    ASSERT_TRUE(write_atomically(newest_folder + "/" + file, bytes.substr(0, bytes.size() / 3)).ok());  // cut short
    EXPECT_EQ((*newest().value()).step, 1) << file;
    std::filesystem::remove(newest_folder + "/" + file);
    EXPECT_EQ((*newest().value()).step, 1) << file;
  }
  std::filesystem::remove(folder_ / "c/step-1/model.safetensors");
  const auto none = newest();
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().line().find("none of the 2 checkpoints is whole"), std::string::npos);
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (int64_t step = 1; step <= 4; ++step) ASSERT_TRUE(save(step, 2).ok());
  EXPECT_FALSE(is_directory(folder_ / "c/step-2"));
  EXPECT_TRUE(is_directory(folder_ / "c/step-3") && is_directory(folder_ / "c/step-4"));
  ASSERT_TRUE(make_directories(folder_ / "c/.step-9.tmp").ok());  // a killed writer's
  ASSERT_TRUE(save(5, 2).ok());
  EXPECT_FALSE(is_directory(folder_ / "c/.step-9.tmp"));
}

TEST_F(CheckpointTest, OneOfALaterStepThatWasPassedOverGoesFirst) {
  for (const int64_t step : {1, 2, 6}) ASSERT_TRUE(save(step).ok());
  std::filesystem::remove(folder_ / "c/step-6/model.safetensors");  // so that the run went on from step 2
  ASSERT_TRUE(save(3, 3).ok());
  EXPECT_FALSE(is_directory(folder_ / "c/step-6"));
  EXPECT_TRUE(is_directory(folder_ / "c/step-1"));
  std::filesystem::create_directory(folder_ / "c/step-9");
  ASSERT_TRUE(save(4, 1).ok());
  ASSERT_EQ(newest().value()->step, 4);
  EXPECT_FALSE(is_directory(folder_ / "c/step-9"));
}

}  // namespace
}  // namespace throughline
