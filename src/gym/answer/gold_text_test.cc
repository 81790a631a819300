#include "gym/answer/gold_text.h"

#include <gtest/gtest.h>

#include "gym/answer/grade.h"

namespace throughline::answer {
namespace {

std::string text_of(const std::string& line) {
  return gold_text(parse_json(line, "test").value()["gold"], line).value_or("none");
}

TEST(GoldText, NumbersArePlainDecimals) {
  for (const auto& [number, text] : std::initializer_list<std::pair<const char*, const char*>>{
           {"4", "4"},
           {"-4", "-4"},
           {"2.50", "2.5"},
           {"0.00001", "0.00001"},
           {"1e-7", "0.0000001"},
           {"-1.5E-7", "-0.00000015"},
           {"1e22", "10000000000000000000000"},
           {"0.5e+20", "50000000000000000000"},
           {"1.25e17", "125000000000000000"},
           {"100000000000000000.0", "100000000000000000.0"},
           {"10000000000000000000000", "10000000000000000000000"},
           {"123456789012345678901234567890", "123456789012345678901234567890"},
           {"1e-999", "0.0"},
           {"1e-99999999999999999999", "0.0"}}) {
    const std::string line = R"({"more":[{"gold":3e-9},5e-9],"gold":)" + std::string(number) + R"(,"last":7e-9})";
    EXPECT_EQ(text_of(line), text) << number;
  }
  EXPECT_EQ(text_of(R"({"gold":"1e-7"})"), "1e-7");  // a text is the reader's own
  EXPECT_EQ(text_of(R"({"gold":[1]})"), "none");
  EXPECT_EQ(plain_decimals("10.25e1"), "102.5");
  EXPECT_EQ(plain_decimals("0.05e1"), "0.5");
}

TEST(GoldText, GradesAsItsNumber) {
  const Profile& profile = **find_profile("rlvr-strict");
  for (const char* number : {"0.00001", "1e-7", "1e22", "10000000000000000000000", "100000000000000000.0",
                             "123456789012345678901234567890"}) {
    const std::string line = R"({"gold":)" + std::string(number) + "}", gold = text_of(line);
    EXPECT_EQ(grade(profile, gold, "\\boxed{" + gold + "}").verdict, Verdict::kRight) << number;
    EXPECT_EQ(grade(profile, gold, "\\boxed{3}").verdict, Verdict::kWrong) << number;
  }
}

}  // namespace
}  // namespace throughline::answer
