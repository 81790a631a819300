// Result<T>: a value or an Error. User errors are values, never exceptions.
//
// An Error says what is wrong, where (file, field, value), and what to do about it; `line()` joins the
// three into the one line that the CLI prints and the server puts into its JSON error.
// Broken invariants (our bugs) are not Errors: they throw InvariantError through TL_CHECK, and whoever
// runs a request catches it, fails that request and goes on.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace throughline {

struct Error {
  std::string what;    // "unknown rope_scaling kind \"foo\""
  std::string where;   // "models/x/config.json: rope_scaling.rope_type"; empty when there is no place
  std::string remedy;  // "use one of: default, linear, dynamic, llama3, yarn"; empty when obvious

  // "where: what; remedy", on one line: control characters are escaped, over-long parts are cut.
  std::string line() const;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: implicit on purpose

  bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok()
  T& value() & { return std::get<T>(state_); }
  const T& value() const& { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES: !ok()
  const Error& error() const { return std::get<Error>(state_); }

 private:
  std::variant<T, Error> state_;
};

// A Result without a value.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }  // REQUIRES: !ok()

 private:
  std::optional<Error> error_;
};

class InvariantError : public std::logic_error {
  using std::logic_error::logic_error;
};

[[noreturn]] void throw_invariant(const char* file, int line, const char* condition, const std::string& detail);

}  // namespace throughline

// TL_TRY(auto x, f()): x = value of f(), or return its Error from the enclosing function.
#define TL_CONCAT_INNER(a, b) a##b
#define TL_CONCAT(a, b) TL_CONCAT_INNER(a, b)
#define TL_TRY(declaration, ...) TL_TRY_IMPL(TL_CONCAT(tl_result_, __LINE__), declaration, __VA_ARGS__)
#define TL_TRY_IMPL(name, declaration, ...) \
  auto name = (__VA_ARGS__);                \
  if (!name.ok()) return name.error();      \
  declaration = std::move(name).value()
// TL_TRY_STATUS(f()): return f()'s Error from the enclosing function, if it has one.
#define TL_TRY_STATUS(...)                                                         \
  do {                                                                             \
    if (auto tl_status = (__VA_ARGS__); !tl_status.ok()) return tl_status.error(); \
  } while (false)

#define TL_CHECK(condition, detail) \
  ((condition) ? void() : ::throughline::throw_invariant(__FILE__, __LINE__, #condition, (detail)))
