// Text as Python's str sees it: the published instruction checkers are Python, so "space", "word character" and "lower"
// are defined by CPython's rules, over code points. Invalid UTF-8 becomes U+FFFD. All functions are linear and
// thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace throughline {

std::u32string decode_utf8(std::string_view text);

bool is_py_space(char32_t c);  // str.isspace() and \s
bool is_py_word(char32_t c);   // \w: letters, numbers, "_"; combining marks are not word characters
bool is_py_digit(char32_t c);  // \d: decimal digits of any script
bool is_py_upper(char32_t c);  // one character; title-case letters are neither
bool is_py_lower(char32_t c);
bool is_py_letter(char32_t c);

// str.lower(), with its two special cases: U+0130 and the final sigma (case-ignorable characters approximated by
// category).
std::u32string py_lower(std::u32string_view text);
// What re.IGNORECASE compares.
char32_t py_fold(char32_t c);
std::u32string py_fold(std::u32string_view text);

std::u32string_view py_strip(std::u32string_view text);
std::u32string_view strip_char(std::u32string_view text, char32_t c);  // str.strip(c)

std::vector<std::u32string_view> split_text(std::u32string_view text,
                                            std::u32string_view separator);  // str.split(separator)

}  // namespace throughline
