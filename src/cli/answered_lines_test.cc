#include "cli/answered_lines.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace throughline {
namespace {

const std::string kAnswer = "{\"id\":\"a\",\"text\":\"x\",\"finish_reason\":\"stop\"}\n";
const std::string kNumbered = "{\"id\":null,\"line\":3,\"text\":\"x\",\"finish_reason\":\"stop\"}\n";
const std::string kError = "{\"id\":\"b\",\"error\":\"in.jsonl line 2: invalid JSON\"}\n";

class AnsweredLines : public ::testing::Test {
 protected:
  std::string path_ =
      ::testing::TempDir() + "/answered_lines_" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  Result<std::set<std::string>> answered(const std::string& text) {
    EXPECT_TRUE(write_atomically(path_, text).ok());
    return answered_in(path_);
  }
  std::string content() const { return read_file(path_).value(); }
};

TEST_F(AnsweredLines, ErrorsAreDroppedAndAnswersKept) {
  const auto keys = answered(kAnswer + kError + kNumbered + "{\"id\":\"c\",\"te");
  ASSERT_TRUE(keys.ok()) << keys.error().line();
  EXPECT_EQ(*keys, (std::set<std::string>{"\"a\"", "line 3"}));
  EXPECT_EQ(content(), kAnswer + kNumbered);
  EXPECT_TRUE(answered_in("-")->empty());
  EXPECT_TRUE(answered_in(path_ + ".none")->empty());
}

TEST_F(AnsweredLines, WhatIsNoResultIsRefusedAndStays) {
  for (const std::string foreign : {"precious\n", "\n", "7\n", "{\"error\":\"of a log\"}\n",
                                    "{\"id\":1,\"prompt\":\"Once\"}\n", "precious", "{\"na"}) {
    const std::string text = kError + kAnswer + foreign;
    const auto keys = answered(text);
    ASSERT_FALSE(keys.ok()) << foreign;
    EXPECT_EQ(keys.error().line(), path_ + " line 3: is not a result of generate; choose another --output");
    EXPECT_EQ(content(), text);
  }
}

}  // namespace
}  // namespace throughline
