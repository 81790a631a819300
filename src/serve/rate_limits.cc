#include "serve/rate_limits.h"

#include <algorithm>
#include <cmath>

namespace throughline::serve {

int RateLimits::ask(const std::string& who) {
  if (per_minute_ <= 0) return 0;
  const double most = std::max(1.0, per_minute_ / 6);  // ten seconds' worth at once
  const double per_second = per_minute_ / 60;
  const auto now = std::chrono::steady_clock::now();
  const auto filled = [&](const Bucket& bucket) {
    return std::min(most, bucket.left + per_second * std::chrono::duration<double>(now - bucket.seen).count());
  };
  const std::lock_guard lock(mutex_);
  if (buckets_.size() > kMostClients)
    std::erase_if(buckets_, [&](const auto& entry) { return filled(entry.second) >= most; });
  const auto [entry, fresh] = buckets_.try_emplace(who, Bucket{most, now});
  Bucket& bucket = entry->second;
  bucket.left = filled(bucket);
  bucket.seen = now;
  if (bucket.left < 1) return static_cast<int>(std::ceil((1 - bucket.left) / per_second));
  bucket.left -= 1;
  return 0;
}

}  // namespace throughline::serve
