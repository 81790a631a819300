#include "cli/trace_browser.h"

#include <fmt/core.h>

#include <algorithm>

#include "cli/terminal.h"

namespace throughline {
namespace {

// The letters that stand for a named key, as in less and vi.
Key meant(const KeyPress& key) {
  if (key.key != Key::kText) return key.key;
  if (key.text == "j") return Key::kDown;
  if (key.text == "k") return Key::kUp;
  if (key.text == "g") return Key::kHome;
  if (key.text == "G") return Key::kEnd;
  if (key.text == " ") return Key::kPageDown;
  if (key.text == "b") return Key::kPageUp;
  if (key.text == "l") return Key::kRight;
  if (key.text == "h") return Key::kLeft;
  return Key::kText;
}

std::string count_of(size_t number, const char* what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

}  // namespace

TraceBrowser::TraceBrowser(TraceFile file, TraceBrowserOptions options)
    : file_(std::move(file)), options_(std::move(options)) {
  select();
  message_ = file_.skipped();
}

void TraceBrowser::resize(int columns, int rows) {
  if (columns == columns_ && rows == rows_) return;
  columns_ = std::max(columns, 20);
  rows_ = std::max(rows, 4);
  move_to(cursor_);
  if (trace_) layout_trace();
}

void TraceBrowser::refresh() {
  const auto changed = file_.refresh();
  if (!changed.ok()) message_ = changed.error().line();
  if (changed.ok() && *changed) select();
}

void TraceBrowser::select() {
  const auto& entries = file_.entries();
  const bool any = cursor_ < static_cast<int64_t>(selected_.size()) && selected_[cursor_] < entries.size();
  const size_t kept = any ? selected_[cursor_] : 0;
  selected_ = select_traces(entries, options_.filter, options_.order, options_.reversed);
  const auto it = std::find(selected_.begin(), selected_.end(), kept);
  move_to(any && it != selected_.end() ? it - selected_.begin() : 0);
}

void TraceBrowser::move_to(int64_t position) {
  const int64_t count = static_cast<int64_t>(selected_.size()), rows = body_rows() - 1;  // under the heading
  cursor_ = std::clamp<int64_t>(position, 0, std::max<int64_t>(0, count - 1));
  list_top_ = std::clamp<int64_t>(list_top_, cursor_ - rows + 1, cursor_);
  list_top_ = std::clamp<int64_t>(list_top_, 0, std::max<int64_t>(0, count - rows));
}

void TraceBrowser::move_step(int direction) {
  if (selected_.empty()) return;
  const auto step_at = [&](int64_t i) { return file_.entries()[selected_[i]].summary.step; };
  const auto count = static_cast<int64_t>(selected_.size());
  int64_t at = cursor_;
  while (at + direction >= 0 && at + direction < count && step_at(at) == step_at(cursor_)) at += direction;
  if (direction < 0) {  // to the first of that step
    while (at > 0 && step_at(at - 1) == step_at(at)) --at;
  }
  move_to(at);
}

void TraceBrowser::open_trace() {
  if (selected_.empty()) return;
  auto read = file_.read(file_.entries()[selected_[cursor_]]);
  trace_error_ = read.ok() ? "" : read.error().line();
  trace_ = read.ok() ? std::move(*read) : TraceLine{file_.entries()[selected_[cursor_]].summary, {}};
  trace_top_ = 0;
  layout_trace();
  screen_ = Screen::kTrace;
}

void TraceBrowser::layout_trace() {
  text_ = render_trace(*trace_, {.columns = columns_, .ids = ids_, .ascii = options_.ascii});
  if (!trace_error_.empty()) {
    for (auto& line : wrap_styled({{TextStyle::kBad, trace_error_}}, columns_)) text_.lines.push_back(std::move(line));
  }
  scroll_to(trace_top_);
}

void TraceBrowser::scroll_to(int64_t line) {
  trace_top_ =
      std::clamp<int64_t>(line, 0, std::max<int64_t>(0, static_cast<int64_t>(text_.lines.size()) - body_rows()));
}

void TraceBrowser::scroll_to_chunk(int direction) {
  const auto& at = text_.chunk_lines;
  if (direction > 0) {
    const auto next = std::upper_bound(at.begin(), at.end(), static_cast<size_t>(trace_top_));
    if (next != at.end()) scroll_to(static_cast<int64_t>(*next));
  } else {
    const auto here = std::lower_bound(at.begin(), at.end(), static_cast<size_t>(trace_top_));
    scroll_to(here == at.begin() ? 0 : static_cast<int64_t>(*(here - 1)));
  }
}

void TraceBrowser::press(const KeyPress& key) {
  message_.clear();
  if (typing_) return press_in_filter(key);
  if (key.key == Key::kText && key.text == "q") {
    quit_ = true;
  } else if (screen_ == Screen::kHelp) {
    screen_ = before_help_;
  } else if (key.key == Key::kText && key.text == "?") {
    before_help_ = screen_;
    screen_ = Screen::kHelp;
  } else if (screen_ == Screen::kList) {
    press_in_list(key);
  } else {
    press_in_trace(key);
  }
}

void TraceBrowser::press_in_list(const KeyPress& key) {
  switch (meant(key)) {
    case Key::kUp:
      return move_to(cursor_ - 1);
    case Key::kDown:
      return move_to(cursor_ + 1);
    case Key::kPageUp:
      return move_to(cursor_ - body_rows() + 1);
    case Key::kPageDown:
      return move_to(cursor_ + body_rows() - 1);
    case Key::kHome:
      return move_to(0);
    case Key::kEnd:
      return move_to(static_cast<int64_t>(selected_.size()));
    case Key::kEnter:
    case Key::kRight:
      return open_trace();
    default:
      break;
  }
  if (key.text == "[") return move_step(-1);
  if (key.text == "]") return move_step(1);
  if (key.text == "/" || key.text == "f") typing_ = options_.filter.text;
  if (key.text == "s") {
    constexpr int kOrders = static_cast<int>(TraceOrder::kStep) + 1;
    options_.order = static_cast<TraceOrder>((static_cast<int>(options_.order) + 1) % kOrders);
    select();
    move_to(0);
  }
  if (key.text == "r") {
    options_.reversed = !options_.reversed;
    select();
    move_to(0);
  }
}

void TraceBrowser::press_in_trace(const KeyPress& key) {
  switch (meant(key)) {
    case Key::kUp:
      return scroll_to(trace_top_ - 1);
    case Key::kDown:
      return scroll_to(trace_top_ + 1);
    case Key::kPageUp:
      return scroll_to(trace_top_ - body_rows() + 1);
    case Key::kPageDown:
      return scroll_to(trace_top_ + body_rows() - 1);
    case Key::kHome:
      return scroll_to(0);
    case Key::kEnd:
      return scroll_to(static_cast<int64_t>(text_.lines.size()));
    case Key::kEscape:
    case Key::kLeft:
    case Key::kBackspace:
      screen_ = Screen::kList;
      return;
    default:
      break;
  }
  if (key.text == "[") scroll_to_chunk(-1);
  if (key.text == "]") scroll_to_chunk(1);
  if (key.text == "i") {
    ids_ = !ids_;
    layout_trace();
  }
  if (key.text == "n" || key.text == "p") {
    const int64_t before = cursor_;
    move_to(cursor_ + (key.text == "n" ? 1 : -1));
    if (cursor_ != before) open_trace();
  }
}

void TraceBrowser::press_in_filter(const KeyPress& key) {
  if (key.key == Key::kText) *typing_ += key.text;
  if (key.key == Key::kEscape) typing_.reset();
  if (key.key == Key::kBackspace && !typing_->empty()) {
    while (!typing_->empty() && (static_cast<unsigned char>(typing_->back()) & 0xC0) == 0x80) typing_->pop_back();
    typing_->pop_back();
  }
  if (key.key != Key::kEnter) return;
  auto filter = parse_trace_filter(*typing_, "filter");
  if (!filter.ok()) {
    message_ = filter.error().line();  // and goes on typing
    return;
  }
  options_.filter = std::move(*filter);
  typing_.reset();
  select();
}

StyledLine TraceBrowser::title() const {
  const char* dot = options_.ascii ? " - " : " · ";
  std::string text = file_.path() + dot + count_of(file_.entries().size(), "trace");
  if (!options_.filter.text.empty()) text += fmt::format("{}{} with {}", dot, selected_.size(), options_.filter.text);
  if (options_.order != TraceOrder::kFile || options_.reversed) {
    text += fmt::format("{}by {}{}", dot, order_name(options_.order), options_.reversed ? ", reversed" : "");
  }
  if (screen_ == Screen::kTrace) {
    text += fmt::format("{}{} of {}", dot, cursor_ + 1, selected_.size());
  }
  return fitted({{TextStyle::kSelected, " " + harmless(text)}}, columns_, true);
}

StyledLine TraceBrowser::bottom() const {
  if (!message_.empty()) return fitted({{TextStyle::kBad, harmless(message_)}}, columns_);
  if (typing_) {
    return fitted({{TextStyle::kStrong, "filter: "},
                   {TextStyle::kPlain, *typing_ + (options_.ascii ? "_" : "▌")},
                   {TextStyle::kFaint, "  step=3..5 reward=..0 verdict=wrong finish=loop tokens=1000.. group= task="}},
                  columns_);
  }
  const char* keys = screen_ == Screen::kHelp ? "any key: back"
                     : screen_ == Screen::kList
                         ? "enter: open  /: filter  s: sort  r: reverse  [ ]: step  ?: all keys  q: quit"
                         : "esc: list  n p: next, previous trace  [ ]: chunk  i: ids  ?: all keys  q: quit";
  return fitted({{TextStyle::kFaint, keys}}, columns_);
}

void TraceBrowser::add_list(std::vector<StyledLine>& out) const {
  out.push_back(trace_list_heading(columns_));
  if (selected_.empty()) {
    out.push_back({{TextStyle::kPlain, file_.entries().empty() ? "no traces yet" : "no trace passes the filter"}});
  }
  for (int64_t i = list_top_; i < static_cast<int64_t>(selected_.size()); ++i) {
    if (static_cast<int>(out.size()) > body_rows()) break;
    StyledLine line = trace_list_line(file_.entries()[selected_[i]].summary, columns_);
    if (i == cursor_) line = {{TextStyle::kSelected, plain_text(line)}};
    out.push_back(std::move(line));
  }
}

void TraceBrowser::add_trace(std::vector<StyledLine>& out) const {
  const auto end = std::min<int64_t>(trace_top_ + body_rows(), static_cast<int64_t>(text_.lines.size()));
  out.insert(out.end(), text_.lines.begin() + trace_top_, text_.lines.begin() + end);
}

std::vector<StyledLine> TraceBrowser::help() {
  constexpr const char* kKeys[][2] = {
      {"up down, k j", "one line"},
      {"page up, page down, b, space", "one page"},
      {"home end, g G", "first, last"},
      {"", ""},
      {"in the list", ""},
      {"enter, right, l", "open the trace"},
      {"[ ]", "previous, next step"},
      {"/ or f", "filter: NAME=RANGE or NAME=WORD, blanks between; empty: all"},
      {"s", "sort by file, length, reward, advantage, step"},
      {"r", "reverse the order"},
      {"", ""},
      {"in a trace", ""},
      {"esc, left, h", "back to the list"},
      {"n p", "next, previous trace of the list"},
      {"[ ]", "previous, next chunk"},
      {"i", "token ids"},
      {"", ""},
      {"q, Ctrl-C", "quit"},
  };
  std::vector<StyledLine> out;
  for (const auto& [keys, what] : kKeys) {
    const bool heading = *what == '\0';
    const std::string left = heading ? std::string(keys) : fmt::format("  {:<30}", keys);
    out.push_back({{heading ? TextStyle::kStrong : TextStyle::kHead, left}, {TextStyle::kPlain, what}});
  }
  return out;
}

std::vector<StyledLine> TraceBrowser::frame() const {
  std::vector<StyledLine> out = {title()};
  if (screen_ == Screen::kHelp) {
    for (auto& line : help()) out.push_back(fitted(line, columns_));
  } else if (screen_ == Screen::kTrace) {
    add_trace(out);
  } else {
    add_list(out);
  }
  out.resize(static_cast<size_t>(rows_ - 1));
  out.push_back(bottom());
  return out;
}

}  // namespace throughline
