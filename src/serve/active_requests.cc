#include "serve/active_requests.h"

namespace throughline::serve {
namespace {

Json sample_json(const SampleView& view) {
  Json out = {{"state", view.finished   ? "finished"
                        : view.queued   ? "waiting"
                        : view.thinking ? "thinking"
                                        : "answering"}};
  out["tokens"] = view.tokens;
  out["reasoning_tokens"] = view.reasoning_tokens;
  out["chunk"] = view.chunk;
  out["kv_tokens"] = view.kv_tokens;
  out["context_tokens"] = view.context_tokens;
  return out;
}

}  // namespace

void ActiveRequests::add(std::shared_ptr<const ActiveRequest> request) {
  const std::lock_guard lock(mutex_);
  const std::string id = request->id;
  requests_[id] = std::move(request);
}

void ActiveRequests::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  requests_.erase(id);
}

bool ActiveRequests::cancel(const std::string& id, FinishDetail detail) {
  const std::lock_guard lock(mutex_);
  const auto found = requests_.find(id);
  if (found == requests_.end()) return false;
  for (const auto ticket : found->second->tickets) driver_->cancel(ticket, detail);
  return true;
}

void ActiveRequests::cancel_all(FinishDetail detail) {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, request] : requests_) {
    for (const auto ticket : request->tickets) driver_->cancel(ticket, detail);
  }
}

bool ActiveRequests::empty() const {
  const std::lock_guard lock(mutex_);
  return requests_.empty();
}

Json ActiveRequests::list() const {
  std::vector<std::shared_ptr<const ActiveRequest>> requests;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, request] : requests_) requests.push_back(request);
  }
  Json out = Json::array();
  for (const auto& request : requests) {
    Json samples = Json::array();
    for (const auto& view : request->answer->views()) samples.push_back(sample_json(view));
    Json state = "finished";  // the first sample's that goes on
    for (const auto& sample : samples) {
      if (sample["state"] == "finished") continue;
      state = sample["state"];
      break;
    }
    const double age = std::chrono::duration<double>(std::chrono::steady_clock::now() - request->began).count();
    out.push_back({{"id", request->id},
                   {"kind", request->kind},
                   {"created", request->created},
                   {"age_s", age},
                   {"state", std::move(state)},
                   {"stream", request->stream},
                   {"priority", request->priority},
                   {"kv", request->kv},
                   {"think", request->think},
                   {"prompt_tokens", request->prompt_tokens},
                   {"samples", std::move(samples)}});
  }
  return out;
}

}  // namespace throughline::serve
