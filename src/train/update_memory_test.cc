// Peak memory of an update at row length 8K stays under the formula that `info` prints (model/memory_plan.h).
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/files.h"
#include "model/memory_plan.h"
#include "model/synth.h"
#include "ops/cpu_memory.h"
#include "train/row_attention.h"
#include "train/update.h"

namespace throughline {
namespace {

// A line of /proc/self/status in bytes: VmRSS, VmHWM.
int64_t status_bytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
  }
  return -1;
}

// The peak of work() above what the process held before.
int64_t peak_growth(const std::function<void()>& work) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak starts anew
  const int64_t before = status_bytes("VmRSS");
  work();
  return status_bytes("VmHWM") - before;
}

ModelConfig shape() {
  ModelConfig c;
  c.family = ModelFamily::kQwen3;
  c.hidden = 192, c.layers = 3, c.q_heads = 6, c.kv_heads = 2, c.head_dim = 32, c.ffn = 512, c.vocab = 4096;
  c.max_positions = 8192, c.tied_embeddings = true, c.qk_norm = true, c.dtype = "float32";
  c.eos_ids = {1};
  return c;
}

AttentionFactory packed_attention() {
  return [](const Decoder& decoder, std::span<const TrainRow* const> rows) -> std::unique_ptr<AttentionContext> {
    std::vector<PackedRow> packed;
    for (const TrainRow* row : rows) packed.push_back({row->tokens() - 1, &row->evictions});
    return std::make_unique<RowAttention>(decoder, std::move(packed), ops::NumericMode::kFast);
  };
}

TrainRow row_of(int64_t tokens, int64_t vocab) {
  TrainRow row;
  for (int64_t i = 0; i <= tokens; ++i) row.ids.push_back(static_cast<int32_t>(i * i % vocab));
  row.prompt_tokens = 64;
  row.trained.assign(static_cast<size_t>(row.response_tokens()), 1);
  row.trace_tokens = row.response_tokens();
  row.advantage = 1;
  return row;
}

// From loading the model to the weights of the second update, which has the optimizer's state beside it.
UpdateStats update_twice(const std::string& folder, const std::string& dtype, int64_t tokens, bool checkpoint) {
  Decoder::LoadOptions load;
  load.dtype = dtype;
  const auto decoder = Decoder::load(folder, load).value();
  FullTrainable trainable(decoder.get());
  UpdateOptions options;
  options.checkpoint_layers = checkpoint;
  Updater updater(decoder.get(), &trainable, options, packed_attention());
  const auto update = [&](int64_t row_tokens) {
    const TrainRow row = row_of(row_tokens, decoder->config().vocab);
    const TrainRow* pointer = &row;
    updater.accumulate({&pointer, 1}, {.traces = 1, .optimizer_steps = 1, .rows = 1, .tokens = row.trace_tokens});
    return updater.apply(1e-3);
  };
  update(128);
  return update(tokens);
}

TEST(UpdateMemory, StaysUnderThePlanAtRowLength8K) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers hold memory of their own";
#endif
  ops::use_heap_for_tensors();  // as the program does
  const std::string folder = ::testing::TempDir() + "update-memory-" + std::to_string(getpid());
  ASSERT_TRUE(make_directories(folder).ok());
  ASSERT_TRUE(write_atomically(folder + "/shape.json", config_to_json(shape()).dump()).ok());
  ASSERT_TRUE(synthesize({.shape = folder + "/shape.json", .dtype = "fp32", .output = folder + "/model"}, {}).ok());
  update_twice(folder + "/model", "fp32", 128, true);  // threads, kernels and their buffers are the program's
  constexpr int64_t kTokens = 8191;
  for (const std::string dtype : {"fp32", "bf16"}) {
    for (const bool checkpoint : {true, false}) {
      const UpdatePlan plan = plan_update(shape(), {.weight_element_bytes = dtype == "fp32" ? 4 : 2,
                                                    .micro_batch_tokens = kTokens,
                                                    .checkpoint_layers = checkpoint});
      UpdateStats stats;
      const int64_t peak = peak_growth([&] { stats = update_twice(folder + "/model", dtype, kTokens, checkpoint); });
      EXPECT_FALSE(stats.skipped);
      EXPECT_GT(stats.grad_norm, 0);
      EXPECT_LT(peak, plan.total_bytes()) << dtype << " " << checkpoint;
      EXPECT_GT(peak, plan.total_bytes() / 2) << dtype << " " << checkpoint;  // a plan, not a guess
      RecordProperty(dtype + (checkpoint ? "_checkpointed" : "_kept"),
                     std::to_string(peak >> 20) + " of " + std::to_string(plan.total_bytes() >> 20) + " MiB");
    }
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace throughline
