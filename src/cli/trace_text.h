// A trace, and a list of traces, as styled lines: chunks, head and tail carried into them, forced tokens. Pure.
//
// The text of carried ids is not in the file: it is that of the tokens they were taken from, found where chunks have
// `token_ends` and the ids agree. What a hostile file makes endless is cut. Marks do not depend on colour: a gutter
// names head and tail, forced text stands in ⟪ ⟫ ([[ ]] in ASCII).
#pragma once

#include <string>
#include <vector>

#include "cli/styled_text.h"
#include "train/trace_line.h"

namespace throughline {

struct TraceTextOptions {
  int columns = 80;
  bool ids = false;    // token ids below each part
  bool ascii = false;  // frames and marks
};

struct TraceText {
  std::vector<StyledLine> lines;
  std::vector<size_t> chunk_lines;  // where each chunk's heading stands in `lines`
};
TraceText render_trace(const TraceLine& trace, const TraceTextOptions& options);

StyledLine trace_list_heading(int columns);
// One line, `columns` wide.
StyledLine trace_list_line(const TraceSummary& trace, int columns);

// The texts of the ids that a chunk took over; not known where they are longer than the limit.
// REQUIRES: chunk < trace.chunks.size()
struct CarriedText {
  bool known = false;
  std::string head, tail;
};
CarriedText carried_text(const TraceLine& trace, size_t chunk, size_t limit_bytes = size_t{32} << 20);

}  // namespace throughline
