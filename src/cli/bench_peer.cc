#include "cli/bench_peer.h"

namespace throughline {
namespace {

constexpr double kAnswerSeconds = 900;  // a timed run

}  // namespace

Result<BenchPeer> BenchPeer::start(const std::string& name, const std::vector<std::string>& command,
                                   const std::string& error_file, const Json& order, double ready_seconds) {
  TL_TRY(auto child, ChildProcess::start(command, error_file));
  BenchPeer out(name, std::move(child));
  if (const auto ready = out.ask(dump_json(order), ready_seconds); !ready.ok()) return ready.error();
  out.child_.stop();
  return out;
}

Result<double> BenchPeer::run() {
  child_.go_on();
  TL_TRY(const Json answer, ask("run", kAnswerSeconds));
  child_.stop();
  if (!answer.contains("seconds") || !answer["seconds"].is_number() || answer["seconds"] <= 0)
    return Error{"reported no time", name_, ""};
  return answer["seconds"].get<double>();
}

Result<Json> BenchPeer::finish() {
  child_.go_on();
  return ask("finish", kAnswerSeconds);
}

Result<Json> BenchPeer::ask(const std::string& line, double seconds) {
  TL_TRY_STATUS(child_.write_line(line));
  TL_TRY(const std::string answer, child_.read_line(seconds));
  TL_TRY(Json json, parse_json(answer, name_));
  if (!json.is_object()) return Error{"answered no JSON object", name_, ""};
  if (json.contains("error")) return Error{json["error"].dump(), name_, ""};
  return json;
}

}  // namespace throughline
