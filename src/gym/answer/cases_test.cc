// The stored cases of tests/data/verify against each profile; prints the figures that docs/verifier.md quotes.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gym/answer/grade.h"

namespace throughline::answer {
namespace {

struct Case {
  std::string id, kind, convention, gold, pred;
  bool has_expected = false, expected = false;
  std::map<std::string, bool> verdicts;
};

std::vector<Case> load(const std::string& name) {
  const std::string path = std::string(THROUGHLINE_SOURCE_DIR) + "/tests/data/verify/" + name;
  auto text = read_file(path);
  EXPECT_TRUE(text.ok()) << path;
  std::vector<Case> cases;
  if (!text.ok()) return cases;
  size_t start = 0;
  while (start < text->size()) {
    size_t end = text->find('\n', start);
    if (end == std::string::npos) end = text->size();
    auto json = parse_json(std::string_view(*text).substr(start, end - start), path);
    EXPECT_TRUE(json.ok());
    Case c;
    c.id = json->value("id", "");
    c.kind = json->value("kind", "");
    c.convention = json->value("convention", "");
    c.gold = json->value("gold", "");
    c.pred = json->value("pred", "");
    if (json->contains("expected") && (*json)["expected"].is_boolean()) {
      c.has_expected = true;
      c.expected = (*json)["expected"].get<bool>();
    }
    if (json->contains("verdicts")) {
      for (const auto& [key, value] : (*json)["verdicts"].items()) {
        if (value.is_boolean()) c.verdicts[key] = value.get<bool>();
      }
    }
    cases.push_back(std::move(c));
    start = end + 1;
  }
  return cases;
}

const Profile& profile(std::string_view name) { return **find_profile(name); }

bool right(std::string_view name, const Case& c) {
  return grade(profile(name), c.gold, c.pred).verdict == Verdict::kRight;
}

// Share of agreement; deviations are printed, so that docs/verifier.md can name each.
struct Tally {
  int total = 0, agree = 0;
  void add(std::string_view title, const Case& c, bool got, bool want) {
    ++total;
    agree += got == want ? 1 : 0;
    if (got != want && std::getenv("THROUGHLINE_SHOW_DEVIATIONS") != nullptr) {
      const Grade g = grade(profile(title), c.gold, c.pred);
      std::printf("  %s: %s: got %d, want %d: gold %.90s | pred %.90s | extracted %.60s | normalized %.60s\n",
                  std::string(title).c_str(), c.id.c_str(), got, want, c.gold.c_str(),
                  c.pred.size() > 90 ? c.pred.substr(c.pred.size() - 90).c_str() : c.pred.c_str(), g.extracted.c_str(),
                  g.normalized.c_str());
    }
  }
  double share() const { return total == 0 ? 0 : static_cast<double>(agree) / total; }
  void print(std::string_view title) const {
    std::printf("%-64s %4d of %4d = %.2f %%\n", std::string(title).c_str(), agree, total, 100 * share());
  }
};

TEST(Cases, Gsm8k) {
  const auto cases = load("gsm8k_verify_cases.jsonl");
  ASSERT_EQ(cases.size(), 2638u);
  for (const char* name : {"paper:gsm8k", "rlvr"}) {
    Tally tally;
    for (const Case& c : cases) tally.add(name, c, right(name, c), c.expected);
    tally.print(std::string("gsm8k cases, ") + name);
    EXPECT_EQ(tally.agree, tally.total) << name;
  }
}

TEST(Cases, ModelAnswers) {
  const auto cases = load("math_verify_cases.jsonl");
  for (const char* name : {"rlvr", "rlvr-strict"}) {
    Tally tally;
    for (const Case& c : cases) {
      if (c.kind == "model-answer") tally.add(name, c, right(name, c), c.verdicts.at("math_verify_verl"));
    }
    tally.print(std::string("model answers, truth Math-Verify, ") + name);
    EXPECT_EQ(tally.total, 670);
    EXPECT_GE(tally.share(), 0.99) << name;
  }
  const std::map<std::string, std::string> graders = {{"paper:delethink", "delethink_reward"},
                                                      {"paper:hendrycks", "hendrycks_is_equiv"},
                                                      {"paper:prm800k", "prm800k_grade_answer"},
                                                      {"paper:qwen", "qwen_rpc_math_equal"}};
  for (const auto& [name, column] : graders) {
    Tally tally;
    for (const Case& c : cases) {
      if (c.kind == "model-answer") tally.add(name, c, right(name, c), c.verdicts.at(column));
    }
    tally.print("model answers, its own grader, " + name);
    EXPECT_GE(tally.share(), 0.99) << name;
  }
}

TEST(Cases, AdversarialPolicy) {
  Tally tally;
  for (const Case& c : load("math_verify_cases.jsonl")) {
    if (c.kind != "adversarial") continue;
    tally.add("rlvr", c, right("rlvr", c), c.expected);
  }
  tally.print("adversarial policy, rlvr");
  EXPECT_EQ(tally.total, 50);
  EXPECT_EQ(tally.agree, tally.total);
}

// Not a bar: how far the emulations follow their graders on the adversarial and upstream cases too.
TEST(Cases, EmulationsElsewhere) {
  const std::map<std::string, std::string> graders = {{"paper:delethink", "delethink_reward"},
                                                      {"paper:hendrycks", "hendrycks_is_equiv"},
                                                      {"paper:prm800k", "prm800k_grade_answer"},
                                                      {"paper:qwen", "qwen_rpc_math_equal"}};
  for (const auto& [name, column] : graders) {
    Tally tally;
    for (Case c : load("math_verify_cases.jsonl")) {
      if (c.kind == "model-answer" || c.verdicts.count(column) == 0) continue;
      if (c.pred.find("box") == std::string::npos && c.convention.substr(0, 5) == "rasbt")
        c.pred = "\\boxed{" + c.pred + "}";
      tally.add(name, c, right(name, c), c.verdicts.at(column));
    }
    tally.print("adversarial and upstream, its own grader, " + name);
    EXPECT_GE(tally.share(), 0.7) << name;
  }
}

TEST(Cases, UpstreamTriples) {
  const std::map<std::string, std::string> profiles = {
      {"math_verify", "rlvr"},
      {"math_verify (gold wrapped, expr+latex)", "rlvr"},
      {"rasbt_grade_answer", "rlvr"},
      {"rasbt_equality_check (no tuple split)", "rlvr"},
      {"hendrycks_is_equiv", "paper:hendrycks"},
      {"prm800k_grade_answer", "paper:prm800k"},
      {"boxed_then_grade", "paper:prm800k"},
      {"dapo_minerva_last_Answer_line", "paper:dapo"},
      {"dapo_strict_box_last100", "paper:dapo"},
  };
  std::map<std::string, Tally> tallies;
  Tally all;
  for (Case c : load("math_verify_cases.jsonl")) {
    const auto at = profiles.find(c.convention);
    if (c.kind != "upstream-test" || at == profiles.end()) continue;
    // These upstream functions take the answer itself, without a response around it.
    if (c.convention == "hendrycks_is_equiv" || c.convention == "prm800k_grade_answer")
      c.pred = "\\boxed{" + c.pred + "}";
    const bool got = right(at->second, c);
    tallies[c.convention].add(at->second, c, got, c.expected);
    all.total += 1;
    all.agree += got == c.expected ? 1 : 0;
  }
  for (const auto& [convention, tally] : tallies)
    tally.print("upstream, " + convention + ", " + profiles.at(convention));
  all.print("upstream, all");
  EXPECT_GE(all.share(), 0.95);
  EXPECT_GE(tallies["math_verify"].share(), 0.95);
}

}  // namespace
}  // namespace throughline::answer
