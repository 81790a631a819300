#include "text/post_processor.h"

#include "text/json_fields.h"
#include "text/vocabulary.h"

namespace throughline {
namespace {

constexpr size_t kMaxIds = 64;  // around one text; real templates have one or two

// {"id": "<s>", "ids": [1], "tokens": ["<s>"]}
Status append_special(const Json* table, const std::string& name, const std::string& where, std::vector<int32_t>& out) {
  if (table == nullptr || !table->contains(name))
    return Error{"the special token \"" + name + "\" is not in special_tokens", where, ""};
  JsonFields fields((*table)[name], where + ".special_tokens[\"" + name + "\"]");
  const Json* ids = fields.list("ids");
  TL_TRY_STATUS(fields.status());
  if (ids == nullptr) return Error{"is missing", fields.at("ids"), ""};
  for (const Json& id : *ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId))
      return Error{"must be token ids", fields.at("ids"), ""};
    if (out.size() >= kMaxIds) return Error{"more than " + std::to_string(kMaxIds) + " ids", where, ""};
    out.push_back(id.get<int32_t>());
  }
  return {};
}

Status add_template(JsonFields& fields, PostProcessor& out) {
  const Json* single = fields.list("single");
  const Json* table = fields.object("special_tokens");
  TL_TRY_STATUS(fields.status());
  if (single == nullptr) return Error{"is missing", fields.at("single"), ""};
  PostProcessor here;
  int texts = 0;
  for (const Json& piece : *single) {
    const std::string where = fields.at("single");
    if (piece.is_object() && piece.contains("Sequence")) {
      ++texts;
    } else if (piece.is_object() && piece.contains("SpecialToken")) {
      JsonFields special(piece["SpecialToken"], where);
      const std::string name = special.required_text("id");
      TL_TRY_STATUS(special.status());
      TL_TRY_STATUS(append_special(table, name, fields.where(), texts == 0 ? here.before : here.after));
    } else {
      return Error{"must be a list of SpecialToken and Sequence", where, ""};
    }
  }
  if (texts != 1)
    return Error{"has the text " + std::to_string(texts) + " times", fields.at("single"),
                 "a template must have it once"};
  // A later processor in a Sequence wraps what the earlier ones made.
  out.before.insert(out.before.begin(), here.before.begin(), here.before.end());
  out.after.insert(out.after.end(), here.after.begin(), here.after.end());
  if (out.before.size() + out.after.size() > kMaxIds)
    return Error{"more than " + std::to_string(kMaxIds) + " ids", fields.where(), ""};
  return {};
}

// ["[CLS]", 101]
Status add_pair(JsonFields& fields, PostProcessor& out) {
  int32_t ids[2] = {};
  const char* names[2] = {"cls", "sep"};
  for (int i = 0; i < 2; ++i) {
    const Json* pair = fields.list(names[i]);
    TL_TRY_STATUS(fields.status());
    if (pair == nullptr || pair->size() != 2 || !(*pair)[1].is_number_unsigned() ||
        (*pair)[1].get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId)) {
      return Error{"must be [\"token\", id]", fields.at(names[i]), ""};
    }
    ids[i] = (*pair)[1].get<int32_t>();
  }
  out.before.insert(out.before.begin(), ids[0]);
  out.after.push_back(ids[1]);
  return {};
}

Status add(const Json& json, const std::string& where, PostProcessor& out) {
  JsonFields fields(json, where);
  const std::string type = fields.required_text("type");
  TL_TRY_STATUS(fields.status());
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return add_template(fields, out);
  if (type == "BertProcessing" || type == "RobertaProcessing") return add_pair(fields, out);
  if (type != "Sequence") {
    return unsupported_part("post-processor", type,
                            "Sequence, TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing", where);
  }
  const Json* list = fields.list("processors");
  TL_TRY_STATUS(fields.status());
  if (list == nullptr) return Error{"is missing", fields.at("processors"), ""};
  for (size_t i = 0; i < list->size(); ++i) {
    TL_TRY_STATUS(add((*list)[i], where + ".processors[" + std::to_string(i) + "]", out));
    if (out.before.size() + out.after.size() > kMaxIds)
      return Error{"more than " + std::to_string(kMaxIds) + " ids", where, ""};
  }
  return {};
}

}  // namespace

Result<PostProcessor> PostProcessor::from_json(const Json& json, const std::string& where) {
  PostProcessor out;
  if (json.is_null()) return out;
  TL_TRY_STATUS(add(json, where, out));
  return out;
}

}  // namespace throughline
