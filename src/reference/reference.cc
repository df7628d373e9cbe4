// SPDX-License-Identifier: Apache-2.0
#include "reference/reference.h"

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "reference/number_formats.h"

namespace ropekv::reference {
namespace {

template <class T>
T ReadAs(const void* data, int64_t element) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + element * static_cast<int64_t>(sizeof(T)),
              sizeof(T));
  return value;
}

int64_t ElementAt(const TensorSpec& tensor, std::initializer_list<int64_t> index) {
  int64_t element = 0;
  int dim = 0;
  for (const int64_t i : index) element += i * tensor.stride[dim++];
  return element;
}

// Entry n in row-major order of a tensor of integers with one or two dimensions.
int64_t ReadEntry(const TensorSpec& tensor, const void* data, int64_t n) {
  const int64_t element = tensor.rank == 1
                              ? ElementAt(tensor, {n})
                              : ElementAt(tensor, {n / tensor.shape[1], n % tensor.shape[1]});
  return tensor.dtype == DType::kI64 ? ReadAs<int64_t>(data, element)
                                     : ReadAs<int32_t>(data, element);
}

float ReadFloat(const TensorSpec& tensor, const void* data, int64_t element) {
  switch (tensor.dtype) {
    case DType::kF16: return Decode(kBinary16, ReadAs<uint16_t>(data, element));
    case DType::kBF16: return Decode(kBfloat16, ReadAs<uint16_t>(data, element));
    default: return ReadAs<float>(data, element);
  }
}

template <class T>
void WriteAs(void* data, int64_t element, T value) {
  std::memcpy(static_cast<char*>(data) + element * static_cast<int64_t>(sizeof(T)), &value,
              sizeof(T));
}

// Rounds once, to the dtype of the tensor.
void WriteFloat(const TensorSpec& tensor, void* data, int64_t element, float value) {
  switch (tensor.dtype) {
    case DType::kF16: return WriteAs(data, element, Encode(kBinary16, value));
    case DType::kBF16: return WriteAs(data, element, Encode(kBfloat16, value));
    default: return WriteAs(data, element, value);
  }
}

// The arithmetic of the contract while alive, then the caller's again, also after a bad_alloc.
class DefaultEnvironment {
 public:
  DefaultEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultEnvironment() { std::fesetenv(&saved_); }
  DefaultEnvironment(const DefaultEnvironment&) = delete;
  DefaultEnvironment& operator=(const DefaultEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

class Operator {
 public:
  Operator(const Spec& spec, const Args& args)
      : spec_(spec),
        args_(args),
        has_seq_(spec.x.rank == 3),
        seq_len_(has_seq_ ? spec.x.shape[1] : 1),
        kv_heads_(spec.k_cache.shape[2]),
        head_dim_(spec.k_cache.shape[3]),
        q_heads_(spec.size_splits[0] / head_dim_),
        rotary_dim_(spec.rotary_dim == 0 ? head_dim_ : spec.rotary_dim),
        half_width_(spec.cos.shape[spec.cos.rank - 1] == rotary_dim_ / 2),
        half_arithmetic_(spec.numerics == Numerics::kAscend && spec.cos.dtype == DType::kF16),
        head_(static_cast<size_t>(head_dim_)),
        rotated_(head_.size()) {}

  void Token(int64_t token) {
    token_ = token;
    b_ = token / seq_len_;
    s_ = token % seq_len_;
    for (int64_t n = 0; n < q_heads_; ++n) {
      ReadHead(n);
      Rotate();
      WriteHead(spec_.q, args_.q, n, rotated_);
    }
    for (int64_t n = 0; n < kv_heads_; ++n) {
      ReadHead(q_heads_ + n);
      Rotate();
      if (spec_.kv_output) WriteHead(spec_.k, args_.k, n, rotated_);
      Cache(spec_.k_cache, args_.k_cache, spec_.scale_k, args_.scale_k, spec_.offset_k,
            args_.offset_k, n, rotated_);
      ReadHead(q_heads_ + kv_heads_ + n);
      if (spec_.kv_output) WriteHead(spec_.v, args_.v, n, head_);
      Cache(spec_.v_cache, args_.v_cache, spec_.scale_v, args_.scale_v, spec_.offset_v,
            args_.offset_v, n, head_);
    }
  }

 private:
  // Steps 1 to 5, for channel h.
  float Dequantise(int64_t h) const {
    const int64_t element =
        has_seq_ ? ElementAt(spec_.x, {b_, s_, h}) : ElementAt(spec_.x, {b_, h});
    if (spec_.x.dtype != DType::kI32) return ReadFloat(spec_.x, args_.x, element);

    const bool has_bias = spec_.bias.present();
    const int64_t bias_at = has_bias ? ElementAt(spec_.bias, {h}) : 0;
    uint32_t accumulator = ReadAs<uint32_t>(args_.x, element);
    if (has_bias && spec_.bias.dtype == DType::kI32) {
      accumulator += ReadAs<uint32_t>(args_.bias, bias_at);
    }
    float value = static_cast<float>(static_cast<int32_t>(accumulator));
    value = value *
            ReadFloat(spec_.weight_scale, args_.weight_scale, ElementAt(spec_.weight_scale, {h}));
    if (spec_.activation_scale.present()) {
      value = value * ReadFloat(spec_.activation_scale, args_.activation_scale,
                                ElementAt(spec_.activation_scale, {token_}));
    }
    if (has_bias && spec_.bias.dtype != DType::kI32) {
      value = value + ReadFloat(spec_.bias, args_.bias, bias_at);
    }
    return value;
  }

  void ReadHead(int64_t head) {
    for (int64_t i = 0; i < head_dim_; ++i) head_[i] = Dequantise(head * head_dim_ + i);
  }

  // Rounds to the arithmetic the rotation is done in.
  float Step(float value) const {
    return half_arithmetic_ ? Decode(kBinary16, Encode(kBinary16, value)) : value;
  }

  // The cos or sin for `channel`, which belongs to pair `pair`.
  float Angle(const TensorSpec& table, const void* data, int64_t pair, int64_t channel) const {
    const int64_t i = half_width_ ? pair : channel;
    int64_t element = 0;
    if (spec_.positions.present()) {
      element = ElementAt(table, {ReadEntry(spec_.positions, args_.positions, token_), i});
    } else {
      element = has_seq_ ? ElementAt(table, {b_, s_, 0, i}) : ElementAt(table, {b_, i});
    }
    return ReadFloat(table, data, element);
  }

  // Step 6.
  void Rotate() {
    rotated_ = head_;
    const int64_t pairs = rotary_dim_ / 2;
    for (int64_t i = 0; i < pairs; ++i) {
      const bool interleaved = spec_.rotary_style == RotaryStyle::kInterleaved;
      const int64_t a = interleaved ? 2 * i : i;
      const int64_t b = interleaved ? 2 * i + 1 : i + pairs;
      const float first = Step(head_[a]);
      const float second = Step(head_[b]);
      const float first_cos = Step(first * Angle(spec_.cos, args_.cos, i, a));
      const float second_sin = Step(second * Angle(spec_.sin, args_.sin, i, a));
      const float second_cos = Step(second * Angle(spec_.cos, args_.cos, i, b));
      const float first_sin = Step(first * Angle(spec_.sin, args_.sin, i, b));
      rotated_[a] = Step(first_cos - second_sin);
      rotated_[b] = Step(second_cos + first_sin);
    }
  }

  // Step 7.
  void WriteHead(const TensorSpec& tensor, void* data, int64_t head,
                 const std::vector<float>& values) const {
    for (int64_t i = 0; i < head_dim_; ++i) {
      const int64_t element =
          has_seq_ ? ElementAt(tensor, {b_, s_, head, i}) : ElementAt(tensor, {b_, head, i});
      WriteFloat(tensor, data, element, values[i]);
    }
  }

  // Steps 9 to 12.
  static int8_t Quantise(float value, float scale, const float* offset) {
    float level = value / scale;
    if (offset) level = level + *offset;
    if (std::isnan(level)) return 0;
    return static_cast<int8_t>(std::nearbyint(std::clamp(level, -128.0f, 127.0f)));
  }

  // A scale or offset: one for all, for each head, or for each channel.
  float Parameter(const TensorSpec& tensor, const void* data, int64_t head, int64_t i) const {
    int64_t element = 0;
    if (tensor.rank == 1) {
      element = tensor.shape[0] == 1 ? 0 : ElementAt(tensor, {head * head_dim_ + i});
    } else {
      element = ElementAt(tensor, {head, tensor.shape[1] == 1 ? 0 : i});
    }
    return ReadFloat(tensor, data, element);
  }

  // Step 8: the values of one head go where `indices` says.
  void Cache(const TensorSpec& cache, void* data, const TensorSpec& scale, const void* scale_data,
             const TensorSpec& offset, const void* offset_data, int64_t head,
             const std::vector<float>& values) const {
    int64_t c1 = b_;
    int64_t c2 = 0;
    if (spec_.cache_layout == CacheLayout::kPaged) {
      const int64_t slot = ReadEntry(spec_.indices, args_.indices, token_);
      if (slot < 0) return;
      c1 = slot / cache.shape[1];
      c2 = slot % cache.shape[1];
    } else {
      c2 = ReadEntry(spec_.indices, args_.indices, b_) + s_;
    }
    for (int64_t i = 0; i < head_dim_; ++i) {
      const int64_t element = ElementAt(cache, {c1, c2, head, i});
      if (cache.dtype != DType::kI8) {
        WriteFloat(cache, data, element, values[i]);
        continue;
      }
      const float divisor = Parameter(scale, scale_data, head, i);
      const float shift = offset.present() ? Parameter(offset, offset_data, head, i) : 0.0f;
      WriteAs(data, element, Quantise(values[i], divisor, offset.present() ? &shift : nullptr));
    }
  }

  const Spec& spec_;
  const Args& args_;
  const bool has_seq_;
  const int64_t seq_len_;
  const int64_t kv_heads_;
  const int64_t head_dim_;
  const int64_t q_heads_;
  const int64_t rotary_dim_;
  const bool half_width_;  // both channels of a pair share an entry of cos and sin
  const bool half_arithmetic_;
  int64_t token_ = 0;
  int64_t b_ = 0;
  int64_t s_ = 0;
  // Of one head; allocated before anything is written.
  std::vector<float> head_;
  std::vector<float> rotated_;
};

}  // namespace

void Compute(const Spec& spec, const Args& args, int64_t begin, int64_t end) {
  // Where there is nothing to write, heads may be longer than any memory.
  if (begin == end || spec.x.shape[spec.x.rank - 1] == 0) return;
  const DefaultEnvironment environment;
  Operator op(spec, args);
  for (int64_t token = begin; token < end; ++token) op.Token(token);
}

}  // namespace ropekv::reference
