// rooms: text base
// Parses any bytes as a chat template and renders it with small limits; then parses and renders must not crash, hang,
// or use much memory, and an error must be one line. Seeds: tests/data/templates and fuzz/corpus/jinja.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "text/chat_template.h"

namespace {

const throughline::Json& messages() {
  static const throughline::Json value = throughline::Json::parse(R"([
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Grüße 世界 <think>"},
    {"role": "assistant", "content": "<think>\nx\n</think>\n\ny", "reasoning_content": "r", "thinking": "t"},
    {"role": "assistant", "content": null, "tool_calls": [
      {"type": "function", "function": {"name": "f", "arguments": {"k": [1, 2.5, true, null, {"z": "q"}]}}}]},
    {"role": "tool", "content": "12"}, {"role": "user", "content": [{"type": "text", "text": "part"}]}])");
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed =
      throughline::ChatTemplate::parse(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.jinja");
  const auto check = [](const throughline::Error& error) {
    if (error.what.empty() || error.line().find('\n') != std::string::npos) std::abort();
  };
  if (!parsed.ok()) {
    check(parsed.error());
    return 0;
  }
  throughline::ChatTemplate::Options options;
  options.bos_token = "<s>";
  options.tools = messages()[3]["tool_calls"];
  options.extra = {{"enable_thinking", size % 2 == 0}, {"n", 3}, {"d", {{"a", 1}, {"b", {1, 2, 3}}}}};
  options.clock = [] { return std::tm{}; };
  options.limits.steps = 20'000;
  options.limits.output_bytes = 64 << 10;
  options.limits.memory_bytes = 4 << 20;
  const auto rendered = parsed->render_parts(messages(), options);
  if (!rendered.ok()) {
    check(rendered.error());
  } else if (rendered->text.size() > options.limits.output_bytes ||
             rendered->generation_begin > rendered->text.size()) {
    std::abort();
  }
  return 0;
}
