#include "cli/synth_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>

#include "model/synth.h"

namespace throughline {
namespace {

std::atomic<bool> interrupted = false;  // set by the signal handler

// Ctrl-C asks synthesize() to stop, so that no half file is left; the old handler comes back at the end.
class InterruptGuard {
 public:
  InterruptGuard() : before_(std::signal(SIGINT, [](int) { interrupted = true; })) { interrupted = false; }
  ~InterruptGuard() { std::signal(SIGINT, before_); }

 private:
  void (*before_)(int);
};

void show_progress(uint64_t done, uint64_t total) {
  const int width = static_cast<int>(40 * done / total);
  fmt::print(stderr, "\r[{:<40}] {:3}% {} / {} MiB", std::string(static_cast<size_t>(width), '='), 100 * done / total,
             done >> 20, total >> 20);
  if (done == total) fmt::print(stderr, "\n");
  std::fflush(stderr);
}

int run_synth(const SynthOptions& options) {
  const InterruptGuard guard;
  const auto start = std::chrono::steady_clock::now();
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const Status status = synthesize(options, [&](uint64_t done, uint64_t total) {
    if (terminal) show_progress(done, total);
    return !interrupted;
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!status.ok()) {
    if (terminal) fmt::print(stderr, "\n");
    fmt::print(stderr, "{}\n", status.error().line());
    return interrupted ? 130 : 2;
  }
  const auto config = synth_config(options);
  fmt::print("{}: {:.1f} M parameters, {}, written in {:.1f} s\n", options.output,
             static_cast<double>(config->parameters()) / 1e6, config->dtype, seconds);
  return 0;
}

}  // namespace

void add_synth_command(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<SynthOptions>();
  CLI::App* command = app.add_subcommand("synth", "Write a random checkpoint of a known shape, for benchmarks");
  std::string shapes;
  for (const SynthShape& shape : synth_shapes()) shapes += fmt::format("\n{:>24}  {}", shape.name, shape.help);
  command->add_option("--shape", options->shape, "a known shape, or the path of a config.json" + shapes)->required();
  command->add_option("--dtype", options->dtype, "fp32, fp16 or bf16 (default: the config's, else bf16)");
  command->add_option("--seed", options->seed, "of the random weights")->capture_default_str();
  command->add_option("--output", options->output, "folder to write; must not hold a model yet")->required();
  command->callback([options, exit_status] { *exit_status = run_synth(*options); });
}

}  // namespace throughline
