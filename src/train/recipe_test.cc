#include "train/recipe.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "train/recipe_docs.h"

namespace throughline {
namespace {

constexpr const char* kSmall =
    "[model]\npath = \"/m\"\n[[task]]\nspec = \"iterate_map:steps=8\"\n[[task]]\nspec = \"chain_sum\"\nweight = 0.5\n";

std::string with(const char* more) {
  std::string out = kSmall;
  return out.append(more);
}

Result<Recipe> parse(const std::string& text, const std::vector<std::string>& overrides = {},
                     TrainKind kind = TrainKind::kGrpo) {
  return parse_recipe(kind, text, overrides, "r.toml", "/recipes");
}

TEST(Recipe, DefaultsAndOverrides) {
  const auto recipe =
      parse(with("[grpo]\ngroup = 16\n[optimizer]\nlr = 3e-4\n"),
            {"grpo.prompts=4", "task.1.weight=2", "rollout.kv=rpc:interval=16,ratio=2", "run.exact=true"});
  ASSERT_TRUE(recipe.ok()) << recipe.error().line();
  EXPECT_EQ(recipe->grpo.group, 16);
  EXPECT_EQ(recipe->grpo.prompts, 4);
  EXPECT_EQ(recipe->grpo.clip_high, 0.26);
  EXPECT_EQ(recipe->grpo.aggregation, AggregationKind::kTraceLength);
  EXPECT_EQ(recipe->optimizer.lr, 3e-4);
  EXPECT_EQ(recipe->rollout.kv, "rpc:interval=16,ratio=2");
  EXPECT_TRUE(recipe->run.exact);
  ASSERT_EQ(recipe->tasks.size(), 2U);
  EXPECT_EQ(recipe->tasks[0].spec, "iterate_map:steps=8");
  EXPECT_EQ(recipe->tasks[1].weight, 2);
}

TEST(Recipe, TextParsesBackToTheSame) {
  const auto recipe = parse(with("[evaluation]\nevery = 5\ntemperature = 0.0\n"), {"model.dtype=bf16"});
  ASSERT_TRUE(recipe.ok()) << recipe.error().line();
  const auto again = parse(recipe->text());
  ASSERT_TRUE(again.ok()) << again.error().line() << "\n" << recipe->text();
  EXPECT_EQ(again->text(), recipe->text());
  EXPECT_TRUE(recipe->differences(*again).empty());
  const auto other = parse(recipe->text(), {"grpo.group=3", "run.steps=7"});
  EXPECT_EQ(recipe->differences(*other), (std::vector<std::string>{"run.steps", "grpo.group"}));
}

TEST(Recipe, PathsAreRelativeToTheRecipeOrTheCallersFolder) {
  const auto recipe = parse("[model]\npath = \"../m\"\n[[task]]\nfile = \"d/x.jsonl\"\n");
  ASSERT_TRUE(recipe.ok()) << recipe.error().line();
  EXPECT_EQ(recipe->model.path, "/m");
  EXPECT_EQ(recipe->tasks[0].file, "/recipes/d/x.jsonl");
  const auto overridden = parse(kSmall, {"model.path=here"});
  EXPECT_EQ(overridden->model.path.find("/recipes"), std::string::npos);
}

struct Fault {
  std::string text;
  std::vector<std::string> overrides;
  std::string expected;
};

TEST(Recipe, FaultsAreOneClearLine) {
  const std::string good = kSmall;
  const std::vector<Fault> faults = {
      {"[modle]\npath=\"x\"\n", {}, "unknown section \"modle\""},
      {with("[grpo]\ngruop = 3\n"), {}, "it has: prompts, group, updates"},
      {with("[grpo]\ngroup = 1\n"), {}, "r.toml: grpo.group: 1 is out of range; use a whole number from 2 to 1024"},
      {with("[grpo]\nadvantage = \"mean\"\n"), {}, "use one of: group_std, group, leave_one_out"},
      {with("[optimizer]\nlr = [1]\n"), {}, "optimizer.lr: must be a text, a number or a boolean"},
      {with("[sft]\nitems = 3\n"), {}, "[sft] is of `train sft`"},
      {"[model]\npath = \"x\"\n", {}, "has no task"},
      {good, {"optimizer.beta1=1"}, "optimizer.beta1: must be less than 1"},
      {good, {"optimizer.beta2=1"}, "optimizer.beta2: must be less than 1"},
      {good, {"optimizer.epsilon=0"}, "optimizer.epsilon: must be more than 0"},
      {good, {"grpo.prompts=0"}, "--set: grpo.prompts: 0 is out of range; use a whole number from 1 up"},
      {good, {"grpo.prompts=two"}, "--set: grpo.prompts: \"two\" is not a whole number"},
      {good, {"task.1.weight=-1"}, "--set: task.1.weight: -1 is out of range"},
      {with("[[task]]\nspec = \"y\"\nweight = -1\n"), {}, "r.toml: task.2.weight: -1 is out of range"},
      {good, {"optimizer.lr=1e13"}, "optimizer.lr: 1e13 is out of range; use a number from 0 to 1e+12"},
      {good, {"grpo.dual_clip=0.9"}, "grpo.dual_clip: must be more than 1"},
      {good, {"task.0.file=x"}, "task 0: has both spec and file; keep one"},
      {good, {"task.2.weight=1"}, "task 2: has neither spec nor file"},
      {good, {"task.1.profile=rlvr"}, "task 1: has a profile, and a spec judges by itself"},
      {good, {"rollout.ahead=2"}, "--set: rollout.ahead: 2 is out of range"},
      {good, {"rollout.ahead=1", "grpo.correction=none"}, "trains on traces of older weights"},
      {"[[task]]\nspec = \"chain_sum\"\n", {}, "says no model"},
      {"[model]\npath = \"x\"\nconfig = \"y\"\n", {}, "says both"},
      {"[model]\npath = \"x\"\n[task]\nspec = \"y\"\n", {}, "write [[task]]"},
      {"[model]\npath = \n", {}, "r.toml line 2"},
      {good, {"grpo"}, "is not of the form section.key=value"},
      {good, {"task.spec=x"}, "does not say which task"},
      {good, {"task.9.spec=x"}, "there are only 2 tasks"},
      {good, {"nothing.x=1"}, "unknown section \"nothing\""},
  };
  for (const Fault& fault : faults) {
    const auto recipe = parse(fault.text, fault.overrides);
    ASSERT_FALSE(recipe.ok()) << fault.expected;
    EXPECT_NE(recipe.error().line().find(fault.expected), std::string::npos)
        << recipe.error().line() << "\nwanted: " << fault.expected;
  }
}

TEST(Recipe, EveryOptionHasAHelpAndAFieldOfItsOwn) {
  // Each option, changed alone, must show in text(): none is dropped on the way.
  for (const SpecInfo& info : recipe_sections()) {
    EXPECT_FALSE(info.help.empty());
    if (info.method == "task" || info.method == "model" || info.method == "sft") continue;
    for (const OptionInfo& option : info.options) {
      std::string value = option.default_text == "0" ? "1" : "0.5";
      if (option.type == OptionType::kInteger) value = option.default_text == "3" ? "4" : "3";
      if (option.type == OptionType::kBoolean) value = "true";
      if (option.type == OptionType::kChoice) value = option.choices.back();
      if (option.type == OptionType::kText) value = "something";
      if (option.name == "format_share") value = "0.05";
      if (option.name == "ahead") value = "1";
      if (option.name == "dual_clip") value = "2";
      if (option.name == "correction_cap") value = "5";
      const auto recipe = parse(kSmall, {info.method + "." + option.name + "=" + value});
      ASSERT_TRUE(recipe.ok()) << recipe.error().line();
      EXPECT_NE(recipe->text().find(option.name + " = "), std::string::npos);
      const auto standard = parse(kSmall);
      if (value != option.default_text) {
        EXPECT_EQ(standard->differences(*recipe), std::vector<std::string>{info.method + "." + option.name});
      }
    }
  }
}

TEST(Recipe, TheTablesOfTheDocsAreThese) {
  const std::string page = read_file(THROUGHLINE_SOURCE_DIR "/docs/training.md").value();
  EXPECT_NE(page.find("-->\n" + recipe_tables() + "<!-- end -->"), std::string::npos)
      << "stale: put the output of `throughline help recipe-tables` between the markers of docs/training.md";
}

TEST(Recipe, TheShippedRecipesAreGood) {
  const std::string folder = THROUGHLINE_SOURCE_DIR "/recipes/";
  for (const auto& [name, kind] : {std::pair{"warm_start", TrainKind::kSft}, {"quick", TrainKind::kGrpo}}) {
    const auto recipe = load_recipe(kind, folder + name + ".toml", {});
    EXPECT_TRUE(recipe.ok()) << recipe.error().line();
  }
}

}  // namespace
}  // namespace throughline
