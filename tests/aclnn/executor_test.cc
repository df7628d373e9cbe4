// SPDX-License-Identifier: Apache-2.0
// The life of an executor: used once, repeated, refreshed, stale.
#include <cstring>
#include <functional>
#include <ostream>
#include <thread>
#include <vector>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

using enum TensorId;
class ExecutorTest : public AclTest {};

TEST_F(ExecutorTest, DescriptorsMayGoAfterPhaseOne) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0) << TakeMessage();
  for (TensorPtr& tensor : test.call.tensors) tensor.reset();
  test.call.size_splits.reset();
  test.call.cache_mode = "????";
  EXPECT_EQ(test.call.Launch(stream_), 0);
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(test.problem.Compare(), "");
}

TEST_F(ExecutorTest, IsConsumedByPhaseTwo) {
  Case test;
  ASSERT_EQ(test.call.Run(stream_), 0);
  ExpectFailure(test.call.Launch(stream_), 161002, "has been executed");
  ExpectFailure(aclSetAclOpExecutorRepeatable(test.call.executor), 161002);
  ExpectFailure(
      aclSetInputTensorAddr(test.call.executor, 0, test.call.tensor(kX), test.call.tensor(kX)),
      161002);
}

TEST_F(ExecutorTest, IsConsumedEvenIfPhaseTwoFails) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  int not_a_stream = 0;
  ExpectFailure(test.call.Launch(&not_a_stream), 361001, "107017");
  ExpectFailure(test.call.Launch(stream_), 161002);
  EXPECT_EQ(test.problem.CompareUntouched(), "");
}

// A null workspace goes with a size of 0 only; the executor is gone either way.
TEST_F(ExecutorTest, Workspace) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  aclOpExecutor* executor = test.call.executor;
  ExpectFailure(aclnnDequantRopeQuantKvcache(nullptr, 64, executor, stream_), 161001, "workspace");
  ExpectFailure(aclnnDequantRopeQuantKvcache(nullptr, 0, executor, stream_), 161002);
  ExpectFailure(aclnnDequantRopeQuantKvcache(nullptr, 64, nullptr, stream_), 161001, "executor");
  EXPECT_EQ(test.problem.CompareUntouched(), "");
  char workspace[64];
  for (const uint64_t size : {uint64_t{0}, uint64_t{64}}) {
    test.problem.ResetActual();
    ASSERT_EQ(test.call.Prepare(), 0);
    ASSERT_EQ(aclnnDequantRopeQuantKvcache(workspace, size, test.call.executor, stream_), 0);
    ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
    EXPECT_EQ(test.problem.Compare(), "");
  }
}

TEST_F(ExecutorTest, NullAndForeign) {
  ExpectFailure(aclnnDequantRopeQuantKvcache(nullptr, 0, nullptr, stream_), 161001, "executor");
  int garbage[64] = {};
  auto* foreign = reinterpret_cast<aclOpExecutor*>(garbage);
  ExpectFailure(aclnnDequantRopeQuantKvcache(nullptr, 0, foreign, stream_), 161002);
  ExpectFailure(aclSetAclOpExecutorRepeatable(nullptr), 561103);
  ExpectFailure(aclSetAclOpExecutorRepeatable(foreign), 161002);
  ExpectFailure(aclDestroyAclOpExecutor(nullptr), 561103);
  ExpectFailure(aclDestroyAclOpExecutor(foreign), 161002);
}

TEST_F(ExecutorTest, PhaseTwoInAnotherThread) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  std::thread([&] { EXPECT_EQ(test.call.Launch(stream_), 0); }).join();
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(test.problem.Compare(), "");
}

TEST_F(ExecutorTest, OnlyRepeatableOnesAreDestroyed) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  ExpectFailure(aclDestroyAclOpExecutor(test.call.executor), 161002, "repeatable");
  ASSERT_EQ(aclSetAclOpExecutorRepeatable(test.call.executor), 0);
  EXPECT_EQ(aclDestroyAclOpExecutor(test.call.executor), 0);
  ExpectFailure(aclDestroyAclOpExecutor(test.call.executor), 161002);
  ExpectFailure(test.call.Launch(stream_), 161002);
}

TEST_F(ExecutorTest, RepeatableRunsAgainAndAgain) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  ASSERT_EQ(aclSetAclOpExecutorRepeatable(test.call.executor), 0);
  for (int i = 0; i < 3; ++i) {
    test.problem.ResetActual();
    ASSERT_EQ(test.call.Launch(stream_), 0);
    ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
    EXPECT_EQ(test.problem.Compare(), "");
  }
  // A queued call outlives its executor.
  test.problem.ResetActual();
  Gate gate(stream_);
  ASSERT_EQ(test.call.Launch(stream_), 0);
  EXPECT_EQ(aclDestroyAclOpExecutor(test.call.executor), 0);
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(test.problem.Compare(), "");
}

// One of the ways to give the executor of `from` the address of a tensor of `to`.
using Setter = std::function<aclnnStatus(aclOpExecutor*, size_t index, aclTensor*, void*)>;

struct Spelling {
  const char* name;
  Setter set;
  bool inputs;
  bool outputs;
};
void PrintTo(const Spelling& spelling, std::ostream* out) { *out << spelling.name; }

template <class Function>
Setter AsList(Function function) {
  return [function](aclOpExecutor* executor, size_t index, aclTensor* tensor, void* address) {
    const aclTensor* elements[] = {tensor};
    aclTensorList* list = aclCreateTensorList(elements, 1);
    const aclnnStatus code = function(executor, index, 0, list, address);
    // Destroying the list would take the tensor with it. Still reachable, for leak checkers.
    static auto& lists = *new std::vector<aclTensorList*>;
    lists.push_back(list);
    return code;
  };
}

std::vector<Spelling> Spellings() {
  return {{"aclSetInputTensorAddr", aclSetInputTensorAddr, true, false},
          {"AclSetInputTensorAddr", AclSetInputTensorAddr, true, false},
          {"aclSetOutputTensorAddr", aclSetOutputTensorAddr, false, true},
          {"AclSetOutputTensorAddr", AclSetOutputTensorAddr, false, true},
          {"aclSetTensorAddr", aclSetTensorAddr, true, true},
          {"AclSetTensorAddr", AclSetTensorAddr, true, true},
          {"aclSetDynamicInputTensorAddr", AsList(aclSetDynamicInputTensorAddr), true, false},
          {"AclSetDynamicInputTensorAddr", AsList(AclSetDynamicInputTensorAddr), true, false},
          {"aclSetDynamicOutputTensorAddr", AsList(aclSetDynamicOutputTensorAddr), false, true},
          {"AclSetDynamicOutputTensorAddr", AsList(AclSetDynamicOutputTensorAddr), false, true},
          {"aclSetDynamicTensorAddr", AsList(aclSetDynamicTensorAddr), true, true},
          {"AclSetDynamicTensorAddr", AsList(AclSetDynamicTensorAddr), true, true}};
}

constexpr TensorId kOutputs[] = {kQ, kK, kV, kKCache, kVCache};

class Refresh : public AclTest, public ::testing::WithParamInterface<Spelling> {
 protected:
  // Points the tensor at parameter `index` of the executor of `from` to that of `to`.
  aclnnStatus Set(const AclCall& from, const AclCall& to, size_t index, TensorId id) {
    aclTensor* tensor = to.tensor(id);
    if (!tensor) return 0;
    void* address = nullptr;
    EXPECT_EQ(aclGetRawTensorAddr(tensor, &address), 0);
    return GetParam().set(from.executor, index, tensor, address);
  }

  // A spec with every optional tensor and k, v outputs.
  static Spec FullSpec() {
    Shape shape = PagedShape();
    shape.x_dtype = DType::kI32;
    shape.kv_output = shape.offsets = shape.activation_scale = true;
    shape.bias_dtype = DType::kF32;
    return AscendSpec(shape);
  }
};

TEST_P(Refresh, MovesEveryTensorItCounts) {
  const Spelling& spelling = GetParam();
  Case from(1, FullSpec());
  Problem to(FullSpec(), Flavour::kPlain, 2);
  const AclCall moved(FullSpec(), to.actual());
  ASSERT_EQ(from.call.Prepare(), 0) << TakeMessage();
  ASSERT_EQ(aclSetAclOpExecutorRepeatable(from.call.executor), 0);
  for (size_t i = 0; spelling.inputs && i <= static_cast<size_t>(kBias); ++i) {
    EXPECT_EQ(Set(from.call, moved, i, static_cast<TensorId>(i)), 0) << TakeMessage();
  }
  for (size_t i = 0; spelling.outputs && i < std::size(kOutputs); ++i) {
    const size_t index = spelling.inputs ? 13 + i : i;
    EXPECT_EQ(Set(from.call, moved, index, kOutputs[i]), 0) << TakeMessage();
  }
  ASSERT_EQ(from.call.Launch(stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0) << TakeMessage();
  EXPECT_EQ(aclDestroyAclOpExecutor(from.call.executor), 0);

  if (!spelling.outputs) {
    // Caches are inputs too, so that they have moved; q, k and v have not.
    EXPECT_NE(to.CompareUntouched(), "");
    EXPECT_NE(from.problem.CompareUntouched(), "");
    return;
  }
  Args args = spelling.inputs ? to.expected() : from.problem.expected();
  const Args outputs = to.expected();
  for (const TensorId id : kOutputs) {
    const TensorField& field = kTensorFields[static_cast<size_t>(id)];
    args.*field.output = outputs.*field.output;
  }
  const Result<Plan> plan = MakePlan(FullSpec());
  ASSERT_TRUE(plan.ok() && RunReference(*plan, args).ok());
  EXPECT_EQ(to.Compare(), "");
  EXPECT_EQ(from.problem.CompareUntouched(), "");
}

TEST_P(Refresh, RefusesWhatIsNotThere) {
  const Spelling& spelling = GetParam();
  Case test;  // without offsets, weight scale, activation scale and bias
  ASSERT_EQ(test.call.Prepare(), 0);
  aclTensor* x = test.call.tensor(kX);
  void* address = nullptr;
  ASSERT_EQ(aclGetRawTensorAddr(x, &address), 0);
  size_t count = (spelling.inputs ? 13 : 0) + (spelling.outputs ? 5 : 0);
  ExpectFailure(spelling.set(test.call.executor, count, x, address), 161002, "index");
  if (spelling.inputs) {
    ExpectFailure(spelling.set(test.call.executor, 12, x, address), 161002, "biasOptional");
  }
  ExpectFailure(spelling.set(test.call.executor, 0, nullptr, &count), 561103, "tensor");
  ExpectFailure(spelling.set(nullptr, 0, x, &count), 561103, "executor");
  void* moved = nullptr;
  ASSERT_EQ(aclGetRawTensorAddr(x, &moved), 0);
  EXPECT_EQ(moved, &count) << "the tensor is updated even without an executor";
}

INSTANTIATE_TEST_SUITE_P(Spellings, Refresh, ::testing::ValuesIn(Spellings()),
                         [](const auto& spelling) { return std::string(spelling.param.name); });

TEST_F(ExecutorTest, RefreshRefusesNullTensorsAndLists) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  aclOpExecutor* executor = test.call.executor;
  ExpectFailure(aclSetInputTensorAddr(executor, 0, nullptr, &test), 561103, "tensor");
  ExpectFailure(aclSetDynamicInputTensorAddr(executor, 0, 0, nullptr, &test), 561103, "tensors");
  const aclTensor* elements[] = {test.call.tensors[0].release()};
  aclTensorList* list = aclCreateTensorList(elements, 1);
  ExpectFailure(aclSetDynamicTensorAddr(executor, 0, 1, list, &test), 161002, "relativeIndex");
  ExpectFailure(aclSetDynamicTensorAddr(nullptr, 0, 1, list, &test), 561103, "executor");
  EXPECT_EQ(aclDestroyTensorList(list), 0);
}

// The offset is the tensor's, in elements of its type.
TEST_F(ExecutorTest, RefreshAddsTheOffset) {
  Case from(1), to(2);
  ASSERT_EQ(from.call.Prepare(), 0);
  constexpr int64_t kOffset = 40;
  const Args args = to.problem.actual();
  const TensorPtr q = MakeTensor(to.problem.spec().q, args.q, kOffset);
  void* storage = nullptr;
  ASSERT_EQ(aclGetRawTensorAddr(q.get(), &storage), 0);
  ASSERT_EQ(static_cast<char*>(storage) + kOffset * 2, args.q);
  ASSERT_EQ(aclSetOutputTensorAddr(from.call.executor, 0, q.get(), storage), 0);
  ASSERT_EQ(from.call.Launch(stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(std::memcmp(args.q, from.problem.expected().q, 4 * 4 * 32 * 2), 0);
}

}  // namespace
}  // namespace ropekv::testing
