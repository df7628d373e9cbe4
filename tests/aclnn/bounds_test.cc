// SPDX-License-Identifier: Apache-2.0
// Offsets and shapes that lead out of the memory that a tensor is in: an error when the call is
// prepared, whichever parameter it is.
#include <sys/mman.h>

#include <cstring>
#include <utility>
#include <vector>

#include "aclnn/changed_call.h"
#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

using enum TensorId;

constexpr size_t kPage = size_t{2} << 20;

constexpr int64_t kBadOffsets[] = {int64_t{1} << 40,    -(int64_t{1} << 40), int64_t{1} << 46,
                                   int64_t{1} << 60,    int64_t{1} << 61,    int64_t{1} << 62,
                                   -(int64_t{1} << 62), INT64_MAX,           INT64_MIN};

aclTensor* NewTensor(const TensorSpec& spec, int64_t offset, void* storage) {
  return aclCreateTensor(spec.shape.data(), static_cast<uint64_t>(spec.rank), ToAcl(spec.dtype),
                         spec.stride.data(), offset, ACL_FORMAT_ND, spec.shape.data(),
                         static_cast<uint64_t>(spec.rank), storage);
}

// A call whose tensors are each in a block of device memory, and 2 MiB of other memory between
// pages that no one may touch.
class Bounds : public AclTest {
 protected:
  void SetUp() override {
    AclTest::SetUp();
    for (const TensorField& field : kOperatorFields) {
      void* memory = nullptr;
      ASSERT_EQ(aclrtMalloc(&memory, kPage / 2, ACL_MEM_MALLOC_HUGE_FIRST), 0);
      memory_[static_cast<size_t>(field.id)] = memory;
      Replace(field.id, 0, memory);
    }
    auto* indices = static_cast<int32_t*>(memory_[static_cast<size_t>(kIndices)]);
    indices[0] = indices[1] = 0;
    auto* guards = static_cast<char*>(
        mmap(nullptr, 3 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    ASSERT_NE(guards, MAP_FAILED);
    guards_ = guards;
    host_ = guards + kPage;
    ASSERT_EQ(mprotect(host_, kPage, PROT_READ | PROT_WRITE), 0);
  }
  void TearDown() override {
    munmap(guards_, 3 * kPage);
    for (void* memory : memory_) EXPECT_EQ(aclrtFree(memory), 0);
    AclTest::TearDown();
  }

  const TensorSpec& SpecOf(TensorId id) const {
    return spec_.*kTensorFields[static_cast<size_t>(id)].spec;
  }
  void Replace(TensorId id, int64_t offset, void* storage) {
    call_.tensors[static_cast<size_t>(id)].reset(NewTensor(SpecOf(id), offset, storage));
  }

  const Spec spec_ = SmallSpec();
  std::array<void*, kOperatorFields.size()> memory_{};
  void* guards_ = nullptr;
  char* host_ = nullptr;  // memory that the library knows nothing of
  AclCall call_{spec_, Args{}};
};

TEST_F(Bounds, OffsetOfEachParameter) {
  ASSERT_EQ(call_.Run(stream_), 0) << TakeMessage();
  for (const TensorField& field : kOperatorFields) {
    SCOPED_TRACE(field.name);
    void* const device = memory_[static_cast<size_t>(field.id)];
    for (const int64_t offset : kBadOffsets) {
      for (void* const storage : {device, static_cast<void*>(host_)}) {
        Replace(field.id, offset, storage);
        ExpectFailure(call_.Prepare(), 561002, "offset " + std::to_string(offset));
      }
    }
    Replace(field.id, 0, device);
  }
  ASSERT_EQ(call_.Run(stream_), 0) << TakeMessage();
}

TEST_F(Bounds, ShapesLargerThanTheBlock) {
  Spec large = spec_;
  large.k_cache = large.v_cache = Dense(DType::kI8, {2, int64_t{kPage}, 2, 16});
  for (const TensorId id : {kKCache, kVCache}) {
    call_.Replace(id, large.k_cache, memory_[static_cast<size_t>(id)]);
  }
  ExpectFailure(call_.Prepare(), 561002, "kCacheRef");
}

// The last element that fits, and the first that does not.
TEST_F(Bounds, UpToTheEnd) {
  for (char* const storage : {static_cast<char*>(memory_[static_cast<size_t>(kQ)]), host_}) {
    const int64_t last = static_cast<int64_t>(kPage) / 2 - 2 * 3 * 4 * 16;
    Replace(kQ, last, storage);
    EXPECT_EQ(call_.Run(stream_), 0) << TakeMessage();
    Replace(kQ, last + 1, storage);
    ExpectFailure(call_.Prepare(), 561002, "qOut");
    Replace(kQ, -last, storage + 2 * last);
    EXPECT_EQ(call_.Run(stream_), 0) << TakeMessage();
    Replace(kQ, -last - 1, storage + 2 * last);
    ExpectFailure(call_.Prepare(), 561002, "qOut");
  }
}

// An optional tensor that is not used may say anything; so may one with no elements.
TEST_F(Bounds, WhatIsNotUsed) {
  Spec spec = PagedSpec(0);
  AclCall call(spec, Args{});
  const TensorSpec bias = Dense(DType::kF32, {256});
  call.tensors[static_cast<size_t>(kBias)].reset(NewTensor(bias, INT64_MAX, host_));
  call.tensors[static_cast<size_t>(kX)].reset(NewTensor(spec.x, INT64_MAX, host_));
  const std::pair<TensorId, TensorSpec> needed[] = {{kKCache, spec.k_cache},
                                                    {kVCache, spec.v_cache},
                                                    {kScaleK, spec.scale_k},
                                                    {kScaleV, spec.scale_v}};
  for (const auto& [id, tensor] : needed) {
    call.Replace(id, tensor, memory_[static_cast<size_t>(id)]);
  }
  EXPECT_EQ(call.Run(stream_), 0) << TakeMessage();
}

TEST_F(Bounds, Refresh) {
  ASSERT_EQ(call_.Prepare(), 0);
  for (const int64_t offset : kBadOffsets) {
    const TensorPtr tensor(NewTensor(spec_.q, offset, host_));
    ExpectFailure(aclSetOutputTensorAddr(call_.executor, 0, tensor.get(), host_), 161002, "qOut");
  }
  // It is bound to what it was before.
  std::memset(host_, 0x5A, kPage);
  ASSERT_EQ(call_.Launch(stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0) << TakeMessage();
  EXPECT_EQ(std::vector<char>(host_, host_ + kPage), std::vector<char>(kPage, 0x5A));
}

}  // namespace
}  // namespace ropekv::testing
