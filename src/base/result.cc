#include "base/result.h"

#include <cstdio>

namespace throughline {
namespace {

constexpr size_t kPartLimit = 400;  // bytes; a hostile file must not flood the terminal

std::string one_line(const std::string& text) {
  std::string out;
  for (unsigned char c : text) {
    if (out.size() >= kPartLimit) {
      while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
      return out + "...";
    }
    if (c == '\n') {
      out += "\\n";
    } else if (c < 0x20 || c == 0x7F) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", c);
      out += escaped;
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

}  // namespace

std::string Error::line() const {
  std::string out;
  if (!where.empty()) out += one_line(where) + ": ";
  out += one_line(what);
  if (!remedy.empty()) out += "; " + one_line(remedy);
  return out;
}

void throw_invariant(const char* file, int line, const char* condition, const std::string& detail) {
  throw InvariantError(std::string(file) + ":" + std::to_string(line) + ": broken invariant: " + condition +
                       (detail.empty() ? "" : " (" + detail + ")"));
}

}  // namespace throughline
