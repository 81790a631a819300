// The parsed template: plain trees of expressions and statements, immutable once parsed and shared by all renders.
//
// Chains (a + b + c, x.y.z, elif) are flat where that is easy, and the parser refuses nesting beyond kNestingLimit, so
// walking and destroying a tree needs little stack. Names are numbers into Program::names.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace throughline::jinja {

enum class ExprKind : uint8_t {
  kConstant,     // value
  kName,         // name
  kList,         // children
  kTuple,        // children
  kDict,         // children: key, value, key, value, ...
  kAttribute,    // children[0] . text
  kItem,         // children[0] [ children[1] ]
  kSlice,        // only as children[1] of kItem; children: start, stop, step, each may be null
  kCall,         // children[0] ( arguments )
  kFilter,       // children[0] | text(arguments); children[0] is null in filter blocks
  kTest,         // children[0] is text(arguments)
  kNot,          // children[0]
  kNegative,     // children[0]
  kPositive,     // children[0]
  kArithmetic,   // children[0] ops[0] children[1] ops[1] children[2] ..., from the left
  kConcat,       // children joined as text (~)
  kCompare,      // children[0] ops[0] children[1] ops[1] ... as Python chains them
  kAnd,          // children
  kOr,           // children
  kConditional,  // children[0] if children[1] else children[2] (may be null)
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, double_star;
};

struct Expr {
  Expr(ExprKind expr_kind, int at) : kind(expr_kind), line(at) {}
  ExprKind kind;
  int line;
  int depth = 1;
  int name = -1;
  Value value;
  std::string text;
  std::vector<ExprPtr> children;
  std::vector<std::string> ops;
  Arguments arguments;
};

enum class StmtKind : uint8_t {
  kText,         // text
  kPrint,        // expr
  kIf,           // branches; body: else
  kFor,          // target in expr if test: body, else_body
  kSet,          // target = expr
  kSetBlock,     // target = body, through the filter chain in expr (may be null)
  kMacro,        // macro
  kCallBlock,    // expr is the call; macro holds the caller's parameters and body
  kFilterBlock,  // expr is the filter chain; body
  kWith,         // names (targets, values); body
  kScope,        // body in a scope of its own ({% generation %})
  kBreak,
  kContinue,
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

// Where a value goes: a name, a namespace attribute, or a tuple of targets.
struct Target {
  int name = -1;
  std::string attribute;      // not empty: of the namespace called `name`
  std::vector<Target> tuple;  // not empty, or is_tuple: unpack
  bool is_tuple = false;
};

struct Macro {
  std::string name;
  std::vector<int> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  Body body;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Stmt {
  Stmt(StmtKind stmt_kind, int at) : kind(stmt_kind), line(at) {}
  StmtKind kind;
  int line;
  std::string text;
  ExprPtr expr, test;
  Target target;
  Body body, else_body;
  std::vector<std::pair<ExprPtr, Body>> branches;
  std::vector<std::pair<Target, ExprPtr>> bindings;
  std::unique_ptr<Macro> macro;
  bool uses_loop = false, recursive = false;
};

struct Program {
  Body body;
  std::vector<std::string> names;
};

// The ids that every Program's names begin with.
enum WellKnownName : int { kNameLoop, kNameCaller, kNameVarargs, kNameKwargs, kWellKnownNames };

}  // namespace throughline::jinja
