#include "cli/keys.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace throughline {
namespace {

using Keys = std::vector<KeyPress>;

Keys all(std::string bytes) { return take_keys(bytes, true); }
KeyPress letter(const std::string& text) { return {Key::kText, text}; }
KeyPress key(Key which) { return {which, ""}; }

TEST(Keys, LettersAndNamedKeys) {
  EXPECT_EQ(all("qé/"), (Keys{letter("q"), letter("é"), letter("/")}));
  EXPECT_EQ(all("\033[A\033OB\033[5~\033[6;2~\033[H\033[4~\r\x7f"),
            (Keys{key(Key::kUp), key(Key::kDown), key(Key::kPageUp), key(Key::kPageDown), key(Key::kHome),
                  key(Key::kEnd), key(Key::kEnter), key(Key::kBackspace)}));
  EXPECT_EQ(all("\033[15~\033[1;5Pj"), Keys{letter("j")});  // keys that mean nothing here
  EXPECT_EQ(all("\033"), Keys{key(Key::kEscape)});
  EXPECT_EQ(all("\033j"), (Keys{key(Key::kEscape), letter("j")}));
}

TEST(Keys, HalfAKeyWaits) {
  std::string bytes = "j\033[";
  EXPECT_EQ(take_keys(bytes, false), Keys{letter("j")});
  bytes += "B\xc3";
  EXPECT_EQ(take_keys(bytes, false), Keys{key(Key::kDown)});
  bytes += "\xa9";
  EXPECT_EQ(take_keys(bytes, false), Keys{letter("é")});
  EXPECT_TRUE(bytes.empty());
}

RC_GTEST_PROP(Keys, AnyBytesAreUsedUp, (std::string bytes)) {
  for (char& c : bytes) c = *rc::gen::element('\033', '[', 'O', 'A', '~', '1', ';', c);
  (void)take_keys(bytes, false);
  RC_ASSERT(bytes.size() <= 32u);
  (void)take_keys(bytes, true);
  RC_ASSERT(bytes.empty());
}

}  // namespace
}  // namespace throughline
