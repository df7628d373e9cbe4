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

// To whole numbers of 128, as engines make them.
int64_t TableRows(const GenerateOptions& options) {
  return CeilDiv(options.past + options.seq + 1, 128) * 128;
}

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
    FillAngles();
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
        Store(case_.address(TensorId::kX), options_.x, t * hidden + h, value);
      }
    }
  }

  void FillBias() {
    if (options_.bias == DType::kNone) return;
    for (int64_t h = 0; h < model_.hidden(); ++h) {
      // An int32 bias is in the units of the accumulator.
      const bool accumulator = options_.bias == DType::kI32 && options_.x == DType::kI32;
      const float unit = accumulator ? weight_scale_[h] * kTypicalActivationScale : 1.0f;
      Store(case_.address(TensorId::kBias), options_.bias, h, bias_[h] / unit);
    }
  }

  void FillAngles() {
    const RopeTable table(model_);
    const TensorSpec& rows = case_.spec.cos;
    const DType dtype = rows.dtype;
    const int64_t width = rows.shape[rows.rank - 1], stride = rows.stride[rows.rank - 2];
    std::vector<float> cos(width), sin(width);
    const auto fill = [&](int64_t row, int64_t position) {
      table.Row(position, cos, sin);
      for (int64_t i = 0; i < width; ++i) {
        Store(case_.address(TensorId::kCos), dtype, row * stride + i, cos[i]);
        Store(case_.address(TensorId::kSin), dtype, row * stride + i, sin[i]);
      }
    };
    for (int64_t p = 0; options_.positions && p < rows.shape[0]; ++p) fill(p, p);
    for (int64_t b = 0; b < options_.batch; ++b) {
      for (int64_t s = 0; s < options_.seq; ++s) {
        const int64_t token = b * options_.seq + s;
        if (options_.positions) {
          SetIndex(case_, TensorId::kPositions, token, starts_[b] + s);
        } else {
          fill(token, starts_[b] + s);
        }
      }
    }
  }

  // Bytes that are never 0, as fresh pages are, and no infinities or NaNs.
  void FillCaches() {
    const DType dtype = options_.cache_dtype;
    const uint64_t finite = dtype == DType::kI8    ? ~uint64_t{0}
                            : dtype == DType::kF32 ? 0xBFFFFFFFBFFFFFFFu
                                                   : 0xBFFFBFFFBFFFBFFFu;
    for (TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
      Random random = Stream(id);
      const Buffer& cache = case_[id];
      for (int64_t i = 0; i < cache.size(); i += 8) {
        const uint64_t bytes = (random.Bits() | 0x0101010101010101u) & finite;
        std::memcpy(cache.data() + i, &bytes, std::min<int64_t>(8, cache.size() - i));
      }
    }
  }

  void FillIndices() {
    const auto set = [this](int64_t i, int64_t value) {
      SetIndex(case_, TensorId::kIndices, i, value);
    };
    if (options_.cache == CacheLayout::kContiguous) {
      for (int64_t b = 0; b < options_.batch; ++b) set(b, starts_[b]);
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
        set(b * seq + s, s < seq - tail ? slot : -1);
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
    if (options_.cache_dtype != DType::kI8) return;
    const int64_t width = model_.head_dim;
    const int64_t channels = model_.kv_heads * width;
    const int64_t count = NumElements(case_.spec.scale_k);  // of v, too
    Random scale = Stream(scale_id);
    Random offset = Stream(offset_id);
    for (int64_t i = 0; i < count; ++i) {
      float reach = 0;
      for (int64_t c = i * channels / count; c < (i + 1) * channels / count; ++c) {
        reach = std::max(reach, ReachOfChannel(c, scale_id == TensorId::kScaleK));
      }
      // What many channels share would be stretched by the outliers among them: some of these
      // saturate instead, as a calibration has it.
      if (count < channels) reach /= 4;
      case_[scale_id].as<float>()[i] = reach / 127 * scale.Uniform(0.9f, 1.1f);
      if (options_.offsets) case_[offset_id].as<float>()[i] = offset.Uniform(-16.0f, 16.0f);
    }
  }

  // Of a channel of all heads of k, rotated, or of v.
  float ReachOfChannel(int64_t c, bool rotated) const {
    const int64_t width = model_.head_dim, rotary_dim = model_.rotary_dim();
    const int64_t first = model_.q_heads * width + (rotated ? 0 : model_.kv_heads * width);
    if (!rotated || c % width >= rotary_dim) return Reach(first + c);
    // A rotation mixes each channel with another.
    const bool interleaved = model_.rotation.style == RotaryStyle::kInterleaved;
    const int64_t distance = interleaved ? 1 : rotary_dim / 2;
    const bool is_first = interleaved ? c % 2 == 0 : c % width < distance;
    return std::max(Reach(first + c), Reach(first + (is_first ? c + distance : c - distance)));
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
  Spec spec = DenseSpec({.batch = options.batch,
                         .seq_len = options.seq,
                         .num_q_heads = model.q_heads,
                         .num_kv_heads = model.kv_heads,
                         .head_dim = model.head_dim,
                         .x_dtype = options.x,
                         .out_dtype = options.dtype,
                         .angles_dtype = options.angles,
                         .cache_layout = options.cache,
                         .cache_shape = {paged ? blocks + blocks / 8 + 1 : options.batch,
                                         paged ? options.block_size : length},
                         .cache_dtype = options.cache_dtype,
                         .index_dtype = options.index_dtype,
                         .num_positions = options.positions ? TableRows(options) : 0,
                         .rotary_dim = model.rotation.dim,
                         .rotary_style = model.rotation.style,
                         .half_width_angles = options.half_width,
                         .kv_output = options.kv_output,
                         .offsets = options.offsets,
                         .activation_scale = options.x == DType::kI32,
                         .bias_dtype = options.bias});
  if (options.packed) Pack(&spec);
  if (options.scales != Scales::kChannel) {
    const TensorSpec shared = options.scales == Scales::kHead
                                  ? Dense(DType::kF32, {model.kv_heads, 1})
                                  : Dense(DType::kF32, {1});
    for (TensorSpec* tensor : {&spec.scale_k, &spec.scale_v, &spec.offset_k, &spec.offset_v}) {
      if (tensor->present()) *tensor = shared;
    }
  }
  return spec;
}

Case Generate(const GenerateOptions& options) { return Generator(options).Make(); }

}  // namespace ropekv::workload
