#include "base/rng.h"

#include "base/result.h"

namespace throughline {
namespace {

std::array<uint32_t, 2> split(uint64_t x) { return {static_cast<uint32_t>(x), static_cast<uint32_t>(x >> 32)}; }
uint64_t join(uint32_t low, uint32_t high) { return static_cast<uint64_t>(high) << 32 | low; }
double to_unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

// Two chained blocks, so that every coordinate has its full 64 bits.
uint64_t hash(const RngKey& key, uint64_t event) {
  auto sample = split(key.sample);
  auto head = philox4x32({sample[0], sample[1], static_cast<uint32_t>(key.purpose), 0x7468726fU}, split(key.seed));
  auto counter = split(key.counter);
  auto tail = split(event);
  auto block = philox4x32({counter[0], counter[1], tail[0], tail[1]}, {head[0], head[1]});
  return join(block[0], block[1]);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    if (round > 0) {
      key[0] += 0x9E3779B9U;
      key[1] += 0xBB67AE85U;
    }
    const uint64_t a = 0xD2511F53ULL * counter[0];
    const uint64_t b = 0xCD9E8D57ULL * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
  }
  return counter;
}

uint64_t random_bits(const RngKey& key) { return hash(key, 0); }
double random_uniform(const RngKey& key) { return to_unit(random_bits(key)); }

double random_uniform(const RngKey& key, uint64_t event, uint32_t layer, uint32_t head, uint64_t position) {
  auto place = split(position);
  auto block = philox4x32({layer, head, place[0], place[1]}, split(hash(key, event + 1)));
  return to_unit(join(block[0], block[1]));
}

uint64_t CounterStream::bits() {
  const uint64_t out = random_bits(key_);
  ++key_.counter;
  return out;
}

double CounterStream::uniform() { return to_unit(bits()); }

int64_t CounterStream::integer(int64_t low, int64_t high) {
  TL_CHECK(low <= high, "empty range");
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;  // 0 means all 2^64
  if (range == 0) return static_cast<int64_t>(bits());
  const uint64_t limit = UINT64_MAX - UINT64_MAX % range;  // reject the biased tail
  uint64_t draw = bits();
  while (draw >= limit) draw = bits();
  return static_cast<int64_t>(static_cast<uint64_t>(low) + draw % range);
}

}  // namespace throughline
