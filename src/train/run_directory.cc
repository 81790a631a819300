#include "train/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/json.h"

namespace throughline {
namespace {

constexpr size_t kLineLimit = size_t{1} << 30;

// "step" of a line: found by the JSON text of a line we wrote ourselves; -1 if the line is broken.
int64_t step_of(const std::string& line, const std::string& where) {
  // Trace lines are long: read up to the first comma after "step" before parsing all of it.
  constexpr std::string_view kStart = "{\"step\":";
  if (line.compare(0, kStart.size(), kStart) == 0 && line.back() == '}') {
    const size_t end = line.find_first_not_of("0123456789", kStart.size());
    if (end != std::string::npos && end > kStart.size() && end - kStart.size() < 16)
      return std::stoll(line.substr(kStart.size(), end - kStart.size()));
  }
  const auto json = parse_json(line, where);
  if (!json.ok() || !json->is_object()) return -1;
  const auto step = json->find("step");
  return step != json->end() && step->is_number_integer() ? step->get<int64_t>() : -1;
}

// What a resumed run may say differently.
bool may_differ(const std::string& key, const Recipe& recipe) {
  if (key == "run.steps") return recipe.schedule.kind == ScheduleKind::kConstant;
  return key == "run.threads" || key == "checkpoint.every" || key == "checkpoint.keep";
}

Status check_same(const Recipe& recipe, const std::string& file) {
  TL_TRY(const Recipe before, load_recipe(recipe.kind, file, {}));
  std::string names;
  for (const std::string& key : before.differences(recipe)) {
    if (!may_differ(key, recipe)) names += (names.empty() ? "" : ", ") + key;
  }
  if (names.empty()) return {};
  return Error{"the recipe differs from the one this run began with: " + names, file,
               "resume with the same recipe, or start a new --run-dir"};
}

// A folder whose start failed, on a bad option say, holds none: it counts as empty.
bool holds_step(const RunDirectory& run) {
  std::error_code code;
  if (std::filesystem::file_size(run.metrics_file(), code) > 0 && !code) return true;
  for (const auto& entry : std::filesystem::directory_iterator(run.checkpoints(), code)) {
    if (entry.path().filename().string().compare(0, 5, "step-") == 0) return true;
  }
  return false;
}

// Those of a failed start, which may have been of another shape or seed.
void remove_first_weights(const RunDirectory& run) {
  std::error_code code;
  std::filesystem::remove_all(run.first_weights(), code);
}

}  // namespace

Result<RunDirectory> RunDirectory::open(const std::string& path, const Recipe& recipe, bool resume) {
  RunDirectory out;
  out.path_ = path;
  const std::string recipe_file = join_path(path, "recipe.toml");
  TL_TRY_STATUS(make_directories(path));
  const std::string lock_file = join_path(path, ".lock");
  out.lock_ = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (out.lock_ < 0) return Error{std::string("cannot create: ") + std::strerror(errno), lock_file, ""};
  if (::flock(out.lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return Error{"another process is training in this folder", path, "wait for it, or choose another --run-dir"};
  const bool exists = file_exists(recipe_file), began = holds_step(out);
  if (began && !resume)
    return Error{"already holds a run", path, "add --resume to go on with it, or choose another --run-dir"};
  if (began && exists) TL_TRY_STATUS(check_same(recipe, recipe_file));
  if (!began && exists) remove_first_weights(out);
  TL_TRY_STATUS(write_atomically(recipe_file, recipe.text()));
  TL_TRY_STATUS(make_directories(out.checkpoints()));
  return out;
}

RunDirectory::RunDirectory(RunDirectory&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      metrics_(std::move(other.metrics_)),
      traces_(std::move(other.traces_)) {}

RunDirectory& RunDirectory::operator=(RunDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  std::swap(metrics_, other.metrics_);
  std::swap(traces_, other.traces_);
  return *this;
}

RunDirectory::~RunDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

Status RunDirectory::begin_after(int64_t step) {
  const auto open_at = [&](const std::string& file, std::unique_ptr<LineWriter>& writer) -> Status {
    TL_TRY_STATUS(cut_lines_after(file, step));
    TL_TRY(LineWriter opened, LineWriter::append(file));
    writer = std::make_unique<LineWriter>(std::move(opened));
    return {};
  };
  TL_TRY_STATUS(open_at(metrics_file(), metrics_));
  return open_at(traces_file(), traces_);
}

Status RunDirectory::write_metrics(std::string_view line) {
  TL_CHECK(metrics_ != nullptr, "begin_after() comes first");
  return metrics_->write(line);
}

Status RunDirectory::write_trace(std::string_view line) {
  TL_CHECK(traces_ != nullptr, "begin_after() comes first");
  return traces_->write(line);
}

Status cut_lines_after(const std::string& path, int64_t step) {
  if (!file_exists(path)) return {};
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error{"cannot open", path, "check the permissions"};
  std::string line;
  uint64_t keep = 0;
  while (std::getline(file, line) && !file.eof()) {  // a last line without its newline is a killed writer's
    const int64_t at = line.empty() || line.size() > kLineLimit ? -1 : step_of(line, path);
    if (at < 0 || at > step) break;
    keep += line.size() + 1;
  }
  file.close();
  std::error_code code;
  if (std::filesystem::file_size(path, code) == keep && !code) return {};
  std::filesystem::resize_file(path, keep, code);
  if (code) return Error{"cannot cut the lines after step " + std::to_string(step) + ": " + code.message(), path, ""};
  return {};
}

}  // namespace throughline
