#include "cli/gym_command.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <thread>

#include "base/files.h"
#include "base/json.h"

namespace throughline {
namespace {

class GymCommand : public ::testing::Test {
 protected:
  std::string folder_ =
      ::testing::TempDir() + "/gym_command_" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_TRUE(make_directories(folder_).ok());
  }

  int run(const std::string& line) {
    CLI::App app{"test"};
    int status = 0;
    add_gym_command(app, &status);
    try {
      app.parse(line);
    } catch (const CLI::ParseError&) {
      return -1;
    }
    return status;
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::vector<Json> lines(const std::string& name) {
    std::stringstream stream(read_file(path(name)).value());
    std::vector<Json> out;
    for (std::string line; std::getline(stream, line);) out.push_back(parse_json(line, name).value());
    return out;
  }
};

TEST_F(GymCommand, APipeAsOutputStaysAPipe) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  int status = -1;
  std::thread writer([&] { status = run("gym sample three_sat --count 2 --output " + path("pipe")); });
  const std::string read = read_file(path("pipe")).value();
  writer.join();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(std::count(read.begin(), read.end(), '\n'), 2);
  EXPECT_TRUE(is_stream(path("pipe")));
}

TEST_F(GymCommand, SampledTracesCheckAsRight) {
  ASSERT_EQ(
      run("gym sample three_sat --seed 4 --count 5 --difficulty variables=6,form=compact --output " + path("items")),
      0);
  const auto items = lines("items");
  ASSERT_EQ(items.size(), 5u);
  std::string responses;
  for (Json item : items) {
    EXPECT_EQ(item["difficulty"]["variables"], 6);
    item["response"] = item["trace"];
    responses += dump_json(item) + "\n\n";
  }
  ASSERT_TRUE(write_atomically(path("responses"), responses).ok());
  ASSERT_EQ(run("gym check --input " + path("responses") + " --output " + path("verdicts")), 0);
  const auto verdicts = lines("verdicts");
  ASSERT_EQ(verdicts.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(dump_json(verdicts[i]), dump_json(Json{{"id", items[i]["id"]}, {"verdict", "right"}}));
  }
  // The same items again, from the third on; the output is replaced.
  ASSERT_EQ(run("gym sample three_sat:variables=6 --seed 4 --start 2 --count 1 --difficulty form=compact --output " +
                path("items")),
            0);
  ASSERT_EQ(lines("items").size(), 1u);
  EXPECT_EQ(lines("items")[0], items[2]);
}

TEST_F(GymCommand, ABadLineIsAnErrorLineAndStatusOne) {
  ASSERT_TRUE(write_atomically(path("in"), "nonsense\n{\"id\":\"x\",\"task\":\"maze\"}").ok());
  EXPECT_EQ(run("gym check --input " + path("in") + " --output " + path("out")), 1);
  const auto out = lines("out");
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0]["line"], 1);
  EXPECT_EQ(out[1]["id"], "x");
  EXPECT_TRUE(out[1].contains("error"));
}

TEST_F(GymCommand, WrongUseIsStatusTwo) {
  EXPECT_EQ(run("gym sample mazes"), 2);
  EXPECT_EQ(run("gym sample maze --difficulty siz=3"), 2);
  EXPECT_EQ(run("gym check --input " + path("missing")), 2);
  EXPECT_EQ(run("gym check --input " + folder_), 2);
  EXPECT_EQ(run("gym lengths maze --knob size --values 3,x"), 2);
  EXPECT_EQ(run("gym lengths maze --count 0"), 2);
  ASSERT_TRUE(write_atomically(path("same"), "{}\n").ok());
  EXPECT_EQ(run("gym check --input " + path("same") + " --output " + path("same")), 2);
  EXPECT_EQ(read_file(path("same")).value(), "{}\n");
  EXPECT_EQ(run("gym"), -1);
}

}  // namespace
}  // namespace throughline
