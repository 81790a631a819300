// For tests: starts copies of the running test binary as the ranks of a group, and gathers how they end.
//
// A worker is a test named Worker.DISABLED_<case>, which a normal run skips; the copy runs only that. exec, not a bare
// fork: torch's threads do not survive a fork.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace throughline {

inline std::vector<std::string> inherited_environment_without_launchers() {
  std::vector<std::string> out;
  for (char** each = environ; *each; ++each) {
    const std::string entry = *each;
    bool keep = true;
    for (const char* prefix : {"RANK=", "WORLD_SIZE=", "LOCAL_", "MASTER_", "OMPI_", "PMI", "MPI_", "SLURM_",
                               "TORCHELASTIC", "OMP_NUM_THREADS="}) {
      keep = keep && entry.rfind(prefix, 0) != 0;
    }
    if (keep) out.push_back(entry);
  }
  return out;
}

class WorkerGroup {
 public:
  struct End {
    int code = -1;       // exit status; 128 + signal when killed; -1: had to be killed by the test's time limit
    std::string output;  // stdout and stderr
    double seconds = 0;  // since the start
  };

  // Starts `world` workers of `name`; extra is "NAME=value" for all.
  WorkerGroup(const std::string& name, int world, const std::vector<std::string>& extra = {}) {
    folder_ = std::filesystem::temp_directory_path() / ("dist_worker_" + std::to_string(getpid()) + "_" + name);
    std::filesystem::create_directories(folder_);
    const std::string port = std::to_string(20000 + (getpid() * 7 + counter()++ * 131) % 12000);
    for (int rank = 0; rank < world; ++rank) {
      auto environment = inherited_environment_without_launchers();
      environment.insert(environment.end(), extra.begin(), extra.end());
      for (const std::string& entry :
           {"RANK=" + std::to_string(rank), "WORLD_SIZE=" + std::to_string(world), std::string("MASTER_ADDR=127.0.0.1"),
            "MASTER_PORT=" + port, std::string("OMP_NUM_THREADS=1"), "WORKER_FOLDER=" + folder_.string()}) {
        environment.push_back(entry);
      }
      pids_.push_back(start(name, environment, log_of(rank)));
    }
    ends_.resize(world);
    done_.resize(world);
  }
  ~WorkerGroup() {
    for (size_t r = 0; r < pids_.size(); ++r) {
      if (!done_[r]) {
        ::kill(pids_[r], SIGKILL);
        waitpid(pids_[r], nullptr, 0);
      }
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  const std::filesystem::path& folder() const { return folder_; }
  void kill(int rank, int signal) const { ::kill(pids_[rank], signal); }

  // Until a worker wrote this file into WORKER_FOLDER.
  bool wait_for_file(const std::string& name, double limit_s = 60) const {
    for (const auto start = Clock::now(); seconds_since(start) < limit_s;) {
      if (std::filesystem::exists(folder_ / name)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  const std::vector<End>& wait(double limit_s = 100) {
    for (size_t open = pids_.size(); open > 0;) {
      open = 0;
      for (size_t r = 0; r < pids_.size(); ++r) {
        if (done_[r]) continue;
        int status = 0;
        if (seconds_since(start_) > limit_s) ::kill(pids_[r], SIGKILL);
        const bool late = seconds_since(start_) > limit_s;
        if (waitpid(pids_[r], &status, late ? 0 : WNOHANG) == 0) {
          ++open;
          continue;
        }
        done_[r] = true;
        const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        ends_[r] = {late ? -1 : code, read(log_of(static_cast<int>(r))), seconds_since(start_)};
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return ends_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
  static int& counter() {
    static int value = 0;
    return value;
  }
  std::filesystem::path log_of(int rank) const { return folder_ / ("log." + std::to_string(rank)); }
  static std::string read(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  static pid_t start(const std::string& name, const std::vector<std::string>& environment,
                     const std::filesystem::path& log) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    const std::string filter = "--gtest_filter=Worker.DISABLED_" + name;
    std::vector<const char*> arguments = {self.c_str(), filter.c_str(), "--gtest_also_run_disabled_tests",
                                          "--gtest_brief=1", nullptr};
    std::vector<const char*> variables;
    for (const std::string& entry : environment) variables.push_back(entry.c_str());
    variables.push_back(nullptr);
    const std::string log_path = log;
    const pid_t pid = fork();
    if (pid != 0) return pid;
    const int fd = open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(fd, 1);
    dup2(fd, 2);
    execve(self.c_str(), const_cast<char**>(arguments.data()), const_cast<char**>(variables.data()));
    _exit(127);
  }

  std::filesystem::path folder_;
  std::vector<pid_t> pids_;
  std::vector<End> ends_;
  std::vector<bool> done_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace throughline
