// IFEval (Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models"): does a response follow
// verifiable instructions? Written from the published definitions; checked against the published Python by
// tools/instruction_goldens.py.
//
// 20 of the 25 checkers are plain string work and agree exactly. Five depend on NLTK's or langdetect's trained models
// and are approximate here: number_sentences, capital_word_frequency, response_language, english_capital,
// english_lowercase. Known deviations of the 20 (docs/tasks/instructions.md): keywords and section names are literal
// text, not regular expressions (no published prompt has one with a special character); an option that is missing is an
// error, where the published code draws one at random. Loose: right if any of eight variants is: without first line,
// last line, both; each with and without its asterisks. Linear in the response; no regular-expression engine, nothing
// to hang. Thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

struct InstructionVerdict {
  std::string id;  // "length_constraints:number_words"
  bool strict = false;
  bool loose = false;
  bool approximate = false;
};

// `line`: {"instruction_id_list": [...], "kwargs": [{...}, ...]}, as the published prompts have it; other keys are
// ignored, options that are null count as missing. `where` names the line in errors.
Result<std::vector<InstructionVerdict>> check_instructions(const Json& line, std::string_view response,
                                                           const std::string& where);

struct InstructionInfo {
  std::string id;
  bool approximate = false;
};
std::vector<InstructionInfo> known_instructions();  // all 25

}  // namespace throughline
