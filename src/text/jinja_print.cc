#include "text/jinja_print.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

void append_items(Runtime& rt, std::string& out, const Values& items, int depth) {
  bool first = true;
  for (const Value& item : items) {
    if (!std::exchange(first, false)) out += ", ";
    append_repr(rt, out, item, depth);
  }
}

void append_object(Runtime& rt, std::string& out, const Value& value, int depth) {
  if (const auto* range = value.object_if<RangeObject>(ObjectKind::kRange)) {
    out += "range(" + std::to_string(range->start) + ", " + std::to_string(range->stop);
    if (range->step != 1) out += ", " + std::to_string(range->step);
    out += ')';
  } else if (auto* space = value.object_if<NamespaceObject>(ObjectKind::kNamespace)) {
    out += "<Namespace {";
    bool first = true;
    for (const auto& [name, attribute] : space->attributes) {
      if (!std::exchange(first, false)) out += ", ";
      out += string_repr(name) + ": ";
      append_repr(rt, out, attribute, depth);
    }
    out += "}>";
  } else if (const auto* view = value.object_if<ViewObject>(ObjectKind::kView)) {
    out += std::string(view->type) + "([";
    append_items(rt, out, view->items, depth);
    out += "])";
  } else if (const auto* loop = value.object_if<LoopObject>(ObjectKind::kLoop)) {
    out += "<LoopContext " + std::to_string(loop->index0 + 1) + "/" + std::to_string(loop->items.size()) + ">";
  } else {
    out += "<" + std::string(type_name(value)) + ">";  // Python prints an address here
  }
}

}  // namespace

void append_repr(Runtime& rt, std::string& out, const Value& value, int depth) {
  if (depth > 2 * kNestingLimit) rt.fail("values nested too deep to print");
  rt.step(1);
  rt.check_size(out.size());
  switch (value.kind()) {
    case Kind::kUndefined:
      out += "Undefined";
      return;
    case Kind::kNone:
      out += "None";
      return;
    case Kind::kBool:
      out += value.as_bool() ? "True" : "False";
      return;
    case Kind::kInt:
      out += std::to_string(value.as_int());
      return;
    case Kind::kFloat:
      out += float_repr(value.as_double());
      return;
    case Kind::kString:
      rt.scan(value.text().size() * 8);
      if (value.is_markup()) {
        out += "Markup(" + string_repr(value.text()) + ")";
      } else {
        out += string_repr(value.text());
      }
      return;
    case Kind::kList:
      out += '[';
      append_items(rt, out, value.items(), depth + 1);
      out += ']';
      return;
    case Kind::kTuple:
      out += '(';
      append_items(rt, out, value.items(), depth + 1);
      out += value.items().size() == 1 ? ",)" : ")";
      return;
    case Kind::kDict: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.dict().entries()) {
        if (!std::exchange(first, false)) out += ", ";
        append_repr(rt, out, key, depth + 1);
        out += ": ";
        append_repr(rt, out, item, depth + 1);
      }
      out += '}';
      return;
    }
    case Kind::kObject:
      append_object(rt, out, value, depth + 1);
  }
}

void append_str(Runtime& rt, std::string& out, const Value& value) {
  if (value.is_undefined()) return;
  if (value.is_string()) {
    rt.scan(value.text().size());
    rt.check_size(out.size() + value.text().size());
    out += value.text();
    return;
  }
  append_repr(rt, out, value);
  rt.check_size(out.size());
}

std::string to_str(Runtime& rt, const Value& value) {
  std::string out;
  append_str(rt, out, value);
  return out;
}

namespace {

class JsonWriter {
 public:
  JsonWriter(Runtime& rt, const JsonStyle& style) : rt_(rt), style_(style) {}

  void write(const Value& value, int depth) {
    rt_.step(1);
    rt_.check_size(out.size());
    switch (value.kind()) {
      case Kind::kNone:
        out += "null";
        return;
      case Kind::kBool:
        out += value.as_bool() ? "true" : "false";
        return;
      case Kind::kInt:
        out += std::to_string(value.as_int());
        return;
      case Kind::kFloat:
        out += number(value.as_double());
        return;
      case Kind::kString:
        write_string(value.text());
        return;
      case Kind::kList:
      case Kind::kTuple: {
        if (value.items().empty()) {
          out += "[]";
          return;
        }
        out += '[';
        bool first = true;
        for (const Value& item : value.items()) {
          separate(std::exchange(first, false), depth + 1);
          write(item, depth + 1);
        }
        new_line(depth);
        out += ']';
        return;
      }
      case Kind::kDict:
        write_dict(value.dict(), depth);
        return;
      default:
        rt_.fail("Object of type " + std::string(type_name(value)) + " is not JSON serializable");
    }
  }

  std::string out;

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }

  void new_line(int depth) {
    if (!style_.indent) return;
    out += '\n';
    rt_.check_size(out.size() + style_.indent->size() * static_cast<size_t>(depth));
    for (int i = 0; i < depth; ++i) out += *style_.indent;
  }

  void separate(bool first, int depth) {
    if (!first) out += style_.item_separator;
    new_line(depth);
  }

  std::string key_text(const Value& key) {
    switch (key.kind()) {
      case Kind::kString:
        return key.text();
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return key.as_bool() ? "true" : "false";
      case Kind::kInt:
        return std::to_string(key.as_int());
      case Kind::kFloat:
        return number(key.as_double());
      default:
        rt_.fail("keys must be str, int, float, bool or None, not " + std::string(type_name(key)));
    }
  }

  void write_dict(const Dict& dict, int depth) {
    if (dict.size() == 0) {
      out += "{}";
      return;
    }
    std::vector<const Dict::Entry*> entries;
    for (const auto& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const auto* a, const auto* b) { return rt_.compare(a->first, b->first) == -1; });
    }
    out += '{';
    bool first = true;
    for (const auto* entry : entries) {
      separate(std::exchange(first, false), depth + 1);
      write_string(key_text(entry->first));
      out += style_.key_separator;
      write(entry->second, depth + 1);
    }
    new_line(depth);
    out += '}';
  }

  void write_string(const std::string& text) {
    rt_.scan(text.size() * 2);
    rt_.check_size(out.size() + text.size());
    out += '"';
    for (size_t pos = 0; pos < text.size();) {
      const char32_t c = next_code_point(text, pos);
      switch (c) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        case '\b':
          out += "\\b";
          break;
        case '\f':
          out += "\\f";
          break;
        default:
          if (c < 0x20 || (style_.ensure_ascii && c > 0x7E)) {
            write_escape(c);
          } else {
            append_utf8(out, c);
          }
      }
    }
    out += '"';
  }

  void write_escape(char32_t c) {
    char escaped[16];
    if (c >= 0x10000) {
      const unsigned rest = static_cast<unsigned>(c) - 0x10000;
      std::snprintf(escaped, sizeof escaped, "\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
    }
    out += escaped;
  }

  Runtime& rt_;
  const JsonStyle& style_;
};

}  // namespace

std::string to_json(Runtime& rt, const Value& value, const JsonStyle& style) {
  JsonWriter writer(rt, style);
  writer.write(value, 0);
  rt.check_size(writer.out.size());
  return std::move(writer.out);
}

}  // namespace throughline::jinja
