#include "cli/trace_browser.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/files.h"

namespace throughline {
namespace {

class TraceBrowserTest : public testing::Test {
 protected:
  TraceBrowserTest()
      : path_((std::filesystem::temp_directory_path() / ("tl_browse_" + std::to_string(::getpid()))).string()) {
    write(6);
  }
  ~TraceBrowserTest() override { std::filesystem::remove(path_); }

  // Two traces a step; trace i has 100 * i tokens and reward i % 2.
  void write(int64_t count) {
    std::string text;
    for (int64_t i = 0; i < count; ++i) {
      TraceLine trace;
      trace.step = 1 + i / 2;
      trace.index = i % 2;
      trace.tokens = 100 * i;
      trace.reward = static_cast<double>(i % 2);
      trace.verdict = i % 2 == 1 ? "right" : "wrong";
      trace.prompt = "prompt-" + std::to_string(i);
      trace.chunks.push_back({.text = "response-" + std::to_string(i) + std::string(400, '.')});
      trace.chunks.push_back({.text = "second"});
      text += write_trace_line(trace) + "\n";
    }
    ASSERT_TRUE(write_atomically(path_, text).ok());
  }
  TraceBrowser browser(TraceBrowserOptions options = {}) {
    auto file = TraceFile::open(path_);
    EXPECT_TRUE(file.ok());
    TraceBrowser out(std::move(*file), std::move(options));
    out.resize(110, 12);
    return out;
  }
  static void type(TraceBrowser& browser, const std::string& letters) {
    for (const char c : letters) browser.press({Key::kText, std::string(1, c)});
  }
  static std::string shown(const TraceBrowser& browser) {
    std::string out;
    for (const StyledLine& line : browser.frame()) out += plain_text(line) + "\n";
    return out;
  }
  // The prompt of the marked line.
  static std::string marked(const TraceBrowser& browser) {
    const auto frame = browser.frame();
    for (size_t i = 1; i < frame.size(); ++i) {
      if (frame[i].empty() || frame[i][0].style != TextStyle::kSelected) continue;
      const std::string text = plain_text(frame[i]);
      return text.substr(text.find("prompt-"), 8);
    }
    return "";
  }

  std::string path_;
};

TEST_F(TraceBrowserTest, MovesOpensAndGoesBack) {
  TraceBrowser view = browser();
  EXPECT_EQ(marked(view), "prompt-0");
  type(view, "jj");
  EXPECT_EQ(marked(view), "prompt-2");
  type(view, "]");
  EXPECT_EQ(marked(view), "prompt-4");
  type(view, "[");
  EXPECT_EQ(marked(view), "prompt-2");
  view.press({Key::kEnter, ""});
  EXPECT_NE(shown(view).find("response-2"), std::string::npos);
  EXPECT_NE(shown(view).find("3 of 6"), std::string::npos);
  type(view, "n");
  EXPECT_NE(shown(view).find("response-3"), std::string::npos);
  type(view, "]]");
  EXPECT_NE(shown(view).find("chunk 2 of 2"), std::string::npos);
  view.press({Key::kEscape, ""});
  EXPECT_EQ(marked(view), "prompt-3");
  view.press({Key::kEnd, ""});
  EXPECT_EQ(marked(view), "prompt-5");
  EXPECT_FALSE(view.quit());
  type(view, "q");
  EXPECT_TRUE(view.quit());
}

TEST_F(TraceBrowserTest, SortsAndFilters) {
  TraceBrowser view = browser();
  type(view, "s");  // by length
  EXPECT_EQ(marked(view), "prompt-5");
  type(view, "r");
  EXPECT_EQ(marked(view), "prompt-0");
  type(view, "/reward=1x");
  view.press({Key::kBackspace, ""});
  view.press({Key::kEnter, ""});
  EXPECT_EQ(marked(view), "prompt-1");
  EXPECT_NE(shown(view).find("3 with reward=1"), std::string::npos);
  type(view, "/ q");  // a letter of the text, not the key
  view.press({Key::kEnter, ""});
  EXPECT_FALSE(view.quit());
  EXPECT_NE(shown(view).find("cannot read \"q\""), std::string::npos);
  view.press({Key::kEscape, ""});
  EXPECT_NE(shown(view).find("3 with reward=1 "), std::string::npos);  // as before
}

TEST_F(TraceBrowserTest, FollowsARunningRun) {
  TraceBrowser view = browser();
  type(view, "jjj");
  write(40);
  view.refresh();
  EXPECT_EQ(marked(view), "prompt-3");
  EXPECT_NE(shown(view).find("40 traces"), std::string::npos);
  write(2);
  view.refresh();
  EXPECT_EQ(marked(view), "prompt-0");
}

TEST_F(TraceBrowserTest, DamageIsShownNotFatal) {
  std::ofstream(path_, std::ios::app) << "{broken\n";
  TraceBrowser view = browser();
  EXPECT_NE(shown(view).find("skipped a bad line"), std::string::npos);
  view.resize(110, 24);
  type(view, "?");
  EXPECT_NE(shown(view).find("Ctrl-C"), std::string::npos);
  type(view, "x");
  ASSERT_TRUE(write_atomically(path_, std::string(read_file(path_)->size(), 'x')).ok());  // under its feet
  view.press({Key::kEnter, ""});
  EXPECT_NE(shown(view).find("invalid JSON"), std::string::npos);
}

TEST_F(TraceBrowserTest, AnEmptyRun) {
  write(0);
  TraceBrowser view = browser();
  type(view, "jk[]sr");
  view.press({Key::kEnter, ""});
  EXPECT_NE(shown(view).find("no traces yet"), std::string::npos);
}

RC_GTEST_FIXTURE_PROP(TraceBrowserTest, NoKeysBreakAFrame, ()) {
  TraceBrowser view = browser();
  const int presses = *rc::gen::inRange(0, 60);
  for (int i = 0; i < presses; ++i) {
    const Key key = *rc::gen::element(Key::kText, Key::kText, Key::kText, Key::kUp, Key::kDown, Key::kPageDown,
                                      Key::kPageUp, Key::kEnd, Key::kHome, Key::kEnter, Key::kEscape, Key::kBackspace);
    const std::string letter =
        *rc::gen::element<std::string>("j", "k", "s", "r", "/", "[", "]", "n", "p", "i", "?", "é", "=");
    view.press({key, key == Key::kText ? letter : ""});
    if (*rc::gen::inRange(0, 5) == 0) view.resize(*rc::gen::inRange(20, 200), *rc::gen::inRange(4, 50));
  }
  const int columns = *rc::gen::inRange(20, 200), rows = *rc::gen::inRange(4, 50);
  view.resize(columns, rows);
  const auto frame = view.frame();
  RC_ASSERT(static_cast<int>(frame.size()) == rows);
  for (const StyledLine& line : frame) RC_ASSERT(width_of(line) <= columns);
}

}  // namespace
}  // namespace throughline
