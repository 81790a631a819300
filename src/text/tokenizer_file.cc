#include "text/tokenizer_file.h"

#include <optional>
#include <unordered_set>
#include <utility>

namespace throughline {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxKeys = size_t{1} << 17;  // in one object; Gemma 3's added_tokens_decoder has 6415
constexpr size_t kMaxValues = size_t{1} << 20;

// "left right": exactly one space, both sides non-empty.
std::optional<std::pair<std::string, std::string>> parse_merge(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || space + 1 == line.size()) return std::nullopt;
  if (line.find(' ', space + 1) != std::string_view::npos) return std::nullopt;
  return std::pair{std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

// Builds a tree from nlohmann's events, except where `vocabulary` and `merges` stand.
class Reader : public nlohmann::json_sax<Json> {
 public:
  enum class Target { kTree, kTokenizer, kVocabulary };
  explicit Reader(Target target) : target_(target) {}

  Json root;
  VocabularyEntries vocabulary;
  MergeList merges;
  std::string problem;
  std::string place;  // within the file; empty: the whole of it

  bool null() override { return scalar(nullptr); }
  bool boolean(bool value) override { return scalar(value); }
  bool number_integer(number_integer_t value) override { return number(value, static_cast<int64_t>(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    return number(value, value > static_cast<uint64_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return scalar(value); }
  bool binary(binary_t&) override { return fail("binary values are not JSON", ""); }
  bool string(string_t& value) override {
    if (mode_ == Mode::kMerges) return merge_text(std::move(value));
    return scalar(std::move(value));
  }
  bool key(string_t& value) override {
    if (mode_ == Mode::kSkip) return true;
    if (mode_ == Mode::kVocabulary) {
      piece_ = std::move(value);
      return true;
    }
    if (stack_.back()->size() >= kMaxKeys) {
      return fail("an object with more than " + std::to_string(kMaxKeys) + " keys", keys_path());
    }
    // Json's own contains() looks at every key.
    if (!seen_.back().insert(value).second) return fail("duplicate key \"" + value + "\"", keys_path());
    keys_.back() = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override { return start(Json::object(), true); }
  bool start_array(std::size_t) override { return start(Json::array(), false); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: ..." -> from "parse" on
    std::string message = e.what();
    if (const size_t at = message.find("] "); at != std::string::npos) message.erase(0, at + 2);
    return fail("invalid JSON: " + message, "");
  }

 private:
  // kMerges: in the list of merges; kPair: in one merge ["left", "right"]; kSkip: in something that is not wanted.
  enum class Mode { kTree, kVocabulary, kMerges, kPair, kSkip };

  bool fail(std::string what, std::string where) {
    if (problem.empty()) {
      problem = std::move(what);
      place = std::move(where);
    }
    return false;
  }

  std::string keys_path() const {
    std::string out;
    for (const std::string& key : keys_) {
      if (!key.empty()) out += (out.empty() ? "" : ".") + key;
    }
    return out;
  }
  std::string vocabulary_place() const { return target_ == Target::kTokenizer ? "model.vocab" : ""; }
  std::string merge_place() const { return "model.merges[" + std::to_string(merges.size()) + "]"; }

  bool in_model(const char* key) const {
    return target_ == Target::kTokenizer && stack_.size() == 2 && keys_[0] == "model" && stack_[1]->is_object() &&
           keys_[1] == key;
  }

  bool number(const Json& value, int64_t as_integer) {
    if (mode_ != Mode::kVocabulary) return scalar(value);
    if (vocabulary.size() >= kMaxVocabulary)
      return fail("more than " + std::to_string(kMaxVocabulary) + " pieces", vocabulary_place());
    vocabulary.emplace_back(std::move(piece_), as_integer);
    return true;
  }

  bool scalar(Json value) {
    switch (mode_) {
      case Mode::kSkip:
        return true;
      case Mode::kVocabulary:
        return fail("the id of \"" + piece_ + "\" is not an integer", vocabulary_place());
      case Mode::kPair:
        if (!value.is_string() || pair_size_ >= 2) return fail("must be two strings", merge_place());
        (pair_size_++ == 0 ? pair_.first : pair_.second) = value.get<std::string>();
        return true;
      case Mode::kMerges:
        return fail("must be \"left right\" or [\"left\", \"right\"]", merge_place());
      case Mode::kTree:
        break;
    }
    return add(std::move(value)) != nullptr;
  }

  bool merge_text(std::string text) {
    auto merge = parse_merge(text);
    if (!merge) return fail("\"" + text + "\" is not two pieces with a space between", merge_place());
    return add_merge(std::move(*merge));
  }

  bool add_merge(std::pair<std::string, std::string> merge) {
    if (merges.size() >= kMaxMerges) return fail("more than " + std::to_string(kMaxMerges) + " merges", "model.merges");
    merges.push_back(std::move(merge));
    return true;
  }

  Json* add(Json value) {
    if (++values_ > kMaxValues) {
      fail("more than " + std::to_string(kMaxValues) + " values", "");
      return nullptr;
    }
    if (stack_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    // Not operator[]: the key is known to be new, and finding that out costs a look at every key.
    auto& members = parent.get_ref<Json::object_t&>();
    members.emplace_back(keys_.back(), std::move(value));
    return &members.back().second;
  }

  bool start(Json container, bool is_object) {
    if (++depth_ > kMaxDepth) return fail("nested deeper than " + std::to_string(kMaxDepth) + " levels", "");
    switch (mode_) {
      case Mode::kSkip:
        return true;
      case Mode::kVocabulary:
        return fail("the id of \"" + piece_ + "\" is not an integer", vocabulary_place());
      case Mode::kPair:
        return fail("must be two strings", merge_place());
      case Mode::kMerges:
        if (is_object) return fail("must be \"left right\" or [\"left\", \"right\"]", merge_place());
        return enter(Mode::kPair);
      case Mode::kTree:
        break;
    }
    if (target_ == Target::kVocabulary) return is_object ? enter(Mode::kVocabulary) : fail("must be an object", "");
    // A list (Unigram) or a list of lists is left out; the kind of model is refused by its name later.
    // In the tree stands null instead, so that a second one is seen as a duplicate key.
    if (in_model("vocab")) return add(nullptr) != nullptr && enter(is_object ? Mode::kVocabulary : Mode::kSkip);
    if (in_model("merges")) {
      if (is_object) return fail("must be a list", "model.merges");
      return add(nullptr) != nullptr && enter(Mode::kMerges);
    }
    Json* added = add(std::move(container));
    if (added == nullptr) return false;
    stack_.push_back(added);
    keys_.emplace_back();
    seen_.emplace_back();
    return true;
  }

  bool enter(Mode mode) {
    mode_ = mode;
    mode_depth_[static_cast<int>(mode)] = depth_;
    pair_size_ = 0;
    return true;
  }

  bool end() {
    const size_t depth = depth_--;
    if (mode_ == Mode::kTree) {
      stack_.pop_back();
      keys_.pop_back();
      seen_.pop_back();
      return true;
    }
    if (depth != mode_depth_[static_cast<int>(mode_)]) return true;
    if (mode_ == Mode::kPair) {
      mode_ = Mode::kMerges;
      if (pair_size_ != 2) return fail("must be two strings", merge_place());
      return add_merge(std::exchange(pair_, {}));
    }
    mode_ = Mode::kTree;
    return true;
  }

  Target target_;
  Mode mode_ = Mode::kTree;
  size_t mode_depth_[5] = {};
  size_t depth_ = 0;
  size_t values_ = 0;
  std::vector<Json*> stack_;  // open containers of the tree; the inner ones are not moved while they are open
  std::vector<std::string> keys_;
  std::vector<std::unordered_set<std::string>> seen_;  // all keys so far of each open object
  std::string piece_;
  std::pair<std::string, std::string> pair_;
  int pair_size_ = 0;
};

Result<Reader> read(std::string_view text, Reader::Target target, const std::string& where) {
  Reader reader(target);
  const bool ok = Json::sax_parse(text, &reader);
  if (!ok) {
    if (reader.problem.empty()) reader.problem = "invalid JSON";
    return Error{reader.problem, reader.place.empty() ? where : where + ": " + reader.place, ""};
  }
  return reader;
}

}  // namespace

Result<TokenizerFile> parse_tokenizer_json(std::string_view text, const std::string& where) {
  TL_TRY(Reader reader, read(text, Reader::Target::kTokenizer, where));
  if (!reader.root.is_object())
    return Error{"must be an object", where, "check that it is a Hugging Face tokenizer.json"};
  return TokenizerFile{std::move(reader.root), std::move(reader.vocabulary), std::move(reader.merges)};
}

Result<VocabularyEntries> parse_vocabulary_json(std::string_view text, const std::string& where) {
  TL_TRY(Reader reader, read(text, Reader::Target::kVocabulary, where));
  if (!reader.root.is_null()) return Error{"must be an object", where, ""};
  return std::move(reader.vocabulary);
}

Result<Json> parse_small_json(std::string_view text, const std::string& where) {
  TL_TRY(Reader reader, read(text, Reader::Target::kTree, where));
  return std::move(reader.root);
}

Result<MergeList> parse_merges_text(std::string_view text, const std::string& where) {
  MergeList out;
  size_t number = 0;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    auto merge = parse_merge(line);
    if (!merge) {
      return Error{"line " + std::to_string(number) + " is not two pieces with a space between", where,
                   "check that it is a merges.txt"};
    }
    if (out.size() >= kMaxMerges) return Error{"more than " + std::to_string(kMaxMerges) + " merges", where, ""};
    out.push_back(std::move(*merge));
  }
  return out;
}

}  // namespace throughline
