#include "model/synth.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/files.h"
#include "base/rng.h"
#include "model/save.h"

namespace throughline {
namespace {

constexpr SynthShape kShapes[] = {
    {"qwen3-0.6b", "Qwen3-0.6B: 28 layers, hidden 1024, 16 / 8 heads of 128, tied"},
    {"r1-distill-qwen-1.5b", "DeepSeek-R1-Distill-Qwen-1.5B: 28 layers, hidden 1536, 12 / 2 heads of 128"},
    {"r1-distill-qwen-7b", "DeepSeek-R1-Distill-Qwen-7B: 28 layers, hidden 3584, 28 / 4 heads of 128"},
};

constexpr int64_t kPieceElements = 4 << 20;  // 8 MiB of bf16
constexpr int64_t kBlocksPerThread = 1 << 12;

ModelConfig qwen3_06b() {
  ModelConfig c;
  c.family = ModelFamily::kQwen3;
  c.hidden = 1024, c.layers = 28, c.q_heads = 16, c.kv_heads = 8, c.head_dim = 128, c.ffn = 3072, c.vocab = 151936;
  c.max_positions = 40960, c.tied_embeddings = true, c.qk_norm = true;
  c.rope.theta = 1e6;
  c.bos_id = 151643, c.eos_ids = {151645};
  return c;
}

ModelConfig r1_distill_qwen(int64_t hidden, int64_t q_heads, int64_t kv_heads, int64_t ffn, int64_t vocab) {
  ModelConfig c;
  c.family = ModelFamily::kQwen2;
  c.hidden = hidden, c.layers = 28, c.q_heads = q_heads, c.kv_heads = kv_heads, c.head_dim = 128, c.ffn = ffn;
  c.vocab = vocab, c.max_positions = 131072, c.qkv_bias = true;
  c.rope.theta = 10000;
  c.bos_id = 151646, c.eos_ids = {151643};
  return c;
}

struct DtypeName {
  const char* option;
  const char* config;
  TensorDtype file;
};
constexpr std::array<DtypeName, 3> kDtypeNames = {{{"fp32", "float32", TensorDtype::kF32},
                                                   {"fp16", "float16", TensorDtype::kF16},
                                                   {"bf16", "bfloat16", TensorDtype::kBF16}}};

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Values of a tensor: `center` + uniform in [-spread, spread].
struct Distribution {
  float center = 0, spread = 0;
};

Distribution distribution_of(const NamedShape& tensor, const ModelConfig& config) {
  if (ends_with(tensor.name, "norm.weight")) return {1, 0};
  if (ends_with(tensor.name, ".bias")) return {0, 0.1F};
  double deviation = 1 / std::sqrt(static_cast<double>(tensor.shape.back()));
  if (ends_with(tensor.name, "o_proj.weight") || ends_with(tensor.name, "down_proj.weight"))
    deviation /= std::sqrt(2.0 * static_cast<double>(config.layers));
  return {0, static_cast<float>(deviation * std::sqrt(3.0))};
}

void store(float value, float* out) { *out = value; }
void store(float value, c10::BFloat16* out) { *out = value; }
void store(float value, c10::Half* out) { *out = value; }

// Elements [begin, begin + count) of tensor number `index`; one Philox block gives four. REQUIRES: begin % 4 == 0.
template <class T>
void fill(uint64_t seed, uint32_t index, const Distribution& d, int64_t begin, int64_t count, T* out) {
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  at::parallel_for(0, (count + 3) / 4, kBlocksPerThread, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) {
      const auto place = static_cast<uint64_t>(begin / 4 + b);
      const auto block = philox4x32({static_cast<uint32_t>(place), static_cast<uint32_t>(place >> 32), index,
                                     static_cast<uint32_t>(RngPurpose::kSynth)},
                                    key);
      for (int64_t i = 4 * b; i < std::min(4 * b + 4, count); ++i) {
        const float unit = static_cast<float>(static_cast<int32_t>(block[i % 4])) * 0x1p-31F;  // [-1, 1]
        store(d.center + d.spread * unit, out + i);
      }
    }
  });
}

void fill_bytes(TensorDtype dtype, uint64_t seed, uint32_t index, const Distribution& d, int64_t begin, int64_t count,
                std::byte* out) {
  if (dtype == TensorDtype::kF32) return fill(seed, index, d, begin, count, reinterpret_cast<float*>(out));
  if (dtype == TensorDtype::kF16) return fill(seed, index, d, begin, count, reinterpret_cast<c10::Half*>(out));
  fill(seed, index, d, begin, count, reinterpret_cast<c10::BFloat16*>(out));
}

}  // namespace

std::span<const SynthShape> synth_shapes() { return kShapes; }

Result<ModelConfig> synth_config(const SynthOptions& options) {
  ModelConfig config;
  if (options.shape == "qwen3-0.6b") {
    config = qwen3_06b();
  } else if (options.shape == "r1-distill-qwen-1.5b") {
    config = r1_distill_qwen(1536, 12, 2, 8960, 151936);
  } else if (options.shape == "r1-distill-qwen-7b") {
    config = r1_distill_qwen(3584, 28, 4, 18944, 152064);
  } else if (file_exists(options.shape)) {
    TL_TRY(config, load_config_file(options.shape));
  } else {
    std::string names;
    for (const SynthShape& shape : kShapes) names += std::string(shape.name) + ", ";
    return Error{fmt::format("\"{}\" is neither a known shape nor a file", options.shape), "--shape",
                 "use one of: " + names + "or the path of a config.json"};
  }
  if (options.dtype.empty()) {
    if (config.dtype.empty()) config.dtype = "bfloat16";
    return config;
  }
  for (const DtypeName& name : kDtypeNames) {
    if (options.dtype != name.option) continue;
    config.dtype = name.config;
    return config;
  }
  return Error{fmt::format("\"{}\" is not supported", options.dtype), "--dtype", "use fp32, fp16 or bf16"};
}

Status synthesize(const SynthOptions& options, const std::function<bool(uint64_t, uint64_t)>& progress) {
  TL_TRY(const ModelConfig config, synth_config(options));
  const auto* row = std::find_if(kDtypeNames.begin(), kDtypeNames.end(),
                                 [&](const DtypeName& name) { return config.dtype == name.config; });
  const TensorDtype dtype = row->file;
  const std::vector<NamedShape> tensors = model_tensors(config);
  std::vector<TensorInfo> infos;
  for (const NamedShape& tensor : tensors) infos.push_back(TensorInfo{tensor.name, dtype, tensor.shape, 0, 0});
  TL_TRY(auto writer, ModelWriter::create(options.output, infos, options.max_shard_bytes));
  std::vector<std::byte> piece(static_cast<size_t>(kPieceElements) * dtype_bytes(dtype));
  uint64_t done = 0;
  for (size_t t = 0; t < tensors.size(); ++t) {
    int64_t elements = 1;
    for (const int64_t n : tensors[t].shape) elements *= n;
    const Distribution distribution = distribution_of(tensors[t], config);
    for (int64_t begin = 0; begin < elements; begin += kPieceElements) {
      const int64_t count = std::min(kPieceElements, elements - begin);
      fill_bytes(dtype, options.seed, static_cast<uint32_t>(t), distribution, begin, count, piece.data());
      const size_t bytes = static_cast<size_t>(count) * dtype_bytes(dtype);
      TL_TRY_STATUS(writer.write({piece.data(), bytes}));
      done += bytes;
      if (progress && !progress(done, writer.total_bytes()))
        return Error{"stopped before the checkpoint was complete", options.output, "remove the folder or run again"};
    }
  }
  return writer.finish(config);
}

}  // namespace throughline
