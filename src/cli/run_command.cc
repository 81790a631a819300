#include "cli/run_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/text_input.h"

namespace throughline {
namespace {

struct Options {
  ModelOptions model;
  FieldFlags flags;
  std::string prompt, system;
  bool raw = false;
};

// The text as it comes, thinking dimmed where standard output is a terminal, and the status under it.
class Stream {
 public:
  void add(const SampleProgress& progress) {
    if (tokens_ == 0) first_ = Clock::now();
    tokens_ = progress.tokens;
    chunks_ = progress.chunk + 1;
    kv_tokens_ = progress.kv_tokens;
    context_tokens_ = progress.context_tokens;
    drafts_ = drafts_text(progress.accepted_tokens, progress.draft_tokens);
    write(progress.text, progress.thinking);
    show_status();
  }

  // What the engine held back until it was certain.
  void finish(const SampleResult& result) {
    if (result.text && result.text->size() > written_ && result.trace.chunks.size() > 0) {
      write(std::string_view(*result.text).substr(written_), dim_);
    }
    if (dim_) put("\033[0m");
    dim_ = false;
    if (column_ > 0 && on_terminal_) put("\n");
    bar_.close();
    if (on_status_ && !both_) fmt::print(stderr, "\r\033[K");
    summary(result);
  }

  bool failed() const { return std::ferror(stdout) != 0; }

 private:
  using Clock = std::chrono::steady_clock;

  static void put(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  void write(std::string_view text, bool thinking) {
    if (on_terminal_ && thinking != dim_) put(thinking ? "\033[2m" : "\033[0m");
    dim_ = thinking && on_terminal_;
    if (text.empty()) return;
    put(text);
    written_ += text.size();
    column_ = column_after(text, column_, terminal_size(STDOUT_FILENO).columns);
  }

  double tokens_per_second() const {
    const double seconds = std::chrono::duration<double>(Clock::now() - first_).count();
    return tokens_ > 1 && seconds > 0 ? static_cast<double>(tokens_ - 1) / seconds : 0;
  }

  void show_status() {
    const auto now = Clock::now();
    if (both_ && column_ == terminal_size(STDOUT_FILENO).columns) return;
    if (!on_status_ || now - shown_ < std::chrono::milliseconds(80)) return;
    shown_ = now;
    const std::string line = fmt::format("{} tokens  {:.1f} tok/s  KV {} kept / {} seen  chunk {}{}", tokens_,
                                         tokens_per_second(), kv_tokens_, context_tokens_, chunks_, drafts_);
    if (both_) {
      bar_.show(line);
    } else {
      fmt::print(stderr, "\r\033[K{}", cut_to(line, terminal_size(STDERR_FILENO).columns - 1));
      std::fflush(stderr);
    }
  }

  void summary(const SampleResult& result) const {
    int64_t peak = 0, evicted = 0, compressions = 0;
    for (const auto& [stats, records] : result.kv) {
      peak = std::max(peak, stats.peak_tokens);
      evicted += stats.evicted_tokens;
      compressions += stats.compressions;
    }
    const int64_t tokens = result.trace.tokens();
    const double rate = result.timing.decode_s > 0 ? static_cast<double>(tokens) / result.timing.decode_s : 0;
    fmt::print(stderr, "[{}: {} prompt + {} new tokens in {} chunk{}; {:.1f} tok/s{}; KV peak {} tokens",  // NOLINT
               to_string(result.trace.finish), result.trace.query_ids.size(), tokens, result.trace.chunks.size(),
               result.trace.chunks.size() == 1 ? "" : "s", rate,
               drafts_text(result.accepted_tokens, result.draft_tokens), peak);
    if (compressions > 0) fmt::print(stderr, ", {} evicted in {} compressions", evicted, compressions);
    fmt::print(stderr, "]\n");
  }

  const bool on_terminal_ = ::isatty(STDOUT_FILENO) != 0, on_status_ = throughline::on_terminal();
  const bool both_ = on_terminal_ && on_status_;
  StatusBar bar_;
  Clock::time_point first_, shown_;
  int64_t tokens_ = 0, chunks_ = 1, kv_tokens_ = 0, context_tokens_ = 0;
  std::string drafts_;
  size_t written_ = 0;
  int column_ = 0;  // of the cursor, on a terminal
  bool dim_ = false;
};

Result<RequestLine> line_of(const Options& options, const LoadedModel& model) {
  RequestLine line;
  TL_TRY(const std::string prompt, text_argument(options.prompt, "prompt"));
  if (options.raw || !model.chat_template) {
    if (!options.system.empty()) {
      return Error{options.raw ? "needs a chat template, which --raw leaves out" : "the model has no chat template",
                   "--system", "write it into the prompt"};
    }
    line.prompt = prompt;
    return line;
  }
  line.messages = Json::array();
  if (!options.system.empty()) line.messages.push_back({{"role", "system"}, {"content", options.system}});
  line.messages.push_back({{"role", "user"}, {"content", prompt}});
  return line;
}

Result<int> run(const Options& options) {
  TL_TRY(const RequestFields fields, options.flags.fields());
  if (fields.n.value_or(1) != 1) return Error{"run gives one sample", "--n", "use generate for several"};
  TL_TRY(const auto model, load_model(options.model));
  TL_TRY_STATUS(check_flags(fields, *model));
  TL_TRY(const RequestLine line, line_of(options, *model));
  TL_TRY(Request request, request_of(*model, line, fields, "run"));
  Stream stream;
  std::optional<SampleResult> result;
  request.on_progress = [&](const SampleProgress& progress) { stream.add(progress); };
  request.on_finish = [&](SampleResult done) { result = std::move(done); };
  TL_TRY(const Engine::Ticket ticket, model->engine->submit(std::move(request), "run"));
  bool stopped = false;
  while (!result) {
    if (!stopped && (interrupted() || stream.failed())) {
      model->engine->cancel(ticket, FinishDetail::kCancelled);
      stopped = true;
    }
    model->engine->step();
  }
  stream.finish(*result);
  if (stream.failed()) return Error{"cannot write", "standard output", ""};
  if (interrupted()) return kInterruptedExit;
  if (!result->error.empty()) {
    fmt::print(stderr, "throughline: {}\n", result->error);
    return 1;
  }
  return 0;
}

}  // namespace

void add_run_command(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("run", "answer one prompt, streamed");
  command->footer(
      "The answer goes to standard output, everything else to standard error. Ctrl-C ends the answer where it is.");
  command->add_option("prompt", options->prompt,
                      "the prompt (default, and -: standard input without its last newline)");
  options->model.add_to(*command);
  command->add_option("--system", options->system, "system message, for models with a chat template");
  command->add_flag("--raw", options->raw, "the prompt as it is, without the model's chat template");
  options->flags.add_to(*command, "Sampling");
  command->callback([options, exit_status] { *exit_status = report(run(*options)); });
}

}  // namespace throughline
