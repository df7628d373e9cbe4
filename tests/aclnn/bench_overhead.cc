// SPDX-License-Identifier: Apache-2.0
// What a call through the aclnn interface costs over the native one, for one decoded token: 8 query
// heads, 1 kv head, head_dim 128. All variants are measured in turns, so that a change of clock
// speed meets them alike; each figure is the median of the turns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "aclnn/call.h"

namespace ropekv::testing {
namespace {

constexpr int kTurns = 301;
constexpr int kCallsPerTurn = 200;

struct Measured {
  const char* name;
  std::function<void()> call;
  std::vector<double> microseconds = {};

  double Median() {
    std::sort(microseconds.begin(), microseconds.end());
    return microseconds[microseconds.size() / 2];
  }
};

void Check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "bench_overhead: %s failed: %s\n", what, TakeMessage().c_str());
  std::exit(1);
}

Spec OneToken() {
  return AscendSpec({.num_q_heads = 8,
                     .num_kv_heads = 1,
                     .head_dim = 128,
                     .x_dtype = DType::kI32,
                     .cache_layout = CacheLayout::kPaged,
                     .cache_shape = {16, 16},
                     .activation_scale = true});
}

int Main(double max_once, double max_repeatable) {
  Check(aclrtSetDevice(0) == ACL_SUCCESS, "aclrtSetDevice");
  aclrtStream stream = nullptr;
  Check(aclrtCreateStream(&stream) == ACL_SUCCESS, "aclrtCreateStream");
  const Spec spec = OneToken();
  Args args;
  for (const TensorField& field : kTensorFields) {
    if (!(spec.*field.spec).present()) continue;
    void* memory = nullptr;
    constexpr size_t kBytes = 1 << 20;
    Check(aclrtMalloc(&memory, kBytes, ACL_MEM_MALLOC_HUGE_FIRST) == ACL_SUCCESS, "aclrtMalloc");
    if (field.input) {
      args.*field.input = memory;
    } else {
      args.*field.output = memory;
    }
  }
  const Result<Plan> plan = MakePlan(spec);
  Check(plan.ok(), "MakePlan");
  AclCall once(spec, args), repeatable(spec, args);
  Check(repeatable.Prepare() == 0 && aclSetAclOpExecutorRepeatable(repeatable.executor) == 0,
        "preparing a repeatable executor");

  Measured all[] = {
      {"Run", [&] { Check(Run(*plan, args).ok(), "Run"); }},
      {"MakePlan + Run",
       [&] {
         const Result<Plan> made = MakePlan(spec);
         Check(made.ok() && Run(*made, args).ok(), "MakePlan + Run");
       }},
      {"phase 1 + phase 2 + synchronise", [&] { Check(once.Run(stream) == 0, "the call"); }},
      {"repeatable: phase 2 + synchronise", [&] {
         Check(repeatable.Launch(stream) == 0 && aclrtSynchronizeStream(stream) == 0, "phase 2");
       }}};
  for (int turn = 0; turn < kTurns; ++turn) {
    for (Measured& measured : all) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < kCallsPerTurn; ++i) measured.call();
      const std::chrono::duration<double, std::micro> time =
          std::chrono::steady_clock::now() - start;
      measured.microseconds.push_back(time.count() / kCallsPerTurn);
    }
  }
  const double native = all[0].Median();
  for (Measured& measured : all) {
    const double median = measured.Median();
    std::printf("%-34s %6.3f us   %+.3f us over Run\n", measured.name, median, median - native);
  }
  const bool good =
      all[2].Median() - native <= max_once && all[3].Median() - native <= max_repeatable;
  std::printf("limits over Run: %.1f us, %.1f us repeatable: %s\n", max_once, max_repeatable,
              good ? "kept" : "EXCEEDED");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace ropekv::testing

// Optional arguments: the two limits in microseconds.
int main(int argc, char** argv) {
  return ropekv::testing::Main(argc > 1 ? std::strtod(argv[1], nullptr) : 3.0,
                               argc > 2 ? std::strtod(argv[2], nullptr) : 1.0);
}
