#include "gym/answer/grade.h"

#include <algorithm>
#include <array>

#include "gym/answer/compare.h"
#include "gym/answer/extract.h"
#include "gym/answer/parser.h"
#include "gym/answer/string_graders.h"
#include "gym/answer/strings.h"

namespace throughline::answer {
namespace {

// Set by `grade_bench --steps fuzz/corpus/answer`: under sanitizers the dearest steps cost 0.6 us, so the budget takes
// 5 ms there, half of what fuzz/answer_fuzz.cc allows (a loaded machine takes the rest), and 0.5 ms in a release build.
// Nine of ten stored cases need at most 66 steps, the dearest 3,603: none comes out undecided for want of steps.
constexpr int64_t kStepBudget = 8000;
constexpr int64_t kBytesPerStep = 8;           // that a grader copies and normalises before it compares
constexpr int64_t kBytesRewrittenPerStep = 2;  // by the substitutions of the string graders
constexpr size_t kMaxLoggedAnswer = 500;       // of `extracted` and `normalized`

enum class Grader { kAlgebra, kHendrycks, kPrm800k, kQwen, kDapo, kGsm8k };
enum class Reading {
  kBoxOnly,      // a complete box or nothing
  kMathematics,  // a box, else the last mathematics between delimiters
  kAnything,     // a box, "answer is" forms, mathematics, the last number or choice
};

}  // namespace

struct Profile {
  std::string_view name;
  std::string_view summary;
  Grader grader = Grader::kAlgebra;
  ThinkRegion region = ThinkRegion::kAfterLast;
  Reading reading = Reading::kAnything;
  BoxOptions boxes;
  CompareOptions compare;
  bool drop_base_subscript = false;
};

namespace {

CompareOptions delethink_compare() {
  CompareOptions options;
  options.case_sensitive_text = false;
  options.inequality_for_interval = false;
  options.units_must_agree = false;
  return options;
}

const std::array<Profile, 9>& profiles() {
  static const std::array<Profile, 9> kProfiles = {{
      {"rlvr",
       "lenient in where the answer stands: last box, \"answer is\" forms, last number or choice",
       Grader::kAlgebra,
       ThinkRegion::kAfterLast,
       Reading::kAnything,
       {70, true, true},
       {},
       false},
      {"rlvr-strict",
       "a closed box after the thinking, or no answer; the default reward",
       Grader::kAlgebra,
       ThinkRegion::kAfterLast,
       Reading::kBoxOnly,
       {70, true, true},
       {},
       false},
      {"paper:delethink",
       "Math-Verify as Delethink's trainer calls it (LaTeX only, after the first </think>)",
       Grader::kAlgebra,
       ThinkRegion::kAfterFirst,
       Reading::kMathematics,
       {70, false, false},
       delethink_compare(),
       true},
      {"paper:delethink-train",
       "the same, and a response without </think> has no answer, as in training",
       Grader::kAlgebra,
       ThinkRegion::kRequired,
       Reading::kMathematics,
       {70, false, false},
       delethink_compare(),
       true},
      {"paper:hendrycks",
       "is_equiv of Hendrycks' MATH: string equality after normalisation",
       Grader::kHendrycks,
       ThinkRegion::kWhole,
       Reading::kBoxOnly,
       {70, false, false},
       {},
       false},
      {"paper:prm800k",
       "grade_answer of PRM800K",
       Grader::kPrm800k,
       ThinkRegion::kWhole,
       Reading::kBoxOnly,
       {},
       {},
       false},
      {"paper:qwen",
       "math_equal of Qwen2.5-Math, also used by RPC",
       Grader::kQwen,
       ThinkRegion::kWhole,
       Reading::kAnything,
       {},
       {},
       false},
      {"paper:dapo",
       "DAPO: the last \"Answer:\" line of the last 300 characters, string equality",
       Grader::kDapo,
       ThinkRegion::kWhole,
       Reading::kAnything,
       {},
       {},
       false},
      {"paper:gsm8k",
       "GSM8K: the last \"A: number\" or \"#### number\", string equality",
       Grader::kGsm8k,
       ThinkRegion::kWhole,
       Reading::kAnything,
       {},
       {},
       false},
  }};
  return kProfiles;
}

std::string clipped(std::string text) {
  if (text.size() > kMaxLoggedAnswer) {
    size_t end = kMaxLoggedAnswer;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text.resize(end);
    text += "...";
  }
  return text;
}

std::optional<std::string> extract(const Profile& profile, std::string_view response) {
  const auto region = answer_region(response, profile.region);
  if (!region) return std::nullopt;
  if (auto boxed = boxed_answer(*region, profile.boxes)) return boxed;
  size_t mathematics_at = 0, number_at = 0;
  if (profile.reading == Reading::kBoxOnly) return std::nullopt;
  if (profile.reading == Reading::kMathematics) return last_mathematics(*region, false, &mathematics_at);
  if (auto anchored = anchored_answer(*region)) return anchored;
  if (auto whole = whole_answer(*region)) {
    // A lone word or sentence is no answer, a short expression is.
    Steps steps(2000);
    if (parse_answer(*whole, ParseOptions{}, &steps).root != kNoNode) return whole;
  }
  auto mathematics = last_mathematics(*region, true, &mathematics_at);
  auto number = last_number_or_choice(*region, &number_at);
  if (mathematics && (!number || number_at < mathematics_at + mathematics->size() + 4)) return mathematics;
  return number ? number : mathematics;
}

// Same text but for spaces and spellings that never carry meaning: no need to parse.
std::string squeezed(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      const std::string_view rest = text.substr(i);
      if (starts_with(rest, "\\left") && !(rest.size() > 5 && is_letter(rest[5]))) {
        i += 4;
        continue;
      }
      if (starts_with(rest, "\\right") && !(rest.size() > 6 && is_letter(rest[6]))) {
        i += 5;
        continue;
      }
      if (starts_with(rest, "\\dfrac") || starts_with(rest, "\\tfrac")) {
        out += "\\frac";
        i += 5;
        continue;
      }
    }
    if (c == ' ' || c == '\n' || c == '\t') {
      // "2 3" and "23" differ, and so do "\pi x" and "\pix".
      const char before = out.empty() ? ' ' : out.back();
      const char after = i + 1 < text.size() ? text[i + 1] : ' ';
      const bool keep = (is_digit(before) || is_letter(before)) && (is_digit(after) || is_letter(after));
      if (keep) out.push_back(' ');
      continue;
    }
    out.push_back(c);
  }
  return out;
}

Grade grade_algebra(const Profile& profile, std::string_view gold, std::string_view response) {
  Grade result;
  auto extracted = extract(profile, response);
  if (!extracted || trim(*extracted).empty()) return result;
  result.verdict = Verdict::kWrong;
  const std::string gold_text = gold_answer(gold);
  result.extracted = clipped(*extracted);
  if (extracted->size() > kMaxAnswerBytes || gold_text.size() > kMaxAnswerBytes) {
    result.undecided = true;
    result.normalized = result.extracted;
    return result;
  }
  Steps steps(kStepBudget);
  steps.charge(static_cast<int64_t>(extracted->size() + gold_text.size()) / kBytesPerStep);
  const std::string squeezed_answer = squeezed(*extracted);
  if (squeezed_answer == squeezed(gold_text)) {
    result.verdict = Verdict::kRight;
    result.normalized = clipped(squeezed_answer);
    result.steps = steps.used();
    return result;
  }
  ParseOptions parse;
  parse.drop_base_subscript = profile.drop_base_subscript;
  Tree gold_tree = parse_answer(gold_text, parse, &steps);
  Tree answer_tree = parse_answer(*extracted, parse, &steps);
  if (gold_tree.root == kNoNode || answer_tree.root == kNoNode) {
    // Not both in the grammar: only the same text is the same answer, and that was asked above.
    result.normalized = clipped(squeezed_answer);
    result.undecided = gold_tree.root == kNoNode || steps.exhausted();
    result.steps = steps.used();
    return result;
  }
  Comparison comparison = compare_answers(std::move(gold_tree), std::move(answer_tree), profile.compare, &steps);
  if (comparison.equal == Tri::kEqual) result.verdict = Verdict::kRight;
  result.undecided = comparison.equal == Tri::kUnknown;
  result.normalized = clipped(std::move(comparison.normalized));
  result.steps = steps.used();
  return result;
}

Grade grade_strings(const Profile& profile, std::string_view gold, std::string_view response) {
  Grade result;
  Steps steps(kStepBudget);
  std::optional<std::string> answer;
  switch (profile.grader) {
    case Grader::kQwen:
      answer = qwen_extract(response, &steps);
      break;
    case Grader::kDapo:
      answer = dapo_extract(response);
      break;
    case Grader::kGsm8k:
      answer = gsm8k_extract(response);
      break;
    default:
      answer = last_boxed_plain(response, profile.boxes.fbox);
  }
  if (!answer || trim(*answer).empty()) return result;
  result.verdict = Verdict::kWrong;
  result.extracted = clipped(*answer);
  if (answer->size() > kMaxAnswerBytes || gold.size() > kMaxAnswerBytes) {
    result.undecided = true;
    result.steps = steps.used();
    return result;
  }
  const std::string gold_text = gold_answer(gold);
  steps.charge(static_cast<int64_t>(answer->size() + gold_text.size()) / kBytesRewrittenPerStep);
  bool right = false;
  switch (profile.grader) {
    case Grader::kHendrycks:
      result.normalized = hendrycks_normalize(*answer);
      right = result.normalized == hendrycks_normalize(gold_text);
      break;
    case Grader::kPrm800k:
      right = prm800k_equal(gold_text, *answer, &steps, &result.normalized);
      break;
    case Grader::kQwen:
      result.normalized = *answer;
      right = qwen_equal(qwen_normalize(gold_text, &steps), *answer, &steps);
      break;
    case Grader::kDapo:
      result.normalized = dapo_normalize(*answer);
      right = result.normalized == dapo_normalize(gold);
      break;
    default:
      result.normalized = *answer;
      right = replace_all(trim(gold_text), ",", "") == *answer;
  }
  if (right) result.verdict = Verdict::kRight;
  result.undecided = !right && steps.exhausted();
  result.normalized = clipped(std::move(result.normalized));
  result.steps = steps.used();
  return result;
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kRight:
      return "right";
    case Verdict::kWrong:
      return "wrong";
    default:
      return "no_answer";
  }
}

Result<const Profile*> find_profile(std::string_view name) {
  for (const Profile& profile : profiles()) {
    if (profile.name == name) return &profile;
  }
  std::string known;
  for (const Profile& profile : profiles()) known += (known.empty() ? "" : ", ") + std::string(profile.name);
  return Error{"unknown grader profile \"" + std::string(name) + "\"", "", "use one of: " + known};
}

std::string_view profile_name(const Profile& profile) { return profile.name; }
std::string_view profile_summary(const Profile& profile) { return profile.summary; }

std::vector<std::string_view> profile_names() {
  std::vector<std::string_view> names;
  for (const Profile& profile : profiles()) names.push_back(profile.name);
  return names;
}

Grade grade(const Profile& profile, std::string_view gold, std::string_view response) {
  if (profile.grader == Grader::kAlgebra) return grade_algebra(profile, gold, response);
  return grade_strings(profile, gold, response);
}

}  // namespace throughline::answer
