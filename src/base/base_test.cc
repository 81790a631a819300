#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/files.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/spec.h"

namespace throughline {
namespace {

TEST(Philox, KnownAnswers) {  // Random123's kat_vectors for philox4x32 10
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, EveryCoordinateMatters) {
  const RngKey key{1, 2, 3, RngPurpose::kEvict};
  const double base = random_uniform(key, 4, 5, 6, 7);
  EXPECT_EQ(base, random_uniform(key, 4, 5, 6, 7));
  EXPECT_NE(base, random_uniform({9, 2, 3, RngPurpose::kEvict}, 4, 5, 6, 7));
  EXPECT_NE(base, random_uniform({1, 9, 3, RngPurpose::kEvict}, 4, 5, 6, 7));
  EXPECT_NE(base, random_uniform({1, 2, 9, RngPurpose::kEvict}, 4, 5, 6, 7));
  EXPECT_NE(base, random_uniform({1, 2, 3, RngPurpose::kSample}, 4, 5, 6, 7));
  EXPECT_NE(base, random_uniform(key, 9, 5, 6, 7));
  EXPECT_NE(base, random_uniform(key, 4, 9, 6, 7));
  EXPECT_NE(base, random_uniform(key, 4, 5, 9, 7));
  EXPECT_NE(base, random_uniform(key, 4, 5, 6, 9));
}

TEST(Rng, UniformHasTheRightMoments) {
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random_uniform({7, 0, static_cast<uint64_t>(i), RngPurpose::kTest});
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.005);
}

TEST(Rng, IntegersCoverTheirRangeEvenly) {
  CounterStream stream(3, 0, RngPurpose::kTest);
  std::array<int, 6> seen{};
  for (int i = 0; i < 60000; ++i) ++seen[stream.integer(-2, 3) + 2];
  for (int count : seen) EXPECT_NEAR(count, 10000, 500);
  EXPECT_EQ(stream.integer(5, 5), 5);
}

TEST(Error, IsOneLine) {
  const Error error{"bad\nvalue \x01", "a.json", "fix it"};
  EXPECT_EQ(error.line(), "a.json: bad\\nvalue \\x01; fix it");
  EXPECT_LT((Error{std::string(100000, 'x'), "", ""}.line().size()), 500u);
}

TEST(Json, RefusesWhatIsAmbiguousOrDeep) {
  EXPECT_TRUE(parse_json(R"({"a": [1, {"a": 2}]})", "x").ok());
  EXPECT_EQ(parse_json(R"({"a": 1, "a": 2})", "x").error().line(), "x: invalid JSON: duplicate key \"a\"");
  EXPECT_FALSE(parse_json("{} x", "x").ok());
  EXPECT_FALSE(parse_json("", "x").ok());
  EXPECT_FALSE(parse_json("\"\xff\"", "x").ok());
  EXPECT_FALSE(parse_json(std::string(100, '[') + std::string(100, ']'), "x").ok());
  EXPECT_FALSE(parse_json(std::string(5000000, '['), "x").ok());
  EXPECT_TRUE(parse_json(std::string(64, '[') + std::string(64, ']'), "x").ok());
  EXPECT_EQ(parse_json(std::string(65, '['), "x").error().line(), "x: invalid JSON: nested deeper than 64 levels");
  EXPECT_EQ(parse_json("{\"a\": 1 2}", "x").error().line(),
            "x: invalid JSON: parse error at line 1, column 9: syntax error while parsing object - unexpected number "
            "literal; expected '}'");
}

// Was quadratic in the keys of one object: minutes for these.
TEST(Json, HugeObjectsParseInLinearTime) {
  constexpr int kKeys = 200000;
  std::string text = "{\"before\": [1, {\"b\": 2, \"a\": -1}], \"big\": {";
  for (int i = 0; i < kKeys; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":" + std::to_string(i);
  const auto json = parse_json(text + "}, \"after\": null}", "x");
  ASSERT_TRUE(json.ok()) << json.error().line();
  EXPECT_EQ(json->at("big").size(), static_cast<size_t>(kKeys));
  EXPECT_EQ(json->at("before").dump(), R"([1,{"b":2,"a":-1}])");  // in the order of the text
  EXPECT_TRUE(json->at("after").is_null());
  int expected = 0;
  for (const auto& [key, value] : json->at("big").items()) {
    ASSERT_EQ(key, std::to_string(expected));
    ASSERT_EQ(value, expected++);
  }
  EXPECT_EQ(parse_json(text + ",\"777\":0}}", "x").error().line(), "x: invalid JSON: duplicate key \"777\"");
}

const std::vector<SpecInfo> kKnown = {
    {"full", "keeps all", {}},
    {"rpc",
     "compresses",
     {{.name = "interval", .default_text = "1024", .help = "tokens", .minimum = 1},
      {.name = "ratio", .type = OptionType::kNumber, .default_text = "4", .help = "ratio", .minimum = 1},
      {.name = "budget", .help = "tokens", .minimum = 1},
      {.name = "shared", .type = OptionType::kBoolean, .default_text = "false", .help = "x"},
      {.name = "protect",
       .type = OptionType::kChoice,
       .default_text = "prompt",
       .help = "x",
       .choices = {"prompt", "none", "first:N"}}}},
    {"h2o", "heavy", {{.name = "budget", .help = "tokens", .required = true}}},
    {"force",
     "says it",
     {{.name = "text", .type = OptionType::kText, .default_text = "Wait", .help = "x"},
      {.name = "most", .default_text = "2", .help = "x"}}}};

TEST(Spec, ParsesBothForms) {
  auto spec = parse_spec("rpc:interval=2K,ratio=2.5,protect=first:8", kKnown, "--kv");
  ASSERT_TRUE(spec.ok()) << spec.error().line();
  EXPECT_EQ(spec->integer("interval"), 2048);
  EXPECT_EQ(spec->number("ratio"), 2.5);
  EXPECT_FALSE(spec->has("budget"));
  EXPECT_EQ(spec->to_string(), "rpc:interval=2048,ratio=2.5,protect=first:8");
  auto json =
      parse_spec_json(Json::parse(R"({"method":"rpc","interval":2048,"ratio":2.5,"protect":"first:8"})"), kKnown, "kv");
  ASSERT_TRUE(json.ok()) << json.error().line();
  EXPECT_EQ(*spec, *json);
  EXPECT_EQ(parse_spec("full", kKnown, "x")->to_string(), "full");
}

TEST(Spec, WhatItPrintsParsesBackToAnEqualSpec) {
  for (const char* text : {"Wait, no", "a,most=99", "Wait", "", "=", "{", "a:b", "\"", "\\", ","}) {
    const auto spec = parse_spec_json(Json{{"method", "force"}, {"text", text}, {"most", 5}}, kKnown, "think");
    ASSERT_TRUE(spec.ok()) << spec.error().line();
    EXPECT_EQ(spec->text("text"), text);
    const auto again = parse_spec(spec->to_string(), kKnown, "think");
    ASSERT_TRUE(again.ok()) << again.error().line();
    EXPECT_EQ(*again, *spec) << spec->to_string();
  }
}

TEST(Spec, OneOptionSetAnew) {
  const auto spec = parse_spec(R"({"method":"force","text":"a,most=99","most":5})", kKnown, "think");
  ASSERT_TRUE(spec.ok()) << spec.error().line();
  const auto other = spec->with("most", "7", kKnown, "think");
  ASSERT_TRUE(other.ok()) << other.error().line();
  EXPECT_EQ(other->integer("most"), 7);
  EXPECT_EQ(other->text("text"), "a,most=99");
  EXPECT_EQ(spec->with("most", "x", kKnown, "think").error().where, "think: most");
  EXPECT_FALSE(spec->with("least", "1", kKnown, "think").ok());
}

TEST(Spec, ErrorsNameThePlaceAndTheRemedy) {
  const auto line = [](const std::string& text) { return parse_spec(text, kKnown, "--kv").error().line(); };
  EXPECT_EQ(line("rcp"), "--kv: unknown method \"rcp\"; use one of: full, rpc, h2o, force");
  EXPECT_EQ(line(""), "--kv: is empty; use one of: full, rpc, h2o, force");
  EXPECT_EQ(line("rpc:intervall=3"),
            "--kv: \"rpc\" has no option \"intervall\"; it has: interval, ratio, budget, shared, protect");
  EXPECT_EQ(line("rpc:interval=0"), "--kv: interval: 0 is out of range; use a whole number from 1 up");
  EXPECT_EQ(line("rpc:interval=1000000000000000"),
            "--kv: interval: 1000000000000000 is out of range; use a whole number from 1 to 1000000000000");
  EXPECT_EQ(line("rpc:interval=9223372036854775807"),
            "--kv: interval: 9223372036854775807 is out of range; use a whole number from 1 to 1000000000000");
  EXPECT_EQ(line("rpc:interval=1,interval=1"), "--kv: option \"interval\" is given twice; give it once");
  EXPECT_EQ(line("h2o"), "--kv: \"h2o\" needs the option \"budget\"; for example h2o:budget=1024 (tokens)");
  for (const char* bad :
       {"", ":", "rpc:x", "rpc:=1", "rpc:interval=", "rpc:interval=1e99", "rpc:ratio=nan", "rpc:shared=maybe",
        "rpc:protect=first:", "rpc:protect=first:-1", "full:x=1", "rpc:interval=9999999999999999999999"}) {
    EXPECT_FALSE(parse_spec(bad, kKnown, "x").ok()) << bad;
  }
  for (const char* bad :
       {"3", "{}", R"({"method":3})", R"({"method":"rpc","interval":[1]})", R"({"method":"rpc","interval":null})"}) {
    EXPECT_FALSE(parse_spec_json(Json::parse(bad), kKnown, "x").ok()) << bad;
  }
}

class FilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("throughline-files-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::filesystem::path folder_;
};

TEST_F(FilesTest, WritesAndReadsBack) {
  ASSERT_TRUE(write_atomically(path("a"), "hello").ok());
  EXPECT_EQ(read_file(path("a")).value(), "hello");
  EXPECT_FALSE(read_file(path("a"), 4).ok());
  EXPECT_FALSE(read_file(path("none")).ok());
  EXPECT_FALSE(read_file(folder_.string()).ok());
  auto map = MappedFile::open(path("a"));
  ASSERT_TRUE(map.ok());
  EXPECT_EQ((*map)->size(), 5u);
  EXPECT_FALSE(MappedFile::open(folder_.string()).ok());
}

TEST_F(FilesTest, AFullDiskLeavesTheOldFile) {
  const Status status = write_atomically("/dev/full/x", "y");
  EXPECT_FALSE(status.ok());
  auto writer = LineWriter::append("/dev/full");
  ASSERT_TRUE(writer.ok());
  EXPECT_NE(writer->write("x").error().line().find("No space left"), std::string::npos);
}

TEST_F(FilesTest, LinksStayLinks) {
  std::filesystem::create_directories(folder_ / "far");
  std::filesystem::create_symlink("far/second", path("first"));
  std::filesystem::create_symlink(path("target"), path("far/second"));
  for (const char* text : {"new", "old"}) {  // at first there is no target
    ASSERT_TRUE(write_atomically(path("first"), text).ok());
    EXPECT_TRUE(std::filesystem::is_symlink(path("first")));
    EXPECT_TRUE(std::filesystem::is_symlink(path("far/second")));
    EXPECT_EQ(read_file(path("target")).value(), text);
  }
}

TEST_F(FilesTest, PipesAreWrittenThrough) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] { read = read_file(path("pipe")).value(); });
  const Status status = write_atomically(path("pipe"), "one\n");
  reader.join();
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(read, "one\n");
  EXPECT_TRUE(is_stream(path("pipe")));
  // A writer that comes first waits for its reader.
  std::thread writer([&] { EXPECT_TRUE(LineWriter::append(path("pipe"))->write("two").ok()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(read_file(path("pipe")).value(), "two\n");
  writer.join();
}

TEST_F(FilesTest, AppendingCutsAHalfLine) {
  ASSERT_TRUE(write_atomically(path("log"), "one\ntwo\nhal").ok());
  {
    auto writer = LineWriter::append(path("log"));
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->write("three").ok());
  }
  EXPECT_EQ(read_file(path("log")).value(), "one\ntwo\nthree\n");
}

}  // namespace
}  // namespace throughline
