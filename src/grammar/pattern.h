// A JSON schema's "pattern" (ECMA-262, as far as it is regular) as a part of a ByteGrammar: what a JSON string's inside
// may be. Unanchored, as the specification has it: the pattern may match anywhere.
//
// Known: literals, ., classes with ranges and negation, \d \w \s \D \W \S, \t \n \r \f \v \0 \xHH \uHHHH \u{H...},
// groups (plain, (?:...), named), |, * + ? {m} {m,} {m,n} and their lazy forms, ^ and $ at the ends of the pattern or
// of an alternative at the top. Refused by name: look-around, back references, \b, \p, anchors elsewhere.
// Characters stand as JSON writes them; only those that have to be escaped are.
#pragma once

#include <string_view>

#include "grammar/json_grammar.h"

namespace throughline {

// Adds ways from `from` to `to`. The error's place is left empty.
Status add_pattern(GrammarBuilder& builder, int32_t from, int32_t to, std::string_view pattern);

}  // namespace throughline
