#include "cli/trace_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/number_text.h"
#include "cli/terminal.h"

namespace throughline {
namespace {

// A hostile line can name the same text again and again. A trace of a million tokens has 4 MB and some 100,000 lines.
constexpr size_t kMostLines = 400000;
constexpr size_t kMostCarriedBytes = size_t{32} << 20;  // of all chunks together

std::string signed_number(double value) { return (value > 0 ? "+" : "") + fit_number(value, value > 0 ? 7 : 8, 3); }

TextStyle style_of(std::string_view verdict) {
  if (verdict == "right") return TextStyle::kGood;
  if (verdict == "wrong") return TextStyle::kBad;
  return TextStyle::kDoubt;
}

std::string plural(int64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// Where the text of token `index` starts in its chunk's text.
size_t token_from(const TraceLineChunk& chunk, int64_t index) {
  return index == 0 ? 0 : static_cast<size_t>(chunk.token_ends[static_cast<size_t>(index - 1)]);
}

// The text of the tokens that ended just before chunk `end`, checked against `ids`; false where it is not known, or
// longer than `limit_bytes`.
bool text_before(const TraceLine& trace, size_t end, std::span<const int32_t> ids, size_t limit_bytes,
                 std::string& out) {
  std::vector<std::string_view> pieces;  // the last first
  size_t left = ids.size(), bytes = 0;
  while (left > 0) {
    if (end == 0) return false;
    const TraceLineChunk& chunk = trace.chunks[--end];
    if (chunk.token_ids.empty() || chunk.token_ends.size() != chunk.token_ids.size()) return false;
    const size_t take = std::min(left, chunk.token_ids.size());
    const auto from = static_cast<int64_t>(chunk.token_ids.size() - take);
    if (!std::equal(chunk.token_ids.begin() + from, chunk.token_ids.end(),
                    ids.begin() + static_cast<int64_t>(left - take))) {
      return false;
    }
    pieces.push_back(std::string_view(chunk.text).substr(token_from(chunk, from)));
    bytes += pieces.back().size();
    if (bytes > limit_bytes) return false;
    left -= take;
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) out += *piece;
  return true;
}

class TraceRenderer {
 public:
  TraceRenderer(const TraceLine& trace, const TraceTextOptions& options) : trace_(trace), options_(options) {}

  TraceText render() {
    add_summary();
    for (size_t i = 0; i < trace_.chunks.size() && !full(); ++i) {
      out_.lines.emplace_back();
      out_.chunk_lines.push_back(out_.lines.size());
      add_chunk(i);
    }
    if (full()) out_.lines.push_back({{TextStyle::kBad, fmt::format("cut here, after {} lines", out_.lines.size())}});
    return std::move(out_);
  }

 private:
  bool full() const { return out_.lines.size() >= kMostLines; }

  void add_block(const std::vector<StyledSpan>& text, const StyledSpan& gutter) {
    if (full()) return;
    const size_t room = kMostLines - out_.lines.size();
    for (auto& line : wrap_styled(text, options_.columns, gutter, room)) out_.lines.push_back(std::move(line));
  }

  void add_summary() {
    add_block(
        {{TextStyle::kStrong, fmt::format("step {}, trace {}, group {}", trace_.step, trace_.index, trace_.group)},
         {TextStyle::kPlain, trace_.task.empty() ? "" : "  " + trace_.task}},
        {});
    const TextStyle verdict = style_of(trace_.verdict);
    add_block({{verdict, "reward " + fit_number(trace_.reward, 8, 3)},
               {TextStyle::kPlain, "  advantage " + signed_number(trace_.advantage) + "  "},
               {verdict, trace_.verdict},
               {TextStyle::kPlain,
                fmt::format("  {} ({})  {} in {}  weights {}", trace_.finish_reason, trace_.finish_detail,
                            plural(trace_.tokens, "token"), plural(static_cast<int64_t>(trace_.chunks.size()), "chunk"),
                            trace_.weight_version)}},
              {});
    if (!trace_.gold.empty()) add_block({{TextStyle::kPlain, trace_.gold}}, {TextStyle::kFaint, "  gold  "});
    add_block({{TextStyle::kPlain, trace_.prompt}}, {TextStyle::kFaint, "prompt  "});
  }

  void add_chunk(size_t index) {
    const TraceLineChunk& chunk = trace_.chunks[index];
    const int64_t head = chunk.head_tokens, tail = chunk.carried_tokens - chunk.head_tokens;
    int64_t forced = 0;
    for (const auto& [from, to] : chunk.forced) forced += to - from;
    std::string title =
        fmt::format("{0} chunk {1} of {2} {0} prompt {3}", options_.ascii ? "--" : "──", index + 1,
                    trace_.chunks.size(), static_cast<int64_t>(chunk.prompt_ids.size()) - chunk.carried_tokens);
    if (head > 0) title += fmt::format(" + head {}", head);
    if (tail > 0) title += fmt::format(" + tail {}", tail);
    title += fmt::format(", then {}", plural(static_cast<int64_t>(chunk.token_ids.size()), "token"));
    if (forced > 0) title += fmt::format(" ({} forced)", forced);
    if (chunk.weight_version != trace_.weight_version) title += fmt::format(", weights {}", chunk.weight_version);
    title += ' ';
    while (display_width(title) < options_.columns) title += options_.ascii ? "-" : "─";
    out_.lines.push_back(fitted({{TextStyle::kStrong, title}}, options_.columns));
    if (chunk.carried_tokens > 0) add_carried(index, head, tail);
    add_response(chunk);
  }

  void add_carried(size_t index, int64_t head, int64_t tail) {
    const TraceLineChunk& chunk = trace_.chunks[index];
    const CarriedText carried = carried_text(trace_, index, carried_bytes_left_);
    carried_bytes_left_ -= carried.head.size() + carried.tail.size();
    const auto* const carried_ids = chunk.prompt_ids.data() + chunk.prompt_ids.size() - chunk.carried_tokens;
    const auto add = [&](const char* name, int64_t count, const std::string& text, TextStyle style,
                         const int32_t* ids) {
      if (count == 0) return;
      const std::string mark = fmt::format("{} {} ", name, options_.ascii ? ":" : "┊");
      if (carried.known) add_block({{style, text}}, {style, mark});
      if (!carried.known || options_.ids) add_ids(ids, count, {style, mark});
    };
    add("head", head, carried.head, TextStyle::kHead, carried_ids);
    add("tail", tail, carried.tail, TextStyle::kTail, carried_ids + head);
  }

  void add_response(const TraceLineChunk& chunk) {
    const StyledSpan gutter = {TextStyle::kFaint, options_.ascii ? "     | " : "     │ "};
    std::vector<StyledSpan> spans;
    size_t from = 0;
    if (!chunk.token_ends.empty()) {
      for (const auto& [first, last] : chunk.forced) {
        if (first == last) continue;
        const size_t begin = token_from(chunk, first), end = token_from(chunk, last);
        spans.push_back({TextStyle::kPlain, chunk.text.substr(from, begin - from)});
        spans.push_back({TextStyle::kForced, (options_.ascii ? "[[" : "⟪") + chunk.text.substr(begin, end - begin) +
                                                 (options_.ascii ? "]]" : "⟫")});
        from = end;
      }
    }
    spans.push_back({TextStyle::kPlain, chunk.text.substr(from)});
    if (!chunk.text.empty()) add_block(spans, gutter);
    if (chunk.text.empty() || options_.ids) {
      add_ids(chunk.token_ids.data(), static_cast<int64_t>(chunk.token_ids.size()), gutter);
    }
  }

  void add_ids(const int32_t* ids, int64_t count, const StyledSpan& gutter) {
    std::string text;
    for (int64_t i = 0; i < count; ++i) text += (i > 0 ? " " : "") + std::to_string(ids[i]);
    add_block({{TextStyle::kFaint, text}}, gutter);
  }

  const TraceLine& trace_;
  const TraceTextOptions& options_;
  TraceText out_;
  size_t carried_bytes_left_ = kMostCarriedBytes;
};

// The numbers of a list line; words and the prompt follow.
constexpr const char* kListForm = "{:>6} {:>6} {:>6} {:>8} {:>9}  ";

}  // namespace

CarriedText carried_text(const TraceLine& trace, size_t index, size_t limit_bytes) {
  const TraceLineChunk& chunk = trace.chunks[index];
  const std::span<const int32_t> carried(chunk.prompt_ids.data() + chunk.prompt_ids.size() - chunk.carried_tokens,
                                         static_cast<size_t>(chunk.carried_tokens));
  const auto head = carried.subspan(0, static_cast<size_t>(chunk.head_tokens));
  CarriedText out;
  if (!head.empty()) {  // the first ids of the first chunk
    const TraceLineChunk& first = trace.chunks[0];
    if (index == 0 || first.token_ids.size() < head.size() || first.token_ends.size() != first.token_ids.size() ||
        !std::equal(head.begin(), head.end(), first.token_ids.begin())) {
      return out;
    }
    if (token_from(first, chunk.head_tokens) > limit_bytes) return out;
    out.head = first.text.substr(0, token_from(first, chunk.head_tokens));
  }
  out.known = text_before(trace, index, carried.subspan(head.size()), limit_bytes - out.head.size(), out.tail);
  return out;
}

TraceText render_trace(const TraceLine& trace, const TraceTextOptions& options) {
  return TraceRenderer(trace, options).render();
}

StyledLine trace_list_heading(int columns) {
  return fitted(
      {{TextStyle::kStrong, fmt::format(kListForm, "step", "trace", "group", "reward", "advantage")},
       {TextStyle::kStrong, fmt::format("{:<9} {:<13} {:>7}  {}", "verdict", "ended by", "tokens", "prompt")}},
      columns, true);
}

StyledLine trace_list_line(const TraceSummary& trace, int columns) {
  const auto word = [](const std::string& text, int width) {
    std::string out = cut_to(harmless(text), width);
    return out.append(static_cast<size_t>(width - display_width(out)), ' ');
  };
  const auto number = [](int64_t value, int width) { return fit_number(static_cast<double>(value), width, 0); };
  std::string prompt = harmless(trace.prompt);
  std::replace(prompt.begin(), prompt.end(), '\n', ' ');
  return fitted(
      {{TextStyle::kPlain, fmt::format(kListForm, number(trace.step, 6), number(trace.index, 6), number(trace.group, 6),
                                       fit_number(trace.reward, 8, 3), signed_number(trace.advantage))},
       {style_of(trace.verdict), word(trace.verdict, 9)},
       {TextStyle::kPlain, " " + word(trace.finish_detail, 13) + fmt::format(" {:>7}  ", number(trace.tokens, 7))},
       {TextStyle::kFaint, prompt}},
      columns, true);
}

}  // namespace throughline
