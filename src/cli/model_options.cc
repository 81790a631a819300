#include "cli/model_options.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <thread>

#include "base/files.h"

namespace throughline {

void ModelOptions::add_to(CLI::App& app) {
  app.add_option("-m,--model", model, "model directory in Hugging Face form")->required();
  app.add_option("--dtype", dtype,
                 "compute and KV dtype: fp32 or bf16 (default: the checkpoint's; fp16 computes in fp32)")
      ->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--kv-dtype", kv_dtype, "int8: K and V in 8 bits with a scale a token and head (default: as --dtype)")
      ->check(CLI::IsMember({"int8"}));
  app.add_option("--weights", weights,
                 "int8 or int4: quantize the matrices while loading (default: as the files hold them)")
      ->check(CLI::IsMember({"int8", "int4"}));
  app.add_flag("!--no-mmap", mmap,
               "copy the weights into huge pages of memory: decodes faster, starts later, shares nothing with other "
               "processes");
  app.add_option("--device", device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  app.add_option("--threads", threads, "threads (0: all cores)")->check(CLI::Range(0, 1024))->capture_default_str();
  app.add_option("--kv-memory", kv_memory, "bytes for K and V, e.g. 4G (default: half of the free memory)");
  app.add_option("--park-memory", park_memory,
                 "bytes of host memory for preempted sequences; beyond it they are replayed")
      ->capture_default_str();
  app.add_option("--batch-max", batch_max, "sequences that run at once, at most")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--max-context", max_context, "logical positions (0: the model's max_position_embeddings)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--speculate", speculate,
                 "draft tokens a step copied from what was said before and checked as it is sampled, which changes no "
                 "result: auto (where it pays), off, or a number up to 16")
      ->capture_default_str();
  app.add_option("--prompt-lookup-min,--prompt_lookup_min", prompt_lookup_min, "ids a draft must match")
      ->capture_default_str();
  app.add_option("--prompt-lookup-max,--prompt_lookup_max", prompt_lookup_max, "longest run of ids looked up")
      ->capture_default_str();
  app.add_flag("--exact", exact, "bit-identical results whatever the batch, slicing and thread count (slower)");
}

std::string model_name(const std::string& folder) {
  std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() || name == "." ? "model" : name;
}

Result<std::unique_ptr<LoadedModel>> load_model(const ModelOptions& options) {
  if (options.device != "cpu") {
    return Error{"this build has no CUDA plug-in", "--device " + options.device, "use --device cpu"};
  }
  at::set_num_threads(options.threads > 0 ? options.threads
                                          : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  EngineOptions engine;
  if (!options.kv_memory.empty()) {
    TL_TRY(engine.kv_memory_bytes, parse_size(options.kv_memory, "--kv-memory"));
    if (engine.kv_memory_bytes <= 0) return Error{"must be more than 0", "--kv-memory", ""};
  }
  engine.turn_tokens = options.turn_tokens;
  TL_TRY(engine.park_memory_bytes, parse_size(options.park_memory, "--park-memory"));
  if (engine.park_memory_bytes < 0) return Error{"must be at least 0", "--park-memory", ""};
  engine.batch_max = options.batch_max;
  engine.max_context = options.max_context;
  engine.exact = options.exact;
  TL_TRY(engine.speculation, parse_speculation(options.speculate, "--speculate"));
  engine.speculation.prompt_lookup_min = options.prompt_lookup_min;
  engine.speculation.prompt_lookup_max = options.prompt_lookup_max;
  TL_TRY_STATUS(check_speculation(engine.speculation, "--speculate"));  // before the model is loaded
  engine.int8_kv = options.kv_dtype == "int8";
  return LoadedModel::load(options.model, {.dtype = options.dtype, .weights = options.weights, .mmap = options.mmap},
                           engine);
}

Result<Request> request_of(const LoadedModel& model, const RequestLine& line, const RequestFields& fields,
                           const std::string& where) {
  ModelPrompt prompt;
  if (line.prompt_ids) {
    prompt.ids = *line.prompt_ids;
  } else if (line.prompt) {
    TL_TRY(prompt, model.encode(*line.prompt, where));
  } else {
    ChatTemplate::Options options;
    options.tools = line.tools;
    options.extra = line.template_options;
    TL_TRY(prompt, model.render(line.messages, options, where));
  }
  return model.request(std::move(prompt), fields, line.id.dump(), where);
}

namespace {

constexpr const char* kFlags = "flags";  // the place that flag_error() replaces

// "flags: top_p" -> "--top-p"
Error flag_error(Error error) {
  const std::string prefix = std::string(kFlags) + ": ";
  if (error.where.compare(0, prefix.size(), prefix) != 0) return error;
  error.where.replace(0, prefix.size(), "--");
  const auto end = std::find(error.where.begin(), error.where.end(), ':');
  std::replace(error.where.begin(), end, '_', '-');
  return error;
}

// As JSON would hold it; a text that is no number stays one, which the field's own check refuses.
Json number_of(std::string_view text) {
  const auto reads = [text](auto& value) {
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    return code == std::errc() && end == text.data() + text.size();
  };
  int64_t whole = 0;
  uint64_t large = 0;
  double real = 0;
  if (reads(whole)) return whole;
  if (reads(large)) return large;
  if (reads(real)) return real;
  return std::string(text);
}

Json numbers_of(const std::vector<std::string>& lists) {
  Json out = Json::array();
  for (const std::string& list : lists) {
    for (size_t begin = 0; begin <= list.size();) {
      const size_t end = std::min(list.find(',', begin), list.size());
      out.push_back(number_of(std::string_view(list).substr(begin, end - begin)));
      begin = end + 1;
    }
  }
  return out;
}

Result<Json> value_of(const std::string& field, const std::vector<std::string>& given) {
  if (field == "stop") return Json(given);
  if (field == "stop_token_ids") return numbers_of(given);
  const std::string& text = given.back();
  if (field == "json_schema") return read_json_file(text);
  if (field == "logit_bias") return parse_json(text, kFlags + (": " + field));
  return field == "kv" || field == "think" ? Json(text) : number_of(text);
}

// What Engine::submit() would refuse in every request that leaves these fields to the flags.
Status check_values(RequestFields flags, int64_t vocab) {
  flags.json_schema.reset();  // compiled with the model's tokenizer
  TL_TRY(const Request request, LoadedModel().request({}, flags, "", kFlags));
  return check_sampling(request.sampling, vocab, kFlags);
}

Result<RequestFields> read_fields(const std::map<std::string, std::vector<std::string>>& given) {
  RequestFields out;
  const KnownSpecs known{policy_infos(), environment_infos()};
  for (const auto& [field, texts] : given) {
    TL_TRY(const Json value, value_of(field, texts));
    TL_TRY(const bool read, read_request_field(out, field, value, known, TypedValues(kFlags)));
    TL_CHECK(read, field + " is no field of a request");
  }
  return out;
}

}  // namespace

void FieldFlags::add_to(CLI::App& app, const std::string& heading) {
  // One value a flag: what follows may be run's prompt.
  const auto add = [&](const std::string& field, const char* type, const std::string& help) {
    const bool repeats = field == "stop" || field == "stop_token_ids";
    std::string dashed = field;
    std::replace(dashed.begin(), dashed.end(), '_', '-');
    CLI::Option* const option = app.add_option_function<std::vector<std::string>>(
        "--" + dashed + (dashed == field ? "" : ",--" + field),
        [this, field](const std::vector<std::string>& texts) { given_[field] = texts; }, help);
    option->expected(1, repeats ? CLI::detail::expected_max_vector_size : 1)->allow_extra_args(false);
    option->type_name(type)->group(heading);
  };
  const auto add_flag = [&](const char* names, bool& target, const char* help) {
    app.add_flag(names, target, help)->group(heading);
  };
  add("kv", "TEXT", "KV policy, e.g. rpc:interval=1024,ratio=4 (default full); see `throughline help kv`");
  add("think", "TEXT",
      "thinking environment, e.g. delethink:chunk=8192,carry=4096 (default longcot); see `throughline help think`");
  add("max_tokens", "INT", "new tokens, over all chunks (default: up to the context)");
  add("temperature", "FLOAT", "0 is greedy (default: generation_config.json, else 1)");
  add("top_p", "FLOAT", "nucleus mass (default: generation_config.json, else 1)");
  add("top_k", "INT", "best ids kept; 0 is off (default: generation_config.json, else off)");
  add("min_p", "FLOAT", "least probability relative to the best (default: generation_config.json, else off)");
  add("seed", "UINT", "of all draws (default: made from the line's id)");
  add("stop", "TEXT", "stop string; may be given several times");
  add("stop_token_ids", "INT", "token ids that end a sample: 5,6,7");
  add_flag("--ignore-eos,--ignore_eos", ignore_eos_, "EOS does not end a sample");
  add("logprobs", "INT", "log-probs of each token and of the N best");
  add_flag("--sampling-logprobs,--sampling_logprobs", sampling_logprobs_,
           "log-probs of the distribution drawn from as well");
  add("min_tokens", "INT", "EOS and stop ids cannot be drawn before");
  add("repetition_penalty", "FLOAT", "over prompt and output (default 1)");
  add("presence_penalty", "FLOAT", "over the output (default 0)");
  add("frequency_penalty", "FLOAT", "over the output (default 0)");
  add("logit_bias", "TEXT", "JSON object of token id: bias");
  add("json_schema", "TEXT", "file of a JSON schema that the answer has to satisfy");
  add("n", "INT", "samples a line (default 1)");
}

Result<RequestFields> FieldFlags::fields() const {
  auto out = read_fields(given_);
  if (!out.ok()) return flag_error(out.error());
  if (const Status good = check_values(*out, std::numeric_limits<int32_t>::max()); !good.ok())
    return flag_error(good.error());
  if (ignore_eos_) out->ignore_eos = true;
  if (sampling_logprobs_) out->sampling_logprobs = true;
  return out;
}

Status check_flags(const RequestFields& flags, const LoadedModel& model) {
  if (const Status good = check_values(flags, model.decoder->config().vocab); !good.ok())
    return flag_error(good.error());
  if (flags.stop && !model.tokenizer)
    return Error{"stop strings need a tokenizer", "--stop",
                 "use --stop-token-ids, or add the tokenizer files to the model"};
  if (flags.json_schema) {
    GrammarSpec spec{.schema = *flags.json_schema, .where = "--json-schema"};
    if (const auto grammar = model.grammar(spec); !grammar.ok()) return grammar.error();
  }
  return {};
}

}  // namespace throughline
