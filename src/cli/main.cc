// throughline: every command in one binary. `throughline help` lists them.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "cli/bench_command.h"
#include "cli/demo_command.h"
#include "cli/generate_command.h"
#include "cli/grade_command.h"
#include "cli/gym_command.h"
#include "cli/help_command.h"
#include "cli/info_command.h"
#include "cli/interrupt.h"
#include "cli/quantize_command.h"
#include "cli/run_command.h"
#include "cli/serve_command.h"
#include "cli/synth_command.h"
#include "cli/text_commands.h"
#include "cli/train_command.h"
#include "cli/train_view_command.h"
#include "cli/usage.h"
#include "cli/version.h"
#include "ops/cpu/cpu_limit.h"
#include "ops/cpu_memory.h"

int main(int argc, char** argv) {
  using namespace throughline;
  ops::use_heap_for_tensors();
  // oneDNN keeps a primitive per shape and never forgets one; prefill slices have many shapes.
  ::setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128", 0);
  if (const char* limit = std::getenv("THROUGHLINE_CPU"); limit != nullptr) {
    if (const Status status = ops::limit_cpu(limit); !status.ok()) {
      std::cerr << "throughline: " << status.error().line() << "\n";
      return 2;
    }
  }
  watch_interrupts();

  int exit_status = 0;
  CLI::App app("Throughline: language models that think as long as they need, at a constant price per thought",
               "throughline");
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "what a command does, its options with defaults and units");
  app.set_version_flag("--version", std::string("throughline ") + kVersion);
  add_demo_command(app, &exit_status);
  add_run_command(app, &exit_status);
  add_generate_command(app, &exit_status);
  add_serve_command(app, &exit_status);
  add_bench_command(app, &exit_status);
  add_train_view_commands(*add_train_command(app, &exit_status), &exit_status);
  add_info_command(app, &exit_status);
  add_synth_command(app, &exit_status);
  add_quantize_command(app, &exit_status);
  add_text_commands(app, &exit_status);
  add_gym_command(app, &exit_status);
  add_grade_command(app, &exit_status);
  add_help_command(app, &exit_status);
  refuse_empty_values(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help and version
    std::cerr << "throughline: " << usage_error(app, error) << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "throughline: internal error: " << error.what() << "\n";
    return 3;
  }
  return exit_status;
}
