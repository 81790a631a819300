#include "gym/lines.h"

#include <gtest/gtest.h>

namespace throughline {
namespace {

class Lines : public ::testing::Test {
 protected:
  std::vector<std::unique_ptr<const Task>> tasks_ = make_all_tasks();

  Json item(const std::string& spec) {
    const auto parsed = parse_task_spec(tasks_, spec, "test");
    return item_to_json(parsed.value().task->generate(1, 0, parsed.value().difficulty));
  }
  std::string verdict(const Json& line) {
    const CheckedLine checked = check_line(tasks_, dump_json(line), 3);
    EXPECT_FALSE(checked.bad) << checked.text;
    const Json out = parse_json(checked.text, "out").value();
    EXPECT_EQ(out["id"], line["id"]);
    return out["verdict"].get<std::string>();
  }
};

TEST_F(Lines, VerdictsComeFromTheLineAlone) {
  for (const auto& task : tasks_) {
    Json line = item(task->ladder()[1]);
    line["response"] = line["trace"];
    EXPECT_EQ(verdict(line), "right");
    line["response"] = "A: ?";
    EXPECT_NE(verdict(line), "right");
    line["response"] = "I do not know";
    EXPECT_EQ(verdict(line), "no_answer");
    line["response"] = line["trace"];
    line.erase("trace");
    line.erase("difficulty");
    line["note"] = "other keys are ignored";
    EXPECT_EQ(verdict(line), "right");
  }
}

TEST_F(Lines, BadLinesAreErrorLines) {
  Json good = item("chain_sum");
  good["response"] = "A: 1";
  std::vector<std::string> bad = {"",
                                  "nonsense",
                                  "[1]",
                                  "null",
                                  "{}",
                                  "{\"id\":\"x\",\"id\":\"y\"}",
                                  std::string(100000, '['),
                                  "\"\xff\"",
                                  "{\"id\":5,\"task\":\"maze\"}"};
  const auto with = [&](const char* key, const Json& value) {
    Json line = good;
    line[key] = value;
    bad.push_back(dump_json(line));
  };
  with("task", "nonsense");
  with("task", 5);
  with("prompt", nullptr);
  with("answer", 17);
  with("response", 5);
  with("difficulty", "steps=3");
  with("difficulty", Json{{"stpes", 3}});
  with("difficulty", Json{{"terms", -1}});
  with("difficulty", Json{{"terms", Json::array()}});
  good.erase("response");
  bad.push_back(dump_json(good));
  for (const auto& line : bad) {
    const CheckedLine checked = check_line(tasks_, line, 7);
    EXPECT_TRUE(checked.bad) << line.substr(0, 100);
    const auto out = parse_json(checked.text, "out");
    ASSERT_TRUE(out.ok()) << checked.text;
    EXPECT_EQ((*out)["line"], 7);
    EXPECT_TRUE((*out)["error"].is_string());
    EXPECT_TRUE(out->contains("id"));
  }
}

TEST_F(Lines, TablesAndListsNameEverything) {
  const std::string listed = describe_tasks(tasks_);
  std::vector<TaskSpec> levels;
  for (const auto& task : tasks_) {
    EXPECT_NE(listed.find("  " + task->info().method + "  "), std::string::npos);
    levels.push_back(parse_task_spec(tasks_, task->ladder()[0], "test").value());
  }
  const std::string table = length_table(levels, 1, 5);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), static_cast<long>(levels.size() + 2));
  // One item: mean, median, 90 % and largest are its length.
  const Json one = item("chain_sum");
  const std::string length = std::to_string(one["trace"].get<std::string>().size());
  EXPECT_NE(length_table({parse_task_spec(tasks_, "chain_sum", "test").value()}, 1, 1)
                .find("| `chain_sum` | " + length + " | " + length + " | " + length + " | " + length + " |"),
            std::string::npos);
}

}  // namespace
}  // namespace throughline
