#include "cli/model_options.h"

#include <ATen/Parallel.h>

#include <filesystem>
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

void FieldFlags::add_to(CLI::App& app, const std::string& heading) {
  const auto group = [&](CLI::Option* option) { option->group(heading); };
  group(app.add_option("--kv", kv_,
                       "KV policy, e.g. rpc:interval=1024,ratio=4 (default full); see `throughline help kv`"));
  group(app.add_option(
      "--think", think_,
      "thinking environment, e.g. delethink:chunk=8192,carry=4096 (default longcot); see `throughline help think`"));
  group(app.add_option("--max-tokens,--max_tokens", values_.max_tokens,
                       "new tokens, over all chunks (default: up to the context)"));
  group(app.add_option("--temperature", values_.temperature, "0 is greedy (default: generation_config.json, else 1)"));
  group(app.add_option("--top-p,--top_p", values_.top_p, "nucleus mass (default: generation_config.json, else 1)"));
  group(app.add_option("--top-k,--top_k", values_.top_k,
                       "best ids kept; 0 is off (default: generation_config.json, else off)"));
  group(app.add_option("--min-p,--min_p", values_.min_p,
                       "least probability relative to the best (default: generation_config.json, else off)"));
  group(app.add_option("--seed", values_.seed, "of all draws (default: made from the line's id)"));
  // One value a flag: what follows may be run's prompt.
  group(app.add_option("--stop", stop_, "stop string; may be given several times")->allow_extra_args(false));
  group(app.add_option("--stop-token-ids,--stop_token_ids", stop_token_ids_, "token ids that end a sample: 5,6,7")
            ->allow_extra_args(false)
            ->delimiter(','));
  group(app.add_flag("--ignore-eos,--ignore_eos", ignore_eos_, "EOS does not end a sample"));
  group(app.add_option("--logprobs", values_.logprobs, "log-probs of each token and of the N best"));
  group(app.add_flag("--sampling-logprobs,--sampling_logprobs", sampling_logprobs_,
                     "log-probs of the distribution drawn from as well"));
  group(app.add_option("--min-tokens,--min_tokens", values_.min_tokens, "EOS and stop ids cannot be drawn before"));
  group(app.add_option("--repetition-penalty,--repetition_penalty", values_.repetition_penalty,
                       "over prompt and output (default 1)"));
  group(
      app.add_option("--presence-penalty,--presence_penalty", values_.presence_penalty, "over the output (default 0)"));
  group(app.add_option("--frequency-penalty,--frequency_penalty", values_.frequency_penalty,
                       "over the output (default 0)"));
  group(app.add_option("--logit-bias,--logit_bias", logit_bias_, "JSON object of token id: bias"));
  group(app.add_option("--json-schema", json_schema_, "file of a JSON schema that the answer has to satisfy"));
  group(app.add_option("--n", values_.n, "samples a line (default 1)"));
}

Result<RequestFields> FieldFlags::fields() const {
  RequestFields out = values_;
  if (!kv_.empty()) {
    TL_TRY(out.kv, parse_spec(kv_, policy_infos(), "--kv"));
  }
  if (!think_.empty()) {
    TL_TRY(out.think, parse_spec(think_, environment_infos(), "--think"));
  }
  if (!json_schema_.empty()) {
    TL_TRY(out.json_schema, read_json_file(json_schema_));
  }
  if (!stop_.empty()) out.stop = stop_;
  if (!stop_token_ids_.empty()) out.stop_token_ids = stop_token_ids_;
  if (ignore_eos_) out.ignore_eos = true;
  if (sampling_logprobs_) out.sampling_logprobs = true;
  if (!logit_bias_.empty()) {
    TL_TRY(const Json biases, parse_json(logit_bias_, "--logit-bias"));
    Json line = {{"prompt", "x"}, {"logit_bias", biases}};
    TL_TRY(const RequestLine parsed, parse_request_line(line.dump(), {}, "flags"));
    out.logit_bias = parsed.fields.logit_bias;
  }
  return out;
}

}  // namespace throughline
