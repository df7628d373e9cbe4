// SPDX-License-Identifier: Apache-2.0
#include "workload/generate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "workload/encode.h"
#include "workload/random.h"
#include "workload/rope_table.h"

namespace ropekv::workload {
namespace {

constexpr float kTypicalActivationScale = 0.02f;
// The stream that channels are drawn from. No tensor's: positions are not drawn.
constexpr auto kChannelStream = static_cast<uint64_t>(TensorId::kPositions);

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t BlocksPerSequence(const GenerateOptions& options) {
  return CeilDiv(options.past + options.seq, options.block_size);
}

// Fills the buffers of one case. Each tensor draws from a stream of its own, so that an option
// changes only the tensors it is about.
class Generator {
 public:
  explicit Generator(const GenerateOptions& options)
      : options_(options),
        model_(options.model),
        case_(Allocate(MakeSpec(options))),
        placement_(Stream(TensorId::kIndices)) {}

  Case Make() && {
    DrawChannels();
    DrawStarts();
    if (options_.x == DType::kI32) FillDequantScales();
    FillX();
    FillBias();
    FillRopeRows();
    FillCaches();
    FillIndices();
    FillQuantScales(TensorId::kScaleK, TensorId::kOffsetK);
    FillQuantScales(TensorId::kScaleV, TensorId::kOffsetV);
    return std::move(case_);
  }

 private:
  Random Stream(TensorId id) const { return Random(options_.seed, static_cast<uint64_t>(id)); }

  // How far each of the H channels spreads, and where its bias puts it.
  void DrawChannels() {
    Random random(options_.seed, kChannelStream);
    for (int64_t h = 0; h < model_.hidden(); ++h) {
      const float outlier = random.Below(17) == 0 ? 8.0f : 1.0f;
      deviation_.push_back(outlier * random.Uniform(0.5f, 1.5f));
      const float bias = random.Uniform(-0.5f, 0.5f);
      bias_.push_back(random.Below(17) == 0 ? bias * 16 : bias);
    }
  }

  void DrawStarts() {
    for (int64_t b = 0; b < options_.batch; ++b) {
      const int64_t shorter = placement_.Below(options_.past / 2 + 1);
      starts_.push_back(b == 0 ? options_.past : options_.past - shorter);
    }
  }

  void FillDequantScales() {
    Random weight = Stream(TensorId::kWeightScale);
    for (int64_t h = 0; h < model_.hidden(); ++h) {
      weight_scale_.push_back(weight.Uniform(0.0005f, 0.002f));
    }
    std::copy(weight_scale_.begin(), weight_scale_.end(),
              case_[TensorId::kWeightScale].as<float>());
    Random activation = Stream(TensorId::kActivationScale);
    for (int64_t t = 0; t < options_.batch * options_.seq; ++t) {
      case_[TensorId::kActivationScale].as<float>()[t] =
          kTypicalActivationScale * activation.Uniform(0.5f, 1.5f);
    }
  }

  void FillX() {
    Random random = Stream(TensorId::kX);
    const bool quantised = options_.x == DType::kI32;
    const int64_t hidden = model_.hidden();
    for (int64_t t = 0; t < options_.batch * options_.seq; ++t) {
      const float step = quantised ? case_[TensorId::kActivationScale].as<float>()[t] : 1.0f;
      for (int64_t h = 0; h < hidden; ++h) {
        float value = random.Normal() * deviation_[h];
        if (quantised) value /= weight_scale_[h] * step;
        Store(case_[TensorId::kX], options_.x, t * hidden + h, value);
      }
    }
  }

  void FillBias() {
    if (options_.bias == DType::kNone) return;
    for (int64_t h = 0; h < model_.hidden(); ++h) {
      // An int32 bias is in the units of the accumulator.
      const bool accumulator = options_.bias == DType::kI32 && options_.x == DType::kI32;
      const float unit = accumulator ? weight_scale_[h] * kTypicalActivationScale : 1.0f;
      Store(case_[TensorId::kBias], options_.bias, h, bias_[h] / unit);
    }
  }

  void FillRopeRows() {
    const RopeTable table(model_);
    const int64_t width = model_.head_dim;
    std::vector<float> cos(width), sin(width);
    for (int64_t b = 0; b < options_.batch; ++b) {
      for (int64_t s = 0; s < options_.seq; ++s) {
        table.Row(starts_[b] + s, cos, sin);
        const int64_t row = (b * options_.seq + s) * width;
        for (int64_t i = 0; i < width; ++i) {
          Store(case_[TensorId::kCos], options_.dtype, row + i, cos[i]);
          Store(case_[TensorId::kSin], options_.dtype, row + i, sin[i]);
        }
      }
    }
  }

  // Bytes that are never 0, as fresh pages are.
  void FillCaches() {
    for (TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
      Random random = Stream(id);
      const Buffer& cache = case_[id];
      for (int64_t i = 0; i < cache.size(); i += 8) {
        const uint64_t bytes = random.Bits() | 0x0101010101010101u;
        std::memcpy(cache.data() + i, &bytes, std::min<int64_t>(8, cache.size() - i));
      }
    }
  }

  void FillIndices() {
    int32_t* indices = case_[TensorId::kIndices].as<int32_t>();
    if (options_.cache == CacheLayout::kContiguous) {
      std::copy(starts_.begin(), starts_.end(), indices);
      return;
    }
    const std::vector<int64_t> blocks = ShuffledBlocks();
    const int64_t seq = options_.seq;
    const int64_t idle_rows = seq < 8 ? options_.batch / 8 : 0;  // as a decode batch is padded
    for (int64_t b = 0; b < options_.batch; ++b) {
      const int64_t tail = b >= options_.batch - idle_rows ? seq : placement_.Below(seq / 8 + 1);
      for (int64_t s = 0; s < seq; ++s) {
        const int64_t position = starts_[b] + s;
        const int64_t block =
            blocks[b * BlocksPerSequence(options_) + position / options_.block_size];
        const int64_t slot = block * options_.block_size + position % options_.block_size;
        indices[b * seq + s] = s < seq - tail ? static_cast<int32_t>(slot) : -1;
      }
    }
  }

  std::vector<int64_t> ShuffledBlocks() {
    std::vector<int64_t> blocks(case_.spec.k_cache.shape[0]);
    std::iota(blocks.begin(), blocks.end(), 0);
    for (int64_t i = static_cast<int64_t>(blocks.size()) - 1; i > 0; --i) {
      std::swap(blocks[i], blocks[placement_.Below(i + 1)]);
    }
    return blocks;
  }

  void FillQuantScales(TensorId scale_id, TensorId offset_id) {
    const bool rotated = scale_id == TensorId::kScaleK;
    const int64_t width = model_.head_dim;
    const int64_t channels = model_.kv_heads * width;
    const int64_t first = model_.q_heads * width + (rotated ? 0 : channels);
    Random scale = Stream(scale_id);
    Random offset = Stream(offset_id);
    for (int64_t c = 0; c < channels; ++c) {
      // A rotation mixes each channel with the one half a head away.
      const int64_t partner = c % width < width / 2 ? c + width / 2 : c - width / 2;
      const float reach =
          rotated ? std::max(Reach(first + c), Reach(first + partner)) : Reach(first + c);
      case_[scale_id].as<float>()[c] = reach / 127 * scale.Uniform(0.9f, 1.1f);
      if (options_.offsets) case_[offset_id].as<float>()[c] = offset.Uniform(-16.0f, 16.0f);
    }
  }

  float Reach(int64_t h) const {
    const bool biased = options_.bias != DType::kNone && options_.x == DType::kI32;
    return 2.4f * deviation_[h] + (biased ? std::abs(bias_[h]) : 0.0f);
  }

  const GenerateOptions& options_;
  const Model& model_;
  Case case_;
  Random placement_;
  std::vector<float> deviation_, bias_, weight_scale_;
  std::vector<int64_t> starts_;
};

}  // namespace

Spec MakeSpec(const GenerateOptions& options) {
  const Model& model = options.model;
  // Some blocks belong to nobody; a contiguous cache has room to grow.
  const int64_t blocks = options.batch * BlocksPerSequence(options);
  const int64_t length = CeilDiv(options.past + options.seq + 1, 128) * 128;
  const bool paged = options.cache == CacheLayout::kPaged;
  return DenseSpec({.batch = options.batch,
                    .seq_len = options.seq,
                    .num_q_heads = model.q_heads,
                    .num_kv_heads = model.kv_heads,
                    .head_dim = model.head_dim,
                    .x_dtype = options.x,
                    .out_dtype = options.dtype,
                    .cache_layout = options.cache,
                    .cache_shape = {paged ? blocks + blocks / 8 + 1 : options.batch,
                                    paged ? options.block_size : length},
                    .kv_output = options.kv_output,
                    .offsets = options.offsets,
                    .activation_scale = options.x == DType::kI32,
                    .bias_dtype = options.bias});
}

Case Generate(const GenerateOptions& options) { return Generator(options).Make(); }

}  // namespace ropekv::workload
