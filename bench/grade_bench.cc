// Verdicts per second and core on typical responses: the stored model answers and GSM8K solutions.
//
//   ninja -C build/release grade_bench && ./build/release/grade_bench [folder of the cases] [threads]
//
// One thread unless asked; prints the figures of docs/verifier.md. The bar is 50,000 typical verdicts a second and
// core.
#include <chrono>
#include <cstdio>
#include <cstdlib>
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

}  // namespace

int main(int argc, char** argv) {
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
