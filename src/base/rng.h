// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//
// A draw is a pure function of its key and coordinates: no state, no order, no batch place. That is what makes a
// row alone and the same row in a batch draw the same, and what lets a preempted request be replayed.
// Not cryptographic. Thread-safe (no state).
#pragma once

#include <array>
#include <cstdint>

namespace throughline {

// One 128-bit block of Philox4x32-10.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

enum class RngPurpose : uint32_t { kSample = 1, kEvict = 2, kSynth = 3, kTask = 4, kTest = 5 };

struct RngKey {
  uint64_t seed = 0;
  uint64_t sample = 0;   // index of the sample within the request (n > 1)
  uint64_t counter = 0;  // tokens generated so far in the whole trace
  RngPurpose purpose = RngPurpose::kSample;
};

uint64_t random_bits(const RngKey& key);
double random_uniform(const RngKey& key);  // [0, 1), 53 bits

// For policies: one draw per (event, layer, head, position) under one key.
double random_uniform(const RngKey& key, uint64_t event, uint32_t layer, uint32_t head, uint64_t position);

// A sequence of draws for generators that want "the next number": draw i is random_bits at counter i.
class CounterStream {
 public:
  CounterStream(uint64_t seed, uint64_t sample, RngPurpose purpose) : key_{seed, sample, 0, purpose} {}
  uint64_t bits();
  double uniform();                            // [0, 1)
  int64_t integer(int64_t low, int64_t high);  // uniform over [low, high], unbiased. REQUIRES: low <= high

 private:
  RngKey key_;
};

}  // namespace throughline
