#include "serve/tool_calls.h"

#include <gtest/gtest.h>

namespace throughline::serve {
namespace {

struct Parsed {
  std::string text;
  std::vector<ToolCall> calls;
};
Parsed parse(const std::string& text, size_t step) {
  ToolCallParser parser;
  Parsed out;
  const auto add = [&](ToolCallParser::Found found) {
    out.text += found.text;
    for (auto& call : found.calls) out.calls.push_back(std::move(call));
  };
  for (size_t at = 0; at < text.size(); at += step) add(parser.push(std::string_view(text).substr(at, step)));
  add(parser.finish());
  EXPECT_EQ(parser.any(), !out.calls.empty());
  return out;
}

TEST(ToolCalls, QwensTags) {
  const std::string text =
      "Let me look.\n<tool_call>\n{\"name\": \"find\", \"arguments\": {\"q\": \"a;b\", \"n\": 2}}\n</tool_call>\n"
      "<tool_call>\n{\"name\": \"now\"}\n</tool_call>";
  for (size_t step = 1; step < 40; ++step) {
    const Parsed out = parse(text, step);
    ASSERT_EQ(out.calls.size(), 2) << step;
    EXPECT_EQ(out.calls[0].name, "find");
    EXPECT_EQ(out.calls[0].arguments, "{\"q\":\"a;b\",\"n\":2}");
    EXPECT_EQ(out.calls[1].arguments, "{}");
    EXPECT_EQ(out.text.substr(0, 12), "Let me look.");
  }
}

TEST(ToolCalls, LlamasWholeAnswer) {
  for (const size_t step : {1, 5, 1000}) {
    const Parsed out = parse(R"({"name": "f", "parameters": {"s": "};{"}}; {"name": "g", "parameters": {}})", step);
    ASSERT_EQ(out.calls.size(), 2);
    EXPECT_EQ(out.calls[0].arguments, "{\"s\":\"};{\"}");
    EXPECT_EQ(out.calls[1].name, "g");
    EXPECT_EQ(out.text, "");
  }
}

TEST(ToolCalls, WhatIsNoCallStaysText) {
  for (const std::string text :
       {"plain text", "a < b <tool", "<tool_call>not json</tool_call> after", "{\"answer\": 5}", "{\"name\": 5}", "{",
        "<tool_call>{\"name\":\"f\"", "  ", "{\"name\":\"f\",\"parameters\":[1]}"}) {
    for (const size_t step : {1, 3, 1000}) {
      const Parsed out = parse(text, step);
      if (text == "<tool_call>{\"name\":\"f\"") {  // cut off: the JSON is not whole
        EXPECT_TRUE(out.calls.empty());
      }
      EXPECT_EQ(out.text, text);
    }
  }
  // The closing tag may be missing where the model ended itself.
  EXPECT_EQ(parse("<tool_call>{\"name\":\"f\",\"arguments\":{}}", 4).calls.size(), 1);
}

TEST(ToolCalls, ATagWithinAStringEndsNoCall) {
  ToolCallParser parser;
  auto found = parser.push("<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":\"</tool_call>");
  EXPECT_TRUE(found.calls.empty() && found.text.empty());
  found = parser.push("\"}}</tool_call>");
  ASSERT_EQ(found.calls.size(), 1);
  EXPECT_EQ(found.calls[0].arguments, R"({"x":"</tool_call>"})");
}

}  // namespace
}  // namespace throughline::serve
