// The filters over lists and dicts.
#include <algorithm>

#include "text/jinja_access.h"
#include "text/jinja_filters.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

Value ignore_case(Runtime& rt, const Value& value) {
  if (!value.is_string()) return value;
  rt.scan(value.text().size() * 8);
  return rt.string(lower(value.text()));
}

// What sort, min, unique and groupby compare an item by.
Value sort_key(Runtime& rt, const Value& item, const Value& path, bool case_sensitive) {
  const Value value = path.is_none() ? item : follow_path(rt, item, path);
  return case_sensitive ? value : ignore_case(rt, value);
}

std::vector<Value> split_paths(Runtime& rt, const Value& attribute) {
  if (!attribute.is_string()) return {attribute};
  std::vector<Value> paths;
  const std::string& text = attribute.text();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    paths.push_back(rt.string(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return paths;
}

struct Keyed {
  Values key;
  Value item;
};

Values sort_items(Runtime& rt, std::vector<Keyed> items, bool reverse) {
  const auto less = [&](const Keyed& a, const Keyed& b) {
    for (size_t i = 0; i < a.key.size(); ++i) {
      if (!rt.equal(a.key[i], b.key[i])) return rt.compare(a.key[i], b.key[i]) == -1;
    }
    return false;
  };
  // Python's reverse keeps the order of equal items.
  std::stable_sort(items.begin(), items.end(),
                   [&](const Keyed& a, const Keyed& b) { return reverse ? less(b, a) : less(a, b); });
  Values out;
  out.reserve(items.size());
  for (Keyed& item : items) out.push_back(std::move(item.item));
  return out;
}

Value filter_sort(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "sort", args, {"reverse", "case_sensitive", "attribute"});
  const std::vector<Value> paths = split_paths(rt, bound.get(2, Value::none()));
  const bool case_sensitive = bound.flag(1, false);
  std::vector<Keyed> items;
  for (const Value& item : rt.iterate(input)) {
    rt.charge(sizeof(Keyed) + paths.size() * sizeof(Value));
    Keyed keyed{{}, item};
    for (const Value& path : paths) keyed.key.push_back(sort_key(rt, item, path, case_sensitive));
    items.push_back(std::move(keyed));
  }
  return rt.list(sort_items(rt, std::move(items), bound.flag(0, false)));
}

Value filter_dictsort(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "dictsort", args, {"case_sensitive", "by", "reverse"});
  if (input.is_undefined()) rt.fail(input.undefined_message());
  if (!input.is_dict()) rt.fail("dictsort needs a dict, not '" + std::string(type_name(input)) + "'");
  const std::string by = bound.has(1) ? to_str(rt, bound[1]) : "key";
  if (by != "key" && by != "value") rt.fail("dictsort sorts by either \"key\" or \"value\"");
  std::vector<Keyed> items;
  for (const auto& [key, value] : input.dict().entries()) {
    rt.charge(sizeof(Keyed) + sizeof(Value));
    items.push_back(
        {{sort_key(rt, by == "key" ? key : value, Value::none(), bound.flag(0, false))}, rt.tuple({key, value})});
  }
  return rt.list(sort_items(rt, std::move(items), bound.flag(2, false)));
}

Value filter_unique(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "unique", args, {"case_sensitive", "attribute"});
  Dict seen;
  Values out;
  for (const Value& item : rt.iterate(input)) {
    Value key = sort_key(rt, item, bound.get(1, Value::none()), bound.flag(0, false));
    if (rt.lookup(seen, key) != nullptr) continue;
    rt.set(seen, std::move(key), Value::none());
    out.push_back(item);
  }
  return rt.iterator(std::move(out));
}

Value extreme(Runtime& rt, const char* name, const Value& input, const Args& args, int wanted) {
  const Bound bound(rt, name, args, {"case_sensitive", "attribute"});
  const Values items = rt.iterate(input);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  Value best = items[0];
  Value best_key = sort_key(rt, best, bound.get(1, Value::none()), bound.flag(0, false));
  for (size_t i = 1; i < items.size(); ++i) {
    Value key = sort_key(rt, items[i], bound.get(1, Value::none()), bound.flag(0, false));
    if (rt.compare(key, best_key) != wanted) continue;
    best = items[i];
    best_key = std::move(key);
  }
  return best;
}
Value filter_min(Runtime& rt, const Value& input, const Args& args) { return extreme(rt, "min", input, args, -1); }
Value filter_max(Runtime& rt, const Value& input, const Args& args) { return extreme(rt, "max", input, args, 1); }

Value filter_sum(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "sum", args, {"attribute", "start"});
  Value total = bound.get(1, Value::integer(0));
  if (total.is_string()) rt.fail("sum() cannot sum strings; use join");
  for (const Value& item : rt.iterate(input)) {
    total = arithmetic(rt, "+", total, bound.given(0) ? follow_path(rt, item, bound[0]) : item);
  }
  return total;
}

Value filter_first(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "first", args, {});
  if (auto* iterator = input.object_if<IteratorObject>(ObjectKind::kIterator)) {
    if (iterator->next < iterator->items.size()) return iterator->items[iterator->next++];
  } else if (input.is_string()) {
    if (!input.text().empty()) return get_item(rt, input, Value::integer(0));
  } else if (input.is_sequence()) {
    if (!input.items().empty()) return input.items()[0];
  } else {
    const Values items = rt.iterate(input);
    if (!items.empty()) return items[0];
  }
  return Value::undefined("No first item, sequence was empty.");
}

bool reversible(const Value& input) {
  if (!input.is(Kind::kObject)) return true;
  const ObjectKind kind = input.object()->kind;
  return kind == ObjectKind::kRange || kind == ObjectKind::kView;
}

Value filter_last(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "last", args, {});
  if (!reversible(input)) {
    rt.fail("'" + std::string(type_name(input)) + "' object is not reversible", "use |list first");
  }
  if (input.is_string() && !input.text().empty()) return get_item(rt, input, Value::integer(-1));
  if (input.is_sequence() && !input.items().empty()) return input.items().back();
  const Values items = rt.iterate(input);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value filter_reverse(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "reverse", args, {});
  if (input.is_string()) {
    std::string out;
    const std::string& text = input.text();
    rt.scan(text.size() * 4);
    out.reserve(text.size());
    for (size_t end = text.size(); end > 0;) {
      size_t start = end - 1;
      while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
      out.append(text, start, end - start);
      end = start;
    }
    return rt.string(std::move(out));
  }
  const bool lazy = reversible(input);  // reversed() gives an iterator, list() a list
  Values items = rt.iterate(input);
  std::reverse(items.begin(), items.end());
  return lazy ? rt.iterator(std::move(items)) : rt.list(std::move(items));
}

Value filter_list(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "list", args, {});
  return input.is(Kind::kList) ? input : rt.list(rt.iterate(input));
}

Value filter_join(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "join", args, {"d", "attribute"});
  const std::string separator = bound.has(0) ? to_str(rt, bound[0]) : "";
  std::string out;
  bool first = true;
  for (const Value& item : rt.iterate(input)) {
    rt.step(1);
    rt.check_size(out.size() + separator.size());
    if (!std::exchange(first, false)) out += separator;
    append_str(rt, out, bound.given(1) ? follow_path(rt, item, bound[1]) : item);
  }
  return rt.string(std::move(out));
}

Value filter_items(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "items", args, {});
  if (input.is_undefined()) return rt.iterator({});
  if (!input.is_dict()) rt.fail("can only get item pairs from a mapping, not '" + std::string(type_name(input)) + "'");
  Values out;
  for (const auto& [key, value] : input.dict().entries()) out.push_back(rt.tuple({key, value}));
  return rt.iterator(std::move(out));
}

Value filter_map(Runtime& rt, const Value& input, const Args& args) {
  Values out;
  if (!rt.truthy(input)) return rt.iterator({});
  if (args.positional.empty()) {
    const Bound bound(rt, "map", args, {"attribute", "default"}, 1);
    for (const Value& item : rt.iterate(input)) {
      // The default stands in for every missing step of the path.
      Value value = follow_path(rt, item, bound[0]);
      if (value.is_undefined() && bound.given(1)) value = bound[1];
      out.push_back(std::move(value));
    }
    return rt.iterator(std::move(out));
  }
  const std::string name = to_str(rt, args.positional[0]);
  const Args rest{Values(args.positional.begin() + 1, args.positional.end()), args.named};
  for (const Value& item : rt.iterate(input)) out.push_back(apply_filter(rt, name, item, rest));
  return rt.iterator(std::move(out));
}

Value select_items(Runtime& rt, const Value& input, const Args& args, bool by_attribute, bool wanted) {
  if (!rt.truthy(input)) return rt.iterator({});
  const size_t offset = by_attribute ? 1 : 0;
  if (args.positional.size() < offset) rt.fail("the attribute's name is missing");
  const bool has_test = args.positional.size() > offset;
  const std::string name = has_test ? to_str(rt, args.positional[offset]) : "";
  Args rest;
  if (has_test) {
    rest.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(offset) + 1, args.positional.end());
    rest.named = args.named;
  }
  Values out;
  for (const Value& item : rt.iterate(input)) {
    const Value value = by_attribute ? follow_path(rt, item, args.positional[0]) : item;
    if ((has_test ? apply_test(rt, name, value, rest) : rt.truthy(value)) == wanted) out.push_back(item);
  }
  return rt.iterator(std::move(out));
}
Value filter_select(Runtime& rt, const Value& in, const Args& args) { return select_items(rt, in, args, false, true); }
Value filter_reject(Runtime& rt, const Value& in, const Args& args) { return select_items(rt, in, args, false, false); }
Value filter_selectattr(Runtime& rt, const Value& in, const Args& args) {
  return select_items(rt, in, args, true, true);
}
Value filter_rejectattr(Runtime& rt, const Value& in, const Args& args) {
  return select_items(rt, in, args, true, false);
}

Value filter_groupby(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  const bool case_sensitive = bound.flag(2, false);
  const auto group_of = [&](const Value& item) {
    const Value value = follow_path(rt, item, bound[0]);
    return value.is_undefined() && bound.given(1) ? bound[1] : value;
  };
  std::vector<Keyed> keyed;
  for (const Value& item : rt.iterate(input)) {
    rt.charge(sizeof(Keyed) + sizeof(Value));
    const Value group = group_of(item);
    keyed.push_back({{case_sensitive ? group : ignore_case(rt, group)}, item});
  }
  Values groups, members;
  Value group, key;
  const auto flush = [&] {
    if (!members.empty()) groups.push_back(rt.sequence(Kind::kTuple, {group, rt.list(std::move(members))}, true));
    members.clear();
  };
  for (const Value& item : sort_items(rt, std::move(keyed), false)) {
    Value own = group_of(item);
    Value own_key = case_sensitive ? own : ignore_case(rt, own);
    if (members.empty() || !rt.equal(own_key, key)) {
      flush();
      group = std::move(own);
      key = std::move(own_key);
    }
    members.push_back(item);
  }
  flush();
  return rt.list(std::move(groups));
}

Value filter_batch(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "batch", args, {"linecount", "fill_with"}, 1);
  const int64_t size = rt.as_index(bound[0], "linecount");
  Values out, row;
  const auto full = [&] { return static_cast<int64_t>(row.size()) == size; };
  for (const Value& item : rt.iterate(input)) {
    if (full()) {
      out.push_back(rt.list(std::move(row)));
      row.clear();
    }
    row.push_back(item);
  }
  if (!row.empty()) {
    while (bound.given(1) && static_cast<int64_t>(row.size()) < size) {
      rt.charge(sizeof(Value));
      rt.step(1);
      row.push_back(bound[1]);
    }
    out.push_back(rt.list(std::move(row)));
  }
  return rt.iterator(std::move(out));
}

Value filter_slice(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "slice", args, {"slices", "fill_with"}, 1);
  const int64_t slices = rt.as_index(bound[0], "slices");
  if (slices == 0) rt.fail("slice needs at least one slice");
  const Values items = rt.iterate(input);
  Values out;
  const auto count = static_cast<int64_t>(items.size());
  const int64_t size = slices < 0 ? 0 : count / slices, extra = slices < 0 ? 0 : count % slices;
  auto from = items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    rt.step(1);
    const auto to = from + static_cast<std::ptrdiff_t>(size + (i < extra ? 1 : 0));
    Values part(from, to);
    if (bound.given(1) && i >= extra) part.push_back(bound[1]);
    out.push_back(rt.list(std::move(part)));
    from = to;
  }
  return rt.iterator(std::move(out));
}

constexpr FilterEntry kSequenceFilters[] = {{"batch", filter_batch},
                                            {"dictsort", filter_dictsort},
                                            {"first", filter_first},
                                            {"groupby", filter_groupby},
                                            {"items", filter_items},
                                            {"join", filter_join},
                                            {"last", filter_last},
                                            {"list", filter_list},
                                            {"map", filter_map},
                                            {"max", filter_max},
                                            {"min", filter_min},
                                            {"reject", filter_reject},
                                            {"rejectattr", filter_rejectattr},
                                            {"reverse", filter_reverse},
                                            {"select", filter_select},
                                            {"selectattr", filter_selectattr},
                                            {"slice", filter_slice},
                                            {"sort", filter_sort},
                                            {"sum", filter_sum},
                                            {"unique", filter_unique}};

}  // namespace

Filter find_sequence_filter(std::string_view name) {
  for (const FilterEntry& entry : kSequenceFilters) {
    if (entry.name == name) return entry.filter;
  }
  return nullptr;
}

Value follow_path(Runtime& rt, const Value& value, const Value& path) {
  if (!path.is_string()) return get_item(rt, value, path);
  Value here = value;
  const std::string& text = path.text();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('.', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const bool number = !part.empty() && part.size() < 18 &&
                        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    here = get_item(rt, here, number ? Value::integer(std::stoll(part)) : rt.string(part));
    begin = end + 1;
  }
  return here;
}

}  // namespace throughline::jinja
