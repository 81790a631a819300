#include "cli/quantize_command.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "base/files.h"
#include "base/rng.h"
#include "cli/quantize_quality.h"
#include "cli/report.h"
#include "model/save.h"
#include "text/tokenizer.h"

namespace throughline {
namespace {

struct QuantizeOptions {
  std::string model, output, weights = "int8", kv_dtype, text;
  int64_t tokens = 1024, window = 256;
  int threads = 0;
};

// What the quality is measured on unless --text names a file: plain prose with a sum in it, as a model thinks.
constexpr const char* kText =
    "A train leaves the first station at nine in the morning and runs at sixty kilometres an hour. A second train "
    "leaves "
    "another station, two hundred and forty kilometres away, half an hour later and comes towards it at ninety. When "
    "do "
    "they meet? Let me think step by step. In the first half hour the first train covers thirty kilometres, so two "
    "hundred and ten are left between them when the second one starts. From then on they close in on each other at "
    "sixty plus ninety, which is one hundred and fifty kilometres an hour. Two hundred and ten divided by one hundred "
    "and fifty is one point four hours, or one hour and twenty-four minutes. Wait, that is counted from half past "
    "nine, "
    "not from nine. Half past nine and one hour and twenty-four minutes is six minutes to eleven. Let me check it: by "
    "then the first train has run for one hour and fifty-four minutes, which is one point nine hours, and covered one "
    "hundred and fourteen kilometres. The second has run for one point four hours and covered one hundred and "
    "twenty-six. Together that is two hundred and forty, as it should be. The answer is 10:54.\n";

Result<std::vector<int64_t>> text_ids(const QuantizeOptions& options, const ModelConfig& config, std::string* what) {
  std::vector<int64_t> ids;
  if (Tokenizer::present(options.model)) {
    std::string text = kText;
    if (!options.text.empty()) {
      TL_TRY(text, read_file(options.text, 1 << 24));
    }
    TL_TRY(const auto tokenizer, Tokenizer::load(options.model));
    for (const int32_t id : tokenizer->encode(text)) ids.push_back(id);
    *what = options.text.empty() ? "the built-in text" : options.text;
  } else {
    if (!options.text.empty())
      return Error{"the model directory has no tokenizer", "--text", "leave it out: random ids are taken"};
    for (int64_t i = 0; i < options.tokens; ++i) {
      ids.push_back(static_cast<int64_t>(random_uniform({1, 0, static_cast<uint64_t>(i), RngPurpose::kSample}) *
                                         static_cast<double>(config.vocab)));
    }
    *what = "random ids (the model has no tokenizer)";
  }
  if (static_cast<int64_t>(ids.size()) > options.tokens) ids.resize(static_cast<size_t>(options.tokens));
  if (ids.size() < 2)
    return Error{"has fewer than two tokens, of which nothing can be measured",
                 options.text.empty() ? "--tokens" : "--text " + options.text, "take more"};
  return ids;
}

Status copy_companions(const std::string& from, const std::string& to) {
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json",
                           "special_tokens_map.json", "chat_template.jinja", "generation_config.json"}) {
    if (!file_exists(join_path(from, name))) continue;
    TL_TRY(const std::string bytes, read_file(join_path(from, name), 1 << 28));
    TL_TRY_STATUS(write_atomically(join_path(to, name), bytes));
  }
  return {};
}

Result<int> quantize(const QuantizeOptions& options) {
  at::set_num_threads(options.threads > 0 ? options.threads
                                          : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  TL_TRY(const auto plain, Decoder::load(options.model, {}));
  if (plain->weight_format() != ops::WeightFormat::kPlain)
    return Error{"is quantized already", options.model, "take the checkpoint that it was made from"};
  const bool keep = options.weights == "none";
  if (keep && (!options.output.empty() || options.kv_dtype.empty()))
    return Error{"none only measures", "--weights", "leave --output out and give --kv-dtype int8"};
  if (options.window > plain->config().max_positions)
    return Error{fmt::format("{} is over the model's context", options.window), "--window",
                 fmt::format("take at most {}", plain->config().max_positions)};
  std::string what;
  TL_TRY(const auto ids, text_ids(options, plain->config(), &what));  // before the work of quantizing
  const auto start = std::chrono::steady_clock::now();
  TL_TRY(const auto packed, Decoder::load(options.model, {.weights = keep ? "" : options.weights}));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!options.output.empty()) {
    TL_TRY_STATUS(save_model(options.output, packed->config(), packed->parameters()));
    TL_TRY_STATUS(copy_companions(options.model, options.output));
  }
  constexpr double kMib = 1 << 20;
  if (!keep) {
    fmt::print("{}: {} weights, {:.1f} MiB of {:.1f} ({:.1f} s)\n",
               options.output.empty() ? "not saved" : options.output, options.weights,
               static_cast<double>(packed->weight_bytes()) / kMib, static_cast<double>(plain->weight_bytes()) / kMib,
               seconds);
  }
  const QualityReport q = compare_models(*plain, *packed, ids, options.window, !options.kv_dtype.empty());
  const char* const dtype = plain->dtype() == at::kFloat ? "fp32" : "bf16";
  fmt::print("on {} tokens of {}, windows of {}, {} weights and {} K and V against {}:\n", q.positions, what,
             options.window, keep ? dtype : options.weights, options.kv_dtype.empty() ? dtype : "int8", dtype);
  fmt::print("  KL mean {:.5f} nats, 99th percentile {:.5f}; the same most likely token at {:.2f} %\n", q.mean_kl,
             q.p99_kl, q.top1_agreement * 100);
  fmt::print("  loss {:.4f} nats a token, was {:.4f}\n", q.model_loss, q.reference_loss);
  return 0;
}

}  // namespace

void add_quantize_command(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command =
      app.add_subcommand("quantize", "Write a checkpoint with int8 or int4 weights and say what it cost in quality");
  const CLI::Range several(int64_t{2}, int64_t{1} << 24);  // one token has none before it
  command->add_option("-m,--model", options->model, "model directory in Hugging Face form")->required();
  command
      ->add_option("--weights", options->weights,
                   "int8 (a scale a row), int4 (a scale for 32 neighbours) or none (to measure --kv-dtype alone)")
      ->check(CLI::IsMember({"int8", "int4", "none"}))
      ->capture_default_str();
  command
      ->add_option("--kv-dtype", options->kv_dtype, "int8: measure with K and V in int8 pages (nothing of it is saved)")
      ->check(CLI::IsMember({"int8"}));
  command->add_option("-o,--output", options->output,
                      "folder to write; must not hold a model yet (left out: only the quality is measured)");
  command->add_option("--text", options->text, "file whose text the quality is measured on (default: a built-in one)");
  command->add_option("--tokens", options->tokens, "tokens of the text, at most")
      ->check(several)
      ->capture_default_str();
  command->add_option("--window", options->window, "tokens read together")->check(several)->capture_default_str();
  command->add_option("--threads", options->threads, "threads (0: all cores)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->callback([options, exit_status] { *exit_status = report(quantize(*options)); });
}

}  // namespace throughline
