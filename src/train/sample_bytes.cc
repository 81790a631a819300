#include "train/sample_bytes.h"

#include <cstring>
#include <type_traits>
#include <vector>

namespace throughline {
namespace {

constexpr uint32_t kMark = 0x544c5331;  // "TLS1"

template <typename T>
concept Plain = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// One description of the layout serves both directions: walk() below visits every field in order.
class Writer {
 public:
  explicit Writer(std::string* out) : out_(out) {}
  template <Plain T>
  void field(T& value) {
    out_->append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void bytes(const void* data, size_t size) { out_->append(static_cast<const char*>(data), size); }
  template <typename C>
  void size(C& list) {
    auto n = static_cast<int64_t>(list.size());
    field(n);
  }
  template <Plain T>
  void numbers(std::vector<T>& list) {
    size(list);
    bytes(list.data(), list.size() * sizeof(T));
  }
  void text(std::string& value) {
    size(value);
    bytes(value.data(), value.size());
  }
  bool ok() const { return true; }

 private:
  std::string* out_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  template <Plain T>
  void field(T& value) {
    take(&value, sizeof value);
  }
  template <typename C>
  void size(C& list) {
    int64_t n = 0;
    field(n);
    // An element takes at least a byte, so a size beyond what is left is foreign and allocates nothing.
    if (n < 0 || static_cast<uint64_t>(n) > left_.size()) ok_ = false;
    list.resize(ok_ ? static_cast<size_t>(n) : 0);
  }
  template <Plain T>
  void numbers(std::vector<T>& list) {
    size(list);
    take(list.data(), list.size() * sizeof(T));
  }
  void text(std::string& value) {
    size(value);
    take(value.data(), value.size());
  }
  bool ok() const { return ok_; }
  bool at_end() const { return left_.empty(); }

 private:
  void take(void* to, size_t size) {
    if (!ok_ || size > left_.size()) {
      ok_ = false;
      return;
    }
    if (size > 0) std::memcpy(to, left_.data(), size);  // an empty list has no address
    left_.remove_prefix(size);
  }
  std::string_view left_;
  bool ok_ = true;
};

template <typename Archive>
void walk(Archive& a, ChunkTrace& chunk) {
  a.numbers(chunk.prompt_ids);
  a.numbers(chunk.token_ids);
  a.size(chunk.draws);
  for (TokenDraw& draw : chunk.draws) {
    a.field(draw.id);
    a.field(draw.logprob);
    a.field(draw.sampling_logprob);
  }
  a.size(chunk.forced);
  for (auto& [from, to] : chunk.forced) {
    a.field(from);
    a.field(to);
  }
  a.field(chunk.weight_version);
}

template <typename Archive>
void walk(Archive& a, ChunkKv& kv) {
  CacheStats& stats = kv.stats;
  for (int64_t* field : {&stats.peak_tokens, &stats.final_tokens, &stats.attended_sum, &stats.decode_steps,
                         &stats.compressions, &stats.evicted_tokens, &stats.lowered, &stats.lowest_budget}) {
    a.field(*field);
  }
  a.size(kv.records);
  for (EvictionRecord& record : kv.records) {
    for (int64_t* field : {&record.decoded, &record.tokens, &record.kept, &record.gone, &record.lowered_to})
      a.field(*field);
    a.numbers(record.evicted);
  }
}

template <typename Archive>
void walk(Archive& a, SampleResult& sample) {
  uint32_t mark = kMark;
  a.field(mark);
  a.field(sample.sample);
  Trace& trace = sample.trace;
  a.numbers(trace.query_ids);
  a.field(trace.finish);
  for (int64_t* field : {&trace.thinking_from, &trace.thinking_to, &trace.answer_from}) a.field(*field);
  a.size(trace.chunks);
  for (ChunkTrace& chunk : trace.chunks) walk(a, chunk);
  a.size(sample.kv);
  for (ChunkKv& kv : sample.kv) walk(a, kv);
  for (double* field : {&sample.timing.queue_s, &sample.timing.prefill_s, &sample.timing.decode_s}) a.field(*field);
  uint8_t has_text = sample.text.has_value();
  a.field(has_text);
  if (has_text != 0) {
    if (!sample.text) sample.text.emplace();
    a.text(*sample.text);
  }
  a.text(sample.error);
  a.field(sample.preemptions);
  a.field(mark);
}

}  // namespace

std::string pack_sample(const SampleResult& sample) {
  std::string out;
  Writer writer(&out);
  walk(writer, const_cast<SampleResult&>(sample));  // a Writer only reads
  return out;
}

Result<SampleResult> unpack_sample(std::string_view bytes) {
  const Error foreign{"a trace from another process is cut or of another version", "",
                      "start every process from the same binary"};
  uint32_t mark = 0;
  if (bytes.size() < 2 * sizeof mark) return foreign;
  for (const size_t at : {size_t{0}, bytes.size() - sizeof mark}) {
    std::memcpy(&mark, bytes.data() + at, sizeof mark);
    if (mark != kMark) return foreign;
  }
  SampleResult sample;
  Reader reader(bytes);
  walk(reader, sample);
  if (!reader.ok() || !reader.at_end()) return foreign;
  return sample;
}

}  // namespace throughline
