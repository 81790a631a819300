#include "dist/process_group.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>

#include "dist/gloo_group.h"

namespace throughline {
namespace {

class SingleProcessGroup : public ProcessGroup {
 public:
  SingleProcessGroup() : ProcessGroup(0, 1) {}
  Status all_reduce(at::Tensor, Reduce) override { return {}; }
  Status reduce_scatter(at::Tensor output, at::Tensor input) override { return copy(output, input); }
  Status all_gather(at::Tensor output, at::Tensor input) override { return copy(output, input); }
  Status broadcast(at::Tensor, int) override { return {}; }
  Status barrier() override { return {}; }
  Status check() override { return {}; }
  void fail(const std::string&) override {}
  void leave() override {}

 private:
  static Status copy(at::Tensor& output, const at::Tensor& input) {
    TL_CHECK(output.numel() == input.numel(), "one process: output and input have one size");
    if (output.data_ptr() != input.data_ptr()) output.copy_(input);
    return {};
  }
};

}  // namespace

std::unique_ptr<ProcessGroup> single_process_group() { return std::make_unique<SingleProcessGroup>(); }

Result<std::unique_ptr<ProcessGroup>> connect_processes(const Launch& launch, const ProcessGroupOptions& options) {
  if (launch.world == 1) return single_process_group();
  return connect_gloo(launch, options);
}

Status agree(ProcessGroup* group, const Status& own) {
  if (!group || group->world() == 1) return own;
  TL_TRY(const auto lines, group->all_gather_bytes(own.ok() ? "" : own.error().line()));
  if (!own.ok()) return own;
  for (int rank = 0; rank < group->world(); ++rank) {
    if (!lines[rank].empty()) return Error{lines[rank], "rank " + std::to_string(rank), ""};
  }
  return {};
}

Result<std::vector<std::string>> ProcessGroup::all_gather_bytes(const std::string& bytes) {
  if (world() == 1) return std::vector<std::string>{bytes};
  at::Tensor lengths = at::zeros({world()}, at::kLong);
  int64_t* length = lengths.mutable_data_ptr<int64_t>();
  length[rank()] = static_cast<int64_t>(bytes.size());
  TL_TRY_STATUS(all_reduce(lengths, Reduce::kMax));
  const int64_t longest = *std::max_element(length, length + world());
  std::vector<std::string> all(world());
  if (longest == 0) return all;
  at::Tensor padded = at::empty({longest}, at::kByte);
  std::memcpy(padded.mutable_data_ptr<uint8_t>(), bytes.data(), bytes.size());
  at::Tensor gathered = at::empty({world() * longest}, at::kByte);
  TL_TRY_STATUS(all_gather(gathered, padded));
  const char* from = reinterpret_cast<const char*>(gathered.const_data_ptr<uint8_t>());
  for (int r = 0; r < world(); ++r) all[r].assign(from + r * longest, length[r]);
  return all;
}

}  // namespace throughline
