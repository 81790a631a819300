#include "gym/answer/ast.h"

namespace throughline::answer {
namespace {

void render(const Tree& tree, NodeId id, std::string* out);

void render_kids(const Tree& tree, const Node& node, std::string_view separator, std::string* out) {
  for (size_t i = 0; i < node.kids.size(); ++i) {
    if (i > 0) *out += separator;
    render(tree, node.kids[i], out);
  }
}

void render_between(const Tree& tree, const Node& node, std::string_view open, std::string_view separator,
                    std::string_view close, std::string* out) {
  *out += open;
  render_kids(tree, node, separator, out);
  *out += close;
}

std::string_view operator_text(char op) {
  switch (op) {
    case 'l':
      return "<=";
    case 'g':
      return ">=";
    case 'n':
      return "!=";
    case '~':
      return "~";
    case '<':
      return "<";
    case '>':
      return ">";
    default:
      return "=";
  }
}

void render(const Tree& tree, NodeId id, std::string* out) {
  if (id == kNoNode || out->size() > kMaxRenderedText) return;
  const Node& node = tree[id];
  switch (node.kind) {
    case Kind::kNumber:
      *out += node.number.to_string();
      break;
    case Kind::kSymbol:
      *out += node.name;
      break;
    case Kind::kPi:
      *out += "pi";
      break;
    case Kind::kEuler:
      *out += "e";
      break;
    case Kind::kImaginary:
      *out += "i";
      break;
    case Kind::kInfinity:
      *out += "oo";
      break;
    case Kind::kSum:
      render_between(tree, node, "(", "+", ")", out);
      break;
    case Kind::kProduct:
      if (node.name == "word") {
        render_kids(tree, node, "", out);
      } else {
        render_kids(tree, node, "*", out);
      }
      break;
    case Kind::kNegate:
      render_between(tree, node, "-", "", "", out);
      break;
    case Kind::kInverse:
      render_between(tree, node, "1/(", "", ")", out);
      break;
    case Kind::kPower:
      render_between(tree, node, "(", ")^(", ")", out);
      break;
    case Kind::kRoot:
      render_between(tree, node, "root(", ",", ")", out);
      break;
    case Kind::kFunction:
      render_between(tree, node, node.name + "(", ",", ")", out);
      break;
    case Kind::kFactorial:
      render_between(tree, node, "(", "", ")!", out);
      break;
    case Kind::kAbsolute:
      render_between(tree, node, "|", "", "|", out);
      break;
    case Kind::kBinomial:
      render_between(tree, node, "C(", ",", ")", out);
      break;
    case Kind::kPlusMinus:
      render_between(tree, node, "(", "+-", ")", out);
      break;
    case Kind::kPercent:
      render_between(tree, node, "", "", "%", out);
      break;
    case Kind::kUnit:
      render_between(tree, node, "", "", " " + node.name, out);
      break;
    case Kind::kBaseNumber:
      *out += node.name + "_" + node.number.to_string();
      break;
    case Kind::kText:
      *out += node.name;
      break;
    case Kind::kTuple:
      render_between(tree, node, node.name.substr(0, 1), ",", node.name.substr(1, 1), out);
      break;
    case Kind::kList:
      render_kids(tree, node, ",", out);
      break;
    case Kind::kSet:
      render_between(tree, node, "{", ",", "}", out);
      break;
    case Kind::kSetBuilder:
      render_between(tree, node, "{", "|", "}", out);
      break;
    case Kind::kEmptySet:
      *out += "{}";
      break;
    case Kind::kReals:
      *out += "R";
      break;
    case Kind::kUnion:
      render_kids(tree, node, " U ", out);
      break;
    case Kind::kIntersection:
      render_kids(tree, node, " I ", out);
      break;
    case Kind::kSetMinus:
      render_kids(tree, node, " \\ ", out);
      break;
    case Kind::kMember:
      render_kids(tree, node, " in ", out);
      break;
    case Kind::kRelation:
      for (size_t i = 0; i < node.kids.size(); ++i) {
        if (i > 0) *out += operator_text(node.name[i - 1]);
        render(tree, node.kids[i], out);
      }
      break;
    case Kind::kMatrix:
      *out += "[[";
      for (size_t i = 0; i < node.kids.size(); ++i) {
        if (i > 0) *out += static_cast<int32_t>(i) % node.columns == 0 ? "],[" : ",";
        render(tree, node.kids[i], out);
      }
      *out += "]]";
      break;
    case Kind::kDeterminant:
      render_between(tree, node, "det", "", "", out);
      break;
    case Kind::kOpaque:
      render_between(tree, node, "\\" + node.name + "(", ",", ")", out);
      break;
  }
}

}  // namespace

std::string to_text(const Tree& tree, NodeId id) {
  std::string out;
  render(tree, id, &out);
  return out;
}

}  // namespace throughline::answer
