#include "text/vocabulary.h"

#include <algorithm>

namespace throughline {

Result<Vocabulary> Vocabulary::build(VocabularyEntries entries, const std::string& where) {
  int64_t last = -1;
  for (const auto& [piece, id] : entries) {
    if (id < 0 || id > kMaxTokenId) {
      return Error{
          "the id " + std::to_string(id) + " of \"" + piece + "\" is outside 0.." + std::to_string(kMaxTokenId), where,
          ""};
    }
    last = std::max(last, id);
  }
  Vocabulary out;
  out.by_id_.assign(static_cast<size_t>(last + 1), -1);
  out.ids_.reserve(entries.size());
  for (auto& [piece, id] : entries) {
    int32_t& place = out.by_id_[static_cast<size_t>(id)];
    if (place >= 0) {
      return Error{"\"" + out.pieces_[place] + "\" and \"" + piece + "\" have the same id " + std::to_string(id), where,
                   ""};
    }
    place = static_cast<int32_t>(out.pieces_.size());
    out.pieces_.push_back(std::move(piece));
    if (!out.ids_.emplace(out.pieces_.back(), static_cast<int32_t>(id)).second) {
      return Error{"the piece \"" + out.pieces_.back() + "\" is there twice", where, ""};
    }
  }
  return out;
}

}  // namespace throughline
