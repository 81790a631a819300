// Verdicts per second and core on typical responses: the stored model answers and GSM8K solutions.
//
//   ninja -C build/release grade_bench && ./build/release/grade_bench [folder of the cases] [threads]
//   ./build/release/grade_bench --steps [folder of inputs of fuzz/answer_fuzz.cc]
//
// One thread unless asked; prints the figures of docs/verifier.md. The bar is 50,000 typical verdicts a second and
// core. --steps prints the slowest inputs and the dearest steps: work that is not charged to the step budget shows
// here, and the budget in gym/answer/grade.cc is set by it. In the build of `tools/dev/build.sh fuzz` (target
// grade_bench) it prints what they cost under sanitizers.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gym/answer/grade.h"

namespace {

using namespace throughline;
using namespace throughline::answer;

struct Pair {
  std::string gold, response;
};

std::vector<Pair> load(const std::string& path, const std::string& kind) {
  std::vector<Pair> pairs;
  auto text = read_file(path);
  if (!text.ok()) {
    std::fprintf(stderr, "%s\n", text.error().line().c_str());
    std::exit(2);
  }
  for (size_t start = 0; start < text->size();) {
    size_t end = text->find('\n', start);
    if (end == std::string::npos) end = text->size();
    auto json = parse_json(std::string_view(*text).substr(start, end - start), path);
    start = end + 1;
    if (!json.ok() || (!kind.empty() && json->value("kind", "") != kind)) continue;
    pairs.push_back({json->value("gold", ""), json->value("pred", "")});
  }
  return pairs;
}

void measure(const char* title, const char* name, const std::vector<Pair>& pairs, int threads) {
  const Profile& profile = **find_profile(name);
  constexpr double kSeconds = 1.0;
  std::vector<int64_t> counts(static_cast<size_t>(threads), 0);
  std::vector<double> seconds(static_cast<size_t>(threads), 0);
  const auto work = [&](size_t t) {
    int64_t right = 0;
    timespec from{}, to{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);  // processor time: other programs on the machine do not count
    double spent = 0;
    while (spent < kSeconds) {
      for (const Pair& pair : pairs) {
        right += grade(profile, pair.gold, pair.response).verdict == Verdict::kRight ? 1 : 0;
      }
      counts[t] += static_cast<int64_t>(pairs.size());
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
      spent = static_cast<double>(to.tv_sec - from.tv_sec) + 1e-9 * static_cast<double>(to.tv_nsec - from.tv_nsec);
    }
    seconds[t] = spent;
    if (right < 0) std::abort();
  };
  std::vector<std::thread> pool;
  for (size_t t = 1; t < static_cast<size_t>(threads); ++t) pool.emplace_back(work, t);
  work(0);
  for (std::thread& thread : pool) thread.join();
  double rate = 0;
  for (size_t t = 0; t < counts.size(); ++t) rate += static_cast<double>(counts[t]) / seconds[t];
  std::printf("%-28s %-18s %10.0f verdicts a second and core\n", title, name, rate / threads);
}

struct Timed {
  std::string name;
  std::string_view profile;
  double us = 0;
  int64_t steps = 0;
  double ns_a_step() const { return us * 1e3 / static_cast<double>(steps + 1); }
};

// The form of an input: fuzz/answer_fuzz.cc.
Timed time_input(const std::string& name, std::string_view text) {
  constexpr int kRuns = 5;  // the fastest counts
  const auto names = profile_names();
  Timed result{name, names[static_cast<unsigned char>(text[0]) % names.size()], 1e12};
  const Profile& profile = **find_profile(result.profile);
  text.remove_prefix(1);
  const size_t newline = text.find('\n');
  const std::string_view gold = text.substr(0, newline);
  const std::string_view response = newline == std::string_view::npos ? gold : text.substr(newline + 1);
  for (int run = 0; run < kRuns; ++run) {
    timespec from{}, to{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    result.steps = grade(profile, gold, response).steps;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    result.us = std::min(result.us, 1e6 * static_cast<double>(to.tv_sec - from.tv_sec) +
                                        1e-3 * static_cast<double>(to.tv_nsec - from.tv_nsec));
  }
  return result;
}

int print_steps(const std::string& folder) {
  constexpr size_t kRows = 8;
  std::vector<Timed> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto text = read_file(entry.path().string());
    if (text.ok() && !text->empty()) inputs.push_back(time_input(entry.path().filename().string(), *text));
  }
  const auto print = [&](const char* title) {
    std::printf("%s\n", title);
    for (size_t i = 0; i < std::min(kRows, inputs.size()); ++i) {
      const Timed& t = inputs[i];
      std::printf("  %-24s %-18s %8.0f us %8lld steps %6.0f ns a step\n", t.name.c_str(),
                  std::string(t.profile).c_str(), t.us, static_cast<long long>(t.steps), t.ns_a_step());
    }
  };
  std::sort(inputs.begin(), inputs.end(), [](const Timed& a, const Timed& b) { return a.us > b.us; });
  print("slowest inputs");
  std::erase_if(inputs, [](const Timed& t) { return t.steps < 1000; });  // the rest is reading the response
  std::sort(inputs.begin(), inputs.end(), [](const Timed& a, const Timed& b) { return a.ns_a_step() > b.ns_a_step(); });
  print("dearest steps, of inputs with 1,000 or more");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--steps") {
    return print_steps(argc > 2 ? argv[2] : "fuzz/corpus/answer");
  }
  const std::string folder = argc > 1 ? argv[1] : "tests/data/verify";
  const int threads = argc > 2 ? std::max(1, std::atoi(argv[2])) : 1;
  const auto answers = load(folder + "/math_verify_cases.jsonl", "model-answer");
  const auto solutions = load(folder + "/gsm8k_verify_cases.jsonl", "");
  const auto adversarial = load(folder + "/math_verify_cases.jsonl", "adversarial");
  for (const char* name :
       {"rlvr-strict", "rlvr", "paper:delethink", "paper:hendrycks", "paper:prm800k", "paper:qwen"}) {
    measure("MATH-500 model answers", name, answers, threads);
  }
  measure("GSM8K solutions", "rlvr", solutions, threads);
  measure("GSM8K solutions", "paper:gsm8k", solutions, threads);
  measure("adversarial cases", "rlvr", adversarial, threads);
  return 0;
}
