#include "train/tensorboard.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <limits>
#include <sstream>
#include <vector>

namespace throughline {
namespace {

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("tl_tb_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) out.push_back(entry.path().string());
    std::sort(out.begin(), out.end());
    return out;
  }

 private:
  std::filesystem::path path_;
};

std::string hex(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char c : bytes) out += {kDigits[c >> 4], kDigits[c & 15]};
  return out;
}

// The sizes of the frames, by their length fields; a frame that is cut off ends the list with -1.
std::vector<int64_t> frames(const std::string& bytes) {
  std::vector<int64_t> out;
  for (size_t at = 0; at < bytes.size();) {
    int64_t size = 0;
    for (int i = 7; i >= 0 && at + 8 <= bytes.size(); --i) size = size << 8 | static_cast<unsigned char>(bytes[at + i]);
    if (at + 16 + static_cast<size_t>(size) > bytes.size() ||
        tensorboard::frame(bytes.substr(at + 12, size)) != bytes.substr(at, 16 + size)) {
      out.push_back(-1);
      return out;
    }
    out.push_back(size);
    at += 16 + static_cast<size_t>(size);
  }
  return out;
}

using Scalars = std::vector<std::pair<std::string, double>>;

// tests/golden/train/events.hex: stock TensorBoard's protobuf and record writer (tools/make_tensorboard_golden.py).
TEST(Tensorboard, TheBytesOfTheStockWriter) {
  const auto golden = read_file(std::string(THROUGHLINE_SOURCE_DIR) + "/tests/golden/train/events.hex");
  ASSERT_TRUE(golden.ok()) << golden.error().line();
  std::istringstream lines(*golden);
  const Scalars scalars = {{"rollout/reward", 0.1},
                           {"update/logprob_gap_max", 1.25e-7},
                           {"speed/tokens_per_s", 20600},
                           {"update/entropy", std::numeric_limits<double>::infinity()}};
  const std::string text = "| key | value |\n|---|---|\n| é | `1` |\n" + std::string(200, 'x');
  const std::string events[] = {tensorboard::version_event(1.5e9), tensorboard::start_event(1.5e9, 11),
                                tensorboard::scalars_event(1.5e9 + 0.25, 300, scalars),
                                tensorboard::text_event(1.5e9, 0, "recipe", text)};
  std::string line;
  for (const std::string& event : events) {
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_EQ(hex(tensorboard::frame(event)), line);
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(Tensorboard, AResumedRunOpensALaterFileThatPurges) {
  const Folder folder;
  std::string first;
  for (int run = 0; run < 3; ++run) {  // within one second
    auto writer = TensorboardWriter::open(folder.path() + "/a", run == 0 ? 0 : 11);
    ASSERT_TRUE(writer.ok()) << writer.error().line();
    ASSERT_TRUE(writer->add_scalars(11, Scalars{{"a", run}}).ok());
    ASSERT_TRUE(writer->add_scalars(12, {}).ok());  // nothing to say: no event
    ASSERT_TRUE(writer->add_text(11, "t", "text").ok());
    EXPECT_GT(writer->path(), first);  // by name, as TensorBoard orders them
    first = writer->path();
    EXPECT_EQ(frames(*read_file(writer->path())).size(), 4u);
  }
}

TEST(Tensorboard, AKilledProcessLeavesWholeRecords) {
  const Folder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    auto writer = TensorboardWriter::open(folder.path());
    for (int64_t step = 1;; ++step) {
      if (!writer.ok() || !writer->add_scalars(step, Scalars{{"reward", 0.5}, {"accuracy", 0.25}}).ok()) ::_exit(1);
    }
  }
  const auto bytes = [&]() -> std::string {
    const bool there = std::filesystem::exists(folder.path()) && !folder.files().empty();
    const auto read = there ? read_file(folder.files()[0]) : Result<std::string>(std::string());
    return read.ok() ? *read : std::string();
  };
  for (int waited_ms = 0; bytes().size() < 20000 && waited_ms < 10000; ++waited_ms) ::usleep(1000);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto sizes = frames(bytes());
  ASSERT_GT(sizes.size(), 100u);
  EXPECT_NE(sizes.back(), -1);
}

TEST(Tensorboard, AFolderThatCannotBeMadeIsAnError) {
  const auto writer = TensorboardWriter::open("/proc/nothing/here");
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(writer.error().line().find("/proc/nothing/here"), std::string::npos);
}

}  // namespace
}  // namespace throughline
