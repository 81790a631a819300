// Only for tests: loads the tokenizers of tests/data/tokenizers. (tokenizer_data_test.cc knows where the sources are.)
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "text/byte_level.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace throughline::testing_data {

std::string source_path(const std::string& name);  // below the repository's root
inline std::string tokenizer_path(const std::string& name) { return source_path("tests/data/tokenizers/" + name); }

template <typename T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().line());
  return std::move(result).value();
}

inline Json read_json(const std::string& path) { return must(read_json_file(path)); }

// A folder that goes away with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = std::filesystem::temp_directory_path() / "throughline-text-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  void write(const std::string& name, std::string_view text) const {
    const Status status = write_atomically(join_path(path_, name), text);
    if (!status.ok()) throw std::runtime_error(status.error().line());
  }
  void copy(const std::string& from, const std::string& name) const {
    std::filesystem::copy_file(from, join_path(path_, name));
  }

 private:
  std::string path_;
};

// vocab.json of a GPT-2-like vocabulary: the 256 byte characters (those that stand for themselves first), then the
// merges' results.
inline std::string vocabulary_of_merges(const std::string& merges_path, const std::vector<std::string>& more) {
  std::vector<std::string> pieces;
  for (const bool own : {true, false}) {
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t character = byte_to_character(static_cast<unsigned char>(byte));
      if ((character < 0x100) != own) continue;
      pieces.emplace_back();
      append_utf8(pieces.back(), character);
    }
  }
  for (const auto& [left, right] : must(parse_merges_text(must(read_file(merges_path)), merges_path)))
    pieces.push_back(left + right);
  pieces.insert(pieces.end(), more.begin(), more.end());
  std::string out = "{";
  for (size_t i = 0; i < pieces.size(); ++i) out += (i ? ", " : "") + Json(pieces[i]).dump() + ": " + std::to_string(i);
  return out + "}";
}

// qwen2 and gpt2 as directories of vocab.json + merges.txt; all others have a tokenizer.json.
inline std::unique_ptr<const Tokenizer> load_tokenizer(const std::string& name) {
  if (name != "qwen2" && name != "gpt2") return must(Tokenizer::load(tokenizer_path(name)));
  TemporaryFolder folder;
  const std::string merges = tokenizer_path(name + "/merges.txt");
  folder.copy(merges, "merges.txt");
  folder.write("vocab.json", vocabulary_of_merges(merges, name == "gpt2" ? std::vector<std::string>{"<|endoftext|>"}
                                                                         : std::vector<std::string>{}));
  if (name == "gpt2") {
    folder.write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
  } else {
    for (const char* file : {"tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"}) {
      folder.copy(tokenizer_path(name + "/" + file), file);
    }
  }
  return must(Tokenizer::load(folder.path()));
}

}  // namespace throughline::testing_data
