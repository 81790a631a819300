#include "text/decoder.h"

#include <functional>

#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/replace.h"
#include "text/utf8.h"

namespace throughline {

// Tokens flow through the stages as fragments; `ends` marks the last fragment of a token. Fuse makes one endless token.
class DecodeStage {
 public:
  // The stages behind this one; behind the last one is the output.
  class Next {
   public:
    Next(const std::vector<std::unique_ptr<DecodeStage>>& stages, size_t at, std::string& out)
        : stages_(stages), at_(at), out_(out) {}
    void operator()(std::string_view fragment, bool ends) const {
      if (at_ == stages_.size()) {
        out_ += fragment;
      } else {
        stages_[at_]->put(fragment, ends, Next(stages_, at_ + 1, out_));
      }
    }

   private:
    const std::vector<std::unique_ptr<DecodeStage>>& stages_;
    size_t at_;
    std::string& out_;
  };

  virtual ~DecodeStage() = default;
  virtual void put(std::string_view fragment, bool ends, const Next& next) = 0;
  virtual void finish(const Next&) {}
};

class DecodeStageMaker {
 public:
  virtual ~DecodeStageMaker() = default;
  virtual std::unique_ptr<DecodeStage> make() const = 0;
};

namespace {

constexpr size_t kMaxStages = 32;

// For stages that need a token as a whole.
class WholeTokenStage : public DecodeStage {
 public:
  void put(std::string_view fragment, bool ends, const Next& next) final {
    if (ends && held_.empty()) {
      token(fragment, next);
      return;
    }
    held_.append(fragment);
    if (!ends) return;
    const std::string whole = std::move(held_);
    held_.clear();
    token(whole, next);
  }

 protected:
  virtual void token(std::string_view token, const Next& next) = 0;

 private:
  std::string held_;
};

class ReplaceStage : public WholeTokenStage {
 public:
  explicit ReplaceStage(const ReplaceRule& rule) : rule_(rule) {}
  void token(std::string_view token, const Next& next) override {
    next(rule_.apply(token, growth_limit(token.size())), true);
  }

 private:
  const ReplaceRule& rule_;
};

class MetaspaceStage : public WholeTokenStage {
 public:
  MetaspaceStage(std::string_view replacement, bool drop_first) : replacement_(replacement), drop_first_(drop_first) {}
  void token(std::string_view token, const Next& next) override {
    std::string out;
    for (size_t at = 0; at < token.size();) {
      if (token.substr(at).starts_with(replacement_)) {
        if (!(first_ && drop_first_)) out += ' ';
        at += replacement_.size();
      } else {
        out += token[at++];
      }
    }
    first_ = false;
    next(out, true);
  }

 private:
  std::string_view replacement_;
  bool drop_first_;
  bool first_ = true;
};

class FuseStage : public DecodeStage {
 public:
  void put(std::string_view fragment, bool, const Next& next) override { next(fragment, false); }
  void finish(const Next& next) override { next("", true); }
};

class ByteLevelStage : public WholeTokenStage {
 public:
  void token(std::string_view token, const Next& next) override {
    if (const auto bytes = characters_to_bytes(token)) {
      bytes_ += *bytes;
    } else {
      bytes_ += token;
    }
    pass_on(next, false);
  }
  void finish(const Next& next) override {
    pass_on(next, true);
    next("", true);
  }

 private:
  void pass_on(const Next& next, bool all) {
    std::string out;
    size_t at = 0;
    while (at < bytes_.size()) {
      const Utf8Step step = next_code_point(bytes_, at);
      if (step.cut && !all) break;
      if (step.valid) {
        out.append(bytes_, at, step.size);
      } else {
        append_utf8(out, kReplacementCharacter);
      }
      at += step.size;
    }
    bytes_.erase(0, at);
    if (!out.empty()) next(out, false);
  }

  std::string bytes_;  // at most the beginning of one code point between calls
};

class ByteFallbackStage : public WholeTokenStage {
 public:
  void token(std::string_view token, const Next& next) override {
    if (const int byte = byte_of(token); byte >= 0) {
      bytes_ += static_cast<char>(byte);
      return;
    }
    end_run(next);
    next(token, true);
  }
  void finish(const Next& next) override { end_run(next); }

 private:
  static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  }
  static int byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
    const int high = token[3] == '+' ? 0 : hex_digit(token[3]);  // Rust's from_str_radix takes a sign, too
    const int low = hex_digit(token[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
  }
  void end_run(const Next& next) {
    if (bytes_.empty()) return;
    if (is_valid_utf8(bytes_)) {
      next(bytes_, true);
    } else {
      for (size_t i = 0; i < bytes_.size(); ++i) next("\xEF\xBF\xBD", true);
    }
    bytes_.clear();
  }

  std::string bytes_;
};

// Takes up to `start` times `content` from the beginning of each token and up to `stop` times from its end.
class StripStage : public DecodeStage {
 public:
  StripStage(std::string_view content, int64_t start, int64_t stop) : content_(content), start_(start), stop_(stop) {}
  void put(std::string_view fragment, bool ends, const Next& next) override {
    while (cutting_ && cut_ < start_ && fragment.starts_with(content_)) {
      fragment.remove_prefix(content_.size());
      ++cut_;
    }
    if (!fragment.empty()) cutting_ = false;
    std::string out;
    hold_end(fragment, out);
    if (ends) {
      held_ = cut_ = 0;
      cutting_ = true;
    }
    next(out, ends);
  }

 private:
  // What is held back is held_ times content_; at most stop_ of them, since no more can be cut.
  void hold_end(std::string_view fragment, std::string& out) {
    int64_t at_end = 0;
    std::string_view rest = fragment;
    while (stop_ > 0 && at_end < stop_ && !rest.empty() && rest.ends_with(content_)) {
      rest.remove_suffix(content_.size());
      ++at_end;
    }
    const int64_t held = rest.empty() ? std::min(stop_, held_ + at_end) : at_end;
    for (int64_t i = rest.empty() ? held_ + at_end - held : held_; i > 0; --i) out += content_;
    out += rest;
    held_ = held;
  }

  std::string_view content_;
  int64_t start_, stop_;
  int64_t cut_ = 0, held_ = 0;
  bool cutting_ = true;
};

class SimpleMaker : public DecodeStageMaker {
 public:
  explicit SimpleMaker(std::function<std::unique_ptr<DecodeStage>()> make) : make_(std::move(make)) {}
  std::unique_ptr<DecodeStage> make() const override { return make_(); }

 private:
  std::function<std::unique_ptr<DecodeStage>()> make_;
};

class ReplaceMaker : public DecodeStageMaker {
 public:
  explicit ReplaceMaker(ReplaceRule rule) : rule_(std::move(rule)) {}
  std::unique_ptr<DecodeStage> make() const override { return std::make_unique<ReplaceStage>(rule_); }

 private:
  ReplaceRule rule_;
};

class MetaspaceMaker : public DecodeStageMaker {
 public:
  MetaspaceMaker(char32_t replacement, bool drop_first) : drop_first_(drop_first) {
    append_utf8(replacement_, replacement);
  }
  std::unique_ptr<DecodeStage> make() const override {
    return std::make_unique<MetaspaceStage>(replacement_, drop_first_);
  }

 private:
  std::string replacement_;
  bool drop_first_;
};

class StripMaker : public DecodeStageMaker {
 public:
  StripMaker(char32_t content, int64_t start, int64_t stop) : start_(start), stop_(stop) {
    append_utf8(content_, content);
  }
  std::unique_ptr<DecodeStage> make() const override { return std::make_unique<StripStage>(content_, start_, stop_); }

 private:
  std::string content_;
  int64_t start_, stop_;
};

template <typename Stage>
std::unique_ptr<const DecodeStageMaker> simple() {
  return std::make_unique<SimpleMaker>([] { return std::make_unique<Stage>(); });
}

using Makers = std::vector<std::unique_ptr<const DecodeStageMaker>>;

Status add_makers(const Json& json, const std::string& where, Makers& out) {
  JsonFields fields(json, where);
  const std::string type = fields.required_text("type");
  TL_TRY_STATUS(fields.status());
  if (out.size() >= kMaxStages) return Error{"more than " + std::to_string(kMaxStages) + " decoders", where, ""};
  if (type == "Sequence") {
    const Json* list = fields.list("decoders");
    TL_TRY_STATUS(fields.status());
    if (list == nullptr) return Error{"is missing", fields.at("decoders"), ""};
    for (size_t i = 0; i < list->size(); ++i) {
      TL_TRY_STATUS(add_makers((*list)[i], where + ".decoders[" + std::to_string(i) + "]", out));
    }
  } else if (type == "ByteLevel") {
    out.push_back(simple<ByteLevelStage>());
  } else if (type == "ByteFallback") {
    out.push_back(simple<ByteFallbackStage>());
  } else if (type == "Fuse") {
    out.push_back(simple<FuseStage>());
  } else if (type == "Replace") {
    TL_TRY(ReplaceRule rule, ReplaceRule::from_json(json, where));
    out.push_back(std::make_unique<ReplaceMaker>(std::move(rule)));
  } else if (type == "Strip") {
    const char32_t content = fields.character("content", ' ');
    const int64_t start = fields.integer("start", 0, 0, INT32_MAX), stop = fields.integer("stop", 0, 0, INT32_MAX);
    TL_TRY_STATUS(fields.status());
    out.push_back(std::make_unique<StripMaker>(content, start, stop));
  } else if (type == "Metaspace") {
    const char32_t replacement = fields.character("replacement", 0x2581);
    const bool add_prefix_space = fields.boolean("add_prefix_space", true);
    const std::string scheme = fields.text("prepend_scheme", add_prefix_space ? "always" : "never");
    TL_TRY_STATUS(fields.status());
    out.push_back(std::make_unique<MetaspaceMaker>(replacement, scheme != "never"));
  } else {
    return unsupported_part("decoder", type, "Sequence, ByteLevel, ByteFallback, Metaspace, Fuse, Strip, Replace",
                            where);
  }
  return {};
}

}  // namespace

PieceDecoder::PieceDecoder() = default;
PieceDecoder::PieceDecoder(PieceDecoder&&) noexcept = default;
PieceDecoder& PieceDecoder::operator=(PieceDecoder&&) noexcept = default;
PieceDecoder::~PieceDecoder() = default;

Result<PieceDecoder> PieceDecoder::from_json(const Json& json, const std::string& where) {
  PieceDecoder out;
  if (json.is_null()) return out;
  TL_TRY_STATUS(add_makers(json, where, out.makers_));
  out.join_by_spaces_ = false;
  return out;
}

PieceDecoder PieceDecoder::byte_level() {
  PieceDecoder out;
  out.makers_.push_back(simple<ByteLevelStage>());
  out.join_by_spaces_ = false;
  return out;
}

PieceDecoder::Run::Run(const PieceDecoder& decoder) : join_by_spaces_(decoder.join_by_spaces_) {
  for (const auto& maker : decoder.makers_) stages_.push_back(maker->make());
}
PieceDecoder::Run::Run(Run&&) noexcept = default;
PieceDecoder::Run& PieceDecoder::Run::operator=(Run&&) noexcept = default;
PieceDecoder::Run::~Run() = default;

void PieceDecoder::Run::put(std::string_view piece, std::string& out) {
  if (join_by_spaces_ && !first_) out += ' ';
  first_ = false;
  DecodeStage::Next(stages_, 0, out)(piece, true);
}

void PieceDecoder::Run::finish(std::string& out) {
  for (size_t i = 0; i < stages_.size(); ++i) {
    stages_[i]->finish(DecodeStage::Next(stages_, i + 1, out));
  }
}

}  // namespace throughline
