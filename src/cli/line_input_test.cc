#include "cli/line_input.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

namespace throughline {
namespace {

TEST(LineInput, ReadsAFileToItsEnd) {
  const std::string path = ::testing::TempDir() + "/line_input_file";
  const std::string longest(200000, 'x');
  ASSERT_TRUE(write_atomically(path, "one\n\n" + longest + "\nlast").ok());
  auto input = LineInput::open(path);
  ASSERT_TRUE(input.ok()) << input.error().line();
  std::string line;
  for (const std::string& expected : {std::string("one"), std::string(), longest, std::string("last")}) {
    EXPECT_TRUE(input->ready());
    ASSERT_TRUE(input->next(&line));
    EXPECT_EQ(line, expected);
  }
  EXPECT_TRUE(input->ready());
  EXPECT_FALSE(input->next(&line));
  EXPECT_FALSE(LineInput::open(path + ".none").ok());
  EXPECT_FALSE(LineInput::open(::testing::TempDir()).ok());
}

TEST(LineInput, APipeIsReadyOnceTheLineIsWhole) {
  const std::string path = ::testing::TempDir() + "/line_input_pipe";
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int writer = ::open(path.c_str(), O_RDWR | O_CLOEXEC);  // so that nobody waits for the other end
  ASSERT_GE(writer, 0);
  auto input = LineInput::open(path);
  ASSERT_TRUE(input.ok());
  const auto say = [writer](std::string_view text) {
    ASSERT_EQ(::write(writer, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  };
  EXPECT_FALSE(input->ready());
  say("on");
  EXPECT_FALSE(input->ready());
  say("e\ntwo\nth");
  std::string line;
  for (const char* expected : {"one", "two"}) {
    EXPECT_TRUE(input->ready());
    ASSERT_TRUE(input->next(&line));
    EXPECT_EQ(line, expected);
  }
  EXPECT_FALSE(input->ready());
  ::close(writer);
  EXPECT_TRUE(input->ready());  // the end
  ASSERT_TRUE(input->next(&line));
  EXPECT_EQ(line, "th");
  EXPECT_FALSE(input->next(&line));
}

}  // namespace
}  // namespace throughline
