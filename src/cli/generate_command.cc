#include "cli/generate_command.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "base/files.h"
#include "cli/answered_lines.h"
#include "cli/interrupt.h"
#include "cli/line_input.h"
#include "cli/model_options.h"
#include "cli/output_line.h"
#include "cli/report.h"
#include "cli/request_line.h"

namespace throughline {
namespace {

struct Options {
  ModelOptions model;
  FieldFlags flags;
  std::string input = "-", output = "-";
  bool trace_kv = false;
};

class Generate {
 public:
  Generate(const Options& options, RequestFields flags, std::unique_ptr<LoadedModel> model,
           std::set<std::string> answered, LineWriter writer)
      : options_(options),
        flags_(std::move(flags)),
        model_(std::move(model)),
        seen_(std::move(answered)),
        writer_(std::move(writer)),
        skipped_(seen_.size()) {}

  Status run(LineInput& input) {
    // Enough lines are read ahead to keep the batch full; the rest of the input waits in its file. A line that has not
    // come yet is waited for only when there is nothing to do.
    const int64_t ahead = 2 * model_->engine->options().batch_max;
    bool more = true;
    while (!interrupted() && failure_.ok()) {
      while (more && open_ < ahead && !interrupted() && (open_ == 0 || input.ready())) more = take_line(input);
      if (!model_->engine->step() && !more) break;
      progress_.show(done_, open_, model_->engine->stats());
    }
    if (failure_.ok()) progress_.finish(done_, errors_, skipped_, model_->engine->stats());
    return failure_;
  }
  int64_t errors() const { return errors_; }

 private:
  // The samples of one line, collected until all are there.
  struct Pending {
    Json id;
    int64_t line = 0;
    RequestFields fields;
    std::shared_ptr<const EvictionPolicy> policy;
    SamplingOptions sampling;
    int64_t missing = 1;
    std::map<int64_t, Json> samples;
  };

  bool take_line(LineInput& input) {
    std::string text;
    if (!input.next(&text)) return false;
    ++line_;
    if (text.find_first_not_of(" \t\r") == std::string::npos) return true;
    const std::string where =
        (options_.input == "-" ? "standard input" : options_.input) + " line " + std::to_string(line_);
    const KnownSpecs known{policy_infos(), environment_infos()};
    auto parsed = parse_request_line(text, known, where);
    const Json id = parsed.ok() ? parsed->id : request_id(text);
    if (parsed.ok() && !seen_.insert(line_key(id, line_)).second) {
      if (own_.insert(line_key(id, line_)).second) return true;  // answered by an earlier run
      write_error(id, Error{"id " + id.dump() + " appears twice", where, "give every line its own id"});
      return true;
    }
    own_.insert(line_key(id, line_));
    const Status status = parsed.ok() ? submit(*parsed, where) : Status(parsed.error());
    if (!status.ok()) write_error(id, status.error());
    return true;
  }

  Status submit(const RequestLine& line, const std::string& where) {
    auto pending = std::make_shared<Pending>();
    pending->id = line.id;
    pending->line = line_;
    pending->fields = line.fields.over(flags_);
    TL_TRY(Request request, request_of(*model_, line, pending->fields, where));
    pending->missing = request.samples;
    pending->policy = request.policy;
    pending->sampling = request.sampling;
    request.on_finish = [this, pending](SampleResult result) { collect(*pending, std::move(result)); };
    TL_TRY(const auto ticket, model_->engine->submit(std::move(request), where));
    (void)ticket;
    ++open_;
    return {};
  }

  void collect(Pending& pending, SampleResult result) {
    const ModelConfig& config = model_->decoder->config();
    const OutputContext context{.tokenizer = model_->tokenizer.get(),
                                .policy = pending.policy.get(),
                                .sampling = &pending.sampling,
                                .trace_kv = options_.trace_kv,
                                .layers = config.layers,
                                .kv_heads = config.kv_heads};
    if (!result.error.empty()) failed_ = true;
    pending.samples[result.sample] = output_of(result, context);
    if (--pending.missing > 0) return;
    Json line = named(pending.id, pending.line);
    line.update(pending.samples.begin()->second);
    if (pending.samples.size() > 1) {
      Json samples = Json::array();
      for (auto& [index, sample] : pending.samples) samples.push_back(std::move(sample));
      line["samples"] = std::move(samples);
    }
    --open_;
    ++done_;
    if (failed_) ++errors_;
    failed_ = false;
    write(line);
  }

  static Json named(const Json& id, int64_t line) {
    Json out = {{"id", id}};
    if (id.is_null()) out["line"] = line;
    return out;
  }

  void write_error(const Json& id, const Error& error) {
    ++errors_;
    Json line = named(id, line_);
    line["error"] = error.line();
    write(line);
  }

  void write(const Json& line) {
    const Status status = writer_.write(dump_json(line));
    if (!status.ok() && failure_.ok()) failure_ = status;
  }

  const Options& options_;
  RequestFields flags_;
  std::unique_ptr<LoadedModel> model_;
  std::set<std::string> seen_;  // answered by earlier runs and met in this one
  std::set<std::string> own_;   // met in this one
  LineWriter writer_;
  int64_t skipped_ = 0;
  int64_t line_ = 0, open_ = 0, done_ = 0, errors_ = 0;
  bool failed_ = false;
  Status failure_;
  ProgressLine progress_;
};

Result<int> generate(const Options& options) {
  TL_TRY(RequestFields flags, options.flags.fields());
  TL_TRY(LineInput input, LineInput::open(options.input));
  if (options.input != "-") {
    std::error_code ignored;
    if (std::filesystem::equivalent(options.input, options.output, ignored) && !is_stream(options.output))
      return Error{"is the input as well", options.output, "write to another file"};
  }
  TL_TRY(auto model, load_model(options.model));
  TL_TRY_STATUS(check_flags(flags, *model));
  TL_TRY(auto answered, answered_in(options.output));
  TL_TRY(auto writer, LineWriter::append(options.output));
  Generate run(options, std::move(flags), std::move(model), std::move(answered), std::move(writer));
  TL_TRY_STATUS(run.run(input));
  if (interrupted()) return kInterruptedExit;
  return run.errors() > 0 ? 1 : 0;
}

}  // namespace

void add_generate_command(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "answer JSON Lines: one request a line in, one result a line out");
  command->footer(
      "Input and output fields: docs/generate.md. A rerun skips the ids already answered in --output and tries errors "
      "again.");
  options->model.add_to(*command);
  command->add_option("-i,--input", options->input, "JSON Lines file; - is standard input")->capture_default_str();
  command->add_option("-o,--output", options->output, "JSON Lines file, appended to; - is standard output")
      ->capture_default_str();
  command->add_flag("--trace-kv", options->trace_kv, "report what every compression kept (kv.events)");
  options->flags.add_to(*command);
  command->callback([options, exit_status] { *exit_status = report(generate(*options)); });
}

}  // namespace throughline
