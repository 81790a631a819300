// What becomes of the places that a pattern matches when a text is split there (tokenizer.json: "behavior").
//
// The source is tokenizers' NormalizedString::split; the order of the folds decides which neighbour a match joins.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace throughline {

enum class SplitBehavior : uint8_t { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

std::optional<SplitBehavior> parse_split_behavior(std::string_view name);

struct SplitPart {
  TextRange range;
  bool is_match = false;
};

// The matches and what lies between them; all of [0, size).
std::vector<SplitPart> parts_between(const std::vector<TextRange>& matches, size_t size);

// The ranges to keep, left to right.
std::vector<TextRange> split_parts(const std::vector<SplitPart>& parts, SplitBehavior behavior);

}  // namespace throughline
