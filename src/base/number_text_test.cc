#include "base/number_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace throughline {
namespace {

TEST(NumberText, AsManyDigitsAsFit) {
  EXPECT_EQ(fit_number(0.4123, 6, 3), "0.412");
  EXPECT_EQ(fit_number(-0.4123, 6, 3), "-0.412");
  EXPECT_EQ(fit_number(1234.5678, 6, 3), "1234.6");
  EXPECT_EQ(fit_number(123456, 6, 3), "123456");
  EXPECT_EQ(fit_number(1234567, 6, 3), "1.23M");
  EXPECT_EQ(fit_number(20643, 5, 0), "20643");
  EXPECT_EQ(fit_number(206430, 5, 0), "206K");
  EXPECT_EQ(fit_number(999999.9, 5, 1), "1000K");
  EXPECT_EQ(fit_number(0, 6, 3), "0");
  EXPECT_EQ(fit_number(0.000000125, 7, 4), "1.2e-07");
  EXPECT_EQ(fit_number(0.00004, 6, 3), "4e-05");
  EXPECT_EQ(fit_number(0.043, 7, 1), "0.043");
  EXPECT_EQ(fit_number(-0.0043, 7, 1), "-0.0043");
  EXPECT_EQ(fit_number(1e300, 6, 3), "1e+300");
  EXPECT_EQ(fit_number(-1e300, 6, 3), "#");
  EXPECT_EQ(fit_number(std::nan(""), 6, 3), "nan");
  EXPECT_EQ(fit_number(-std::numeric_limits<double>::infinity(), 4, 3), "-inf");
}

TEST(NumberText, SharesAreExactAtTheirEnds) {
  EXPECT_EQ(fit_share(0.7251, 5), "72.5%");
  EXPECT_EQ(fit_share(1, 5), "100%");
  EXPECT_EQ(fit_share(0.99999, 5), "99.9%");
  EXPECT_EQ(fit_share(0, 5), "0%");
  EXPECT_EQ(fit_share(1e-9, 5), "0.1%");
  EXPECT_EQ(fit_share(3, 5), "3.00");
}

TEST(NumberText, Memory) {
  EXPECT_EQ(fit_mebibytes(812.4, 6), "812M");
  EXPECT_EQ(fit_mebibytes(1454, 6), "1.42G");
  EXPECT_EQ(fit_mebibytes(1454.0 * 1024, 6), "1.42T");
}

RC_GTEST_PROP(NumberText, NeverWiderThanAsked, (uint64_t bits, uint32_t some)) {
  const double value = std::bit_cast<double>(bits);
  const double share = static_cast<double>(some) / 4294967295.0;
  const int width = *rc::gen::inRange(5, 12);
  const int decimals = *rc::gen::inRange(0, 6);
  for (const double v : {value, share, share * 1e4, -share * 1e7, static_cast<double>(some)}) {
    for (const std::string& text : {fit_number(v, width, decimals), fit_share(v, width), fit_mebibytes(v, width)}) {
      RC_ASSERT(!text.empty());
      RC_ASSERT(static_cast<int>(text.size()) <= width);
    }
    if (v != 0) RC_ASSERT(fit_number(v, width, decimals) != "0");
  }
}

}  // namespace
}  // namespace throughline
