// Policies of the verifier, one table each; properties; threads; files. Stored cases are in cases_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "base/json.h"
#include "gym/answer/extract.h"
#include "gym/answer/grade.h"
#include "gym/answer/grade_file.h"
#include "gym/answer/parser.h"
#include "gym/answer/rational.h"

namespace throughline::answer {
namespace {

const Profile& profile(std::string_view name) { return **find_profile(name); }

Verdict verdict(std::string_view gold, std::string_view response, std::string_view name = "rlvr") {
  return grade(profile(name), gold, response).verdict;
}

bool same(const std::string& gold, const std::string& answer) {
  return verdict(gold, "\\boxed{" + answer + "}", "rlvr-strict") == Verdict::kRight;
}

struct Pair {
  const char *gold, *answer;
};

TEST(Rational, ArithmeticAcrossTheWordBorder) {
  const Rational a = Rational::from_decimal("12345678901234567890123");
  EXPECT_EQ((a * a / a).to_string(), "12345678901234567890123");
  EXPECT_EQ((Rational(INT64_MAX) + Rational(1) - Rational(INT64_MAX)).to_string(), "1");
  EXPECT_EQ((Rational(1, 3) + Rational(1, 6)).to_string(), "1/2");
  EXPECT_EQ(Rational::from_decimal("0.125").to_string(), "1/8");
  EXPECT_FALSE((Rational(1) / Rational(0)).valid());
  EXPECT_FALSE(Rational(9).pow(9).pow(99999).valid());  // bounded, not slow
  EXPECT_TRUE(Rational(2).pow(-3) == Rational(1, 8));
  EXPECT_EQ(Rational(-7, 2).floor().to_string(), "-4");
}

TEST(Answer, EqualForms) {
  const Pair kPairs[] = {
      {"\\frac{3}{4}", "0.75"},
      {"\\frac{\\sqrt{3}}{2}", "\\sin 60^\\circ"},
      {"x^2-5x+6", "(x-2)(x-3)"},
      {"\\frac{x^2-1}{x-1}", "x+1"},
      {"\\frac{1}{\\sqrt{2}+1}", "\\sqrt{2}-1"},
      {"\\sqrt{3+2\\sqrt{2}}", "1+\\sqrt{2}"},
      {"\\sqrt[3]{16}", "2\\sqrt[3]{2}"},
      {"\\ln 4", "2\\ln 2"},
      {"e^{2x}", "(e^x)^2"},
      {"2^{n+1}", "2\\cdot 2^n"},
      {"\\cos^2\\theta-\\sin^2\\theta", "\\cos 2\\theta"},
      {"\\binom{10}{3}", "120"},
      {"\\frac{1+i}{2}", "\\frac{1}{1-i}"},
      {"7\\frac{1}{2}", "7.5"},
      {"1500000", "1.5\\times 10^{6}"},
      {"y=2x+1", "2x-y+1=0"},
      {"2x+4y=6", "x+2y=3"},
      {"x+y=5", "5=x+y"},
      {"f(x)=x^2", "f(t)=t^2"},
      {"3\\mathbf{i}+4\\mathbf{j}", "4\\mathbf{j}+3\\mathbf{i}"},
      {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1 & 2 \\\\ 3 & 4\\end{bmatrix}"},
      {"\\frac{1}{x+1}+\\frac{1}{x-1}", "\\frac{2x}{x^2-1}"},
      {"-5", " - 5 "},
      {"\\lfloor 3.7\\rfloor", "3"},
  };
  for (const Pair& p : kPairs) EXPECT_TRUE(same(p.gold, p.answer)) << p.gold << " | " << p.answer;
}

TEST(Answer, DifferentAnswers) {
  const Pair kPairs[] = {
      {"\\frac{1}{3}", "0.33"},
      {"\\pi", "3.14"},
      {"12345678901234567890", "12345678901234567891"},
      {"x", "X"},
      {"x^2", "x^3"},
      {"\\sqrt{2}", "1.414"},
      {"(1,2)", "(1,2]"},
      {"x<3", "x\\le 3"},
      {"\\frac{1}{2^{200}}", "\\frac{1}{2^{201}}"},
      {"2\\sqrt{3}", "3\\sqrt{2}"},
      {"x=5", "y=5"},
      {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}"},
      {"1011_2", "11"},
      {"x+a", "x+c"},
      {"50", "50\\%"},
      {"5\\text{ m}", "5\\text{ s}"},
      {"0", "10^{-30}"},
      {"e^{-40}", "e^{-41}"},
      {"100200", "(100,200)"},
      {"3", "x>3"},
  };
  for (const Pair& p : kPairs) EXPECT_FALSE(same(p.gold, p.answer)) << p.gold << " | " << p.answer;
}

TEST(Answer, ListsSetsAndIntervals) {
  const Pair kSame[] = {
      {"1,2,3", "3, 1 \\text{ and } 2"},
      {"\\{1,2\\}", "2,1"},
      {"1 \\pm \\sqrt{19}", "1-\\sqrt{19}, 1+\\sqrt{19}"},
      {"(1,2),(3,4)", "(3,4),(1,2)"},
      {"(-\\infty,-2)\\cup(3,\\infty)", "x<-2 \\text{ or } x>3"},
      {"[-2,3]", "-2\\le x\\le 3"},
      {"x\\ge 5", "[5,\\infty)"},
      {"(-\\infty,2)\\cup(2,\\infty)", "\\mathbb{R}\\setminus\\{2\\}"},
      {"(-\\infty,2)\\cup(2,\\infty)", "x\\neq 2"},
      {"1<x<5", "5>x>1"},
      {"\\{x|x>3\\}", "(3,\\infty)"},
      {"[0,1]\\cup[1,2]", "[0,2]"},
  };
  for (const Pair& p : kSame) EXPECT_TRUE(same(p.gold, p.answer)) << p.gold << " | " << p.answer;
  const Pair kDifferent[] = {
      {"1,2,3", "1,2"},  {"1,2", "1,2,3"}, {"(1,2)", "(2,1)"}, {"(1,2)", "\\{2,1\\}"}, {"[0,1)\\cup(1,2]", "[0,2]"},
      {"204", "17,204"}, {"\\pm 3", "3"},  {"x<3", "y<3"},
  };
  for (const Pair& p : kDifferent) EXPECT_FALSE(same(p.gold, p.answer)) << p.gold << " | " << p.answer;
}

TEST(Answer, PercentUnitsTextsNumbers) {
  const Pair kSame[] = {
      {"25\\%", "25\\%"},
      {"25\\%", "\\frac14"},
      {"25\\%", "25"},
      {"0.25", "25\\%"},
      {"12", "12\\text{ cm}"},
      {"12\\text{ cm}", "12"},
      {"5\\text{ meters}", "5\\text{ m}"},
      {"18", "18 \\text{ ways}"},
      {"\\$12.50", "12.5"},
      {"90^\\circ", "90"},
      {"\\text{(A)}", "A"},
      {"\\text{odd}", "odd"},
      {"1000000", "1{,}000{,}000"},
      {"1000000", "1,000,000"},
      {"1234", "1\\,234"},
      {"1/2", ".5"},
  };
  for (const Pair& p : kSame) EXPECT_TRUE(same(p.gold, p.answer)) << p.gold << " | " << p.answer;
}

TEST(Answer, Extraction) {
  EXPECT_EQ(verdict("5", "\\boxed{4} is wrong, so \\boxed{5}"), Verdict::kRight);
  EXPECT_EQ(verdict("5", "\\boxed{4} or \\boxed{5}"), Verdict::kWrong);  // hedging
  EXPECT_EQ(verdict("4,5", "\\boxed{4} and \\boxed{5}"), Verdict::kRight);
  EXPECT_EQ(verdict("5", "\\boxed{4}, \\boxed{5}, \\boxed{6}"), Verdict::kWrong);
  EXPECT_EQ(verdict("5", "<think>\\boxed{5}</think> no idea"), Verdict::kNoAnswer);
  EXPECT_EQ(verdict("5", "<think>\\boxed{5}"), Verdict::kNoAnswer);  // cut off while thinking
  EXPECT_EQ(verdict("5", "thinking</think>\\boxed{5}"), Verdict::kRight);
  EXPECT_EQ(verdict("5", "#### 5"), Verdict::kRight);
  EXPECT_EQ(verdict("5", "So there are 5 apples."), Verdict::kRight);
  EXPECT_EQ(verdict("B", "The correct choice: (B)"), Verdict::kRight);
  EXPECT_EQ(verdict("5", "The answer is 5 because 2 + 3 = 5 and not 6."), Verdict::kRight);
  EXPECT_EQ(verdict("5", "The answer is 5.", "rlvr-strict"), Verdict::kNoAnswer);
  EXPECT_EQ(verdict("5", "\\boxed{5", "rlvr-strict"), Verdict::kNoAnswer);
  EXPECT_EQ(verdict("5", "\\boxed{}", "rlvr-strict"), Verdict::kNoAnswer);
  EXPECT_EQ(verdict("5", ""), Verdict::kNoAnswer);
  EXPECT_EQ(verdict("5", "no thinking tag \\boxed{5}", "paper:delethink-train"), Verdict::kNoAnswer);
  EXPECT_EQ(verdict("5", "</think> \\boxed{5}", "paper:delethink-train"), Verdict::kRight);
  EXPECT_EQ(verdict("5", "The answer is 5.", "paper:delethink"), Verdict::kNoAnswer);
  EXPECT_EQ(verdict("42", "Answer: 41\nAnswer: 42", "paper:dapo"), Verdict::kRight);
}

TEST(Answer, UnknownProfileNamesTheKnown) {
  const auto result = find_profile("paper:nobody");
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().line(), testing::HasSubstr("rlvr-strict"));
}

TEST(Answer, Bounded) {
  const std::string nines = "\\boxed{9^{9^{9^{9}}}}";
  EXPECT_EQ(verdict("9", nines), Verdict::kWrong);
  const std::string deep = "\\boxed{" + std::string(900, '(') + "5" + std::string(900, ')') + "}";
  EXPECT_EQ(verdict("5", deep), Verdict::kWrong);
  std::string tower = "\\boxed{";
  for (int i = 0; i < 300; ++i) tower += "\\sqrt{x+";
  EXPECT_NE(verdict("5", tower), Verdict::kRight);
  // Each tangent names the one inside twice: written out, the canonical form would have 2^60 parts.
  std::string tangents = "x";
  for (int i = 0; i < 60; ++i) tangents = "\\tan(" + tangents + ")";
  const Grade nested = grade(profile("rlvr"), "1", "\\boxed{" + tangents + "}");
  EXPECT_EQ(nested.verdict, Verdict::kWrong);
  EXPECT_LT(nested.normalized.size(), 600u);
  for (const char* text :
       {"\\boxed{(a+b+c+d+e)^{60}}", "\\boxed{1000000!}", "\\boxed{\\pm1\\pm2\\pm3\\pm4\\pm5\\pm6}", "\\boxed{1/0}",
        "\\boxed{\\binom{999999}{4}}", "\\boxed{\\frac{\\sqrt{", "\xff\xfe\\boxed{\xc3}"}) {
    const Grade g = grade(profile("rlvr"), "x+1", text);
    EXPECT_NE(g.verdict, Verdict::kRight) << text;
    EXPECT_LT(g.steps, 100000) << text;
  }
}

// Numbers and polynomials written in another way are the same; changed in one place they are not.
TEST(AnswerProperty, RewrittenIsRightMutatedIsWrong) {
  rc::check([] {
    const int a = *rc::gen::inRange(-30, 30), b = *rc::gen::inRange(-30, 30), c = *rc::gen::inRange(1, 12);
    const auto text = [](int n) { return "(" + std::to_string(n) + ")"; };
    const std::string gold = text(c) + "x^2+" + text(a + b) + "x+" + text(a) + "\\cdot" + text(b);
    const std::string rewritten =
        "\\frac{(" + text(c) + "x^2\\cdot 3+3" + text(a) + "x)+3" + text(b) + "x+3" + text(a) + "*" + text(b) + "}{3}";
    RC_ASSERT(same(gold, rewritten));
    RC_ASSERT(!same(gold, rewritten + "+1"));
    RC_ASSERT(!same(gold, rewritten + "+\\frac{x}{1000}"));
  });
}

TEST(AnswerProperty, AnyBytesAreGraded) {
  rc::check([](const std::string& gold, const std::string& response) {
    for (const std::string_view name : profile_names()) {
      const Grade once = grade(profile(name), gold, response), again = grade(profile(name), gold, response);
      RC_ASSERT(once.verdict == again.verdict && once.steps == again.steps);
    }
  });
}

TEST(AnswerThreads, EightGiveTheSameVerdictsAsOne) {
  std::ifstream in(std::string(THROUGHLINE_SOURCE_DIR) + "/tests/data/verify/math_verify_cases.jsonl");
  std::vector<std::pair<std::string, std::string>> cases;
  for (std::string line; std::getline(in, line);) {
    auto json = parse_json(line, "case");
    if (json.ok() && json->contains("gold")) cases.emplace_back(json->value("gold", ""), json->value("pred", ""));
  }
  ASSERT_GT(cases.size(), 900u);
  const auto names = profile_names();
  const auto run = [&] {
    std::string all;
    for (size_t i = 0; i < cases.size(); ++i) {
      const Grade g = grade(profile(names[i % names.size()]), cases[i].first, cases[i].second);
      all += std::string(verdict_name(g.verdict)) + g.normalized + std::to_string(g.steps) + "\n";
    }
    return all;
  };
  const std::string alone = run();
  std::vector<std::string> results(8);
  std::vector<std::thread> threads;
  for (std::string& result : results) threads.emplace_back([&result, &run] { result = run(); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) EXPECT_EQ(result, alone);
}

TEST(GradeFile, KeepsOrderAndReportsBadLines) {
  const std::string folder = testing::TempDir();
  GradeFileOptions options;
  options.input = folder + "grade_in.jsonl";
  options.output = folder + "grade_out.jsonl";
  options.profile = "rlvr";
  {
    std::ofstream in(options.input);
    for (int i = 0; i < 5000; ++i) {
      in << "{\"id\":" << i << ",\"gold\":\"" << i << "\",\"response\":\"\\\\boxed{" << (i % 2 == 0 ? i : i + 1)
         << "}\"}\n";
    }
    in << "not json\n\n{\"id\":\"x\",\"gold\":5}\n{\"id\":\"y\",\"gold\":5,\"response\":\"#### 5\"}\n";
  }
  std::string one_thread;
  for (const int threads : {1, 4}) {
    options.threads = threads;
    const auto summary = grade_file(options);
    ASSERT_TRUE(summary.ok()) << summary.error().line();
    EXPECT_EQ(summary->lines, 5003);
    EXPECT_EQ(summary->right, 2501);
    EXPECT_EQ(summary->wrong, 2500);
    EXPECT_EQ(summary->errors, 2);
    std::ifstream out(options.output);
    std::stringstream text;
    text << out.rdbuf();
    if (threads == 1) {
      one_thread = text.str();
    } else {
      EXPECT_EQ(text.str(), one_thread);
    }
  }
  std::stringstream lines(one_thread);
  std::string line;
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(std::getline(lines, line));
    auto json = parse_json(line, "out");
    ASSERT_TRUE(json.ok());
    EXPECT_EQ((*json)["id"], i);
    EXPECT_EQ((*json)["verdict"], i % 2 == 0 ? "right" : "wrong");
  }
  std::getline(lines, line);
  EXPECT_THAT(line, testing::HasSubstr("\"error\""));
  std::getline(lines, line);
  EXPECT_THAT(line, testing::AllOf(testing::HasSubstr("\"id\":\"x\""), testing::HasSubstr("response")));

  options.output = options.input;
  EXPECT_FALSE(grade_file(options).ok());
  options.output = folder + "grade_out.jsonl";
  options.input = folder + "does_not_exist.jsonl";
  EXPECT_FALSE(grade_file(options).ok());
}

}  // namespace
}  // namespace throughline::answer
