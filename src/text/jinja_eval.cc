#include "text/jinja_eval.h"

#include <algorithm>

#include "text/jinja_access.h"
#include "text/jinja_filters.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace throughline::jinja {
namespace {

// Nested evaluations: macros x statements x expressions. Sets the C++ stack a render needs: measured below 3 MiB
// with AddressSanitizer, whose frames are the largest.
constexpr int kStackLimit = 1000;

struct Frame {
  Frame* parent = nullptr;
  std::vector<std::pair<int, Value>> variables;
  bool captured = false;  // a macro or a recursive loop refers to it: it lives until the render ends
};

struct MacroObject : Object {
  MacroObject(const Macro* defined, Frame* frame) : Object(ObjectKind::kMacro), macro(defined), closure(frame) {}
  const Macro* macro;
  Frame* closure;
};

enum class Flow : uint8_t { kNext, kBreak, kContinue };

class Evaluator {
 public:
  Evaluator(const Program& program, Runtime& rt, const Variables& variables, const Clock& clock)
      : program_(program), rt_(rt), clock_(clock) {
    for (const std::string& name : program.names) {
      std::optional<Value> value = variables(rt, name);
      if (!value) value = find_global(rt, name);
      context_.push_back(std::move(value));
    }
  }

  std::string run() {
    std::string text;
    {
      const Scope root(*this, nullptr);
      const Buffer buffer(*this, text);
      exec(program_.body);
    }
    return text;
  }

 private:
  // A new frame below `parent` for as long as it lives.
  class Scope {
   public:
    Scope(Evaluator& evaluator, Frame* parent)
        : evaluator_(evaluator), before_(evaluator.frame_), frame_(std::make_unique<Frame>()) {
      frame_->parent = parent;
      evaluator_.frame_ = frame_.get();
      evaluator_.rt_.step(1);
    }
    ~Scope() {
      evaluator_.frame_ = before_;
      if (frame_->captured) evaluator_.kept_frames_.push_back(std::move(frame_));
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Evaluator& evaluator_;
    Frame* before_;
    std::unique_ptr<Frame> frame_;
  };

  // Sends the output into `text` for as long as it lives.
  class Buffer {
   public:
    Buffer(Evaluator& evaluator, std::string& text) : evaluator_(evaluator), before_(evaluator.out_) {
      evaluator_.out_ = &text;
    }
    ~Buffer() { evaluator_.out_ = before_; }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

   private:
    Evaluator& evaluator_;
    std::string* before_;
  };

  class Level {
   public:
    explicit Level(Evaluator& evaluator) : evaluator_(evaluator) {
      if (++evaluator_.level_ > kStackLimit) {
        --evaluator_.level_;
        evaluator_.rt_.fail("the template nests calls and blocks too deep (macros calling themselves?)");
      }
    }
    ~Level() { --evaluator_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Evaluator& evaluator_;
  };

  void capture(Frame* frame) {
    for (; frame != nullptr && !frame->captured; frame = frame->parent) {
      frame->captured = true;
      rt_.charge(sizeof(Frame) + 256);
    }
  }

  const std::string& name_of(int name) const { return program_.names[static_cast<size_t>(name)]; }

  Value* find(int name) {
    for (Frame* frame = frame_; frame != nullptr; frame = frame->parent) {
      rt_.step(static_cast<int64_t>(frame->variables.size() / 16));
      for (auto& [variable, value] : frame->variables) {
        if (variable == name) return &value;
      }
    }
    std::optional<Value>& value = context_[static_cast<size_t>(name)];
    return value ? &*value : nullptr;
  }

  void store(int name, Value value) {
    rt_.step(1 + static_cast<int64_t>(frame_->variables.size() / 16));
    for (auto& [variable, old] : frame_->variables) {
      if (variable == name) {
        old = std::move(value);
        return;
      }
    }
    rt_.charge(sizeof(Value) + 16);
    frame_->variables.emplace_back(name, std::move(value));
  }

  void assign(const Target& target, Value value) {
    if (target.is_tuple) {
      const Values items = rt_.iterate(value);
      if (items.size() != target.tuple.size()) {
        rt_.fail("cannot unpack " + std::to_string(items.size()) + " values into " +
                 std::to_string(target.tuple.size()) + " names");
      }
      for (size_t i = 0; i < items.size(); ++i) assign(target.tuple[i], items[i]);
    } else if (target.attribute.empty()) {
      store(target.name, std::move(value));
    } else {
      const Value* owner = find(target.name);
      auto* space = owner == nullptr ? nullptr : owner->object_if<NamespaceObject>(ObjectKind::kNamespace);
      if (space == nullptr) {
        rt_.fail("cannot assign an attribute of " + quote_text(name_of(target.name)) + ": it is not a namespace");
      }
      rt_.step(1 + static_cast<int64_t>(space->attributes.size() / 8));
      if (Value* old = space->find(target.attribute)) {
        *old = std::move(value);
      } else {
        rt_.charge(sizeof(Value) + 64);
        space->attributes.emplace_back(target.attribute, std::move(value));
      }
    }
  }

  // ---- statements ----

  Flow exec(const Body& body) {
    for (const auto& stmt : body) {
      if (const Flow flow = exec(*stmt); flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  Flow exec(const Stmt& stmt) {
    const Level level(*this);
    rt_.step(1);
    rt_.line = stmt.line;
    switch (stmt.kind) {
      case StmtKind::kText:
        write(stmt.text);
        return Flow::kNext;
      case StmtKind::kPrint:
        write_value(eval(*stmt.expr));
        return Flow::kNext;
      case StmtKind::kIf:
        return exec_if(stmt);
      case StmtKind::kFor:
        exec_for(stmt);
        return Flow::kNext;
      case StmtKind::kSet:
        assign(stmt.target, eval(*stmt.expr));
        return Flow::kNext;
      case StmtKind::kSetBlock:
        return exec_set_block(stmt);
      case StmtKind::kMacro:
        store(stmt.target.name, make_macro(*stmt.macro));
        return Flow::kNext;
      case StmtKind::kCallBlock: {
        const Value caller = make_macro(*stmt.macro);
        write_value(eval_call(*stmt.expr, &caller));
        return Flow::kNext;
      }
      case StmtKind::kFilterBlock:
        return exec_filter_block(stmt);
      case StmtKind::kWith:
        return exec_with(stmt);
      case StmtKind::kScope: {
        const Scope scope(*this, frame_);
        return exec(stmt.body);
      }
      case StmtKind::kBreak:
        return Flow::kBreak;
      case StmtKind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void write(std::string_view text) {
    rt_.check_size(out_->size() + text.size());
    rt_.charge(text.size());
    out_->append(text);
  }

  void write_value(const Value& value) {
    if (value.is_string()) {
      write(value.text());
    } else {
      write(to_str(rt_, value));
    }
  }

  Flow exec_if(const Stmt& stmt) {
    for (const auto& [test, body] : stmt.branches) {
      if (rt_.truthy(eval(*test))) return exec(body);
    }
    return exec(stmt.body);
  }

  Flow exec_set_block(const Stmt& stmt) {
    std::string text;
    {
      const Scope scope(*this, frame_);
      const Buffer buffer(*this, text);
      if (const Flow flow = exec(stmt.body); flow != Flow::kNext) return flow;
    }
    Value value = rt_.string(std::move(text));
    if (stmt.expr) value = apply_chain(*stmt.expr, value);
    assign(stmt.target, std::move(value));
    return Flow::kNext;
  }

  Flow exec_filter_block(const Stmt& stmt) {
    std::string text;
    {
      const Scope scope(*this, frame_);
      const Buffer buffer(*this, text);
      if (const Flow flow = exec(stmt.body); flow != Flow::kNext) return flow;
    }
    write_value(apply_chain(*stmt.expr, rt_.string(std::move(text))));
    return Flow::kNext;
  }

  Flow exec_with(const Stmt& stmt) {
    Values values;
    for (const auto& [target, expr] : stmt.bindings) values.push_back(eval(*expr));
    const Scope scope(*this, frame_);
    for (size_t i = 0; i < values.size(); ++i) assign(stmt.bindings[i].first, std::move(values[i]));
    return exec(stmt.body);
  }

  void exec_for(const Stmt& stmt) {
    if (stmt.recursive) capture(frame_);
    const Value iterable = eval(*stmt.expr);
    run_loop(stmt, rt_.iterate(iterable), 0);
  }

  bool passes(const Stmt& stmt, const Value& item) {
    const Scope scope(*this, frame_);
    assign(stmt.target, item);
    return rt_.truthy(eval(*stmt.test));
  }

  // REQUIRES: frame_ is the frame that the loop stands in
  void run_loop(const Stmt& stmt, Values items, int depth) {
    LoopObject* loop = nullptr;
    if (stmt.test && stmt.uses_loop) {  // its length must be known first
      Values kept;
      for (const Value& item : items) {
        if (passes(stmt, item)) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (stmt.uses_loop) {
      loop = rt_.make<LoopObject>(std::move(items));
      loop->depth0 = depth;
      if (stmt.recursive) loop->recursive = &stmt, loop->frame = frame_;
    }
    const Values& all = loop != nullptr ? loop->items : items;
    bool completed = false;  // jinja2 runs `else` unless one iteration came to its end
    for (size_t i = 0; i < all.size(); ++i) {
      if (stmt.test && !stmt.uses_loop && !passes(stmt, all[i])) continue;
      const Scope scope(*this, frame_);
      if (loop != nullptr) {
        loop->index0 = static_cast<int64_t>(i);
        store(kNameLoop, Value::object(loop));
      }
      rt_.line = stmt.line;
      assign(stmt.target, all[i]);
      const Flow flow = exec(stmt.body);
      if (flow == Flow::kBreak) break;
      if (flow == Flow::kNext) completed = true;
    }
    if (!completed && !stmt.else_body.empty()) {
      const Scope scope(*this, frame_);
      exec(stmt.else_body);
    }
  }

  // ---- macros and calls ----

  Value make_macro(const Macro& macro) {
    capture(frame_);
    return Value::object(rt_.make<MacroObject>(&macro, frame_));
  }

  Value call_macro(const MacroObject& object, Args args) {
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

  void bind_parameters(const Macro& macro, Args args) {
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
      store(name, value ? std::move(*value)
                        : Value::undefined("parameter " + quote_text(name_of(name)) + " was not provided"));
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

  Value call(const Value& callee, Args args) {
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

  Value call_loop(const LoopObject& loop, const Args& args) {
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

  Args eval_arguments(const Arguments& arguments) {
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

  Value eval_call(const Expr& expr, const Value* caller) {
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

  // ---- expressions ----

  Value eval(const Expr& expr) {
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

  Values eval_all(const std::vector<ExprPtr>& exprs) {
    Values values;
    values.reserve(exprs.size());
    for (const auto& expr : exprs) values.push_back(eval(*expr));
    return values;
  }

  Value eval_name(const Expr& expr) {
    if (const Value* value = find(expr.name)) return *value;
    return Value::undefined(quote_text(name_of(expr.name)) + " is undefined");
  }

  Value eval_dict(const Expr& expr) {
    Dict made;
    for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
      Value key = eval(*expr.children[i]);
      rt_.set(made, std::move(key), eval(*expr.children[i + 1]));
    }
    return rt_.dict(std::move(made));
  }

  Value eval_attribute(const Expr& expr) {
    const Value object = eval(*expr.children[0]);
    rt_.line = expr.line;
    return get_attribute(rt_, object, expr.text);
  }

  Value eval_item(const Expr& expr) {
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

  Value eval_filter(const Expr& expr) {
    const Value input = eval(*expr.children[0]);
    const Args args = eval_arguments(expr.arguments);
    rt_.line = expr.line;
    return apply_filter(rt_, expr.text, input, args);
  }

  // The filters of a block, the innermost first.
  Value apply_chain(const Expr& expr, const Value& input) {
    const Value from = expr.children[0] ? apply_chain(*expr.children[0], input) : input;
    const Args args = eval_arguments(expr.arguments);
    rt_.line = expr.line;
    return apply_filter(rt_, expr.text, from, args);
  }

  Value eval_test(const Expr& expr) {
    const Value input = eval(*expr.children[0]);
    const Args args = eval_arguments(expr.arguments);
    rt_.line = expr.line;
    return Value::boolean(apply_test(rt_, expr.text, input, args));
  }

  Value eval_arithmetic(const Expr& expr) {
    Value left = eval(*expr.children[0]);
    for (size_t i = 0; i < expr.ops.size(); ++i) {
      const Value right = eval(*expr.children[i + 1]);
      rt_.line = expr.line;
      left = arithmetic(rt_, expr.ops[i], left, right);
    }
    return left;
  }

  Value eval_concat(const Expr& expr) {
    std::string text;
    for (const auto& child : expr.children) append_str(rt_, text, eval(*child));
    return rt_.string(std::move(text));
  }

  bool compare(const std::string& op, const Value& a, const Value& b) {
    if (op == "==") return rt_.equal(a, b);
    if (op == "!=") return !rt_.equal(a, b);
    if (op == "in") return rt_.contains(b, a);
    if (op == "not in") return !rt_.contains(b, a);
    const int order = rt_.compare(a, b, op.c_str());  // 2: unordered, every comparison is false
    if (op == "<") return order == -1;
    if (op == ">") return order == 1;
    return op == "<=" ? order == -1 || order == 0 : order == 1 || order == 0;
  }

  Value eval_compare(const Expr& expr) {
    Value left = eval(*expr.children[0]);
    for (size_t i = 0; i < expr.ops.size(); ++i) {
      Value right = eval(*expr.children[i + 1]);
      rt_.line = expr.line;
      if (!compare(expr.ops[i], left, right)) return Value::boolean(false);
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  Value eval_and_or(const Expr& expr, bool stop_at) {
    Value value;
    for (const auto& child : expr.children) {
      value = eval(*child);
      if (rt_.truthy(value) == stop_at) break;
    }
    return value;
  }

  Value eval_conditional(const Expr& expr) {
    if (rt_.truthy(eval(*expr.children[1]))) return eval(*expr.children[0]);
    if (expr.children[2]) return eval(*expr.children[2]);
    return Value::undefined("the inline if-expression in line " + std::to_string(expr.line) +
                            " evaluated to false and no else section was defined");
  }

  const Program& program_;
  Runtime& rt_;
  const Clock& clock_;
  std::vector<std::optional<Value>> context_;  // by name
  Frame* frame_ = nullptr;
  std::string* out_ = nullptr;
  std::vector<std::unique_ptr<Frame>> kept_frames_;
  int level_ = 0;
  int call_depth_ = 0;
};

}  // namespace

std::string render_program(const Program& program, const Variables& variables, const Limits& limits,
                           const Clock& clock) {
  Runtime rt(limits);
  return Evaluator(program, rt, variables, clock).run();
}

}  // namespace throughline::jinja
