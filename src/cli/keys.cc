#include "cli/keys.h"

#include <optional>
#include <string_view>

#include "text/utf8.h"

namespace throughline {
namespace {

constexpr size_t kLongestSequence = 32;  // bytes

// The key of "ESC [ parameters FINAL" or "ESC O FINAL".
std::optional<Key> key_of(std::string_view parameters, char last) {
  switch (last) {
    case 'A':
      return Key::kUp;
    case 'B':
      return Key::kDown;
    case 'C':
      return Key::kRight;
    case 'D':
      return Key::kLeft;
    case 'H':
      return Key::kHome;
    case 'F':
      return Key::kEnd;
    case 'M':
      return parameters.empty() ? std::optional(Key::kEnter) : std::nullopt;  // the keypad's
    case '~':
      break;
    default:
      return std::nullopt;
  }
  const std::string_view number = parameters.substr(0, parameters.find(';'));
  if (number == "1" || number == "7") return Key::kHome;
  if (number == "4" || number == "8") return Key::kEnd;
  if (number == "5") return Key::kPageUp;
  if (number == "6") return Key::kPageDown;
  return std::nullopt;
}

struct Taken {
  size_t bytes = 0;  // 0: more must come
  std::optional<KeyPress> key;
};

Taken take_escape(std::string_view bytes, bool final) {
  if (bytes.size() == 1) return final ? Taken{1, KeyPress{Key::kEscape, ""}} : Taken{};
  if (bytes[1] != '[' && bytes[1] != 'O') return {1, KeyPress{Key::kEscape, ""}};
  for (size_t at = 2; at < bytes.size() && at < kLongestSequence; ++at) {
    const auto c = static_cast<unsigned char>(bytes[at]);
    if (c < 0x40 && bytes[1] == '[') continue;  // parameters
    Taken out{at + 1, {}};
    if (const auto key = key_of(bytes.substr(2, at - 2), bytes[at])) out.key = KeyPress{*key, ""};
    return out;
  }
  return final || bytes.size() >= kLongestSequence ? Taken{bytes.size(), {}} : Taken{};
}

Taken take_one(std::string_view bytes, bool final) {
  const char c = bytes[0];
  if (c == '\033') return take_escape(bytes, final);
  if (c == '\r' || c == '\n') return {1, KeyPress{Key::kEnter, ""}};
  if (c == 0x7F || c == '\b') return {1, KeyPress{Key::kBackspace, ""}};
  if (c == 0x06) return {1, KeyPress{Key::kPageDown, ""}};  // Ctrl-F, Ctrl-B as in less
  if (c == 0x02) return {1, KeyPress{Key::kPageUp, ""}};
  if (static_cast<unsigned char>(c) < 0x20) return {1, {}};
  const Utf8Step step = next_code_point(bytes, 0);
  if (step.cut && !final) return {};
  const auto size = static_cast<size_t>(step.size);
  if (!step.valid) return {size, {}};
  return {size, KeyPress{Key::kText, std::string(bytes.substr(0, size))}};
}

}  // namespace

std::vector<KeyPress> take_keys(std::string& bytes, bool final) {
  std::vector<KeyPress> out;
  size_t at = 0;
  while (at < bytes.size()) {
    const Taken taken = take_one(std::string_view(bytes).substr(at), final);
    if (taken.bytes == 0) break;
    if (taken.key) out.push_back(*taken.key);
    at += taken.bytes;
  }
  bytes.erase(0, at);
  return out;
}

}  // namespace throughline
