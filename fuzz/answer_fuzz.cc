// libFuzzer: whole grading on any (gold, response) and profile. No crash, no leak, no input over 20 ms, repeatable.
// The first byte chooses the profile, the first newline parts gold and response.
// With THROUGHLINE_FUZZ_STEP_NS=N, also no input over 2 ms whose steps take more than N ns each: finds work that is
// not charged to the step budget long before it adds up to that.
// rooms: gym text base
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "gym/answer/grade.h"
#include "thread_time.h"

namespace {

constexpr int64_t kSmallInputNs = 2000000;

int64_t step_limit_ns() {
  const char* text = std::getenv("THROUGHLINE_FUZZ_STEP_NS");
  return text == nullptr ? INT64_MAX : std::atoll(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace throughline::answer;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.empty()) return 0;
  const auto names = profile_names();
  const std::string_view name = names[static_cast<unsigned char>(text[0]) % names.size()];
  const Profile& profile = **find_profile(name);
  text.remove_prefix(1);
  const size_t newline = text.find('\n');
  const std::string_view gold = text.substr(0, newline);
  const std::string_view response = newline == std::string_view::npos ? gold : text.substr(newline + 1);
  static const int64_t kStepLimitNs = step_limit_ns();
  int64_t best = INT64_MAX;
  Grade first;
  const auto too_slow = [&] {
    return best > kInputLimitNs || (best > kSmallInputNs && best / (first.steps + 1) > kStepLimitNs);
  };
  // Every 16th input is graded twice to see that it repeats.
  const bool twice = size % 16 == 0;
  for (int attempt = 0; attempt < kAttempts && (too_slow() || (attempt == 1 && twice)); ++attempt) {
    const int64_t start = thread_time_ns();
    const Grade grade = throughline::answer::grade(profile, gold, response);
    const int64_t spent = thread_time_ns() - start;
    best = spent < best ? spent : best;
    if (attempt == 0) {
      first = grade;
    } else if (grade.verdict != first.verdict || grade.steps != first.steps || grade.normalized != first.normalized) {
      std::fprintf(stderr, "not repeatable\n");
      std::abort();
    }
  }
  if (too_slow()) {
    std::fprintf(stderr, "%lld us, %lld steps\n", static_cast<long long>(best / 1000),
                 static_cast<long long>(first.steps));
    std::abort();
  }
  if (first.steps > 100000) std::abort();
  return 0;
}
