// SPDX-License-Identifier: Apache-2.0
#ifndef ROPEKV_RUN_DUPLICATE_SEARCH_H_
#define ROPEKV_RUN_DUPLICATE_SEARCH_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>

#include "run/indices.h"

namespace ropekv::internal {

// Looks for a slot that two tokens have, in 16 KiB of its own and no other memory.
//
// A hash maps slots to cells of one bit each. A first scan of the tokens finds the cells that two
// of them share, a second lists the slots in those cells, and equal ones are neighbours once the
// list is sorted. Where slots differ in no more bits than cells have, the map is one to one, and
// the first scan decides.
//
// Tokens too many for that are taken in parts, by the low bits of their slots. A part that fills
// the list all the same, as regular or malicious slots may, is split by one more bit, until the map
// is one to one. Each part costs one or two scans of all tokens: 2 to 8 ns a token in all up to
// 16,384 tokens (Zen 5), and for more, up to 1 ns for each 4,096 of them, unless their slots differ
// in few bits.
template <class Slot>
class DuplicateSearch {
 public:
  // Of `count` > 1 slots from slots[begin] on; negative ones are padding.
  DuplicateSearch(const Indices<Slot>& slots, int64_t begin, int64_t count)
      : slots_(slots), begin_(begin), count_(count) {
    Slot some = 0;
    Slot all = std::numeric_limits<Slot>::max();
    for (int64_t i = 0; i < count; ++i) {
      const Slot slot = slots[begin + i];
      some |= slot < 0 ? Slot{0} : slot;
      all &= slot < 0 ? std::numeric_limits<Slot>::max() : slot;
    }
    const Bits varying = static_cast<Bits>(some & ~all);
    if (varying != 0) low_bit_ = std::countr_zero(varying);
    num_bits_ = kWidth - std::countl_zero(varying) - low_bit_;
    // 128 cells or more a token in a small call, which then seldom needs the second scan.
    cell_bits_ = std::min(Log2Ceil(count) + 7, kMaxCellBits);
  }

  // The slot, if there is one.
  std::optional<Slot> Run() {
    const int min_bits =
        std::clamp(Log2Ceil(count_) - kPartTokensLog2, 0, std::max(num_bits_ - cell_bits_, 0));
    Bits index = 0;
    int bits = min_bits;
    for (;;) {
      switch (SearchPart(Part(*this, index, bits))) {
        case Outcome::kFound: return list_[0];
        case Outcome::kListFull: ++bits; continue;  // its first half
        case Outcome::kDistinct: break;
      }
      // On to the other half of the smallest part that is not done yet.
      while (bits > 0 && (index >> (bits - 1) & 1)) index ^= Bits{1} << --bits;
      if (bits == 0) return std::nullopt;
      // A part of so few slots that each has a cell of its own never fills the list: bits < kWidth.
      index |= Bits{1} << (bits - 1);  // NOLINT(clang-analyzer-core.UndefinedBinaryOperatorResult)
      bits = std::max(bits, min_bits);
    }
  }

  // How often Run read the tokens.
  int64_t scans() const { return scans_; }

 private:
  using Bits = std::make_unsigned_t<Slot>;
  static constexpr int kWidth = std::numeric_limits<Bits>::digits;
  static constexpr Bits kGoldenRatio = static_cast<Bits>(0x9E3779B97F4A7C15 >> (64 - kWidth));

  static constexpr int kMaxCellBits = 16;
  static constexpr size_t kListCapacity = (size_t{8} << 10) / sizeof(Slot);
  // Four times the list. With eight cells a token, an eighth of the tokens share one.
  static constexpr int kPartTokensLog2 = std::countr_zero(kListCapacity) + 2;
  // Slots are read in groups, so that no branch depends on a single one.
  static constexpr int kGroup = 64;

  enum class Outcome { kDistinct, kFound, kListFull };

  static int Log2Ceil(int64_t n) { return 64 - std::countl_zero(static_cast<uint64_t>(n - 1)); }

  // The slots whose lowest `bits` bits are those of `index`, not counting the bits below low_bit_.
  struct Part {
    Part(const DuplicateSearch& search, Bits index, int bits)
        : mask(((Bits{1} << bits) - 1) << search.low_bit_ | Bits{1} << (kWidth - 1)),
          low(index << search.low_bit_),
          shift(search.low_bit_ + bits),
          cell_shift(kWidth - search.cell_bits_) {
      const int rest = std::max(search.num_bits_ - bits, 1);
      one_to_one = rest <= search.cell_bits_;
      factor = (kGoldenRatio >> (kWidth - rest) | 1) << (kWidth - rest);
    }
    // Never padding, whose highest bit is set.
    bool Has(Slot slot) const { return (static_cast<Bits>(slot) & mask) == low; }
    // Multiplies the bits in which slots of the part differ, of which there are n, by an odd number
    // modulo 2^n, and takes the highest bits of the result.
    size_t CellOf(Slot slot) const {
      return (static_cast<Bits>(slot) >> shift) * factor >> cell_shift;
    }

    Bits mask;
    Bits low;
    Bits factor;
    int shift;
    int cell_shift;
    bool one_to_one;
  };

  Outcome SearchPart(const Part& part) {
    ClearCells();
    // The second scan lists about two for each of these.
    const bool all = List(part, kListCapacity / 2, [&](size_t cell) { return SetCell(cell); });
    if (part.one_to_one) return list_size_ > 0 ? Outcome::kFound : Outcome::kDistinct;
    if (!all) return Outcome::kListFull;
    if (list_size_ == 0) return Outcome::kDistinct;

    ClearCells();
    for (size_t i = 0; i < list_size_; ++i) SetCell(part.CellOf(list_[i]));
    if (!List(part, kListCapacity, [&](size_t cell) { return HasCell(cell); })) {
      return Outcome::kListFull;
    }
    std::sort(list_, list_ + list_size_);
    const Slot* const twice = std::adjacent_find(list_, list_ + list_size_);
    if (twice == list_ + list_size_) return Outcome::kDistinct;
    list_[0] = *twice;
    return Outcome::kFound;
  }

  // Lists the part's slots for whose cell `wanted` is true; stops, and returns false, if there may
  // be more than `limit`.
  template <class Wanted>
  bool List(const Part& part, size_t limit, Wanted wanted) {
    ++scans_;
    list_size_ = 0;
    for (int64_t i = 0; i < count_; i += kGroup) {
      Slot group[kGroup];
      const size_t size = ReadGroup(i, part, group);
      if (list_size_ + size > limit) return false;
      for (size_t j = 0; j < size; ++j) {
        list_[list_size_] = group[j];
        list_size_ += wanted(part.CellOf(group[j]));
      }
    }
    return true;
  }

  // Those of the slots [i, i + kGroup) that the part has; returns how many.
  size_t ReadGroup(int64_t i, const Part& part, Slot* group) const {
    const int64_t in_group = std::min<int64_t>(kGroup, count_ - i);
    if (slots_.dense() && in_group == kGroup) {
      const Slot* const slots = slots_.data + begin_ + i;
      // Where parts are many, most groups have nothing of this one. A loop for vectors.
      int any = 0;
      for (int j = 0; j < kGroup; ++j) any |= part.Has(slots[j]);
      if (!any) return 0;
    }
    size_t size = 0;
    for (int64_t j = 0; j < in_group; ++j) {
      group[size] = slots_[begin_ + i + j];
      size += part.Has(group[size]);
    }
    return size;
  }

  void ClearCells() { std::memset(cells_, 0, (size_t{1} << cell_bits_) / 8); }
  bool HasCell(size_t cell) const { return cells_[cell / 64] >> (cell % 64) & 1; }
  // Whether it was set before.
  bool SetCell(size_t cell) {
    const bool before = HasCell(cell);
    cells_[cell / 64] |= uint64_t{1} << (cell % 64);
    return before;
  }

  Indices<Slot> slots_;
  int64_t begin_;
  int64_t count_;
  int low_bit_ = 0;  // the lowest in which slots differ
  int num_bits_;     // from there to the highest in which they do
  int cell_bits_;
  int64_t scans_ = 0;
  size_t list_size_ = 0;
  alignas(64) uint64_t cells_[(size_t{1} << kMaxCellBits) / 64];
  Slot list_[kListCapacity];
};

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_DUPLICATE_SEARCH_H_
