#include "cli/bench_compare.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/median.h"
#include "cli/bench_peer.h"
#include "ops/cpu/bandwidth.h"

namespace throughline {
namespace {

double number(const Json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

// One engine in one case; an error of it ends its part only.
class Contestant {
 public:
  Contestant(const BenchEngine& engine, const CompareCase& compare_case, const CompareSettings& settings)
      : engine_(engine), case_(compare_case), settings_(settings) {}

  void open() {
    std::string file = engine_.name;
    std::replace_if(
        file.begin(), file.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '-'; }, '_');
    const Json order = {{"kind", case_.kind},         {"batch", case_.batch},       {"depth", case_.depth},
                        {"tokens", settings_.tokens}, {"repeat", settings_.repeat}, {"threads", settings_.threads}};
    auto started = BenchPeer::start(engine_.name, engine_.command, settings_.error_folder + "/" + file + ".err", order,
                                    settings_.ready_seconds);
    if (!started.ok()) return fail(started.error());
    peer_.emplace(std::move(started).value());
  }

  bool stands() const { return peer_.has_value(); }

  void run(double bandwidth) {
    bandwidths_.push_back(bandwidth);
    const auto seconds = peer_->run();
    if (!seconds.ok()) return fail(seconds.error());
    seconds_.push_back(*seconds);
  }

  Json result(double last_bandwidth) {
    bandwidths_.push_back(last_bandwidth);
    std::optional<Json> end;
    if (peer_) {
      auto last = peer_->finish();
      last.ok() ? void(end = std::move(last).value()) : fail(last.error());
    }
    Json out = {{"peer", engine_.name}, {"own", engine_.own},   {"kind", case_.kind},
                {"batch", case_.batch}, {"depth", case_.depth}, {"flags", engine_.flags}};
    if (!end) {
      out["error"] = error_;
      return out;
    }
    std::vector<double> rates;
    const bool decode = case_.kind == "decode";
    const auto batch = static_cast<double>(case_.batch);
    for (const double seconds : seconds_) {
      rates.push_back(decode
                          ? batch / (seconds / static_cast<double>(settings_.tokens) + number(*end, "event_s_per_step"))
                          : batch * static_cast<double>(case_.depth) / seconds);
    }
    const double bw = median(bandwidths_), bytes = number(*end, "bytes_per_step");
    out["version"] = end->value("version", "");
    out["tok_s_median"] = median(rates);
    out["tok_s_min"] = *std::min_element(rates.begin(), rates.end());
    out["tok_s_max"] = *std::max_element(rates.begin(), rates.end());
    out["runs"] = rates.size();
    out["peak_rss_mib"] = number(*end, "peak_rss_mib");
    out["bw_gb_s"] = bw;
    out["bw_min"] = *std::min_element(bandwidths_.begin(), bandwidths_.end());
    out["bw_max"] = *std::max_element(bandwidths_.begin(), bandwidths_.end());
    if (decode && bytes > 0) {
      out["bytes_per_step"] = bytes;
      out["roofline_fraction"] = median(rates) / batch * bytes / (bw * 1e9);
    }
    out["note"] = end->value("note", "");
    return out;
  }

 private:
  void fail(const Error& error) {
    error_ = error.line();
    peer_.reset();
  }

  const BenchEngine& engine_;
  const CompareCase& case_;
  const CompareSettings& settings_;
  std::optional<BenchPeer> peer_;
  std::vector<double> seconds_, bandwidths_;
  std::string error_;
};

}  // namespace

Result<std::vector<BenchEngine>> read_peers(const std::string& path, std::vector<std::string>* missing) {
  namespace fs = std::filesystem;
  TL_TRY(const Json file, read_json_file(path));
  const auto shape = [&](const std::string& what) { return Error{what, path, "write it with bench/peers/setup.sh"}; };
  if (!file.is_object() || !file.contains("peers") || !file["peers"].is_array()) return shape("has no list \"peers\"");
  const fs::path folder = fs::absolute(path).parent_path();
  std::vector<BenchEngine> out;
  for (const Json& peer : file["peers"]) {
    if (!peer.is_object() || !peer.contains("name") || !peer["name"].is_string() || !peer.contains("command") ||
        !peer["command"].is_array() || peer["command"].empty())
      return shape("a peer needs \"name\" and \"command\"");
    BenchEngine engine{.name = peer["name"], .flags = peer.value("flags", "")};
    for (const Json& word : peer["command"]) {
      if (!word.is_string()) return shape("a peer's \"command\" is a list of strings");
      engine.command.push_back(word);
    }
    std::string& program = engine.command.front();
    if (program.find('/') != std::string::npos) {
      program = (folder / program).string();
      if (access(program.c_str(), X_OK) != 0) {
        missing->push_back(engine.name);
        continue;
      }
    }
    out.push_back(std::move(engine));
  }
  return out;
}

Result<std::vector<Json>> compare_engines(const std::vector<BenchEngine>& engines, const CompareCase& compare_case,
                                          const CompareSettings& settings) {
  const auto stopped = [&]() -> Status {
    if (settings.interrupted && settings.interrupted()) return Error{"interrupted", "", ""};
    return {};
  };
  ops::BandwidthMeter meter(settings.bandwidth_mib << 20);
  std::vector<Contestant> contestants;
  contestants.reserve(engines.size());
  for (const BenchEngine& engine : engines) {
    TL_TRY_STATUS(stopped());
    if (settings.progress) settings.progress("preparing " + engine.name);
    contestants.emplace_back(engine, compare_case, settings);
    contestants.back().open();
  }
  double bandwidth = meter.read_gb_s();
  for (int64_t run = 0; run < settings.repeat; ++run) {
    if (settings.progress)
      settings.progress("run " + std::to_string(run + 1) + " of " + std::to_string(settings.repeat));
    for (Contestant& contestant : contestants) {
      TL_TRY_STATUS(stopped());
      if (!contestant.stands()) continue;
      contestant.run(bandwidth);
      bandwidth = meter.read_gb_s();
    }
  }
  std::vector<Json> out;
  for (Contestant& contestant : contestants) out.push_back(contestant.result(bandwidth));
  return out;
}

}  // namespace throughline
