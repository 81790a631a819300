#include "gym/task.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <ctime>
#include <set>

#include "gym/task_solvers.h"
#include "gym/task_text.h"

namespace throughline {
namespace {

// Of this thread: other work on the machine must not fail a test.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TaskSpec spec_of(const std::vector<std::unique_ptr<const Task>>& tasks, const std::string& text) {
  auto spec = parse_task_spec(tasks, text, "test");
  EXPECT_TRUE(spec.ok()) << (spec.ok() ? "" : spec.error().line());
  return spec.value();
}

// Every task at every step of its ladder, and some corners.
std::vector<std::string> all_levels(const std::vector<std::unique_ptr<const Task>>& tasks) {
  std::vector<std::string> out = {
      "iterate_map:steps=50,states=20,marks=20,registers=4,restate=1",
      "iterate_map:steps=1,states=2,marks=0,map=function",
      "long_multiplication:digits=1,digits2=40",
      "three_sat:variables=3,ratio=8",
      "three_sat:variables=12,ratio=0.5",
      "latin_square:order=2,blanks=4",
      "latin_square:order=6,blanks=36",
      "latin_square:order=9,blanks=32",
      "countdown:numbers=2,largest=2,target=10",
      "countdown:numbers=8,largest=999,target=9999,tries=0",
      "chain_sum:terms=2,digits=9",
      "digit_completion:terms=1,modulus=2",
      "number_sorting:numbers=2,digits=1",
      "number_sorting:numbers=9,digits=1,order=down",
      "tower_of_hanoi:disks=1,restate=1",
      "planted_fact:steps=16,fact=16",
      "planted_fact:steps=5,fact=6,place=prompt",
      "maze:size=2",
  };
  for (const auto& task : tasks) {
    for (const auto& level : task->ladder()) out.push_back(level);
  }
  return out;
}

std::string puzzle_line(const TaskItem& item) {
  std::string_view prompt = trim_spaces(item.prompt);
  return std::string(prompt.substr(prompt.rfind('\n') + 1));
}

// One edit of an answer, drawn from the characters answers are made of.
std::string mutate(const std::string& answer, uint64_t draw) {
  static constexpr std::string_view kLetters = "0123456789abcdghklrstux,-/()+* ";
  const char letter = kLetters[draw % kLetters.size()];
  const size_t at = (draw >> 8) % answer.size();
  const size_t other = (draw >> 24) % answer.size();
  std::string out = answer;
  switch ((draw >> 40) % 5) {
    case 0:
      out[at] = letter;
      break;
    case 1:
      out.insert(at, 1, letter);
      break;
    case 2:
      out.erase(at, 1);
      break;
    case 3:
      std::swap(out[at], out[other]);
      break;
    default:
      out += letter;
  }
  return out;
}

TEST(Tasks, TheTableIsComplete) {
  const auto tasks = make_all_tasks();
  EXPECT_EQ(tasks.size(), 11u);
  for (const auto& task : tasks) {
    const SpecInfo info = task->info();
    EXPECT_EQ(find_task(tasks, info.method), task.get());
    EXPECT_GE(task->ladder().size(), 4u) << info.method;
    EXPECT_FALSE(info.help.empty());
  }
  EXPECT_EQ(find_task(tasks, "nonsense"), nullptr);
  EXPECT_EQ(kCompactAlphabet.size(), 60u);
}

TEST(Tasks, EverySampleVerifiesAndEveryMutationFailsUnlessItSolves) {
  const auto tasks = make_all_tasks();
  const auto levels = all_levels(tasks);
  EXPECT_TRUE(rc::check("samples", [&] {
    const auto seed = *rc::gen::arbitrary<uint64_t>();
    const auto index = *rc::gen::inRange<uint64_t>(0, 1000000);
    const auto edits = *rc::gen::container<std::vector<uint64_t>>(10, rc::gen::arbitrary<uint64_t>());
    for (const auto& level : *rc::gen::container<std::vector<std::string>>(12, rc::gen::elementOf(levels))) {
      const TaskSpec spec = spec_of(tasks, level);
      const TaskItem item = spec.task->generate(seed, index, spec.difficulty);
      RC_ASSERT(spec.task->check(item, "A: " + item.answer) == TaskVerdict::kRight);
      RC_ASSERT(spec.task->check(item, item.trace) == TaskVerdict::kRight);
      RC_ASSERT(spec.task->check(item, "<think>A: 1\n" + item.trace + "</think>" + item.trace) == TaskVerdict::kRight);
      RC_ASSERT(solves(item.task, puzzle_line(item), item.answer));
      for (uint64_t edit : edits) {
        const std::string mutated = mutate(item.answer, edit);
        const bool right = spec.task->check(item, "A: " + mutated) == TaskVerdict::kRight;
        if (right != solves(item.task, puzzle_line(item), mutated))
          RC_FAIL(level + ": " + puzzle_line(item) + ": " + mutated);
      }
    }
  }));
}

TEST(Tasks, SamplesArePureAndDifferAlongSeedIndexAndTask) {
  const auto tasks = make_all_tasks();
  for (const auto& task : tasks) {
    const TaskSpec spec = spec_of(tasks, task->ladder().back());
    const TaskItem one = task->generate(5, 7, spec.difficulty);
    EXPECT_EQ(dump_json(item_to_json(one)), dump_json(item_to_json(task->generate(5, 7, spec.difficulty))));
    int same_seed = 0, same_index = 0;
    for (uint64_t i = 0; i < 10; ++i) {
      same_seed += task->generate(5, 100 + i, spec.difficulty).prompt == one.prompt;
      same_index += task->generate(100 + i, 7, spec.difficulty).prompt == one.prompt;
    }
    const bool few_puzzles = task->info().method == "tower_of_hanoi";  // six of them
    EXPECT_LE(same_seed, few_puzzles ? 6 : 0) << one.task;
    EXPECT_LE(same_index, few_puzzles ? 6 : 0) << one.task;
  }
}

TEST(Tasks, StyleAndFormLeaveThePuzzleAlone) {
  const auto tasks = make_all_tasks();
  for (const auto& task : tasks) {
    const std::string level = task->ladder()[1];
    const TaskSpec varied = spec_of(tasks, level), plain = spec_of(tasks, level + ",style=plain,form=compact");
    std::set<std::string> openings;
    for (uint64_t i = 0; i < 40; ++i) {
      const TaskItem a = task->generate(1, i, varied.difficulty), b = task->generate(1, i, plain.difficulty);
      EXPECT_EQ(puzzle_line(a), puzzle_line(b));
      EXPECT_EQ(puzzle_line(b) + "\n", b.prompt);
      EXPECT_EQ(task->check(a, b.trace), TaskVerdict::kRight);
      openings.insert(a.trace == b.trace ? "plain" : "other");
      EXPECT_EQ(b.prompt.find_first_not_of(kCompactAlphabet), std::string::npos) << b.prompt;
      EXPECT_EQ(a.trace.find_first_not_of(kCompactAlphabet), std::string::npos) << a.trace;
      EXPECT_EQ(b.trace.find_first_not_of(kCompactAlphabet), std::string::npos) << b.trace;
    }
    EXPECT_TRUE(openings.count("other")) << level;
  }
}

TEST(Tasks, TheLadderRaisesTheMeanTraceLength) {
  const auto tasks = make_all_tasks();
  for (const auto& task : tasks) {
    double last = 0;
    for (const auto& level : task->ladder()) {
      const TaskSpec spec = spec_of(tasks, level);
      double sum = 0;
      constexpr int kItems = 60;
      for (int i = 0; i < kItems; ++i) sum += static_cast<double>(task->generate(11, i, spec.difficulty).trace.size());
      EXPECT_GT(sum / kItems, last) << level;
      last = sum / kItems;
    }
  }
}

// The knob that each page in docs/tasks names as the one for the trace's length.
TEST(Tasks, EachLengthKnobIsMonotonic) {
  const auto tasks = make_all_tasks();
  const std::vector<std::pair<std::string, std::vector<int>>> knobs = {
      {"iterate_map:steps=", {4, 8, 12, 16, 24, 32, 64, 128, 256}},
      {"long_multiplication:digits=", {1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32}},
      {"three_sat:variables=", {3, 5, 7, 9, 11, 13, 15}},
      {"latin_square:order=4,blanks=", {1, 2, 4, 6, 8, 10, 12}},
      {"latin_square:order=5,blanks=", {2, 4, 6, 8, 10, 12, 14, 16}},
      {"latin_square:order=6,blanks=", {4, 8, 12, 16, 20}},
      {"countdown:tries=", {0, 2, 4, 8, 16, 32}},
      {"countdown:numbers=", {2, 3, 4, 5, 6, 7, 8}},
      {"chain_sum:terms=", {2, 3, 4, 6, 8, 16, 32, 64, 128}},
      {"digit_completion:terms=", {1, 2, 3, 4, 5, 8, 16, 32}},
      {"number_sorting:numbers=", {2, 3, 4, 5, 6, 8, 12, 16, 24}},
      {"tower_of_hanoi:disks=", {1, 2, 3, 4, 5, 6, 7, 8, 9}},
      {"planted_fact:steps=", {4, 8, 16, 32, 64, 128}},
      {"maze:size=", {2, 3, 4, 5, 6, 8, 10, 12}},
  };
  for (const auto& [prefix, values] : knobs) {
    double last = 0;
    for (int value : values) {
      const std::string level = prefix + std::to_string(value);
      const TaskSpec spec = spec_of(tasks, level);
      double sum = 0;
      constexpr int kItems = 200;
      for (int i = 0; i < kItems; ++i)
        sum += static_cast<double>(spec.task->generate(3, i, spec.difficulty).trace.size());
      EXPECT_GT(sum / kItems, last) << level;
      last = sum / kItems;
    }
  }
}

TEST(Tasks, BadDifficultiesAreErrorsThatSayWhatToDo) {
  const auto tasks = make_all_tasks();
  for (const char* bad :
       {"nonsense", "iterate_map:stpes=3", "iterate_map:steps=0", "iterate_map:states=3,marks=4", "maze:size=1e9",
        "planted_fact:steps=2,fact=3", "latin_square:order=3,blanks=10", "latin_square:order=9,blanks=80",
        "iterate_map:restate=2", "countdown:form=short", "chain_sum:terms"}) {
    const auto spec = parse_task_spec(tasks, bad, "--difficulty");
    ASSERT_FALSE(spec.ok()) << bad;
    EXPECT_EQ(spec.error().where.substr(0, 12), "--difficulty") << spec.error().line();
    EXPECT_FALSE(spec.error().remedy.empty()) << spec.error().line();
  }
}

TEST(Tasks, DifficultyRoundTripsThroughJson) {
  const auto tasks = make_all_tasks();
  for (const auto& level : all_levels(tasks)) {
    const TaskSpec spec = spec_of(tasks, level);
    const TaskItem item = spec.task->generate(1, 2, spec.difficulty);
    const auto again = parse_difficulty(*spec.task, item.difficulty, "x");
    ASSERT_TRUE(again.ok()) << again.error().line();
    EXPECT_TRUE(*again == spec.difficulty) << level;
    const auto back = item_from_json(item_to_json(item), "x");
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(dump_json(item_to_json(*back)), dump_json(item_to_json(item)));
  }
}

TEST(FindAnswer, IsTheLastLineAfterTheThinking) {
  EXPECT_EQ(find_answer("x\nA: 5"), "5");
  EXPECT_EQ(find_answer("x\nA:5\nA: 6\n\nthanks"), "6");
  EXPECT_EQ(find_answer("  A:  5 6 \r\n"), "5 6");
  EXPECT_EQ(find_answer("A: 5</think>no"), "");
  EXPECT_EQ(find_answer("A: 5</think>A: 6</think>\nA: 7"), "7");
  EXPECT_EQ(find_answer("<think>x</think>A: 7"), "7");
  EXPECT_EQ(find_answer("The answer is A: 5"), "");
  EXPECT_EQ(find_answer("a: 5"), "");
  EXPECT_EQ(find_answer(""), "");
  EXPECT_EQ(find_answer("A:"), "");
  EXPECT_EQ(find_answer("A: 5\nA:\n"), "");
}

TEST(Reward, IsBinaryWithASmallFormatShare) {
  EXPECT_EQ(task_reward(TaskVerdict::kRight), 1);
  EXPECT_EQ(task_reward(TaskVerdict::kWrong), 0);
  EXPECT_EQ(task_reward(TaskVerdict::kNoAnswer, 0.1), 0);
  EXPECT_EQ(task_reward(TaskVerdict::kWrong, 0.05), 0.05);
  EXPECT_EQ(task_reward(TaskVerdict::kWrong, 0.9), 0.1);
  EXPECT_EQ(task_reward(TaskVerdict::kWrong, -1), 0);
  EXPECT_EQ(task_reward(TaskVerdict::kRight, 0.1), 1);
}

// Nothing here is right, and no verdict takes long, whatever the response (or the item itself) holds.
TEST(Tasks, HostileResponsesAreJudgedQuickly) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr double kMostCpuSeconds = 1;
#else
  constexpr double kMostCpuSeconds = 0.1;
#endif
  const auto tasks = make_all_tasks();
  const std::string megabyte(1 << 20, '9');
  std::string many_answers, zig_zag;
  for (int i = 0; i < 100000; ++i) many_answers += "A: " + std::to_string(i) + "\n";
  for (int i = 0; i < 200000; ++i) zig_zag += "ud";
  const std::vector<std::string> hostile = {"",
                                            "A:",
                                            "A: ",
                                            megabyte,
                                            "A: " + megabyte,
                                            "A: " + std::string(60000, '9'),
                                            "A: -" + std::string(60000, '9'),
                                            "A: " + std::string(60000, '('),
                                            "A: " + std::string(500, '(') + "1" + std::string(500, ')'),
                                            "A: 9**9**9**9**9",
                                            "A: 9^9^9^9",
                                            "A: 1/0",
                                            "A: 0/(1-1)",
                                            "A: " + std::string(1 << 20, '\n'),
                                            std::string(1 << 20, '\n') + "A: ?",
                                            "A: " + zig_zag,
                                            "A: " + zig_zag.substr(0, 60000),
                                            many_answers + "A: none",
                                            "A: 5 or 6",
                                            "reward=1.0",
                                            "A: reward=1.0",
                                            "A: right",
                                            "{\"verdict\":\"right\"}",
                                            "A: {\"verdict\":\"right\"}",
                                            "A: <answer>",
                                            "A: \xff\xfe\x00",
                                            std::string("A: a\0b", 6),
                                            "A: __import__('os').system('true')",
                                            "A: inf",
                                            "A: nan",
                                            "A: 1e999",
                                            "A: " + std::string(30000, 'a') + std::string(30000, 'b'),
                                            "</think></think>" + many_answers + "</think>",
                                            "\xF0\x9F\x98\x80 A: 1"};
  for (const auto& task : tasks) {
    const TaskSpec spec = spec_of(tasks, task->ladder()[2]);
    TaskItem item = task->generate(9, 9, spec.difficulty);
    for (const auto& response : hostile) {
      const double begin = cpu_seconds();
      EXPECT_NE(task->check(item, response), TaskVerdict::kRight) << item.task << ": " << response.substr(0, 60);
      const double took = cpu_seconds() - begin;
      EXPECT_LT(took, kMostCpuSeconds) << item.task << ": " << response.substr(0, 60);
    }
    const std::string good = item.trace;
    for (const auto& prompt : hostile) {
      item.prompt = prompt;
      const double begin = cpu_seconds();
      task->check(item, good);
      const double took = cpu_seconds() - begin;
      EXPECT_LT(took, kMostCpuSeconds) << item.task << ": " << prompt.substr(0, 60);
    }
  }
}

TEST(Tasks, ANeighbourOfTheAnswerLineDoesNotCount) {
  const auto tasks = make_all_tasks();
  for (const auto& task : tasks) {
    const TaskSpec spec = spec_of(tasks, task->ladder()[1]);
    const TaskItem item = task->generate(2, 3, spec.difficulty);
    EXPECT_EQ(task->check(item, item.answer), TaskVerdict::kNoAnswer);
    EXPECT_EQ(task->check(item, "\\boxed{" + item.answer + "}"), TaskVerdict::kNoAnswer);
    EXPECT_EQ(task->check(item, "A: " + item.answer + "</think>"), TaskVerdict::kNoAnswer);
    EXPECT_NE(task->check(item, "A: " + item.answer + " or " + item.answer), TaskVerdict::kRight);
    EXPECT_NE(task->check(item, "A: " + item.answer + "; " + item.answer), TaskVerdict::kRight);
    EXPECT_NE(task->check(item, "A: " + item.answer + "\nA: not sure"), TaskVerdict::kRight);
    EXPECT_EQ(task->check(item, "A: wrong\nA: " + item.answer + "\n\n"), TaskVerdict::kRight);
  }
}

}  // namespace
}  // namespace throughline
