#include "train/recipe.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <filesystem>

#include "base/files.h"

namespace throughline {
namespace {

constexpr size_t kRecipeLimit = size_t{1} << 20;

const SpecInfo* section_info(std::string_view name) {
  for (const SpecInfo& info : recipe_sections()) {
    if (info.method == name) return &info;
  }
  return nullptr;
}

std::string known_sections(TrainKind kind) {
  std::string out;
  for (const SpecInfo& info : recipe_sections()) {
    if (info.method == (kind == TrainKind::kSft ? "grpo" : "sft")) continue;
    out += (out.empty() ? "" : ", ") + info.method;
  }
  return out;
}

// Sections as JSON objects of texts and numbers: what parse_spec_json takes. "task" is a list.
using Values = Json;

Result<Json> to_json(const toml::node& node, const std::string& place) {
  if (const auto* value = node.as_string()) return Json(value->get());
  if (const auto* value = node.as_integer()) return Json(value->get());
  if (const auto* value = node.as_floating_point()) return Json(value->get());
  if (const auto* value = node.as_boolean()) return Json(value->get());
  return Error{"must be a text, a number or a boolean", place, ""};
}

Result<Json> section_json(const toml::node& node, const std::string& name, const std::string& where) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return Error{"\"" + name + "\" must be a section", where, "write [" + name + "]"};
  Json out = {{"method", name}};
  for (const auto& [key, value] : *table) {
    const std::string text(key.str());
    if (text == "method") return Error{"\"" + name + "\" has no option \"method\"", where, "remove it"};
    TL_TRY(out[text], to_json(value, where + ": " + name + "." + text));
  }
  return out;
}

Result<Values> read_values(TrainKind kind, std::string_view text, const std::string& where) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return Error{std::string(error.description()), where + " line " + std::to_string(error.source().begin.line),
                 "see https://toml.io for the form"};
  }
  Values out = Json::object();
  out["task"] = Json::array();
  for (const auto& [key, node] : parsed.table()) {
    const std::string name(key.str());
    if (section_info(name) == nullptr) {
      return Error{"unknown section \"" + name + "\"", where, "sections: " + known_sections(kind)};
    }
    if (name != "task") {
      TL_TRY(out[name], section_json(node, name, where));
      continue;
    }
    const toml::array* list = node.as_array();
    if (list == nullptr) return Error{"tasks are a list", where, "write [[task]] instead of [task]"};
    for (const toml::node& task : *list) {
      TL_TRY(Json section, section_json(task, name, where));
      out["task"].push_back(std::move(section));
    }
  }
  return out;
}

// What is wrong with an option is told at "where: option"; the section comes before it.
Result<Spec> parse_section(const Json& section, const SpecInfo& info, const std::string& where,
                           const std::string& prefix) {
  auto spec = parse_spec_json(section, {&info, 1}, where);
  if (spec.ok()) return spec;
  Error error = spec.error();
  if (const size_t option = where.size() + 2; error.where.size() > option) error.where.insert(option, prefix);
  return error;
}

// "grpo.group=8", "task.0.spec=iterate_map:steps=8".
Status override_value(Values& values, const std::string& text) {
  const std::string where = "--set " + text;
  const size_t equals = text.find('='), dot = text.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals || dot == 0)
    return Error{"is not of the form section.key=value", where, "for example --set grpo.group=16"};
  const std::string section = text.substr(0, dot);
  std::string key = text.substr(dot + 1, equals - dot - 1);
  const std::string value = text.substr(equals + 1);
  const SpecInfo* info = section_info(section);
  if (info == nullptr) return Error{"unknown section \"" + section + "\"", where, ""};
  // Looked at alone first: what is wrong with it is the command line's fault, not the file's.
  const auto check_value = [&](const std::string& prefix) -> Status {
    const auto parsed = parse_section(Json{{"method", section}, {key, value}}, *info, "--set", prefix);
    return parsed.ok() ? Status() : parsed.error();
  };
  if (section != "task") {
    TL_TRY_STATUS(check_value(section + "."));
    if (!values.contains(section)) values[section] = Json{{"method", section}};
    values[section][key] = value;
    return {};
  }
  const size_t second = key.find('.');
  const std::string place = key.substr(0, second);
  const bool is_number = !place.empty() && place.size() < 6 && place.find_first_not_of("0123456789") == place.npos;
  if (second == std::string::npos || !is_number)
    return Error{"does not say which task", where, "write task.0." + key + "=" + value};
  const size_t index = std::stoul(place);
  key = key.substr(second + 1);
  TL_TRY_STATUS(check_value("task." + place + "."));
  if (index > values["task"].size())
    return Error{"there are only " + std::to_string(values["task"].size()) + " tasks", where, "count from 0"};
  if (index == values["task"].size()) values["task"].push_back(Json{{"method", "task"}});
  values["task"][index][key] = value;
  return {};
}

TaskSplit split_of(const std::string& text) {
  return text == "train" ? TaskSplit::kTrain : text == "evaluation" ? TaskSplit::kEvaluation : TaskSplit::kBoth;
}

std::string absolute(const std::string& path, const std::string& folder) {
  if (path.empty()) return path;
  const std::filesystem::path given(path);
  return (given.is_absolute() ? given : std::filesystem::absolute(std::filesystem::path(folder) / given))
      .lexically_normal()
      .string();
}

// The kind that an option of OptionType::kChoice names.
template <class Kind>
using Names = std::initializer_list<std::pair<std::string_view, Kind>>;
template <class Kind>
Kind kind_of(const Spec& s, const char* option, Names<Kind> names) {
  const auto found = std::find_if(names.begin(), names.end(), [&](auto& name) { return name.first == s.text(option); });
  TL_CHECK(found != names.end(), "a choice of the recipe has no kind");
  return found->second;
}

GrpoSection grpo_of(const Spec& s) {
  GrpoSection out;
  out.prompts = s.integer("prompts"), out.group = s.integer("group"), out.updates = s.integer("updates");
  out.advantage = kind_of(s, "advantage",
                          Names<AdvantageKind>{{"group_std", AdvantageKind::kGroupNorm},
                                               {"group", AdvantageKind::kGroupMean},
                                               {"leave_one_out", AdvantageKind::kLeaveOneOut}});
  out.correction = kind_of(s, "correction",
                           Names<MismatchCorrection>{{"truncate", MismatchCorrection::kTruncate},
                                                     {"mask", MismatchCorrection::kMask},
                                                     {"none", MismatchCorrection::kNone}});
  out.aggregation = kind_of(s, "aggregation",
                            Names<AggregationKind>{{"trace", AggregationKind::kTraceLength},
                                                   {"token", AggregationKind::kTokenMean},
                                                   {"constant", AggregationKind::kConstant},
                                                   {"sequence", AggregationKind::kSequenceMean}});
  out.old_logprobs = kind_of(
      s, "old_logprobs", Names<OldLogprobs>{{"trainer", OldLogprobs::kTrainer}, {"sampler", OldLogprobs::kSampler}});
  out.zero_variance =
      kind_of(s, "zero_variance",
              Names<ZeroVariance>{
                  {"keep", ZeroVariance::kKeep}, {"skip", ZeroVariance::kSkip}, {"resample", ZeroVariance::kResample}});
  out.overlong =
      kind_of(s, "overlong",
              Names<OverlongKind>{
                  {"keep", OverlongKind::kKeep}, {"mask", OverlongKind::kMask}, {"penalise", OverlongKind::kPenalise}});
  out.clip_low = s.number("clip_low"), out.clip_high = s.number("clip_high"), out.dual_clip = s.number("dual_clip");
  out.correction_cap = s.number("correction_cap"), out.constant_tokens = s.integer("constant_tokens");
  out.resample_max = s.integer("resample_max"), out.overlong_penalty = s.number("overlong_penalty"),
  out.overlong_soft_tokens = s.integer("overlong_soft_tokens");
  out.format_share = s.number("format_share"), out.kl = s.number("kl"), out.gap_warning = s.number("gap_warning");
  return out;
}

void fill(Recipe& out, const Spec& s) {
  const std::string& name = s.method;
  if (name == "run") {
    out.run = {static_cast<uint64_t>(s.integer("seed")), s.integer("steps"), s.boolean("exact"), s.integer("threads")};
  } else if (name == "model") {
    out.model = {s.has("path") ? s.text("path") : "", s.has("config") ? s.text("config") : "",
                 s.has("dtype") ? s.text("dtype") : "", s.boolean("checkpoint_layers")};
  } else if (name == "lora") {
    out.lora = {s.integer("rank"), s.number("alpha"), s.text("targets")};
  } else if (name == "task") {
    out.tasks.push_back({s.has("spec") ? s.text("spec") : "", s.has("file") ? s.text("file") : "", s.text("profile"),
                         s.number("weight"),
                         s.has("split")  ? split_of(s.text("split"))
                         : s.has("file") ? TaskSplit::kTrain
                                         : TaskSplit::kBoth});
  } else if (name == "rollout") {
    out.rollout = {s.text("think"),    s.text("kv"),           s.number("temperature"), s.integer("max_tokens"),
                   s.integer("batch"), s.integer("kv_memory"), s.integer("ahead"),      s.integer("ahead_threads")};
  } else if (name == "sft") {
    out.sft = {s.integer("items")};
  } else if (name == "grpo") {
    out.grpo = grpo_of(s);
  } else if (name == "optimizer") {
    out.optimizer = {s.number("lr"),           s.number("beta1"),     s.number("beta2"),        s.number("epsilon"),
                     s.number("weight_decay"), s.number("clip_norm"), s.integer("batch_tokens")};
  } else if (name == "schedule") {
    out.schedule = {kind_of(s, "kind",
                            Names<ScheduleKind>{{"constant", ScheduleKind::kConstant},
                                                {"linear", ScheduleKind::kLinear},
                                                {"cosine", ScheduleKind::kCosine}}),
                    s.integer("warmup"), s.number("final_share")};
  } else if (name == "checkpoint") {
    out.checkpoint = {s.integer("every"), s.integer("keep")};
  } else if (name == "evaluation") {
    out.evaluation = {s.integer("every"), s.integer("items"), s.integer("samples"),
                      static_cast<uint64_t>(s.integer("seed")), s.number("temperature")};
  }
}

// What the ranges of single options cannot say.
Status check(const Recipe& r, const std::string& where) {
  if (r.model.path.empty() == r.model.config.empty()) {
    return Error{r.model.path.empty() ? "says no model" : "says both a model and a config", where + ": model",
                 "give path = \"DIR\" to start from a checkpoint, or config = \"config.json\" to start from scratch"};
  }
  if (r.tasks.empty()) return Error{"has no task", where, "add [[task]] with spec = \"iterate_map\" or file = \"...\""};
  double train = 0;
  for (size_t i = 0; i < r.tasks.size(); ++i) {
    const TaskSection& task = r.tasks[i];
    const std::string place = where + ": task " + std::to_string(i);
    if (task.spec.empty() && task.file.empty()) return Error{"has neither spec nor file", place, "give one"};
    if (!task.spec.empty() && !task.file.empty()) return Error{"has both spec and file", place, "keep one"};
    if (!task.spec.empty() && task.profile != kStandardProfile)
      return Error{"has a profile, and a spec judges by itself", place, "leave out profile, or give a file"};
    if (task.split != TaskSplit::kEvaluation) train += task.weight;
  }
  if (train <= 0) return Error{"has no task to train on", where + ": task", "give one a weight and split = \"both\""};
  if (r.grpo.dual_clip > 0 && r.grpo.dual_clip <= 1)
    return Error{"must be more than 1", where + ": grpo.dual_clip", "use 3, or 0 for none"};
  for (const auto& [name, beta] : {std::pair("beta1", r.optimizer.beta1), std::pair("beta2", r.optimizer.beta2)}) {
    if (beta >= 1)
      return Error{"must be less than 1", where + ": optimizer." + name,
                   "a moment that forgets nothing cannot be scaled"};
  }
  if (r.optimizer.epsilon <= 0)
    return Error{"must be more than 0", where + ": optimizer.epsilon", "a weight without a gradient would be 0 / 0"};
  if (r.rollout.ahead > 0 && r.kind == TrainKind::kSft)
    return Error{"there is nothing to sample ahead", where + ": rollout.ahead", "leave it out"};
  if (r.rollout.ahead > 0 && r.grpo.correction == MismatchCorrection::kNone &&
      r.grpo.old_logprobs == OldLogprobs::kTrainer) {
    return Error{"trains on traces of older weights, which nothing corrects", where + ": rollout.ahead",
                 "use grpo.correction = \"truncate\" or \"mask\", or grpo.old_logprobs = \"sampler\""};
  }
  if (r.kind == TrainKind::kSft && !r.model.config.empty() && r.lora.rank > 0)
    return Error{"a model from scratch has nothing to adapt", where + ": lora.rank", "leave it out"};
  return {};
}

bool is_quoted(OptionType type) { return type == OptionType::kText || type == OptionType::kChoice; }

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    char code[8];
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::snprintf(code, sizeof code, "\\u%04X", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

std::string_view train_kind_name(TrainKind kind) { return kind == TrainKind::kSft ? "sft" : "grpo"; }

std::string Recipe::text() const {
  std::string out;
  for (const Spec& section : sections) {
    const SpecInfo& info = *section_info(section.method);
    out += (out.empty() ? "" : "\n") + std::string(info.method == "task" ? "[[task]]" : "[" + info.method + "]") + "\n";
    for (const OptionInfo& option : info.options) {
      if (!section.has(option.name)) continue;
      const std::string& value = section.text(option.name);
      out += option.name + " = " + (is_quoted(option.type) ? quoted(value) : value) + "\n";
    }
  }
  return out;
}

std::vector<std::string> Recipe::differences(const Recipe& other) const {
  std::vector<std::string> out;
  if (sections.size() != other.sections.size()) out.push_back("task");
  for (size_t i = 0; i < std::min(sections.size(), other.sections.size()); ++i) {
    const Spec &mine = sections[i], &theirs = other.sections[i];
    if (mine.method != theirs.method) break;  // another number of tasks: said already
    for (const OptionInfo& option : section_info(mine.method)->options) {
      const bool has = mine.has(option.name);
      if (has != theirs.has(option.name) || (has && mine.text(option.name) != theirs.text(option.name)))
        out.push_back(mine.method + "." + option.name);
    }
  }
  return out;
}

Result<Recipe> parse_recipe(TrainKind kind, std::string_view toml, const std::vector<std::string>& overrides,
                            const std::string& where, const std::string& folder) {
  TL_TRY(Values values, read_values(kind, toml, where));
  for (const std::string& text : overrides) TL_TRY_STATUS(override_value(values, text));
  // Paths are told from here on: an override's relative path is relative to the current folder, the file's to its own.
  const auto resolve = [&](Json& section, const char* key) {
    if (!section.contains(key) || !section[key].is_string()) return;
    const std::string path = section[key].get<std::string>();
    const std::string said = section["method"].get<std::string>() + "." + key + "=";
    const bool overridden = std::any_of(overrides.begin(), overrides.end(), [&](const std::string& text) {
      return text.compare(0, said.size(), said) == 0;
    });
    section[key] = absolute(path, overridden ? "" : folder);
  };
  Recipe out;
  out.kind = kind;
  for (const SpecInfo& info : recipe_sections()) {
    const std::string& name = info.method;
    if (name == (kind == TrainKind::kSft ? "grpo" : "sft")) {
      if (values.contains(name))
        return Error{"[" + name + "] is of `train " + name + "`", where, "sections: " + known_sections(kind)};
      continue;
    }
    Json sections = name == "task" ? values["task"] : Json::array();
    if (name != "task") sections.push_back(values.contains(name) ? values[name] : Json{{"method", name}});
    for (Json& section : sections) {
      if (name == "model") resolve(section, "path"), resolve(section, "config");
      if (name == "task") resolve(section, "file");
      const std::string prefix = name == "task" ? "task." + std::to_string(out.tasks.size()) + "." : name + ".";
      TL_TRY(Spec spec, parse_section(section, info, where, prefix));
      fill(out, spec);
      out.sections.push_back(std::move(spec));
    }
  }
  TL_TRY_STATUS(check(out, where));
  return out;
}

Result<Recipe> load_recipe(TrainKind kind, const std::string& path, const std::vector<std::string>& overrides) {
  TL_TRY(const std::string text, read_file(path, kRecipeLimit));
  return parse_recipe(kind, text, overrides, path, std::filesystem::path(path).parent_path().string());
}

}  // namespace throughline
