#include "ops/products.h"

#include <ATen/ops/empty.h>
#include <c10/util/SmallVector.h>

#include <algorithm>
#include <type_traits>

#include "ops/autograd.h"
#include "ops/cpu/dot_gemm.h"
#include "ops/cpu/pair_product.h"
#include "ops/cpu/quantized_gemm.h"
#include "ops/cpu/thread_tasks.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

// Multiply-adds below which a second thread costs more than it saves (about 10 us of work).
constexpr int64_t kSerialWork = 1 << 17;
// Few rows: weights are read once, pieces are only to share them out. More rows: a piece of the weight and a block of
// rows stay in a core's L2 together.
constexpr int64_t kFewRows = 16;
constexpr int64_t kSmallestPieceBytes = 32 << 10, kLargestPieceBytes = 256 << 10;
constexpr int64_t kPieceBytesOfManyRows = 128 << 10, kRowBlockBytes = 256 << 10;
constexpr int64_t kPiecesPerThread = 6;
constexpr int64_t kColumnStep = 16;  // columns that dot_gemm finishes at a time
// Products of pairs: the packed piece of the weight stays in L2, so do its results until they are finished.
constexpr int64_t kPairColumns = 32, kPairPieceBytes = 256 << 10, kPairRowBlock = 48;

// The rows of x as the kernels of one weight format read them.
struct Operand {
  at::Tensor x;  // contiguous
  kernels::QuantizedRows quantized{};
  WeightFormat format;
  int64_t rows, in, row_block;
  int64_t weight_row_bytes;
  cpu::PairProduct pairs = nullptr;  // plain weights only: how to multiply, if not by dot_gemm

  int64_t column_step() const { return pairs != nullptr ? kPairColumns : kColumnStep; }
  // Floats for the packed `columns` of a weight.
  int64_t packed_floats(int64_t columns) const { return pairs != nullptr ? columns * in / 2 : 0; }
};

int64_t piece_columns(const Operand& operand, int64_t total_columns) {
  const int64_t step = operand.column_step();
  if (operand.rows * operand.in * total_columns < kSerialWork) return (total_columns + step - 1) / step * step;
  const int64_t share = total_columns * operand.weight_row_bytes / (thread_count() * kPiecesPerThread);
  const int64_t most = operand.pairs != nullptr   ? kPairPieceBytes
                       : operand.rows <= kFewRows ? kLargestPieceBytes
                                                  : kPieceBytesOfManyRows;
  const int64_t bytes = std::clamp(share, kSmallestPieceBytes, most);
  return std::max(step, bytes / operand.weight_row_bytes / step * step);
}

template <class T>
const T* data(const at::Tensor& t) {
  return t.defined() ? static_cast<const T*>(t.const_data_ptr()) : nullptr;
}
template <class T>
T* data_out(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

float* thread_scratch(int64_t floats) {
  static thread_local cpu::FloatBuffer scratch;
  return scratch.at_least(floats);
}

// Runs f with the element type of x as a value of it.
template <class F>
void for_type(const at::Tensor& x, const F& f) {
  if (x.scalar_type() == at::kFloat) {
    f(float());
  } else {
    f(uint16_t());
  }
}

// x in int8 groups, in memory of the calling thread that lasts until its next call.
kernels::QuantizedRows quantize(const at::Tensor& x, WeightFormat format) {
  struct Buffers {
    std::vector<int8_t> values;
    std::vector<float> scales;
    std::vector<int32_t> offsets;
  };
  static thread_local Buffers buffers;
  const int64_t rows = x.size(0), in = x.size(1), groups = (in + kernels::kQuantGroup - 1) / kernels::kQuantGroup;
  const auto count = static_cast<size_t>(rows * groups);
  if (buffers.scales.size() < count) {
    buffers.values.resize(count * kernels::kQuantGroup);
    buffers.scales.resize(count);
    buffers.offsets.resize(count);
  }
  const kernels::QuantizedRows all{buffers.values.data(), buffers.scales.data(), buffers.offsets.data(), rows, groups};
  const int32_t offset = format == WeightFormat::kInt8 ? -128 : -8;
  for_type(x, [&](auto type) {
    const auto* from = data<decltype(type)>(x);
    parallel_for(0, rows, std::max<int64_t>(1, (1 << 15) / in), [&](int64_t begin, int64_t end) {
      const kernels::QuantizedRows part{all.values + begin * groups * kernels::kQuantGroup, all.scales + begin * groups,
                                        all.offsets + begin * groups, end - begin, groups};
      kernels::quantize_rows(from + begin * in, in, in, offset, part);
    });
  });
  return all;
}

using Weights = c10::SmallVector<const LinearWeight*, 4>;

at::Tensor checked_rows(const at::Tensor& x, const Weights& weights) {
  check_element_type(x, "linear");
  TL_CHECK(x.device().is_cpu(), "own products run on the CPU only");
  for (const LinearWeight* w : weights) {
    TL_CHECK(x.dim() == 2 && x.size(1) == w->in && w->format == weights.front()->format, "linear: shapes do not match");
    if (w->format == WeightFormat::kPlain) {
      TL_CHECK(w->values.dim() == 2 && w->values.scalar_type() == x.scalar_type(), "linear: dtypes differ");
    } else {
      const QuantizedShape shape = quantized_shape(w->format, w->out, w->in);
      TL_CHECK(w->values.sizes() == shape.values && w->scales.sizes() == shape.scales, "linear: not of this format");
    }
    TL_CHECK(w->values.is_contiguous(), "linear: the weight must be contiguous");
    TL_CHECK(!w->bias.defined() ||
                 (w->bias.scalar_type() == x.scalar_type() && w->bias.numel() == w->out && w->bias.is_contiguous()),
             "linear: bias does not match");
  }
  return x.contiguous();
}

// The product of pairs, where it is the way to multiply such rows of bf16 in this mode.
cpu::PairProduct pairs_for(const at::Tensor& x, NumericMode mode) {
  const bool wanted = mode == NumericMode::kFast && x.scalar_type() == at::kBFloat16 && x.size(0) >= kManyRows &&
                      x.size(1) % 2 == 0 && x.size(1) > 0;
  return wanted ? cpu::pair_product() : nullptr;
}

void check_result(const at::Tensor& y, const Operand& a, int64_t out) {
  TL_CHECK(y.numel() == a.rows * out && y.scalar_type() == a.x.scalar_type() && y.is_contiguous(),
           "linear: the result does not match");
}

at::Tensor result(const at::Tensor& into, const Operand& a, int64_t out) {
  const at::Tensor y = into.defined() ? into : at::empty({a.rows, out}, a.x.options());
  check_result(y, a, out);
  return y;
}

Operand operand_of(const at::Tensor& x_in, const Weights& weights, NumericMode mode) {
  const at::Tensor x = checked_rows(x_in, weights);
  const WeightFormat format = weights.front()->format;
  Operand out{.x = x, .format = format, .rows = x.size(0), .in = x.size(1)};
  const int64_t x_row_bytes = format == WeightFormat::kPlain ? out.in * x.element_size() : out.in;
  out.weight_row_bytes = format == WeightFormat::kInt4 ? std::max<int64_t>(1, out.in * 9 / 16) : x_row_bytes;
  out.row_block = std::min(out.rows, std::max<int64_t>(kFewRows, kRowBlockBytes / x_row_bytes / 8 * 8));
  if (format != WeightFormat::kPlain) {
    out.quantized = quantize(x, format);
  } else {
    out.pairs = pairs_for(x, mode);
  }
  if (out.pairs != nullptr) out.row_block = kPairRowBlock;
  return out;
}

int64_t stride_of(const Operand& a, int64_t columns) {
  return (columns + a.column_step() - 1) / a.column_step() * a.column_step();
}

// Columns [from, to) of a weight as the products of pairs read them, [stride / 32, in / 2, 32] words; else nothing.
void pack(const Operand& a, const LinearWeight& w, int64_t from, int64_t to, float* packed) {
  if (a.pairs == nullptr) return;
  auto* words = reinterpret_cast<uint32_t*>(packed);
  for (int64_t n = from; n < to; n += kPairColumns, words += kPairColumns * a.in / 2) {
    const uint16_t* rows[kPairColumns];
    const int64_t count = std::min(kPairColumns, to - n);
    for (int64_t i = 0; i < count; ++i) rows[i] = data<uint16_t>(w.values) + (n + i) * a.in;
    cpu::pack_pairs_across(rows, count, a.in, words, kPairColumns);
  }
}

void multiply_pairs(const Operand& a, int64_t row, int64_t count, int64_t stride, const float* packed, float* out) {
  const auto* left = reinterpret_cast<const uint32_t*>(data<uint16_t>(a.x) + row * a.in);
  const auto* right = reinterpret_cast<const uint32_t*>(packed);
  for (int64_t n = 0; n < stride; n += kPairColumns) {
    a.pairs(left, a.in / 2, 1, right + n * a.in / 2, kPairColumns, a.in / 2, out + n, stride, count,
            kPairColumns / kColumnStep, /*add=*/false);
  }
}

// Columns [from, to) of x W^T for rows [row, row + count), fp32, stride_of(to - from) apart. `packed`: see pack().
template <class T>
void multiply(const Operand& a, const LinearWeight& w, int64_t row, int64_t count, int64_t from, int64_t to,
              const float* packed, float* out) {
  const int64_t stride = stride_of(a, to - from);
  if (a.pairs != nullptr) return multiply_pairs(a, row, count, stride, packed, out);
  if (a.format == WeightFormat::kPlain) {
    kernels::dot_gemm(data<T>(a.x) + row * a.in, a.in, count, data<T>(w.values) + from * a.in, a.in, to - from, a.in,
                      out, stride);
    return;
  }
  const int64_t groups = a.quantized.groups, panels = stride / kernels::kPanelRows;
  const kernels::QuantizedRows rows{a.quantized.values + row * groups * kernels::kQuantGroup,
                                    a.quantized.scales + row * groups, a.quantized.offsets + row * groups, count,
                                    groups};
  const int64_t depth = groups * kernels::kQuantGroup;
  const auto* values = static_cast<const uint8_t*>(w.values.const_data_ptr());
  if (a.format == WeightFormat::kInt8) {
    kernels::int8_gemm(rows, values + from * depth, f32(w.scales) + from, panels, out, stride);
  } else {
    kernels::int4_gemm(rows, values + from * depth / 2, bf16(w.scales) + from * groups, panels, out, stride);
  }
}

// finish(row, c): c holds one row of products of columns [from, to).
template <class T, class Finish>
void each_row(const Operand& a, const LinearWeight& w, int64_t from, int64_t to, const Finish& finish) {
  const int64_t stride = stride_of(a, to - from);
  float* packed = thread_scratch(a.packed_floats(stride) + a.row_block * stride);
  float* c = packed + a.packed_floats(stride);
  pack(a, w, from, to, packed);
  for (int64_t row = 0; row < a.rows; row += a.row_block) {
    const int64_t count = std::min(a.row_block, a.rows - row);
    multiply<T>(a, w, row, count, from, to, packed, c);
    for (int64_t r = 0; r < count; ++r) finish(row + r, c + r * stride);
  }
}

// finish(element of the result, first column, columns, c)
template <class T, class Finish>
void each_piece(const Operand& a, const LinearWeight& w, const Finish& finish) {
  const int64_t out = w.out, columns = piece_columns(a, out);
  run_tasks((out + columns - 1) / columns, [&](int64_t i) {
    const int64_t from = i * columns, to = std::min(out, from + columns);
    each_row<T>(a, w, from, to, [&](int64_t row, const float* c) { finish(row * out + from, from, to - from, c); });
  });
}

template <class T>
const T* offset(const T* p, int64_t by) {
  return p == nullptr ? nullptr : p + by;
}

}  // namespace

bool fused_products(const at::Tensor& x, NumericMode mode) {
  if (!x.device().is_cpu()) return false;
  if (mode == NumericMode::kExact) return true;
  // fp32: rows from which packing the weight for the panel kernel pays. bf16: products of pairs are ahead of oneDNN at
  // any number of rows, dot products to about so many (bench/gemm_bench, ManyRows).
  if (x.scalar_type() == at::kFloat) return x.size(0) < 32;
  return cpu::pair_product() != nullptr || x.size(0) < 128;
}

std::vector<at::Tensor> linears(const at::Tensor& x, const std::vector<LinearWeight>& weights, NumericMode mode) {
  std::vector<at::Tensor> out;
  for (const LinearWeight& w : weights) out.push_back(at::empty({x.size(0), w.out}, x.options()));
  linears_into(x, weights, out, mode);
  return out;
}

void linears_into(const at::Tensor& x_in, std::span<const LinearWeight> weights, std::span<const at::Tensor> into,
                  NumericMode mode) {
  Weights checked;
  for (const LinearWeight& w : weights) checked.push_back(&w);
  const Operand a = operand_of(x_in, checked, mode);
  int64_t total = 0;
  for (size_t w = 0; w < weights.size(); ++w) {
    check_result(into[w], a, weights[w].out);
    total += weights[w].out;
  }
  if (a.rows == 0) return;
  const int64_t columns = piece_columns(a, total);
  struct Piece {
    size_t weight;
    int64_t from, to;
  };
  static thread_local std::vector<Piece> pieces_of_thread;
  std::vector<Piece>& pieces = pieces_of_thread;
  pieces.clear();
  for (size_t w = 0; w < weights.size(); ++w) {
    for (int64_t from = 0; from < weights[w].out; from += columns)
      pieces.push_back({w, from, std::min(weights[w].out, from + columns)});
  }
  for_type(a.x, [&](auto type) {
    using T = decltype(type);
    const auto task = [&](int64_t i) {
      const Piece& piece = pieces[i];
      const LinearWeight& w = weights[piece.weight];
      T* y = data_out<T>(into[piece.weight]) + piece.from;
      const T* bias = offset(data<T>(w.bias), piece.from);
      each_row<T>(a, w, piece.from, piece.to, [&](int64_t row, const float* c) {
        kernels::finish_product(c, bias, static_cast<const T*>(nullptr), y + row * w.out, piece.to - piece.from);
      });
    };
    const auto count = static_cast<int64_t>(pieces.size());
    if (a.rows * a.in * total < kSerialWork) {
      for (int64_t i = 0; i < count; ++i) task(i);
    } else {
      run_tasks(count, task);
    }
  });
}

at::Tensor linear_add(const at::Tensor& residual, const at::Tensor& x_in, const LinearWeight& weight, NumericMode mode,
                      const at::Tensor& into) {
  const Operand a = operand_of(x_in, {&weight}, mode);
  const at::Tensor add = residual.contiguous();
  TL_CHECK(
      add.dim() == 2 && add.size(0) == a.rows && add.size(1) == weight.out && add.scalar_type() == a.x.scalar_type(),
      "linear_add: the residual does not match");
  const at::Tensor y = result(into, a, weight.out);
  if (y.numel() == 0) return y;
  for_type(a.x, [&](auto type) {
    using T = decltype(type);
    each_piece<T>(a, weight, [&](int64_t at, int64_t from, int64_t columns, const float* c) {
      kernels::finish_product(c, offset(data<T>(weight.bias), from), data<T>(add) + at, data_out<T>(y) + at, columns);
    });
  });
  return y;
}

at::Tensor linear_silu_mul(const at::Tensor& x_in, const LinearWeight& gate, const LinearWeight& up, NumericMode mode,
                           const at::Tensor& into) {
  const Operand a = operand_of(x_in, {&gate, &up}, mode);
  TL_CHECK(gate.out == up.out, "linear_silu_mul: shapes differ");
  const int64_t out = gate.out;
  const at::Tensor y = result(into, a, out);
  if (y.numel() == 0) return y;
  const int64_t step = a.column_step(), columns = std::max(step, piece_columns(a, 2 * out) / 2 / step * step);
  for_type(a.x, [&](auto type) {
    using T = decltype(type);
    constexpr const T* kNone = nullptr;
    run_tasks((out + columns - 1) / columns, [&](int64_t i) {
      const int64_t from = i * columns, to = std::min(out, from + columns), n = to - from, stride = stride_of(a, n);
      const int64_t packed_floats = a.packed_floats(stride);
      float* packed = thread_scratch(2 * packed_floats + (2 * a.row_block + 2) * stride);
      float* c = packed + 2 * packed_floats;
      pack(a, gate, from, to, packed);
      pack(a, up, from, to, packed + packed_floats);
      float *other = c + a.row_block * stride, *rounded = other + a.row_block * stride;
      T *g = reinterpret_cast<T*>(rounded), *u = reinterpret_cast<T*>(rounded + stride);
      for (int64_t row = 0; row < a.rows; row += a.row_block) {
        const int64_t count = std::min(a.row_block, a.rows - row);
        multiply<T>(a, gate, row, count, from, to, packed, c);
        multiply<T>(a, up, row, count, from, to, packed + packed_floats, other);
        for (int64_t r = 0; r < count; ++r) {
          kernels::finish_product(c + r * stride, offset(data<T>(gate.bias), from), kNone, g, n);
          kernels::finish_product(other + r * stride, offset(data<T>(up.bias), from), kNone, u, n);
          kernels::silu_mul(g, u, data_out<T>(y) + (row + r) * out + from, n);
        }
      }
    });
  });
  return y;
}

at::Tensor linear_to_float(const at::Tensor& x_in, const LinearWeight& weight, NumericMode mode) {
  const Operand a = operand_of(x_in, {&weight}, mode);
  at::Tensor y = at::empty({a.rows, weight.out}, a.x.options().dtype(at::kFloat));
  if (y.numel() == 0) return y;
  for_type(a.x, [&](auto type) {
    using T = decltype(type);
    each_piece<T>(a, weight, [&](int64_t at, int64_t from, int64_t columns, const float* c) {
      kernels::finish_logits(c, offset(data<T>(weight.bias), from), f32_out(y) + at, columns);
    });
  });
  return y;
}

}  // namespace throughline::ops
