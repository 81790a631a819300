// Python's str operations on UTF-8 text, for the Jinja engine: code points are what indexes and lengths count.
//
// Every function takes valid UTF-8 (make_valid_utf8 first where that is not sure) and returns valid UTF-8.
// Case mapping is utf8proc's simple mapping plus the commonest of Unicode's one-to-many ones (ss, ligatures, final
// sigma); white space and printability are Python's definitions. No limits here: callers charge for the work.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace throughline::jinja {

constexpr size_t kNowhere = std::string_view::npos;

// The byte offset of the first byte that is not UTF-8 (surrogates and overlong forms are not), or kNowhere.
size_t find_invalid_utf8(std::string_view text);
std::string make_valid_utf8(std::string_view text);  // each bad byte becomes U+FFFD

size_t count_code_points(std::string_view text);
// The byte offset of code point `index`; text.size() when there are fewer.
size_t byte_offset(std::string_view text, size_t index);
// Reads the code point at `pos` and moves `pos` behind it. REQUIRES: pos < text.size()
char32_t next_code_point(std::string_view text, size_t& pos);
void append_utf8(std::string& out, char32_t code_point);

bool is_space(char32_t c);  // str.isspace
bool is_letter(char32_t c);
bool is_digit(char32_t c);  // str.isdigit
bool is_word(char32_t c);   // \w
bool is_upper(char32_t c);  // an upper- or title-case letter
bool is_lower(char32_t c);
bool is_printable(char32_t c);  // what repr() shows as itself

std::string_view strip(std::string_view text, bool left, bool right);
std::string_view strip_chars(std::string_view text, std::string_view chars, bool left, bool right);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string swapcase(std::string_view text);
std::string title(std::string_view text);        // str.title(): every run of letters is a word
std::string jinja_title(std::string_view text);  // the title filter: words begin after white space and -({[<

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

std::string escape_html(std::string_view text);  // markupsafe's
std::string float_repr(double value);            // Python's repr(float): shortest digits, exponent form from 1e16
std::string string_repr(std::string_view text);

}  // namespace throughline::jinja
