// Browsing a run's traces with keys: a list, one trace, a line to type a filter into, and help. Keys go in, frames come
// out; it neither reads a terminal nor writes one. Not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/keys.h"
#include "cli/trace_filter.h"
#include "cli/trace_text.h"
#include "train/trace_file.h"

namespace throughline {

struct TraceBrowserOptions {
  TraceFilter filter;
  TraceOrder order = TraceOrder::kFile;
  bool reversed = false;
  bool ascii = false;
};

class TraceBrowser {
 public:
  TraceBrowser(TraceFile file, TraceBrowserOptions options);

  void resize(int columns, int rows);
  void press(const KeyPress& key);
  void refresh();  // takes in what the run has written since
  bool quit() const { return quit_; }

  // `rows` lines, each at most `columns` wide.
  std::vector<StyledLine> frame() const;

 private:
  enum class Screen { kList, kTrace, kHelp };

  void press_in_list(const KeyPress& key);
  void press_in_trace(const KeyPress& key);
  void press_in_filter(const KeyPress& key);
  void select();                   // anew, with the same trace under the cursor where it is still there
  void move_to(int64_t position);  // in the list
  void move_step(int direction);   // to the first trace of the next or previous step in the list
  void open_trace();
  void layout_trace();
  void scroll_to(int64_t line);
  void scroll_to_chunk(int direction);
  int body_rows() const { return rows_ - 2; }  // without the lines at the top and the bottom

  StyledLine title() const;
  StyledLine bottom() const;
  void add_list(std::vector<StyledLine>& out) const;
  void add_trace(std::vector<StyledLine>& out) const;
  static std::vector<StyledLine> help();

  TraceFile file_;
  TraceBrowserOptions options_;
  int columns_ = 80, rows_ = 24;
  bool quit_ = false;
  Screen screen_ = Screen::kList, before_help_ = Screen::kList;

  std::vector<size_t> selected_;  // indices of entries
  int64_t cursor_ = 0, list_top_ = 0;
  std::optional<std::string> typing_;  // the filter line
  std::string message_;                // shown once at the bottom

  std::optional<TraceLine> trace_;
  std::string trace_error_;
  TraceText text_;
  int64_t trace_top_ = 0;
  bool ids_ = false;
};

}  // namespace throughline
