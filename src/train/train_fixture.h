// For tests of the training loops: a scratch folder, and a tiny model from scratch.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "model/model_test_folder.h"
#include "train/train_run.h"

namespace throughline {

struct TrainFolder : TestFolder {
  TrainFolder() {
    write("config.json",
          R"({"model_type":"llama","hidden_size":32,"intermediate_size":64,"num_hidden_layers":2,)"
          R"("num_attention_heads":2,"num_key_value_heads":1,"head_dim":16,"vocab_size":64,"rms_norm_eps":1e-5,)"
          R"("max_position_embeddings":256,"tie_word_embeddings":true})");
  }
  std::string operator/(const std::string& name) const { return file(name); }
};

inline TrainOptions options_of(TrainKind kind, const std::string& toml, const std::string& folder,
                               const std::string& run_dir) {
  TrainOptions out;
  auto recipe = parse_recipe(kind, toml, {"run.threads=1"}, "test", folder);
  EXPECT_TRUE(recipe.ok()) << recipe.error().line();
  out.recipe = std::move(recipe).value();
  out.run_dir = run_dir;
  return out;
}

// The steps' metrics, without a failure.
inline std::vector<StepMetrics> run_steps(TrainOptions options) {
  std::vector<StepMetrics> steps;
  options.on_step = [&](const StepMetrics& metrics) { steps.push_back(metrics); };
  const auto done = train(options);
  EXPECT_TRUE(done.ok()) << done.error().line();
  return steps;
}

// Every byte that two runs must share: metrics without times, traces, and the files of a checkpoint.
inline std::vector<std::string> without_times(const std::string& metrics_file) {
  std::vector<std::string> out;
  const auto run = read_run_metrics(metrics_file);
  EXPECT_TRUE(run.ok()) << run.error().line();
  for (StepMetrics step : run->steps) {
    std::erase_if(step.values, [](const auto& entry) {
      const std::string& name = entry.first;
      return name == "tokens_per_s" || name == "peak_rss_mib" || name.find("_s") + 2 == name.size() ||
             name.find("_s_start") != std::string::npos;
    });
    out.push_back(write_step_metrics(step));
  }
  return out;
}

}  // namespace throughline
