#include "cli/demo_view.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace throughline {
namespace {

constexpr const char* kColors[] = {"\033[31m", "\033[36m", "\033[32m"};  // red, cyan, green: as the columns end
constexpr const char* kRoomColors[] = {"\033[32m", "\033[33m", "\033[31m"};
constexpr int kGap = 3;

std::string paint(const std::string& text, std::string_view style, bool color) {
  return color && !style.empty() ? std::string(style) + text + "\033[0m" : text;
}

std::string padded(std::string_view text, int width) {
  std::string out = cut_to(text, width);
  out.append(static_cast<size_t>(std::max(0, width - display_width(out))), ' ');
  return out;
}

std::string bar(int64_t value, int64_t full, int cells) {
  const auto filled = static_cast<int>(std::clamp<int64_t>((value * cells + full - 1) / full, 0, cells));
  std::string out;
  for (int i = 0; i < cells; ++i) out += i < filled ? "█" : "░";
  return out;
}

// One column as styled lines of exactly `width` columns each.
std::vector<std::string> draw_column(const DemoScene& scene, size_t index, int width, int rows, bool color) {
  const DemoColumn& column = scene.columns[index];
  const char* accent = kColors[index % 3];
  std::vector<std::string> out;
  const auto line = [&](const std::string& text, std::string_view style) {
    out.push_back(paint(padded(text, width), style, color));
  };
  line(column.title, std::string("\033[1m") + accent);
  std::string breakable = column.spec;
  for (size_t at = 0; (at = breakable.find(',', at)) != std::string::npos; at += 2) breakable.insert(at + 1, 1, ' ');
  const auto spec = wrap(breakable, width);
  for (int i = 0; i < 2; ++i) line(i < static_cast<int>(spec.size()) ? spec[i] : "", "\033[2m");
  const std::string count = fmt::format(" {}/{}", column.kv_tokens, scene.kv_room);
  const int cells = std::max(4, width - 3 - display_width(count));
  const int level = column.kv_tokens * 20 >= scene.kv_room * 19 ? 2 : column.kv_tokens * 4 >= scene.kv_room * 3 ? 1 : 0;
  out.push_back("KV " + paint(bar(column.kv_tokens, scene.kv_room, cells), kRoomColors[level], color) +
                padded(count, width - 3 - cells));
  std::string tokens = fmt::format("{} tokens", column.tokens);
  if (column.chunks > 1) tokens += fmt::format(", chunk {}", column.chunks);
  line(tokens, column.tokens > scene.positions ? "\033[1m" : "");
  line("", "");
  const int room = std::max(1, rows - static_cast<int>(out.size()) - 1);
  auto text = wrap(column.text + (column.done ? "" : "▌"), width);
  const size_t from = text.size() > static_cast<size_t>(room) ? text.size() - static_cast<size_t>(room) : 0;
  for (int i = 0; i < room; ++i) line(from + i < text.size() ? text[from + i] : "", "");
  line(column.done ? "■ " + column.ended : "", std::string("\033[1m") + accent);
  return out;
}

}  // namespace

std::string draw_columns(const DemoScene& scene, int columns, int rows, bool color) {
  const auto count = static_cast<int>(scene.columns.size());
  const int width = (columns - kGap * (count - 1)) / count;
  std::string out = paint(padded(scene.headline, columns), "\033[1m", color) + "\n" +
                    paint(padded(scene.legend, columns), "\033[2m", color) + "\n\n";
  const int body = rows - 3;
  std::vector<std::vector<std::string>> drawn;
  for (size_t i = 0; i < scene.columns.size(); ++i) drawn.push_back(draw_column(scene, i, width, body, color));
  for (int row = 0; row < body; ++row) {
    for (int i = 0; i < count; ++i) {
      out += (i == 0 ? "" : paint(" │ ", "\033[2m", color)) + drawn[static_cast<size_t>(i)][static_cast<size_t>(row)];
    }
    if (row + 1 < body) out += '\n';
  }
  return out;
}

std::string draw_text(const DemoScene& scene, int columns) {
  std::string out = scene.headline + "\n" + scene.legend + "\n";
  for (const auto& column : scene.columns) {
    out += fmt::format("\n== {} ({})\n", column.title, column.spec);
    for (const auto& line : wrap(column.text, columns)) out += line + "\n";
    out += "-- " + column.ended + "\n";
  }
  return out;
}

std::string draw_table(const DemoScene& scene, bool color) {
  std::string out = paint(
      fmt::format("{:<12} {:>7} {:>8} {:>8} {:>9}  {}\n", "", "tokens", "KV peak", "tok/s", "repeated", "how it ended"),
      "\033[1m", color);
  for (size_t i = 0; i < scene.columns.size(); ++i) {
    const DemoColumn& column = scene.columns[i];
    out += paint(fmt::format("{:<12}", column.title), kColors[i % 3], color) +
           fmt::format(" {:>7} {:>8} {:>8.0f} {:>8.1f}%  {}\n", column.tokens, column.kv_peak,
                       column.tokens_per_second(), 100 * column.repetition, column.ended);
  }
  return out;
}

LiveScreen::LiveScreen() {
  std::fputs("\033[?1049h\033[?25l\033[2J", stdout);
  restore_on_kill("\033[?25h\033[?1049l");
}

LiveScreen::~LiveScreen() {
  std::fputs("\033[?25h\033[?1049l", stdout);
  std::fflush(stdout);
  restore_on_kill("");
}

void LiveScreen::draw(const DemoScene& scene) {
  const TerminalSize size = terminal_size(STDOUT_FILENO);
  std::string frame = "\033[H";
  for (const char c : draw_columns(scene, std::max(size.columns - 1, 40), std::max(size.rows, 12), true)) {
    if (c == '\n') frame += "\033[K\r";
    frame += c;
  }
  frame += "\033[K\033[J";
  std::fwrite(frame.data(), 1, frame.size(), stdout);
  std::fflush(stdout);
}

}  // namespace throughline
