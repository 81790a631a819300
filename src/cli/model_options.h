// The flags that every command with a model has, and the model they load.
#pragma once

#include <CLI/App.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/request_line.h"
#include "engine/loaded_model.h"

namespace throughline {

struct ModelOptions {
  std::string model;
  std::string dtype;     // fp32 | bf16; empty: the checkpoint's
  std::string kv_dtype;  // int8; empty: as dtype
  std::string weights;   // int8 | int4; empty: as the files hold them
  bool mmap = true;
  std::string device = "cpu";
  int threads = 0;        // 0: all cores
  std::string kv_memory;  // "4G"; empty: half of the free memory
  std::string park_memory = "0";
  int64_t batch_max = 64;
  int64_t max_context = 0;
  int64_t turn_tokens = 1024;  // serve's flag
  std::string speculate = "auto";
  int64_t prompt_lookup_min = SpeculationOptions().prompt_lookup_min;
  int64_t prompt_lookup_max = SpeculationOptions().prompt_lookup_max;
  bool exact = false;

  void add_to(CLI::App& app);
};

// The engine's request for a line: encodes, renders, fills in defaults (`fields` win over the model's).
Result<Request> request_of(const LoadedModel& model, const RequestLine& line, const RequestFields& fields,
                           const std::string& where);

// Sets the thread count of libtorch as well.
Result<std::unique_ptr<LoadedModel>> load_model(const ModelOptions& options);

// The folder's own name; "model" for one without.
std::string model_name(const std::string& folder);

// The sampling flags, named as the fields of a line and read as they are. Call fields() after parsing.
class FieldFlags {
 public:
  // `group` is their heading in the help.
  void add_to(CLI::App& app, const std::string& group = "Defaults for lines that do not say it themselves");
  // Checked as far as that goes without a model; errors name the flag.
  Result<RequestFields> fields() const;

 private:
  std::map<std::string, std::vector<std::string>> given_;  // field -> what was written, once or several times
  bool ignore_eos_ = false, sampling_logprobs_ = false;
};

// The rest of it: ids outside the vocabulary, what needs a tokenizer.
Status check_flags(const RequestFields& flags, const LoadedModel& model);

}  // namespace throughline
