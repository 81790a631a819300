#include "serve/answer_stream.h"

#include "serve/metrics.h"

namespace throughline::serve {
namespace {

double seconds(std::chrono::steady_clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

AnswerStream::AnswerStream(Options options)
    : options_(std::move(options)),
      places_(static_cast<size_t>(options_.samples)),
      views_(static_cast<size_t>(options_.samples)) {}

// Everything between the sample's place and the trace's end, in the order in which it came about.
void AnswerStream::follow(int64_t index, const Trace& trace, std::span<const ChunkKv> closed,
                          std::span<const EvictionRecord> events, std::vector<Letter>& out) {
  Place& place = places_[static_cast<size_t>(index)];
  const bool ended_by_id = trace.finish == FinishDetail::kEos || trace.finish == FinishDetail::kStopToken;
  const int64_t total = ended_by_id ? trace.tokens() : -1;
  while (true) {
    const ChunkTrace& chunk = trace.chunks[place.chunk];
    if (!place.opened && options_.chunks) {
      out.push_back({index, std::make_unique<ChunkNews>(ChunkNews{.chunk = static_cast<int64_t>(place.chunk),
                                                                  .at_token = place.told,
                                                                  .prompt_ids = chunk.prompt_ids})});
    }
    place.opened = true;
    const auto records = place.chunk < closed.size() ? std::span(closed[place.chunk].records) : events;
    // A replayed cache tells its events again: fewer than were told before, until it has caught up.
    for (; options_.kv_events && place.event < records.size(); ++place.event) {
      out.push_back({index, std::make_unique<KvNews>(KvNews{.chunk = static_cast<int64_t>(place.chunk),
                                                            .at_token = place.told,
                                                            .record = records[place.event]})});
    }
    for (; place.token < chunk.draws.size(); ++place.token) {
      ++place.told;
      const TokenDraw& draw = chunk.draws[place.token];
      TokenNews news{.draw = options_.logprobs ? draw : TokenDraw{.id = draw.id}, .ending = place.told == total};
      out.push_back({index, std::move(news)});
    }
    if (place.chunk + 1 >= trace.chunks.size()) return;
    ++place.chunk;
    place.token = place.event = 0;
    place.opened = false;
  }
}

void AnswerStream::on_progress(int64_t index, const SampleProgress& progress) {
  Place& place = places_[static_cast<size_t>(index)];
  if (options_.metrics != nullptr) {
    const auto now = Clock::now();
    if (progress.tokens > 0 && place.last_token == Clock::time_point()) {
      options_.metrics->first_token.observe(seconds(now - began_));
    } else {
      options_.metrics->token_gap.observe(seconds(now - place.last_token));
    }
    place.last_token = now;
  }
  SampleView view{.queued = false,
                  .thinking = progress.thinking,
                  .chunk = progress.chunk,
                  .tokens = progress.tokens,
                  .kv_tokens = progress.kv_tokens,
                  .context_tokens = progress.context_tokens};
  const Trace& trace = *progress.trace;
  if (trace.thinking_from >= 0) {
    // While thinking goes on (or was cut off there) it reaches to the end.
    const int64_t end = trace.thinking_to >= 0 ? trace.thinking_to : progress.tokens;
    view.reasoning_tokens = end - trace.thinking_from;
  }
  std::vector<Letter> letters;
  if (options_.live) follow(index, trace, progress.closed_kv, progress.events, letters);
  deliver(index, view, std::move(letters));
}

void AnswerStream::on_finish(int64_t index, SampleResult result) {
  observe(result);
  if (options_.on_result) options_.on_result(index, result);
  std::vector<Letter> letters;
  follow(index, result.trace, result.kv, {}, letters);
  SampleView view;
  {
    const std::lock_guard lock(mutex_);
    view = views_[static_cast<size_t>(index)];
  }
  view.queued = false;
  view.finished = true;
  letters.push_back({index, std::make_unique<SampleResult>(std::move(result))});
  deliver(index, view, std::move(letters));
}

void AnswerStream::observe(const SampleResult& result) {
  if (options_.metrics == nullptr) return;
  Metrics& metrics = *options_.metrics;
  const Trace& trace = result.trace;
  const int64_t tokens = trace.tokens();
  const int64_t thinking_to = trace.thinking_to < 0 ? tokens : trace.thinking_to;
  metrics.generation_tokens.add(static_cast<double>(tokens));
  if (trace.thinking_from >= 0) metrics.reasoning_tokens.add(static_cast<double>(thinking_to - trace.thinking_from));
  metrics.requests.add(1, std::string(to_string(reason_of(trace.finish))));
  metrics.details.add(1, std::string(to_string(trace.finish)));
  metrics.chunks.add(static_cast<double>(trace.chunks.size()), options_.think_method);
  for (const auto& [stats, records] : result.kv) {
    if (stats.compressions == 0) continue;
    metrics.evicted.add(static_cast<double>(stats.evicted_tokens), options_.kv_method);
    metrics.compressions.add(static_cast<double>(stats.compressions), options_.kv_method);
  }
  metrics.whole.observe(seconds(Clock::now() - began_));
  metrics.queue.observe(result.timing.queue_s);
  metrics.answer_size.observe(static_cast<double>(tokens));
}

void AnswerStream::deliver(int64_t index, const SampleView& view, std::vector<Letter> letters) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    views_[static_cast<size_t>(index)] = view;
    if (letters.empty()) return;
    std::move(letters.begin(), letters.end(), std::back_inserter(letters_));
    if (!woken_) wake = wake_;
    woken_ = true;
  }
  if (wake) wake();
}

void AnswerStream::set_wake(std::function<void()> wake) {
  bool now = false;
  {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
    now = woken_ && !letters_.empty();
  }
  if (now && wake_) wake_();
}

std::vector<AnswerStream::Letter> AnswerStream::take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  return std::exchange(letters_, {});
}

std::vector<SampleView> AnswerStream::views() const {
  const std::lock_guard lock(mutex_);
  return views_;
}

}  // namespace throughline::serve
