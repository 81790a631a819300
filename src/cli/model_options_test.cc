#include "cli/model_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace throughline {
namespace {

Result<RequestFields> fields(std::vector<std::string> arguments) {
  CLI::App app;
  FieldFlags flags;
  flags.add_to(app);
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return Error{error.what(), "CLI11", ""};
  }
  return flags.fields();
}

TEST(FieldFlags, ReadAsTheFieldsOfALine) {
  const auto read = fields({"--max-tokens", "7", "--top_k", "-1", "--temperature", ".5", "--stop", "a,b", "--stop",
                            "[c]", "--seed", "18446744073709551615", "--stop-token-ids", "4,5", "--kv",
                            R"({"method":"recency","budget":9})", "--ignore-eos", "--logit-bias", R"({"3":-1})"});
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(read->max_tokens, 7);
  EXPECT_EQ(read->top_k, -1);
  EXPECT_EQ(read->temperature, 0.5);
  EXPECT_EQ(read->stop, (std::vector<std::string>{"a,b", "[c]"}));
  EXPECT_EQ(read->seed, 18446744073709551615U);
  EXPECT_EQ(read->stop_token_ids, (std::vector<int32_t>{4, 5}));
  EXPECT_EQ(read->kv->to_string(), "recency:budget=9");
  EXPECT_EQ(read->ignore_eos, true);
  EXPECT_EQ(read->logit_bias->at(3), -1);
  EXPECT_FALSE(read->top_p || read->n || read->think);
}

TEST(FieldFlags, AreCheckedAsTheFieldsOfALine) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--max-tokens", "-1"}, "--max-tokens: must be a whole number from 1 up"},
      {{"--max_tokens", "0"}, "--max-tokens: must be a whole number from 1 up"},
      {{"--top-k", "-7"}, "--top-k: must be a whole number from -1 up"},
      {{"--top-k", "99999999999999999999"}, "--top-k: must be a whole number from -1 up"},
      {{"--logprobs", "-1"}, "--logprobs: must be a whole number from 0 up"},
      {{"--min-tokens", "-1"}, "--min-tokens: must be a whole number from 0 up"},
      {{"--n", "0"}, "--n: must be a whole number from 1 to 1024"},
      {{"--seed", "18446744073709551616"}, "--seed: must be a whole number"},
      {{"--temperature", "nan"}, "--temperature: nan is out of range; use 0 (greedy) to 100"},
      {{"--temperature", "-1"}, "--temperature: -1 is out of range; use 0 (greedy) to 100"},
      {{"--temperature", "warm"}, "--temperature: must be a number"},
      {{"--repetition-penalty", "0"}, "--repetition-penalty: 0 is out of range; use 0.01 to 100"},
      {{"--stop", ""}, "--stop: a stop string is empty; leave it out"},
      {{"--stop-token-ids", "403,,5"}, "--stop-token-ids: must be a whole number from 0 to 2147483647"},
      {{"--kv", ""}, "--kv: is empty; use one of: full, "},
      {{"--think", ""}, "--think: is empty; use one of: longcot, "},
      {{"--kv", "recency:budget=0"}, "--kv: budget: 0 is out of range"},
      {{"--kv", "{\"method\""}, "--kv: invalid JSON"},
      {{"--kv", "rpc:budget=4K,min_budget=8K"}, "--kv: "},
      {{"--n", "1", "--n", "2"}, "CLI11: "},
  };
  for (const auto& [arguments, error] : cases) {
    const auto read = fields(arguments);
    ASSERT_FALSE(read.ok()) << arguments[0] << " " << arguments[1];
    EXPECT_EQ(read.error().line().substr(0, error.size()), error);
  }
}

TEST(FieldFlags, WhatNeedsTheModelIsCheckedWithIt) {
  ModelOptions options;
  options.model = THROUGHLINE_SOURCE_DIR "/models/stories260K";
  options.kv_memory = "1M";
  options.threads = 1;
  const auto model = load_model(options);
  ASSERT_TRUE(model.ok()) << model.error().line();
  const auto error = [&](const std::vector<std::string>& arguments) {
    const Status good = check_flags(*fields(arguments), **model);
    return good.ok() ? "" : good.error().line();
  };
  EXPECT_EQ(error({"--stop-token-ids", "5", "--stop", "x"}), "");
  EXPECT_EQ(error({"--stop-token-ids", "99999"}).find("--stop-token-ids: token id 99999 is not in the vocabulary"), 0U);
  EXPECT_EQ(error({"--logprobs", "600"}).find("--logprobs: 600 is out of range"), 0U);
  options.park_memory = "-1";
  EXPECT_EQ(load_model(options).error().line(), "--park-memory: must be at least 0");
}

}  // namespace
}  // namespace throughline
