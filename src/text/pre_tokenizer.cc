#include "text/pre_tokenizer.h"

#include <functional>
#include <optional>

#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/replace.h"
#include "text/split_behavior.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace throughline {

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual void apply(Words& words) const = 0;
};

namespace {

constexpr size_t kMaxSteps = 64;

// GPT-2's (encoder.py); what ByteLevel means by use_regex.
constexpr char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Replaces each span by the ranges (relative to it) that `cut` finds in its text.
void split_each(Words& words, const std::function<std::vector<TextRange>(std::string_view)>& cut) {
  std::vector<Words::Span> out;
  out.reserve(words.spans.size());
  for (const Words::Span& span : words.spans) {
    const std::string_view text = std::string_view(words.text).substr(span.begin, span.end - span.begin);
    for (const TextRange& range : cut(text)) {
      if (range.begin < range.end) {
        out.push_back({span.begin + range.begin, span.begin + range.end, span.at_start && range.begin == 0});
      }
    }
  }
  words.spans = std::move(out);
}

// Rewrites each span's text: `rewrite` appends the new text of one span.
void rewrite_each(Words& words, const std::function<void(std::string_view, bool, std::string&)>& rewrite) {
  std::string text;
  text.reserve(words.text.size() * 2);
  for (Words::Span& span : words.spans) {
    const size_t begin = text.size();
    rewrite(std::string_view(words.text).substr(span.begin, span.end - span.begin), span.at_start, text);
    span.begin = begin;
    span.end = text.size();
  }
  words.text = std::move(text);
}

class SplitStep : public PreTokenizerStep {
 public:
  SplitStep(TextPattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(Words& words) const override {
    split_each(words, [&](std::string_view text) {
      auto parts = parts_between(pattern_.find_all(text), text.size());
      if (invert_) {
        for (SplitPart& part : parts) part.is_match = !part.is_match;
      }
      return split_parts(parts, behavior_);
    });
  }

 private:
  TextPattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Splits at single characters of a class.
class SplitAtCharacters : public PreTokenizerStep {
 public:
  SplitAtCharacters(std::function<bool(char32_t)> wanted, SplitBehavior behavior)
      : wanted_(std::move(wanted)), behavior_(behavior) {}
  void apply(Words& words) const override {
    split_each(words, [&](std::string_view text) {
      std::vector<TextRange> matches;
      for (size_t at = 0; at < text.size();) {
        const Utf8Step step = next_code_point(text, at);
        if (wanted_(step.code)) matches.push_back({at, at + step.size});
        at += step.size;
      }
      return split_parts(parts_between(matches, text.size()), behavior_);
    });
  }

 private:
  std::function<bool(char32_t)> wanted_;
  SplitBehavior behavior_;
};

// The pattern \w+|[^\w\s]+, all else removed.
class WhitespaceStep : public PreTokenizerStep {
 public:
  void apply(Words& words) const override {
    split_each(words, [](std::string_view text) {
      std::vector<TextRange> out;
      int previous = 0;
      for (size_t at = 0; at < text.size();) {
        const Utf8Step step = next_code_point(text, at);
        const int kind = is_word_character(step.code) ? 1 : is_white_space(step.code) ? 0 : 2;
        const size_t end = at + step.size;
        if (kind != 0 && kind == previous) {
          out.back().end = end;
        } else if (kind != 0) {
          out.push_back({at, end});
        }
        previous = kind;
        at = end;
      }
      return out;
    });
  }
};

class ByteLevelStep : public PreTokenizerStep {
 public:
  ByteLevelStep(bool add_prefix_space, std::optional<Regex> regex)
      : add_prefix_space_(add_prefix_space), regex_(std::move(regex)) {}
  void apply(Words& words) const override {
    if (add_prefix_space_) {
      rewrite_each(words, [](std::string_view text, bool, std::string& out) {
        if (text.front() != ' ') out += ' ';
        out += text;
      });
    }
    if (regex_) {
      split_each(words, [&](std::string_view text) {
        return split_parts(parts_between(regex_->find_all(text), text.size()), SplitBehavior::kIsolated);
      });
    }
    rewrite_each(words, [](std::string_view text, bool, std::string& out) {
      for (const char c : text) append_utf8(out, byte_to_character(static_cast<unsigned char>(c)));
    });
  }

 private:
  bool add_prefix_space_;
  std::optional<Regex> regex_;
};

class MetaspaceStep : public PreTokenizerStep {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  MetaspaceStep(char32_t replacement, Prepend prepend, bool split)
      : replacement_(replacement), prepend_(prepend), split_(split) {
    append_utf8(spelling_, replacement);
  }
  void apply(Words& words) const override {
    rewrite_each(words, [&](std::string_view text, bool at_start, std::string& out) {
      const bool wanted = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && at_start);
      if (wanted && text.front() != ' ' && !text.starts_with(spelling_)) out += spelling_;
      for (const char c : text) {
        if (c == ' ') {
          out += spelling_;
        } else {
          out += c;
        }
      }
    });
    if (!split_) return;
    SplitAtCharacters([this](char32_t c) { return c == replacement_; }, SplitBehavior::kMergedWithNext).apply(words);
  }

 private:
  char32_t replacement_;
  Prepend prepend_;
  bool split_;
  std::string spelling_;
};

using Step = std::unique_ptr<const PreTokenizerStep>;

SplitBehavior read_behavior(JsonFields& fields, const std::string& otherwise) {
  const std::string name = fields.text("behavior", otherwise);
  const auto behavior = parse_split_behavior(name);
  if (!behavior) {
    fields.fail("behavior", "unknown behaviour \"" + name + "\"",
                "use one of: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
  }
  return behavior.value_or(SplitBehavior::kIsolated);
}

Result<Step> make_split(const Json& json, JsonFields& fields) {
  if (!fields.has("pattern")) fields.fail("pattern", "is missing");
  const SplitBehavior behavior = read_behavior(fields, "");
  const bool invert = fields.boolean("invert", false);
  TL_TRY_STATUS(fields.status());
  TL_TRY(TextPattern pattern, TextPattern::from_json(json.at("pattern"), fields.at("pattern")));
  return Step(std::make_unique<SplitStep>(std::move(pattern), behavior, invert));
}

Result<Step> make_byte_level(JsonFields& fields) {
  const bool add_prefix_space = fields.boolean("add_prefix_space", true);
  const bool use_regex = fields.boolean("use_regex", true);
  TL_TRY_STATUS(fields.status());
  std::optional<Regex> regex;
  if (use_regex) {
    TL_TRY(regex, Regex::compile(kGpt2Pattern, fields.where()));
  }
  return Step(std::make_unique<ByteLevelStep>(add_prefix_space, std::move(regex)));
}

Result<Step> make_metaspace(JsonFields& fields) {
  using Prepend = MetaspaceStep::Prepend;
  const char32_t replacement = fields.character("replacement", 0x2581);
  const bool old_spelling = !fields.has("prepend_scheme");
  const bool add_prefix_space = fields.boolean("add_prefix_space", true);
  const std::string scheme = fields.text("prepend_scheme", add_prefix_space ? "always" : "never");
  const bool split = fields.boolean("split", true);
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    fields.fail("prepend_scheme", "unknown scheme \"" + scheme + "\"", "use one of: always, first, never");
  } else if (!old_spelling && !add_prefix_space && scheme != "never") {
    fields.fail("add_prefix_space", "false contradicts prepend_scheme \"" + scheme + "\"", "drop one of the two");
  }
  TL_TRY_STATUS(fields.status());
  const Prepend prepend = scheme == "always" ? Prepend::kAlways : scheme == "first" ? Prepend::kFirst : Prepend::kNever;
  return Step(std::make_unique<MetaspaceStep>(replacement, prepend, split));
}

Result<Step> make_step(const std::string& type, const Json& json, JsonFields& fields) {
  if (type == "Split") return make_split(json, fields);
  if (type == "ByteLevel") return make_byte_level(fields);
  if (type == "Metaspace") return make_metaspace(fields);
  Step step;
  if (type == "Whitespace") {
    step = std::make_unique<WhitespaceStep>();
  } else if (type == "WhitespaceSplit") {
    step = std::make_unique<SplitAtCharacters>(is_white_space, SplitBehavior::kRemoved);
  } else if (type == "Digits") {
    const bool individual = fields.boolean("individual_digits", false);
    step = std::make_unique<SplitAtCharacters>(is_numeric,
                                               individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  } else if (type == "Punctuation") {
    step = std::make_unique<SplitAtCharacters>(is_punctuation, read_behavior(fields, "Isolated"));
  } else if (type == "CharDelimiterSplit") {
    if (!fields.has("delimiter")) fields.fail("delimiter", "is missing");
    const char32_t delimiter = fields.character("delimiter", ' ');
    step = std::make_unique<SplitAtCharacters>([delimiter](char32_t c) { return c == delimiter; },
                                               SplitBehavior::kRemoved);
  } else {
    return unsupported_part(
        "pre-tokeniser", type,
        "Sequence, ByteLevel, Split, Metaspace, Whitespace, WhitespaceSplit, Digits, Punctuation, CharDelimiterSplit",
        fields.where());
  }
  TL_TRY_STATUS(fields.status());
  return step;
}

// Each ByteLevel doubles what it is given (and each Metaspace may triple it), so a chain of them is refused.
struct Chain {
  std::vector<Step> steps;
  int byte_levels = 0;
};

Status add_steps(const Json& json, const std::string& where, Chain& out) {
  JsonFields fields(json, where);
  const std::string type = fields.required_text("type");
  TL_TRY_STATUS(fields.status());
  if (type == "Sequence") {
    const Json* list = fields.list("pretokenizers");
    TL_TRY_STATUS(fields.status());
    if (list == nullptr) return Error{"is missing", fields.at("pretokenizers"), ""};
    for (size_t i = 0; i < list->size(); ++i) {
      TL_TRY_STATUS(add_steps((*list)[i], where + ".pretokenizers[" + std::to_string(i) + "]", out));
    }
    return {};
  }
  if (out.steps.size() >= kMaxSteps)
    return Error{"more than " + std::to_string(kMaxSteps) + " pre-tokenisers", where, ""};
  if ((type == "ByteLevel" || type == "Metaspace") && ++out.byte_levels > 2) {
    return Error{"more than two ByteLevel or Metaspace pre-tokenisers in one chain", where, ""};
  }
  TL_TRY(Step step, make_step(type, json, fields));
  out.steps.push_back(std::move(step));
  return {};
}

}  // namespace

PreTokenizer::PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

Result<PreTokenizer> PreTokenizer::from_json(const Json& json, const std::string& where) {
  PreTokenizer out;
  if (json.is_null()) return out;
  Chain chain;
  TL_TRY_STATUS(add_steps(json, where, chain));
  out.steps_ = std::move(chain.steps);
  return out;
}

void PreTokenizer::apply(Words& words) const {
  for (const auto& step : steps_) step->apply(words);
}

}  // namespace throughline
