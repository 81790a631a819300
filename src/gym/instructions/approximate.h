// The five approximate instruction checkers: sentence and word splitting by rules, language by script and function
// words. Their agreement with NLTK and langdetect on the test texts is in docs/tasks/instructions.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace throughline {

int64_t count_sentences(std::u32string_view text);
// Tokens (split as NLTK's word tokenizer does, roughly) with a capital letter and no small one.
int64_t count_capital_words(std::u32string_view text);
// ISO 639-1 code; "" if the text holds no letters (the published checkers then count the instruction as followed), "?"
// if no known language fits.
std::string detect_language(std::u32string_view text);
bool is_all_upper(std::u32string_view text);  // str.isupper()
bool is_all_lower(std::u32string_view text);  // str.islower()

}  // namespace throughline
