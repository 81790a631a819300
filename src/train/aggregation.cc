#include "train/aggregation.h"

#include "base/result.h"

namespace throughline {

int64_t trained_tokens(const TrainRow& row) {
  int64_t count = 0;
  for (const uint8_t trained : row.trained) count += trained != 0;
  return count;
}

StepTotals count_step(std::span<const TrainRow> rows, int64_t traces, int64_t optimizer_steps) {
  StepTotals totals{traces, optimizer_steps, 0, 0};
  for (const TrainRow& row : rows) {
    const int64_t tokens = trained_tokens(row);
    totals.rows += tokens > 0;
    totals.tokens += tokens;
  }
  return totals;
}

double token_weight(const TrainRow& row, const StepTotals& totals, const AggregationOptions& options) {
  const auto of_trace = [&](double tokens) {
    TL_CHECK(totals.traces > 0 && tokens > 0, "token_weight: traces and their length must be over 0");
    return static_cast<double>(totals.optimizer_steps) / static_cast<double>(totals.traces) / tokens;
  };
  switch (options.kind) {
    case AggregationKind::kTraceLength:
      return of_trace(static_cast<double>(row.trace_tokens));
    case AggregationKind::kConstant:
      return of_trace(options.constant_tokens);
    case AggregationKind::kTokenMean:
      TL_CHECK(totals.tokens > 0, "token_weight: the step has no trained token");
      return 1.0 / static_cast<double>(totals.tokens);
    case AggregationKind::kSequenceMean: {
      const int64_t tokens = trained_tokens(row);
      TL_CHECK(totals.rows > 0 && tokens > 0, "token_weight: the row has no trained token");
      return 1.0 / static_cast<double>(totals.rows) / static_cast<double>(tokens);
    }
  }
  return 0;
}

}  // namespace throughline
