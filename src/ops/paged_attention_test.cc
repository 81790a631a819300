#include "ops/paged_attention.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "ops/cpu/attention_values.h"
#include "ops/cpu/cpu_limit.h"
#include "ops/cpu/int8_attention.h"
#include "ops/rows.h"

namespace throughline::ops {
namespace {

struct Shape {
  int64_t kv_heads = 2, group = 2, head_dim = 8, page_tokens = 16;
  at::ScalarType dtype = at::kFloat;
};

// Pools filled with NaN but for the slots in use, pages in random order, strided over pages.
struct Case {
  Shape shape;
  PagedKv kv;
  PagedBatch batch;
  at::Tensor q;
  double scale = 0;

  std::vector<int32_t> pages(int64_t seq) const {
    const auto begin = batch.page_table.begin() + seq * batch.max_pages;
    std::vector<int32_t> out(begin, begin + batch.max_pages);
    out.erase(std::find(out.begin(), out.end(), -1), out.end());
    return out;
  }
};

at::Tensor randn(std::vector<int64_t> sizes, uint64_t seed, at::ScalarType dtype) {
  at::Tensor out = at::empty(sizes, at::kFloat);
  CounterStream stream(seed, 0, RngPurpose::kTest);
  float* values = out.data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) {  // Box-Muller
    values[i] =
        static_cast<float>(std::sqrt(-2 * std::log(1 - stream.uniform())) * std::cos(6.2831853 * stream.uniform()));
  }
  return out.to(dtype);
}

at::ScalarType q_dtype(const Shape& shape) { return shape.dtype == at::kChar ? at::kBFloat16 : shape.dtype; }

// One row as the headers say a pool holds it.
void put_row(const PagedKv& kv, KvSide side, int64_t page, int64_t head, int64_t in_page, const at::Tensor& row) {
  const at::Tensor& pool = kv.pool(side);
  if (pool.scalar_type() != at::kChar) {
    pool[page][head][in_page].copy_(row);
    return;
  }
  const int64_t page_tokens = pool.size(2), head_dim = row.size(0);
  const at::Tensor wide = row.to(at::kFloat), part = pool[page][head].view({-1});
  const float scale = wide.abs().max().item<float>() / 127;
  const at::Tensor numbers = wide.div(scale).round().to(at::kChar), all = part.narrow(0, 0, page_tokens * head_dim);
  if (side == KvSide::kKeys) {
    all.view({-1, head_dim / 4, 16, 4})
        .select(0, in_page / 16)
        .select(1, in_page % 16)
        .copy_(numbers.view({-1, 4}).bitwise_xor(-128));
  } else {
    all.view({-1, head_dim, 4}).select(0, in_page / 4).select(1, in_page % 4).copy_(numbers);
  }
  part.narrow(0, page_tokens * head_dim + in_page * kKvScaleBytes, kKvScaleBytes)
      .copy_(at::full({1}, scale, at::kFloat).view(at::kChar));
}

// The next shape that a pool may have.
Shape fitting(Shape shape) {
  if (shape.dtype != at::kChar) return shape;
  shape.head_dim = (shape.head_dim + 3) / 4 * 4;
  shape.page_tokens = (shape.page_tokens + 15) / 16 * 16;
  return shape;
}

// lengths[s] slots and rows[s] rows; uneven > 0: KV head h has h * uneven slots less.
Case make_case(const Shape& wanted, const std::vector<int32_t>& lengths, const std::vector<int32_t>& rows,
               uint64_t seed, int32_t uneven = 0) {
  const Shape shape = fitting(wanted);
  Case out;
  out.shape = shape;
  out.scale = 1 / std::sqrt(static_cast<double>(shape.head_dim));
  int64_t total_pages = 0, total_rows = 0;
  for (int32_t length : lengths) {
    const auto used = static_cast<int32_t>((length + shape.page_tokens - 1) / shape.page_tokens);
    total_pages += used;
    out.batch.max_pages = std::max(out.batch.max_pages, used + 1);
  }
  std::vector<int32_t> ids(total_pages + 3);
  std::iota(ids.begin(), ids.end(), 0);
  CounterStream stream(seed, 1, RngPurpose::kTest);
  for (size_t i = ids.size() - 1; i > 0; --i) std::swap(ids[i], ids[stream.integer(0, i)]);
  const std::vector<int64_t> sizes = {static_cast<int64_t>(ids.size()), 2, shape.kv_heads, shape.page_tokens,
                                      shape.head_dim + (shape.dtype == at::kChar ? kKvScaleBytes : 0)};
  const at::Tensor storage =  // what is not in use is NaN, or has a scale of NaN
      shape.dtype == at::kChar ? at::full(sizes, -1, at::kChar) : at::full(sizes, NAN, shape.dtype);
  out.kv = {storage.select(1, 0), storage.select(1, 1)};
  out.batch.row_begin = {0};
  out.batch.page_table.assign(lengths.size() * out.batch.max_pages, -1);
  size_t next = 0;
  for (size_t s = 0; s < lengths.size(); ++s) {
    total_rows += rows[s];
    out.batch.row_begin.push_back(static_cast<int32_t>(total_rows));
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      out.batch.lengths.push_back(std::max<int32_t>(rows[s], lengths[s] - static_cast<int32_t>(h) * uneven));
    }
    const at::Tensor k = randn({shape.kv_heads, lengths[s], shape.head_dim}, seed * 100 + s * 2 + 2, q_dtype(shape));
    const at::Tensor v = randn({shape.kv_heads, lengths[s], shape.head_dim}, seed * 100 + s * 2 + 3, q_dtype(shape));
    for (int32_t slot = 0; slot < lengths[s]; ++slot) {
      const int64_t in_page = slot % shape.page_tokens;
      int32_t& page = out.batch.page_table[s * out.batch.max_pages + slot / shape.page_tokens];
      if (in_page == 0) page = ids[next++];
      for (int64_t h = 0; h < shape.kv_heads; ++h) {
        if (slot >= out.batch.lengths[s * shape.kv_heads + h]) continue;
        put_row(out.kv, KvSide::kKeys, page, h, in_page, k[h][slot]);
        put_row(out.kv, KvSide::kValues, page, h, in_page, v[h][slot]);
      }
    }
  }
  out.q = randn({total_rows, shape.kv_heads * shape.group, shape.head_dim}, seed * 100 + 1, q_dtype(shape));
  return out;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs();
  return difference.numel() == 0 ? 0 : difference.max().item<double>();
}

at::Tensor lse_buffer(const Case& c) { return at::full({c.q.size(0), c.q.size(1)}, NAN, at::kFloat); }

// Logits are wanted for single-row sequences with equal lengths.
AttentionProbe probe_for(const Case& c) {
  AttentionProbe probe{.lse = lse_buffer(c), .logits = {}};
  for (int32_t s = 0; s < c.batch.seqs(); ++s) {
    at::Tensor logits;
    const auto* lengths = c.batch.lengths.data() + s * c.shape.kv_heads;
    const bool equal = std::all_of(lengths, lengths + c.shape.kv_heads, [&](int32_t n) { return n == lengths[0]; });
    if (equal && c.batch.row_begin[s + 1] - c.batch.row_begin[s] == 1) {
      logits = at::full({c.q.size(1), lengths[0]}, NAN, at::kFloat);
    }
    probe.logits.push_back(logits);
  }
  return probe;
}

// The queries as the kernels take them: to the byte where VNNI multiplies int8 keys as they are.
at::Tensor queries_taken(const Case& c) {
  if (!c.kv.int8() || !cpu::has_avx512_vnni() || c.shape.head_dim % cpu::kInt8HeadDimStep != 0 ||
      c.shape.head_dim > cpu::kInt8MostHeadDim) {
    return c.q;
  }
  const at::Tensor q = c.q.to(at::kFloat), most = q.abs().amax(-1, /*keepdim=*/true);
  return (q * (127 / most)).round() * (most / 127);
}

void expect_like_reference(const Case& c) {
  AttentionProbe probe = probe_for(c), expected_probe = probe_for(c);
  const at::Tensor out = paged_attention(c.q, c.kv, c.batch, c.scale, &probe);
  const at::Tensor expected = paged_attention_reference(queries_taken(c), c.kv, c.batch, c.scale, &expected_probe);
  ASSERT_EQ(out.scalar_type(), c.q.scalar_type());
  // bf16: the output is rounded once (2^-9 of values up to ~4).
  EXPECT_LT(largest_difference(out, expected), c.q.scalar_type() != at::kFloat ? 2e-2 : c.kv.int8() ? 2e-4 : 1e-5);
  // Large groups over bf16: of weights that were rounded (2^-9).
  const bool rounded = c.kv.k.scalar_type() == at::kBFloat16 && c.q.size(1) / c.shape.kv_heads >= cpu::kValueGroup;
  EXPECT_LT(largest_difference(probe.lse, expected_probe.lse), rounded ? 4e-3 : c.kv.int8() ? 2e-4 : 2e-5);
  for (size_t s = 0; s < probe.logits.size(); ++s) {
    if (probe.logits[s].defined()) {
      EXPECT_LT(largest_difference(probe.logits[s], expected_probe.logits[s]), c.kv.int8() ? 1e-3 : 2e-5);
    }
  }
}

TEST(PagedAttentionReference, IsSoftmaxOfDenseScores) {
  const Case c = make_case({}, {37}, {3}, 1);
  AttentionProbe probe{.lse = lse_buffer(c), .logits = {}};
  const at::Tensor out = paged_attention_reference(c.q, c.kv, c.batch, c.scale, &probe);
  std::vector<int64_t> slots(37);
  std::iota(slots.begin(), slots.end(), 0);
  const at::Tensor index = at::empty({1, 37}, at::kLong);
  for (int i = 0; i < 37; ++i) index[0][i] = i;
  const at::Tensor k = gather_slots(c.kv, KvSide::kKeys, c.pages(0), index),
                   v = gather_slots(c.kv, KvSide::kValues, c.pages(0), index);
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t head = 0; head < 4; ++head) {
      const int64_t n = 35 + row;
      const at::Tensor scores = at::matmul(k[head / 2].narrow(0, 0, n), c.q[row][head]) * c.scale;
      EXPECT_LT(largest_difference(out[row][head], at::matmul(at::softmax(scores, 0), v[head / 2].narrow(0, 0, n))),
                1e-5);
      EXPECT_NEAR(probe.lse[row][head].item<double>(), scores.logsumexp(0).item<double>(), 1e-5);
    }
  }
}

TEST(PagedAttention, EqualsTheReference) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
    for (int64_t head_dim : {2, 6, 10, 64, 80, 96, 128, 256}) {
      for (int64_t group : {1, 2, 3, 6, 16}) {
        const int64_t page_tokens = head_dim % 4 == 0 ? 64 : 7;
        SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << " group " << group << " dtype " << dtype);
        expect_like_reference(
            make_case({2, group, head_dim, page_tokens, dtype}, {300, 1, 9, 40}, {1, 1, 9, 5}, head_dim + group));
      }
    }
  }
}

// From memory, a few sequences at a time: the same bits as the whole batch.
TEST(PagedAttention, SomeSequencesAlone) {
  for (at::ScalarType dtype : {at::kFloat, at::kChar}) {
    for (const auto& [head_dim, group] : std::vector<std::pair<int64_t, int64_t>>{{32, 2}, {6, 3}, {64, 4}, {96, 4}}) {
      Case whole = make_case({2, group, head_dim, 16, dtype}, {300, 1, 9, 40, 600}, {1, 1, 9, 5, 70}, 5 + head_dim);
      whole.q = whole.q.to(at::kFloat);
      const int64_t rows = whole.q.size(0), width = whole.shape.head_dim, kv_width = 2 * width,
                    q_width = group * kv_width;
      const at::Tensor k = randn({rows, 2, width}, 1, at::kFloat), v = randn({rows, 2, width}, 2, at::kFloat);
      paged_append(k, v, whole.batch, whole.kv);
      const at::Tensor expected = paged_attention(whole.q, whole.kv, whole.batch, whole.scale);

      Case parts = make_case({2, group, head_dim, 16, dtype}, {300, 1, 9, 40, 600}, {1, 1, 9, 5, 70}, 5 + head_dim);
      at::Tensor out = at::full(expected.sizes(), NAN, at::kFloat);
      const std::vector<int64_t> cuts = {0, 2, 3, 5};
      for (size_t i = 0; i + 1 < cuts.size(); ++i) {
        const PagedRows part{&parts.batch, cuts[i], cuts[i + 1], 2 * group};
        const int64_t first = parts.batch.row_begin[static_cast<size_t>(cuts[i])];
        paged_append(k.data_ptr<float>() + first * kv_width, v.data_ptr<float>() + first * kv_width, part, parts.kv);
        paged_attention(whole.q.data_ptr<float>() + first * q_width, part, parts.kv, parts.scale,
                        out.data_ptr<float>() + first * q_width);
      }
      EXPECT_TRUE(at::equal(out, expected)) << "head_dim " << head_dim << " dtype " << dtype;
    }
  }
}

// Slices long enough for tile_attention(): weights and their products are rounded to bf16 there.
TEST(PagedAttention, FastModeEqualsTheReferenceUpToRounding) {
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{32, 1}, {64, 2}, {96, 3}, {128, 2}, {32, 7}, {32, 200}};
  for (const auto& [head_dim, group] : shapes) {
    SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << " group " << group);
    const int32_t scale = group < 3 ? 3 : 1;
    const Case c = make_case({2, group, head_dim, group == 3 ? 7 : 64, at::kBFloat16}, {260 * scale, 33, 1},
                             {group == 200 ? 33 : 90 * scale, 33, 1}, head_dim + group, group == 2 ? 5 : 0);
    AttentionProbe probe{.lse = lse_buffer(c), .logits = {}}, expected_probe{.lse = lse_buffer(c), .logits = {}};
    const at::Tensor out = paged_attention(c.q, c.kv, c.batch, c.scale, &probe, NumericMode::kFast);
    const at::Tensor expected = paged_attention_reference(c.q, c.kv, c.batch, c.scale, &expected_probe);
    EXPECT_LT(largest_difference(out, expected), 2.5e-2);
    EXPECT_LT(largest_difference(probe.lse, expected_probe.lse), 4e-3);  // of rounded weights
    EXPECT_LT((out.to(at::kDouble) - expected.to(at::kDouble)).abs().mean().item<double>(), 1.2e-3);
  }
  const Case int8 = make_case({2, 2, 64, 16, at::kChar}, {600}, {90}, 3);
  EXPECT_LT(largest_difference(paged_attention(int8.q, int8.kv, int8.batch, int8.scale, nullptr, NumericMode::kFast),
                               paged_attention_reference(int8.q, int8.kv, int8.batch, int8.scale)),
            2.5e-2);
}

TEST(PagedAttention, LengthsMayDifferByHead) {
  expect_like_reference(make_case({3, 2, 16, 8}, {600, 30}, {1, 4}, 5, /*uneven=*/257));
  expect_like_reference(make_case({3, 2, 16, 8}, {600, 30}, {40, 4}, 5, /*uneven=*/10));
}

TEST(PagedAttention, LongSequencesAndSlices) {
  expect_like_reference(make_case({1, 2, 64, 64, at::kBFloat16}, {2500}, {1}, 6));
  expect_like_reference(make_case({1, 3, 32, 64, at::kBFloat16}, {700, 300}, {200, 300}, 7));
  expect_like_reference(make_case({1, 3, 32, 64, at::kFloat}, {700, 300}, {200, 300}, 7));
  expect_like_reference(make_case({1, 3, 64, 64, at::kChar}, {700, 300}, {200, 300}, 7));
}

TEST(PagedAttention, QueriesMayHaveAnotherDtypeThanThePool) {
  Case c = make_case({2, 2, 32, 16, at::kBFloat16}, {100}, {3}, 8);
  c.q = c.q.to(at::kFloat);
  expect_like_reference(c);
  c = make_case({2, 2, 64, 16, at::kChar}, {100}, {3}, 8);
  c.q = c.q.to(at::kFloat);
  expect_like_reference(c);
}

TEST(PagedAttention, ExtremeScoresStayFinite) {
  Case c = make_case({2, 2, 32, 16}, {700}, {2}, 9);
  c.q = c.q * 300;
  AttentionProbe probe{.lse = lse_buffer(c), .logits = {}};
  const at::Tensor out = paged_attention(c.q, c.kv, c.batch, c.scale, &probe);
  EXPECT_TRUE(out.isfinite().all().item<bool>());
  EXPECT_TRUE(probe.lse.isfinite().all().item<bool>());
  EXPECT_LT(largest_difference(out, paged_attention_reference(c.q, c.kv, c.batch, c.scale)), 1e-2);
  for (int64_t group : {2, 7}) {
    Case bytes = make_case({2, group, 64, 16, at::kChar}, {700}, {2}, 9);
    bytes.q = bytes.q * 300;
    const at::Tensor of_bytes = paged_attention(bytes.q, bytes.kv, bytes.batch, bytes.scale);
    EXPECT_LT(largest_difference(of_bytes,
                                 paged_attention_reference(queries_taken(bytes), bytes.kv, bytes.batch, bytes.scale)),
              3e-2);
  }
  Case tiles = make_case({4, 2, 32, 16, at::kBFloat16}, {700}, {100}, 9);
  tiles.q = tiles.q * 300;
  EXPECT_TRUE(paged_attention(tiles.q, tiles.kv, tiles.batch, tiles.scale, nullptr, NumericMode::kFast)
                  .isfinite()
                  .all()
                  .item<bool>());
}

// Even where slots are multiplied two at a time.
TEST(PagedAttention, ARowSeesNothingOfLaterValues) {
  for (at::ScalarType dtype : {at::kBFloat16, at::kChar}) {
    for (int64_t group : {1, 2, 3, 7}) {
      SCOPED_TRACE(testing::Message() << dtype << " group " << group);
      Case c = make_case({1, group, 64, 64, dtype}, {40}, {4}, 12);
      const at::Tensor page = c.kv.v[c.pages(0)[0]][0];
      if (dtype == at::kChar) {
        page.view({-1}).narrow(0, 64 * 64 + 39 * kKvScaleBytes, kKvScaleBytes).fill_(-1);  // a scale of NaN
      } else {
        page[39].fill_(NAN);
      }
      const at::Tensor out = paged_attention(c.q, c.kv, c.batch, c.scale);
      EXPECT_TRUE(out.narrow(0, 0, 3).isfinite().all().item<bool>());
      EXPECT_TRUE(out[3].isnan().all().item<bool>());
    }
  }
}

TEST(PagedAttention, NoRows) {
  const Case c = make_case({}, {}, {}, 1);
  EXPECT_EQ(paged_attention(c.q, c.kv, c.batch, c.scale).size(0), 0);
}

TEST(PagedAttention, RefusesBadBatches) {
  Case c = make_case({}, {20}, {1}, 1);
  const auto attend = [](const Case& bad) { paged_attention(bad.q, bad.kv, bad.batch, bad.scale); };
  Case bad = c;
  bad.batch.page_table[1] = 99;
  EXPECT_THROW(attend(bad), InvariantError);
  bad = c;
  bad.batch.lengths[1] = 0;
  EXPECT_THROW(attend(bad), InvariantError);
  bad = c;
  bad.batch.row_begin[1] = 2;
  EXPECT_THROW(attend(bad), InvariantError);
  bad = c;
  bad.q = bad.q.narrow(2, 0, 6);
  EXPECT_THROW(attend(bad), InvariantError);
}

// One sequence's rows, computed at once, in slices, one by one, beside others, and with 1 or 2 threads: the same bits.
RC_GTEST_PROP(PagedAttention, ARowDependsOnItsQueryAndSlotsOnly, ()) {
  const Shape shape = {*rc::gen::inRange<int64_t>(1, 4), *rc::gen::inRange<int64_t>(1, 9),
                       *rc::gen::oneOf(rc::gen::element<int64_t>(32, 64, 96, 128),
                                       rc::gen::map(rc::gen::inRange<int64_t>(1, 40), [](int64_t n) { return 2 * n; })),
                       *rc::gen::inRange<int64_t>(1, 40), *rc::gen::element(at::kFloat, at::kBFloat16, at::kChar)};
  const int32_t rows = *rc::gen::inRange(1, 90);
  const int32_t before = *rc::gen::element(0, 1, 5, 200, 250, 256, 500, 1100);
  const int32_t neighbour = *rc::gen::inRange(1, 400);
  const Case all = make_case(shape, {before + rows, neighbour}, {rows, 1}, 77);
  AttentionProbe probe{.lse = lse_buffer(all), .logits = {}};
  const int threads = at::get_num_threads();
  at::set_num_threads(*rc::gen::inRange(1, 4));
  const at::Tensor out = paged_attention(all.q, all.kv, all.batch, all.scale, &probe);
  at::set_num_threads(threads);
  const int32_t step = *rc::gen::inRange(1, 20);
  for (int32_t begin = 0; begin < rows; begin += step) {
    const int32_t count = std::min(step, rows - begin);
    Case part = all;
    part.batch.row_begin = {0, count};
    part.batch.lengths.assign(shape.kv_heads, before + begin + count);
    part.batch.page_table.resize(part.batch.max_pages);
    part.q = all.q.narrow(0, begin, count).contiguous();
    AttentionProbe part_probe{.lse = lse_buffer(part), .logits = {}};
    const at::Tensor part_out = paged_attention(part.q, part.kv, part.batch, part.scale, &part_probe);
    RC_ASSERT(at::equal(part_out, out.narrow(0, begin, count)));
    RC_ASSERT(at::equal(part_probe.lse, probe.lse.narrow(0, begin, count)));
  }
}

TEST(PagedAttention, ColumnSumsAreSumsOfAttention) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Case c = make_case({2, 3, 24, 16, dtype}, {10, 340}, {1, 60}, 11);
    AttentionProbe probe{.lse = lse_buffer(c), .logits = {}};
    paged_attention_reference(c.q, c.kv, c.batch, c.scale, &probe);
    const at::Tensor sums = paged_attention_column_sums(c.q, probe.lse, c.kv, c.batch, 1, c.scale);
    // The same from single rows' logits.
    at::Tensor expected = at::zeros({2, 340}, at::kDouble);
    for (int32_t row = 0; row < 60; ++row) {
      Case one = c;
      one.q = c.q.narrow(0, 1 + row, 1).contiguous();
      one.batch.row_begin = {0, 1};
      one.batch.lengths = {281 + row, 281 + row};
      one.batch.page_table.erase(one.batch.page_table.begin(), one.batch.page_table.begin() + c.batch.max_pages);
      AttentionProbe logits{.lse = {}, .logits = {at::empty({6, 281 + row}, at::kFloat)}};
      paged_attention_reference(one.q, one.kv, one.batch, one.scale, &logits);
      const at::Tensor weights = at::softmax(logits.logits[0].to(at::kDouble), 1).view({2, 3, -1}).sum(1);
      expected.narrow(1, 0, 281 + row).add_(weights);
    }
    EXPECT_LT(largest_difference(sums, expected), 2e-4);
    EXPECT_NEAR(sums.sum().item<double>(), 60 * 6, 1e-2);
  }
}

TEST(PagedAttention, ColumnSumsCarriedOnDoNotDependOnSlices) {
  const Case c = make_case({2, 2, 24, 16, at::kBFloat16}, {340}, {60}, 12);
  AttentionProbe probe{.lse = lse_buffer(c), .logits = {}};
  paged_attention(c.q, c.kv, c.batch, c.scale, &probe);
  const at::Tensor whole = paged_attention_column_sums(c.q, probe.lse, c.kv, c.batch, 0, c.scale);
  at::Tensor carried = at::zeros({2, 400}, at::kFloat);
  for (int32_t begin = 0; begin < 60; begin += 13) {
    const int32_t count = std::min(13, 60 - begin);
    Case part = c;
    part.q = c.q.narrow(0, begin, count).contiguous();
    part.batch.row_begin = {0, count};
    part.batch.lengths.assign(2, 280 + begin + count);
    const at::Tensor lse = probe.lse.narrow(0, begin, count).contiguous();
    paged_attention_column_sums(part.q, lse, part.kv, part.batch, 0, part.scale, carried);
  }
  EXPECT_TRUE(at::equal(carried.narrow(1, 0, 340), whole));
  EXPECT_EQ(carried.narrow(1, 340, 60).abs().max().item<float>(), 0);
}

RC_GTEST_PROP(PagedSlots, AppendThenGatherGivesTheRowsBack, ()) {
  const Shape shape = {*rc::gen::inRange<int64_t>(1, 4), 1, 2 * *rc::gen::inRange<int64_t>(1, 6),
                       *rc::gen::inRange<int64_t>(1, 9), *rc::gen::element(at::kFloat, at::kBFloat16)};
  const auto rows = *rc::gen::container<std::vector<int32_t>>(3, rc::gen::inRange(0, 20));
  std::vector<int32_t> lengths;
  for (int32_t count : rows) lengths.push_back(count + *rc::gen::inRange(0, 20));
  const Case c = make_case(shape, lengths, rows, 5);
  const int64_t total = c.batch.row_begin.back();
  const at::Tensor k = randn({total, shape.kv_heads, shape.head_dim}, 91, shape.dtype);
  const at::Tensor v = randn({total, shape.kv_heads, shape.head_dim}, 92, shape.dtype);
  const at::Tensor before = c.kv.k.clone();
  paged_append(k, v, c.batch, c.kv);
  for (int32_t s = 0; s < 3; ++s) {
    const at::Tensor slots = at::empty({1, rows[s]}, at::kLong);
    for (int64_t i = 0; i < rows[s]; ++i) slots[0][i] = lengths[s] - rows[s] + i;
    const auto expected = [&](const at::Tensor& x) {
      return x.narrow(0, c.batch.row_begin[s], rows[s]).transpose(0, 1).to(at::kFloat);
    };
    RC_ASSERT(at::equal(gather_slots(c.kv, KvSide::kKeys, c.pages(s), slots), expected(k)));
    RC_ASSERT(at::equal(gather_slots(c.kv, KvSide::kValues, c.pages(s), slots), expected(v)));
  }
  // Nothing else changed: as many elements differ from before (NaN or not) as rows were written, at most.
  const at::Tensor changed = c.kv.k.ne(before).logical_and(c.kv.k.isnan().logical_and(before.isnan()).logical_not());
  RC_ASSERT(changed.sum().item<int64_t>() <= total * shape.kv_heads * shape.head_dim);
}

TEST(PagedSlots, RotateAndAppendIsItsPartsToTheBit) {
  const int threads = at::get_num_threads();
  at::set_num_threads(3);
  RopeFrequencies frequencies;
  for (int i = 0; i < 34; ++i) frequencies.inv_freq.push_back(std::pow(10.0F, -static_cast<float>(i) / 8));
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
    for (const bool normed : {false, true}) {
      const Case c = make_case({2, 3, 68, 16, dtype}, {70, 1, 40}, {64, 1, 0}, 5);
      const PagedKv expected{c.kv.k.clone(), c.kv.v.clone()};
      const at::Tensor q = c.q, k = randn({65, 2, 68}, 91, q.scalar_type()),
                       v = randn({65, 2, 68}, 92, q.scalar_type());
      HeadNorms norms{.eps = 1e-6};
      if (normed) norms.q = randn({68}, 93, q.scalar_type()), norms.k = randn({68}, 94, q.scalar_type());
      std::vector<int64_t> positions(65);
      std::iota(positions.begin(), positions.end(), 1000);
      const RopeAngles angles = rope_angles(frequencies, positions, at::kCPU);
      const at::Tensor q_rotated = rope(normed ? rms_norm(q, norms.q, norms.eps) : q, angles);
      const at::Tensor k_rotated = rope(normed ? rms_norm(k, norms.k, norms.eps) : k, angles);
      paged_append(k_rotated, v, c.batch, expected);
      rotate_and_append(q, k, v, norms, angles, c.batch, c.kv);
      EXPECT_TRUE(at::equal(q, q_rotated));
      EXPECT_TRUE(at::equal(k, k_rotated));
      const auto bytes = [](const at::Tensor& pool) { return pool.contiguous().view(at::kByte); };  // NaN equals NaN
      EXPECT_TRUE(at::equal(bytes(c.kv.k), bytes(expected.k)));
      EXPECT_TRUE(at::equal(bytes(c.kv.v), bytes(expected.v)));
    }
  }
  at::set_num_threads(threads);
}

TEST(PagedSlots, Int8RowsAreRoundedAsTheyAreAppendedAndMoveWithTheirScales) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t head_dim : {4, 32, 80, 128}) {
      const Case c = make_case({2, 1, head_dim, 16, at::kChar}, {24}, {9}, 5);
      at::Tensor k = randn({9, 2, head_dim}, 91, dtype), v = randn({9, 2, head_dim}, 92, dtype);
      k[2].zero_();
      v[4][1].fill_(NAN);
      paged_append(k, v, c.batch, c.kv);
      const at::Tensor slots = at::empty({1, 9}, at::kLong);
      for (int64_t i = 0; i < 9; ++i) slots[0][i] = 15 + i;
      const at::Tensor got_k = gather_slots(c.kv, KvSide::kKeys, c.pages(0), slots),
                       got_v = gather_slots(c.kv, KvSide::kValues, c.pages(0), slots);
      for (int64_t head = 0; head < 2; ++head) {
        for (int64_t i = 0; i < 9; ++i) {
          const at::Tensor want = k[i][head].to(at::kFloat);
          const float largest = want.abs().max().item<float>();
          EXPECT_LE(largest_difference(got_k[head][i], want), largest / 254 * 1.0001F);
          EXPECT_EQ(got_v[head][i].isnan().all().item<bool>(), i == 4 && head == 1);
        }
      }
      const at::Tensor numbers = at::empty({2, 9, head_dim}, at::kBFloat16), scales = at::empty({2, 9}, at::kFloat);
      gather_int8_keys(c.kv, c.pages(0), slots, numbers, scales);
      EXPECT_LE(largest_difference(numbers.to(at::kFloat).mul(scales.unsqueeze(2)), got_k),
                got_k.abs().max().item<float>() * 1e-6F);
      EXPECT_TRUE(at::equal(numbers.round().clamp(-127, 127), numbers));
      move_slots(c.kv, c.pages(0), {{-1, 23, 15}});
      EXPECT_TRUE(at::equal(gather_slots(c.kv, KvSide::kKeys, c.pages(0), slots).select(1, 0), got_k.select(1, 8)));
    }
  }
  const Case c = make_case({2, 1, 32, 16, at::kChar}, {12}, {9}, 5);
  const at::Tensor bytes = at::zeros({9, 2, 32}, at::kChar);
  EXPECT_THROW(paged_append(bytes, bytes, c.batch, c.kv), InvariantError);
}

TEST(PagedSlots, MovesHappenInOrderPerHead) {
  const Case c = make_case({2, 1, 4, 3, at::kBFloat16}, {10}, {1}, 3);
  const at::Tensor all = at::empty({1, 10}, at::kLong);
  for (int i = 0; i < 10; ++i) all[0][i] = i;
  const at::Tensor k = gather_slots(c.kv, KvSide::kKeys, c.pages(0), all),
                   v = gather_slots(c.kv, KvSide::kValues, c.pages(0), all);
  move_slots(c.kv, c.pages(0), {{0, 4, 1}, {-1, 9, 4}, {1, 4, 0}, {0, 7, 7}});
  const at::Tensor k_after = gather_slots(c.kv, KvSide::kKeys, c.pages(0), all),
                   v_after = gather_slots(c.kv, KvSide::kValues, c.pages(0), all);
  const std::vector<std::vector<int64_t>> sources = {{0, 4, 2, 3, 9, 5, 6, 7, 8, 9}, {9, 1, 2, 3, 9, 5, 6, 7, 8, 9}};
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t slot = 0; slot < 10; ++slot) {
      EXPECT_TRUE(at::equal(k_after[head][slot], k[head][sources[head][slot]]));
      EXPECT_TRUE(at::equal(v_after[head][slot], v[head][sources[head][slot]]));
    }
  }
  EXPECT_THROW(move_slots(c.kv, c.pages(0), {{0, 0, 99}}), InvariantError);
  EXPECT_THROW(move_slots(c.kv, c.pages(0), {{2, 0, 1}}), InvariantError);
}

TEST(PagedSlots, GatherTakesSlotsPerHead) {
  const Case c = make_case({2, 1, 4, 3}, {10}, {1}, 4);
  const at::Tensor slots = at::empty({2, 2}, at::kLong);
  slots[0][0] = 3, slots[0][1] = 8, slots[1][0] = 0, slots[1][1] = 5;
  const at::Tensor k = gather_slots(c.kv, KvSide::kKeys, c.pages(0), slots);
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < 2; ++i) {
      const int64_t slot = slots[head][i].item<int64_t>();
      EXPECT_TRUE(at::equal(k[head][i], c.kv.k[c.pages(0)[slot / 3]][head][slot % 3]));
    }
  }
}

}  // namespace
}  // namespace throughline::ops
