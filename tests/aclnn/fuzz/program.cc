// SPDX-License-Identifier: Apache-2.0
#include "aclnn/fuzz/program.h"

#include <pthread.h>

#include <algorithm>
#include <string>

#include "aclnn/acl_meta.h"
#include "fuzz/require.h"

namespace ropekv::testing {
namespace {

constexpr size_t kBlockBytes = 256;

// Each call that fails leaves a message, with its code; none is lost to another thread.
void Check(int code) {
  if (code == 0) return;
  const std::string message = TakeMessage();
  Require(message.find(std::to_string(code)) != message.npos, "the message has the code",
          std::to_string(code) + ": " + message);
}

void Nothing(void*) {}

// A call of the operator with few bytes, which are looked at after each program.
Spec SmallSpec(int64_t tokens) {
  Shape shape = PagedShape(tokens);
  shape.num_q_heads = shape.num_kv_heads = 1;
  shape.cache_shape = {2, 2};
  return AscendSpec(shape);
}

// Of an object that is there, was there, or never was.
void* Garble(void* handle, unsigned how) {
  return how % 32 == 31 ? reinterpret_cast<void*>(uintptr_t{how} * 0x10001000100013) : handle;
}

// Only a repeatable one is the caller's to destroy, and one that never ran would stay.
void DestroyExecutor(void* handle) {
  auto* const executor = static_cast<aclOpExecutor*>(handle);
  if (executor == nullptr) return;
  if (aclSetAclOpExecutorRepeatable(executor) != 0 || aclDestroyAclOpExecutor(executor) != 0) {
    static_cast<void>(TakeMessage());
  }
}

}  // namespace

AclProgram::AclProgram() {
  Spec with_offsets = SmallSpec(2);
  with_offsets.offset_k = with_offsets.offset_v = with_offsets.scale_k;
  operators_[0] = std::make_unique<Operator>(SmallSpec(1));
  operators_[1] = std::make_unique<Operator>(with_offsets);
  operators_[2] = std::make_unique<Operator>(SmallSpec(3));
  SpoilIndices(operators_[2]->data);
}

AclProgram::~AclProgram() = default;

void AclProgram::Begin(bool may_wait) {
  waits_ = may_wait ? 2 : 0;
  stream_waits_ = false;
  for (auto& op : operators_) op->data.problem.ResetActual();
}

void AclProgram::Call(const uint8_t* bytes) {
  const unsigned what = bytes[1], a = bytes[2], b = bytes[3];
  switch (bytes[0] % 8) {
    case 0:
    case 1: return CallStreams(what, a, b);
    case 2:
    case 3: return CallEvents(what, a, b);
    case 4: return CallMemory(what, a, b);
    case 5: return CallDescriptors(what, a, b);
    default: return CallOperator(what, a, b);
  }
}

void AclProgram::CallStreams(unsigned what, unsigned a, unsigned b) {
  Handle& slot = streams_[a % streams_.size()];
  const aclrtStream handle = Garble(slot, b);
  const auto thread = static_cast<uint64_t>(pthread_self());
  switch (what % 20) {
    case 0:
    case 1:
    case 2: {
      aclrtStream made = nullptr;
      const int code = aclrtCreateStreamWithConfig(&made, b % 8, b / 8 % 4);
      Check(code);
      if (code == 0) Check(aclrtDestroyStreamForce(slot.exchange(made)));
      return;
    }
    case 3:
      return Check(stream_waits_ ? aclrtDestroyStreamForce(handle) : aclrtDestroyStream(handle));
    case 4: return Check(aclrtDestroyStreamForce(handle));
    case 5:
      return Check(stream_waits_ ? aclrtSynchronizeStreamWithTimeout(handle, 1)
                                 : aclrtSynchronizeStream(handle));
    case 6:
      if (MayWait()) {
        const int timeout = static_cast<int>(b % 3) - 1;
        Check(aclrtSynchronizeStreamWithTimeout(handle, stream_waits_ ? 1 : timeout));
      }
      return;
    case 7: {
      aclrtStreamStatus status;
      return Check(aclrtStreamQuery(handle, &status));
    }
    case 8: return Check(aclrtSetStreamFailureMode(handle, b % 3));
    case 9: {
      int32_t id = 0;
      return Check(aclrtStreamGetId(handle, &id));
    }
    case 10: return Check(aclrtLaunchHostFunc(handle, Nothing, nullptr));
    case 11: return Check(aclrtSubscribeReport(thread, handle));
    case 12: return Check(aclrtUnSubscribeReport(thread, handle));
    case 13: return Check(aclrtLaunchCallback(Nothing, nullptr, ACL_CALLBACK_NO_BLOCK, handle));
    case 14:
      if (MayWait()) Check(aclrtProcessReport(1));
      return;
    case 15:
      return Check(stream_waits_ ? aclrtSynchronizeDeviceWithTimeout(1) : aclrtSynchronizeDevice());
    case 16: {
      if (stream_waits_) return;
      aclrtContext made = nullptr;
      const int code = aclrtCreateContext(&made, static_cast<int>(b % 3) - 1);
      Check(code);
      if (code == 0) Check(aclrtDestroyContext(contexts_[a % contexts_.size()].exchange(made)));
      return;
    }
    case 17:
      if (stream_waits_) return;
      return Check(aclrtDestroyContext(Garble(contexts_[a % contexts_.size()], b)));
    case 18: return Check(aclrtSetCurrentContext(Garble(contexts_[a % contexts_.size()], b)));
    default: return Check(aclrtSetDevice(static_cast<int>(b % 3) - 1));
  }
}

void AclProgram::CallEvents(unsigned what, unsigned a, unsigned b) {
  Handle& slot = events_[a % events_.size()];
  const aclrtEvent event = Garble(slot, b);
  const aclrtEvent other = events_[b % events_.size()];
  switch (what % 14) {
    case 0:
    case 1: {
      aclrtEvent made = nullptr;
      const int code = what & 32 ? aclrtCreateEventExWithFlag(&made, b % 16)
                                 : aclrtCreateEventWithFlag(&made, b % 16);
      Check(code);
      if (code == 0) Check(aclrtDestroyEvent(slot.exchange(made)));
      return;
    }
    case 2: return Check(aclrtDestroyEvent(event));
    case 3:
    case 4: return Check(aclrtRecordEvent(event, stream(b)));
    case 5: return Check(aclrtResetEvent(event, stream(b)));
    case 6:
    case 7:
      if (MayWait()) {
        stream_waits_ = true;
        Check(aclrtStreamWaitEventWithTimeout(stream(b), event, 1));
      }
      return;
    case 8:
      if (MayWait())
        Check(aclrtSynchronizeEventWithTimeout(event, static_cast<int>(b % 3) - 1 ? 1 : 0));
      return;
    case 9: {
      aclrtEventStatus status;
      return Check(aclrtQueryEvent(event, &status));
    }
    case 10: {
      aclrtEventRecordedStatus status;
      return Check(aclrtQueryEventStatus(event, &status));
    }
    case 11: {
      aclrtEventWaitStatus status;
      return Check(aclrtQueryEventWaitStatus(event, &status));
    }
    case 12: {
      float ms = 0;
      return Check(aclrtEventElapsedTime(&ms, event, other));
    }
    default: {
      uint64_t time = 0;
      return Check(aclrtEventGetTimestamp(event, &time));
    }
  }
}

void AclProgram::Copy(Block& to, Block& from, unsigned how, aclrtStream stream) {
  if (&to == &from) return;
  const std::shared_lock first(std::min(&to, &from)->mutex);
  const std::shared_lock second(std::max(&to, &from)->mutex);
  if (!to.address || !from.address) return;
  const auto kind = static_cast<aclrtMemcpyKind>(how % 8);
  const size_t count = how % 7 * kBlockBytes / 6 + (how % 7 == 6);  // the last is too long
  if (how & 64) {
    Check(aclrtMemcpyAsync(to.address, kBlockBytes, from.address, count, kind, stream));
  } else if (how & 128) {
    Check(aclrtMemcpy2d(to.address, 32, from.address, 32, how % 34, 8, kind));
  } else {
    Check(aclrtMemcpy(to.address, kBlockBytes, from.address, count, kind));
  }
}

void AclProgram::CallMemory(unsigned what, unsigned a, unsigned b) {
  Block& block = blocks_[a % blocks_.size()];
  switch (what % 7) {
    case 0:
    case 1: {
      const std::shared_lock addresses(addresses_);
      const std::lock_guard lock(block.mutex);
      if (block.address) return;
      block.host = b % 4 == 0;
      return Check(block.host ? aclrtMallocHost(&block.address, kBlockBytes)
                              : aclrtMalloc(&block.address, kBlockBytes,
                                            static_cast<aclrtMemMallocPolicy>(b % 8)));
    }
    case 2: {
      // Freed twice: in between nobody else may be given the address.
      const std::lock_guard addresses(addresses_);
      const std::lock_guard lock(block.mutex);
      if (!block.address) return;
      void* const address = block.address;
      int code = block.host ? aclrtFreeHost(address) : aclrtFree(address);
      Require(code == 0, "memory can be freed");
      block.address = nullptr;
      code = block.host ? aclrtFreeHost(address) : aclrtFree(address);
      return;
    }
    case 3:
    case 4: return Copy(block, blocks_[b % blocks_.size()], what * 5 + b, stream(b));
    case 5: {
      const std::shared_lock lock(block.mutex);
      if (!block.address) return;
      const size_t count = b % 6 * kBlockBytes / 4;
      return Check(b & 64 ? aclrtMemsetAsync(block.address, kBlockBytes, 1, count, stream(b))
                          : aclrtMemset(block.address, kBlockBytes, 1, count));
    }
    default: {
      const std::shared_lock lock(block.mutex);
      aclrtPtrAttributes attributes;
      return Check(aclrtPointerGetAttributes(block.address, &attributes));
    }
  }
}

void AclProgram::CallDescriptors(unsigned what, unsigned a, unsigned b) {
  Handle& slot = tensors_[a % tensors_.size()];
  auto* const tensor = static_cast<aclTensor*>(Garble(slot, b));
  const int64_t dims[] = {a % 5, b % 7, 3, INT64_MAX, -1};
  int64_t* values = nullptr;
  uint64_t count = 0;
  switch (what % 9) {
    case 0:
    case 1: {
      aclTensor* made = aclCreateTensor(dims, b % 6, static_cast<aclDataType>(a % 30 - 1u), dims,
                                        b % 3, static_cast<aclFormat>(a % 4), dims, b % 6, nullptr);
      static_cast<void>(TakeMessage());
      if (!made) return;
      auto* old = static_cast<aclTensor*>(slot.exchange(made));
      if (old && aclDestroyTensor(old) != 0) static_cast<void>(TakeMessage());
      return;
    }
    case 2: return Check(aclDestroyTensor(tensor));
    case 3: {
      const int code = aclGetViewShape(tensor, &values, &count);
      Check(code);
      if (code == 0) delete[] values;
      return;
    }
    case 4: {
      const int code = aclGetViewStrides(tensor, &values, &count);
      Check(code);
      if (code == 0) delete[] values;
      return;
    }
    case 5:
      return Check(aclInitTensor(tensor, dims, b % 6, static_cast<aclDataType>(a % 30), dims, 0,
                                 ACL_FORMAT_ND, dims, b % 6, nullptr));
    case 6: {
      const aclTensor* const elements[] = {tensor, nullptr};
      aclTensorList* made = aclCreateTensorList(elements, b % 3);
      static_cast<void>(TakeMessage());
      if (made) {
        auto* old = static_cast<aclTensorList*>(lists_[a % lists_.size()].exchange(made));
        if (old) Check(aclDestroyTensorList(old));
      }
      return;
    }
    case 7:
      return Check(
          aclDestroyTensorList(static_cast<aclTensorList*>(lists_[a % lists_.size()].load())));
    default: {
      void* address = nullptr;
      return Check(aclGetRawTensorAddr(tensor, &address));
    }
  }
}

void AclProgram::CallOperator(unsigned what, unsigned a, unsigned b) {
  Handle& slot = executors_[a % executors_.size()];
  auto* const executor = static_cast<aclOpExecutor*>(Garble(slot, b));
  AclCall& call = operators_[b % operators_.size()]->data.call;
  const auto tensor = [&](TensorId id) -> aclTensor* {
    // One in a few is another, or none; but for offsets, without which a call is legal and writes
    // other bytes.
    auto* const other = static_cast<aclTensor*>(tensors_[b % tensors_.size()].load());
    const bool is_offset = id == TensorId::kOffsetK || id == TensorId::kOffsetV;
    const bool replaced = what % 8 == 7 && static_cast<unsigned>(id) == a % kOperatorFields.size();
    return replaced && (other || !is_offset) ? other : call.tensor(id);
  };
  switch (what % 8) {
    case 0:
    case 1:
    case 7: {
      using enum TensorId;
      uint64_t size = 1;
      aclOpExecutor* made = nullptr;
      const int code = aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
          tensor(kX), tensor(kCos), tensor(kSin), tensor(kKCache), tensor(kVCache),
          tensor(kIndices), tensor(kScaleK), tensor(kScaleV), tensor(kOffsetK), tensor(kOffsetV),
          tensor(kWeightScale), tensor(kActivationScale), tensor(kBias), call.size_splits.get(),
          nullptr, nullptr, call.kv_output, call.cache_mode.data(), tensor(kQ), tensor(kK),
          tensor(kV), &size, &made);
      Check(code);
      if (code != 0) return;
      Require(size == 0, "no workspace is needed");
      DestroyExecutor(slot.exchange(made));
      return;
    }
    case 2:
    case 3:
    case 4: return Check(aclnnDequantRopeQuantKvcache(nullptr, b % 16 == 15, executor, stream(b)));
    case 5: return Check(aclSetAclOpExecutorRepeatable(executor));
    default: {
      // To the address that it has, or to none.
      const size_t index = b % (call.tensors.size() + 1);
      aclTensor* const other = index < call.tensors.size() ? call.tensors[index].get() : nullptr;
      void* address = nullptr;
      if (other) Check(aclGetRawTensorAddr(other, &address));
      if (other && what & 32) return Check(aclSetTensorAddr(executor, 99, other, address));
      return Check(aclDestroyAclOpExecutor(executor));
    }
  }
}

void AclProgram::End() {
  static_cast<void>(aclrtSetDevice(0));
  for (Handle& event : events_) static_cast<void>(aclrtDestroyEvent(event.exchange(nullptr)));
  for (Handle& stream : streams_) {
    static_cast<void>(aclrtDestroyStreamForce(stream.exchange(nullptr)));
  }
  for (Handle& slot : executors_) DestroyExecutor(slot.exchange(nullptr));
  for (Handle& slot : tensors_) {
    static_cast<void>(aclDestroyTensor(static_cast<aclTensor*>(slot.exchange(nullptr))));
  }
  for (Handle& slot : lists_) {
    static_cast<void>(aclDestroyTensorList(static_cast<aclTensorList*>(slot.exchange(nullptr))));
  }
  for (Handle& slot : contexts_) static_cast<void>(aclrtDestroyContext(slot.exchange(nullptr)));
  for (Block& block : blocks_) {
    if (block.address) {
      Require((block.host ? aclrtFreeHost(block.address) : aclrtFree(block.address)) == 0,
              "memory can be freed");
    }
    block.address = nullptr;
  }
  // Tasks of the default stream may still run.
  static_cast<void>(aclrtResetDeviceForce(0));
  for (auto& op : operators_) {
    const Problem& problem = op->data.problem;
    const std::string untouched = problem.CompareUntouched();
    if (untouched.empty()) continue;
    Require(op != operators_[2], "a call with a bad index writes nothing", untouched);
    const std::string difference = problem.Compare();
    Require(difference.empty(), "a call that ran wrote what it should", difference);
  }
  static_cast<void>(TakeMessage());
}

}  // namespace ropekv::testing
