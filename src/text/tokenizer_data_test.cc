// Where the test data lies, and that what is left out of it (vocab.json) is made again as it was.
#include <gtest/gtest.h>

#include <algorithm>

#include "text/tokenizer_test_data.h"

namespace throughline {

std::string testing_data::source_path(const std::string& name) { return join_path(THROUGHLINE_SOURCE_DIR, name); }

namespace {

using testing_data::must;

TEST(TokenizerData, TheMadeVocabulariesAreTheRealOnes) {
  for (const std::string name : {"qwen2", "gpt2"}) {
    const std::string path = testing_data::source_path("../shared/data/tokenizers/" + name + "/vocab.json");
    if (!file_exists(path)) GTEST_SKIP() << "no " << path;
    const std::vector<std::string> more =
        name == "gpt2" ? std::vector<std::string>{"<|endoftext|>"} : std::vector<std::string>{};
    auto made = must(parse_vocabulary_json(
        testing_data::vocabulary_of_merges(testing_data::tokenizer_path(name + "/merges.txt"), more), "made"));
    auto real = must(parse_vocabulary_json(must(read_file(path)), path));
    std::sort(made.begin(), made.end());
    std::sort(real.begin(), real.end());
    EXPECT_EQ(made.size(), real.size());
    EXPECT_TRUE(made == real) << name;
  }
}

}  // namespace
}  // namespace throughline
