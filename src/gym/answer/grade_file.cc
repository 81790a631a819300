#include "gym/answer/grade_file.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gym/answer/gold_text.h"
#include "gym/answer/grade.h"

namespace throughline::answer {
namespace {

constexpr size_t kBlockLines = 4096;
constexpr size_t kBlockBytes = size_t{32} << 20;
constexpr size_t kLinesPerTurn = 64;  // what a thread takes at once

struct Line {
  int64_t number = 0;
  bool too_long = false;
  std::string text;  // in: JSON; out: JSON
  Grade grade;
  bool failed = false;
};

// One line without its end; false at the end of the stream. Bytes beyond the limit are read past, not kept.
bool read_line(std::istream& in, size_t limit, Line* line) {
  line->text.clear();
  line->too_long = false;
  std::streambuf* buffer = in.rdbuf();
  int c = buffer->sbumpc();
  if (c == std::char_traits<char>::eof()) return false;
  for (; c != std::char_traits<char>::eof() && c != '\n'; c = buffer->sbumpc()) {
    if (line->text.size() < limit) {
      line->text.push_back(static_cast<char>(c));
    } else {
      line->too_long = true;
    }
  }
  return true;
}

void fail(Line* line, Json id, const std::string& message) {
  Json out;
  out["id"] = std::move(id);
  out["line"] = line->number;
  out["error"] = message;
  line->text = dump_json(out);
  line->failed = true;
}

void grade_line(const Profile& profile, Line* line) {
  line->failed = false;
  if (line->too_long) return fail(line, nullptr, "line is too long");
  const std::string where = "line " + std::to_string(line->number);
  auto json = parse_json(line->text, where);
  if (!json.ok()) return fail(line, nullptr, json.error().line());
  if (!json->is_object())
    return fail(line, nullptr, where + ": is not an object; write {\"id\",\"gold\",\"response\"}");
  const Json id = json->contains("id") ? (*json)["id"] : Json(nullptr);
  for (const char* key : {"gold", "response"}) {
    if (!json->contains(key)) return fail(line, id, where + ": has no \"" + key + "\"");
  }
  const Json &gold = (*json)["gold"], &response = (*json)["response"];
  if (!response.is_string()) return fail(line, id, where + ": \"response\" is not a string");
  const auto gold_answer = gold_text(gold, line->text);
  if (!gold_answer) return fail(line, id, where + ": \"gold\" is neither string nor number");
  line->grade = grade(profile, *gold_answer, response.get_ref<const std::string&>());
  Json out;
  out["id"] = id;
  out["verdict"] = verdict_name(line->grade.verdict);
  out["extracted"] = line->grade.extracted;
  out["normalized"] = line->grade.normalized;
  out["steps"] = line->grade.steps;
  if (line->grade.undecided) out["undecided"] = true;
  line->text = dump_json(out);
}

void grade_block(const Profile& profile, std::vector<Line>* block, size_t count, int threads) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    while (true) {
      const size_t begin = next.fetch_add(kLinesPerTurn);
      if (begin >= count) return;
      for (size_t i = begin; i < std::min(count, begin + kLinesPerTurn); ++i) grade_line(profile, &(*block)[i]);
    }
  };
  std::vector<std::thread> pool;
  const size_t useful = (count + kLinesPerTurn - 1) / kLinesPerTurn;
  for (size_t t = 1; t < std::min(static_cast<size_t>(threads), useful); ++t) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
}

void count_line(const Line& line, GradeFileSummary* summary) {
  ++summary->lines;
  if (line.failed) {
    ++summary->errors;
    return;
  }
  summary->right += line.grade.verdict == Verdict::kRight ? 1 : 0;
  summary->wrong += line.grade.verdict == Verdict::kWrong ? 1 : 0;
  summary->no_answer += line.grade.verdict == Verdict::kNoAnswer ? 1 : 0;
  summary->undecided += line.grade.undecided ? 1 : 0;
}

}  // namespace

Result<GradeFileSummary> grade_file(const GradeFileOptions& options) {
  TL_TRY(const Profile* profile, find_profile(options.profile));
  std::ifstream file;
  if (options.input != "-") {
    if (is_directory(options.input)) return Error{"is a folder", options.input, "name a file of JSON Lines"};
    file.open(options.input, std::ios::binary);
    if (!file) return Error{"cannot open", options.input, "check the path and its permissions"};
  }
  if (options.output != "-") {
    std::error_code ignored;
    if (options.input != "-" && std::filesystem::equivalent(options.input, options.output, ignored)) {
      return Error{"is the input as well", options.output, "write to another file"};
    }
    std::ofstream truncate(options.output, std::ios::trunc);
    if (!truncate) return Error{"cannot create", options.output, "check the path and its permissions"};
  }
  TL_TRY(LineWriter writer, LineWriter::append(options.output));
  std::istream& in = options.input == "-" ? std::cin : file;
  const int threads =
      options.threads > 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  GradeFileSummary summary;
  std::vector<Line> block(kBlockLines);
  int64_t number = 0;
  std::string joined;
  while (true) {
    size_t count = 0, bytes = 0;
    while (count < kBlockLines && bytes < kBlockBytes && read_line(in, options.max_line_bytes, &block[count])) {
      ++number;
      if (block[count].text.find_first_not_of(" \t\r") == std::string::npos) continue;  // blank lines
      block[count].number = number;
      bytes += block[count].text.size();
      ++count;
    }
    if (count == 0) break;
    grade_block(*profile, &block, count, threads);
    joined.clear();
    for (size_t i = 0; i < count; ++i) {
      count_line(block[i], &summary);
      if (i > 0) joined.push_back('\n');
      joined += block[i].text;
      if (block[i].text.capacity() > (size_t{1} << 20)) std::string().swap(block[i].text);
    }
    TL_TRY_STATUS(writer.write(joined));
  }
  if (in.bad()) return Error{"cannot read on", options.input, "check the file"};
  return summary;
}

}  // namespace throughline::answer
