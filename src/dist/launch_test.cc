#include "dist/launch.h"

#include <gtest/gtest.h>

#include <map>

namespace throughline {
namespace {

using Variables = std::map<std::string, std::string>;

Result<Launch> launch(const Variables& variables) {
  return launch_from([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

std::string error_of(const Variables& variables) {
  const auto result = launch(variables);
  return result.ok() ? "" : result.error().line();
}

TEST(Launch, NoVariablesIsOneProcess) {
  const auto one = launch({{"PATH", "/bin"}, {"SLURM_JOB_ID", "7"}});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->world, 1);
  EXPECT_EQ(one->launcher, "single");
  EXPECT_TRUE(one->one_machine());
}

TEST(Launch, Torchrun) {
  const auto got = launch({{"RANK", "5"},
                           {"WORLD_SIZE", "8"},
                           {"LOCAL_RANK", "1"},
                           {"LOCAL_WORLD_SIZE", "4"},
                           {"MASTER_ADDR", "n1"},
                           {"MASTER_PORT", "4000"},
                           {"TORCHELASTIC_RUN_ID", "none"},
                           {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                           {"TORCHELASTIC_RESTART_COUNT", "2"},
                           // srun started one torchrun a node: torchrun, the innermost, wins
                           {"SLURM_PROCID", "1"},
                           {"SLURM_STEP_NUM_TASKS", "2"}});
  ASSERT_TRUE(got.ok()) << got.error().line();
  EXPECT_EQ(got->rank, 5);
  EXPECT_EQ(got->world, 8);
  EXPECT_EQ(got->local_rank, 1);
  EXPECT_EQ(got->local_world, 4);
  EXPECT_EQ(got->address, "n1");
  EXPECT_EQ(got->port, 4000);
  EXPECT_TRUE(got->agent_hosts_store);
  EXPECT_EQ(got->generation, "2");
  EXPECT_FALSE(got->one_machine());
}

TEST(Launch, MpiOnOneMachineNeedsNoAddress) {
  const Variables open_mpi = {{"OMPI_COMM_WORLD_RANK", "1"},       {"OMPI_COMM_WORLD_SIZE", "2"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                              {"PMIX_NAMESPACE", "prterun-vm-1"},  {"SLURM_PROCID", "0"},
                              {"SLURM_STEP_NUM_TASKS", "3"}};
  const auto got = launch(open_mpi);
  ASSERT_TRUE(got.ok()) << got.error().line();
  EXPECT_EQ(got->rank, 1);
  EXPECT_EQ(got->launcher, "OpenMPI");
  EXPECT_EQ(got->address, "127.0.0.1");
  EXPECT_GE(got->port, 20000);
  EXPECT_LT(got->port, 32000);
  Variables other_job = open_mpi;
  other_job["PMIX_NAMESPACE"] = "prterun-vm-2";
  EXPECT_NE(launch(other_job)->port, got->port);

  const auto mpich = launch({{"PMI_RANK", "0"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "3"}});
  ASSERT_TRUE(mpich.ok()) << mpich.error().line();
  EXPECT_EQ(mpich->launcher, "MPICH");
  EXPECT_EQ(mpich->port, kDefaultPort);
}

TEST(Launch, SlurmStep) {
  const Variables step = {
      {"SLURM_PROCID", "3"},  {"SLURM_STEP_NUM_TASKS", "4"},          {"SLURM_NTASKS", "4"},
      {"SLURM_LOCALID", "1"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}, {"SLURM_STEP_NODELIST", "rack[2-3]n[07,9]"},
      {"SLURM_JOB_ID", "99"}};
  const auto got = launch(step);
  ASSERT_TRUE(got.ok()) << got.error().line();
  EXPECT_EQ(got->rank, 3);
  EXPECT_EQ(got->world, 4);
  EXPECT_EQ(got->local_world, 2);
  EXPECT_EQ(got->address, "rack2n07");
  // A batch script without srun is one process, whatever --ntasks it asked for.
  const auto batch = launch({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "99"}});
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->world, 1);
}

TEST(Launch, SlurmHosts) {
  EXPECT_EQ(first_slurm_host("n1"), "n1");
  EXPECT_EQ(first_slurm_host("n1,n2"), "n1");
  EXPECT_EQ(first_slurm_host("n[003-006,8],b"), "n003");
  EXPECT_EQ(first_slurm_host("a[03-07]n[1-2].x,b"), "a03n1.x");
  EXPECT_EQ(first_slurm_host("n[3"), "");
  EXPECT_EQ(first_slurm_host("n[]"), "");
  EXPECT_EQ(first_slurm_host(""), "");
}

TEST(Launch, NonsenseIsOneClearLine) {
  EXPECT_EQ(error_of({{"RANK", "x"}, {"WORLD_SIZE", "2"}}),
            "environment: RANK: \"x\" is no whole number from 0 to 4095; start through torchrun, mpirun or srun, or "
            "unset it");
  EXPECT_EQ(error_of({{"RANK", "1"}}),
            "environment: RANK is set but WORLD_SIZE is not; set both (torchrun, mpirun and srun do), or neither for "
            "one process");
  EXPECT_EQ(error_of({{"RANK", "2"}, {"WORLD_SIZE", "2"}}),
            "environment: RANK=2 is not below WORLD_SIZE=2; ranks count from 0");
  EXPECT_NE(error_of({{"RANK", "-1"}, {"WORLD_SIZE", "2"}}), "");
  EXPECT_NE(error_of({{"RANK", "0"}, {"WORLD_SIZE", "99999999999999"}}), "");
  EXPECT_NE(error_of({{"RANK", "0"}, {"WORLD_SIZE", "2 "}}), "");
  EXPECT_NE(error_of({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "0"}}), "");
  EXPECT_EQ(error_of({{"OMPI_COMM_WORLD_RANK", "0"},
                      {"OMPI_COMM_WORLD_SIZE", "2"},
                      {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                      {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}}),
            "environment: MASTER_ADDR is not set and the 2 processes are on several machines; set MASTER_ADDR to the "
            "host of rank 0 (mpirun -x MASTER_ADDR=host)");
  EXPECT_NE(
      error_of(
          {{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "3"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}),
      "");
}

TEST(Launch, ContradictionsAreRefused) {
  const Variables stale = {{"RANK", "0"},
                           {"WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "127.0.0.1"},
                           {"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"}};
  EXPECT_EQ(error_of(stale),
            "environment: RANK=0 of WORLD_SIZE=2 contradicts OpenMPI, which says rank 1 of 2; unset RANK and "
            "WORLD_SIZE, or set them for each process");
  Variables agreed = stale;
  agreed["RANK"] = "1";
  EXPECT_EQ(error_of(agreed), "");
  EXPECT_NE(error_of({{"RANK", "0"},
                      {"WORLD_SIZE", "2"},
                      {"MASTER_ADDR", "127.0.0.1"},
                      {"SLURM_PROCID", "1"},
                      {"SLURM_STEP_NUM_TASKS", "2"}}),
            "");
  // An outer launcher of one task says nothing.
  EXPECT_EQ(error_of({{"RANK", "0"},
                      {"WORLD_SIZE", "2"},
                      {"MASTER_ADDR", "127.0.0.1"},
                      {"SLURM_PROCID", "0"},
                      {"SLURM_STEP_NUM_TASKS", "1"}}),
            "");
}

}  // namespace
}  // namespace throughline
