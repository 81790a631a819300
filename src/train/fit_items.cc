#include "train/fit_items.h"

#include <ATen/Parallel.h>

#include "text/unicode.h"
#include "text/utf8.h"

namespace throughline {
namespace {

struct Fit {
  bool has_room = true, loses_characters = false;
  Status status;
};

Fit fit_of(const TrainItems::Line& line, const TrainModel& model, const ItemUse& use) {
  Fit out;
  out.loses_characters =
      loses_characters(*model.tokenizer, line.prompt) || (use.teaches && loses_characters(*model.tokenizer, line.text));
  if (use.sampler == nullptr) return out;
  const auto prompt = model.prompt(line.prompt);
  if (prompt.ok()) {
    out.has_room = use.sampler->has_room(static_cast<int64_t>(prompt->ids.size()));
  } else {
    out.status = prompt.error();
  }
  return out;
}

// How many lines, and which is the first.
struct Count {
  size_t lines = 0;
  std::string first;

  void add(const TrainItems::Line& line) {
    if (lines++ == 0) first = line.id;
  }
  std::string of(size_t all) const {
    return std::to_string(lines) + " of " + std::to_string(all) + " items, the first \"" + first + "\",";
  }
};

int64_t base_characters(std::string_view text) {
  const std::string parts = normalize_unicode(text, NormalForm::kKD);
  int64_t count = 0;
  for (size_t at = 0; at < parts.size();) {
    const Utf8Step step = next_code_point(parts, at);
    count += !is_white_space(step.code) && !is_mark(step.code);
    at += static_cast<size_t>(step.size);
  }
  return count;
}

}  // namespace

bool loses_characters(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text, {.add_special_tokens = false, .parse_special = false});
  const std::string known = tokenizer.decode(ids, true);
  return known != text && base_characters(known) < base_characters(text);
}

Status fit_file_items(TrainItems& items, const TrainModel& model, const ItemUse& use,
                      const std::function<void(const std::string&)>& say) {
  return items.each_file([&](const std::string& file, std::vector<TrainItems::Line>& lines) -> Status {
    std::vector<Fit> fits(lines.size());
    at::parallel_for(0, static_cast<int64_t>(lines.size()), 64, [&](int64_t from, int64_t to) {
      for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i) fits[i] = fit_of(lines[i], model, use);
    });
    std::vector<TrainItems::Line> kept;
    Count too_long, lossy;
    for (size_t i = 0; i < lines.size(); ++i) {
      TL_TRY_STATUS(fits[i].status);
      if (fits[i].loses_characters) lossy.add(lines[i]);
      if (fits[i].has_room) {
        kept.push_back(std::move(lines[i]));
      } else {
        too_long.add(lines[i]);
      }
    }
    if (lossy.lines > 0)
      say(file + ": " + lossy.of(lines.size()) + " lose characters that the tokenizer does not know");
    if (too_long.lines > 0) {
      const std::string context = "the context of " + std::to_string(use.sampler->max_context());
      if (kept.empty())
        return Error{"every prompt is too long for " + context, file, "shorten them, or carry less in rollout.think"};
      say(file + ": " + too_long.of(lines.size()) + " are left out: their prompts are too long for " + context);
    }
    lines = std::move(kept);
    return {};
  });
}

}  // namespace throughline
