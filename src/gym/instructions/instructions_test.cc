#include "gym/instructions/instructions.h"

#include <gtest/gtest.h>

#include <ctime>
#include <map>
#include <sstream>

#include "base/files.h"
#include "gym/instructions/approximate.h"
#include "gym/instructions/checkers.h"
#include "gym/instructions/unicode.h"

namespace throughline {
namespace {

// Of this thread: other work on the machine must not fail a test.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::vector<Json> read_lines(const std::string& path) {
  const auto text = read_file(std::string(THROUGHLINE_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(text.ok()) << path;
  std::vector<Json> out;
  std::stringstream stream(text.ok() ? *text : "");
  for (std::string line; std::getline(stream, line);) out.push_back(parse_json(line, path).value());
  return out;
}

Json one(const std::string& id, const Json& kwargs) {
  return Json{{"instruction_id_list", Json::array({id})}, {"kwargs", Json::array({kwargs})}};
}

// tools/instruction_goldens.py: the published Python's verdicts.
TEST(Instructions, AgreeWithThePublishedCheckers) {
  std::map<std::string, int> lines;
  for (const Json& golden : read_lines("tests/golden/gym/instructions.jsonl")) {
    const auto id = golden["id"].get<std::string>();
    const auto seen = check_instructions(one(id, golden["kwargs"]), golden["response"].get<std::string>(), "golden");
    ASSERT_TRUE(seen.ok()) << seen.error().line();
    EXPECT_EQ(seen->at(0).strict, golden["strict"].get<bool>()) << dump_json(golden);
    EXPECT_EQ(seen->at(0).loose, golden["loose"].get<bool>()) << dump_json(golden);
    EXPECT_FALSE(seen->at(0).approximate) << id;
    ++lines[id];
  }
  EXPECT_EQ(lines.size(), 20u);
  for (const auto& [id, count] : lines) EXPECT_GE(count, 60) << id;
}

TEST(Instructions, TwentyAreExactAndFiveApproximate) {
  int exact = 0, approximate = 0;
  for (const auto& info : known_instructions()) (info.approximate ? approximate : exact) += 1;
  EXPECT_EQ(exact, 20);
  EXPECT_EQ(approximate, 5);
}

TEST(Instructions, EveryPublishedPromptIsUnderstood) {
  const std::string path = std::string(THROUGHLINE_SOURCE_DIR) + "/../shared/data/eval/rpc_ifeval.jsonl";
  if (!file_exists(path)) GTEST_SKIP() << "no " << path;
  int prompts = 0, instructions = 0;
  for (const Json& line : read_lines("../shared/data/eval/rpc_ifeval.jsonl")) {
    const auto seen = check_instructions(line, "A plain answer.", "prompt");
    ASSERT_TRUE(seen.ok()) << seen.error().line();
    instructions += static_cast<int>(seen->size());
    ++prompts;
  }
  EXPECT_EQ(prompts, 541);
  EXPECT_EQ(instructions, 834);
}

TEST(Instructions, SeveralAtOnceEachWithItsOwnOptions) {
  const Json line = {
      {"prompt", "x"},
      {"instruction_id_list", {"punctuation:no_comma", "length_constraints:number_words", "detectable_format:title"}},
      {"kwargs", {{{"num_words", nullptr}}, {{"relation", "at least"}, {"num_words", 3.0}}, Json::object()}}};
  const auto seen = check_instructions(line, "Sure, here it is:\n<<Title>>\none two three", "x");
  ASSERT_TRUE(seen.ok()) << seen.error().line();
  ASSERT_EQ(seen->size(), 3u);
  EXPECT_FALSE(seen->at(0).strict);
  EXPECT_TRUE(seen->at(0).loose);  // without the first line
  EXPECT_TRUE(seen->at(1).strict);
  EXPECT_TRUE(seen->at(2).strict);
}

TEST(Instructions, BadLinesAreErrors) {
  const std::string words = "length_constraints:number_words";
  for (const Json& bad :
       {Json(5), Json::object(), Json{{"instruction_id_list", {"a"}}, {"kwargs", Json::array()}},
        one("nonsense", Json::object()), one(words, Json::object()), one(words, {{"num_words", 3}}),
        one(words, {{"num_words", -3}, {"relation", "at least"}}),
        one(words, {{"num_words", 1e300}, {"relation", "at least"}}),
        one(words, {{"num_words", 3}, {"relation", "more than"}}),
        one(words, {{"num_words", "3"}, {"relation", "at least"}}), one("keywords:existence", {{"keywords", "x"}}),
        one("keywords:existence", {{"keywords", {1}}}), one("keywords:existence", {{"keywords", {""}}}),
        one("keywords:letter_frequency", {{"letter", "ab"}, {"let_frequency", 1}, {"let_relation", "at least"}}),
        one("length_constraints:nth_paragraph_first_word",
            {{"num_paragraphs", 2}, {"nth_paragraph", 3}, {"first_word", "a"}}),
        one("punctuation:no_comma", 5), one("combination:repeat_prompt", {{"prompt_to_repeat", nullptr}})}) {
    const auto seen = check_instructions(bad, "x", "line 4");
    ASSERT_FALSE(seen.ok()) << dump_json(bad);
    EXPECT_EQ(seen.error().where.substr(0, 6), "line 4");
  }
}

// Shapes that make backtracking engines slow: every checker is linear.
TEST(Instructions, LongTextsOfAnyShapeAreQuick) {
  std::vector<std::string> hostile;
  for (const char* piece : {"\n",   " ",        "*",        "**",       "* ",  "-\n",     "<<",       ">>",
                            "<",    "[",        "[\n",      "\"",       "p.",  "p. ",     "SECTION ", "SECTION 1",
                            "***",  "******",   "a",        "a ",       "A. ", "{\"a\":", "[",        "\\",
                            "\xff", "\xC4\xB0", "\xCE\xA3", "\xCC\x81", "'\"", "no ",     "\n\n"}) {
    std::string text;
    while (text.size() < (1 << 16)) text += piece;
    hostile.push_back(text);
    hostile.push_back("\"a" + text + "z");
  }
  std::string megabyte;
  while (megabyte.size() < (1 << 20)) megabyte += "No *way* to [go]. ";
  hostile.push_back(megabyte);
  const std::map<std::string, Json> options = {{"keywords", {"aaaaaaaab", "b"}},
                                               {"keyword", "aaaaaaab"},
                                               {"frequency", 3},
                                               {"relation", "at least"},
                                               {"forbidden_words", {"aaaaaaab", "no"}},
                                               {"letter", "a"},
                                               {"let_frequency", 5},
                                               {"let_relation", "less than"},
                                               {"language", "en"},
                                               {"num_sentences", 5},
                                               {"num_paragraphs", 2},
                                               {"num_words", 10},
                                               {"nth_paragraph", 2},
                                               {"first_word", "a"},
                                               {"num_placeholders", 5},
                                               {"postscript_marker", "P.P.S"},
                                               {"num_bullets", 3},
                                               {"num_highlights", 4},
                                               {"section_spliter", "SECTION"},
                                               {"num_sections", 3},
                                               {"prompt_to_repeat", "aaaa"},
                                               {"end_phrase", "aaaa"},
                                               {"capital_frequency", 3},
                                               {"capital_relation", "at least"}};
  Json kwargs = Json::object();
  for (const auto& [name, value] : options) kwargs[name] = value;
  InstructionOptions read;
  read.count = 3;
  read.paragraph = 2;
  for (const auto& checker : instruction_checkers()) {
    ASSERT_TRUE(check_instructions(one(checker.id, kwargs), "x", "x").ok()) << checker.id;
    read.text = checker.text_option[0] == '\0' ? U"" : decode_utf8(kwargs[checker.text_option].get<std::string>());
    read.words = {U"aaaaaaaab", U"b"};
    for (const auto& text : hostile) {
      const std::u32string decoded = decode_utf8(text);
      const double begin = cpu_seconds();
      checker.check(decoded, read);
      const double took = cpu_seconds() - begin;
      EXPECT_LT(took, 0.5) << checker.id << ": " << text.substr(0, 20);
    }
  }
}

// langdetect's verdicts on whole sentences; the approximate detector must not be worse than this.
TEST(Approximate, LanguagesOfPlainSentences) {
  int right = 0, total = 0;
  for (const Json& golden : read_lines("tests/golden/gym/languages.jsonl")) {
    const std::u32string text = decode_utf8(golden["response"].get<std::string>());
    const std::string seen = detect_language(text);
    ++total;
    right += seen == golden["language"].get<std::string>();
    EXPECT_EQ(seen, golden["language"].get<std::string>()) << golden["response"];
    EXPECT_EQ(is_all_upper(text), golden["upper"].get<bool>());
    EXPECT_EQ(is_all_lower(text), golden["lower"].get<bool>());
  }
  EXPECT_GE(total, 25);
  EXPECT_EQ(right, total);
  EXPECT_EQ(detect_language(U"12345 !!!"), "");
}

TEST(Approximate, Sentences) {
  const std::vector<std::pair<const char32_t*, int64_t>> cases = {{U"", 0},
                                                                  {U"One.", 1},
                                                                  {U"No end", 1},
                                                                  {U"One. Two! Three?", 3},
                                                                  {U"Mr. Smith came. He left.", 2},
                                                                  {U"It cost 3.50 dollars. Cheap!", 2},
                                                                  {U"At 5 p.m. we met. Then we left.", 2},
                                                                  {U"J. R. R. Tolkien wrote it.", 1},
                                                                  {U"He said \"Go.\" Then he went.", 2},
                                                                  {U"Wait... what? Yes.", 2},
                                                                  {U"See e.g. this one.", 1},
                                                                  {U"Line one.\nLine two.", 2},
                                                                  {U"One.Two.Three", 1}};
  for (const auto& [text, count] : cases)
    EXPECT_EQ(count_sentences(text), count)
        << dump_json(Json(std::string(text, text + std::char_traits<char32_t>::length(text))));
}

TEST(Approximate, CapitalWords) {
  const std::vector<std::pair<const char32_t*, int64_t>> cases = {{U"", 0},
                                                                  {U"NASA and the FBI", 2},
                                                                  {U"I am A.", 2},
                                                                  {U"ALL-IN (YES), \"NO\"!", 3},
                                                                  {U"Hello World", 0},
                                                                  {U"B2B and 3D", 2},
                                                                  {U"123 ***", 0},
                                                                  {U"U.S.A. is big", 1}};
  for (const auto& [text, count] : cases) EXPECT_EQ(count_capital_words(text), count);
}

}  // namespace
}  // namespace throughline
