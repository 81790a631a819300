#include "cli/usage.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace throughline {
namespace {

std::string error_of(std::vector<std::string> arguments) {
  CLI::App app{"test", "throughline"};
  app.require_subcommand(1);
  std::string text, kv;
  int64_t number = 0;
  bool flag = false;
  CLI::App* bench = app.add_subcommand("bench");
  bench->require_subcommand(1);
  CLI::App* decode = bench->add_subcommand("decode");
  decode->add_option("--name", text);
  decode->add_option("--tokens", number);
  decode->add_option("--kv", kv);
  decode->add_flag("--exact", flag);
  decode->add_option("prompt", text);
  refuse_empty_values(app);
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  return "";
}

TEST(Usage, NamesTheCommandThatWasReached) {
  EXPECT_EQ(error_of({"nope"}), "unknown command \"nope\"; see `throughline --help`");
  EXPECT_EQ(error_of({"--nope"}), "unknown flag \"--nope\"; see `throughline --help`");
  EXPECT_EQ(error_of({"bench", "nope"}), "unknown command \"nope\"; see `throughline bench --help`");
  EXPECT_EQ(error_of({"bench"}), "A subcommand is required; see `throughline bench --help`");
  const std::string nested = error_of({"bench", "decode", "--tokens", "many"});
  EXPECT_NE(nested.find("; see `throughline bench decode --help`"), std::string::npos) << nested;
}

TEST(Usage, AnEmptyValueIsNoValue) {
  EXPECT_EQ(error_of({"bench", "decode", "--name", ""}), "--name: is empty; see `throughline bench decode --help`");
  EXPECT_EQ(error_of({"bench", "decode", "--tokens", ""}), "--tokens: is empty; see `throughline bench decode --help`");
  EXPECT_EQ(error_of({"bench", "decode", "--name=x", "--exact", ""}), "");
  EXPECT_EQ(error_of({"bench", "decode", "--kv", ""}), "");  // parse_spec() lists the methods
}

}  // namespace
}  // namespace throughline
