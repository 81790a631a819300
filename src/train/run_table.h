// The table of a run as text: one row a step, the header again and again, warnings below the row they are about.
//
// Pure: gives lines to print, prints nothing. Columns are those of known metrics that the run has, the most telling
// ones where the width does not take all; a column keeps its width whatever the number. A warning is shown when it
// first comes, and every kRepeatSteps steps while it stays. Not thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "train/run_warnings.h"
#include "train/step_metrics.h"

namespace throughline {

struct RunTableOptions {
  int columns = 80;         // of the terminal; 0: no limit (a file): all columns, warnings on one line
  int header_every = 20;    // rows; 0: only at the start
  bool color = false;       // ANSI styles
  int64_t total_steps = 0;  // 0: not known
  WarningOptions warnings;
};

class RunTable {
 public:
  explicit RunTable(RunTableOptions options);
  ~RunTable();

  // All that this step prints, every line with its newline.
  std::string row(const StepMetrics& metrics);
  void resize(int columns) { options_.columns = columns; }  // from the next row on

  static constexpr int64_t kRepeatSteps = 10;

 private:
  struct Column;
  std::vector<const Column*> fitting(int gap) const;
  void choose();
  int room() const;  // columns that a line may take
  std::string header() const;
  std::string styled(const std::string& text, std::string_view style) const;
  std::string warning_lines(int64_t step, const std::vector<RunWarning>& warnings);

  RunTableOptions options_;
  std::set<std::string, std::less<>> seen_;  // metrics that have come up
  std::vector<const Column*> chosen_;
  int columns_ = 0;  // for which they were chosen
  int gap_ = 2;      // blanks between columns
  int step_width_ = 4;
  int since_header_ = -1;                             // rows; -1: a header is due
  std::map<std::string, int64_t, std::less<>> told_;  // warning's metric -> step at which it was shown
};

}  // namespace throughline
