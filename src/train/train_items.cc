#include "train/train_items.h"

#include <algorithm>

#include "base/files.h"
#include "base/json.h"
#include "base/rng.h"
#include "gym/answer/gold_text.h"

namespace throughline {
namespace {

constexpr size_t kFileLimit = size_t{4} << 30;
// Draws of this file stand apart from the items' own, which are keyed (seed, index).
constexpr uint64_t kSalt = 0x7461736b73ULL << 16;

// A permutation of 0 .. n-1: a Feistel network over the next power of four, walked until it lands inside.
uint64_t permuted(uint64_t place, uint64_t n, uint64_t seed, uint64_t pass) {
  int half = 1;
  while ((uint64_t{1} << (2 * half)) < n) ++half;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = place >> half, right = place & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t mixed = random_bits({seed ^ kSalt, pass * 4 + round, right, RngPurpose::kTask}) & mask;
      const uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    place = (left << half) | right;
  } while (place >= n);
  return place;
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Result<std::vector<TrainItems::Line>> TrainItems::read_lines(const std::string& path, TrainKind kind) {
  TL_TRY(const std::string text, read_file(path, kFileLimit));
  const char* key = kind == TrainKind::kSft ? "response" : "gold";
  std::vector<Line> out;
  size_t from = 0, number = 0;
  while (from < text.size()) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string_view line(text.data() + from, end - from);
    from = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = path + " line " + std::to_string(number);
    TL_TRY(const Json json, parse_json(line, where));
    if (!json.is_object())
      return Error{"is not an object", where, "write {\"prompt\": ..., \"" + std::string(key) + "\": ...}"};
    const auto text_of = [&](const char* name) -> Result<std::string> {
      const auto found = json.find(name);
      if (found != json.end() && found->is_string()) return found->get<std::string>();
      if (found != json.end() && found->is_number() && name == std::string_view("gold"))
        return *answer::gold_text(*found, line);
      return Error{std::string("has no text \"") + name + "\"", where,
                   "lines are {\"prompt\": ..., \"" + std::string(key) + "\": ...}"};
    };
    // A response may be: it teaches to end at once.
    const auto filled = [&](const char* name) -> Result<std::string> {
      TL_TRY(std::string value, text_of(name));
      if (value.find_first_not_of(" \t\r\n") == std::string::npos)
        return Error{std::string("\"") + name + "\" is empty", where, "give it a text or remove the line"};
      return value;
    };
    Line item;
    TL_TRY(item.prompt, filled("prompt"));
    TL_TRY(item.text, kind == TrainKind::kSft ? text_of(key) : filled(key));
    const auto id = json.find("id");
    item.id = id == json.end()  ? "line " + std::to_string(number)
              : id->is_string() ? id->get<std::string>()
                                : id->dump();
    out.push_back(std::move(item));
  }
  if (out.empty()) return Error{"holds no line", path, "give a file of JSON Lines"};
  return out;
}

Result<TrainItems> TrainItems::create(const std::vector<TaskSection>& tasks, TaskSplit split, TrainKind kind) {
  TrainItems out;
  out.tasks_ = std::make_shared<const std::vector<std::unique_ptr<const Task>>>(make_all_tasks());
  double sum = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const TaskSection& task = tasks[i];
    const std::string where = "task " + std::to_string(i);
    Source source;
    if (!task.spec.empty()) {
      TL_TRY(source.gym, parse_task_spec(*out.tasks_, task.spec, where + ": spec"));
      source.name = task.spec;
    } else {
      TL_TRY(source.profile, answer::find_profile(task.profile));
    }
    if (task.weight <= 0 || (task.split != TaskSplit::kBoth && task.split != split)) continue;
    if (source.profile != nullptr) {
      TL_TRY(source.lines, read_lines(task.file, kind));
      source.name = file_name(task.file);
      source.path = task.file;
      source.has_gold = kind == TrainKind::kGrpo;
    }
    source.weight_until = sum += task.weight;
    out.sources_.push_back(std::move(source));
  }
  for (Source& source : out.sources_) source.weight_until /= sum;
  return out;
}

Status TrainItems::each_file(const std::function<Status(const std::string&, std::vector<Line>&)>& visit) {
  for (Source& source : sources_) {
    if (!source.path.empty()) TL_TRY_STATUS(visit(source.path, source.lines));
  }
  return {};
}

TrainItem TrainItems::at(uint64_t seed, int64_t cursor) const {
  TL_CHECK(!sources_.empty() && cursor >= 0, "no items");
  const auto place = static_cast<uint64_t>(cursor);
  const double draw = random_uniform({seed ^ kSalt, 0, place, RngPurpose::kTask});
  size_t chosen = 0;
  while (chosen + 1 < sources_.size() && draw >= sources_[chosen].weight_until) ++chosen;
  const Source& source = sources_[chosen];
  TrainItem out;
  out.source = chosen;
  out.task = source.name;
  if (source.gym.task == nullptr) {
    const uint64_t n = source.lines.size();
    const Line& line = source.lines[permuted(place % n, n, seed, place / n + 1)];
    out.id = line.id;
    out.prompt = line.prompt;
    (source.has_gold ? out.gold : out.answer) = line.text;
    return out;
  }
  out.gym = source.gym.task->generate(seed, place, source.gym.difficulty);
  out.id = out.gym.id;
  out.prompt = out.gym.prompt;
  out.gold = out.gym.answer;
  const size_t cut = out.gym.trace.rfind('\n');
  out.reasoning = cut == std::string::npos ? "" : out.gym.trace.substr(0, cut);
  out.answer = cut == std::string::npos ? out.gym.trace : out.gym.trace.substr(cut + 1);
  return out;
}

TaskVerdict TrainItems::judge(const TrainItem& item, std::string_view answer) const {
  const Source& source = sources_[item.source];
  if (source.gym.task != nullptr) return source.gym.task->check(item.gym, answer);
  if (!source.has_gold) return answer == item.answer ? TaskVerdict::kRight : TaskVerdict::kWrong;
  switch (answer::grade(*source.profile, item.gold, answer).verdict) {
    case answer::Verdict::kRight:
      return TaskVerdict::kRight;
    case answer::Verdict::kWrong:
      return TaskVerdict::kWrong;
    case answer::Verdict::kNoAnswer:
      break;
  }
  return TaskVerdict::kNoAnswer;
}

}  // namespace throughline
