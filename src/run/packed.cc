// SPDX-License-Identifier: Apache-2.0
#include "run/packed.h"

#include <algorithm>
#include <cstddef>
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

// Channels of a part of a head that go through a dense buffer together, and the places where they
// are in it.
struct Block {
  int64_t count = 0;
  int64_t channel[kMaxPackedHeadDim];
  int64_t place[kMaxPackedHeadDim];

  void Add(int64_t from_channel, int64_t from_place, int64_t channels) {
    for (int64_t i = 0; i < channels; ++i, ++count) {
      channel[count] = from_channel + i;
      place[count] = from_place + i;
    }
  }
};

// The dense copy of a block, as a kernel sees it: a head of its own.
class Buffer {
 public:
  // entry(channel) is where it is in memory.
  template <class Entry>
  const void* Pack(const Channels<const char>& channels, const Block& block, const Entry& entry) {
    if (channels.data == nullptr) return nullptr;
    for (int64_t i = 0; i < block.count; ++i) {
      std::memcpy(bytes_ + block.place[i] * channels.element_bytes,
                  channels.data + entry(block.channel[i]) * channels.stride_bytes,
                  static_cast<size_t>(channels.element_bytes));
    }
    return bytes_;
  }
  const void* Pack(const Channels<const char>& channels, const Block& block) {
    return Pack(channels, block, [](int64_t channel) { return channel; });
  }
  void Unpack(const Channels<char>& channels, const Block& block) const {
    for (int64_t i = 0; i < block.count; ++i) {
      std::memcpy(channels.data + block.channel[i] * channels.stride_bytes,
                  bytes_ + block.place[i] * channels.element_bytes,
                  static_cast<size_t>(channels.element_bytes));
    }
  }
  void* data() { return bytes_; }

 private:
  // Zeroed, because a block may have more room than channels.
  alignas(kLineBytes) char bytes_[kMaxPackedHeadDim * 4] = {};
};

class PackedWalk {
 public:
  PackedWalk(const PlanData& plan, const Args& args) : plan_(plan), rows_(plan, args) {}

  void Token(int64_t token) {
    for (int p = 0; p < plan_.call.num_parts; ++p) {
      for (int64_t head = 0; head < plan_.parts[p].num_heads; ++head) Head(token, p, head);
    }
  }

 private:
  // A tensor's channels from `from` on.
  template <class Byte>
  Channels<Byte> ChannelsOf(TensorId id, Byte* from) const {
    const int64_t bytes =
        ElementBytes((plan_.normalised.*kTensorFields[static_cast<size_t>(id)].spec).dtype);
    return {from, plan_.axes_of(id).channel * bytes, bytes};
  }
  // Of weights, those of a head from a channel on, which counts over all heads where there is no
  // axis of heads.
  Channels<const char> WeightOf(TensorId id, int64_t head, int64_t channel) const {
    if (id == TensorId::kNoTensor) return {};
    Channels<const char> channels = ChannelsOf(id, static_cast<const char*>(rows_.Weight(id)));
    if (channels.data == nullptr) return channels;
    channels.data +=
        plan_.axes_of(id).head * head * channels.element_bytes + channel * channels.stride_bytes;
    return channels;
  }

  // Where a part's channel has its cos and sin.
  int64_t AngleOf(int64_t channel) const {
    if (!plan_.sizes.half_width_angles) return channel;
    return plan_.normalised.rotary_style == RotaryStyle::kHalf
               ? channel % (plan_.sizes.rotary_dim / 2)
               : channel / 2;
  }

  void Head(int64_t token, int p, int64_t head) {
    const PartCall& part = plan_.parts[p];
    const PartTensors& tensors = plan_.part_tensors[p];
    Channels<char> out, row;
    if (tensors.out != TensorId::kNoTensor) {
      out = ChannelsOf(tensors.out,
                       static_cast<char*>(rows_.Output(tensors.out, token, head, tensors.channel)));
    }
    if (tensors.cache != TensorId::kNoTensor) {
      void* found = nullptr;
      rows_.Cache(tensors.cache, token, 1, &found);
      row = ChannelsOf(tensors.cache, static_cast<char*>(found));
      if (found) {
        row.data += head * plan_.axes_of(tensors.cache).head * row.element_bytes +
                    tensors.channel * row.stride_bytes;
      }
    }
    // Halves that turn together keep apart in the dense buffer; all else goes side by side.
    const int64_t room = plan_.kernel_head_dim / 2, half = part.channels / 2;
    const bool halves = part.rotated && plan_.normalised.rotary_style == RotaryStyle::kHalf;
    for (int64_t first = 0; first < half; first += room) {
      const int64_t pairs = std::min(room, half - first);
      Block block;
      if (halves) {
        block.Add(first, 0, pairs);
        block.Add(half + first, room, pairs);
      } else {
        block.Add(2 * first, 0, 2 * pairs);
      }
      RunBlock(token, p, head, block, out, row);
    }
  }

  void RunBlock(int64_t token, int p, int64_t head, const Block& block, const Channels<char>& out,
                const Channels<char>& row) {
    const PartTensors& tensors = plan_.part_tensors[p];
    const int64_t channel = plan_.parts[p].first_channel + head * plan_.sizes.head_dim;
    auto x = ChannelsOf(TensorId::kX, static_cast<const char*>(rows_.Input(TensorId::kX, token)));
    x.data += channel * x.stride_bytes;
    const auto angles = [&](TensorId id, Buffer& buffer) {
      const void* angle_row = nullptr;
      rows_.Angles(id, token, 1, &angle_row);
      return buffer.Pack(ChannelsOf(id, static_cast<const char*>(angle_row)), block,
                         [&](int64_t c) { return AngleOf(c); });
    };

    KernelCall call = plan_.call;
    call.num_tokens = 1;
    call.head_dim = plan_.kernel_head_dim;
    PartCall part = plan_.parts[p];
    part.num_heads = 1;
    part.first_channel = part.row_offset = 0;
    part.channels = plan_.kernel_head_dim;
    call.rotary_half = plan_.kernel.Half(plan_.kernel_head_dim, call.interleaved);
    part.half = call.rotary_half;
    call.rotary_dim = plan_.kernel_head_dim;
    call.half_width_angles = false;
    call.parts = &part;
    call.num_parts = 1;
    call.x = x_.Pack(x, block);
    // Channels that pass have none; the kernel reads some all the same.
    const void* cos = part.rotated ? angles(TensorId::kCos, cos_) : cos_.data();
    const void* sin = part.rotated ? angles(TensorId::kSin, sin_) : sin_.data();
    call.cos = &cos;
    call.sin = &sin;
    call.weight_scale = static_cast<const float*>(
        weight_scale_.Pack(WeightOf(TensorId::kWeightScale, 0, channel), block));
    call.activation_scale =
        static_cast<const float*>(rows_.Input(TensorId::kActivationScale, token));
    call.bias = bias_.Pack(WeightOf(TensorId::kBias, 0, channel), block);
    part.out = out.data ? out_.data() : nullptr;
    void* dense_row = row.data ? row_.data() : nullptr;
    part.rows = tensors.cache == TensorId::kNoTensor ? nullptr : &dense_row;
    if (part.sink == Sink::kQuantise) {
      const auto scales = [&](TensorId id, Buffer& buffer) {
        return ScaleView{
            static_cast<const float*>(buffer.Pack(WeightOf(id, head, tensors.channel), block)), 0,
            1};
      };
      part.scale = scales(tensors.scale, scale_);
      part.offset = scales(tensors.offset, offset_);
      part.tables = {tables_[0], tables_[1]};
      if (!plan_.kernel.exact) plan_.kernel.prepare(part);
    }
    plan_.kernel.run(call);
    if (part.out) out_.Unpack(out, block);
    if (dense_row) row_.Unpack(row, block);
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
