#include "dist/gloo_group.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "dist/heartbeat.h"

namespace throughline {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

Milliseconds milliseconds(double s) { return Milliseconds(static_cast<int64_t>(s * 1000)); }

// c10d's messages carry a stack or a list of addresses behind the first line.
std::string first_line(const std::exception& error) {
  std::string text = error.what();
  if (const auto* torch_error = dynamic_cast<const c10::Error*>(&error)) text = torch_error->what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

// A store as the heartbeat's board. Its connection is its own, since a store's calls wait for one another.
class StoreBoard : public Board {
 public:
  explicit StoreBoard(c10::intrusive_ptr<c10d::Store> store) : store_(std::move(store)) {}

  Status post(const std::string& key, const std::string& note) override {
    return guarded([&] { store_->set(key, bytes_of(note)); });
  }
  Result<std::vector<std::string>> read(const std::vector<std::string>& keys) override {
    std::vector<std::string> notes;
    TL_TRY_STATUS(guarded([&] {
      for (const auto& note : store_->multiGet(keys)) notes.push_back(text_of(note));
    }));
    return notes;
  }
  Result<std::string> exchange(const std::string& key, const std::string& before, const std::string& note) override {
    std::string now;
    TL_TRY_STATUS(guarded([&] { now = text_of(store_->compareSet(key, bytes_of(before), bytes_of(note))); }));
    return now;
  }

 private:
  template <typename F>
  static Status guarded(F&& call) {
    try {
      call();
    } catch (const std::exception& error) {
      return Error{first_line(error), "rendezvous store", ""};
    }
    return {};
  }
  c10::intrusive_ptr<c10d::Store> store_;
};

std::string numeric(const sockaddr* address, socklen_t length) {
  char text[NI_MAXHOST];
  return getnameinfo(address, length, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0 ? text : "";
}

bool is_loopback(const std::string& ip) { return ip.rfind("127.", 0) == 0 || ip == "::1"; }

// This machine's address as rank 0's machine would see it: that of a datagram socket pointed there. Sends nothing.
std::string address_towards(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return "";
  std::string ip;
  for (const addrinfo* each = found; each && ip.empty(); each = each->ai_next) {
    const int fd = socket(each->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    sockaddr_storage mine{};
    socklen_t length = sizeof mine;
    if (connect(fd, each->ai_addr, each->ai_addrlen) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&mine), &length) == 0) {
      ip = numeric(reinterpret_cast<sockaddr*>(&mine), length);
    }
    close(fd);
  }
  freeaddrinfo(found);
  return ip;
}

std::string first_outward_address() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "";
  std::string ip;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* each = all; each && ip.empty(); each = each->ifa_next) {
      if (!each->ifa_addr || each->ifa_addr->sa_family != family) continue;
      if ((each->ifa_flags & IFF_LOOPBACK) || !(each->ifa_flags & IFF_RUNNING)) continue;
      ip = numeric(each->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    }
  }
  freeifaddrs(all);
  return ip;
}

// Gloo by itself binds what gethostname() resolves to, which on Debian is 127.0.1.1: other machines then wait in vain.
std::shared_ptr<gloo::transport::Device> choose_device(const Launch& launch, const ProcessGroupOptions& options) {
  std::string interface = options.interface;
  if (const char* named = std::getenv("GLOO_SOCKET_IFNAME"); interface.empty() && named) interface = named;
  if (!interface.empty()) return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  if (launch.one_machine()) return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  std::string ip = address_towards(launch.address, launch.port);
  if (ip.empty() || is_loopback(ip)) ip = first_outward_address();
  return c10d::ProcessGroupGloo::createDeviceForHostname(ip.empty() ? "127.0.0.1" : ip);
}

class GlooGroup : public ProcessGroup {
 public:
  static Result<std::unique_ptr<ProcessGroup>> connect(const Launch& launch, const ProcessGroupOptions& options) {
    std::unique_ptr<GlooGroup> group(new GlooGroup(launch, options));
    try {
      TL_TRY_STATUS(group->meet(launch));
      TL_TRY_STATUS(group->join_mesh(launch));
    } catch (const std::exception& error) {
      return group->place({first_line(error), "", "MASTER_ADDR and MASTER_PORT name rank 0's machine and a free port"});
    }
    return std::unique_ptr<ProcessGroup>(std::move(group));
  }

  ~GlooGroup() override {
    if (heartbeat_ && !ended_) fail("ended before its work was done");
    heartbeat_.reset();
    // Workers that hang in a broken call would be waited for: a failed group is left to the end of the process.
    if (broken_) (void)gloo_.release();
  }

  Status all_reduce(at::Tensor values, Reduce reduce) override {
    require(values, true);
    c10d::AllreduceOptions call;
    call.reduceOp = reduce == Reduce::kSum ? c10d::ReduceOp::SUM : c10d::ReduceOp::MAX;
    call.timeout = timeout();
    std::vector<at::Tensor> list = {std::move(values)};
    return run("all_reduce", [&] { return gloo_->allreduce(list, call); });
  }

  Status reduce_scatter(at::Tensor output, at::Tensor input) override {
    require(output, true);
    require(input, true);
    TL_CHECK(input.numel() == output.numel() * world(), "reduce_scatter: input is world times output");
    c10d::ReduceScatterOptions call;
    call.timeout = timeout();
    return run("reduce_scatter", [&] { return gloo_->_reduce_scatter_base(output, input, call); });
  }

  Status all_gather(at::Tensor output, at::Tensor input) override {
    require(output, false);
    require(input, false);
    TL_CHECK(output.numel() == input.numel() * world(), "all_gather: output is world times input");
    c10d::AllgatherOptions call;
    call.timeout = timeout();
    at::Tensor out_bytes = output.view({-1}).view(at::kByte), in_bytes = input.view({-1}).view(at::kByte);
    return run("all_gather", [&] { return gloo_->_allgather_base(out_bytes, in_bytes, call); });
  }

  Status broadcast(at::Tensor values, int root) override {
    require(values, false);
    c10d::BroadcastOptions call;
    call.rootRank = root;
    call.timeout = timeout();
    std::vector<at::Tensor> list = {values.view({-1}).view(at::kByte)};
    return run("broadcast", [&] { return gloo_->broadcast(list, call); });
  }

  Status barrier() override {
    c10d::BarrierOptions call;
    call.timeout = timeout();
    return run("barrier", [&] { return gloo_->barrier(call); });
  }

  Status check() override {
    if (error_) return *error_;
    const auto failure = heartbeat_->failure();
    if (!failure) return {};
    heartbeat_->enter_call(++calls_, "check");  // and never leaves: the caller knows
    return give_up(*failure);
  }

  void fail(const std::string& why) override {
    if (ended_) return;
    ended_ = broken_ = true;
    heartbeat_->post_failure("rank " + std::to_string(rank()) + " stopped: " + why);
    linger();
  }

  void leave() override {
    if (ended_) return;
    ended_ = true;
    heartbeat_->leave(std::min(10.0, options_.lost_after_s));
  }

 private:
  GlooGroup(const Launch& launch, const ProcessGroupOptions& options)
      : ProcessGroup(launch.rank, launch.world),
        options_(options),
        hosts_store_(launch.rank == 0 && !launch.agent_hosts_store) {}

  Error place(Error error) const {
    error.where = "rank " + std::to_string(rank()) + " of " + std::to_string(world()) +
                  (error.where.empty() ? "" : ", " + error.where);
    return error;
  }

  c10::intrusive_ptr<c10d::Store> open_store(const Launch& launch, bool server) {
    std::signal(SIGPIPE, SIG_IGN);  // writing to a rank that has ended is an error to report, not this process's end
    c10d::TCPStoreOptions store;
    store.port = static_cast<uint16_t>(launch.port);
    store.isServer = server;
    store.waitWorkers = false;  // meet() waits, and can name who is missing
    store.timeout = milliseconds(options_.connect_timeout_s);
    auto tcp = c10::make_intrusive<c10d::TCPStore>(launch.address, store);
    return c10::make_intrusive<c10d::PrefixStore>("throughline/" + launch.generation, std::move(tcp));
  }

  // Everyone signs in; two processes of one rank, and groups of two sizes, are told apart here.
  Status meet(const Launch& launch) {
    const std::string at = launch.address + ":" + std::to_string(launch.port);
    store_ = open_store(launch, hosts_store_);
    const std::string size = std::to_string(world());
    const std::string agreed = text_of(store_->compareSet("world", {}, bytes_of(size)));
    if (agreed != size) {
      return place({"the rendezvous at " + at + " is for " + agreed + " processes, not " + size, "",
                    "another job may use this port: set MASTER_PORT"});
    }
    (void)store_->compareSet(Heartbeat::kFailureKey, {}, bytes_of(Heartbeat::kNoFailure));
    store_->set(Heartbeat::rank_key(rank()), bytes_of(Heartbeat::kFirstNote));
    if (store_->add("joined/" + std::to_string(rank()), 1) != 1) {
      return place({"a process with this rank is at the rendezvous " + at + " already", "",
                    "each process needs its own rank; is another job on this port? set MASTER_PORT"});
    }
    std::vector<std::string> keys;
    for (int r = 0; r < world(); ++r) keys.push_back("joined/" + std::to_string(r));
    try {
      store_->wait(keys, milliseconds(options_.connect_timeout_s));
    } catch (const std::exception&) {
      std::string missing;
      for (int r = 0; r < world(); ++r) {
        if (!store_->check({keys[r]})) missing += (missing.empty() ? "" : ", ") + std::to_string(r);
      }
      return place({"not every rank came to the rendezvous at " + at + " within " +
                        std::to_string(static_cast<int>(options_.connect_timeout_s)) + " s; missing: " + missing,
                    "", "see the output of those ranks"});
    }
    return {};
  }

  Status join_mesh(const Launch& launch) {
    HeartbeatOptions beat;
    beat.rank = rank();
    beat.world = world();
    beat.lost_after_s = options_.lost_after_s;
    beat.board_host = launch.agent_hosts_store ? "torchrun's agent" : "rank 0";
    beat.on_lost = options_.on_lost;
    heartbeat_ = std::make_unique<Heartbeat>(std::make_unique<StoreBoard>(open_store(launch, false)), beat);
    heartbeat_->enter_call(0, "connect");
    auto gloo = c10d::ProcessGroupGloo::Options::create(milliseconds(options_.connect_timeout_s));
    gloo->devices.push_back(choose_device(launch, options_));
    try {
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store_),
                                                          rank(), world(), gloo);
    } catch (const std::exception& error) {
      return give_up(heartbeat_->explain_break(first_line(error)));
    }
    heartbeat_->leave_call();
    return {};
  }

  // Gloo's own comes later than ours: run() can name who is late.
  Milliseconds timeout() const { return milliseconds(options_.collective_timeout_s + 60); }

  void require(const at::Tensor& tensor, bool reduces) const {
    TL_CHECK(tensor.is_contiguous() && tensor.is_cpu(), "collectives take contiguous tensors on the CPU");
    const auto dtype = tensor.scalar_type();
    TL_CHECK(!reduces || dtype == at::kFloat || dtype == at::kDouble || dtype == at::kLong,
             "reductions take fp32, fp64, int64");
  }

  // Starts the call and waits for it, but no longer than every rank is alive.
  template <typename Start>
  Status run(const char* name, Start&& start) {
    if (error_) return *error_;
    TL_CHECK(!ended_, "no call follows leave() or fail()");
    const int64_t number = ++calls_;
    heartbeat_->enter_call(number, name);
    std::string broke;
    try {
      const auto work = start();
      const auto deadline = Clock::now() + milliseconds(options_.collective_timeout_s);
      while (!finished(*work)) {
        if (const auto failure = heartbeat_->failure()) return give_up(*failure);
        if (Clock::now() > deadline) return late(name, number);
      }
    } catch (const std::exception& error) {
      broke = first_line(error);
    }
    if (!broke.empty()) return give_up(heartbeat_->explain_break(broke));
    heartbeat_->leave_call();
    return {};
  }

  // Waits a little; throws what the call threw.
  static bool finished(c10d::Work& work) {
    try {
      work.wait(Milliseconds(100));
    } catch (const std::exception&) {
      if (!work.isCompleted()) return false;
      work.wait(Milliseconds(100));  // what was thrown may be the wait's own end, just before the call's
    }
    return true;
  }

  Status late(const char* name, int64_t number) {
    const std::string behind = heartbeat_->ranks_behind(number);
    heartbeat_->post_failure(std::string(name) + " " + std::to_string(number) + " was waited for " +
                             std::to_string(static_cast<int64_t>(options_.collective_timeout_s)) +
                             " s; alive but not there: " + (behind.empty() ? "no rank" : behind));
    return give_up(*heartbeat_->failure());
  }

  Error give_up(const Error& error) {
    if (!error_) linger();
    error_ = error;
    broken_ = ended_ = true;
    return error;
  }

  // The others read the failure from this rank's store: it stays until they had time to.
  void linger() const {
    if (hosts_store_)
      std::this_thread::sleep_for(
          std::chrono::duration<double>(2.5 * HeartbeatOptions{.lost_after_s = options_.lost_after_s}.beat_s()));
  }

  ProcessGroupOptions options_;
  bool hosts_store_;
  bool ended_ = false;
  bool broken_ = false;
  std::optional<Error> error_;
  int64_t calls_ = 0;
  c10::intrusive_ptr<c10d::Store> store_;
  std::unique_ptr<Heartbeat> heartbeat_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
};

}  // namespace

Result<std::unique_ptr<ProcessGroup>> connect_gloo(const Launch& launch, const ProcessGroupOptions& options) {
  return GlooGroup::connect(launch, options);
}

}  // namespace throughline
