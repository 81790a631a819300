// A group of processes that work on one run, and the few collectives that training needs. One process is a group too:
// its calls return at once and it costs no socket and no thread.
//
// Tensors: contiguous, on the CPU; reductions take fp32, fp64 and int64, moves (all_gather, broadcast) any dtype. Every
// rank makes the same calls in the same order with the same sizes; a call returns when this rank's result is there.
// Sums run in an order that depends on the number of processes: for sums that do not, see fixed_order_sum.h. A rank
// that is killed, stops answering, or leaves with fail() ends the others: their current or next call returns one Error
// that names it. After an Error the group is of no more use: report it and end the process. Threads: one caller at a
// time. A process that joins ignores SIGPIPE. Gloo over c10d's TCPStore on the CPU (gloo_group.cc); NCCL fits behind
// the same calls.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dist/launch.h"

namespace throughline {

enum class Reduce { kSum, kMax };

struct ProcessGroupOptions {
  double lost_after_s = 60;            // a rank without a sign of life for so long is lost
  double connect_timeout_s = 300;      // until every rank has come to the rendezvous
  double collective_timeout_s = 7200;  // until a rank that is alive comes to a call the others wait in
  std::string interface;               // network interface; empty: GLOO_SOCKET_IFNAME, else the one that reaches rank 0
  // Called once, from another thread, when a rank is lost while this one is in no call of the group (sampling, say).
  // Print the Error and end the process; empty: the next call returns it.
  std::function<void(const Error&)> on_lost;
};

class ProcessGroup {
 public:
  ProcessGroup(int rank, int world) : rank_(rank), world_(world) {}
  virtual ~ProcessGroup() = default;
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const { return rank_; }
  int world() const { return world_; }

  // In place.
  virtual Status all_reduce(at::Tensor values, Reduce reduce) = 0;
  // output [n] = sum over ranks of their input[rank * n ... (rank + 1) * n]; input [world * n].
  virtual Status reduce_scatter(at::Tensor output, at::Tensor input) = 0;
  // output [world * n] = the ranks' inputs [n] in rank order. `input` may be output's own part [rank * n ...].
  virtual Status all_gather(at::Tensor output, at::Tensor input) = 0;
  virtual Status broadcast(at::Tensor values, int root) = 0;
  virtual Status barrier() = 0;

  // The Error of a lost rank, if one is lost. Costs nothing.
  virtual Status check() = 0;
  // Tells the others why this rank ends; they end too, naming it.
  virtual void fail(const std::string& why) = 0;
  // The work is done: no call follows. Waits for the others for a few seconds where they need this rank's store.
  // A group that is destroyed without leave() or fail() counts as failed.
  virtual void leave() = 0;

  // Every rank's bytes, in rank order; lengths may differ.
  Result<std::vector<std::string>> all_gather_bytes(const std::string& bytes);

 private:
  int rank_;
  int world_;
};

// The same outcome for all: ok if every rank's `own` is, else this rank's own Error, or else the first other rank's.
// Null: `own`.
Status agree(ProcessGroup* group, const Status& own);

std::unique_ptr<ProcessGroup> single_process_group();

// Meets the other ranks; one process gives single_process_group().
Result<std::unique_ptr<ProcessGroup>> connect_processes(const Launch& launch, const ProcessGroupOptions& options = {});

}  // namespace throughline
