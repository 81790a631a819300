// The pieces of a tokeniser's model and their ids, both ways. Immutable after building; thread-safe then.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace throughline {

// Larger ids are taken for damage: the largest vocabularies in use have about 2^18 pieces.
constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;

using VocabularyEntries = std::vector<std::pair<std::string, int64_t>>;

class Vocabulary {
 public:
  // Refuses a piece or an id given twice and ids outside 0..kMaxTokenId. `where` names the list in errors.
  static Result<Vocabulary> build(VocabularyEntries entries, const std::string& where);

  std::optional<int32_t> id(std::string_view piece) const {
    const auto it = ids_.find(piece);
    return it == ids_.end() ? std::nullopt : std::optional<int32_t>(it->second);
  }
  // nullptr when no piece has this id.
  const std::string* piece(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= by_id_.size() || by_id_[id] < 0) return nullptr;
    return &pieces_[by_id_[id]];
  }
  int32_t end_id() const { return static_cast<int32_t>(by_id_.size()); }  // the largest id + 1

 private:
  std::deque<std::string> pieces_;  // never moved in memory: ids_ points into it
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<int32_t> by_id_;  // -> index in pieces_, or -1
};

}  // namespace throughline
