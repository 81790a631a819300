// The Jinja engine against Python's jinja2: tests/golden/text/templates.json, written by
// tools/make_template_goldens.py.
#include <gtest/gtest.h>

#include <map>

#include "base/files.h"
#include "base/json.h"
#include "text/chat_template.h"

namespace throughline {
namespace {

const Json& golden() {
  static const Json file = [] {
    auto read = read_json_file(THROUGHLINE_SOURCE_DIR "/tests/golden/text/templates.json");
    EXPECT_TRUE(read.ok()) << read.error().line();
    return read.ok() ? *read : Json();
  }();
  return file;
}

std::tm golden_time() {  // Sunday, 9 March 2025, 14:05:07
  std::tm time{};
  time.tm_year = 125, time.tm_mon = 2, time.tm_mday = 9;
  time.tm_hour = 14, time.tm_min = 5, time.tm_sec = 7;
  time.tm_wday = 0, time.tm_yday = 67;
  return time;
}

ChatTemplate::Options golden_options() {
  ChatTemplate::Options options;
  options.bos_token = golden()["tokens"]["bos_token"].get<std::string>();
  options.eos_token = golden()["tokens"]["eos_token"].get<std::string>();
  options.clock = golden_time;
  return options;
}

// Empty when the result is what jinja2 gave, else what differs.
std::string difference(const Json& expected, const Result<std::string>& got) {
  if (expected.contains("text")) {
    if (!got.ok()) return "error: " + got.error().line() + "\n wanted: " + expected["text"].dump();
    if (*got != expected["text"].get<std::string>()) {
      return "   got: " + Json(*got).dump() + "\n wanted: " + expected["text"].dump();
    }
    return "";
  }
  if (got.ok()) return "   got: " + Json(*got).dump() + "\n wanted an error: " + expected.dump();
  if (expected.contains("raised") && got.error().what != expected["raised"].get<std::string>()) {
    return "raised: " + got.error().what + "\n wanted: " + expected["raised"].dump();
  }
  return got.error().where.find(" line ") == std::string::npos ? "no line: " + got.error().line() : "";
}

TEST(JinjaGolden, EveryTemplateAndConversation) {
  std::map<std::string, ChatTemplate> templates;
  size_t rendered = 0, refused = 0;
  for (const Json& expected : golden()["cases"]) {
    const auto name = expected["template"].get<std::string>();
    if (templates.find(name) == templates.end()) {
      const std::string path = THROUGHLINE_SOURCE_DIR "/tests/data/templates/" + name + ".jinja";
      const auto source = read_file(path);
      ASSERT_TRUE(source.ok()) << source.error().line();
      auto parsed = ChatTemplate::parse(*source, path);
      ASSERT_TRUE(parsed.ok()) << parsed.error().line();
      templates.emplace(name, std::move(*parsed));
    }
    auto options = golden_options();
    for (const auto& [key, value] : golden()["settings"][expected["setting"].get<size_t>()].items()) {
      if (key == "add_generation_prompt") {
        options.add_generation_prompt = value.get<bool>();
      } else if (key == "tools") {
        options.tools = value;
      } else {
        options.extra[key] = value;
      }
    }
    const auto conversation = expected["conversation"].get<std::string>();
    const auto got = templates.at(name).render(golden()["conversations"][conversation], options);
    EXPECT_EQ(difference(expected, got), "") << name << ", " << conversation << ", setting " << expected["setting"];
    ++(got.ok() ? rendered : refused);
  }
  EXPECT_GE(templates.size(), 11u);
  EXPECT_GE(rendered, 800u);
  EXPECT_GE(refused, 100u);
}

TEST(JinjaGolden, SmallTemplates) {
  auto options = golden_options();
  options.extra = golden()["variables"];
  size_t count = 0;
  for (const Json& expected : golden()["units"]) {
    const auto source = expected["source"].get<std::string>();
    const auto parsed = ChatTemplate::parse(source, "unit");
    Result<std::string> got =
        parsed.ok() ? parsed->render(Json::array(), options) : Result<std::string>(parsed.error());
    EXPECT_EQ(difference(expected, got), "") << source;
    ++count;
  }
  EXPECT_GE(count, 900u);
}

}  // namespace
}  // namespace throughline
