#include "text/stop_strings.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace throughline {
namespace {

// The definition, slowly: the first end at which a stop string is complete; of those complete there, the longest.
StopStrings::Match naive(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (!stop.empty() && std::string_view(text).substr(0, end).ends_with(stop))
        longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {true, text.substr(0, end - longest)};
  }
  return {false, text};
}

RC_GTEST_PROP(StopStrings, EqualsANaiveSearchWhateverTheCuts, ()) {
  const auto letters = rc::gen::container<std::string>(rc::gen::elementOf(std::string("aab.")));
  const auto stops = *rc::gen::resize(5, rc::gen::container<std::vector<std::string>>(rc::gen::resize(5, letters)));
  const auto pieces = *rc::gen::container<std::vector<std::string>>(rc::gen::resize(4, letters));
  StopStrings finder(stops);
  std::string whole, out;
  bool stopped = false;
  for (const std::string& piece : pieces) {
    whole += piece;
    const auto match = finder.push(piece);
    out += match.text;
    stopped = stopped || match.stopped;
    RC_ASSERT(stopped == naive(whole, stops).stopped);                 // found as soon as it is complete
    RC_ASSERT(naive(whole, stops).text.substr(0, out.size()) == out);  // nothing to take back
  }
  out += finder.flush();
  RC_ASSERT(out == naive(whole, stops).text);
  RC_ASSERT(finder.found().empty() == !stopped);
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeAStop) {
  StopStrings finder({"</answer>", "\n\nUser:"});
  EXPECT_EQ(finder.push("The answer").text, "The answer");
  EXPECT_EQ(finder.push(" is <").text, " is ");
  EXPECT_EQ(finder.push("b> 4").text, "<b> 4");
  EXPECT_EQ(finder.push("\n\n").text, "");
  EXPECT_EQ(finder.push("\n").text, "\n");
  EXPECT_EQ(finder.push("\n").text, "\n");
  EXPECT_EQ(finder.push("Us").text, "");
  const auto match = finder.push("er: more");
  EXPECT_TRUE(match.stopped);
  EXPECT_EQ(match.text, "");
  EXPECT_EQ(finder.found(), "\n\nUser:");
  EXPECT_TRUE(finder.push("x").stopped);
  EXPECT_EQ(finder.flush(), "");
}

TEST(StopStrings, WithoutStopsEverythingPasses) {
  StopStrings finder({"", ""});
  EXPECT_EQ(finder.push("abc").text, "abc");
  EXPECT_EQ(finder.flush(), "");
}

}  // namespace
}  // namespace throughline
