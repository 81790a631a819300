#include "gym/instructions/instructions.h"

#include <algorithm>
#include <cmath>

#include "gym/instructions/checkers.h"
#include "gym/instructions/unicode.h"

namespace throughline {
namespace {

// Missing and null are the same: the published prompt file has both forms.
Result<Json> option(const Json& kwargs, const char* name, const std::string& where) {
  const auto found = kwargs.find(name);
  if (found == kwargs.end() || found->is_null()) {
    return Error{std::string("has no option \"") + name + "\"", where,
                 "give it in kwargs, as the published prompts do"};
  }
  return *found;
}

Result<int64_t> count_option(const Json& kwargs, const char* name, const std::string& where) {
  TL_TRY(const Json value, option(kwargs, name, where));
  const double number = value.is_number() ? value.get<double>() : -1;
  if (number < 0 || number > 1e9 || number != std::floor(number)) {
    return Error{"must be a whole number from 0 to 1000000000", where + ": " + name, ""};
  }
  return static_cast<int64_t>(number);
}

Result<std::u32string> text_option(const Json& kwargs, const char* name, const std::string& where) {
  TL_TRY(const Json value, option(kwargs, name, where));
  if (!value.is_string()) return Error{"must be a string", where + ": " + name, ""};
  std::u32string text = decode_utf8(value.get_ref<const std::string&>());
  if (text.empty()) return Error{"must not be empty", where + ": " + name, ""};
  return text;
}

Result<std::vector<std::u32string>> words_option(const Json& kwargs, const char* name, const std::string& where) {
  TL_TRY(const Json value, option(kwargs, name, where));
  const auto is_word = [](const Json& word) { return word.is_string() && !word.get_ref<const std::string&>().empty(); };
  const bool strings = value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_word);
  if (!strings) return Error{"must be a list of strings", where + ": " + name, ""};
  std::vector<std::u32string> words;
  for (const Json& word : value) words.push_back(decode_utf8(word.get_ref<const std::string&>()));
  return words;
}

Result<InstructionOptions> read_options(const InstructionChecker& checker, const Json& kwargs,
                                        const std::string& where) {
  InstructionOptions out;
  const auto named = [](const char* name) { return name[0] != '\0'; };
  if (named(checker.count_option)) {
    TL_TRY(out.count, count_option(kwargs, checker.count_option, where));
  }
  if (named(checker.text_option)) {
    TL_TRY(out.text, text_option(kwargs, checker.text_option, where));
  }
  if (named(checker.words_option)) {
    TL_TRY(out.words, words_option(kwargs, checker.words_option, where));
  }
  if (named(checker.relation_option)) {
    TL_TRY(const std::u32string relation, text_option(kwargs, checker.relation_option, where));
    if (relation != U"less than" && relation != U"at least") {
      return Error{"must be \"less than\" or \"at least\"", where + ": " + checker.relation_option, ""};
    }
    out.less_than = relation == U"less than";
  }
  const std::string_view id = checker.id;
  if (id == "keywords:letter_frequency" && out.text.size() != 1)
    return Error{"must be one character", where + ": letter", ""};
  if (id == "length_constraints:nth_paragraph_first_word") {
    TL_TRY(out.paragraph, count_option(kwargs, "nth_paragraph", where));
    if (out.paragraph < 1 || out.paragraph > out.count) {
      return Error{"must be from 1 to num_paragraphs", where + ": nth_paragraph", ""};
    }
  }
  return out;
}

// The response and its seven variants, as published: the order does not matter, only whether any follows.
std::vector<std::u32string> loose_variants(const std::u32string& response) {
  const std::u32string_view text = response;
  const size_t first = text.find('\n'), last = text.rfind('\n');
  const bool one_line = first == std::u32string_view::npos;
  std::vector<std::u32string> out = {response};
  out.emplace_back(one_line ? U"" : py_strip(text.substr(first + 1)));
  out.emplace_back(one_line ? U"" : py_strip(text.substr(0, last)));
  out.emplace_back(one_line || first == last ? U"" : py_strip(text.substr(first + 1, last - first - 1)));
  for (size_t i = 0; i < 4; ++i) {
    std::u32string plain = out[i];
    std::erase(plain, U'*');
    out.push_back(std::move(plain));
  }
  return out;
}

}  // namespace

Result<std::vector<InstructionVerdict>> check_instructions(const Json& line, std::string_view response,
                                                           const std::string& where) {
  if (!line.is_object() || !line.contains("instruction_id_list") || !line.contains("kwargs")) {
    return Error{"needs \"instruction_id_list\" and \"kwargs\"", where, "give a line of the IFEval prompt file"};
  }
  const Json& ids = line["instruction_id_list"];
  const Json& kwargs = line["kwargs"];
  if (!ids.is_array() || !kwargs.is_array() || ids.size() != kwargs.size()) {
    return Error{"\"instruction_id_list\" and \"kwargs\" must be lists of one length", where, ""};
  }
  const std::vector<std::u32string> variants = loose_variants(decode_utf8(response));
  std::vector<InstructionVerdict> out;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string place = where + ": kwargs " + std::to_string(i + 1);
    if (!ids[i].is_string() || !kwargs[i].is_object()) {
      return Error{"must be the name of an instruction and an object of options", place, ""};
    }
    const auto& id = ids[i].get_ref<const std::string&>();
    const auto known = instruction_checkers();
    const auto checker = std::find_if(known.begin(), known.end(), [&](const auto& one) { return id == one.id; });
    if (checker == known.end())
      return Error{"unknown instruction \"" + id + "\"", place, "docs/tasks/instructions.md lists the 25"};
    TL_TRY(const InstructionOptions options, read_options(*checker, kwargs[i], place));
    const auto follows = [&](const std::u32string& text) {
      return !py_strip(text).empty() && checker->check(text, options);
    };
    out.push_back(
        {id, follows(variants[0]), std::any_of(variants.begin(), variants.end(), follows), checker->approximate});
  }
  return out;
}

std::vector<InstructionInfo> known_instructions() {
  std::vector<InstructionInfo> out;
  for (const auto& checker : instruction_checkers()) out.push_back({checker.id, checker.approximate});
  return out;
}

}  // namespace throughline
