// How often a client may ask: a bucket of tokens for each key (or address, without keys). Thread-safe.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <unordered_map>

namespace throughline::serve {

class RateLimits {
 public:
  explicit RateLimits(double per_minute) : per_minute_(per_minute) {}  // 0: no limit
  // 0: go on; else seconds until there is room again.
  int ask(const std::string& who);

 private:
  static constexpr size_t kMostClients = 100000;  // beyond it, those with full buckets are forgotten
  struct Bucket {
    double left = 0;
    std::chrono::steady_clock::time_point seen;
  };
  double per_minute_;
  std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace throughline::serve
