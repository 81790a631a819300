// The options of every section: names, defaults, ranges, help. Parsing and docs come from here.
#include "train/recipe.h"

namespace throughline {
namespace {

OptionInfo integer(const char* name, const char* standard, const char* help, double minimum, double maximum = 1e12) {
  return {.name = name, .default_text = standard, .help = help, .minimum = minimum, .maximum = maximum};
}
OptionInfo number(const char* name, const char* standard, const char* help, double minimum, double maximum = 1e12) {
  return {.name = name,
          .type = OptionType::kNumber,
          .default_text = standard,
          .help = help,
          .minimum = minimum,
          .maximum = maximum};
}
OptionInfo text(const char* name, const char* standard, const char* help) {
  return {.name = name, .type = OptionType::kText, .default_text = standard, .help = help};
}
OptionInfo choice(const char* name, const char* standard, const char* help, std::vector<std::string> choices) {
  return {
      .name = name, .type = OptionType::kChoice, .default_text = standard, .help = help, .choices = std::move(choices)};
}
OptionInfo boolean(const char* name, const char* standard, const char* help) {
  return {.name = name, .type = OptionType::kBoolean, .default_text = standard, .help = help};
}

std::vector<SpecInfo> make_sections() {
  return {
      {"run",
       "the run as a whole",
       {integer("seed", "0", "of prompts, draws and a model from scratch", 0),
        integer("steps", "100", "training steps in all; the schedule's horizon too", 1),
        boolean("exact", "false", "sampler and trainer agree bit for bit, whatever the batch (slower)"),
        integer("threads", "0", "threads; 0: all cores", 0, 1024)}},
      {"model",
       "what is trained",
       {text("path", "", "Hugging Face directory to start from"),
        text("config", "", "config.json of a model from scratch; its tokenizer is one token a character of the tasks"),
        {.name = "dtype",
         .type = OptionType::kChoice,
         .help = "fp32 or bf16, of weights and K/V; masters are fp32",
         .choices = {"fp32", "bf16"},
         .default_note = "the checkpoint's"},
        boolean("checkpoint_layers", "false", "forget a layer's activations and compute them again: less memory")}},
      {"lora",
       "low-rank adapters instead of all weights",
       {integer("rank", "0", "of each adapter; 0: off, all weights are trained", 0, 4096),
        number("alpha", "16", "adapters are scaled by alpha / rank", 0),
        text("targets", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", "projections that get one")}},
      {"task",
       "what is practised; [[task]], one or more",
       {text("spec", "", "a gym task: iterate_map:steps=32 (docs/tasks/)"),
        text("file", "", "JSON Lines instead: {\"prompt\",\"response\"} for sft, {\"prompt\",\"gold\"} for grpo"),
        text("profile", kStandardProfile, "verifier of a file's gold answers (docs/verifier.md)"),
        number("weight", "1", "share of the items, relative to the other tasks'", 0),
        {.name = "split",
         .type = OptionType::kChoice,
         .help = "where its items are used",
         .choices = {"both", "train", "evaluation"},
         .default_note = "both; a file: train"}}},
      {"rollout",
       "how the model is sampled; for sft: how traces are cut into rows, and how accuracy is measured",
       {text("think", "longcot", "environment: delethink:chunk=128,carry=64 (docs/environments.md)"),
        text("kv", "full", "KV policy; one that can be replayed (docs/policies.md)"),
        number("temperature", "1", "of the distribution drawn from", 0.01, 100),
        integer("max_tokens", "0", "new tokens a trace, over all chunks; 0: what environment and context allow", 0),
        integer("batch", "64", "traces that run at once, at most", 1, 65536),
        integer("kv_memory", "0", "bytes for K and V; 0: what a full batch needs", 0),
        integer("ahead", "0",
                "1: the next step is sampled while this one's update runs; new weights at a chunk's start", 0, 1),
        integer("ahead_threads", "0", "threads that sample meanwhile; 0: half of run.threads", 0, 1024)}},
      {"sft", "supervised fine-tuning", {integer("items", "16", "traces a step", 1)}},
      {"grpo",
       "policy gradient with group advantages",
       {integer("prompts", "8", "prompts a step", 1),
        integer("group", "8", "traces a prompt, 2 and more: a reward is held against the others'", 2, 1024),
        integer("updates", "1", "optimizer steps a step; the rows of a trace stay in one of them", 1),
        choice("advantage", "group_std", "(R - mean) / std of the group; without std; or R - mean of the others",
               {"group_std", "group", "leave_one_out"}),
        number("clip_low", "0.2", "ratio's lower clip: 1 - clip_low", 0, 1),
        number("clip_high", "0.26", "ratio's upper clip: 1 + clip_high", 0),
        number("dual_clip", "3", "cap of the loss where the advantage is negative, times |A|; above 1, or 0: off", 0),
        choice("old_logprobs", "trainer", "of the ratio: computed again before the update, or the sampler's",
               {"trainer", "sampler"}),
        choice("correction", "truncate", "of sampler against trainer: weight capped, token masked beyond the cap, none",
               {"truncate", "mask", "none"}),
        number("correction_cap", "2", "of the importance weight", 1),
        choice("aggregation", "trace",
               "of token losses: 1/length of the trace, mean over all tokens, 1/constant_tokens, mean over rows",
               {"trace", "token", "constant", "sequence"}),
        integer("constant_tokens", "0", "divisor of aggregation=constant; 0: the most tokens a trace may have", 0),
        choice("zero_variance", "keep", "groups with equal rewards: in the batch with advantage 0, left out, redrawn",
               {"keep", "skip", "resample"}),
        integer("resample_max", "4", "more rounds of prompts for zero_variance=resample, at most", 0, 1000),
        choice("overlong", "keep", "traces that did not end by themselves: as they are, no loss, or less reward",
               {"keep", "mask", "penalise"}),
        number("overlong_penalty", "0.5", "taken off the reward by overlong=penalise", 0),
        integer("overlong_soft_tokens", "0", "last tokens before the limit over which the penalty grows from 0", 0),
        number("format_share", "0", "reward of a well-formed wrong answer", 0, 0.1),
        number("kl", "0", "weight of the k3 estimate of KL against the first weights; 0: off", 0),
        number("gap_warning", "0.1", "mean |log-prob gap| of sampler and trainer above which a step warns", 0)}},
      {"optimizer",
       "AdamW",
       {number("lr", "1e-05", "learning rate at its peak", 0), number("beta1", "0.9", "of the first moment", 0, 1),
        number("beta2", "0.999", "of the second moment", 0, 1), number("epsilon", "1e-08", "", 0),
        number("weight_decay", "0", "decoupled; not on norms and biases", 0),
        number("clip_norm", "1", "global gradient norm; 0: off", 0),
        integer("batch_tokens", "8192", "packed tokens of one forward and backward; more rows accumulate", 1)}},
      {"schedule",
       "of the learning rate over run.steps",
       {choice("kind", "constant", "after the warm-up", {"constant", "linear", "cosine"}),
        integer("warmup", "0", "steps of linear warm-up", 0),
        number("final_share", "0", "of lr at the end of linear and cosine", 0, 1)}},
      {"checkpoint",
       "what a killed run resumes from; one is always written at the end",
       {integer("every", "50", "steps; 0: only at the end", 0),
        integer("keep", "0", "newest checkpoints kept; 0: all", 0)}},
      {"evaluation",
       "held-out items, sampled with the recipe's environment",
       {integer("every", "0", "steps; 0: off. Line 1 also says how it was before training", 0),
        integer("items", "64", "items each time, the same ones", 1),
        integer("samples", "1", "samples an item", 1, 1024), integer("seed", "1000003", "of the items and draws", 0),
        number("temperature", "1", "0: greedy", 0, 100)}},
  };
}

}  // namespace

std::span<const SpecInfo> recipe_sections() {
  static const std::vector<SpecInfo> sections = make_sections();
  return sections;
}

}  // namespace throughline
