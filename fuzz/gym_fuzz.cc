// rooms: gym text base
// Task verifiers, the line reader, instruction checkers, expressions and crosswords on hostile text: no crash, no hang.
// Input: a selector byte, then "puzzle\nresponse" (or a whole JSON line).
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gym/crosswords.h"
#include "gym/game24.h"
#include "gym/instructions/checkers.h"
#include "gym/instructions/unicode.h"
#include "gym/lines.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace throughline;
  static const auto tasks = make_all_tasks();
  if (size == 0) return 0;
  const size_t selector = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (selector < 16) {
    check_line(tasks, text, 1);
    return 0;
  }
  const size_t newline = text.find('\n');
  const std::string_view first = text.substr(0, newline);
  const std::string_view rest = newline == std::string_view::npos ? std::string_view() : text.substr(newline + 1);
  if (selector < 128) {
    TaskItem item;
    item.prompt = first;
    item.answer = "7";
    tasks[selector % tasks.size()]->check(item, rest);
    check_game24(Game24{1, {1, 2, 3, 4}}, text);
    score_crossword(Crossword{{}, "AGENDMOTORARTSYSALLESLEER"}, text);
    return 0;
  }
  InstructionOptions options;
  options.text = decode_utf8(first);
  if (options.text.empty()) options.text = U"a";
  options.words = {options.text};
  options.count = 2;
  options.paragraph = 1;
  const auto checkers = instruction_checkers();
  const std::u32string response = decode_utf8(rest);
  if (!py_strip(response).empty()) checkers[selector % checkers.size()].check(response, options);
  return 0;
}
