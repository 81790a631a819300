// Keys, out of the bytes a terminal sends. Pure.
#pragma once

#include <string>
#include <vector>

namespace throughline {

enum class Key { kText, kUp, kDown, kLeft, kRight, kPageUp, kPageDown, kHome, kEnd, kEnter, kEscape, kBackspace };

struct KeyPress {
  Key key = Key::kText;
  std::string text;  // kText: one character
  bool operator==(const KeyPress& other) const { return key == other.key && text == other.text; }
};

// Takes whole keys off the front of `bytes`. What may be the start of a longer sequence stays there, unless nothing
// more is coming (`final`: then a lone ESC is the Escape key). Sequences that mean nothing here are dropped.
std::vector<KeyPress> take_keys(std::string& bytes, bool final);

}  // namespace throughline
