#include "serve/web_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace throughline {
namespace {

std::string on_disk(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

const WebFile* find(std::string_view name) {
  for (const WebFile& file : web_files()) {
    if (file.name == name) {
      return &file;
    }
  }
  return nullptr;
}

TEST(WebFiles, EveryFileIsEmbeddedToTheByte) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(THROUGHLINE_SOURCE_DIR) + "/web")) {
    const std::string name = entry.path().filename().string();
    const WebFile* file = find(name);
    ASSERT_NE(file, nullptr) << name;
    EXPECT_EQ(file->bytes, on_disk(entry.path())) << name;
    names.insert(name);
  }
  EXPECT_EQ(names.size() + 1, web_files().size());  // and openapi.json
  EXPECT_TRUE(names.count("index.html"));
}

TEST(WebFiles, EtagsTellFilesApartAndTypesAreRight) {
  std::set<std::string_view> etags;
  size_t sent = 0;
  for (const WebFile& file : web_files()) {
    etags.insert(file.etag);
    EXPECT_TRUE(file.etag.starts_with('"') && file.etag.ends_with('"')) << file.etag;
    EXPECT_EQ(file.gzip.substr(0, 2), "\x1f\x8b") << file.name;
    if (file.name != "openapi.json") sent += std::min(file.gzip.size(), file.bytes.size());
  }
  EXPECT_EQ(etags.size(), web_files().size());
  EXPECT_EQ(find("index.html")->mime, "text/html; charset=utf-8");
  EXPECT_EQ(find("app.js")->mime, "text/javascript; charset=utf-8");
  EXPECT_LT(sent, 50'000U);  // the page stays small
}

// A policy of `default-src 'self'` lets no inline script, style or handler run, and the page asks no other host.
TEST(WebFiles, ThePageHoldsNothingInlineAndNothingForeign) {
  const std::string_view page = find("index.html")->bytes;
  EXPECT_EQ(page.find("<style"), std::string_view::npos);
  EXPECT_EQ(page.find(" style="), std::string_view::npos);
  EXPECT_EQ(page.find(" onclick="), std::string_view::npos);
  for (const WebFile& file : web_files()) {
    EXPECT_EQ(file.bytes.find("innerHTML"), std::string_view::npos) << file.name;
    EXPECT_EQ(file.bytes.find("eval("), std::string_view::npos) << file.name;
    for (size_t at = file.bytes.find("//"); at != std::string_view::npos; at = file.bytes.find("//", at + 2)) {
      const bool is_address = at > 0 && file.bytes[at - 1] == ':';
      EXPECT_TRUE(!is_address || file.bytes.substr(at + 2).starts_with("www.w3.org/")) << file.name;
    }
  }
}

}  // namespace
}  // namespace throughline
