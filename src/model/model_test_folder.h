// For tests: a temporary folder that is removed with its contents, and small helpers to fill it.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/files.h"

namespace throughline {

class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "throughline.XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return join_path(path_, name); }
  void write(const std::string& name, std::string_view bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
  }
  // Copies a golden model directory into this folder.
  void copy_from(const std::string& folder) const {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      std::filesystem::copy(entry.path(), path_, std::filesystem::copy_options::overwrite_existing);
  }

 private:
  std::string path_;
};

// tests/golden/model/NAME. In golden_model_test.cc, the one source that needs to know where the repository lies.
std::string golden_model(const std::string& name);

}  // namespace throughline
