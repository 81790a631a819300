// The evaluator's class, shared by its two halves: jinja_eval.cc (scopes and statements) and jinja_eval_expr.cc (calls
// and expressions). Not for others: they use jinja_eval.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_eval.h"
#include "text/jinja_runtime.h"

namespace throughline::jinja {

// Nested evaluations: macros x statements x expressions. Sets the C++ stack that a render may need:
// JinjaLimits.RunsOnASmallStack holds it to 2 MiB.
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
      evaluator_.rt_.step(1);
      frame_->parent = parent;
      evaluator_.frame_ = frame_.get();
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

  void capture(Frame* frame);
  const std::string& name_of(int name) const;
  Value* find(int name);
  void store(int name, Value value);
  void assign(const Target& target, Value value);

  // ---- statements ----
  Flow exec(const Body& body);
  Flow exec(const Stmt& stmt);
  void write(std::string_view text);
  void write_value(const Value& value);
  Flow exec_if(const Stmt& stmt);
  Flow exec_set_block(const Stmt& stmt);
  Flow exec_filter_block(const Stmt& stmt);
  Flow exec_with(const Stmt& stmt);
  void exec_for(const Stmt& stmt);
  bool passes(const Stmt& stmt, const Value& item);
  // REQUIRES: frame_ is the frame that the loop stands in
  void run_loop(const Stmt& stmt, Values items, int depth);

  // ---- macros and calls ----
  Value make_macro(const Macro& macro);
  Value call_macro(const MacroObject& object, Args args);
  void bind_parameters(const Macro& macro, Args args);
  Value call(const Value& callee, Args args);
  Value call_loop(const LoopObject& loop, const Args& args);
  Args eval_arguments(const Arguments& arguments);
  Value eval_call(const Expr& expr, const Value* caller);

  // ---- expressions ----
  Value eval(const Expr& expr);
  Values eval_all(const std::vector<ExprPtr>& exprs);
  Value eval_name(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_attribute(const Expr& expr);
  Value eval_item(const Expr& expr);
  Value eval_filter(const Expr& expr);
  // The filters of a block, the innermost first.
  Value apply_chain(const Expr& expr, const Value& input);
  Value eval_test(const Expr& expr);
  Value eval_arithmetic(const Expr& expr);
  Value eval_concat(const Expr& expr);
  bool compare(const std::string& op, const Value& a, const Value& b);
  Value eval_compare(const Expr& expr);
  Value eval_and_or(const Expr& expr, bool stop_at);
  Value eval_conditional(const Expr& expr);

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

}  // namespace throughline::jinja
