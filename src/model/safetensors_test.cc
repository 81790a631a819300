#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/files.h"
#include "base/json.h"
#include "model/model_test_folder.h"

namespace throughline {
namespace {

using ::testing::HasSubstr;

std::string packed(const std::string& header, const std::string& data) {
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i));
  return out + header + data;
}

Result<SafetensorsHeader> parse(const std::string& file) {
  return parse_safetensors_header({reinterpret_cast<const std::byte*>(file.data()), file.size()}, file.size(), "f");
}

TEST(Safetensors, ReadsWhatTransformersWrote) {
  auto checkpoint = Checkpoint::open_directory(golden_model("qwen25-fp16-sharded"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().line();
  const TensorView* embedding = checkpoint->find("model.embed_tokens.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_EQ(embedding->info.dtype, TensorDtype::kF16);
  EXPECT_EQ(embedding->info.shape, (std::vector<int64_t>{149, 60}));
  EXPECT_EQ(embedding->bytes(), 149U * 60 * 2);
  EXPECT_EQ(checkpoint->find("nothing"), nullptr);
}

TEST(Safetensors, HeaderKeepsMetadataEmptyTensorsAndScalars) {
  const auto header = parse(packed(
      R"({"__metadata__":{"format":"pt"},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},)"
      R"("s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"b":{"dtype":"BOOL","shape":[3],"data_offsets":[8,11]}}  )",
      std::string(11, 'x')));
  ASSERT_TRUE(header.ok()) << header.error().line();
  EXPECT_THAT(header->metadata, ::testing::ElementsAre(::testing::Pair("format", "pt")));
  ASSERT_EQ(header->tensors.size(), 3U);
  EXPECT_EQ(header->tensors[2].name, "b");
}

TEST(Safetensors, ManyTensorsAreReadInLinearTime) {
  std::string header = "{";
  for (int i = 0; i < 200000; ++i) {
    if (i > 0) header += ",";
    header += "\"" + std::to_string(i) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";
  }
  const auto parsed = parse(packed(header + "}", std::string(200000, 'x')));
  ASSERT_TRUE(parsed.ok()) << parsed.error().line();
  EXPECT_EQ(parsed->tensors.size(), 200000U);
}

TEST(Safetensors, TensorBytesOutliveTheCheckpoint) {
  const TestFolder folder;
  const std::string data = "abcdefgh";
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data.data()), data.size());
  ASSERT_TRUE(write_safetensors(folder.file("a.safetensors"), {{"t", TensorDtype::kU8, {8}, bytes}}).ok());
  TensorView kept;
  {
    auto checkpoint = Checkpoint::open_file(folder.file("a.safetensors"));
    ASSERT_TRUE(checkpoint.ok());
    kept = *checkpoint->find("t");
  }
  EXPECT_EQ(std::memcmp(kept.data, data.data(), 8), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.data) % 64, 0U);  // as the writer promises
}

TEST(SafetensorsWriter, LeavesNothingWhenDropped) {
  const TestFolder folder;
  {
    auto writer =
        SafetensorsWriter::create(folder.file("a.safetensors"), {TensorInfo{"t", TensorDtype::kF32, {4}, 0, 0}}, {});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->write(std::vector<std::byte>(8)).ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriter, SaysWhyItCannotWrite) {
  const auto status = write_safetensors("/nonexistent/a.safetensors", {});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().line(), HasSubstr("/nonexistent/a.safetensors: cannot create"));
}

RC_GTEST_PROP(Safetensors, WhatIsWrittenIsRead, ()) {
  const TestFolder folder;
  const auto count = *rc::gen::inRange<size_t>(0, 6);
  std::vector<std::vector<std::byte>> data;
  std::vector<TensorBytes> tensors;
  for (size_t i = 0; i < count; ++i) {
    const auto dtype = static_cast<TensorDtype>(*rc::gen::inRange(0, 15));
    const auto shape = *rc::gen::container<std::vector<int64_t>>(rc::gen::inRange<int64_t>(0, 5));
    uint64_t bytes = dtype_bytes(dtype);
    for (const int64_t n : shape) bytes *= static_cast<uint64_t>(n);
    RC_PRE(bytes < 100000U && shape.size() < 6U);
    auto& own = data.emplace_back(bytes);
    for (auto& b : own) b = static_cast<std::byte>(*rc::gen::arbitrary<uint8_t>());
    tensors.push_back({"name \"" + std::to_string(i), dtype, shape, {}});
  }
  for (size_t i = 0; i < count; ++i) tensors[i].data = data[i];
  RC_ASSERT(write_safetensors(folder.file("f"), tensors).ok());
  const auto read = Checkpoint::open_file(folder.file("f"));
  RC_ASSERT(read.ok());
  RC_ASSERT(read->tensors().size() == count);
  for (size_t i = 0; i < count; ++i) {
    const TensorView* view = read->find(tensors[i].name);
    RC_ASSERT(view != nullptr && view->info.shape == tensors[i].shape && view->info.dtype == tensors[i].dtype);
    RC_ASSERT(std::equal(view->data, view->data + view->bytes(), data[i].begin(), data[i].end()));
  }
}

RC_GTEST_PROP(Safetensors, MutatedHeadersNeverCrash, ()) {
  std::string file = packed(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]}})",
      std::string(12, 'x'));
  const auto edits = *rc::gen::inRange(1, 6);
  for (int i = 0; i < edits; ++i) {
    const auto at = *rc::gen::inRange<size_t>(0, file.size());
    file[at] = *rc::gen::arbitrary<char>();
  }
  file.resize(*rc::gen::inRange<size_t>(0, file.size() + 1));
  const auto header = parse(file);
  if (!header.ok()) RC_ASSERT(header.error().line().find('\n') == std::string::npos);
}

}  // namespace
}  // namespace throughline
