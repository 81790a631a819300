#include "cli/text_input.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "cli/interrupt.h"

namespace throughline {

Result<std::string> read_standard_input(const std::string& what) {
  if (::isatty(STDIN_FILENO) != 0) return Error{"there is no " + what, "", "give it as an argument or pipe it in"};
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n == 0) return text;
    if (n < 0) {
      if (errno == EINTR && !interrupted()) continue;
      return Error{errno == EINTR ? "interrupted" : std::strerror(errno), "standard input", ""};
    }
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kTextFileLimit) return Error{"is larger than 1 GiB", "standard input", "give less"};
  }
}

Result<std::string> text_argument(const std::string& argument, const std::string& what) {
  if (!argument.empty() && argument != "-") return argument;
  TL_TRY(std::string text, read_standard_input(what));
  if (!text.empty() && text.back() == '\n') text.pop_back();  // what echo and editors add
  return text;
}

}  // namespace throughline
