#include "serve/metrics.h"

#include <fmt/core.h>

#include <algorithm>

namespace throughline::serve {
namespace {

void write_head(std::string& out, const std::string& name, const std::string& help, const char* type) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

}  // namespace

Counter::Counter(std::string name, std::string help, std::string label)
    : name_(std::move(name)), help_(std::move(help)), label_(std::move(label)) {
  if (label_.empty()) values_[""] = 0;
}

void Counter::add(double amount, const std::string& label_value) {
  const std::lock_guard lock(mutex_);
  values_[label_value] += amount;
}

double Counter::value(const std::string& label_value) const {
  const std::lock_guard lock(mutex_);
  const auto found = values_.find(label_value);
  return found == values_.end() ? 0 : found->second;
}

void Counter::write(std::string& out) const {
  const std::lock_guard lock(mutex_);
  write_head(out, name_, help_, "counter");
  for (const auto& [value, count] : values_) {  // label values are our own words: nothing to escape
    out += label_.empty() ? fmt::format("{} {}\n", name_, count)
                          : fmt::format("{}{{{}=\"{}\"}} {}\n", name_, label_, value, count);
  }
}

Histogram::Histogram(std::string name, std::string help, std::vector<double> bounds)
    : name_(std::move(name)), help_(std::move(help)), bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::observe(double value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  const std::lock_guard lock(mutex_);
  ++counts_[static_cast<size_t>(bucket)];
  sum_ += value;
}

int64_t Histogram::count() const {
  const std::lock_guard lock(mutex_);
  int64_t total = 0;
  for (const int64_t count : counts_) total += count;
  return total;
}

void Histogram::write(std::string& out) const {
  const std::lock_guard lock(mutex_);
  write_head(out, name_, help_, "histogram");
  int64_t total = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    total += counts_[i];
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name_, bounds_[i], total);
  }
  total += counts_.back();
  out += fmt::format("{}_bucket{{le=\"+Inf\"}} {}\n{}_sum {}\n{}_count {}\n", name_, total, name_, sum_, name_, total);
}

void write_gauge(std::string& out, const std::string& name, const std::string& help, double value) {
  write_head(out, name, help, "gauge");
  out += fmt::format("{} {}\n", name, value);
}

void Metrics::write(std::string& out) const {
  for (const Counter* counter : {&prompt_tokens, &generation_tokens, &reasoning_tokens, &evicted, &compressions,
                                 &chunks, &requests, &details, &rejected, &http})
    counter->write(out);
  for (const Histogram* histogram : {&first_token, &token_gap, &whole, &queue, &prompt_size, &answer_size})
    histogram->write(out);
}

}  // namespace throughline::serve
