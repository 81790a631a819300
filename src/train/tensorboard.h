// TensorBoard event files, written without TensorFlow: TFRecord frames around Event messages (protobuf by hand).
//
// One file a process: "events.out.tfevents.SECONDS.HOST.PID", SECONDS later than those of the files that are there,
// since TensorBoard reads them by name. Each call writes its events with one write(2), so that a killed run leaves
// whole records. A resumed run opens a new file with `purge_from`: TensorBoard then drops what earlier files hold from
// that step on. Values go through fp32, as its scalar panel wants. Not thread-safe. Source: TensorFlow's
// record_writer.cc and event.proto; checked against stock TensorBoard 2.21 by tools/make_tensorboard_golden.py.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/result.h"

namespace throughline {

class TensorboardWriter {
 public:
  // `folder` is made when missing. `from_step`: the first step that this process writes; 0 for a new run.
  static Result<TensorboardWriter> open(const std::string& folder, int64_t from_step = 0);

  // All scalars of a step in one event. Not finite ones too: TensorBoard marks them.
  Status add_scalars(int64_t step, std::span<const std::pair<std::string, double>> scalars);
  Status add_text(int64_t step, std::string_view tag, std::string_view markdown);
  const std::string& path() const { return file_.path(); }

 private:
  explicit TensorboardWriter(RecordWriter file) : file_(std::move(file)) {}
  RecordWriter file_;
};

// The pieces, pure. Times in seconds since 1970.
namespace tensorboard {
std::string frame(std::string_view event);  // length, its checksum, the event, its checksum
std::string version_event(double wall_time_s);
std::string start_event(double wall_time_s, int64_t step);
std::string scalars_event(double wall_time_s, int64_t step, std::span<const std::pair<std::string, double>> scalars);
std::string text_event(double wall_time_s, int64_t step, std::string_view tag, std::string_view markdown);
}  // namespace tensorboard

}  // namespace throughline
