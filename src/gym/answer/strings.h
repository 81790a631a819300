// Small helpers on text that the extraction and the string graders share. ASCII only; no allocation where a view does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace throughline::answer {

std::string_view trim(std::string_view s);
// std::string_view::find in linear time: that one compares again at each place where the first character stands.
size_t find_part(std::string_view s, std::string_view part, size_t from = 0);
std::string replace_all(std::string_view s, std::string_view from, std::string_view to);
std::string to_lower(std::string_view s);
std::vector<std::string> split(std::string_view s, std::string_view separator);
bool contains(std::string_view s, std::string_view part);
bool starts_with(std::string_view s, std::string_view part);
bool ends_with(std::string_view s, std::string_view part);
bool is_digit(char c);
bool is_letter(char c);
// Python's int() and float() on text without underscores: surrounding space and a sign are allowed.
bool parse_int_text(std::string_view s, std::string* canonical);
bool parse_float_text(std::string_view s, double* value);

}  // namespace throughline::answer
