#include "model/memory_plan.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/files.h"

namespace throughline {
namespace {

constexpr int64_t kProgramBytes = int64_t{256} << 20;  // libtorch, its thread pools and buffers

// The first whole number in `text` at or after `from`; -1: none ("max").
int64_t number_after(const std::string& text, size_t from) {
  const size_t digit = text.find_first_of("0123456789", from);
  int64_t value = -1;
  if (digit != std::string::npos) std::from_chars(text.data() + digit, text.data() + text.size(), value);
  return value;
}

int64_t cgroup_bytes(const char* name) {
  const auto text = read_file(std::string("/sys/fs/cgroup/") + name, 256);
  return text.ok() ? number_after(*text, 0) : -1;
}

}  // namespace

int64_t MemoryPlan::tokens_that_fit() const {
  return std::max<int64_t>(0, (memory_bytes - weight_bytes - reserve_bytes) / std::max<int64_t>(1, kv_bytes_per_token));
}

Result<int64_t> available_memory_bytes() {
  TL_TRY(const std::string text, read_file("/proc/meminfo", 1 << 16));
  const size_t at = text.find("MemAvailable:");
  const int64_t kib = at == std::string::npos ? -1 : number_after(text, at);
  if (kib < 0) return Error{"MemAvailable is missing", "/proc/meminfo", "give the memory with --memory"};
  int64_t bytes = kib * 1024;
  const int64_t limit = cgroup_bytes("memory.max"), used = cgroup_bytes("memory.current");
  if (limit >= 0 && used >= 0) bytes = std::min(bytes, std::max<int64_t>(0, limit - used));
  return bytes;
}

Result<MemoryPlan> plan_memory(const ModelConfig& config, const MemoryPlanOptions& options) {
  MemoryPlan plan;
  plan.weight_bytes =
      options.weight_bytes > 0 ? options.weight_bytes : config.parameters() * options.weight_element_bytes;
  plan.kv_bytes_per_token = 2 * config.layers * config.kv_heads * config.head_dim * options.kv_element_bytes;
  plan.memory_bytes = options.memory_bytes;
  if (plan.memory_bytes == 0) {
    TL_TRY(plan.memory_bytes, available_memory_bytes());
  }
  // A layer's widest moment holds gate, up and their product beside a few rows of the hidden size; logits are fp32.
  const int64_t row_bytes = (3 * config.ffn + 6 * config.hidden) * options.weight_element_bytes;
  plan.reserve_bytes = kProgramBytes + options.step_rows * row_bytes + 16 * config.vocab * 4;
  return plan;
}

UpdatePlan plan_update(const ModelConfig& config, const UpdatePlanOptions& options) {
  const int64_t e = options.weight_element_bytes, n = options.micro_batch_tokens, h = config.hidden, f = config.ffn;
  const int64_t q = config.q_heads * config.head_dim, k = config.kv_heads * config.head_dim;
  const int64_t parameters = config.parameters();
  UpdatePlan plan;
  plan.weight_bytes = parameters * e;
  plan.gradient_bytes = 4 * parameters + (4 + 2 * e) * config.vocab * h;
  plan.optimizer_bytes = (e == 4 ? 8 : 12) * parameters;
  const int64_t layer = 2 * h + 3 * q + 4 * k + 2 * f, slopes = 3 * h + 2 * f;
  const int64_t kept = config.layers * (options.checkpoint_layers ? h : layer);
  const int64_t at_work = options.checkpoint_layers ? layer + slopes : slopes;
  plan.activation_bytes = n * e * kept + n * e * at_work * 5 / 4;
  plan.logit_bytes = int64_t{48} << 20;
  return plan;
}

}  // namespace throughline
