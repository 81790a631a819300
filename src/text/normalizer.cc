#include "text/normalizer.h"

#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/replace.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace throughline {

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  virtual void apply(NormalizedText& text, size_t limit_bytes) const = 0;
};

namespace {

constexpr size_t kMaxSteps = 64;
constexpr size_t kMaxPrependBytes = 256;

class UnicodeForm : public NormalizerStep {
 public:
  explicit UnicodeForm(NormalForm form) : form_(form) {}
  void apply(NormalizedText& text, size_t) const override { text.text = normalize_unicode(text.text, form_); }

 private:
  NormalForm form_;
};

class Lowercase : public NormalizerStep {
 public:
  void apply(NormalizedText& text, size_t) const override { text.text = to_lower(text.text); }
};

class StripAccents : public NormalizerStep {
 public:
  void apply(NormalizedText& text, size_t) const override {
    std::string out;
    out.reserve(text.text.size());
    for (size_t at = 0; at < text.text.size();) {
      const Utf8Step step = next_code_point(text.text, at);
      if (!is_mark(step.code)) {
        out.append(text.text, at, step.size);
      } else if (at == 0) {
        text.at_start = false;
      }
      at += step.size;
    }
    text.text = std::move(out);
  }
};

class StripSpace : public NormalizerStep {
 public:
  StripSpace(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalizedText& text, size_t) const override {
    size_t first = text.text.size(), last = 0;  // of the part that is not white space
    for (size_t at = 0; at < text.text.size();) {
      const Utf8Step step = next_code_point(text.text, at);
      if (!is_white_space(step.code)) {
        first = std::min(first, at);
        last = at + step.size;
      }
      at += step.size;
    }
    if (right_) text.text.resize(left_ ? std::max(first, last) : last);
    if (left_ && first > 0) {
      text.text.erase(0, first);
      text.at_start = false;
    }
  }

 private:
  bool left_, right_;
};

class Replace : public NormalizerStep {
 public:
  explicit Replace(ReplaceRule rule) : rule_(std::move(rule)) {}
  void apply(NormalizedText& text, size_t limit_bytes) const override {
    if (text.at_start && rule_.removes_start(text.text)) text.at_start = false;
    text.text = rule_.apply(text.text, limit_bytes);
  }

 private:
  ReplaceRule rule_;
};

class Prepend : public NormalizerStep {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalizedText& text, size_t) const override {
    if (!text.text.empty()) text.text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class ByteLevelSpelling : public NormalizerStep {
 public:
  void apply(NormalizedText& text, size_t limit_bytes) const override {
    if (2 * text.text.size() <= limit_bytes) text.text = bytes_to_characters(text.text);
  }
};

using Steps = std::vector<std::unique_ptr<const NormalizerStep>>;

Status add_steps(const Json& json, const std::string& where, Steps& out) {
  JsonFields fields(json, where);
  const std::string type = fields.required_text("type");
  TL_TRY_STATUS(fields.status());
  if (out.size() >= kMaxSteps) return Error{"more than " + std::to_string(kMaxSteps) + " normalisers", where, ""};
  if (type == "Sequence") {
    const Json* list = fields.list("normalizers");
    TL_TRY_STATUS(fields.status());
    if (list == nullptr) return Error{"is missing", fields.at("normalizers"), ""};
    for (size_t i = 0; i < list->size(); ++i) {
      TL_TRY_STATUS(add_steps((*list)[i], where + ".normalizers[" + std::to_string(i) + "]", out));
    }
  } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    const bool compatible = type[2] == 'K', compose = type.back() == 'C';
    out.push_back(std::make_unique<UnicodeForm>(compatible ? (compose ? NormalForm::kKC : NormalForm::kKD)
                                                           : (compose ? NormalForm::kC : NormalForm::kD)));
  } else if (type == "Lowercase") {
    out.push_back(std::make_unique<Lowercase>());
  } else if (type == "StripAccents") {
    out.push_back(std::make_unique<StripAccents>());
  } else if (type == "Strip") {
    const bool left = fields.boolean("strip_left", true), right = fields.boolean("strip_right", true);
    TL_TRY_STATUS(fields.status());
    out.push_back(std::make_unique<StripSpace>(left, right));
  } else if (type == "Replace") {
    TL_TRY(ReplaceRule rule, ReplaceRule::from_json(json, where));
    out.push_back(std::make_unique<Replace>(std::move(rule)));
  } else if (type == "Prepend") {
    std::string prefix = fields.required_text("prepend");
    if (prefix.size() > kMaxPrependBytes)
      fields.fail("prepend", "is longer than " + std::to_string(kMaxPrependBytes) + " bytes");
    TL_TRY_STATUS(fields.status());
    out.push_back(std::make_unique<Prepend>(std::move(prefix)));
  } else if (type == "ByteLevel") {
    out.push_back(std::make_unique<ByteLevelSpelling>());
  } else {
    return unsupported_part(
        "normaliser", type,
        "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, ByteLevel", where);
  }
  return {};
}

}  // namespace

Normalizer::Normalizer() = default;
Normalizer::Normalizer(Normalizer&&) noexcept = default;
Normalizer& Normalizer::operator=(Normalizer&&) noexcept = default;
Normalizer::~Normalizer() = default;

Result<Normalizer> Normalizer::from_json(const Json& json, const std::string& where) {
  Normalizer out;
  if (json.is_null()) return out;
  TL_TRY_STATUS(add_steps(json, where, out.steps_));
  return out;
}

Normalizer Normalizer::nfc() {
  Normalizer out;
  out.steps_.push_back(std::make_unique<UnicodeForm>(NormalForm::kC));
  return out;
}

void Normalizer::apply(NormalizedText& text) const {
  const size_t limit_bytes = growth_limit(text.text.size());
  for (const auto& step : steps_) step->apply(text, limit_bytes);
}

}  // namespace throughline
