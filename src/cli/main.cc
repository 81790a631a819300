// throughline: every command in one binary. `throughline help` lists them.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "cli/generate_command.h"
#include "cli/interrupt.h"

int main(int argc, char** argv) {
  using namespace throughline;
  // Activations of a step are a few hundred kilobytes; without this glibc would map and unmap them every time.
  ::mallopt(M_MMAP_THRESHOLD, 256 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  // oneDNN keeps a primitive per shape and never forgets one; prefill slices have many shapes.
  ::setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128", 0);
  watch_interrupts();

  int exit_status = 0;
  CLI::App app("Throughline: language models that think as long as they need, at a constant price per thought");
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "what a command does, its options with defaults and units");
  add_generate_command(app, &exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help
    std::cerr << "throughline: " << error.what() << "; see `throughline "
              << (argc > 1 && argv[1][0] != '-' ? std::string(argv[1]) + " " : "") << "--help`\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "throughline: internal error: " << error.what() << "\n";
    return 3;
  }
  return exit_status;
}
