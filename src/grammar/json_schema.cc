#include "grammar/json_schema.h"

#include "grammar/schema_compiler.h"

namespace throughline {
namespace {

constexpr unsigned kObject = 1U << 6;

Status check_size(const Json& schema, const std::string& where) {
  if (dump_json(schema).size() <= kMostSchemaBytes) return {};
  return Error{"is over " + std::to_string(kMostSchemaBytes >> 10) + " KiB", where, ""};
}

// {"name": "f", "arguments": {...}} of one of the tools.
Result<int32_t> call_rule(const GrammarSpec& spec, GrammarBuilder& builder, JsonRules& json) {
  const int32_t rule = builder.declare_rule(), start = builder.state(), done = builder.state();
  int32_t at = start;
  if (spec.tagged) at = json.space(builder.literal(at, "<tool_call>"));
  at = json.space(builder.literal(at, "{"));
  const int32_t name = json.space(builder.literal(json.space(builder.literal(at, "\"name\"")), ":"));
  for (const auto& tool : spec.tools) {
    TL_TRY_STATUS(check_size(tool.parameters, tool.where));
    at = json.space(builder.literal(name, dump_json(Json(tool.name))));
    at = json.space(builder.literal(at, ","));
    at = json.space(builder.literal(at, spec.tagged ? "\"arguments\"" : "\"parameters\""));
    at = json.space(builder.literal(at, ":"));
    int32_t arguments = json.any_object();
    if (!tool.parameters.is_null() && tool.parameters != Json::object()) {
      SchemaCompiler compiler(builder, json, tool.parameters, tool.where);
      TL_TRY(arguments, compiler.compile());
      const bool is_object = compiler.types(tool.parameters) == kObject ||
                             (!tool.parameters.contains("type") && tool.parameters.contains("properties"));
      if (!is_object) return Error{"is no schema of an object", tool.where, "say \"type\": \"object\""};
    }
    builder.jump(json.space(builder.call(at, arguments)), done);
  }
  at = builder.literal(done, "}");
  if (spec.tagged) at = builder.literal(json.space(at), "</tool_call>");
  builder.define_rule(rule, start, at);
  return rule;
}

}  // namespace

std::string GrammarSpec::key() const {
  Json calls = Json::array();
  for (const auto& tool : tools) calls.push_back({tool.name, tool.parameters});
  return dump_json({schema, calls, tagged, several});
}

Result<ByteGrammar> make_grammar(const GrammarSpec& spec) {
  GrammarBuilder builder;
  JsonRules json(builder);
  const int32_t root = builder.declare_rule(), start = builder.state(), from = json.space(start);
  int32_t end = -1;
  if (!spec.tools.empty()) {
    TL_TRY(const int32_t call, call_rule(spec, builder, json));
    end = builder.call(from, call);
    if (spec.several) builder.call(json.space(end), call, end);
  } else {
    TL_TRY_STATUS(check_size(spec.schema, spec.where));
    TL_TRY(const int32_t value, SchemaCompiler(builder, json, spec.schema, spec.where).compile());
    end = builder.call(from, value);
  }
  builder.define_rule(root, start, end);
  return builder.finish(root, spec.where);
}

}  // namespace throughline
