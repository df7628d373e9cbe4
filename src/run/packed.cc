// SPDX-License-Identifier: Apache-2.0
#include "run/packed.h"

#include <algorithm>
#include <cstring>

#include "plan/plan.h"
#include "run/rows.h"

namespace ropekv::internal {
namespace {

// Channels of a row in memory, of which element 0 belongs to channel 0 of a head.
template <class Byte>
struct Channels {
  Byte* data = nullptr;  // null: absent
  int64_t stride_bytes = 0;
  int64_t element_bytes = 0;
};

// Pairs [first, first + count) of a head with this half: the dense buffer has their lower channels,
// then, `room` channels on, their upper ones.
struct Block {
  int64_t first, count, half, room;
};

// Calls move(strided, dense) for each channel of the block.
template <class Byte, class Move>
void ForChannels(const Channels<Byte>& channels, const Block& block, const Move& move) {
  for (const int64_t upper : {0, 1}) {
    Byte* strided = channels.data + (block.first + upper * block.half) * channels.stride_bytes;
    int64_t dense = upper * block.room * channels.element_bytes;
    for (int64_t i = 0; i < block.count; ++i) {
      move(strided, dense);
      strided += channels.stride_bytes;
      dense += channels.element_bytes;
    }
  }
}

// The dense copy of a block, as a kernel sees it: a head of its own.
class Buffer {
 public:
  const void* Pack(const Channels<const char>& channels, const Block& block) {
    if (channels.data == nullptr) return nullptr;
    ForChannels(channels, block, [&](const char* strided, int64_t dense) {
      std::memcpy(bytes_ + dense, strided, static_cast<size_t>(channels.element_bytes));
    });
    return bytes_;
  }
  void Unpack(const Channels<char>& channels, const Block& block) const {
    ForChannels(channels, block, [&](char* strided, int64_t dense) {
      std::memcpy(strided, bytes_ + dense, static_cast<size_t>(channels.element_bytes));
    });
  }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(bytes_);
  }

 private:
  // Zeroed, because a block may have more room than channels.
  alignas(kLineBytes) char bytes_[kMaxPackedHeadDim * 4] = {};
};

class PackedWalk {
 public:
  PackedWalk(const PlanData& plan, const Args& args) : plan_(plan), rows_(plan, args) {}

  void Token(int64_t token) {
    const Sizes& sizes = plan_.sizes;
    const int64_t before_v = sizes.num_q_heads + sizes.num_kv_heads;
    for (int64_t head = 0; head < sizes.num_q_heads; ++head) {
      Head(token, head, head, &KernelCall::q, TensorId::kQ, {});
    }
    for (int64_t head = 0; head < sizes.num_kv_heads; ++head) {
      Head(token, sizes.num_q_heads + head, head, &KernelCall::k, TensorId::kK,
           {TensorId::kKCache, TensorId::kScaleK, TensorId::kOffsetK});
      Head(token, before_v + head, head, &KernelCall::v, TensorId::kV,
           {TensorId::kVCache, TensorId::kScaleV, TensorId::kOffsetV});
    }
  }

 private:
  struct CacheTensors {
    TensorId cache = TensorId::kNoTensor;
    TensorId scale = TensorId::kNoTensor;
    TensorId offset = TensorId::kNoTensor;
  };

  // A tensor's channels from `from` on.
  template <class Byte>
  Channels<Byte> ChannelsOf(TensorId id, Byte* from) const {
    const int64_t bytes =
        ElementBytes((plan_.normalised.*kTensorFields[static_cast<size_t>(id)].spec).dtype);
    return {from, plan_.axes_of(id).channel * bytes, bytes};
  }
  // Of weights, those of a head: `channel` counts over all heads where there is no axis of heads.
  Channels<const char> WeightOf(TensorId id, int64_t head, int64_t channel) const {
    Channels<const char> channels = ChannelsOf(id, static_cast<const char*>(rows_.Weight(id)));
    if (channels.data == nullptr) return channels;
    channels.data +=
        plan_.axes_of(id).head * head * channels.element_bytes + channel * channels.stride_bytes;
    return channels;
  }

  // Head `in_x` of x is head `head` of the part.
  void Head(int64_t token, int64_t in_x, int64_t head, PartCall KernelCall::*part, TensorId out,
            CacheTensors tensors) {
    const int64_t channel = in_x * plan_.sizes.head_dim;
    auto x = ChannelsOf(TensorId::kX, static_cast<const char*>(rows_.Input(TensorId::kX, token)));
    x.data += channel * x.stride_bytes;
    const auto angles = [&](TensorId id) {
      return ChannelsOf(id, static_cast<const char*>(rows_.Input(id, token)));
    };
    const auto to = ChannelsOf(out, static_cast<char*>(rows_.Output(out, token, head)));
    Channels<char> cache;
    if (tensors.cache != TensorId::kNoTensor) {
      int8_t* row = nullptr;
      rows_.Cache(tensors.cache, token, 1, head, &row);
      cache = ChannelsOf(tensors.cache, reinterpret_cast<char*>(row));
    }

    const int64_t half = plan_.sizes.head_dim / 2, room = plan_.kernel_head_dim / 2;
    for (int64_t first = 0; first < half; first += room) {
      const Block block = {first, std::min(room, half - first), half, room};
      KernelCall call;
      call.num_tokens = 1;
      call.head_dim = plan_.kernel_head_dim;
      call.x = x_.Pack(x, block);
      const void* cos = cos_.Pack(angles(TensorId::kCos), block);
      const void* sin = sin_.Pack(angles(TensorId::kSin), block);
      call.cos = &cos;
      call.sin = &sin;
      call.weight_scale = static_cast<const float*>(
          weight_scale_.Pack(WeightOf(TensorId::kWeightScale, 0, channel), block));
      call.activation_scale =
          static_cast<const float*>(rows_.Input(TensorId::kActivationScale, token));
      call.bias = bias_.Pack(WeightOf(TensorId::kBias, 0, channel), block);
      call.bias_dtype = plan_.normalised.bias.dtype;
      PartCall& one = call.*part;
      one.num_heads = 1;
      if (to.data) one.out = out_.as<char>();
      int8_t* row = cache.data ? row_.as<int8_t>() : nullptr;
      one.cache_rows = &row;
      if (tensors.cache != TensorId::kNoTensor) {
        one.scale = {
            static_cast<const float*>(scale_.Pack(WeightOf(tensors.scale, head, 0), block)), 0, 1};
        one.offset = {
            static_cast<const float*>(offset_.Pack(WeightOf(tensors.offset, head, 0), block)), 0,
            1};
        one.tables = {tables_[0], tables_[1]};
        if (!plan_.kernel.exact) plan_.kernel.prepare(one, call.head_dim);
      }
      plan_.kernel.run(call);
      if (to.data) out_.Unpack(to, block);
      if (row) row_.Unpack(cache, block);
    }
  }

  const PlanData& plan_;
  Rows rows_;
  Buffer x_, cos_, sin_, weight_scale_, bias_, scale_, offset_, out_, row_;
  // A step that does not fit is there twice.
  alignas(kLineBytes) float tables_[2][kMaxPackedHeadDim + 64];
};

}  // namespace

void WalkPacked(const PlanData& plan, const Args& args, TokenRange range) {
  PackedWalk walk(plan, args);
  for (int64_t token = range.begin; token < range.end; ++token) walk.Token(token);
}

}  // namespace ropekv::internal
