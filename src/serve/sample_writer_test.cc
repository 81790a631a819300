#include "serve/sample_writer.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace throughline::serve {
namespace {

// One token a character, and the tags <think> and </think>.
class SampleWriterTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    letters_ = Tokenizer::load(THROUGHLINE_SOURCE_DIR "/models/iterate_map").value().release();
    stories_ = Tokenizer::load(THROUGHLINE_SOURCE_DIR "/models/stories260K").value().release();
    tags_ = ThinkingTags::resolve([](std::string_view text) { return letters_->token_id(text); });
  }
  static void TearDownTestSuite() {
    delete letters_;
    delete stories_;
  }

  static WriterOptions options() { return {.tokenizer = letters_, .tags = tags_, .logprobs = true}; }

  struct Written {
    std::string thinking, answer;
    std::vector<int32_t> ids;
    std::string thinking_tokens, answer_tokens;  // the log-probs' texts
  };
  // Flushes after every `every` tokens, as a stream does.
  static Written write(const WriterOptions& options, const std::vector<int32_t>& ids, size_t every, bool eos = false) {
    SampleWriter writer(options);
    Written out;
    std::vector<Piece> pieces;
    const auto drain = [&] {
      for (const auto& piece : pieces) {
        (piece.thinking ? out.thinking : out.answer) += piece.text;
        out.ids.insert(out.ids.end(), piece.ids.begin(), piece.ids.end());
        for (const auto& text : piece.texts) (piece.thinking ? out.thinking_tokens : out.answer_tokens) += text;
      }
      pieces.clear();
    };
    for (size_t i = 0; i < ids.size(); ++i) {
      writer.push({.id = ids[i]}, eos && i + 1 == ids.size(), pieces);
      if ((i + 1) % every == 0) drain();
    }
    writer.finish(pieces);
    drain();
    return out;
  }
  static std::vector<int32_t> encode(const std::string& text) {
    return letters_->encode(text, {.add_special_tokens = false, .parse_special = true});
  }

  static inline const Tokenizer* letters_ = nullptr;
  static inline const Tokenizer* stories_ = nullptr;
  static inline std::optional<ThinkingTags> tags_;
};

TEST_F(SampleWriterTest, SplitsAtTheTagsHoweverItIsCut) {
  const auto ids = encode("<think>abc</think>def");
  for (size_t every = 1; every <= ids.size(); ++every) {
    const Written out = write(options(), ids, every);
    EXPECT_EQ(out.thinking, "abc");
    EXPECT_EQ(out.answer, "def");
    EXPECT_EQ(out.thinking_tokens, "abc");
    EXPECT_EQ(out.answer_tokens, "def");
    EXPECT_EQ(out.ids, ids);
  }
}

TEST_F(SampleWriterTest, ThinkingOpenedByThePromptAndStrayTags) {
  WriterOptions opened = options();
  opened.opened_by_prompt = true;
  EXPECT_EQ(write(opened, encode("ab</think>cd"), 1).thinking, "ab");
  EXPECT_EQ(write(opened, encode("ab</think>cd"), 1).answer, "cd");
  EXPECT_EQ(write(opened, encode("ab"), 1).thinking, "ab");
  // A second close, or an open after it, is nothing a reader should see.
  EXPECT_EQ(write(opened, encode("a</think>b</think>c<think>d"), 1).answer, "bcd");
  EXPECT_EQ(write(options(), encode("a</think>b"), 1).answer, "ab");
}

TEST_F(SampleWriterTest, StopStringsAreHeldBackAndCount) {
  WriterOptions stop = options();
  stop.stop = {"bc", "cde"};
  EXPECT_EQ(write(stop, encode("abcd"), 1).answer, "a");
  EXPECT_EQ(write(stop, encode("abcd"), 1).answer_tokens, "a");
  EXPECT_EQ(write(stop, encode("acdf"), 1).answer, "acdf");
  EXPECT_EQ(write(stop, encode("acd"), 1).answer, "acd");  // held back to the end
  stop.include_stop_string = true;
  EXPECT_EQ(write(stop, encode("abcd"), 1).answer, "abc");
  stop.include_stop_string = false;
  // In thinking they are text like any other.
  EXPECT_EQ(write(stop, encode("<think>abcd</think>xbcy"), 1).thinking, "abcd");
  EXPECT_EQ(write(stop, encode("<think>abcd</think>xbcy"), 1).answer, "x");
}

TEST_F(SampleWriterTest, TheEndingIdHasNoText) {
  auto ids = encode("ab");
  ids.push_back(*letters_->token_id("<eos>"));
  const Written out = write(options(), ids, 1, true);
  EXPECT_EQ(out.answer, "ab");
  EXPECT_EQ(out.ids.size(), 3);
}

TEST_F(SampleWriterTest, ATextThatGoesOnKeepsItsSpace) {
  const auto prompt = stories_->encode("Once upon");
  const auto all = stories_->encode("Once upon a time there was");
  const std::vector<int32_t> rest(all.begin() + static_cast<std::ptrdiff_t>(prompt.size()), all.end());
  WriterOptions follows{.tokenizer = stories_, .logprobs = true, .follows = prompt};
  EXPECT_EQ(write(follows, rest, 1).answer, " a time there was");
  EXPECT_EQ(write(follows, rest, 1).answer_tokens, " a time there was");
  WriterOptions own{.tokenizer = stories_, .logprobs = true};
  EXPECT_EQ(write(own, rest, 1).answer, "a time there was");
  EXPECT_EQ(write(own, rest, 1).answer_tokens, "a time there was");
}

TEST_F(SampleWriterTest, NeverSplitsACodePoint) {
  const std::string text = "\xE2\x82\xAC 5 \xF0\x9F\x98\x80!";  // as bytes <0xE2> <0x82> <0xAC> ... in this vocabulary
  const auto ids = stories_->encode(text, {.add_special_tokens = false});
  SampleWriter writer({.tokenizer = stories_, .logprobs = true});
  std::string joined, tokens;
  for (const int32_t id : ids) {
    std::vector<Piece> pieces;
    writer.push({.id = id}, false, pieces);
    for (const auto& piece : pieces) {
      joined += piece.text;
      for (const auto& bytes : piece.texts) tokens += bytes;
      EXPECT_TRUE(piece.text.empty() || (static_cast<unsigned char>(piece.text[0]) & 0xC0) != 0x80);
    }
  }
  std::vector<Piece> last;
  writer.finish(last);
  for (const auto& piece : last) joined += piece.text;
  EXPECT_EQ(joined, text);
  EXPECT_EQ(tokens, text);
}

TEST_F(SampleWriterTest, WithoutATokenizerThereAreIds) {
  const Written out = write({}, {1, 2, 3}, 1);
  EXPECT_EQ(out.ids, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(out.answer, "");
}

}  // namespace
}  // namespace throughline::serve
