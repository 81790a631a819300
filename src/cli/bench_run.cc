#include "cli/bench_run.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/files.h"
#include "base/median.h"
#include "base/spec.h"
#include "base/stopwatch.h"
#include "cache/sequence_cache.h"
#include "cache/step_attention.h"
#include "model/packed_decoder.h"
#include "ops/cpu/bandwidth.h"

namespace throughline {
namespace {

// A field of /proc files in KiB, as bytes; 0 where there is none.
int64_t proc_bytes(const char* path, const std::string& field) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(field + ":", 0) != 0) continue;
    return std::stoll(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}

// Bandwidth, and the highest resident memory from the first of its measurements on.
class Surroundings {
 public:
  explicit Surroundings(const BenchSettings& settings) {
    if (settings.bandwidth_mib > 0) meter_.emplace(settings.bandwidth_mib << 20);
    std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark starts anew
  }
  void measure_bandwidth() {
    if (meter_) rates_.push_back(meter_->read_gb_s());
    const int64_t own = meter_ ? meter_->bytes() : 0;
    peak_bytes_ = std::max(peak_bytes_, proc_bytes("/proc/self/status", "VmHWM") - own);
  }
  double bandwidth_gb_s() const { return median(rates_); }
  double peak_mib() const { return static_cast<double>(peak_bytes_) / (1 << 20); }

 private:
  std::optional<ops::BandwidthMeter> meter_;
  std::vector<double> rates_;
  int64_t peak_bytes_ = 0;
};

// Else the measured speed would be 0, and the roofline with it.
Status check_room(const BenchSettings& settings) {
  const int64_t available = proc_bytes("/proc/meminfo", "MemAvailable") >> 20;
  if (available == 0 || settings.bandwidth_mib <= available) return {};
  return Error{fmt::format("{} MiB are more than the {} MiB that are free", settings.bandwidth_mib, available),
               "--bandwidth-mib", "take less"};
}

KvShape kv_shape(const Decoder& decoder, const BenchSettings& settings) {
  const ModelConfig& config = decoder.config();
  return {.layers = config.layers,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .page_tokens = settings.page_tokens,
          .dtype = settings.int8_kv ? at::kChar : decoder.dtype()};
}

struct Bench {
  const Decoder& decoder;
  const BenchSettings& settings;
  std::unique_ptr<const EvictionPolicy> policy;
  std::unique_ptr<PagePool> pool;
  std::vector<std::unique_ptr<SequenceCache>> caches;
  std::optional<PackedDecoder> packed;  // where the engine would use one
  int64_t prompt_tokens = 0;

  Status check_interrupt() const {
    if (settings.interrupted && settings.interrupted()) return Error{"interrupted", "", ""};
    return {};
  }

  Status open(const BenchCase& bench_case, int64_t prompt, int64_t most_tokens) {
    TL_TRY(const Spec spec, parse_spec(bench_case.kv, policy_infos(), "--kv"));
    TL_TRY(policy, make_policy(spec, "--kv"));
    prompt_tokens = prompt;
    const KvShape shape = kv_shape(decoder, settings);
    // Only what is used is ever touched, so plenty may be reserved.
    const int64_t pages = bench_case.batch * (most_tokens / shape.page_tokens + 2);
    auto made = PagePool::create(shape, pages);
    if (!made.ok()) return Error{made.error().what, "--batch", "take a smaller batch or depth"};
    pool = std::move(made).value();
    for (int64_t i = 0; i < bench_case.batch; ++i) caches.push_back(new_cache());
    return {};
  }
  std::unique_ptr<SequenceCache> new_cache() const {
    return std::make_unique<SequenceCache>(pool.get(), policy.get(), decoder.config().q_heads,
                                           decoder.attention_scale(), prompt_tokens);
  }

  Status fill(int64_t depth) {
    const int64_t needed =
        static_cast<int64_t>(caches.size()) * caches[0]->pages_for_synthetic(depth) * pool->shape().bytes_per_page();
    const int64_t available = proc_bytes("/proc/meminfo", "MemAvailable");
    if (available > 0 && needed > available) {
      return Error{fmt::format("{} sequences of depth {} need {} MiB for K and V, {} MiB are free", caches.size(),
                               depth, needed >> 20, available >> 20),
                   "--depth", "take a smaller depth or batch"};
    }
    for (size_t i = 0; i < caches.size(); ++i) caches[i]->fill_synthetic(depth, settings.seed + i);
    return {};
  }

  // One token of every sequence; the ids chosen are fed next.
  at::Tensor step(const at::Tensor& ids) {
    std::vector<StepSequence> sequences;
    for (const auto& cache : caches) {
      cache->reserve(1);
      sequences.push_back({cache.get(), {TokenKind::kSampled}});
    }
    StepAttention attention(std::move(sequences), decoder.rope(), decoder.attention_scale(), settings.mode);
    const bool by_sequence =
        settings.mode == ops::NumericMode::kFast && PackedDecoder::suits(decoder) && PackedDecoder::takes(attention);
    if (by_sequence && !packed) packed.emplace(decoder);
    const at::Tensor hidden =
        by_sequence ? packed->forward(ids, attention) : decoder.forward(ids, attention, settings.mode);
    const at::Tensor next =
        at::argmax(by_sequence ? packed->logits(hidden) : decoder.logits(hidden, settings.mode), -1);
    for (const auto& cache : caches) cache->commit(std::vector<TokenKind>{TokenKind::kSampled});
    return next;
  }

  // Runs the events that are due and returns their time.
  double run_events(int64_t* count) {
    double seconds = 0;
    for (size_t i = 0; i < caches.size(); ++i) {
      if (!caches[i]->due()) continue;
      const Stopwatch watch;
      caches[i]->compress({settings.seed, i, static_cast<uint64_t>(caches[i]->decoded()), RngPurpose::kEvict});
      seconds += watch.seconds();
      ++*count;
    }
    return seconds;
  }

  // Steps until a sequence is due, if it took only sampled tokens from here on; 0: never within `limit`.
  int64_t steps_to_event(const SequenceCache& cache, int64_t limit) const {
    EventClock clock;
    for (int64_t steps = 1; policy != nullptr && steps <= limit; ++steps) {
      clock.decoded = cache.decoded() + steps;
      clock.cached = cache.cached_tokens() + steps;
      clock.protected_tokens = std::min(policy->protected_tokens(prompt_tokens), clock.cached);
      if (policy->event_due(clock)) return steps;
    }
    return 0;
  }

  // One event of the first sequence: leaps to it without computing K and V (whatever the pages hold is as good as
  // random), but for the last step, from which per-step policies take their attention.
  void measure_event(at::Tensor ids, int64_t limit, BenchResult* result) {
    caches.resize(1);
    SequenceCache& cache = *caches[0];
    const int64_t steps = steps_to_event(cache, limit);
    if (steps == 0) return;
    for (int64_t i = 0; i + 1 < steps; ++i) {
      cache.reserve(1);
      cache.commit(std::vector<TokenKind>{TokenKind::kSampled});
    }
    step(ids.narrow(0, 0, 1));
    int64_t count = 0;
    result->event_s = run_events(&count);
    result->event_interval = steps_to_event(cache, limit);
  }
};

constexpr int64_t kEventSearchTokens = 1 << 16;  // a policy whose next event is further off is measured without one

void summarise(const std::vector<double>& tok_s, double step_seconds, const Surroundings& around, BenchResult* out) {
  out->tok_s_median = median(tok_s);
  out->tok_s_min = *std::min_element(tok_s.begin(), tok_s.end());
  out->tok_s_max = *std::max_element(tok_s.begin(), tok_s.end());
  out->bw_gb_s = around.bandwidth_gb_s();
  out->peak_rss_mib = around.peak_mib();
  if (out->bw_gb_s > 0) out->roofline_fraction = out->bytes_per_step / (out->bw_gb_s * 1e9) / step_seconds;
}

}  // namespace

Result<std::vector<std::string>> policy_specs(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    TL_TRY(const Spec spec, parse_spec(text.substr(begin, end - begin), policy_infos(), "--kv"));
    TL_TRY(const auto policy, make_policy(spec, "--kv"));
    out.push_back(spec.to_string());
    begin = end + 1;
  }
  return out;
}

Result<BenchResult> bench_decode(const Decoder& decoder, const BenchCase& bench_case, const BenchSettings& settings) {
  const c10::InferenceMode inference;
  TL_TRY_STATUS(check_room(settings));
  Bench bench{decoder, settings};
  const int64_t steps = settings.warmup + settings.repeat * settings.tokens;
  TL_TRY_STATUS(bench.open(bench_case, std::min(settings.prompt_tokens, bench_case.depth),
                           bench_case.depth + steps + 2 * kEventSearchTokens));
  TL_TRY_STATUS(bench.fill(bench_case.depth));
  at::Tensor ids = at::full({bench_case.batch}, 1, at::kLong);
  int64_t events = 0;
  double event_seconds = 0, cached_sum = 0;
  for (int64_t i = 0; i < settings.warmup; ++i) {
    ids = bench.step(ids);
    bench.run_events(&events);
  }
  events = 0;
  Surroundings around(settings);
  around.measure_bandwidth();
  std::vector<double> run_seconds;
  for (int64_t run = 0; run < settings.repeat; ++run) {
    double seconds = 0;
    if (settings.before_run) TL_TRY_STATUS(settings.before_run());
    for (int64_t i = 0; i < settings.tokens; ++i) {
      TL_TRY_STATUS(bench.check_interrupt());
      const Stopwatch watch;
      ids = bench.step(ids);
      seconds += watch.seconds();
      for (const auto& cache : bench.caches) cached_sum += static_cast<double>(cache->cached_tokens());
      event_seconds += bench.run_events(&events);
    }
    run_seconds.push_back(seconds);
    if (settings.after_run) TL_TRY_STATUS(settings.after_run(seconds));
    around.measure_bandwidth();
  }
  BenchResult result;
  result.kv_bytes = bench.pool->used_pages() * bench.pool->shape().bytes_per_page();
  result.cached_tokens = cached_sum / static_cast<double>(settings.repeat * settings.tokens * bench_case.batch);
  result.bytes_per_step =
      static_cast<double>(decoder.step_weight_bytes()) +
      result.cached_tokens * static_cast<double>(bench_case.batch * bench.pool->shape().bytes_per_token());
  bench.measure_event(ids, kEventSearchTokens, &result);
  if (events > 0) result.event_s = event_seconds / static_cast<double>(events);
  const double event_share = result.event_interval == 0 ? 0
                                                        : result.event_s * static_cast<double>(bench_case.batch) /
                                                              static_cast<double>(result.event_interval);
  std::vector<double> tok_s;
  for (const double seconds : run_seconds) {
    tok_s.push_back(static_cast<double>(bench_case.batch) /
                    (seconds / static_cast<double>(settings.tokens) + event_share));
  }
  summarise(tok_s, static_cast<double>(bench_case.batch) / median(tok_s), around, &result);
  return result;
}

Result<BenchResult> bench_prefill(const Decoder& decoder, const BenchCase& bench_case, const BenchSettings& settings) {
  const c10::InferenceMode inference;
  TL_TRY_STATUS(check_room(settings));
  Bench bench{decoder, settings};
  TL_TRY_STATUS(bench.open(bench_case, bench_case.depth, bench_case.depth));
  const at::Tensor ids = at::full({bench_case.depth}, 1, at::kLong);
  double bytes = 0;
  int64_t steps = 0;
  const auto prefill = [&](SequenceCache& cache) -> Status {
    for (int64_t begin = 0; begin < bench_case.depth; begin += settings.slice_tokens) {
      TL_TRY_STATUS(bench.check_interrupt());
      const int64_t rows = std::min(settings.slice_tokens, bench_case.depth - begin);
      const std::vector<TokenKind> kinds(rows, TokenKind::kPrompt);
      cache.reserve(rows);
      StepAttention attention({{&cache, kinds}}, decoder.rope(), decoder.attention_scale(), settings.mode);
      const at::Tensor last = at::full({1}, rows - 1, at::kLong);
      const at::Tensor hidden =
          decoder.forward(ids.narrow(0, begin, rows), attention, settings.mode, {.wanted_rows = last});
      cache.commit(kinds);
      if (begin + rows == bench_case.depth) decoder.logits(hidden, settings.mode);
      bytes += static_cast<double>(decoder.step_weight_bytes()) +
               static_cast<double>((begin + rows) * bench.pool->shape().bytes_per_token());
      ++steps;
    }
    return {};
  };
  Surroundings around(settings);
  around.measure_bandwidth();
  std::vector<double> tok_s, step_seconds;
  BenchResult result;
  for (int64_t run = -1; run < settings.repeat; ++run) {  // the first warms up
    bytes = 0, steps = 0;
    if (run >= 0 && settings.before_run) TL_TRY_STATUS(settings.before_run());
    const Stopwatch watch;
    for (const auto& cache : bench.caches) TL_TRY_STATUS(prefill(*cache));
    const double seconds = watch.seconds();
    result.kv_bytes = bench.pool->used_pages() * bench.pool->shape().bytes_per_page();
    for (auto& cache : bench.caches) cache = bench.new_cache();
    if (run < 0) continue;
    if (settings.after_run) TL_TRY_STATUS(settings.after_run(seconds));
    tok_s.push_back(static_cast<double>(bench_case.batch * bench_case.depth) / seconds);
    step_seconds.push_back(seconds / static_cast<double>(steps));
    around.measure_bandwidth();
  }
  result.bytes_per_step = bytes / static_cast<double>(steps);
  result.cached_tokens = static_cast<double>(bench_case.depth);
  summarise(tok_s, median(step_seconds), around, &result);
  return result;
}

}  // namespace throughline
