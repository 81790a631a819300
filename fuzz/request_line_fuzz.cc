// rooms: base think cli/request_line.cc engine/request_fields.cc
// Parses any bytes as a line of generate's input: it must not crash or hang, an error must be one line that names the
// place, and what is accepted must hold one prompt. Seeds: fuzz/corpus/request_line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cli/request_line.h"
#include "think/environment.h"

namespace {

// The real policies live above torch; one of each option type stands for them.
const throughline::SpecInfo kPolicies[] = {
    {"full", "keeps everything", {}},
    {"rpc",
     "as rpc",
     {{.name = "interval", .default_text = "1024", .minimum = 1},
      {.name = "ratio", .type = throughline::OptionType::kNumber, .default_text = "4", .minimum = 1},
      {.name = "mode",
       .type = throughline::OptionType::kChoice,
       .default_text = "fixed",
       .choices = {"fixed", "reference"}},
      {.name = "shared", .type = throughline::OptionType::kBoolean, .default_text = "false"},
      {.name = "budget"},
      {.name = "protect",
       .type = throughline::OptionType::kChoice,
       .default_text = "prompt",
       .choices = {"prompt", "first:N"}}}}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace throughline;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Json id = request_id(text);
  if (!id.is_null() && !id.is_string() && !id.is_number_integer()) std::abort();
  const auto line = parse_request_line(text, {kPolicies, environment_infos()}, "fuzz line 1");
  if (!line.ok()) {
    const std::string error = line.error().line();
    if (error.find('\n') != std::string::npos || error.find("fuzz line 1") != 0) std::abort();
    return 0;
  }
  if (line->prompt.has_value() + line->prompt_ids.has_value() + !line->messages.is_null() != 1) std::abort();
  if (line->id != id) std::abort();
  if (line->fields.kv) {  // an accepted spec is written so that it reads back as itself
    const auto again = parse_spec(line->fields.kv->to_string(), kPolicies, "again");
    if (!again.ok() || !(*again == *line->fields.kv)) std::abort();
  }
  (void)dump_json(line->id);
  return 0;
}
