// A model directory in memory: decoder, tokenizer, template and defaults, and with them an engine.
//
// What every command that runs a model begins with, the server and the trainer too. Text becomes ids here, once.
// Immutable after loading but for the engine; parts() of one model may be read from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/request_fields.h"
#include "grammar/grammar_compiler.h"
#include "text/chat_template.h"

namespace throughline {

struct ModelPrompt {
  std::vector<int32_t> ids;
  std::optional<bool> opens_thinking;  // unset: by the tags in the ids
  std::string text;                    // what was encoded, where it came from a template
};

struct ModelParts {
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<const Tokenizer> tokenizer;  // null: the directory has no tokenizer files
  std::optional<ChatTemplate> chat_template;
  std::optional<ThinkingTags> tags;  // none without a tokenizer
  GenerationDefaults defaults;
  std::unique_ptr<GrammarCompiler> grammars;  // null without a tokenizer

  static Result<ModelParts> load(const std::string& folder, const Decoder::LoadOptions& options);

  // Messages in the model's template. Errors: no tokenizer, no template, what the template raises.
  Result<ModelPrompt> render(const Json& messages, const ChatTemplate::Options& options,
                             const std::string& where) const;
  Result<std::shared_ptr<TokenGrammar>> grammar(const GrammarSpec& spec) const;
  // Plain text, with the tokenizer's own special tokens.
  Result<ModelPrompt> encode(std::string_view text, const std::string& where) const;
};

struct LoadedModel : ModelParts {
  std::unique_ptr<Engine> engine;

  static Result<std::unique_ptr<LoadedModel>> load(const std::string& folder, const Decoder::LoadOptions& weights,
                                                   const EngineOptions& options);

  // The engine's request: `fields` win over the model's defaults. `seed_text` seeds draws when no seed is given.
  Result<Request> request(ModelPrompt prompt, const RequestFields& fields, const std::string& seed_text,
                          const std::string& where) const;
};

}  // namespace throughline
