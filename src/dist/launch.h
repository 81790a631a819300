// Which process of how many this is, read from the variables that launchers set. It starts nothing and opens no socket.
//
// Read, in this order: torchrun or by hand (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT),
// OpenMPI (OMPI_COMM_WORLD_*), MPICH and Intel MPI (PMI_RANK, PMI_SIZE, MPI_LOCALRANKID, MPI_LOCALNRANKS), a Slurm step
// (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID; srun sets them, a batch script alone does not). None: one
// process. The innermost launcher wins (torchrun under srun, mpirun under Slurm); RANK and WORLD_SIZE that contradict
// MPI or a Slurm step without torchrun are an error, since a forgotten export would make every process rank 0. Errors
// name the variable, its value and what to set. Thread-safe (the environment is only read).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace throughline {

struct Launch {
  int rank = 0;                     // 0 <= rank < world
  int world = 1;                    // processes in all
  int local_rank = 0;               // among the processes of this machine
  int local_world = 1;              // processes of this machine; == world when all run here
  std::string address;              // of the rendezvous, which rank 0 hosts; empty for one process
  int port = 0;                     // 1 to 65535; 0 for one process
  bool agent_hosts_store = false;   // torchrun's agent hosts the rendezvous, not rank 0
  std::string generation;           // tells a restarted group's keys from those of the one before
  std::string launcher = "single";  // "single", "torchrun", "OpenMPI", "MPICH", "Slurm"

  bool one_machine() const { return local_world == world; }
};

constexpr int kMaxWorld = 4096;
constexpr int kDefaultPort = 29500;

using EnvironmentVariables = std::function<std::optional<std::string>(const char* name)>;

// Of this process.
Result<Launch> launch_from_environment();
Result<Launch> launch_from(const EnvironmentVariables& environment);

// The first host of a Slurm node list: "a[03-07,9]n[1-2],b" gives "a03n1". Empty when it is malformed.
std::string first_slurm_host(const std::string& list);

}  // namespace throughline
