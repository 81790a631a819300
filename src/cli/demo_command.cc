#include "cli/demo_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <thread>

#include "base/files.h"
#include "cli/demo_view.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/report.h"
#include "cli/terminal.h"

namespace throughline {
namespace {

constexpr int64_t kRoomTokens = 192;  // the KV memory of each column
constexpr int64_t kPageTokens = 16;
constexpr int kMostColumns = 160;

struct Options {
  std::string prompt = "Once upon a time, there was a little girl named Lily.";
  uint64_t seed = 11;
  double temperature = 0.7;
  double pace = -1;  // tokens/s; < 0: 60 on a terminal
  bool plain = false;
};

struct Way {
  const char *title, *kv, *think, *spec;
};
constexpr Way kWays[] = {
    {"full cache", "full", "longcot", "--kv full"},
    {"RPC", "rpc:interval=32,ratio=4,budget=160", "longcot", "--kv rpc:interval=32,ratio=4,budget=160"},
    {"Delethink", "full", "delethink:chunk=128,carry=64,head=8,max_chunks=16",
     "--think delethink:chunk=128,carry=64,head=8,max_chunks=16"},
};

// The shipped model lies beside the build folder that this program was built in.
Result<std::string> find_model() {
  std::error_code failure;
  auto folder = std::filesystem::read_symlink("/proc/self/exe", failure);
  while (!failure && folder.has_relative_path()) {
    folder = folder.parent_path();
    if (file_exists((folder / "models/stories260K/config.json").string()))
      return (folder / "models/stories260K").string();
  }
  return Error{"models/stories260K is not there", "demo", "run it from a clone: ./throughline demo"};
}

// Share of the 4-grams that had been said before.
double repetition_of(const std::vector<int32_t>& ids) {
  constexpr size_t kGram = 4;
  if (ids.size() < kGram) return 0;
  std::set<std::vector<int32_t>> seen;
  size_t repeated = 0;
  for (size_t at = 0; at + kGram <= ids.size(); ++at) {
    const auto from = ids.begin() + static_cast<std::ptrdiff_t>(at);
    if (!seen.emplace(from, from + kGram).second) ++repeated;
  }
  return static_cast<double>(repeated) / static_cast<double>(ids.size() - kGram + 1);
}

std::string ending_in_words(FinishDetail detail, const DemoScene& scene) {
  switch (detail) {
    case FinishDetail::kKvMemory:
      return "KV room is full";
    case FinishDetail::kContext:
      return fmt::format("all {} positions used", scene.positions);
    case FinishDetail::kMaxChunks:
      return "goes on (max_chunks)";
    default:
      return std::string(to_string(detail));
  }
}

class Demo {
 public:
  Demo(const Options& options, std::unique_ptr<LoadedModel> model) : options_(options), model_(std::move(model)) {
    const ModelConfig& config = model_->decoder->config();
    scene_.kv_room = kRoomTokens;
    scene_.positions = config.max_positions;
    scene_.headline = fmt::format("stories260K thinks aloud, three ways, each in a KV room of {} tokens", kRoomTokens);
    scene_.legend = fmt::format("same seed, same draws; the model has {} positions; {} a new chunk begins",
                                scene_.positions, kChunkEdge);
    for (const Way& way : kWays) scene_.columns.push_back({.title = way.title, .spec = way.spec});
  }

  // Each way has an engine of its own over the one decoder, so that each has the room to itself.
  Status begin() {
    EngineOptions engine = model_->engine->options();
    engine.speculation.num_speculative_tokens = 0;  // a token a step: the pace is for the eye
    for (size_t i = 0; i < std::size(kWays); ++i) {
      TL_TRY(auto own,
             Engine::create(model_->decoder.get(), model_->tokenizer.get(), model_->defaults.eos_ids, engine));
      engines_.push_back(std::move(own));
      TL_TRY_STATUS(submit(i));
    }
    return {};
  }

  int run() {
    const bool terminal = ::isatty(STDOUT_FILENO) != 0 && !options_.plain;
    const double pace = options_.pace >= 0 ? options_.pace : terminal ? 60 : 0;
    if (terminal) {
      LiveScreen screen;
      play(pace, [&] { screen.draw(scene_); });
    } else {
      play(pace, [] {});
    }
    const bool color = terminal && std::getenv("NO_COLOR") == nullptr;
    const TerminalSize size = terminal_size(STDOUT_FILENO);
    const std::string body = terminal ? draw_columns(scene_, std::min(size.columns - 1, kMostColumns),
                                                     std::clamp(size.rows - 13, 14, 30), color)
                                      : draw_text(scene_, 100);
    fmt::print("{}\n\n", body);
    if (interrupted()) return kInterruptedExit;
    fmt::print("{}\n{}", draw_table(scene_, color), kOwnModel);
    return 0;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr const char* kOwnModel =
      "tok/s: one core, the model's steps only; repeated: share of 4-grams said before\n\n"
      "The same with your own model:\n"
      "  ./throughline run --model DIR --kv rpc:interval=1024,ratio=4,budget=8192 PROMPT\n"
      "  ./throughline run --model DIR --think delethink:chunk=8192,carry=4096 PROMPT\n";

  Status submit(size_t index) {
    RequestLine line;
    line.prompt = options_.prompt;
    RequestFields& fields = line.fields;
    fields.seed = options_.seed;
    fields.temperature = options_.temperature;
    fields.top_p = 0.9;
    fields.ignore_eos = true;  // one story after the other
    TL_TRY(fields.kv, parse_spec(kWays[index].kv, policy_infos(), "demo"));
    TL_TRY(fields.think, parse_spec(kWays[index].think, environment_infos(), "demo"));
    TL_TRY(Request request, request_of(*model_, line, fields, "demo"));
    scene_.columns[index].text = options_.prompt + " ";  // the decoder drops the first space
    request.on_progress = [this, index](const SampleProgress& progress) { tell(index, progress); };
    request.on_finish = [this, index](SampleResult result) { finish(index, result); };
    TL_TRY(const auto ticket, engines_[index]->submit(std::move(request), "demo"));
    (void)ticket;
    return {};
  }

  void tell(size_t index, const SampleProgress& progress) {
    DemoColumn& column = scene_.columns[index];
    column.text += progress.text;
    if (progress.chunk + 1 > column.chunks) column.text += kChunkEdge;
    column.tokens = progress.tokens;
    column.chunks = progress.chunk + 1;
    column.kv_tokens = progress.kv_tokens;
    column.kv_peak =
        std::max(column.kv_peak, progress.kv_tokens);  // a sample that runs out of room leaves no statistics
  }

  void finish(size_t index, const SampleResult& result) {
    DemoColumn& column = scene_.columns[index];
    for (const auto& chunk : result.kv) column.kv_peak = std::max(column.kv_peak, chunk.stats.peak_tokens);
    column.tokens = result.trace.tokens();
    column.repetition = repetition_of(result.trace.token_ids());
    column.ended = ending_in_words(result.trace.finish, scene_);
    column.done = true;
  }

  void step(size_t index) {
    const auto start = Clock::now();
    engines_[index]->step();
    scene_.columns[index].seconds += std::chrono::duration<double>(Clock::now() - start).count();
  }

  // Steps every column in turn; with a pace, none runs ahead of it. Draws up to 25 times a second.
  template <typename Draw>
  void play(double pace, Draw draw) {
    const auto start = Clock::now();
    auto drawn = start - std::chrono::seconds(1);
    bool more = true;
    while (more && !interrupted()) {
      const double due = pace * std::chrono::duration<double>(Clock::now() - start).count();
      bool moved = false;
      more = false;
      for (size_t i = 0; i < engines_.size(); ++i) {
        const DemoColumn& column = scene_.columns[i];
        if (column.done) continue;
        more = true;
        if (pace > 0 && static_cast<double>(column.tokens) > due) continue;
        step(i);
        moved = true;
      }
      if (Clock::now() - drawn >= std::chrono::milliseconds(40)) {
        drawn = Clock::now();
        draw();
      }
      if (!moved) std::this_thread::sleep_for(std::chrono::milliseconds(4));
    }
    draw();
  }

  const Options& options_;
  std::unique_ptr<LoadedModel> model_;
  DemoScene scene_;
  std::vector<std::unique_ptr<Engine>> engines_;
};

Result<int> demo(const Options& options) {
  ModelOptions model;
  TL_TRY(model.model, find_model());
  model.threads = 1;  // 260 thousand parameters: a second thread costs more than it brings
  TL_TRY(const ModelConfig config, load_config(model.model));
  model.kv_memory = std::to_string(kRoomTokens * config.layers * config.kv_heads * config.head_dim * 2 *
                                   static_cast<int64_t>(sizeof(float)));
  model.dtype = "fp32";
  TL_TRY(auto loaded, load_model(model));
  if (loaded->engine->options().page_tokens != kPageTokens) return Error{"pages are not of 16 tokens", "demo", ""};
  Demo demo(options, std::move(loaded));
  TL_TRY_STATUS(demo.begin());
  return demo.run();
}

}  // namespace

void add_demo_command(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("demo", "a shipped tiny model past its cache and past its context, three ways side by side");
  command->add_option("--prompt", options->prompt, "how the story begins")->capture_default_str();
  command->add_option("--seed", options->seed, "of all draws")->capture_default_str();
  command->add_option("--temperature", options->temperature, "0 is greedy")->capture_default_str();
  command->add_option("--pace", options->pace, "tokens/s of each column; 0: as fast as it goes (default: 60, piped 0)");
  command->add_flag("--plain", options->plain, "no live columns: one text after the other");
  command->callback([options, exit_status] { *exit_status = report(demo(*options)); });
}

}  // namespace throughline
