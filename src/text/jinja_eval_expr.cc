#include <algorithm>

#include "text/jinja_access.h"
#include "text/jinja_evaluator.h"
#include "text/jinja_filters.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace throughline::jinja {

Value Evaluator::make_macro(const Macro& macro) {
  capture(frame_);
  return Value::object(rt_.make<MacroObject>(&macro, frame_));
}

Value Evaluator::call_macro(const MacroObject& object, Args args) {
  const Macro& macro = *object.macro;
  if (++call_depth_ > rt_.limits().call_depth) {
    rt_.fail("macros call each other more than " + std::to_string(rt_.limits().call_depth) + " levels deep");
  }
  std::string text;
  {
    const Scope scope(*this, object.closure);
    bind_parameters(macro, std::move(args));
    const Buffer buffer(*this, text);
    exec(macro.body);
  }
  --call_depth_;
  return rt_.string(std::move(text));
}

void Evaluator::bind_parameters(const Macro& macro, Args args) {
  const auto take = [&](const std::string& name) -> std::optional<Value> {
    const auto found =
        std::find_if(args.named.begin(), args.named.end(), [&](const auto& named) { return named.first == name; });
    if (found == args.named.end()) return std::nullopt;
    Value value = std::move(found->second);
    args.named.erase(found);
    return value;
  };
  const size_t count = macro.parameters.size();
  const size_t first_default = count - macro.defaults.size();
  bool explicit_caller = false;
  for (size_t i = 0; i < count; ++i) {
    const int name = macro.parameters[i];
    explicit_caller = explicit_caller || name == kNameCaller;
    std::optional<Value> value;
    if (i < args.positional.size()) {
      value = args.positional[i];
    } else {
      value = take(name_of(name));
    }
    if (!value && i >= first_default) value = eval(*macro.defaults[i - first_default]);
    store(name,
          value ? std::move(*value) : Value::undefined("parameter " + quote_text(name_of(name)) + " was not provided"));
  }
  if (macro.uses_caller && !explicit_caller) {
    std::optional<Value> caller = take("caller");
    store(kNameCaller, caller && !caller->is_none() ? std::move(*caller) : Value::undefined("No caller defined"));
  }
  if (macro.uses_kwargs) {
    Dict rest;
    for (const auto& [name, value] : args.named) rt_.set(rest, rt_.string(name), value);
    store(kNameKwargs, rt_.dict(std::move(rest)));
  } else if (!args.named.empty()) {
    rt_.fail("macro " + quote_text(macro.name) + " takes no keyword argument " + quote_text(args.named[0].first));
  }
  const size_t used = std::min(count, args.positional.size());
  if (macro.uses_varargs) {
    store(kNameVarargs,
          rt_.tuple(Values(args.positional.begin() + static_cast<std::ptrdiff_t>(used), args.positional.end())));
  } else if (args.positional.size() > count) {
    rt_.fail("macro " + quote_text(macro.name) + " takes not more than " + std::to_string(count) + " argument(s)");
  }
}

Value Evaluator::call(const Value& callee, Args args) {
  rt_.step(1);
  if (callee.is_undefined()) rt_.fail(callee.undefined_message());
  if (callee.is(Kind::kObject)) {
    switch (callee.object()->kind) {
      case ObjectKind::kMacro:
        return call_macro(*static_cast<MacroObject*>(callee.object()), std::move(args));
      case ObjectKind::kFunction:
        return static_cast<FunctionObject*>(callee.object())->call(rt_, args, clock_);
      case ObjectKind::kMethod: {
        const auto& method = *static_cast<MethodObject*>(callee.object());
        return call_method(rt_, method.self, method.name, args);
      }
      case ObjectKind::kJoiner: {
        auto& joiner = *static_cast<JoinerObject*>(callee.object());
        const Bound none(rt_, "joiner", args, {});
        return rt_.string(std::exchange(joiner.used, true) ? joiner.separator : "");
      }
      case ObjectKind::kLoop:
        return call_loop(*static_cast<LoopObject*>(callee.object()), args);
      default:
        break;
    }
  }
  rt_.fail("'" + std::string(type_name(callee)) + "' object is not callable");
}

Value Evaluator::call_loop(const LoopObject& loop, const Args& args) {
  if (loop.recursive == nullptr) rt_.fail("the loop must have the 'recursive' marker to be called recursively");
  const Bound bound(rt_, "loop", args, {"iterable"}, 1);
  if (++call_depth_ > rt_.limits().call_depth) rt_.fail("recursive loops nested too deep");
  Values items = rt_.iterate(bound[0]);
  std::string text;
  {
    Frame* const before = std::exchange(frame_, static_cast<Frame*>(loop.frame));
    const Buffer buffer(*this, text);
    run_loop(*static_cast<const Stmt*>(loop.recursive), std::move(items), loop.depth0 + 1);
    frame_ = before;
  }
  --call_depth_;
  return rt_.string(std::move(text));
}

Args Evaluator::eval_arguments(const Arguments& arguments) {
  Args args;
  for (const auto& expr : arguments.positional) args.positional.push_back(eval(*expr));
  for (const auto& [name, expr] : arguments.named) args.named.emplace_back(name, eval(*expr));
  if (arguments.star) {
    for (Value& item : rt_.iterate(eval(*arguments.star))) args.positional.push_back(std::move(item));
  }
  if (arguments.double_star) {
    const Value rest = eval(*arguments.double_star);
    if (!rest.is_dict()) rt_.fail("argument after ** must be a mapping, not " + std::string(type_name(rest)));
    for (const auto& [key, value] : rest.dict().entries()) {
      const std::string& name = rt_.as_text(key, "a keyword");
      rt_.step(1 + static_cast<int64_t>(args.named.size() / 8));
      for (const auto& named : args.named) {
        if (named.first == name) rt_.fail("got multiple values for keyword argument " + quote_text(name));
      }
      rt_.charge(name.size() + 2 * sizeof(Value));
      args.named.emplace_back(name, value);
    }
  }
  return args;
}

Value Evaluator::eval_call(const Expr& expr, const Value* caller) {
  const Expr& callee_expr = *expr.children[0];
  Value callee, self;
  std::string_view method;
  if (callee_expr.kind == ExprKind::kAttribute) {  // x.f(): no object is made for a method
    self = eval(*callee_expr.children[0]);
    rt_.line = callee_expr.line;
    if (has_method(self, callee_expr.text)) {
      method = callee_expr.text;
    } else {
      callee = get_attribute(rt_, self, callee_expr.text);
    }
  } else {
    callee = eval(callee_expr);
  }
  Args args = eval_arguments(expr.arguments);
  if (caller != nullptr) args.named.emplace_back("caller", *caller);
  rt_.line = expr.line;
  return method.empty() ? call(callee, std::move(args)) : call_method(rt_, self, method, args);
}

Value Evaluator::eval(const Expr& expr) {
  const Level level(*this);
  rt_.step(1);
  rt_.line = expr.line;
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.value;
    case ExprKind::kName:
      return eval_name(expr);
    case ExprKind::kList:
      return rt_.list(eval_all(expr.children));
    case ExprKind::kTuple:
      return rt_.tuple(eval_all(expr.children));
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kAttribute:
      return eval_attribute(expr);
    case ExprKind::kItem:
      return eval_item(expr);
    case ExprKind::kSlice:
      return Value();  // only within kItem
    case ExprKind::kCall:
      return eval_call(expr, nullptr);
    case ExprKind::kFilter:
      return eval_filter(expr);
    case ExprKind::kTest:
      return eval_test(expr);
    case ExprKind::kNot:
      return Value::boolean(!rt_.truthy(eval(*expr.children[0])));
    case ExprKind::kNegative:
      return negative(rt_, eval(*expr.children[0]));
    case ExprKind::kPositive:
      return positive(rt_, eval(*expr.children[0]));
    case ExprKind::kArithmetic:
      return eval_arithmetic(expr);
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kCompare:
      return eval_compare(expr);
    case ExprKind::kAnd:
      return eval_and_or(expr, false);
    case ExprKind::kOr:
      return eval_and_or(expr, true);
    case ExprKind::kConditional:
      return eval_conditional(expr);
  }
  return Value();
}

Values Evaluator::eval_all(const std::vector<ExprPtr>& exprs) {
  Values values;
  values.reserve(exprs.size());
  for (const auto& expr : exprs) values.push_back(eval(*expr));
  return values;
}

Value Evaluator::eval_name(const Expr& expr) {
  if (const Value* value = find(expr.name)) return *value;
  return Value::undefined(quote_text(name_of(expr.name)) + " is undefined");
}

Value Evaluator::eval_dict(const Expr& expr) {
  Dict made;
  for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
    Value key = eval(*expr.children[i]);
    rt_.set(made, std::move(key), eval(*expr.children[i + 1]));
  }
  return rt_.dict(std::move(made));
}

Value Evaluator::eval_attribute(const Expr& expr) {
  const Value object = eval(*expr.children[0]);
  rt_.line = expr.line;
  return get_attribute(rt_, object, expr.text);
}

Value Evaluator::eval_item(const Expr& expr) {
  const Value object = eval(*expr.children[0]);
  const Expr& key = *expr.children[1];
  if (key.kind != ExprKind::kSlice) {
    const Value item = eval(key);
    rt_.line = expr.line;
    return get_item(rt_, object, item);
  }
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) bounds[i] = key.children[i] ? eval(*key.children[i]) : Value::none();
  rt_.line = expr.line;
  return get_slice(rt_, object, bounds[0], bounds[1], bounds[2]);
}

Value Evaluator::eval_filter(const Expr& expr) {
  const Value input = eval(*expr.children[0]);
  const Args args = eval_arguments(expr.arguments);
  rt_.line = expr.line;
  return apply_filter(rt_, expr.text, input, args);
}

Value Evaluator::apply_chain(const Expr& expr, const Value& input) {
  const Value from = expr.children[0] ? apply_chain(*expr.children[0], input) : input;
  const Args args = eval_arguments(expr.arguments);
  rt_.line = expr.line;
  return apply_filter(rt_, expr.text, from, args);
}

Value Evaluator::eval_test(const Expr& expr) {
  const Value input = eval(*expr.children[0]);
  const Args args = eval_arguments(expr.arguments);
  rt_.line = expr.line;
  return Value::boolean(apply_test(rt_, expr.text, input, args));
}

Value Evaluator::eval_arithmetic(const Expr& expr) {
  Value left = eval(*expr.children[0]);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    const Value right = eval(*expr.children[i + 1]);
    rt_.line = expr.line;
    left = arithmetic(rt_, expr.ops[i], left, right);
  }
  return left;
}

Value Evaluator::eval_concat(const Expr& expr) {
  std::string text;
  for (const auto& child : expr.children) append_str(rt_, text, eval(*child));
  return rt_.string(std::move(text));
}

bool Evaluator::compare(const std::string& op, const Value& a, const Value& b) {
  if (op == "==") return rt_.equal(a, b);
  if (op == "!=") return !rt_.equal(a, b);
  if (op == "in") return rt_.contains(b, a);
  if (op == "not in") return !rt_.contains(b, a);
  const int order = rt_.compare(a, b, op.c_str());  // 2: unordered, every comparison is false
  if (op == "<") return order == -1;
  if (op == ">") return order == 1;
  return op == "<=" ? order == -1 || order == 0 : order == 1 || order == 0;
}

Value Evaluator::eval_compare(const Expr& expr) {
  Value left = eval(*expr.children[0]);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.children[i + 1]);
    rt_.line = expr.line;
    if (!compare(expr.ops[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Evaluator::eval_and_or(const Expr& expr, bool stop_at) {
  Value value;
  for (const auto& child : expr.children) {
    value = eval(*child);
    if (rt_.truthy(value) == stop_at) break;
  }
  return value;
}

Value Evaluator::eval_conditional(const Expr& expr) {
  if (rt_.truthy(eval(*expr.children[1]))) return eval(*expr.children[0]);
  if (expr.children[2]) return eval(*expr.children[2]);
  return Value::undefined("the inline if-expression in line " + std::to_string(expr.line) +
                          " evaluated to false and no else section was defined");
}

}  // namespace throughline::jinja
