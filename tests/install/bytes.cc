// SPDX-License-Identifier: Apache-2.0
// Compares a hash of what each instruction set of the machine writes with what it is everywhere,
// however a project builds the library. x has every finite number of 16 bits, or as many sums;
// scales give ties.
#include <ropekv/ropekv.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

using namespace ropekv;

constexpr int64_t kTokens = 256, kHeads = 2, kHeadDim = 128, kWidth = 3 * kHeads * kHeadDim;

// FNV-1a, of 16-bit outputs whose NaN are all one.
class Hash {
 public:
  void Add(const std::vector<uint16_t>& values, uint16_t infinity) {
    for (const uint16_t value : values) {
      const bool is_nan = (value & 0x7FFFu) > infinity;
      Add(is_nan ? 0xFFu : value & 0xFFu);
      Add(is_nan ? 0xFFu : value >> 8u);
    }
  }
  void Add(const std::vector<int8_t>& values) {
    for (const int8_t value : values) Add(static_cast<uint8_t>(value));
  }
  unsigned long long value() const { return value_; }

 private:
  void Add(unsigned byte) { value_ = (value_ ^ byte) * 0x100000001B3u; }

  uint64_t value_ = 0xCBF29CE484222325u;
};

uint16_t Finite(uint64_t bits, uint16_t infinity) {
  return static_cast<uint16_t>((bits & 0x7FFFu) < infinity ? bits & 0xFFFFu : bits & 0x83FFu);
}

// How many faults there are.
int Check(DType x_dtype, DType out_dtype, Numerics numerics, unsigned long long expected) {
  const uint16_t infinity = out_dtype == DType::kF16 ? 0x7C00 : 0x7F80;
  uint64_t state = 1;
  const auto next = [&] {
    return (state = state * 6364136223846793005u + 1442695040888963407u) >> 40u;
  };
  std::vector<int32_t> x(static_cast<size_t>(kTokens * kWidth));
  for (int32_t& value : x) value = static_cast<int32_t>(next() << 8u) >> next() % 32;
  if (x_dtype != DType::kI32) {
    std::vector<uint16_t> halves(x.size());
    for (size_t i = 0; i < x.size(); ++i) halves[i] = Finite(i, infinity);
    std::memcpy(x.data(), halves.data(), 2 * halves.size());
  }
  std::vector<uint16_t> cos(kTokens * kHeadDim), sin(cos.size());
  for (std::vector<uint16_t>* angles : {&cos, &sin}) {
    for (uint16_t& value : *angles) value = Finite(next(), infinity);
  }
  const std::vector<float> scale(kHeads * kHeadDim, 0.5f), weight_scale(kWidth, 0x1p-20f);
  std::vector<int32_t> slots;
  for (int32_t i = 0; i < kTokens; ++i) slots.push_back(i);

  int targets = 0, faults = 0;
  for (const Target target :
       {Target::kScalar, Target::kSse4, Target::kAvx2, Target::kAvx512, Target::kAvx512Bf16,
        Target::kAvx512Bf16Dot, Target::kNeon, Target::kSve, Target::kSve2}) {
    Spec spec = DenseSpec({.batch = kTokens,
                           .num_q_heads = kHeads,
                           .num_kv_heads = kHeads,
                           .head_dim = kHeadDim,
                           .x_dtype = x_dtype,
                           .out_dtype = out_dtype,
                           .cache_layout = CacheLayout::kPaged,
                           .cache_shape = {kTokens, 1}});
    spec.numerics = numerics;
    spec.target = target;
    const Result<Plan> plan = MakePlan(spec);
    if (!plan.ok()) continue;  // not a target of this machine
    std::vector<uint16_t> q(kTokens * kHeads * kHeadDim);
    std::vector<int8_t> k_cache(q.size()), v_cache(q.size());
    const Status status = Run(*plan, {.x = x.data(),
                                      .cos = cos.data(),
                                      .sin = sin.data(),
                                      .k_cache = k_cache.data(),
                                      .v_cache = v_cache.data(),
                                      .indices = slots.data(),
                                      .scale_k = scale.data(),
                                      .scale_v = scale.data(),
                                      .weight_scale = weight_scale.data(),
                                      .q = q.data()});
    if (!status.ok()) return std::puts(status.message().c_str()), 1;
    Hash hash;
    hash.Add(q, infinity);
    hash.Add(k_cache);
    hash.Add(v_cache);
    ++targets;
    if (hash.value() == expected) continue;
    std::printf("x %d, outputs %d, numerics %d, target %d: %016llx instead of %016llx\n",
                static_cast<int>(x_dtype), static_cast<int>(out_dtype), static_cast<int>(numerics),
                static_cast<int>(target), hash.value(), expected);
    ++faults;
  }
  std::printf("%d targets, %d faults\n", targets, faults);
  return targets > 0 ? faults : 1;
}

}  // namespace

int main() {
  using enum DType;
  using enum Numerics;
  const int faults = Check(kBF16, kBF16, kFloat32, 0x3496e5e80fec505d) +
                     Check(kF16, kF16, kFloat32, 0x8be128c4c230ad15) +
                     Check(kF16, kF16, kAscend, 0x0e7c36367d200f4e) +
                     Check(kI32, kBF16, kFloat32, 0xb28fce0377d7f4fe) +
                     Check(kI32, kF16, kAscend, 0x979b84993b17f004);
  return faults > 0;
}
