#include "text/split_behavior.h"

#include <algorithm>

namespace throughline {
namespace {

// Neighbours of one kind join.
std::vector<TextRange> contiguous(const std::vector<SplitPart>& parts) {
  std::vector<TextRange> out;
  bool previous = false;
  for (const SplitPart& part : parts) {
    if (part.is_match == previous && !out.empty()) {
      out.back().end = part.range.end;
    } else {
      out.push_back(part.range);
    }
    previous = part.is_match;
  }
  return out;
}

std::vector<TextRange> merged_with_previous(const std::vector<SplitPart>& parts) {
  std::vector<TextRange> out;
  bool previous = false;
  for (const SplitPart& part : parts) {
    if (part.is_match && !previous && !out.empty()) {
      out.back().end = part.range.end;
    } else {
      out.push_back(part.range);
    }
    previous = part.is_match;
  }
  return out;
}

std::vector<TextRange> merged_with_next(const std::vector<SplitPart>& parts) {
  std::vector<TextRange> out;
  bool previous = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->is_match && !previous && !out.empty()) {
      out.back().begin = part->range.begin;
    } else {
      out.push_back(part->range);
    }
    previous = part->is_match;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

std::optional<SplitBehavior> parse_split_behavior(std::string_view name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return std::nullopt;
}

std::vector<SplitPart> parts_between(const std::vector<TextRange>& matches, size_t size) {
  std::vector<SplitPart> out;
  out.reserve(2 * matches.size() + 1);
  size_t at = 0;
  for (const TextRange& match : matches) {
    if (at != match.begin) out.push_back({{at, match.begin}, false});
    out.push_back({match, true});
    at = match.end;
  }
  if (at != size) out.push_back({{at, size}, false});
  return out;
}

std::vector<TextRange> split_parts(const std::vector<SplitPart>& parts, SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kContiguous:
      return contiguous(parts);
    case SplitBehavior::kMergedWithPrevious:
      return merged_with_previous(parts);
    case SplitBehavior::kMergedWithNext:
      return merged_with_next(parts);
    case SplitBehavior::kRemoved:
    case SplitBehavior::kIsolated:
      break;
  }
  std::vector<TextRange> out;
  out.reserve(parts.size());
  for (const SplitPart& part : parts) {
    if (!part.is_match || behavior == SplitBehavior::kIsolated) out.push_back(part.range);
  }
  return out;
}

}  // namespace throughline
