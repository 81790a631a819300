#include "cli/help_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cache/policy.h"
#include "cli/report.h"
#include "think/environment.h"
#include "train/recipe.h"
#include "train/recipe_docs.h"

namespace throughline {
namespace {

constexpr const char* kSpecForm =
    "A spec is METHOD or METHOD:option=value,option=value. The same string works in flags and in JSON lines, where it\n"
    "may also be an object, {\"method\": \"...\", \"option\": value}. Whole numbers take K and M (1024-based).\n";

Result<int> help(const CLI::App& app, const std::string& topic) {
  if (topic.empty()) {
    fmt::print("{}", app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal));
  } else if (topic == "kv") {
    fmt::print("KV policies: what stays in the cache while the model thinks. Used as --kv and \"kv\".\n{}\n{}\n",
               kSpecForm, describe_specs(policy_infos()));
  } else if (topic == "think") {
    fmt::print("Thinking environments: contexts, and how thinking ends. Used as --think and \"think\".\n{}\n{}\n",
               kSpecForm, describe_specs(environment_infos()));
  } else if (topic == "recipe") {
    fmt::print("Training recipes: TOML sections, or --set section.key=value. [[task]] may come several times.\n{}\n",
               describe_specs(recipe_sections()));
  } else if (topic == "recipe-tables") {
    fmt::print("{}", recipe_tables());
  } else {
    const CLI::App* command = nullptr;
    std::string known;
    for (const CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
      known += each->get_name() + ", ";
      if (each->get_name() == topic) command = each;
    }
    if (command == nullptr) return Error{"no help on \"" + topic + "\"", "", "topics: " + known + "kv, think, recipe"};
    fmt::print("{}", command->help(app.get_name()));
  }
  return 0;
}

}  // namespace

void add_help_command(CLI::App& app, int* exit_status) {
  auto topic = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "help", "help on a command, on KV policies (kv), environments (think) or training recipes (recipe)");
  command->add_option("topic", *topic, "a command, kv, think or recipe");
  command->callback([&app, topic, exit_status] { *exit_status = report(help(app, *topic)); });
}

}  // namespace throughline
