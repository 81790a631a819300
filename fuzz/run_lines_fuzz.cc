// clang-format off
// rooms: base text think train/trace_line.cc train/step_metrics.cc cli/trace_text.cc cli/styled_text.cc cli/terminal.cc cli/interrupt.cc
// clang-format on
// Any bytes as a line of traces.jsonl and of metrics.jsonl: no crash, no hang; what is accepted is written so that it
// reads back as itself, and is shown without a control character or a line that is too wide. Seeds:
// fuzz/corpus/run_lines.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cli/trace_text.h"
#include "train/step_metrics.h"
#include "train/trace_line.h"

namespace {

constexpr int kColumns = 40;

void show(const throughline::TraceLine& trace) {
  for (const bool ids : {false, true}) {
    for (const auto& line : throughline::render_trace(trace, {.columns = kColumns, .ids = ids, .ascii = !ids}).lines) {
      if (throughline::width_of(line) > kColumns) std::abort();
      for (const char c : throughline::plain_text(line)) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) std::abort();
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace throughline;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto trace = parse_trace_line(text, "fuzz line 1");
  if (trace.ok()) {
    const std::string written = write_trace_line(*trace);
    const auto again = parse_trace_line(written, "again");
    if (!again.ok() || write_trace_line(*again) != written) std::abort();
    if (!parse_trace_summary(written, "again").ok()) std::abort();
    show(*trace);
  } else if (trace.error().line().find("fuzz line 1") != 0) {
    std::abort();
  }
  (void)parse_trace_summary(text, "fuzz line 1");
  if (const auto metrics = parse_step_metrics(text, "fuzz line 1"); metrics.ok()) {
    const std::string written = write_step_metrics(*metrics);
    const auto again = parse_step_metrics(written, "again");
    if (!again.ok() || write_step_metrics(*again) != written) std::abort();
  }
  return 0;
}
