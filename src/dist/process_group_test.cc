#include "dist/process_group.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "dist/awkward_leaves.h"
#include "dist/shard.h"
#include "dist/worker_group.h"

namespace throughline {
namespace {

TEST(ProcessGroup, OneProcessCopies) {
  const auto one = single_process_group();
  at::Tensor values = at::arange(6, at::kFloat), out = at::zeros({6});
  EXPECT_TRUE(one->all_reduce(values, Reduce::kSum).ok());
  EXPECT_TRUE(one->all_gather(out, values).ok());
  EXPECT_TRUE(at::equal(out, at::arange(6, at::kFloat)));
  EXPECT_EQ(*one->all_gather_bytes("a"), std::vector<std::string>{"a"});
  EXPECT_TRUE(one->barrier().ok());
}

// ---- workers ----

constexpr int kFailedExit = 3;

std::string variable(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}

void touch(const std::string& name) { std::ofstream(variable("WORKER_FOLDER") + "/" + name) << "x"; }

[[noreturn]] void end_with(const Error& error) {
  std::fprintf(stderr, "ERROR %s\n", error.line().c_str());
  std::fflush(stderr);
  _exit(kFailedExit);
}

std::unique_ptr<ProcessGroup> join() {
  auto launch = launch_from_environment();
  if (!launch.ok()) end_with(launch.error());
  ProcessGroupOptions options;
  options.lost_after_s = std::atof(variable("LOST_AFTER_S", "60").c_str());
  options.collective_timeout_s = std::atof(variable("COLLECTIVE_TIMEOUT_S", "600").c_str());
  options.connect_timeout_s = std::atof(variable("CONNECT_TIMEOUT_S", "60").c_str());
  options.on_lost = [](const Error& error) { end_with(error); };
  auto group = connect_processes(*launch, options);
  if (!group.ok()) end_with(group.error());
  return std::move(*group);
}

void require(const Status& status) {
  if (!status.ok()) end_with(status.error());
}

TEST(Worker, DISABLED_collectives) {
  auto group = join();
  const int rank = group->rank(), world = group->world();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kLong}) {
    at::Tensor values = at::arange(5, dtype) + rank;
    require(group->all_reduce(values, Reduce::kSum));
    EXPECT_TRUE(at::equal(values, at::arange(5, dtype) * world + world * (world - 1) / 2));
    values = at::arange(5, dtype) * (rank + 1);
    require(group->all_reduce(values, Reduce::kMax));
    EXPECT_TRUE(at::equal(values, at::arange(5, dtype) * world));
    at::Tensor out = at::zeros({3}, dtype);
    require(group->reduce_scatter(out, at::arange(3 * world, dtype)));
    EXPECT_TRUE(at::equal(out, (at::arange(3, dtype) + 3 * rank) * world));
  }
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kByte}) {
    at::Tensor out = at::zeros({2 * world}, dtype);
    require(group->all_gather(out, at::full({2}, rank, dtype)));
    for (int r = 0; r < world; ++r) EXPECT_EQ(out[2 * r + 1].item<double>(), r);
    at::Tensor values = at::full({4}, rank, dtype);
    require(group->broadcast(values, world - 1));
    EXPECT_TRUE(at::equal(values, at::full({4}, world - 1, dtype)));
  }
  const auto notes = group->all_gather_bytes(std::string(rank * 3, 'a' + rank));
  ASSERT_TRUE(notes.ok());
  for (int r = 0; r < world; ++r) EXPECT_EQ((*notes)[r], std::string(r * 3, 'a' + r));
  require(group->barrier());
  require(group->check());

  // Sharding over several slices, a range that does not divide, more ranks than blocks.
  for (const int64_t n : {103, 5}) {
    at::Tensor flat = at::arange(n, at::kFloat) * (rank + 1);
    require(reduce_scatter_ranges(*group, flat, 4, 8));
    const ShardRange own = shard_range(n, 4, rank, world);
    const at::Tensor expected = at::arange(n, at::kFloat) * (world * (world + 1) / 2);
    EXPECT_TRUE(at::equal(flat.slice(0, own.begin, own.end), expected.slice(0, own.begin, own.end)));
    at::Tensor bf16 = at::zeros({n}, at::kBFloat16);
    bf16.slice(0, own.begin, own.end).fill_(rank + 1);
    require(all_gather_ranges(*group, bf16, 4, 8));
    for (int r = 0; r < world; ++r) {
      const ShardRange range = shard_range(n, 4, r, world);
      EXPECT_TRUE(at::equal(bf16.slice(0, range.begin, range.end), at::full({range.size()}, r + 1, at::kBFloat16)));
    }
  }

  // The fixed-order sum has one process's bits, over more than one bucket; twice with one object.
  const int64_t leaves = 8, elements = (int64_t{1} << 20) + 77;
  FixedOrderSum sum(leaves, elements, at::kFloat, rank, world);
  const LeafRange mine = leaf_range(leaves, rank, world);
  at::Tensor total = at::zeros({elements});
  for (int64_t leaf = mine.begin; leaf < mine.end; ++leaf) sum.add(awkward_leaf(leaf, elements));
  require(sum.finish(*group, total));
  EXPECT_TRUE(at::equal(total, sum_alone(leaves, elements)));
  group->leave();
  if (testing::Test::HasFailure()) _exit(1);
}

TEST(Worker, DISABLED_endless) {
  auto group = join();
  touch("ready." + std::to_string(group->rank()));
  at::Tensor values = at::full({1000}, 1.0);
  for (;;) require(group->all_reduce(values, Reduce::kMax));
}

TEST(Worker, DISABLED_sampling) {  // no collective in sight
  auto group = join();
  touch("ready." + std::to_string(group->rank()));
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

TEST(Worker, DISABLED_full_disk) {
  auto group = join();
  if (group->rank() == 1) {
    group->fail("checkpoint: no space left on device");
    _exit(5);
  }
  require(group->barrier());
  _exit(0);
}

TEST(Worker, DISABLED_late) {
  auto group = join();
  if (group->rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(3));
  require(group->barrier());
  _exit(0);
}

TEST(Worker, DISABLED_meet) {
  if (variable("RANK") == variable("ABSENT_RANK", "-")) _exit(0);
  if (const std::string twin = variable("TWIN_OF_0"); twin == variable("RANK")) setenv("RANK", "0", 1);
  auto group = join();
  _exit(0);
}

std::string error_line(const WorkerGroup::End& end) {
  const size_t at = end.output.find("ERROR ");
  return at == std::string::npos ? "no ERROR in: " + end.output
                                 : end.output.substr(at + 6, end.output.find('\n', at) - at - 6);
}
using testing::AllOf;
using testing::HasSubstr;

TEST(Processes, CollectivesShardsAndSums) {
  WorkerGroup two("collectives", 2), three("collectives", 3);
  for (WorkerGroup* group : {&two, &three}) {
    for (const auto& end : group->wait()) EXPECT_EQ(end.code, 0) << end.output;
  }
}

TEST(Processes, AKilledRankIsNamedByTheOthers) {
  for (const int victim : {1, 0}) {
    WorkerGroup group("endless", 3, {"LOST_AFTER_S=4"});
    for (int r = 0; r < 3; ++r) ASSERT_TRUE(group.wait_for_file("ready." + std::to_string(r)));
    group.kill(victim, SIGKILL);
    const auto& ends = group.wait();
    for (int r = 0; r < 3; ++r) {
      if (r == victim) continue;
      EXPECT_EQ(ends[r].code, kFailedExit) << ends[r].output;
      EXPECT_THAT(error_line(ends[r]), AllOf(HasSubstr("rank " + std::to_string(r) + " of 3: "),
                                             HasSubstr("rank " + std::to_string(victim) + " is lost")));
    }
  }
}

TEST(Processes, AFrozenRankIsFoundWhileTheOthersSample) {
  WorkerGroup group("sampling", 2, {"LOST_AFTER_S=2"});
  for (int r = 0; r < 2; ++r) ASSERT_TRUE(group.wait_for_file("ready." + std::to_string(r)));
  group.kill(0, SIGSTOP);  // hosts the rendezvous: that does not answer either
  std::this_thread::sleep_for(std::chrono::seconds(6));
  group.kill(0, SIGKILL);
  const auto& ends = group.wait();
  EXPECT_EQ(ends[1].code, kFailedExit) << ends[1].output;
  EXPECT_THAT(error_line(ends[1]), HasSubstr("rank 0 is lost: the rendezvous it hosts has not answered for 2 s"));
}

TEST(Processes, ARankThatFailsSaysWhy) {
  WorkerGroup group("full_disk", 3, {"LOST_AFTER_S=4"});
  const auto& ends = group.wait();
  EXPECT_EQ(ends[1].code, 5);
  for (const int r : {0, 2}) {
    EXPECT_EQ(ends[r].code, kFailedExit);
    EXPECT_THAT(error_line(ends[r]), HasSubstr("rank 1 stopped: checkpoint: no space left on device"));
  }
}

TEST(Processes, ALateRankIsNamed) {
  WorkerGroup group("late", 2, {"LOST_AFTER_S=4", "COLLECTIVE_TIMEOUT_S=1"});
  const auto& ends = group.wait();
  for (const auto& end : ends) EXPECT_EQ(end.code, kFailedExit) << end.output;
  EXPECT_THAT(error_line(ends[0]), HasSubstr("alive but not there: rank 1"));
}

TEST(Processes, MeetingsThatGoWrong) {
  WorkerGroup absent("meet", 2, {"ABSENT_RANK=1", "CONNECT_TIMEOUT_S=2"});
  WorkerGroup twin("meet", 3, {"TWIN_OF_0=2", "CONNECT_TIMEOUT_S=4"});
  const auto& absent_ends = absent.wait();
  EXPECT_EQ(absent_ends[0].code, kFailedExit);
  EXPECT_THAT(error_line(absent_ends[0]), AllOf(HasSubstr("not every rank came"), HasSubstr("missing: 1")));
  for (const auto& end : twin.wait()) EXPECT_EQ(end.code, kFailedExit) << end.output;
}

}  // namespace
}  // namespace throughline
