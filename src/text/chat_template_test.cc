#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "base/files.h"
#include "text/thinking_tags.h"

namespace throughline {
namespace {

class ChatTemplateFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "chat_template_" + std::to_string(::getpid()) + "_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(make_directories(std::filesystem::path(folder_ + "/" + name).parent_path().string()).ok());
    ASSERT_TRUE(write_atomically(folder_ + "/" + name, text).ok());
  }
  std::string rendered(const ChatTemplate::Options& options = {}) {
    const auto loaded = ChatTemplate::load(folder_);
    if (!loaded.ok()) return loaded.error().line();
    if (!*loaded) return "(none)";
    const auto text = (*loaded)->render(Json::parse(R"([{"role": "user", "content": "hi"}])"), options);
    return text.ok() ? *text : text.error().line();
  }

  std::string folder_;
};

TEST_F(ChatTemplateFiles, NoTemplateIsNothing) {
  EXPECT_EQ(rendered(), "(none)");
  write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_EQ(rendered(), "(none)");
}

TEST_F(ChatTemplateFiles, TheJinjaFileWinsOverTheConfig) {
  write("chat_template.json", R"({"chat_template": "json"})");
  EXPECT_EQ(rendered(), "json");
  write("tokenizer_config.json", R"({"chat_template": "config", "eos_token": "<e>"})");
  EXPECT_EQ(rendered(), "config");
  write("chat_template.jinja", "file {{ messages[0].content }}{{ eos_token }}\n");
  EXPECT_EQ(rendered(), "file hi<e>");
}

TEST_F(ChatTemplateFiles, NamedTemplatesAreChosenByTools) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain {{ tools is none }}"},
                                                       {"name": "tool_use", "template": "tools {{ tools|length }}"}]})");
  ChatTemplate::Options options;
  EXPECT_EQ(rendered(options), "plain True");
  options.tools = Json::array({1, 2});
  EXPECT_EQ(rendered(options), "tools 2");
  EXPECT_EQ((*ChatTemplate::load(folder_))->names(), (std::vector<std::string>{"default", "tool_use"}));
  write("chat_template.jinja", "d");
  write("additional_chat_templates/tool_use.jinja", "t");
  EXPECT_EQ(rendered(options), "t");
}

TEST_F(ChatTemplateFiles, SpecialTokensComeFromTheConfigUnlessGiven) {
  write("tokenizer_config.json", R"({"chat_template": "{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}",
                                     "bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>", "pad_token": null})");
  EXPECT_EQ(rendered(), "<s>|</s>|False");
  ChatTemplate::Options options;
  options.bos_token = "B";
  options.pad_token = "P";
  EXPECT_EQ(rendered(options), "B|</s>|True");
}

TEST_F(ChatTemplateFiles, BadFilesGiveOneLineWithThePlace) {
  EXPECT_EQ(ChatTemplate::load(folder_ + "/nosuch").error().line(), folder_ + "/nosuch: is not a directory");
  const std::string config = folder_ + "/tokenizer_config.json: chat_template";
  write("tokenizer_config.json", "{");
  EXPECT_NE(rendered().find("tokenizer_config.json: invalid JSON"), std::string::npos) << rendered();
  write("tokenizer_config.json", "[]");
  EXPECT_EQ(rendered(), folder_ + "/tokenizer_config.json: must be a JSON object");
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_EQ(rendered(), config + ": must be a string or a list of {name, template}");
  write("tokenizer_config.json", R"({"chat_template": []})");
  EXPECT_EQ(rendered(), config + ": the list of chat templates is empty");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_EQ(rendered(), config + ": each entry must be an object with the strings \"name\" and \"template\"");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_NE(rendered().find("none of the chat templates is called \"default\""), std::string::npos);
  write("tokenizer_config.json", R"({"chat_template": "a\n{{ 1 + }}"})");
  EXPECT_EQ(rendered(), config + " line 2: expected an expression, got the end of {{ }}");
}

TEST(ChatTemplate, RefusesBadInput) {
  const auto made = ChatTemplate::parse("{{ messages }}", "t");
  ChatTemplate::Options options;
  EXPECT_EQ(made->render(Json::object(), options).error().line(), "t: messages must be a list");
  options.extra = Json::array();
  EXPECT_EQ(made->render(Json::array(), options).error().line(), "t: chat_template_kwargs must be an object");
  options.extra = {{"tools", 1}};
  EXPECT_EQ(made->render(Json::array(), options).error().line(), "t: chat_template_kwargs must not set \"tools\"");
  const auto huge = made->render(Json::array({18446744073709551615u}), ChatTemplate::Options());
  EXPECT_NE(huge.error().what.find("larger than 2^63 - 1"), std::string::npos) << huge.error().line();
  Json deep = 1;
  for (int i = 0; i < 200; ++i) deep = Json::array({deep});
  EXPECT_NE(made->render(deep).error().what.find("nested deeper"), std::string::npos);
}

TEST(ChatTemplate, InvalidUtf8InMessagesBecomesReplacementCharacters) {
  const auto made = ChatTemplate::parse("{{ messages[0] }}{{ messages[0]|length }}", "t");
  EXPECT_EQ(*made->render(Json::array({"a\xff\xC3"})),
            "a\xEF\xBF\xBD\xEF\xBF\xBD"
            "3");
}

TEST(ChatTemplate, TheClockDefaultsToTheSystems) {
  const auto made = ChatTemplate::parse("{{ strftime_now('%Y') }}", "t");
  EXPECT_GE(std::stoi(*made->render(Json::array())), 2024);
}

TEST(ChatTemplate, OneTemplateManyThreads) {
  const auto source = read_file(THROUGHLINE_SOURCE_DIR "/tests/data/templates/qwen3.qwen3-30b.jinja");
  const auto made = ChatTemplate::parse(*source, "qwen3");
  const Json messages = Json::parse(R"([{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}])");
  const std::string alone = *made->render(messages);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) wrong[t] += *made->render(messages) != alone;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

// A long agent's conversation stays far from the limits.
TEST(ChatTemplate, LongConversationsFit) {
  Json messages = Json::array();
  for (int i = 0; i < 1000; ++i) {
    messages.push_back({{"role", "user"}, {"content", std::string(1000, 'u')}});
    messages.push_back(
        {{"role", "assistant"},
         {"content", ""},
         {"tool_calls", {{{"type", "function"}, {"function", {{"name", "f"}, {"arguments", Json::object()}}}}}}});
    messages.push_back({{"role", "tool"}, {"content", std::string(1000, 't')}});
  }
  for (const char* name : {"qwen3.qwen3-30b", "trl-qwen3", "Qwen-Qwen2.5-7B-Instruct", "trl-gptoss"}) {
    const auto source = read_file(THROUGHLINE_SOURCE_DIR "/tests/data/templates/" + std::string(name) + ".jinja");
    const auto made = ChatTemplate::parse(*source, name);
    const auto text = made->render(messages);
    ASSERT_TRUE(text.ok()) << text.error().line();
    EXPECT_GT(text->size(), 2'000'000u) << name;
  }
}

// ---- thinking tags ----

std::optional<int32_t> qwen_ids(std::string_view text) {
  if (text == "<think>") return 151667;
  if (text == "</think>") return 151668;
  return std::nullopt;
}

TEST(ThinkingTags, ResolvesTheFirstKnownPair) {
  const auto tags = ThinkingTags::resolve(qwen_ids);
  ASSERT_TRUE(tags);
  EXPECT_EQ(tags->open_id, 151667);
  EXPECT_EQ(tags->close_id, 151668);
  EXPECT_EQ(tags->open_text, "<think>");
  EXPECT_EQ(tags->close_text, "</think>");
  const auto magistral = ThinkingTags::resolve([](std::string_view text) -> std::optional<int32_t> {
    if (text == "[THINK]") return 34;
    if (text == "[/THINK]") return 35;
    if (text == "<think>") return 7;  // without its partner it is no pair
    return std::nullopt;
  });
  ASSERT_TRUE(magistral);
  EXPECT_EQ(magistral->close_text, "[/THINK]");
  EXPECT_FALSE(ThinkingTags::resolve([](std::string_view) { return std::optional<int32_t>(); }));
  EXPECT_FALSE(ThinkingTags::resolve([](std::string_view) { return std::optional<int32_t>(0); }));  // both are <unk>
}

TEST(ThinkingTags, OpenedByTheLastTagOfTheGenerationPart) {
  const ThinkingTags tags{1, 2, "<think>", "</think>"};
  const auto opened = [&](std::vector<int32_t> ids, size_t begin = 0) { return tags.opened_by(ids, begin); };
  EXPECT_FALSE(opened({}));
  EXPECT_FALSE(opened({5, 6}));
  EXPECT_TRUE(opened({5, 1, 6}));
  EXPECT_FALSE(opened({5, 1, 6, 2, 7}));
  EXPECT_TRUE(opened({1, 2, 1}));
  EXPECT_FALSE(opened({2, 1, 2}));
  EXPECT_TRUE(opened({1, 9, 9, 1, 8}, 2));
  EXPECT_FALSE(opened({1, 9, 9}, 1));
  EXPECT_FALSE(opened({1}, 5));
}

bool opens(const std::string& name, const Json& messages, const Json& extra = Json::object()) {
  const auto source = read_file(THROUGHLINE_SOURCE_DIR "/tests/data/templates/" + name + ".jinja");
  const auto made = ChatTemplate::parse(*source, name);
  EXPECT_TRUE(made.ok());
  ChatTemplate::Options options;
  options.extra = extra;
  const auto parts = made->render_parts(messages, options);
  EXPECT_TRUE(parts.ok());
  EXPECT_EQ(parts->text, *made->render(messages, options));
  return ThinkingTags::resolve(qwen_ids)->opened_by_text(std::string_view(parts->text).substr(parts->generation_begin));
}

TEST(ThinkingTags, PublishedTemplates) {
  const Json plain = Json::parse(R"([{"role": "user", "content": "2+2?"}])");
  const Json literal = Json::parse(R"([{"role": "user", "content": "What does <think> mean?"}])");
  const Json prefill =
      Json::parse(R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>\nso"}])");
  for (const char* r1 : {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
                         "qwen3.qwen3-30b-thinking", "trl-deepseekv3"}) {
    EXPECT_TRUE(opens(r1, plain)) << r1;
    EXPECT_TRUE(opens(r1, literal)) << r1;
  }
  // These leave it to the model to open the tag; a user's literal tag must not count.
  for (const char* other : {"deepseek_r1_distill.qwen-14b", "qwen3.qwen3-30b", "Qwen-Qwen2.5-7B-Instruct", "qwen2"}) {
    EXPECT_FALSE(opens(other, plain)) << other;
    EXPECT_FALSE(opens(other, literal)) << other;
  }
  EXPECT_FALSE(opens("qwen3.qwen3-30b", plain, {{"enable_thinking", false}}));
  EXPECT_FALSE(opens("qwen3.qwen3-30b", literal, {{"enable_thinking", false}}));
  EXPECT_TRUE(opens("qwen3.qwen3-30b-thinking", prefill));
}

TEST(ThinkingTags, GenerationBeginOfATemplateThatIgnoresTheOption) {
  const auto made = ChatTemplate::parse("{% for m in messages %}<u>{{ m.content }}</u>{% endfor %}<a><think>\n\n", "t");
  const auto parts = made->render_parts(Json::parse(R"([{"role": "user", "content": " <think> "}])"), {});
  EXPECT_EQ(parts->text.substr(parts->generation_begin), "</u><a><think>\n");
}

}  // namespace
}  // namespace throughline
