#include "engine/loaded_model.h"

#include <algorithm>

namespace throughline {
namespace {

uint64_t hash_text(const std::string& text) {  // FNV-1a: stable over runs and machines
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ULL;
  return hash;
}

SamplingOptions sampling_of(const RequestFields& fields, const GenerationDefaults& defaults,
                            const std::string& seed_text) {
  SamplingOptions out;
  out.temperature = fields.temperature.value_or(defaults.has_temperature ? defaults.temperature : 1);
  out.top_p = fields.top_p.value_or(defaults.has_top_p ? defaults.top_p : 1);
  out.top_k = std::max<int64_t>(0, fields.top_k.value_or(defaults.has_top_k ? defaults.top_k : 0));
  out.min_p = fields.min_p.value_or(defaults.has_min_p ? defaults.min_p : 0);
  out.repetition_penalty =
      fields.repetition_penalty.value_or(defaults.has_repetition_penalty ? defaults.repetition_penalty : 1);
  out.presence_penalty = fields.presence_penalty.value_or(0);
  out.frequency_penalty = fields.frequency_penalty.value_or(0);
  out.logit_bias = fields.logit_bias.value_or(std::map<int32_t, double>());
  out.seed = fields.seed ? *fields.seed : hash_text(seed_text);
  out.min_tokens = fields.min_tokens.value_or(0);
  out.stop_token_ids = fields.stop_token_ids.value_or(std::vector<int32_t>());
  out.stop = fields.stop.value_or(std::vector<std::string>());
  out.ignore_eos = fields.ignore_eos.value_or(false);
  out.logprobs = fields.logprobs.value_or(-1);
  out.sampling_logprobs = fields.sampling_logprobs.value_or(false);
  return out;
}

Error no_tokenizer(const std::string& where) {
  return Error{"the model directory has no tokenizer", where,
               "give prompt_ids, or add tokenizer.json to the directory"};
}

}  // namespace

Result<ModelParts> ModelParts::load(const std::string& folder, const Decoder::LoadOptions& options) {
  ModelParts out;
  TL_TRY(out.decoder, Decoder::load(folder, options));
  if (Tokenizer::present(folder)) {
    TL_TRY(out.tokenizer, Tokenizer::load(folder));
    TL_TRY(out.chat_template, ChatTemplate::load(folder));
    const Tokenizer& tokenizer = *out.tokenizer;
    out.tags = ThinkingTags::resolve([&](std::string_view text) { return tokenizer.token_id(text); });
  }
  TL_TRY(out.defaults, load_generation_defaults(folder, out.decoder->config()));
  if (out.tokenizer) {
    out.grammars = std::make_unique<GrammarCompiler>([&tokenizer = *out.tokenizer, tags = out.tags,
                                                      eos = out.defaults.eos_ids, vocab = out.decoder->config().vocab] {
      std::vector<std::string> tokens(static_cast<size_t>(std::min<int64_t>(vocab, tokenizer.vocab_size())));
      for (int32_t id = 0; id < static_cast<int32_t>(tokens.size()); ++id) {
        const bool is_tag = tags && (id == tags->open_id || id == tags->close_id);
        const bool is_end = std::find(eos.begin(), eos.end(), id) != eos.end();
        if (!is_tag && !is_end && !tokenizer.is_special(id)) tokens[id] = tokenizer.token_bytes(id);
      }
      return tokens;
    });
  }
  return out;
}

Result<std::shared_ptr<TokenGrammar>> ModelParts::grammar(const GrammarSpec& spec) const {
  if (!grammars) return Error{"the model directory has no tokenizer", spec.where, "a grammar is about text"};
  return grammars->compile(spec);
}

Result<ModelPrompt> ModelParts::encode(std::string_view text, const std::string& where) const {
  if (!tokenizer) return no_tokenizer(where);
  ModelPrompt out;
  out.ids = tokenizer->encode(text);
  return out;
}

Result<ModelPrompt> ModelParts::render(const Json& messages, const ChatTemplate::Options& options,
                                       const std::string& where) const {
  if (!tokenizer) return no_tokenizer(where);
  if (!chat_template) {
    return Error{"the model has no chat template", where + ": messages",
                 "give a prompt, or add chat_template.jinja to the model directory"};
  }
  TL_TRY(auto rendered, chat_template->render_parts(messages, options));
  ModelPrompt out;
  // The template writes the special tokens itself.
  out.ids = tokenizer->encode(rendered.text, {.add_special_tokens = false, .parse_special = true});
  if (tags)
    out.opens_thinking = tags->opened_by_text(std::string_view(rendered.text).substr(rendered.generation_begin));
  out.text = std::move(rendered.text);
  return out;
}

Result<std::unique_ptr<LoadedModel>> LoadedModel::load(const std::string& folder, const Decoder::LoadOptions& weights,
                                                       const EngineOptions& options) {
  auto model = std::make_unique<LoadedModel>();
  TL_TRY(static_cast<ModelParts&>(*model), ModelParts::load(folder, weights));
  TL_TRY(model->engine, Engine::create(model->decoder.get(), model->tokenizer.get(), model->defaults.eos_ids, options));
  return model;
}

Result<Request> LoadedModel::request(ModelPrompt prompt, const RequestFields& fields, const std::string& seed_text,
                                     const std::string& where) const {
  Request request;
  request.prompt_ids = std::move(prompt.ids);
  request.opens_thinking = prompt.opens_thinking;
  request.sampling = sampling_of(fields, defaults, seed_text);
  request.max_tokens = fields.max_tokens.value_or(-1);
  request.samples = fields.n.value_or(1);
  if (fields.kv) {
    TL_TRY(auto policy, make_policy(*fields.kv, where + ": kv"));
    request.policy = std::move(policy);
  }
  if (fields.think) {
    TL_TRY(auto environment, make_environment(*fields.think, where + ": think"));
    request.environment = std::move(environment);
  }
  if (fields.json_schema) {
    GrammarSpec spec{.schema = *fields.json_schema, .where = where + ": json_schema"};
    TL_TRY(request.grammar, grammar(spec));
  }
  return request;
}

}  // namespace throughline
