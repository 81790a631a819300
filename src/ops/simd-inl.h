// Loads and stores for the row kernels, per Highway target: fp32 or bf16 in memory, fp32 in registers.
//
// Not a normal header: included once per target by the kernel files. bf16 is handed around as uint16_t; rounding to
// bf16 is to nearest, ties to even, NaN stays NaN (Highway 1.0.3's own demotion truncates). Partial loads fill with
// zeros and run through the same full-width arithmetic, so a tail has the bits of the body.
#if defined(THROUGHLINE_OPS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THROUGHLINE_OPS_SIMD_INL_H_
#undef THROUGHLINE_OPS_SIMD_INL_H_
#else
#define THROUGHLINE_OPS_SIMD_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

#if HWY_COMPILER_CLANG
#define TL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TL_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;

HWY_INLINE size_t lanes() { return hn::Lanes(FloatTag()); }

constexpr bool kManyRegisters = HWY_ARCH_ARM_A64 || hn::MaxLanes(FloatTag()) == 16;  // 32 of vectors, not 16

// sum += a * b. By asm, as g++ 12 else copies the sums of a tile to memory in each round of its loop.
HWY_INLINE void add_product(FloatVec a, FloatVec b, FloatVec& sum) {
#if HWY_TARGET == HWY_AVX2
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum.raw) : "x"(a.raw), "xm"(b.raw));
#else
  sum = hn::MulAdd(a, b, sum);
#endif
}

HWY_INLINE FloatVec load_floats(const float* HWY_RESTRICT p) { return hn::LoadU(FloatTag(), p); }

HWY_INLINE FloatVec load_floats(const uint16_t* HWY_RESTRICT p) {
  const FloatTag df;
  const hn::RebindToUnsigned<FloatTag> du32;
  const hn::Rebind<uint16_t, FloatTag> du16;
  return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du32, hn::LoadU(du16, p))));
}

HWY_INLINE void store_floats(FloatVec v, float* HWY_RESTRICT p) { hn::StoreU(v, FloatTag(), p); }

HWY_INLINE void store_floats(FloatVec v, uint16_t* HWY_RESTRICT p) {
  const hn::RebindToUnsigned<FloatTag> du32;
  const hn::RebindToSigned<FloatTag> di32;
  const hn::Rebind<uint16_t, FloatTag> du16;
  const auto bits = hn::BitCast(du32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du32, 0x7FFF))));
  const auto is_nan = hn::RebindMask(du32, hn::IsNaN(v));
  const auto result = hn::IfThenElse(is_nan, hn::Set(du32, 0x7FC0), rounded);
  hn::StoreU(hn::DemoteTo(du16, hn::BitCast(di32, result)), du16, p);
}

template <class T>
HWY_INLINE FloatVec load_floats(const T* HWY_RESTRICT p, size_t count) {
  if (count >= lanes()) return load_floats(p);
  HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(buffer, p, count * sizeof(T));
  return load_floats(buffer);
}

template <class T>
HWY_INLINE void store_floats(FloatVec v, T* HWY_RESTRICT p, size_t count) {
  if (count >= lanes()) return store_floats(v, p);
  HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(float)];
  store_floats(v, buffer);
  std::memcpy(p, buffer, count * sizeof(T));
}

// The value as it would be after a round trip through T.
HWY_INLINE FloatVec round_to(FloatVec v, const float*) { return v; }

HWY_INLINE FloatVec round_to(FloatVec v, const uint16_t*) {
  const FloatTag df;
  const hn::RebindToUnsigned<FloatTag> du32;
  const auto bits = hn::BitCast(du32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 1));
  const auto rounded = hn::And(hn::Add(bits, hn::Add(odd, hn::Set(du32, 0x7FFF))), hn::Set(du32, 0xFFFF0000u));
  const auto is_nan = hn::RebindMask(du32, hn::IsNaN(v));
  return hn::BitCast(df, hn::IfThenElse(is_nan, hn::Set(du32, 0x7FC00000u), rounded));
}

// e^x to about 2 units in the last place for x up to 80 (Cody-Waite reduction, the polynomial of Cephes' expf); 0 below
// -87.
HWY_INLINE FloatVec Exp(FloatVec x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const FloatVec lowest = hn::Set(d, -87.0f);
  const auto tiny = hn::Lt(x, lowest);
  const FloatVec clamped = hn::Max(x, lowest);
  const auto n = hn::NearestInt(hn::Mul(clamped, hn::Set(d, 1.44269504088896341f)));
  const FloatVec whole = hn::ConvertTo(d, n);
  FloatVec r = hn::NegMulAdd(whole, hn::Set(d, 0.693359375f), clamped);
  r = hn::NegMulAdd(whole, hn::Set(d, -2.12194440e-4f), r);
  FloatVec p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
  const FloatVec power = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
  return hn::IfThenElseZero(hn::Not(tiny), hn::Mul(p, power));
}

HWY_INLINE float sum_of_lanes(FloatVec v) { return hn::GetLane(hn::SumOfLanes(FloatTag(), v)); }

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggled include guard
