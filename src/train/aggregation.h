// How token losses become one loss: the weight of each trained token.
//
// An optimizer step's loss is sum over its trained tokens of token_weight(row) * token loss. Rows of one trace share
// one weight except under kSequenceMean. Totals are those of the whole step over all processes, so micro-batches and
// processes only ever add. Sources: kTraceLength: Delethink equation 3 in the form of research/delethink.md A.4, last
// "scale subtlety"; kTokenMean: DAPO (arXiv 2503.14476); kConstant: Dr.GRPO (2503.20783); kSequenceMean: GRPO
// (2402.03300) with a row as the sequence.
#pragma once

#include <cstdint>
#include <span>

#include "train/row.h"

namespace throughline {

enum class AggregationKind {
  kTraceLength,   // (S / N) * 1 / trace_tokens: every trace counts the same however many rows it has
  kTokenMean,     // 1 / trained tokens of the step
  kConstant,      // (S / N) * 1 / constant_tokens: long traces weigh more, no length bias
  kSequenceMean,  // 1 / rows of the step * 1 / trained tokens of the row
};

struct AggregationOptions {
  AggregationKind kind = AggregationKind::kTraceLength;
  double constant_tokens = 0;  // kConstant: usually the trace's token limit
};

struct StepTotals {
  int64_t traces = 0;           // N, of the whole rollout, over all its optimizer steps
  int64_t optimizer_steps = 1;  // S
  int64_t rows = 0;             // of this optimizer step: with at least one trained token
  int64_t tokens = 0;           // of this optimizer step: trained ones
};
int64_t trained_tokens(const TrainRow& row);
// rows and tokens of the given rows; add those of other processes.
StepTotals count_step(std::span<const TrainRow> rows, int64_t traces, int64_t optimizer_steps);

// REQUIRES: the row has a trained token; totals that the kind looks at are over 0.
double token_weight(const TrainRow& row, const StepTotals& totals, const AggregationOptions& options);

}  // namespace throughline
