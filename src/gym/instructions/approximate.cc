#include "gym/instructions/approximate.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "gym/instructions/unicode.h"

namespace throughline {
namespace {

using Text = std::u32string_view;

std::vector<Text> split_spaces(Text text) {
  std::vector<Text> out;
  for (size_t at = 0; at < text.size();) {
    while (at < text.size() && is_py_space(text[at])) ++at;
    const size_t begin = at;
    while (at < text.size() && !is_py_space(text[at])) ++at;
    if (at > begin) out.push_back(text.substr(begin, at - begin));
  }
  return out;
}

bool is_one_of(char32_t c, Text set) { return set.find(c) != Text::npos; }

// Words whose last period does not end a sentence (of the kind NLTK's English model learned).
bool is_abbreviation(Text word) {
  static constexpr std::array<Text, 40> kKnown = {
      U"mr",  U"mrs", U"ms",  U"dr",  U"prof", U"st",  U"jr",  U"sr",   U"vs",  U"etc", U"inc", U"ltd", U"co",  U"corp",
      U"gen", U"col", U"lt",  U"sgt", U"capt", U"gov", U"sen", U"rep",  U"rev", U"hon", U"e.g", U"i.e", U"u.s", U"u.k",
      U"no",  U"fig", U"jan", U"feb", U"mar",  U"apr", U"aug", U"sept", U"oct", U"nov", U"dec", U"a.m"};
  const std::u32string lowered = py_lower(word);
  if (lowered == U"p.m" || lowered == U"ph.d") return true;
  return std::find(kKnown.begin(), kKnown.end(), Text(lowered)) != kKnown.end();
}

// Does a sentence end with this token, given the next one?
bool ends_sentence(Text token, Text next) {
  size_t end = token.size();
  while (end > 0 && is_one_of(token[end - 1], U"\"')]}*_\u201D\u2019\u00BB")) --end;
  if (end == 0 || !is_one_of(token[end - 1], U".?!\u3002\uFF01\uFF1F\u0964")) return false;
  if (token[end - 1] != '.') return true;
  size_t begin = 0;
  while (begin < end && !is_py_word(token[begin])) ++begin;
  const Text word = token.substr(begin, end - 1 - std::min(begin, end - 1));
  char32_t first = 0;
  for (char32_t c : next) {
    if (is_py_word(c)) {
      first = c;
      break;
    }
  }
  if (word.size() == 1 && is_py_upper(word[0])) return false;  // an initial
  if (is_abbreviation(word)) return false;
  if (word.size() >= 2 && word.substr(word.size() - 1) == U".") return !is_py_lower(first);  // an ellipsis
  const bool ordinal = !word.empty() && std::all_of(word.begin(), word.end(), is_py_digit);
  return ordinal ? !is_py_lower(first) : !is_py_lower(first) || next.empty();
}

struct Language {
  const char* code;
  const char32_t* words;  // frequent function words, between spaces
};

// Told apart by function words; scripts with one known language need none.
constexpr Language kLatin[] = {
    {"en",
     U" the of and to in is that it you for was with as are on be this have from or by not but what all were we when "
     U"your can "
     "there an which their if will i my he she they at do so "},
    {"de",
     U" der die und das ist nicht ein eine zu den mit sich auf f\u00FCr im dem von wir ich sie er es auch an als wie "
     U"bei aus nach "
     "wird sind oder aber war haben "},
    {"fr",
     U" le la les et des est un une du en que qui dans pour pas sur au avec ce il elle nous vous ne sont par plus mais "
     U"ou se son "},
    {"es",
     U" el la los las de que y en un una es por con no para se del al lo como m\u00E1s pero sus le ha me si sobre "
     U"este "},
    {"pt",
     U" o a os as de que e em um uma \u00E9 por com n\u00E3o para se do da dos das no na mais mas como ao seu sua "
     U"voc\u00EA s\u00E3o "},
    {"it",
     U" il lo la i gli le di che e in un una \u00E8 per con non si del della dei al come pi\u00F9 ma sono nel alla "
     U"questo anche "},
    {"nl", U" de het een en van ik te dat die in je niet is op aan met voor zijn er maar om hem dan zou of wat mijn "},
    {"sv",
     U" och att det som en p\u00E5 \u00E4r av f\u00F6r med den till inte om har de ett var jag men han hon vi kan "},
    {"da", U" og at det som en p\u00E5 er af for med den til ikke om har de et var jeg men han hun vi kan "},
    {"fi",
     U" ja on ei se ett\u00E4 oli h\u00E4n min\u00E4 sin\u00E4 mutta ovat kun niin my\u00F6s joka olen t\u00E4m\u00E4 "
     U"voi kuin sen ole mit\u00E4 "},
    {"pl", U" i w na nie si\u0119 z do to \u017Ce jest o jak po co tak za od ale dla przez by\u0107 ma s\u0105 "},
    {"tr", U" ve bir bu da de i\u00E7in ile \u00E7ok ne gibi daha ama var olarak olan kadar sonra ben sen "},
    {"vi",
     U" v\u00E0 c\u1EE7a l\u00E0 c\u00F3 cho \u0111\u01B0\u1EE3c c\u00E1c trong kh\u00F4ng m\u1ED9t nh\u1EEFng "
     U"v\u1EDBi n\u00E0y \u0111\u1EC3 "
     "ng\u01B0\u1EDDi \u0111\u00E3 khi t\u00F4i b\u1EA1n "},
    {"sw", U" na ya wa kwa ni la katika za kuwa hii cha kama yake watu hiyo au lakini ili hivyo sana kila pia huu "},
    {"id", U" yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada mereka bisa "},
};
constexpr Language kCyrillic[] = {
    {"ru",
     U" \u0438 \u0432 \u043D\u0435 \u043D\u0430 \u044F \u0447\u0442\u043E \u0441 \u044D\u0442\u043E \u043A\u0430\u043A "
     U"\u043F\u043E \u043A \u0434\u043B\u044F "
     "\u0438\u0437 \u043D\u043E \u0431\u044B \u043E\u043D \u0438\u043B\u0438 \u0431\u044B\u043B "},
    {"bg",
     U" \u0438 \u0432 \u043D\u0435 \u043D\u0430 \u0434\u0430 \u0441\u0435 \u0437\u0430 \u0435 \u043E\u0442 "
     U"\u0441\u044A\u0441 \u043A\u0430\u0442\u043E \u0433\u0438 "
     "\u0441\u0430 \u0449\u0435 \u043F\u043E-\u0434\u043E\u0431\u0440\u0435 \u043A\u043E\u0438\u0442\u043E "
     "\u0442\u043E\u0432\u0430 \u0441\u044A\u043C "},
    {"uk",
     U" \u0456 \u0432 \u043D\u0435 \u043D\u0430 \u0449\u043E \u0437 \u0446\u0435 \u044F\u043A \u0434\u043E "
     U"\u0434\u043B\u044F \u0442\u0430 \u0430\u0431\u043E \u0432\u0456\u043D "},
};
constexpr Language kDevanagari[] = {
    {"hi",
     U" \u0939\u0948 \u0915\u0947 \u0915\u0940 \u0915\u093E \u092E\u0947\u0902 \u0914\u0930 \u0938\u0947 \u0915\u094B "
     U"\u0939\u0948\u0902 \u092F\u0939 \u0928\u0939\u0940\u0902 "
     "\u092A\u0930 \u0907\u0938 \u092D\u0940 "},
    {"mr",
     U" \u0906\u0939\u0947 \u0906\u0923\u093F \u0906\u0939\u0947\u0924 \u092F\u093E \u0928\u093E\u0939\u0940 "
     U"\u0939\u0947 \u0924\u0947 \u0939\u093E \u0924\u0930 \u092E\u0932\u093E "
     "\u0924\u0941\u092E\u094D\u0939\u0940 \u0915\u0930\u0942\u0928 "},
    {"ne",
     U" \u091B \u0930 \u0939\u094B \u0915\u094B \u092E\u093E \u0932\u093E\u0908 \u091B\u0928\u094D \u092F\u094B "
     U"\u0925\u093F\u092F\u094B \u0939\u0930\u0942 \u092A\u0928\u093F "
     "\u0917\u0930\u094D\u0928 "},
};
constexpr Language kArabic[] = {
    {"ar",
     U" \u0641\u064A \u0645\u0646 \u0639\u0644\u0649 \u0623\u0646 \u0625\u0644\u0649 \u0647\u0630\u0627 \u0645\u0639 "
     U"\u0647\u0630\u0647 \u0639\u0646 \u0643\u0627\u0646 "
     "\u0627\u0644\u062A\u064A \u0623\u0648 \u0644\u0627 "},
    {"fa",
     U" \u0627\u0632 \u0628\u0647 \u062F\u0631 \u06A9\u0647 \u0627\u06CC\u0646 \u0648 \u0628\u0627 \u0627\u0633\u062A "
     U"\u0631\u0627 \u0628\u0631\u0627\u06CC \u0622\u0646 "
     "\u0645\u06CC \u0634\u0645\u0627 "},
    {"ur",
     U" \u06C1\u06D2 \u06A9\u06D2 \u0645\u06CC\u06BA \u06A9\u06CC \u0633\u06D2 \u0627\u0648\u0631 \u06A9\u0627 "
     U"\u06A9\u0648 \u06C1\u06CC\u06BA \u0646\u06C1\u06CC\u06BA "
     "\u067E\u0631 \u06CC\u06C1 "},
};

template <size_t kCount>
std::string most_words(const Language (&languages)[kCount], Text text) {
  std::map<std::u32string, int64_t> seen;
  std::u32string word;
  const std::u32string lowered = py_lower(text);
  for (size_t i = 0; i <= lowered.size(); ++i) {
    // Combining marks belong to the word here: Devanagari vowels are marks.
    const bool inside = i < lowered.size() && !is_py_space(lowered[i]) &&
                        !is_one_of(lowered[i], U".,;:!?\"()[]*-\u0964\u060C\u061F\u06D4");
    if (inside) {
      word += lowered[i];
    } else if (!word.empty()) {
      ++seen[word];
      word.clear();
    }
  }
  std::string best = "?";
  int64_t most = 0;
  for (const Language& language : languages) {
    const Text known = language.words;
    int64_t count = 0;
    for (const auto& [one, times] : seen) {
      if (known.find(U" " + one + U" ") != Text::npos) count += times;
    }
    if (count > most) {
      most = count;
      best = language.code;
    }
  }
  return best;
}

struct Script {
  char32_t first, last;
  const char* language;  // or a group: "latin", "cyrillic", "devanagari", "arabic"
};
constexpr Script kScripts[] = {
    {0x41, 0x24F, "latin"}, {0x1E00, 0x1EFF, "latin"}, {0x370, 0x3FF, "el"},       {0x400, 0x52F, "cyrillic"},
    {0x590, 0x5FF, "he"},   {0x600, 0x77F, "arabic"},  {0xFB50, 0xFEFF, "arabic"}, {0x900, 0x97F, "devanagari"},
    {0x980, 0x9FF, "bn"},   {0xA00, 0xA7F, "pa"},      {0xA80, 0xAFF, "gu"},       {0xB80, 0xBFF, "ta"},
    {0xC00, 0xC7F, "te"},   {0xC80, 0xCFF, "kn"},      {0xD00, 0xD7F, "ml"},       {0xE00, 0xE7F, "th"},
    {0x3040, 0x30FF, "ja"}, {0x4E00, 0x9FFF, "zh-cn"}, {0xAC00, 0xD7AF, "ko"},
};

}  // namespace

int64_t count_sentences(Text text) {
  const std::vector<Text> tokens = split_spaces(text);
  int64_t count = 0;
  bool open = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    open = true;
    if (!ends_sentence(tokens[i], i + 1 < tokens.size() ? tokens[i + 1] : Text())) continue;
    ++count;
    open = false;
  }
  return count + (open ? 1 : 0);
}

int64_t count_capital_words(Text text) {
  int64_t count = 0;
  for (Text token : split_spaces(text)) {
    // Punctuation splits tokens, but not inside words: "U.S.A", "O'CLOCK" and "ALL-IN" are one, "NO/YES" too.
    size_t begin = 0;
    for (size_t i = 0; i <= token.size(); ++i) {
      if (i < token.size() && !is_one_of(token[i], U",:;()[]{}<>\"?!@#$%&*\u201C\u201D\u2026")) continue;
      count += is_all_upper(token.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  return count;
}

std::string detect_language(Text text) {
  std::map<std::string_view, int64_t> letters;
  int64_t total = 0;
  for (char32_t c : text) {
    if (!is_py_letter(c)) continue;
    ++total;
    for (const Script& script : kScripts) {
      if (c >= script.first && c <= script.last) ++letters[script.language];
    }
  }
  if (total == 0) return "";
  if (letters["ja"] > 0) letters["ja"] += std::exchange(letters["zh-cn"], 0);  // kanji among kana
  const auto most = std::max_element(letters.begin(), letters.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most->second == 0) return "?";
  if (most->first == "latin") return most_words(kLatin, text);
  if (most->first == "cyrillic") return most_words(kCyrillic, text);
  if (most->first == "devanagari") return most_words(kDevanagari, text);
  if (most->first == "arabic") return most_words(kArabic, text);
  return std::string(most->first);
}

bool is_all_upper(Text text) {
  bool any = false;
  for (char32_t c : text) {
    if (is_py_lower(c)) return false;
    any = any || is_py_upper(c);
  }
  return any;
}

bool is_all_lower(Text text) {
  bool any = false;
  for (char32_t c : text) {
    if (is_py_upper(c)) return false;
    any = any || is_py_lower(c);
  }
  return any;
}

}  // namespace throughline
