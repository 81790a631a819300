// What the demo shows: columns side by side (live on a terminal, or once), and the closing table. Drawing only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace throughline {

struct DemoColumn {
  std::string title, spec;
  std::string text;  // so far, with kChunkEdge where a chunk began
  int64_t tokens = 0, chunks = 1;
  int64_t kv_tokens = 0, kv_peak = 0;
  double seconds = 0;  // of engine steps: pacing and drawing apart
  bool done = false;
  std::string ended;      // in words, once done
  double repetition = 0;  // share of 4-grams said before, once done

  double tokens_per_second() const { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0; }
};

constexpr std::string_view kChunkEdge = "╎";

struct DemoScene {
  std::string headline, legend;
  int64_t kv_room = 0, positions = 0;  // tokens
  std::vector<DemoColumn> columns;
};

// `rows` lines of at most `columns` columns, joined by "\n". REQUIRES: columns >= 40, rows >= 12.
std::string draw_columns(const DemoScene& scene, int columns, int rows, bool color);
std::string draw_text(const DemoScene& scene, int columns);  // one after the other, whole, no colours
std::string draw_table(const DemoScene& scene, bool color);

// The terminal's other screen, for redrawing in place; what was on the terminal comes back at the end.
class LiveScreen {
 public:
  LiveScreen();
  ~LiveScreen();
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;
  void draw(const DemoScene& scene);  // at the terminal's present size
};

}  // namespace throughline
