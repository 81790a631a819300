#include <gtest/gtest.h>

#include "base/files.h"
#include "model/model_test_folder.h"

namespace throughline {

std::string golden_model(const std::string& name) {
  return join_path(THROUGHLINE_SOURCE_DIR "/tests/golden/model", name);
}

TEST(GoldenModel, FolderIsThere) { EXPECT_TRUE(is_directory(golden_model("qwen3"))); }

}  // namespace throughline
