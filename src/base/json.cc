#include "base/json.h"

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/files.h"

namespace throughline {
namespace {

// Builds the tree from the parser's events. nlohmann's own builder looks through all keys of an object for each new
// one; this one appends, and finds duplicates by a set once an object has many keys: linear in the text.
// Looking up a key in the tree still walks over the keys: whoever needs many of a huge object walks its items() once.
class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit TreeBuilder(int depth_limit) : depth_limit_(depth_limit) {}

  Json root;
  std::string problem;

  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override { return add(value) != nullptr; }
  bool string(string_t& value) override { return add(std::move(value)) != nullptr; }
  bool binary(binary_t& value) override { return add(std::move(value)) != nullptr; }
  bool start_object(std::size_t) override { return start(Json::object()); }
  bool start_array(std::size_t) override { return start(Json::array()); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }

  bool key(string_t& name) override {
    Open& open = open_.back();
    if (has(open, name)) return fail("duplicate key \"" + name + "\"");
    open.key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ..." -> from "parse" on
    std::string message = e.what();
    if (const size_t at = message.find("] "); at != std::string::npos) message.erase(0, at + 2);
    return fail(std::move(message));
  }

 private:
  // An object or array whose end has not come. It does not move: its parent gets no other member before.
  struct Open {
    Json* value;
    std::string key;                        // of the next member
    std::unordered_set<std::string> names;  // of all members, from kManyKeys on
  };
  static constexpr size_t kManyKeys = 16;  // up to here a look at each is faster

  bool fail(std::string what) {
    if (problem.empty()) problem = std::move(what);
    return false;
  }

  bool has(Open& open, const std::string& name) const {
    const auto& members = open.value->get_ref<const Json::object_t&>();
    if (members.size() < kManyKeys) {
      for (const auto& member : members) {
        if (member.first == name) return true;
      }
      return false;
    }
    if (open.names.empty()) {
      for (const auto& member : members) open.names.insert(member.first);
    }
    return !open.names.insert(name).second;
  }

  Json* add(Json value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Open& open = open_.back();
    if (open.value->is_array()) return &open.value->get_ref<Json::array_t&>().emplace_back(std::move(value));
    auto& members = open.value->get_ref<Json::object_t&>();  // a vector of pairs: the key is known to be new
    members.emplace_back(std::move(open.key), std::move(value));
    return &members.back().second;
  }

  bool start(Json empty) {
    if (static_cast<int>(open_.size()) >= depth_limit_) {
      return fail("nested deeper than " + std::to_string(depth_limit_) + " levels");
    }
    open_.push_back({add(std::move(empty)), {}, {}});
    return true;
  }

  bool end() {
    open_.pop_back();
    return true;
  }

  const int depth_limit_;
  std::vector<Open> open_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& where, int depth_limit) {
  TreeBuilder builder(depth_limit);
  if (Json::sax_parse(text, &builder)) return std::move(builder.root);
  return Error{"invalid JSON: " + builder.problem, where, ""};
}

Result<Json> read_json_file(const std::string& path) {
  TL_TRY(const std::string text, read_file(path));
  return parse_json(text, path);
}

std::string dump_json(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace throughline
