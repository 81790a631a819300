#include "text/jinja_eval.h"

#include "text/jinja_evaluator.h"
#include "text/jinja_print.h"

namespace throughline::jinja {

void Evaluator::capture(Frame* frame) {
  for (; frame != nullptr && !frame->captured; frame = frame->parent) {
    frame->captured = true;
    rt_.charge(sizeof(Frame) + 256);
  }
}

const std::string& Evaluator::name_of(int name) const { return program_.names[static_cast<size_t>(name)]; }

Value* Evaluator::find(int name) {
  for (Frame* frame = frame_; frame != nullptr; frame = frame->parent) {
    rt_.step(static_cast<int64_t>(frame->variables.size() / 16));
    for (auto& [variable, value] : frame->variables) {
      if (variable == name) return &value;
    }
  }
  std::optional<Value>& value = context_[static_cast<size_t>(name)];
  return value ? &*value : nullptr;
}

void Evaluator::store(int name, Value value) {
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

void Evaluator::assign(const Target& target, Value value) {
  if (target.is_tuple) {
    const Values items = rt_.iterate(value);
    if (items.size() != target.tuple.size()) {
      rt_.fail("cannot unpack " + std::to_string(items.size()) + " values into " + std::to_string(target.tuple.size()) +
               " names");
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

Flow Evaluator::exec(const Body& body) {
  for (const auto& stmt : body) {
    if (const Flow flow = exec(*stmt); flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Flow Evaluator::exec(const Stmt& stmt) {
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

void Evaluator::write(std::string_view text) {
  rt_.check_size(out_->size() + text.size());
  rt_.charge(text.size());
  out_->append(text);
}

void Evaluator::write_value(const Value& value) {
  if (value.is_string()) {
    write(value.text());
  } else {
    write(to_str(rt_, value));
  }
}

Flow Evaluator::exec_if(const Stmt& stmt) {
  for (const auto& [test, body] : stmt.branches) {
    if (rt_.truthy(eval(*test))) return exec(body);
  }
  return exec(stmt.body);
}

Flow Evaluator::exec_set_block(const Stmt& stmt) {
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

Flow Evaluator::exec_filter_block(const Stmt& stmt) {
  std::string text;
  {
    const Scope scope(*this, frame_);
    const Buffer buffer(*this, text);
    if (const Flow flow = exec(stmt.body); flow != Flow::kNext) return flow;
  }
  write_value(apply_chain(*stmt.expr, rt_.string(std::move(text))));
  return Flow::kNext;
}

Flow Evaluator::exec_with(const Stmt& stmt) {
  Values values;
  for (const auto& [target, expr] : stmt.bindings) values.push_back(eval(*expr));
  const Scope scope(*this, frame_);
  for (size_t i = 0; i < values.size(); ++i) assign(stmt.bindings[i].first, std::move(values[i]));
  return exec(stmt.body);
}

void Evaluator::exec_for(const Stmt& stmt) {
  if (stmt.recursive) capture(frame_);
  const Value iterable = eval(*stmt.expr);
  run_loop(stmt, rt_.iterate(iterable), 0);
}

bool Evaluator::passes(const Stmt& stmt, const Value& item) {
  const Scope scope(*this, frame_);
  assign(stmt.target, item);
  return rt_.truthy(eval(*stmt.test));
}

void Evaluator::run_loop(const Stmt& stmt, Values items, int depth) {
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

std::string render_program(const Program& program, const Variables& variables, const Limits& limits,
                           const Clock& clock) {
  Runtime rt(limits);
  return Evaluator(program, rt, variables, clock).run();
}

}  // namespace throughline::jinja
