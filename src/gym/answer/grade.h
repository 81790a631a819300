// Grades a response against a gold answer: right, wrong, or no answer.
//
// Pure and thread-safe: no clock, no locale, no globals; the same arguments give the same Grade on every machine. Work
// is bounded by a step budget; when it runs out, or when neither exact nor numeric comparison can tell, the verdict is
// kWrong with `undecided` set, to be logged apart. Never throws on any input; texts may hold any bytes. Profiles and
// policies: docs/verifier.md; background: Math-Verify, PRM800K, Qwen2.5-Math and others, as named there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace throughline::answer {

enum class Verdict { kRight, kWrong, kNoAnswer };

std::string_view verdict_name(Verdict verdict);  // "right", "wrong", "no_answer"

struct Grade {
  Verdict verdict = Verdict::kNoAnswer;
  bool undecided = false;  // counted as wrong
  std::string extracted;   // the answer as it stands in the response
  std::string normalized;  // in canonical form, or as the emulated grader normalises it
  int64_t steps = 0;
};

struct Profile;  // immutable, lives for ever

// "rlvr", "rlvr-strict", "paper:delethink", "paper:hendrycks", ... An unknown name is an Error that lists them.
Result<const Profile*> find_profile(std::string_view name);
std::string_view profile_name(const Profile& profile);
std::string_view profile_summary(const Profile& profile);
std::vector<std::string_view> profile_names();

Grade grade(const Profile& profile, std::string_view gold, std::string_view response);

}  // namespace throughline::answer
