// The unit words that the parser knows, each with one spelling.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "gym/answer/parser.h"

namespace throughline::answer {
namespace {

struct Unit {
  std::string_view word;
  std::string_view canonical;
};

// Sorted by word; plurals in -s are found by their singular. No single letters: "2 m" is twice m.
constexpr std::array kUnits = {
    Unit{"acre", "acre"},    Unit{"am", "am"},         Unit{"apple", "apple"},   Unit{"cc", "cc"},
    Unit{"cent", "cent"},    Unit{"centimeter", "cm"}, Unit{"centimetre", "cm"}, Unit{"cm", "cm"},
    Unit{"day", "day"},      Unit{"degree", "degree"}, Unit{"dollar", "dollar"}, Unit{"euro", "euro"},
    Unit{"feet", "ft"},      Unit{"foot", "ft"},       Unit{"ft", "ft"},         Unit{"gallon", "gallon"},
    Unit{"gram", "gram"},    Unit{"hour", "hour"},     Unit{"hr", "hour"},       Unit{"inch", "inch"},
    Unit{"inches", "inch"},  Unit{"kg", "kg"},         Unit{"kilogram", "kg"},   Unit{"kilometer", "km"},
    Unit{"kilometre", "km"}, Unit{"km", "km"},         Unit{"kmh", "km/hour"},   Unit{"lb", "pound"},
    Unit{"liter", "liter"},  Unit{"litre", "liter"},   Unit{"meter", "m"},       Unit{"metre", "m"},
    Unit{"mg", "mg"},        Unit{"mile", "mile"},     Unit{"milliliter", "ml"}, Unit{"millimeter", "mm"},
    Unit{"min", "minute"},   Unit{"minute", "minute"}, Unit{"ml", "ml"},         Unit{"mm", "mm"},
    Unit{"month", "month"},  Unit{"mph", "mile/hour"}, Unit{"ounce", "ounce"},   Unit{"oz", "ounce"},
    Unit{"pm", "pm"},        Unit{"point", "point"},   Unit{"pound", "pound"},   Unit{"radian", "radian"},
    Unit{"sec", "second"},   Unit{"second", "second"}, Unit{"square", "square"}, Unit{"unit", "unit"},
    Unit{"week", "week"},    Unit{"yard", "yard"},     Unit{"year", "year"},     Unit{"yen", "yen"},
    Unit{"yuan", "yuan"},
};

const Unit* find(std::string_view word) {
  const auto at = std::lower_bound(kUnits.begin(), kUnits.end(), word,
                                   [](const Unit& u, std::string_view w) { return u.word < w; });
  return at != kUnits.end() && at->word == word ? &*at : nullptr;
}

const Unit* find_with_plural(std::string_view word) {
  if (const Unit* unit = find(word)) return unit;
  if (word.size() > 2 && word.back() == 's') return find(word.substr(0, word.size() - 1));
  return nullptr;
}

}  // namespace

bool is_unit_word(std::string_view word) { return find_with_plural(word) != nullptr; }

std::string canonical_unit(std::string_view text) {
  // Word by word; "square cm" and "cm squared" are left as they are written, "cm^2" too.
  std::string result, word;
  const auto flush = [&] {
    if (word.empty()) return;
    if (const Unit* unit = find_with_plural(word)) {
      result += unit->canonical;
    } else if (word.size() > 3 && word.back() == 's') {
      result += word.substr(0, word.size() - 1);
    } else {
      result += word;
    }
    word.clear();
  };
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c >= 'a' && c <= 'z') {
      word.push_back(c);
    } else {
      flush();
      if (c != ' ' && c != '.') result.push_back(c);
    }
  }
  flush();
  return result;
}

}  // namespace throughline::answer
