#include "train/recipe_docs.h"

#include "train/recipe.h"

namespace throughline {
namespace {

std::string value_of(const OptionInfo& option) {
  if (!option.default_note.empty()) return option.default_note;
  if (option.default_text.empty()) return "";
  return "`" + option.default_text + "`";
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string recipe_tables() {
  std::string out;
  for (const SpecInfo& section : recipe_sections()) {
    out += (out.empty() ? "### " : "\n### ") +
           std::string(section.method == "task" ? "[[task]]" : "[" + section.method + "]");
    out += "\n" + escaped(section.help) + "\n\n| option | default | meaning |\n|---|---|---|\n";
    for (const OptionInfo& option : section.options) {
      std::string choices;
      for (const std::string& choice : option.choices)
        choices += (choices.empty() ? " (" : ", ") + ("`" + choice + "`");
      out += "| `" + option.name + "` | " + value_of(option) + " | " + escaped(option.help) +
             (choices.empty() ? "" : choices + ")") + " |\n";
    }
  }
  return out;
}

}  // namespace throughline
