#include "train/fit_items.h"

#include <ATen/Parallel.h>

namespace throughline {
namespace {

struct Fit {
  bool has_room = true;
  Status status;
};

Fit fit_of(const TrainItems::Line& line, const TrainModel& model, const RolloutEngine& sampler) {
  Fit out;
  const auto prompt = model.prompt(line.prompt);
  if (prompt.ok()) {
    out.has_room = sampler.has_room(static_cast<int64_t>(prompt->ids.size()));
  } else {
    out.status = prompt.error();
  }
  return out;
}

}  // namespace

Status fit_file_items(TrainItems& items, const TrainModel& model, const RolloutEngine& sampler,
                      const std::function<void(const std::string&)>& say) {
  return items.each_file([&](const std::string& file, std::vector<TrainItems::Line>& lines) -> Status {
    std::vector<Fit> fits(lines.size());
    at::parallel_for(0, static_cast<int64_t>(lines.size()), 64, [&](int64_t from, int64_t to) {
      for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i)
        fits[i] = fit_of(lines[i], model, sampler);
    });
    std::vector<TrainItems::Line> kept;
    std::string first;
    for (size_t i = 0; i < lines.size(); ++i) {
      TL_TRY_STATUS(fits[i].status);
      if (fits[i].has_room) {
        kept.push_back(std::move(lines[i]));
      } else if (first.empty()) {
        first = lines[i].id;
      }
    }
    const std::string count = std::to_string(lines.size() - kept.size()) + " of " + std::to_string(lines.size());
    if (kept.empty()) {
      return Error{"every prompt is too long for the model's context of " + std::to_string(sampler.max_context()), file,
                   "give shorter prompts or a rollout.think that carries less"};
    }
    if (kept.size() < lines.size()) {
      say(file + ": " + count + " prompts are left out, the first \"" + first + "\": too long for the context of " +
          std::to_string(sampler.max_context()));
    }
    lines = std::move(kept);
    return {};
  });
}

}  // namespace throughline
