#include "train/trace_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/files.h"

namespace throughline {
namespace {

class TraceFileTest : public testing::Test {
 protected:
  TraceFileTest()
      : path_((std::filesystem::temp_directory_path() / ("tl_traces_" + std::to_string(::getpid()) + ".jsonl"))
                  .string()) {}
  ~TraceFileTest() override { std::filesystem::remove(path_); }

  void append(const std::string& text) { std::ofstream(path_, std::ios::app | std::ios::binary) << text; }
  static std::string line(int64_t step, size_t text_bytes = 10) {
    TraceLine trace;
    trace.step = step;
    trace.prompt = std::string(500, 'p') + "é";
    trace.chunks.push_back({.prompt_ids = {1}, .token_ids = {2}, .text = std::string(text_bytes, 'x')});
    return write_trace_line(trace) + "\n";
  }
  std::string path_;
};

TEST_F(TraceFileTest, LinesAreFoundAcrossBlocksAndReadWhole) {
  for (int64_t step = 1; step <= 5; ++step) append(line(step, step == 3 ? 3 << 20 : 700000));
  auto file = TraceFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().line();
  ASSERT_EQ(file->entries().size(), 5u);
  EXPECT_EQ(file->skipped(), "");
  EXPECT_EQ(file->entries()[0].summary.prompt.size(), kEntryPromptBytes);
  const auto third = file->read(file->entries()[2]);
  ASSERT_TRUE(third.ok()) << third.error().line();
  EXPECT_EQ(third->step, 3);
  EXPECT_EQ(third->chunks[0].text.size(), 3u << 20);
}

TEST_F(TraceFileTest, ARunThatGoesOnIsFollowed) {
  append(line(1));
  auto file = TraceFile::open(path_);
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(*file->refresh());
  const std::string next = line(2);
  append(next.substr(0, 20));  // half a line: not there yet
  EXPECT_FALSE(*file->refresh());
  append(next.substr(20));
  EXPECT_TRUE(*file->refresh());
  ASSERT_EQ(file->entries().size(), 2u);
  EXPECT_EQ(file->entries()[1].summary.step, 2);
  EXPECT_EQ(file->read(file->entries()[1])->step, 2);
  ASSERT_TRUE(write_atomically(path_, line(7)).ok());  // a resumed run has cut it
  EXPECT_TRUE(*file->refresh());
  ASSERT_EQ(file->entries().size(), 1u);
  EXPECT_EQ(file->entries()[0].summary.step, 7);
}

TEST_F(TraceFileTest, BadLinesAreSkippedAndToldOnce) {
  append("{\"step\":1}\n\n" + line(1) + "nonsense\n" + std::string(kTraceLineLimit + 5, '[') + "\n" + line(2));
  const auto file = TraceFile::open(path_);
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->entries().size(), 2u);
  EXPECT_EQ(file->entries()[1].line, 6);
  EXPECT_EQ(file->skipped().find("skipped 3 bad lines, the first: " + path_ + " line 1: trace.reward: is missing"), 0u)
      << file->skipped();
}

TEST_F(TraceFileTest, NoFileIsAnError) {
  const auto file = TraceFile::open(path_ + ".none");
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.error().line().find("a run that has sampled traces"), std::string::npos);
  EXPECT_FALSE(TraceFile::open("/dev/zero").ok());
}

}  // namespace
}  // namespace throughline
