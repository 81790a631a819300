#include "cli/info_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "base/files.h"
#include "base/json.h"
#include "base/spec.h"
#include "model/config.h"
#include "model/memory_plan.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace throughline {
namespace {

struct InfoOptions {
  std::string model, dtype, memory;
  bool json = false;
};

// Everything the command shows; the table and the JSON line are two views of it.
struct ModelInfo {
  ModelConfig config;
  GenerationDefaults defaults;
  std::map<std::string, int64_t> stored;  // dtype -> parameters in the files
  std::string compute_dtype;
  std::vector<std::string> files;  // of those that other commands look for
  MemoryPlan plan;
  int64_t update_tokens = 0;         // of the row that `update` is for
  std::optional<UpdatePlan> update;  // none: quantized weights are not trained
};

double mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

Result<ModelInfo> gather(const InfoOptions& options) {
  ModelInfo info;
  TL_TRY(info.config, load_config(options.model));
  TL_TRY(info.defaults, load_generation_defaults(options.model, info.config));
  TL_TRY(const Checkpoint checkpoint, Checkpoint::open_directory(options.model));
  const bool quantized = !info.config.weights.empty();
  int64_t stored_bytes = 0;
  for (const TensorView& view : checkpoint.tensors()) {
    stored_bytes += static_cast<int64_t>(view.bytes());
    if (!quantized)
      info.stored[dtype_name(view.info.dtype)] += static_cast<int64_t>(view.bytes() / dtype_bytes(view.info.dtype));
  }
  if (quantized) info.stored[info.config.weights] = info.config.parameters();  // not the bytes they are packed into
  TL_TRY(const at::ScalarType dtype, compute_dtype(options.dtype, checkpoint_dtype(info.config, checkpoint)));
  info.compute_dtype = dtype == at::kFloat ? "fp32" : "bf16";
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "chat_template.jinja",
                           "generation_config.json"}) {
    if (file_exists(join_path(options.model, name))) info.files.emplace_back(name);
  }
  MemoryPlanOptions plan;
  plan.weight_element_bytes = plan.kv_element_bytes = dtype == at::kFloat ? 4 : 2;
  if (quantized) plan.weight_bytes = stored_bytes;
  if (!options.memory.empty()) {
    TL_TRY(plan.memory_bytes, parse_size(options.memory, "--memory"));
    if (plan.memory_bytes <= 0) return Error{"must be more than 0", "--memory", ""};
  }
  TL_TRY(info.plan, plan_memory(info.config, plan));
  if (quantized) return info;  // training refuses it
  info.update_tokens = std::min<int64_t>(8192, info.config.max_positions);
  info.update = plan_update(
      info.config, {.weight_element_bytes = plan.weight_element_bytes, .micro_batch_tokens = info.update_tokens});
  return info;
}

std::string rope_text(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  std::string text = fmt::format("{}, theta {:g}", rope.kind, rope.theta);
  if (rope.kind != "default") text += fmt::format(", factor {:g}", rope.factor);
  if (rope.original_max_positions > 0) text += fmt::format(", original length {}", rope.original_max_positions);
  return text;
}

const char* family_name(ModelFamily family) {
  return family == ModelFamily::kQwen2 ? "qwen2" : family == ModelFamily::kQwen3 ? "qwen3" : "llama";
}

void print_table(const InfoOptions& options, const ModelInfo& info) {
  const ModelConfig& c = info.config;
  const auto line = [](const char* name, const std::string& value) { fmt::print("{:<16} {}\n", name, value); };
  line("model", options.model);
  line("family", fmt::format("{}{}{}", family_name(c.family), c.tied_embeddings ? ", tied embeddings" : "",
                             c.qkv_bias ? ", attention biases" : ""));
  line("layers", fmt::format("{} of hidden {}, ffn {}", c.layers, c.hidden, c.ffn));
  line("heads", fmt::format("{} query, {} key/value, of {}", c.q_heads, c.kv_heads, c.head_dim));
  line("vocabulary", fmt::format("{}", c.vocab));
  line("context", fmt::format("{} tokens", c.max_positions));
  line("rotary", rope_text(c));
  line("end ids", fmt::format("{}", fmt::join(info.defaults.eos_ids, " ")));
  for (const auto& [dtype, count] : info.stored)
    line("stored", fmt::format("{:.1f} M parameters in {}", static_cast<double>(count) / 1e6, dtype));
  line("other files", info.files.empty() ? "none (prompt_ids only)" : fmt::format("{}", fmt::join(info.files, " ")));
  const MemoryPlan& plan = info.plan;
  fmt::print("\nmemory plan, computing in {}\n", info.compute_dtype);
  line("  weights", fmt::format("{:.1f} MiB", mib(plan.weight_bytes)));
  line("  KV per token", fmt::format("{:.1f} KiB", static_cast<double>(plan.kv_bytes_per_token) / 1024));
  line("  full context",
       fmt::format("{:.1f} MiB of KV for {} tokens", mib(plan.kv_bytes_per_token * c.max_positions), c.max_positions));
  line("  reserve", fmt::format("{:.1f} MiB for activations and the program", mib(plan.reserve_bytes)));
  line("  memory",
       fmt::format("{:.1f} MiB {}", mib(plan.memory_bytes), options.memory.empty() ? "available now" : "given"));
  const int64_t tokens = plan.tokens_that_fit();
  line("  tokens", tokens == 0 ? std::string("none: weights and reserve alone do not fit")
                               : fmt::format("{} fit, over all sequences together", tokens));
  if (!info.update) {
    fmt::print("\nno training: its weights are quantized; take the checkpoint that they were made from\n");
    return;
  }
  const UpdatePlan& update = *info.update;
  fmt::print("\ntraining in full, rows of {} tokens, layers checkpointed\n", info.update_tokens);
  line("  update", fmt::format("{:.1f} MiB beside the program", mib(update.total_bytes())));
  line("  of it", fmt::format("weights {:.1f}, gradients {:.1f}, optimizer {:.1f}, activations {:.1f}, logits {:.1f}",
                              mib(update.weight_bytes), mib(update.gradient_bytes), mib(update.optimizer_bytes),
                              mib(update.activation_bytes), mib(update.logit_bytes)));
}

void print_json(const InfoOptions& options, const ModelInfo& info) {
  const ModelConfig& c = info.config;
  Json line = {{"model", options.model},
               {"family", family_name(c.family)},
               {"parameters", c.parameters()},
               {"layers", c.layers},
               {"hidden", c.hidden},
               {"q_heads", c.q_heads},
               {"kv_heads", c.kv_heads},
               {"head_dim", c.head_dim},
               {"vocab", c.vocab},
               {"context", c.max_positions},
               {"rope", c.rope.kind},
               {"dtype", info.compute_dtype},
               {"weight_bytes", info.plan.weight_bytes},
               {"kv_bytes_per_token", info.plan.kv_bytes_per_token},
               {"memory_bytes", info.plan.memory_bytes},
               {"reserve_bytes", info.plan.reserve_bytes},
               {"tokens_that_fit", info.plan.tokens_that_fit()}};
  if (info.update) {
    line["update_row_tokens"] = info.update_tokens;
    line["update_bytes"] = info.update->total_bytes();
  }
  fmt::print("{}\n", dump_json(line));
}

}  // namespace

void add_info_command(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command = app.add_subcommand("info", "Say what a model directory holds, and the memory plan");
  command->add_option("--model,model", options->model, "folder with config.json and safetensors")->required();
  command->add_option("--dtype", options->dtype, "compute in fp32 or bf16 (default: the checkpoint's; fp16 in fp32)");
  command->add_option("--memory", options->memory, "bytes to plan with: 8G, 512M (default: what is available now)");
  command->add_flag("--json", options->json, "one JSON line instead of the table");
  command->callback([options, exit_status] {
    const auto info = gather(*options);
    if (!info.ok()) {
      fmt::print(stderr, "{}\n", info.error().line());
      *exit_status = 2;
      return;
    }
    *exit_status = 0;
    options->json ? print_json(*options, *info) : print_table(*options, *info);
  });
}

}  // namespace throughline
