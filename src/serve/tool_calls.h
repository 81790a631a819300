// Tool calls in a model's text, as the Qwen and Llama 3 families write them.
//
//   Qwen:   <tool_call>{"name": "f", "arguments": {...}}</tool_call>, several one after the other, text before them
//   Llama:  the whole answer is {"name": "f", "parameters": {...}}, several separated by ;
// Text arrives in pieces and goes out as soon as it can be no call. What looks like a call and is none stays text:
// nothing is lost. One answer, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace throughline::serve {

struct ToolCall {
  std::string name, arguments;  // arguments: JSON text of an object
};

class ToolCallParser {
 public:
  struct Found {
    std::string text;
    std::vector<ToolCall> calls;
  };
  Found push(std::string_view text);
  Found finish();
  bool any() const { return any_; }

 private:
  void scan(Found& found);
  bool take_call(std::string_view json, Found& found);
  bool take_list(std::string_view text, Found& found);

  enum class Mode { kStart, kText, kCall, kWhole } mode_ = Mode::kStart;
  std::string held_;
  bool any_ = false;
};

}  // namespace throughline::serve
