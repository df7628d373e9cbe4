// SPDX-License-Identifier: Apache-2.0
// Handles that programs hold for our objects. A handle is a name, not an address, so that one that
// is stale, foreign or of another kind is found out and never followed.
#ifndef ROPEKV_ACLNN_HANDLE_TABLE_H_
#define ROPEKV_ACLNN_HANDLE_TABLE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>
#include <vector>

namespace ropekv::acl {

// At most 15, from 1.
enum class HandleKind : uintptr_t {
  kContext = 1,
  kStream,
  kEvent,
  kExecutor,
  kTensor,
  kScalar,
  kIntArray,
  kFloatArray,
  kBoolArray,
  kTensorList,
  kScalarList,
  kDataBuffer,
};

// As the interface calls the type.
constexpr const char* Name(HandleKind kind) {
  switch (kind) {
    case HandleKind::kContext: return "aclrtContext";
    case HandleKind::kStream: return "aclrtStream";
    case HandleKind::kEvent: return "aclrtEvent";
    case HandleKind::kExecutor: return "aclOpExecutor";
    case HandleKind::kTensor: return "aclTensor";
    case HandleKind::kScalar: return "aclScalar";
    case HandleKind::kIntArray: return "aclIntArray";
    case HandleKind::kFloatArray: return "aclFloatArray";
    case HandleKind::kBoolArray: return "aclBoolArray";
    case HandleKind::kTensorList: return "aclTensorList";
    case HandleKind::kScalarList: return "aclScalarList";
    case HandleKind::kDataBuffer: return "aclDataBuffer";
  }
  return "handle";
}

// Thread-safe. What Find returns stays alive while the caller holds it, even if another thread
// removes it meanwhile.
template <class T, HandleKind kKind>
class HandleTable {
 public:
  using Pointer = std::shared_ptr<T>;
  static constexpr const char* kName = Name(kKind);

  // The only one of its type; never destroyed, because programs leak handles and threads outlive
  // main.
  static HandleTable& Get() {
    static auto& table = *new HandleTable;
    return table;
  }

  void* Insert(std::shared_ptr<T> object) {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) {
      // Room for all, so that Remove does not allocate; before there is anything to lose.
      if (free_.capacity() <= slots_.size()) free_.reserve(2 * slots_.size() + 1);
      slots_.emplace_back();
      free_.push_back(static_cast<uint32_t>(slots_.size() - 1));
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    slots_[index].object = std::move(object);
    return Encode(index, slots_[index].generation);
  }

  std::shared_ptr<T> Find(const void* handle) const {
    const std::shared_lock lock(mutex_);
    const Slot* slot = Decode(handle);
    return slot ? slot->object : nullptr;
  }

  // Whether the handle named an object; from now on it names this one. Objects that a call can
  // change are changed so: others may be reading the old one.
  bool Replace(const void* handle, std::shared_ptr<T> object) {
    const std::lock_guard lock(mutex_);
    auto* slot = const_cast<Slot*>(Decode(handle));
    if (!slot || !slot->object) return false;
    slot->object.swap(object);
    return true;
  }

  // The object, which the handle no longer names; null if it did not, or no longer.
  std::shared_ptr<T> Remove(const void* handle) {
    const std::lock_guard lock(mutex_);
    auto* slot = const_cast<Slot*>(Decode(handle));
    if (!slot || !slot->object) return nullptr;
    ++slot->generation;
    free_.push_back(static_cast<uint32_t>(slot - slots_.data()));
    return std::exchange(slot->object, nullptr);
  }

  // The first object that `wanted` is true of, and its handle; allocates nothing. `wanted` is
  // called while the table is locked.
  template <class Wanted>
  std::pair<void*, std::shared_ptr<T>> FindIf(Wanted wanted) const {
    const std::shared_lock lock(mutex_);
    for (uint32_t i = 0; i < slots_.size(); ++i) {
      const Slot& slot = slots_[i];
      if (slot.object && wanted(*slot.object)) return {Encode(i, slot.generation), slot.object};
    }
    return {};
  }

  std::vector<std::pair<void*, std::shared_ptr<T>>> All() const {
    const std::shared_lock lock(mutex_);
    std::vector<std::pair<void*, std::shared_ptr<T>>> all;
    for (uint32_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].object) all.emplace_back(Encode(i, slots_[i].generation), slots_[i].object);
    }
    return all;
  }

 private:
  struct Slot {
    std::shared_ptr<T> object;
    uint32_t generation = 1;  // of the handle that names the object, or will name the next one
  };

  // generation (32 bits) | index (28) | kind (4)
  static void* Encode(uint32_t index, uint32_t generation) {
    return reinterpret_cast<void*>(uintptr_t{generation} << 32 | uintptr_t{index} << 4 |
                                   static_cast<uintptr_t>(kKind));
  }

  const Slot* Decode(const void* handle) const {
    const auto bits = reinterpret_cast<uintptr_t>(handle);
    const uintptr_t index = (bits & 0xFFFFFFFF) >> 4;
    if ((bits & 0xF) != static_cast<uintptr_t>(kKind) || index >= slots_.size()) return nullptr;
    return slots_[index].generation == bits >> 32 ? &slots_[index] : nullptr;
  }

  mutable std::shared_mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_HANDLE_TABLE_H_
