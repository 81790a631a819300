// A run's traces.jsonl as a list: where each line stands and what it says of its trace, without the chunks, so that
// files of many gigabytes open quickly. Lines are read whole when asked for. The file may grow meanwhile (a run goes
// on) or be cut (a run resumes): refresh() follows.
//
// Untrusted: bad and over-long lines are passed over and told in one line. A last line without its newline is one that
// is being written. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/trace_line.h"

namespace throughline {

struct TraceEntry {
  int64_t offset = 0, bytes = 0;  // of the line in the file, without its newline
  int64_t line = 0;               // counts from 1
  TraceSummary summary;           // its prompt is cut to kEntryPromptBytes
};
constexpr size_t kEntryPromptBytes = 160;

class TraceFile {
 public:
  static Result<TraceFile> open(const std::string& path);

  // Takes in what was appended since; starts anew where the file was cut or replaced. Returns whether entries changed.
  Result<bool> refresh();
  const std::vector<TraceEntry>& entries() const { return entries_; }
  // "skipped 3 bad lines, the first: ..."; empty: there were none.
  std::string skipped() const;
  Result<TraceLine> read(const TraceEntry& entry) const;
  const std::string& path() const { return path_; }

 private:
  explicit TraceFile(std::string path) : path_(std::move(path)) {}
  void add_line(std::string_view text, int64_t offset);
  void add_bad(std::string error);
  std::string where(int64_t line) const { return path_ + " line " + std::to_string(line); }

  std::string path_;
  std::vector<TraceEntry> entries_;
  int64_t indexed_bytes_ = 0;  // up to the end of the last whole line
  int64_t lines_ = 0, bad_lines_ = 0;
  std::string first_bad_;
  uint64_t device_ = 0, inode_ = 0;
};

}  // namespace throughline
