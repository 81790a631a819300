#include "dist/launch.h"

#include <charconv>
#include <cstdlib>
#include <initializer_list>

namespace throughline {
namespace {

// What one launcher says; absent where its variables are.
struct Claim {
  std::string launcher;
  int rank = 0;
  int world = 1;
  std::optional<int> local_rank;
  std::optional<int> local_world;
};

class Reader {
 public:
  explicit Reader(const EnvironmentVariables& environment) : environment_(environment) {}

  // An empty variable counts as unset: `env RANK= program` is how one unsets in a launcher script.
  std::optional<std::string> text(const char* name) const {
    auto value = environment_(name);
    if (value && value->empty()) return std::nullopt;
    return value;
  }

  Result<std::optional<int>> number(const char* name, int low, int high) const {
    const auto value = text(name);
    if (!value) return std::optional<int>();
    int parsed = 0;
    const char* end = value->data() + value->size();
    const auto [stop, error] = std::from_chars(value->data(), end, parsed);
    if (error != std::errc() || stop != end || parsed < low || parsed > high) {
      return Error{"\"" + *value + "\" is no whole number from " + std::to_string(low) + " to " + std::to_string(high),
                   "environment: " + std::string(name), "start through torchrun, mpirun or srun, or unset it"};
    }
    return std::optional<int>(parsed);
  }

  // Both of a pair or neither.
  Result<std::optional<Claim>> claim(const std::string& launcher, const char* rank_name, const char* world_name,
                                     const char* local_rank_name, const char* local_world_name) const {
    TL_TRY(const auto rank, number(rank_name, 0, kMaxWorld - 1));
    TL_TRY(const auto world, number(world_name, 1, kMaxWorld));
    if (!rank && !world) return std::optional<Claim>();
    if (!rank || !world) {
      return Error{
          std::string(rank ? rank_name : world_name) + " is set but " + (rank ? world_name : rank_name) + " is not",
          "environment", "set both (torchrun, mpirun and srun do), or neither for one process"};
    }
    if (*rank >= *world) {
      return Error{std::string(rank_name) + "=" + std::to_string(*rank) + " is not below " + world_name + "=" +
                       std::to_string(*world),
                   "environment", "ranks count from 0"};
    }
    Claim claim{launcher, *rank, *world, {}, {}};
    TL_TRY(claim.local_rank, number(local_rank_name, 0, kMaxWorld - 1));
    TL_TRY(claim.local_world, number(local_world_name, 1, kMaxWorld));
    return std::optional<Claim>(std::move(claim));
  }

 private:
  const EnvironmentVariables& environment_;
};

// A step of one task says nothing: whatever it started may be a launcher itself.
Result<std::optional<Claim>> slurm_claim(const Reader& read) {
  if (!read.text("SLURM_STEP_NUM_TASKS")) return std::optional<Claim>();  // a batch script or salloc shell: no step
  TL_TRY(auto claim, read.claim("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""));
  // "4" or "4(x2)": the same on every node. Uneven lists ("4,2") leave it open.
  const auto per_node = read.text("SLURM_STEP_TASKS_PER_NODE");
  if (claim && per_node && per_node->find(',') == std::string::npos) {
    claim->local_world = std::atoi(per_node->c_str());
  }
  return claim;
}

Result<std::optional<Claim>> mpi_claim(const Reader& read) {
  TL_TRY(auto open_mpi, read.claim("OpenMPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                                   "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"));
  if (open_mpi) return open_mpi;
  return read.claim("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS");
}

Status check_agreement(const Claim& by_hand, const std::optional<Claim>& outer) {
  if (!outer || outer->world == 1) return {};
  if (outer->rank == by_hand.rank && outer->world == by_hand.world) return {};
  return Error{"RANK=" + std::to_string(by_hand.rank) + " of WORLD_SIZE=" + std::to_string(by_hand.world) +
                   " contradicts " + outer->launcher + ", which says rank " + std::to_string(outer->rank) + " of " +
                   std::to_string(outer->world),
               "environment", "unset RANK and WORLD_SIZE, or set them for each process"};
}

// A port that two jobs on one machine seldom share and that every rank of one job computes alike.
int port_of_job(const std::string& job) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return 20000 + static_cast<int>(hash % 12000);  // below Linux's ephemeral ports, which begin at 32768
}

Result<int> rendezvous_port(const Reader& read) {
  TL_TRY(const auto port, read.number("MASTER_PORT", 1, 65535));
  if (port) return *port;
  std::string job;
  for (const char* name : {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "SLURM_JOB_ID", "SLURM_STEP_ID"}) {
    if (const auto value = read.text(name)) job += *value + "/";
  }
  return job.empty() ? kDefaultPort : port_of_job(job);
}

Result<std::string> rendezvous_address(const Reader& read, const Launch& launch) {
  if (const auto address = read.text("MASTER_ADDR")) return *address;
  if (launch.one_machine()) return std::string("127.0.0.1");
  if (launch.launcher == "Slurm") {
    auto list = read.text("SLURM_STEP_NODELIST");
    if (!list) list = read.text("SLURM_JOB_NODELIST");
    if (list) {
      const std::string host = first_slurm_host(*list);
      if (!host.empty()) return host;
      return Error{"\"" + *list + "\" is no node list", "environment: SLURM_STEP_NODELIST", "set MASTER_ADDR"};
    }
  }
  return Error{"MASTER_ADDR is not set and the " + std::to_string(launch.world) + " processes are on several machines",
               "environment", "set MASTER_ADDR to the host of rank 0 (mpirun -x MASTER_ADDR=host)"};
}

}  // namespace

std::string first_slurm_host(const std::string& list) {
  std::string host;
  for (size_t i = 0; i < list.size() && list[i] != ',';) {
    if (list[i] != '[') {
      host += list[i++];
      continue;
    }
    const size_t close = list.find(']', i);
    const size_t stop = list.find_first_of(",-]", i + 1);
    if (close == std::string::npos || stop == i + 1) return "";
    host += list.substr(i + 1, stop - i - 1);
    i = close + 1;
  }
  return host;
}

Result<Launch> launch_from(const EnvironmentVariables& environment) {
  const Reader read(environment);
  TL_TRY(auto claim, read.claim("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"));
  TL_TRY(const auto mpi, mpi_claim(read));
  TL_TRY(const auto slurm, slurm_claim(read));
  if (claim && !read.text("TORCHELASTIC_RUN_ID")) {
    TL_TRY_STATUS(check_agreement(*claim, mpi));
    if (!mpi) TL_TRY_STATUS(check_agreement(*claim, slurm));
  }
  // srun --mpi=pmi2 sets PMI_RANK too, but only Slurm's variables tell the nodes.
  const bool srun_pmi =
      mpi && slurm && mpi->launcher == "MPICH" && mpi->rank == slurm->rank && mpi->world == slurm->world;
  if (!claim) claim = srun_pmi ? slurm : mpi;
  if (!claim) claim = slurm;
  if (!claim || claim->world == 1) return Launch{};

  Launch launch;
  launch.rank = claim->rank;
  launch.world = claim->world;
  launch.launcher = claim->launcher;
  const auto address = read.text("MASTER_ADDR");
  const bool loopback = address && (address->rfind("127.", 0) == 0 || *address == "localhost" || *address == "::1");
  // Without word on it, a loopback rendezvous means one machine, anything else means several.
  launch.local_world = claim->local_world.value_or(loopback ? launch.world : 1);
  launch.local_rank = claim->local_rank.value_or(loopback ? launch.rank : 0);
  if (launch.local_rank >= launch.local_world || launch.local_world > launch.world) {
    return Error{"local rank " + std::to_string(launch.local_rank) + " of " + std::to_string(launch.local_world) +
                     " on this machine does not fit " + std::to_string(launch.world) + " processes in all",
                 "environment (" + launch.launcher + ")",
                 "set the local rank and size as the launcher does, or unset both"};
  }
  TL_TRY(launch.address, rendezvous_address(read, launch));
  TL_TRY(launch.port, rendezvous_port(read));
  launch.agent_hosts_store = read.text("TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
  launch.generation = read.text("TORCHELASTIC_RESTART_COUNT").value_or("0");
  return launch;
}

Result<Launch> launch_from_environment() {
  return launch_from([](const char* name) -> std::optional<std::string> {
    const char* value = *name ? std::getenv(name) : nullptr;
    if (!value) return std::nullopt;
    return value;
  });
}

}  // namespace throughline
