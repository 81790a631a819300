#include "grammar/schema_compiler.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "grammar/json_schema.h"
#include "grammar/pattern.h"

namespace throughline {
namespace {

// Say nothing about what is valid.
constexpr std::string_view kAnnotations[] = {"title",           "description",      "default",   "examples",
                                             "example",         "deprecated",       "readOnly",  "writeOnly",
                                             "$comment",        "$schema",          "$id",       "$defs",
                                             "definitions",     "discriminator",    "strict",    "name",
                                             "contentEncoding", "contentMediaType", "enumNames", "propertyOrdering"};
constexpr std::string_view kAssertions[] = {"type",
                                            "enum",
                                            "const",
                                            "properties",
                                            "required",
                                            "additionalProperties",
                                            "minProperties",
                                            "items",
                                            "prefixItems",
                                            "minItems",
                                            "maxItems",
                                            "minLength",
                                            "maxLength",
                                            "pattern",
                                            "format",
                                            "minimum",
                                            "maximum",
                                            "exclusiveMinimum",
                                            "exclusiveMaximum",
                                            "anyOf",
                                            "oneOf",
                                            "allOf",
                                            "$ref"};
// Assert nothing when they are false.
constexpr std::string_view kHarmlessFalse[] = {"uniqueItems", "unevaluatedProperties", "unevaluatedItems", "nullable"};
// What a schema without "type" is about.
constexpr std::pair<const char*, std::string_view> kTypeOfKeyword[] = {
    {"object", "properties"},      {"object", "required"}, {"object", "additionalProperties"},
    {"object", "minProperties"},   {"array", "items"},     {"array", "prefixItems"},
    {"array", "minItems"},         {"array", "maxItems"},  {"string", "minLength"},
    {"string", "maxLength"},       {"string", "pattern"},  {"string", "format"},
    {"number", "minimum"},         {"number", "maximum"},  {"number", "exclusiveMinimum"},
    {"number", "exclusiveMaximum"}};
constexpr int kMostLinks = 8;          // of $ref to $ref, where only a look is taken
constexpr size_t kMostExclusive = 64;  // alternatives of a oneOf: all pairs are compared

// Texts that validators take for the format. kLabels: of a host.
#define TL_DATE \
  "[12]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))"
#define TL_TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define TL_HOST "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,30}[a-z0-9])?){1,4}"
#define TL_BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
constexpr std::pair<std::string_view, const char*> kFormats[] = {
    {"date", "^" TL_DATE "$"},
    {"time", "^" TL_TIME "$"},
    {"date-time", "^" TL_DATE "T" TL_TIME "$"},
    {"duration", "^P(\\d{1,4}[YMWD]|T\\d{1,6}[HMS])$"},
    {"email", "^[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,30}){0,3}@" TL_HOST "$"},
    {"hostname", "^" TL_HOST "$"},
    {"ipv4", "^(" TL_BYTE "\\.){3}" TL_BYTE "$"},
    {"ipv6", "^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$"},
    {"uri", "^https?://" TL_HOST "(:[1-9]\\d{0,3})?(/[A-Za-z0-9._~-]{0,60}){0,20}$"},
    {"uuid", "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}};
#undef TL_DATE
#undef TL_TIME
#undef TL_HOST
#undef TL_BYTE

template <typename List>
bool holds(const List& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

const Json* member(const Json& schema, std::string_view key) {
  if (!schema.is_object()) return nullptr;
  for (const auto& [name, value] : schema.get_ref<const Json::object_t&>()) {
    if (name == key) return &value;
  }
  return nullptr;
}

// Names in places are a stranger's too.
std::string below(const std::string& path, const std::string& name) { return path + "." + name.substr(0, 48); }

bool is_count(const Json& value) { return value.is_number_integer() && value >= 0; }

unsigned type_bit(std::string_view type) {
  unsigned bit = 1;
  for (const char* known : kSchemaTypes) {
    if (type == known) return type == "number" ? bit | bit >> 1 : bit;  // integers are numbers
    bit <<= 1;
  }
  return 0;
}
constexpr unsigned kAllTypes = 127;

unsigned type_of(const Json& value) {
  return type_bit(value.is_null()             ? "null"
                  : value.is_boolean()        ? "boolean"
                  : value.is_number_integer() ? "integer"
                  : value.is_number()         ? "number"
                  : value.is_string()         ? "string"
                  : value.is_array()          ? "array"
                                              : "object");
}

// "const" and "enum"; empty: neither.
std::vector<const Json*> values_of(const Json& schema) {
  std::vector<const Json*> out;
  if (const Json* value = member(schema, "const")) {
    out.push_back(value);
  } else if (const Json* list = member(schema, "enum"); list != nullptr && list->is_array()) {
    for (const auto& value : *list) out.push_back(&value);
  }
  return out;
}

// In digits. Doubles get the fewest that mean them.
std::string digits_of(const Json& value) {
  if (value.is_number_integer()) return value.dump();
  char text[400];
  return {text, std::to_chars(text, text + sizeof text, value.get<double>(), std::chars_format::fixed).ptr};
}

}  // namespace

Error SchemaCompiler::wrong(const std::string& path, const std::string& what) const {
  return Error{what, where_ + path, ""};
}

Result<int32_t> SchemaCompiler::compile() {
  const int32_t root = rule_of(document_, "");
  while (!pending_.empty() && !builder_.full()) {
    const Pending next = std::move(pending_.back());
    pending_.pop_back();
    TL_TRY_STATUS(define(*next.schema, next.rule, next.path));
  }
  return root;
}

int32_t SchemaCompiler::rule_of(const Json& schema, const std::string& path) {
  const auto [place, is_new] = rules_.emplace(&schema, 0);
  if (is_new) {
    place->second = builder_.declare_rule();
    pending_.push_back({&schema, place->second, path});
  }
  return place->second;
}

Status SchemaCompiler::check_keywords(const Json& schema, const std::string& path) const {
  const bool whole = member(schema, "$ref") || member(schema, "anyOf") || member(schema, "oneOf") ||
                     member(schema, "allOf") || member(schema, "const") || member(schema, "enum");
  int assertions = 0;
  for (const auto& [key, value] : schema.items()) {
    if (holds(kAnnotations, key) || key.compare(0, 2, "x-") == 0) continue;
    if (holds(kHarmlessFalse, key) && value == Json(false)) continue;
    if (!holds(kAssertions, key)) return wrong(path, "the keyword \"" + key.substr(0, 48) + "\" is not supported");
    const bool typed_value = key == "type" && !values_of(schema).empty();
    if (!typed_value && ++assertions > 1 && whole) {
      return wrong(path, "\"" + key +
                             "\" beside another of its keywords is not supported: $ref, anyOf, oneOf, allOf, enum and "
                             "const stand alone (enum and const with \"type\")");
    }
  }
  return {};
}

Status SchemaCompiler::define(const Json& schema, int32_t rule, const std::string& path) {
  if (schema == Json(false)) return {};  // nothing: no definition
  const int32_t start = builder_.state(), end = builder_.state();
  if (schema == Json(true)) {
    builder_.call(start, json_.any(), end);
    builder_.define_rule(rule, start, end);
    return {};
  }
  if (!schema.is_object()) return wrong(path, "must be an object, true or false");
  TL_TRY_STATUS(check_keywords(schema, path));
  if (const Json* ref = member(schema, "$ref")) {
    const Json* to = ref->is_string() ? target(ref->get<std::string>()) : nullptr;
    if (to == nullptr) return wrong(below(path, "$ref"), "leads to nothing in this document");
    builder_.call(start, rule_of(*to, " (" + ref->get<std::string>().substr(0, 64) + ")"), end);
  } else if (member(schema, "const") || member(schema, "enum")) {
    TL_TRY_STATUS(add_values(schema, start, end, path));
  } else if (member(schema, "anyOf")) {
    TL_TRY_STATUS(add_alternatives(schema, "anyOf", start, end, path));
  } else if (member(schema, "oneOf")) {
    TL_TRY_STATUS(add_alternatives(schema, "oneOf", start, end, path));
  } else if (member(schema, "allOf")) {
    TL_TRY_STATUS(add_alternatives(schema, "allOf", start, end, path));
  } else if (const Json* type = member(schema, "type")) {
    const Json list = type->is_array() ? *type : Json::array({*type});
    for (const auto& one : list) {
      if (!one.is_string() || !holds(kSchemaTypes, one.get<std::string>()))
        return wrong(below(path, "type"), "must be null, boolean, integer, number, string, array or object");
      const bool covered = one == "integer" && holds(list, "number");
      if (!covered) TL_TRY_STATUS(add_type(schema, one, start, end, path));
    }
  } else {
    const auto known = std::find_if(std::begin(kTypeOfKeyword), std::end(kTypeOfKeyword),
                                    [&](const auto& entry) { return member(schema, entry.second) != nullptr; });
    if (known == std::end(kTypeOfKeyword)) {
      builder_.call(start, json_.any(), end);
    } else {
      TL_TRY_STATUS(add_type(schema, known->first, start, end, path));
    }
  }
  builder_.define_rule(rule, start, end);
  return {};
}

Status SchemaCompiler::add_type(const Json& schema, const std::string& type, int32_t from, int32_t to,
                                const std::string& path) {
  if (type == "object") return add_object(schema, from, to, path);
  if (type == "array") return add_array(schema, from, to, path);
  if (type == "string") return add_string(schema, from, to, path);
  if (type == "number" || type == "integer") return add_number(schema, type == "integer", from, to, path);
  for (const char* word : {"null", "true", "false"}) {
    if ((type == "null") == (word[0] == 'n')) builder_.jump(builder_.literal(from, word), to);
  }
  return {};
}

// As a tree, so that a long list is no more ways than a short one.
Status SchemaCompiler::add_values(const Json& schema, int32_t from, int32_t to, const std::string& path) {
  const Json* list = member(schema, "enum");
  if (list != nullptr && !list->is_array()) return wrong(below(path, "enum"), "must be a list");
  unsigned wanted = kAllTypes;
  if (const Json* type = member(schema, "type")) {
    wanted = 0;
    for (const auto& one : type->is_array() ? *type : Json::array({*type}))
      wanted |= one.is_string() ? type_bit(one.get<std::string>()) : 0;
  }
  std::map<std::pair<int32_t, char>, int32_t> branches;
  for (const Json* value : values_of(schema)) {
    if ((type_of(*value) & wanted) == 0) continue;
    int32_t at = from;
    for (const char c : dump_json(*value)) {
      if (builder_.full()) return {};
      const auto [branch, is_new] = branches.emplace(std::pair(at, c), 0);
      if (is_new) branch->second = builder_.literal(at, std::string_view(&c, 1));
      at = branch->second;
    }
    builder_.jump(at, to);
  }
  return {};
}

Status SchemaCompiler::add_alternatives(const Json& schema, const char* keyword, int32_t from, int32_t to,
                                        const std::string& path) {
  const Json& list = *member(schema, keyword);
  const std::string here = below(path, keyword);
  if (!list.is_array() || list.empty()) return wrong(here, "must be a list of schemas");
  const bool all = keyword == std::string_view("allOf"), one = keyword == std::string_view("oneOf");
  if (all && list.size() > 1) return wrong(here, "more than one schema is not supported");
  if (one && list.size() > kMostExclusive)
    return wrong(here, "more than " + std::to_string(kMostExclusive) + " schemas are not supported; use anyOf");
  for (size_t i = 0; i < list.size(); ++i) {
    for (size_t j = 0; one && j < i; ++j) {
      if (!apart(list[i], list[j], 0))
        return wrong(here,
                     "schemas " + std::to_string(j) + " and " + std::to_string(i) +
                         " could hold both, as far as can be seen here; use anyOf, or tell them apart by a required "
                         "property with a const");
    }
    builder_.call(from, rule_of(list[i], here + "[" + std::to_string(i) + "]"), to);
  }
  return {};
}

Status SchemaCompiler::add_object(const Json& schema, int32_t from, int32_t to, const std::string& path) {
  static const Json kAny = true, kNone = Json::object();
  const Json *properties = member(schema, "properties"), *required = member(schema, "required"),
             *additional = member(schema, "additionalProperties"), *least = member(schema, "minProperties");
  if (properties != nullptr && !properties->is_object()) return wrong(below(path, "properties"), "must be an object");
  if (required != nullptr && !required->is_array()) return wrong(below(path, "required"), "must be a list of names");
  std::set<std::string> needed;
  for (const auto& name : required != nullptr ? *required : Json::array()) {
    if (!name.is_string()) return wrong(below(path, "required"), "must be a list of names");
    needed.insert(name.get<std::string>());
  }
  if (least != nullptr && !(is_count(*least) && *least <= std::max<size_t>(1, needed.size())))
    return wrong(below(path, "minProperties"), "more than the required properties (or 1) is not supported");
  if (additional == nullptr && properties == nullptr) additional = &kAny;
  const bool open = additional != nullptr && *additional != Json(false);

  struct Member {
    std::string name;
    int32_t rule;
    bool needed;
  };
  std::vector<Member> members;
  std::vector<std::string> names;
  std::set<std::string> unnamed = needed;
  for (const auto& [name, value] : (properties != nullptr ? *properties : kNone).items()) {
    members.push_back({name, rule_of(value, below(below(path, "properties"), name)), needed.count(name) != 0});
    names.push_back(name);
    unnamed.erase(name);
  }
  for (const auto& name : unnamed) {  // required, but not described
    const Json& value = additional != nullptr ? *additional : kAny;
    members.push_back({name, rule_of(value, below(path, "additionalProperties")), true});
    names.push_back(name);
  }
  size_t last_needed = 0;  // one past it
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i].needed) last_needed = i + 1;
  }

  // choice[i]: a member from i on comes next.
  std::vector<int32_t> choice;
  for (size_t i = 0; i <= members.size(); ++i) choice.push_back(builder_.state());
  const int32_t begin = json_.space(builder_.literal(from, "{"));
  builder_.jump(begin, choice[0]);
  const auto value_of = [&](int32_t name, int32_t rule) {
    return json_.space(builder_.call(json_.space(builder_.literal(json_.space(name), ":")), rule));
  };
  if (last_needed == 0 && (least == nullptr || *least == 0)) builder_.edge(begin, '}', '}', to);
  for (size_t i = 0; i < members.size() && !builder_.full(); ++i) {
    const int32_t after = value_of(builder_.literal(choice[i], dump_json(Json(members[i].name))), members[i].rule);
    if (!members[i].needed) builder_.jump(choice[i], choice[i + 1]);
    builder_.jump(json_.space(builder_.literal(after, ",")), choice[i + 1]);
    if (i + 1 >= last_needed) builder_.edge(after, '}', '}', to);
  }
  if (open) {
    const int32_t name = builder_.call(choice.back(), json_.name_except(names));
    const int32_t after = value_of(name, rule_of(*additional, below(path, "additionalProperties")));
    builder_.jump(json_.space(builder_.literal(after, ",")), choice.back());
    builder_.edge(after, '}', '}', to);
  }
  return {};
}

Result<SchemaCompiler::Count> SchemaCompiler::count(const Json& schema, const char* least, const char* most,
                                                    const std::string& path) const {
  Count out;
  for (const char* key : {least, most}) {
    const Json* value = member(schema, key);
    if (value == nullptr) continue;
    if (!is_count(*value)) return wrong(below(path, key), "must be a whole number from 0 on");
    const int64_t number = *value > kMostRepeats ? kMostRepeats : value->get<int64_t>();
    if (key == least && *value > kMostRepeats)
      return wrong(below(path, key), "more than " + std::to_string(kMostRepeats) + " is not supported");
    (key == least ? out.least : out.most) = number;
  }
  return out;
}

Status SchemaCompiler::add_array(const Json& schema, int32_t from, int32_t to, const std::string& path) {
  static const Json kAny = true;
  TL_TRY(Count size, count(schema, "minItems", "maxItems", path));
  const Json *prefix = member(schema, "prefixItems"), *items = member(schema, "items");
  if (prefix != nullptr && !prefix->is_array()) return wrong(below(path, "prefixItems"), "must be a list of schemas");
  const auto first = static_cast<int64_t>(prefix != nullptr ? prefix->size() : 0);
  if (items == nullptr) items = &kAny;
  if (*items == Json(false)) size.most = size.most < 0 ? first : std::min(size.most, first);
  const auto item = [&](int64_t i) {
    if (i >= first) return rule_of(*items, below(path, "items"));
    return rule_of((*prefix)[static_cast<size_t>(i)], below(path, "prefixItems") + "[" + std::to_string(i) + "]");
  };
  // What is counted is laid out one by one; after that the last place is come back to.
  const int64_t places = size.most >= 0 ? size.most : std::max({size.least, first + 1, int64_t{1}});
  int32_t at = json_.space(builder_.literal(from, "["));
  if (size.least == 0) builder_.edge(at, ']', ']', to);
  for (int64_t i = 0; i < places && !builder_.full(); ++i) {
    if (i > 0) at = json_.space(builder_.literal(at, ","));
    at = json_.space(builder_.call(at, item(i)));
    if (i + 1 >= size.least) builder_.edge(at, ']', ']', to);
  }
  if (size.most < 0)
    builder_.jump(json_.space(builder_.call(json_.space(builder_.literal(at, ",")), item(places))), at);
  return {};
}

Status SchemaCompiler::add_string(const Json& schema, int32_t from, int32_t to, const std::string& path) {
  TL_TRY(const Count length, count(schema, "minLength", "maxLength", path));
  const Json *pattern = member(schema, "pattern"), *format = member(schema, "format");
  const bool counted = length.least > 0 || length.most >= 0;
  if ((pattern != nullptr) + (format != nullptr) + counted > 1) {
    return wrong(path, "only one of pattern, format and minLength with maxLength is supported at a time");
  }
  // Equal strings are one rule: a count takes as many states.
  const std::string key = dump_json(
      {length.least, length.most, pattern != nullptr ? *pattern : Json(), format != nullptr ? *format : Json()});
  const auto [known, is_new] = strings_.emplace(key, 0);
  if (is_new) known->second = builder_.declare_rule();
  builder_.call(from, known->second, to);
  if (!is_new) return {};
  const int32_t start = builder_.state(), begin = builder_.literal(start, "\""), end = builder_.state();
  builder_.define_rule(known->second, start, builder_.literal(end, "\""));
  if (pattern != nullptr) {
    if (!pattern->is_string()) return wrong(below(path, "pattern"), "must be a string");
    const Status added = add_pattern(builder_, begin, end, pattern->get<std::string>());
    if (!added.ok()) return wrong(below(path, "pattern"), added.error().what);
    return {};
  }
  if (format != nullptr) {
    for (const auto& [name, text] : kFormats) {
      if (*format == Json(name)) return add_pattern(builder_, begin, end, text);
    }
    std::string names;
    for (const auto& [name, text] : kFormats) names += (names.empty() ? "" : ", ") + std::string(name);
    return wrong(below(path, "format"), "is not supported; known are " + names);
  }
  int32_t at = begin;
  for (int64_t i = 0; i < std::max(length.least, length.most) && !builder_.full(); ++i) {
    if (i >= length.least) builder_.jump(at, end);
    at = builder_.call(at, json_.character());
  }
  if (length.most < 0) builder_.call(at, json_.character(), at);
  if (length.most < 0 || length.least <= length.most) builder_.jump(at, end);
  return {};
}

Status SchemaCompiler::add_number(const Json& schema, bool integer, int32_t from, int32_t to, const std::string& path) {
  std::optional<NumberBound> low, high;
  for (const char* key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
    const Json* value = member(schema, key);
    if (value == nullptr) continue;
    if (!value->is_number()) return wrong(below(path, key), "must be a number");
    const bool upper = std::string_view(key).find("ax") != std::string_view::npos;
    auto& bound = upper ? high : low;
    if (bound) return wrong(below(path, key), "beside its other form is not supported");
    bound = NumberBound{digits_of(*value), key[0] == 'm'};
  }
  if (!low && !high) {
    builder_.call(from, integer ? json_.integer() : json_.number(), to);
    return {};
  }
  const int32_t rule = builder_.declare_rule();
  if (!json_.number_between(rule, low, high, integer))
    return wrong(path, "a bound of more than 15 digits is not supported for type number");
  builder_.call(from, rule, to);
  return {};
}

// "#", "#/a/b": RFC 6901 within the document.
const Json* SchemaCompiler::target(const std::string& ref) const {
  if (ref.empty() || ref[0] != '#' || (ref.size() > 1 && ref[1] != '/')) return nullptr;
  const Json* at = &document_;
  size_t from = 2;
  while (at != nullptr && from <= ref.size() && ref.size() > 1) {
    const size_t end = std::min(ref.find('/', from), ref.size());
    std::string token;
    for (size_t i = from; i < end; ++i) {
      const bool escaped = ref[i] == '~' && i + 1 < end;
      token += !escaped ? ref[i] : ref[++i] == '1' ? '/' : '~';
    }
    from = end + 1;
    if (at->is_array()) {
      size_t index = 0;
      const auto [stop, error] = std::from_chars(token.data(), token.data() + token.size(), index);
      const bool good = error == std::errc() && stop == token.data() + token.size() && index < at->size();
      at = good ? &(*at)[index] : nullptr;
    } else {
      at = member(*at, token);
    }
  }
  return at;
}

const Json& SchemaCompiler::resolved(const Json& schema) const {
  const Json* at = &schema;
  for (int i = 0; i < kMostLinks; ++i) {
    const Json* ref = member(*at, "$ref");
    const Json* to = ref != nullptr && ref->is_string() ? target(ref->get<std::string>()) : nullptr;
    if (to == nullptr) break;
    at = to;
  }
  return *at;
}

unsigned SchemaCompiler::types(const Json& given, int depth) const {
  const Json& schema = resolved(given);
  unsigned out = 0;
  if (const auto values = values_of(schema); !values.empty()) {
    for (const Json* value : values) out |= type_of(*value);
    return out;
  }
  for (const char* key : {"anyOf", "oneOf", "allOf"}) {
    const Json* list = member(schema, key);
    if (list == nullptr || !list->is_array() || list->size() > kMostExclusive || depth >= 2) continue;
    for (const auto& one : *list) out |= types(one, depth + 1);
    return out;
  }
  if (const Json* type = member(schema, "type")) {
    for (const auto& one : type->is_array() ? *type : Json::array({*type}))
      out |= one.is_string() ? type_bit(one.get<std::string>()) : 0;
    return out;
  }
  return kAllTypes;
}

bool SchemaCompiler::apart(const Json& given_a, const Json& given_b, int depth) const {
  if (--looks_left_ < 0) return false;
  const Json &a = resolved(given_a), &b = resolved(given_b);
  if ((types(a) & types(b)) == 0) return true;
  const auto values_a = values_of(a), values_b = values_of(b);
  if (!values_a.empty() && !values_b.empty()) {
    if (values_a.size() * values_b.size() > 4096) return false;
    return std::none_of(values_a.begin(), values_a.end(), [&](const Json* x) {
      return std::any_of(values_b.begin(), values_b.end(), [&](const Json* y) { return *x == *y; });
    });
  }
  const Json *properties_a = member(a, "properties"), *properties_b = member(b, "properties"),
             *required_a = member(a, "required"), *required_b = member(b, "required");
  if (depth >= 2 || properties_a == nullptr || properties_b == nullptr || required_a == nullptr ||
      required_b == nullptr)
    return false;
  if (!required_a->is_array() || !required_b->is_array() || types(a) != types(b) || types(a) != type_bit("object"))
    return false;
  if (required_a->size() > kMostExclusive || required_b->size() > kMostExclusive) return false;
  for (const auto& name : *required_a) {
    if (!name.is_string() || !holds(*required_b, name.get<std::string>())) continue;
    const Json *in_a = member(*properties_a, name.get<std::string>()),
               *in_b = member(*properties_b, name.get<std::string>());
    if (in_a != nullptr && in_b != nullptr && apart(*in_a, *in_b, depth + 1)) return true;
  }
  return false;
}

}  // namespace throughline
