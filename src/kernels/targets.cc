// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/units.h"

namespace ropekv {
namespace {

struct TargetRow {
  const char* name;
  int64_t highway_bit;
  Target target;
  internal::NativeBF16 native;
};

constexpr TargetRow kTargets[] = {{"best", 0, Target::kBest, internal::NativeBF16::kNothing},
#define ROPEKV_TARGET_ROW(target, name, bit, choose, native) \
  {name, bit, Target::target, internal::NativeBF16::native},
                                  ROPEKV_TARGETS(ROPEKV_TARGET_ROW)
#undef ROPEKV_TARGET_ROW
};

struct TargetList {
  std::array<Target, std::size(kTargets)> targets{};
  size_t size = 0;
};

bool HasNativeBF16() {
#if HWY_ARCH_X86
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

// Intel's processors take two cycles for a dot product of 512 bits: by products and sums a call in
// the caches takes 17 % less time (Granite Rapids). On Zen 5 it was 25 % more than with dot
// products before products were fused with the sum; no such machine has measured that.
bool DotsAreSlow() {
#if HWY_ARCH_X86
  return __builtin_cpu_is("intel");
#else
  return false;
#endif
}

TargetList Intersect(int64_t highway_targets, bool native_bf16) {
  TargetList list;
  for (const TargetRow& row : kTargets) {
    if (row.native != internal::NativeBF16::kNothing && !native_bf16) continue;
    if (row.highway_bit & highway_targets) list.targets[list.size++] = row.target;
  }
  if (list.targets[0] == Target::kAvx512Bf16Dot && DotsAreSlow()) {
    std::swap(list.targets[0], list.targets[1]);
  }
  return list;
}

}  // namespace

const char* Name(Target target) noexcept {
  for (const TargetRow& row : kTargets) {
    if (row.target == target) return row.name;
  }
  return "invalid";
}

Result<Target> ParseTarget(std::string_view name) {
  for (const TargetRow& row : kTargets) {
    if (name == row.name) return row.target;
  }
  std::string legal = "best";
  for (const Target target : BuiltTargets()) legal += std::string(", ") + Name(target);
  return Status(StatusCode::kBadOption, "target",
                "'" + std::string(name) + "' is unknown; this build has " + legal);
}

std::span<const Target> BuiltTargets() noexcept {
  static const TargetList list = Intersect(HWY_TARGETS, true);
  return {list.targets.data(), list.size};
}

std::span<const Target> UsableTargets() noexcept {
  // The scalar code runs anywhere, though Highway reports it only where it was asked for.
  static const TargetList list =
      Intersect(HWY_TARGETS & (hwy::SupportedTargets() | HWY_SCALAR), HasNativeBF16());
  return {list.targets.data(), list.size};
}

namespace internal {

Kernel FindKernel(Target target, const KernelTraits& traits) {
  const int64_t passing = traits.head_dim - traits.rotary_dim;
  bool reached = false;
  for (const Target narrower : UsableTargets()) {
    reached = reached || narrower == target;
    if (!reached) continue;
    FindInUnit* find = nullptr;
    switch (traits.source) {
#define ROPEKV_SOURCE_CASE(dtype) \
  case DType::dtype: find = UnitOf_##dtype(narrower); break;
      ROPEKV_SOURCES(ROPEKV_SOURCE_CASE)
#undef ROPEKV_SOURCE_CASE
      default: return {};
    }
    const Kernel kernel = find ? find(traits) : Kernel();
    const bool fits =
        kernel.least_rotary_dim <= traits.rotary_dim && (passing == 0 || kernel.step <= passing);
    if (kernel.run && fits) return kernel;
  }
  return {};
}

}  // namespace internal
}  // namespace ropekv
