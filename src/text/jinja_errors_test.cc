// Broken and hostile templates: each gives one clear line with the place, and none may hang or exhaust memory.
#include <gtest/gtest.h>
#include <pthread.h>
#include <rapidcheck/gtest.h>

#include <ctime>

#include "text/chat_template.h"

namespace throughline {
namespace {

Result<std::string> render(const std::string& source, const ChatTemplate::Options& options = {}) {
  const auto parsed = ChatTemplate::parse(source, "m/chat_template.jinja");
  if (!parsed.ok()) return parsed.error();
  const Json messages = Json::parse(R"([{"role": "user", "content": "hi"}])");
  return parsed->render(messages, options);
}

std::string repeat(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(JinjaErrors, CorruptTemplatesNameThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n{% if x %}\nb",
       "m/chat_template.jinja line 3: the template ends, but {% endif %} is missing for the block opened in line 2"},
      {"\n\n{{ 'abc }}", "m/chat_template.jinja line 3: this string has no end: the closing ' is missing"},
      {"{{ 1 +\n }}", "m/chat_template.jinja line 2: expected an expression, got the end of {{ }}"},
      {"x\n{{ a b }}", "m/chat_template.jinja line 2: expected '}}', got 'b'"},
      {"{% for m in messages %}{% endif %}",
       "m/chat_template.jinja line 1: {% endif %} does not match the open block of line 1"},
      {"\n{% include 'other' %}",
       "m/chat_template.jinja line 2: the tag 'include' is not supported in chat templates; use if, for, set, macro, "
       "call, filter, with, print, raw, generation, break, continue"},
      {"{{ messages | nosuch }}", "m/chat_template.jinja line 1: there is no filter named 'nosuch'"},
      {"{{ messages is nosuch }}", "m/chat_template.jinja line 1: there is no test named 'nosuch'"},
      {"{# never closed", "m/chat_template.jinja line 1: this comment has no end: \"#}\" is missing"},
      {"{% raw %}{{ x }}", "m/chat_template.jinja line 1: this raw block has no end: {% endraw %} is missing"},
      {"{{ (1, [2) }}", "m/chat_template.jinja line 1: unexpected ')', expected ']'"},
      {"{{ 1 }}\n{% set true = 1 %}", "m/chat_template.jinja line 2: cannot assign to 'true'"},
      {"{% break %}", "m/chat_template.jinja line 1: {% break %} outside a loop"},
      {"\n\n\n{{ a ? b : c }}", "m/chat_template.jinja line 4: unexpected character '?'"},
      {"{{ 99999999999999999999 }}",
       "m/chat_template.jinja line 1: the number 99999999999999999999 does not fit into 64 bits"},
      {"ok\n\xff", "m/chat_template.jinja line 2: the template is not UTF-8 at byte 3"},
      {"a\nb{{ messages[0].content.nosuch.more }}",
       "m/chat_template.jinja line 2: 'str object' has no attribute 'nosuch'"},
      {"\n{{ nosuch() }}", "m/chat_template.jinja line 2: 'nosuch' is undefined"},
      {"\n{{ 'a' + 1 }}", "m/chat_template.jinja line 2: unsupported operand types for +: 'str' and 'int'"},
      {"{{ messages.append(1) }}",
       "m/chat_template.jinja line 1: access to attribute 'append' of 'list' object is unsafe: values cannot be "
       "changed "
       "in a chat template"},
      {"{% macro m(a) %}{% endmacro %}\n{{ m(1, 2) }}",
       "m/chat_template.jinja line 2: macro 'm' takes not more than 1 argument(s)"},
      {"{{ raise_exception('Roles must\nalternate') }}", "m/chat_template.jinja line 1: Roles must\\nalternate"},
      {"{{ messages | tojson(indnt=2) }}",
       "m/chat_template.jinja line 1: tojson() got an unexpected keyword argument 'indnt'"}};
  for (const auto& [source, line] : cases) {
    const auto result = render(source);
    ASSERT_FALSE(result.ok()) << source << " -> " << *result;
    EXPECT_EQ(result.error().line(), line) << source;
  }
}

TEST(JinjaErrors, RaisedTextIsTheWhat) {
  const auto result = render("{{ raise_exception('Conversation roles must alternate') }}");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().what, "Conversation roles must alternate");
}

// What each hostile template runs into, within a few seconds even under sanitizers.
TEST(JinjaLimits, HostileTemplatesAreRefused) {
  const std::string loop = "{% for a in range(99999) %}{% for b in range(99999) %}";
  const std::pair<std::string, const char*> cases[] = {
      {loop + "{% endfor %}{% endfor %}", "steps"},
      {loop + "x{% endfor %}{% endfor %}", "steps"},
      {"{{ range(10**12) }}", "range with more than"},
      {"{{ range(0, 9223372036854775807, 1)|list }}", "range with more than"},
      {"{{ 'a' * 10**9 }}", "text longer than"},
      {"{{ 'a' * 9223372036854775807 }}", "text longer than"},
      {"{{ [1] * 10**12 }}", "2^20 items"},
      {"{{ [[]] * 10**6 * 10**6 }}", "2^20 items"},
      {"{{ 10 ** 100 }}", "64 bits"},
      {"{{ 'x'.center(10**12) }}", "text longer than"},
      {"{{ 'x'|indent(10**12) }}", "text longer than"},
      {"{{ '{:>999999999}'.format(1) }}", "width or precision"},
      {"{{ '%999999999d' % 1 }}", "width or precision"},
      {"{{ ('ab' * 1000000).replace('', 'xxxxxxxxxxxxxxxxxxxx') }}", "text longer than"},
      {"{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
       "longer than"},
      {"{% set ns = namespace(s='x' * 999999) %}{% for i in range(99999) %}{% set ns.s = ns.s + 'y' %}{% endfor %}",
       "MiB of values"},
      {"{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}", "nested deeper"},
      {"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}", "parts"},
      {"{% set ns = namespace() %}{% set ns.n = ns %}{{ ns }}", "nested too deep"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "levels deep"},
      {"{% macro m(x) %}{{ m([x]) }}{{ m([x]) }}{% endmacro %}{{ m(1) }}", "deep"},
      {"{% macro a() %}{% for i in range(50) %}{{ caller() }}{% endfor %}{% endmacro %}{% macro r(n) %}{% call a() %}"
       "{{ r(n + 1) if n < 9 else 'x' }}{% endcall %}{% endmacro %}{{ r(0) }}",
       "steps"},
      {"{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}", "deep"},
      {"{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}", "nested deeper"},
      {"{{ " + repeat("[", 5000) + repeat("]", 5000) + " }}", "nested deeper"},
      {"{{ " + repeat("not ", 5000) + "1 }}", "nested deeper"},
      {"{{ " + repeat("-", 5000) + "1 }}", "nested deeper"},
      {"{{ x" + repeat(".a", 5000) + " }}", "nested deeper"},
      {"{{ x" + repeat("|list", 5000) + " }}", "nested deeper"},
      {"{{ x" + repeat("()", 5000) + " }}", "nested deeper"},
      {"{{ " + repeat("1 if 1 else ", 5000) + "1 }}", "nested deeper"},
      {repeat("{% if 1 %}", 5000), "nested deeper"},
      {"{% for " + repeat("(", 5000) + "a" + repeat(")", 5000) + " in x %}{% endfor %}", "nested deeper"},
      {"{{ strftime_now('%Y' * 1000) }}", "longer than 1000 bytes"},
      {"{{ strftime_now('%999999999d') }}", "is not supported"},
      {std::string(5u << 20, 'x'), "longer than 4194304 bytes"}};
  ChatTemplate::Options options;
  options.limits.steps = 5'000'000;  // a tenth of the default keeps the sanitizers' run short
  for (const auto& [source, expected] : cases) {
    const std::clock_t start = std::clock();  // processor time: the machine may be busy
    const auto result = render(source, options);
    const double took_s = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    ASSERT_FALSE(result.ok()) << source.substr(0, 200);
    EXPECT_NE(result.error().what.find(expected), std::string::npos)
        << source.substr(0, 200) << " -> " << result.error().line();
    EXPECT_LT(took_s, 10.0) << source.substr(0, 200);
  }
}

TEST(JinjaLimits, LongChainsThatAreFlatRun) {
  EXPECT_EQ(*render("{{ 0" + repeat(" + 1", 5000) + " }}"), "5000");
  EXPECT_EQ(*render("{{ 0" + repeat(" or 0", 5000) + " or 7 }}"), "7");
  EXPECT_EQ(*render("{% if 0 %}" + repeat("{% elif 0 %}", 5000) + "{% else %}x{% endif %}"), "x");
  EXPECT_EQ(render(repeat("{{ 1 }}", 20000))->size(), 20000u);
}

TEST(JinjaLimits, SmallerLimitsHold) {
  ChatTemplate::Options options;
  options.limits.output_bytes = 100;
  EXPECT_TRUE(render("{% for i in range(100) %}x{% endfor %}", options).ok());
  EXPECT_FALSE(render("{% for i in range(101) %}x{% endfor %}", options).ok());
  options.limits.steps = 50;
  EXPECT_FALSE(render("{% for i in range(100) %}x{% endfor %}", options).ok());
}

// The deepest that templates get, on a thread with little stack.
TEST(JinjaLimits, RunsOnASmallStack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr size_t kStackBytes = 16u << 20;  // sanitizers' frames are several times larger
#else
  constexpr size_t kStackBytes = 2u << 20;
#endif
  const auto run = [](void*) -> void* {
    // Each call goes through as many levels as the parser lets one template have.
    const std::string deep = repeat("{% if 1 %}", 40) + "{{ " + repeat("[", 20) + "m()" + repeat("]", 20) + " }}" +
                             repeat("{% endif %}", 40);
    const auto blocks = render("{% macro m() %}" + deep + "{% endmacro %}{{ m() }}");
    EXPECT_FALSE(blocks.ok());
    EXPECT_NE(blocks.error().what.find("deep"), std::string::npos) << blocks.error().line();
    const auto calls =
        render("{% macro m() %}{% for i in [1] %}{{ 'x' ~ [m()|upper]|join }}{% endfor %}{% endmacro %}{{ m() }}");
    EXPECT_FALSE(calls.ok());
    EXPECT_TRUE(render("{{ " + repeat("[", 45) + repeat("]", 45) + " }}").ok());
    EXPECT_FALSE(render("{{ " + repeat("{'a':(", 999) + " }}").ok());
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_t thread;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, kStackBytes), 0);
  ASSERT_EQ(pthread_create(&thread, &attributes, run, nullptr), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

// Any bytes: an answer or a one-line error, never more.
RC_GTEST_PROP(JinjaErrors, AnyTokensGiveAnAnswerOrOneLine, ()) {
  static const std::vector<std::string> kParts = {
      "{{",     "}}",    "{%",       "%}", "{#",      "#}",  "-",      "+",        " ",        "\n",   "if",
      "else",   "endif", "for",      "in", "endfor",  "set", "=",      "x",        "messages", "loop", ".",
      "index",  "[",     "]",        "(",  ")",       "0",   "1",      ":",        ",",        "|",    "join",
      "'",      "\"",    "a",        "is", "defined", "not", "and",    "~",        "*",        "/",    "raw",
      "endraw", "macro", "endmacro", "m",  "{",       "}",   "tojson", "\xC3\xA9", "\\"};
  std::string source;
  for (const size_t i : *rc::gen::container<std::vector<size_t>>(rc::gen::inRange<size_t>(0, kParts.size()))) {
    source += kParts[i];
  }
  ChatTemplate::Options options;
  options.limits.steps = 10000;
  const auto result = render(source, options);
  if (!result.ok()) {
    RC_ASSERT(!result.error().what.empty());
    RC_ASSERT(result.error().where.rfind("m/chat_template.jinja line ", 0) == 0);
    RC_ASSERT(result.error().line().find('\n') == std::string::npos);
  }
}

// Text without brackets comes out as it went in, but for one newline at the end.
RC_GTEST_PROP(JinjaErrors, PlainTextIsKept, (const std::string& text)) {
  std::string plain;
  for (const char c : text) plain += c == '{' || c == '\r' || static_cast<signed char>(c) < 0 ? 'x' : c;
  auto expected = plain;
  if (!expected.empty() && expected.back() == '\n') expected.pop_back();
  RC_ASSERT(*render(plain) == expected);
}

}  // namespace
}  // namespace throughline
