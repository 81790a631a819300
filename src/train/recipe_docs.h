// The options of recipes as tables for docs/training.md, from recipe_sections().
#pragma once

#include <string>

namespace throughline {

std::string recipe_tables();  // Markdown

}  // namespace throughline
