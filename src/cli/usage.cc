#include "cli/usage.h"

#include <algorithm>

namespace throughline {
namespace {

const auto kAll = [](auto*) { return true; };

// These say themselves what may stand there.
bool tells_itself(const CLI::Option& option) {
  return option.check_name("--kv") || option.check_name("--think") || option.check_name("--stop");
}

}  // namespace

void refuse_empty_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_positional() || option->get_items_expected_max() == 0 || tells_itself(*option)) continue;
    option->check([](const std::string& value) { return std::string(value.empty() ? "is empty" : ""); });
  }
  for (CLI::App* command : app.get_subcommands(kAll)) refuse_empty_values(*command);
}

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* reached = &app;
  std::string path = app.get_name();
  while (!reached->get_subcommands().empty()) {
    reached = reached->get_subcommands().back();
    path += " " + reached->get_name();
  }
  std::string what = error.what();
  // CLI11 only says that a command is missing, not that the word in its place is none.
  const auto words = reached->remaining();
  if (!words.empty() && !reached->get_subcommands(kAll).empty())
    what = "unknown " + std::string(words[0][0] == '-' ? "flag" : "command") + " \"" + words[0] + "\"";
  return what + "; see `" + path + " --help`";
}

}  // namespace throughline
