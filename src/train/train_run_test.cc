#include "train/train_run.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

#include "train/checkpoint.h"
#include "train/fit_items.h"
#include "train/grpo.h"
#include "train/sft.h"
#include "train/trace_line.h"
#include "train/train_fixture.h"

namespace throughline {
namespace {

// ---- items ----

TEST(TrainItems, AFileGivesEachLineOnceAPass) {
  const TrainFolder folder;
  std::string lines;
  for (int i = 0; i < 7; ++i)
    lines += "{\"prompt\":\"p" + std::to_string(i) + "\",\"gold\":" + std::to_string(i) + "}\n";
  ASSERT_TRUE(write_atomically(folder / "x.jsonl", lines).ok());
  TaskSection section;
  section.file = folder / "x.jsonl";
  section.profile = "rlvr";
  const auto items = TrainItems::create({section}, TaskSplit::kTrain, TrainKind::kGrpo);
  ASSERT_TRUE(items.ok()) << items.error().line();
  std::vector<std::string> first, second;
  for (int i = 0; i < 7; ++i) first.push_back(items->at(5, i).prompt), second.push_back(items->at(5, 7 + i).prompt);
  EXPECT_NE(first, second);  // another order
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
  EXPECT_EQ(std::unique(first.begin(), first.end()), first.end());
  const TrainItem item = items->at(5, 3);
  EXPECT_EQ(items->judge(item, "The answer is \\boxed{" + item.gold + "}"), TaskVerdict::kRight);
  EXPECT_EQ(items->judge(item, "The answer is \\boxed{99}"), TaskVerdict::kWrong);
}

TEST(TrainItems, AGoldNumberIsReadAsItIsWritten) {
  const TrainFolder folder;
  ASSERT_TRUE(write_atomically(folder / "x.jsonl", "{\"prompt\":\"p\",\"gold\":1e-7}\n").ok());
  TaskSection section;
  section.file = folder / "x.jsonl";
  section.profile = "rlvr-strict";
  const auto items = TrainItems::create({section}, TaskSplit::kTrain, TrainKind::kGrpo);
  ASSERT_TRUE(items.ok()) << items.error().line();
  EXPECT_EQ(items->judge(items->at(0, 0), "\\boxed{0.0000001}"), TaskVerdict::kRight);
}

TEST(TrainItems, FaultsInFilesAreNamed) {
  const TrainFolder folder;
  TaskSection section;
  section.file = folder / "x.jsonl";
  section.profile = "rlvr";
  const auto error = [&](const std::string& text) {
    EXPECT_TRUE(write_atomically(section.file, text).ok());
    return TrainItems::create({section}, TaskSplit::kTrain, TrainKind::kGrpo).error().line();
  };
  EXPECT_NE(error("{\"prompt\":\"a\",\"gold\":\"1\"}\n{\"prompt\":\"a\"}\n").find("line 2: has no text \"gold\""),
            std::string::npos);
  EXPECT_NE(error("[1]\n").find("line 1: is not an object"), std::string::npos);
  EXPECT_NE(error("{\"prompt\":\" \",\"gold\":\"1\"}\n").find("line 1: \"prompt\" is empty"), std::string::npos);
  EXPECT_NE(error("{\"prompt\":\"a\",\"gold\":\"\"}\n").find("line 1: \"gold\" is empty"), std::string::npos);
  EXPECT_NE(error("\n").find("holds no line"), std::string::npos);
}

TEST(TrainItems, CharactersThatATokenizerDoesNotKnowAreTold) {
  const TrainFolder folder;
  ASSERT_TRUE(write_atomically(folder / "x.jsonl",
                               "{\"prompt\":\"ab\",\"response\":\"one\"}\n"
                               "{\"prompt\":\"ab\",\"response\":\"1 \u20ac\"}\n"
                               "{\"prompt\":\"\u00dcn\u00ef\",\"response\":\"one\"}\n")
                  .ok());
  TrainOptions options =
      options_of(TrainKind::kSft, "[run]\nsteps = 1\n[model]\nconfig = \"config.json\"\n[[task]]\nfile = \"x.jsonl\"\n",
                 folder.path(), folder / "run");
  std::vector<std::string> said;
  options.say = [&](const std::string& text) { said.push_back(text); };
  (void)run_steps(options);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0], folder / "x.jsonl" +
                         ": 2 of 3 items, the first \"line 2\", lose characters that the tokenizer does not know");

  const auto bytes = Tokenizer::load(THROUGHLINE_SOURCE_DIR "/models/stories260K");
  ASSERT_TRUE(bytes.ok()) << bytes.error().line();
  for (const char* text : {"1 \u20ac", "e\u0301", "  a\n", "\u1100\u1161"})
    EXPECT_FALSE(loses_characters(**bytes, text)) << text;
}

// ---- SFT ----

TEST(Sft, RowsAreCutAsTheEnvironmentCuts) {
  const TrainFolder folder;
  ASSERT_TRUE(make_model_from_scratch(folder / "m", folder / "config.json", 1).ok());
  const auto model = TrainModel::load(folder / "m", "");
  ASSERT_TRUE(model.ok()) << model.error().line();
  const auto spec = parse_spec("delethink:chunk=8,carry=4,max_chunks=9,head=2", environment_infos(), "think");
  const auto environment = make_environment(*spec, "think");
  TrainItem item;
  item.prompt = "ab";
  item.reasoning = "0123456789abc";
  item.answer = "A: 1";
  const auto rows = rows_of_item(*model, **environment, item, 256, 5);
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 4U);  // 13 + </think> + 4 + <eos> = 19 = 8 + 4 + 4 + 3
  const auto text = [&](size_t r) { return model->tokenizer->decode((*rows)[r].ids, false); };
  EXPECT_EQ(text(0), "ab\n<think>01234567");
  EXPECT_EQ(text(1),
            "ab\n<think>01"
            "67"
            "89ab");
  EXPECT_EQ(text(2),
            "ab\n<think>01"
            "ab"
            "c</think>A:");
  EXPECT_EQ(text(3),
            "ab\n<think>01"
            "A:"
            " 1<eos>");
  for (const TrainRow& row : *rows) {
    EXPECT_EQ(row.trace, 5);
    EXPECT_EQ(row.trace_tokens, 19);
    EXPECT_TRUE(row.behavior_logprobs.empty());
    EXPECT_EQ(row.trained, std::vector<uint8_t>(static_cast<size_t>(row.response_tokens()), 1));
  }
  EXPECT_EQ((*rows)[1].prompt_tokens, 8);
  EXPECT_TRUE(rows_of_item(*model, **environment, item, 10, 0)->empty());  // the context is too short
}

TEST(Sft, OverfitsAFileAndSaysItBack) {
  const TrainFolder folder;
  ASSERT_TRUE(
      write_atomically(folder / "x.jsonl",
                       "{\"prompt\":\"a\",\"response\":\"one two three\"}\n{\"prompt\":\"b\",\"response\":\"four\"}\n")
          .ok());
  const auto steps =
      run_steps(options_of(TrainKind::kSft,
                           "[run]\nsteps = 60\n[model]\nconfig = \"config.json\"\n"
                           "[[task]]\nfile = \"x.jsonl\"\n"
                           "[[task]]\nfile = \"x.jsonl\"\nsplit = \"evaluation\"\n"
                           "[sft]\nitems = 2\n[optimizer]\nlr = 0.01\n[evaluation]\nevery = 60\nitems = 2\n"
                           "temperature = 0\n",
                           folder.path(), folder / "run"));
  ASSERT_EQ(steps.size(), 60U);
  EXPECT_GT(steps.front().get("loss"), 2.5);
  EXPECT_LT(steps.back().get("loss"), 0.1);
  EXPECT_EQ(steps.front().get("eval_accuracy_start"), 0);
  EXPECT_EQ(steps.back().get("eval_accuracy"), 1);
  EXPECT_LT(steps.back().get("eval_loss"), 0.1);
  // What was saved is a model directory that answers the same.
  const auto saved = TrainModel::load(folder / "run/checkpoints/step-60", "");
  EXPECT_TRUE(saved.ok()) << saved.error().line();
}

// ---- GRPO: rewards, advantages, rows ----

Rollout made_rollout(TaskVerdict verdict, bool truncated, int chunks) {
  Rollout out;
  out.verdict = verdict;
  out.truncated = truncated;
  Trace& trace = out.result.trace;
  trace.query_ids = {7, 8};
  for (int c = 0; c < chunks; ++c) {
    ChunkTrace chunk;
    chunk.prompt_ids = {7, 8, 9};
    for (int i = 0; i < 3; ++i) {
      chunk.token_ids.push_back(10 + i);
      chunk.draws.push_back({.id = 10 + i, .logprob = -1, .sampling_logprob = -1});
    }
    chunk.weight_version = 3;
    trace.chunks.push_back(chunk);
    out.result.kv.push_back({});
  }
  return out;
}

RolloutGroup made_group(const GrpoSection& options, std::vector<Rollout> rollouts) {
  RolloutGroup group;
  group.rollouts = std::move(rollouts);
  score_group(options, 100, group);
  return group;
}

GrpoSection grpo_options(const std::vector<std::string>& overrides = {}) {
  const auto recipe =
      parse_recipe(TrainKind::kGrpo, "[model]\npath=\"/m\"\n[[task]]\nspec=\"chain_sum\"\n", overrides, "r");
  EXPECT_TRUE(recipe.ok()) << recipe.error().line();
  return recipe->grpo;
}

TEST(Grpo, RowsShareTheAdvantageOfTheirTraceAndOneOptimizerStep) {
  const GrpoSection options = grpo_options({"grpo.updates=2"});
  std::vector<RolloutGroup> groups;
  for (int g = 0; g < 2; ++g) {
    std::vector<Rollout> rollouts;
    rollouts.push_back(made_rollout(TaskVerdict::kRight, false, 3));
    rollouts.push_back(made_rollout(TaskVerdict::kWrong, false, 1));
    groups.push_back(made_group(options, std::move(rollouts)));
  }
  EXPECT_EQ(groups[0].rewards, (std::vector<double>{1, 0}));
  EXPECT_NEAR(groups[0].advantages[0], 0.5 / (std::sqrt(0.5) + 1e-6), 1e-6);
  EXPECT_EQ(groups[0].advantages[0], -groups[0].advantages[1]);
  const auto batch = rows_of_groups(options, groups);
  ASSERT_TRUE(batch.ok()) << batch.error().line();
  EXPECT_EQ(batch->traces, 4);
  EXPECT_EQ(batch->traces_left_out, 0);
  ASSERT_EQ(batch->updates.size(), 2U);
  for (const auto& rows : batch->updates) {
    ASSERT_EQ(rows.size(), 4U);
    for (size_t r = 0; r < 3; ++r) {
      EXPECT_EQ(rows[r].trace, 0);
      EXPECT_EQ(rows[r].trace_tokens, 9);
      EXPECT_EQ(rows[r].advantage, groups[0].advantages[0]);
      EXPECT_EQ(rows[r].prompt_tokens, 3);  // the carried id is part of the prompt: no loss
      EXPECT_EQ(rows[r].weight_version, 3);
    }
    EXPECT_EQ(rows[3].trace, 1);
    EXPECT_EQ(rows[3].advantage, groups[0].advantages[1]);
  }
}

TEST(Grpo, WhatIsLeftOutIsCounted) {
  const auto traces_of = [](const std::vector<std::string>& overrides) {
    const GrpoSection options = grpo_options(overrides);
    std::vector<RolloutGroup> groups;
    std::vector<Rollout> flat, mixed;
    for (int i = 0; i < 2; ++i) flat.push_back(made_rollout(TaskVerdict::kWrong, false, 1));
    mixed.push_back(made_rollout(TaskVerdict::kRight, false, 1));
    mixed.push_back(made_rollout(TaskVerdict::kNoAnswer, true, 2));
    groups.push_back(made_group(options, std::move(flat)));
    groups.push_back(made_group(options, std::move(mixed)));
    EXPECT_TRUE(groups[0].zero_variance);
    EXPECT_FALSE(groups[1].zero_variance);
    for (auto& group : groups) group.left_out = group.zero_variance && options.zero_variance != ZeroVariance::kKeep;
    const std::vector<double> rewards = {1, options.overlong == OverlongKind::kPenalise ? -0.5 : 0};
    EXPECT_EQ(groups[1].rewards, rewards);
    const auto batch = rows_of_groups(options, groups);
    EXPECT_EQ(batch->traces + batch->traces_left_out, 4);
    return batch->traces;
  };
  EXPECT_EQ(traces_of({}), 4);
  EXPECT_EQ(traces_of({"grpo.zero_variance=skip"}), 2);
  EXPECT_EQ(traces_of({"grpo.overlong=mask"}), 3);
  EXPECT_EQ(traces_of({"grpo.overlong=penalise"}), 4);
  EXPECT_EQ(traces_of({"grpo.zero_variance=skip", "grpo.overlong=mask"}), 1);
}

// ---- whole runs ----

// A model that has learnt the form and guesses the node: rewards differ within groups.
class GrpoRun : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TrainFolder();
    const std::string warm = fmt::format(
        "[run]\nsteps = 80\n[model]\nconfig = \"config.json\"\n[[task]]\nspec = \"{}\"\n[rollout]\nthink = \"{}\"\n"
        "[sft]\nitems = 16\n[optimizer]\nlr = 0.01\n",
        kTask, kThink);
    const auto steps = run_steps(options_of(TrainKind::kSft, warm, folder_->path(), *folder_ / "warm"));
    EXPECT_LT(steps.back().get("loss"), 1.0);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string recipe(const std::string& more) {
    return fmt::format(
        "[run]\nsteps = 6\n[model]\npath = \"warm/checkpoints/step-80\"\n[[task]]\nspec = \"{}\"\n[rollout]\n"
        "think = \"{}\"\nbatch = 8\ntemperature = 1.3\n[optimizer]\nlr = 0.001\n[grpo]\nprompts = 3\ngroup = 4\n{}",
        kTask, kThink, more);
  }
  static TrainOptions options(const std::string& more, const std::string& run) {
    return options_of(TrainKind::kGrpo, recipe(more), folder_->path(), *folder_ / run);
  }

  static inline const std::string kTask = "iterate_map:form=compact,style=plain,steps=2,states=2,marks=1,restate=0";
  static inline const std::string kThink = "delethink:chunk=12,carry=8,max_chunks=4,head=2,reserve=4";
  static inline TrainFolder* folder_ = nullptr;
};

TEST_F(GrpoRun, MetricsAndTracesSayWhatHappened) {
  const auto steps = run_steps(options("updates = 2\nkl = 0.01\n", "plain"));
  ASSERT_EQ(steps.size(), 6U);
  double varied = 0;
  for (const StepMetrics& step : steps) {
    for (const char* name :
         {"reward", "accuracy", "trace_tokens_mean", "chunks_mean", "truncated", "no_answer", "zero_variance_groups",
          "entropy", "logprob_gap_mean", "logprob_gap_max", "tokens_per_s", "rollout_s", "update_s", "peak_rss_mib"}) {
      EXPECT_TRUE(step.has(name)) << name;
    }
    EXPECT_EQ(step.get("traces"), 12);
    EXPECT_EQ(step.get("weight_version"), 2.0 * static_cast<double>(step.step));
    EXPECT_LT(step.get("logprob_gap_max"), 1e-3);
    EXPECT_GT(step.get("chunks_mean"), 1);
    varied += step.get("zero_variance_groups") < 1;
  }
  EXPECT_GT(varied, 0);
  EXPECT_GT(steps.back().get("kl"), 0);
  const std::string traces = read_file(*folder_ / "plain/traces.jsonl").value();
  size_t from = 0;
  int64_t count = 0;
  while (from < traces.size()) {
    const size_t end = traces.find('\n', from);
    const auto line = parse_trace_line(std::string_view(traces).substr(from, end - from), "traces");
    ASSERT_TRUE(line.ok()) << line.error().line();
    EXPECT_EQ(line->step, count / 12 + 1);
    EXPECT_EQ(line->index, count % 12);
    EXPECT_EQ(line->group, count % 12 / 4);
    EXPECT_EQ(line->reward, line->verdict == "right" ? 1 : 0);
    for (const auto& chunk : line->chunks) EXPECT_EQ(chunk.weight_version, 2 * (line->step - 1));
    from = end + 1;
    ++count;
  }
  EXPECT_EQ(count, 72);
}

TEST_F(GrpoRun, ExactHasNoGap) {
  for (const char* kv : {"full", "rpc:interval=4,ratio=2,window=2"}) {
    TrainOptions exact = options("", std::string("exact-") + kv[0]);
    exact.recipe.run.exact = true;
    exact.recipe.rollout.kv = kv;
    exact.recipe.run.steps = 2;
    for (const StepMetrics& step : run_steps(exact)) EXPECT_EQ(step.get("logprob_gap_max"), 0) << kv;
  }
}

// Of each trace in a run's traces.jsonl.
std::vector<TraceLine> traces_of(const std::string& run) {
  std::vector<TraceLine> out;
  std::istringstream lines(read_file(run + "/traces.jsonl").value());
  for (std::string line; std::getline(lines, line);) out.push_back(parse_trace_line(line, "traces").value());
  return out;
}

TEST_F(GrpoRun, AheadOfTheUpdateEachChunkHasOneOfTwoVersions) {
  const auto ahead = [&](const std::string& run) {
    TrainOptions out = options("", run);
    out.recipe.rollout.ahead = 1;
    out.recipe.run.exact = true;
    return out;
  };
  const auto steps = run_steps(ahead("ahead"));
  ASSERT_EQ(steps.size(), 6U);
  double stale = 0;
  for (const StepMetrics& step : steps) {
    EXPECT_LE(step.get("staleness_max"), step.step == 1 ? 0 : 1);
    EXPECT_LE(step.get("staleness_mean"), step.get("staleness_max"));
    stale += step.get("staleness_mean");
    if (step.get("staleness_mean") < 1) EXPECT_EQ(step.get("logprob_gap_max"), 0);  // of the rows that are not stale
  }
  EXPECT_GT(stale, 0) << "nothing was sampled while updates ran";
  (void)run_steps(options("", "not-ahead"));
  const auto traces = traces_of(*folder_ / "ahead"), synchronous = traces_of(*folder_ / "not-ahead");
  ASSERT_EQ(traces.size(), synchronous.size());
  for (size_t i = 0; i < traces.size(); ++i) {
    EXPECT_EQ(traces[i].prompt, synchronous[i].prompt);
    int64_t before = std::max<int64_t>(0, traces[i].step - 2);
    for (const auto& chunk : traces[i].chunks) {
      EXPECT_GE(chunk.weight_version, before);
      EXPECT_LT(chunk.weight_version, traces[i].step);
      before = chunk.weight_version;
    }
  }

  TrainOptions first = ahead("ahead-parts");
  first.max_steps = 3;
  (void)run_steps(first);
  TrainOptions rest = ahead("ahead-parts");
  rest.resume = true;
  EXPECT_EQ(run_steps(rest).front().get("staleness_max"), 0) << "what was under way is sampled anew";
  const auto parts = traces_of(*folder_ / "ahead-parts");
  ASSERT_EQ(parts.size(), traces.size());
  for (size_t i = 0; i < traces.size(); ++i) EXPECT_EQ(parts[i].prompt, traces[i].prompt);
}

TEST_F(GrpoRun, AheadStopsAndFailsWithoutLeavingAThread) {
  TrainOptions stopped = options("", "ahead-stopped");
  stopped.recipe.rollout.ahead = 1;
  stopped.stop = [] { return true; };
  const auto done = train(stopped);
  ASSERT_TRUE(done.ok()) << done.error().line();
  EXPECT_EQ(done->last_step, 1);
  EXPECT_TRUE(check_checkpoint(*folder_ / "ahead-stopped/checkpoints/step-1").ok());
}

TEST_F(GrpoRun, ResumedIsBitForBitTheStraightRun) {
  const std::string more =
      "zero_variance = \"resample\"\nresample_max = 1\n[schedule]\nkind = \"cosine\"\nwarmup = 2\n";
  (void)run_steps(options(more, "straight"));
  // Killed in the middle of step 5: what it wrote after the checkpoint of step 3 must be forgotten.
  TrainOptions first = options(more, "parts");
  first.max_steps = 5;
  first.recipe.checkpoint.every = 3;
  (void)run_steps(first);
  std::filesystem::remove_all(*folder_ / "parts/checkpoints/step-5");
  TrainOptions rest = options(more, "parts");
  rest.resume = true;
  const auto steps = run_steps(rest);
  ASSERT_EQ(steps.size(), 3U);
  EXPECT_EQ(steps.front().step, 4);

  EXPECT_EQ(without_times(*folder_ / "parts/metrics.jsonl"), without_times(*folder_ / "straight/metrics.jsonl"));
  for (const char* file : {"traces.jsonl", "checkpoints/step-6/model.safetensors",
                           "checkpoints/step-6/optimizer.safetensors", "checkpoints/step-6/config.json"}) {
    EXPECT_TRUE(read_file(*folder_ / ("parts/" + std::string(file))).value() ==
                read_file(*folder_ / ("straight/" + std::string(file))).value())
        << file;
  }
}

TEST_F(GrpoRun, AdaptersResumeBitForBit) {
  const std::string more = "[lora]\nrank = 4\n";
  (void)run_steps(options(more, "lora"));
  TrainOptions first = options(more, "lora-parts");
  first.max_steps = 2;
  (void)run_steps(first);
  TrainOptions rest = options(more, "lora-parts");
  rest.resume = true;
  (void)run_steps(rest);
  EXPECT_EQ(without_times(*folder_ / "lora-parts/metrics.jsonl"), without_times(*folder_ / "lora/metrics.jsonl"));
  for (const char* file : {"checkpoints/step-6/model.safetensors", "checkpoints/step-6/optimizer.safetensors",
                           "adapter/adapter_model.safetensors"}) {
    EXPECT_TRUE(read_file(*folder_ / ("lora-parts/" + std::string(file))).value() ==
                read_file(*folder_ / ("lora/" + std::string(file))).value())
        << file;
  }
  EXPECT_FALSE(read_file(*folder_ / "lora/checkpoints/step-6/model.safetensors").value() ==
               read_file(*folder_ / "warm/checkpoints/step-80/model.safetensors").value());
}

TEST_F(GrpoRun, TooLittleMemoryIsToldByTheRecipesName) {
  TrainOptions run = options("", "no-memory");
  run.recipe.rollout.kv_memory_bytes = 1;
  const auto done = train(run);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().where, "rollout.kv_memory") << done.error().line();
}

TEST_F(GrpoRun, PromptsOfAFileThatHaveNoRoomAreLeftOut) {
  const auto line = [](size_t characters) {
    return "{\"prompt\":\"" + std::string(characters, 'a') + "\",\"gold\":\"a\"}\n";
  };
  const auto run = [&](const std::string& name, const std::string& lines, std::vector<std::string>& said) {
    EXPECT_TRUE(write_atomically(*folder_ / name + ".jsonl", lines).ok());
    TrainOptions out = options("", name);
    out.recipe.tasks[0].spec.clear();
    out.recipe.tasks[0].file = *folder_ / name + ".jsonl";
    out.max_steps = 2;
    out.say = [&](const std::string& text) { said.push_back(text); };
    return train(out);
  };
  // Of the context of 256 the template takes 2, a line break and <think>, and what is carried 8.
  std::vector<std::string> said;
  const auto some = run("long-some", line(4) + line(600) + line(246) + line(247), said);
  ASSERT_TRUE(some.ok()) << some.error().line();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].substr(said[0].rfind('/') + 1),
            "long-some.jsonl: 2 of 4 items, the first \"line 2\", are left out: their prompts are too long for the "
            "context of 256");
  const auto all = run("long-all", line(600), said);
  ASSERT_FALSE(all.ok());
  EXPECT_NE(all.error().line().find("long-all.jsonl: every prompt is too long"), std::string::npos)
      << all.error().line();
}

TEST_F(GrpoRun, StopsAfterTheStepWithACheckpoint) {
  TrainOptions stopped = options("", "stopped");
  int asked = 0;
  stopped.stop = [&] { return ++asked == 2; };
  const auto done = train(stopped);
  ASSERT_TRUE(done.ok()) << done.error().line();
  EXPECT_TRUE(done->stopped);
  EXPECT_EQ(done->last_step, 2);
  EXPECT_TRUE(check_checkpoint(*folder_ / "stopped/checkpoints/step-2").ok());
}

// A first step that is well, then one that is resumed with the options of a broken optimizer.
std::string diverge(TrainOptions options) {
  options.recipe.checkpoint = {.every = 1, .keep = 1};
  options.max_steps = 1;
  (void)run_steps(options);
  options.resume = true;
  options.max_steps = 3;
  options.recipe.optimizer.beta1 = 1;  // past the recipe's own check
  const auto done = train(options);
  return done.ok() ? "" : done.error().line();
}

TEST_F(GrpoRun, WeightsThatAreNotFiniteEndTheRunBeforeACheckpoint) {
  TrainOptions sft = options_of(TrainKind::kSft,
                                fmt::format("[model]\npath = \"warm/checkpoints/step-80\"\n[[task]]\nspec = \"{}\"\n"
                                            "[sft]\nitems = 2\n",
                                            kTask),
                                folder_->path(), *folder_ / "broken-sft");
  for (const TrainOptions& run : {sft, options("", "broken-grpo")}) {
    const std::string line = diverge(run), checkpoints = run.run_dir + "/checkpoints";
    EXPECT_EQ(line.find("step 2: the weights are not finite; lower optimizer.lr"), 0U) << line;
    EXPECT_NE(line.find("checkpoints/step-1\""), std::string::npos) << line;
    EXPECT_TRUE(check_checkpoint(checkpoints + "/step-1").ok());
    EXPECT_FALSE(is_directory(checkpoints + "/step-2"));
    EXPECT_EQ(read_run_metrics(run.run_dir + "/metrics.jsonl")->steps.size(), 1U);
  }
}

TEST_F(GrpoRun, ALossThatIsNotFiniteEndsTheRunToo) {
  TrainOptions sft = options_of(TrainKind::kSft,
                                fmt::format("[model]\nconfig = \"config.json\"\n[[task]]\nspec = \"{}\"\n"
                                            "[sft]\nitems = 2\n[optimizer]\nlr = 1e12\n[checkpoint]\nevery = 0\n",
                                            kTask),
                                folder_->path(), *folder_ / "huge-sft");
  const auto done = train(sft);
  ASSERT_FALSE(done.ok());
  EXPECT_NE(done.error().line().find(" is not finite; lower optimizer.lr"), std::string::npos) << done.error().line();
  EXPECT_FALSE(is_directory(*folder_ / "huge-sft/checkpoints/step-100"));
}

}  // namespace
}  // namespace throughline
