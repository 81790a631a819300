#include "cli/grade_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "gym/answer/grade.h"
#include "gym/answer/grade_file.h"

namespace throughline {

void add_grade_command(CLI::App& app, int* exit_status) {
  const auto options = std::make_shared<answer::GradeFileOptions>();
  std::string profiles;
  for (const std::string_view name : answer::profile_names()) {
    auto profile = answer::find_profile(name);
    profiles += "\n  " + std::string(name) + ": " + std::string(answer::profile_summary(**profile));
  }
  CLI::App* command = app.add_subcommand("grade", "grade stored responses with an answer verifier");
  command->add_option("--profile", options->profile, "verifier profile, one of:" + profiles)->capture_default_str();
  command->add_option("--input", options->input, "JSON Lines {\"id\",\"gold\",\"response\"}; - is standard input")
      ->capture_default_str();
  command
      ->add_option("--output", options->output,
                   "JSON Lines {\"id\",\"verdict\",\"extracted\",\"normalized\",\"steps\"}; - is standard output")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "threads; 0 is one for each processor")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  command->callback([options, exit_status] {
    const auto summary = answer::grade_file(*options);
    if (!summary.ok()) {
      std::fprintf(stderr, "throughline grade: %s\n", summary.error().line().c_str());
      *exit_status = 2;
      return;
    }
    std::fprintf(stderr, "%lld lines: %lld right, %lld wrong (%lld undecided), %lld without answer, %lld errors\n",
                 static_cast<long long>(summary->lines), static_cast<long long>(summary->right),
                 static_cast<long long>(summary->wrong), static_cast<long long>(summary->undecided),
                 static_cast<long long>(summary->no_answer), static_cast<long long>(summary->errors));
    *exit_status = summary->errors == 0 ? 0 : 1;
  });
}

}  // namespace throughline
