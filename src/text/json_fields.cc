#include "text/json_fields.h"

#include "text/utf8.h"

namespace throughline {

JsonFields::JsonFields(const Json& object, std::string where) : json_(object), where_(std::move(where)) {
  if (!json_.is_object()) status_ = Error{"must be an object", where_, ""};
}

const Json* JsonFields::find(const char* name) const {
  if (!json_.is_object()) return nullptr;
  const auto it = json_.find(name);
  return it == json_.end() || it->is_null() ? nullptr : &*it;
}

void JsonFields::fail(const char* name, const std::string& what, const std::string& remedy) {
  if (status_.ok()) status_ = Error{what, at(name), remedy};
}

bool JsonFields::boolean(const char* name, bool otherwise) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (value->is_boolean()) return value->get<bool>();
  fail(name, "must be true or false");
  return otherwise;
}

int64_t JsonFields::integer(const char* name, int64_t otherwise, int64_t minimum, int64_t maximum) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    fail(name, "is too large");
  } else if (!value->is_number_integer()) {
    fail(name, "must be an integer");
  } else if (const auto n = value->get<int64_t>(); n < minimum || n > maximum) {
    fail(name, std::to_string(n) + " is outside " + std::to_string(minimum) + ".." + std::to_string(maximum));
  } else {
    return n;
  }
  return otherwise;
}

double JsonFields::number(const char* name, double otherwise) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (value->is_number()) return value->get<double>();
  fail(name, "must be a number");
  return otherwise;
}

std::string JsonFields::text(const char* name, const std::string& otherwise) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (value->is_string()) return value->get<std::string>();
  fail(name, "must be a string");
  return otherwise;
}

std::string JsonFields::required_text(const char* name) {
  if (find(name) == nullptr) fail(name, "is missing");
  return text(name, "");
}

char32_t JsonFields::character(const char* name, char32_t otherwise) {
  if (find(name) == nullptr) return otherwise;
  const std::string value = text(name, "");
  if (value.empty() || static_cast<size_t>(next_code_point(value, 0).size) != value.size()) {
    fail(name, "must be one character");
    return otherwise;
  }
  return next_code_point(value, 0).code;
}

const Json* JsonFields::object(const char* name) {
  const Json* value = find(name);
  if (value != nullptr && !value->is_object()) {
    fail(name, "must be an object");
    return nullptr;
  }
  return value;
}

const Json* JsonFields::list(const char* name) {
  const Json* value = find(name);
  if (value != nullptr && !value->is_array()) {
    fail(name, "must be a list");
    return nullptr;
  }
  return value;
}

Error unsupported_part(const std::string& part, const std::string& type, const std::string& known,
                       const std::string& where) {
  return Error{"the " + part + " \"" + type + "\" is not supported", where + ".type", "supported: " + known};
}

}  // namespace throughline
