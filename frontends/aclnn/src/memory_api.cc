// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "context.h"
#include "env.h"
#include "error.h"
#include "memory.h"

namespace ropekv::acl {
namespace {

int32_t CurrentDevice() {
  const std::shared_ptr<Context> context = CurrentContextOrNull();
  return context ? context->device : 0;
}

// Unknown policies behave like HUGE_FIRST, as documented. Huge pages are a hint here: HUGE_ONLY
// does not fail where the kernel has none to give.
bool WantsHugePages(aclrtMemMallocPolicy policy) {
  return policy != ACL_MEM_MALLOC_NORMAL_ONLY && policy != ACL_MEM_MALLOC_NORMAL_ONLY_P2P;
}

// aclrtMalloc leaves 32 bytes between the end of a block and the next one, aclrtMallocAlign32 need
// not; here both have the rest of the page.
int MallocDevice(void** pointer, size_t size, aclrtMemMallocPolicy policy, int32_t device) {
  if (!pointer) return Fail(ACL_ERROR_INVALID_PARAM, "devPtr is null");
  if (size == 0 || size > SIZE_MAX - 63) {
    return Fail(ACL_ERROR_INVALID_PARAM, "size %zu; expected 1 to %zu", size, SIZE_MAX - 63);
  }
  void* memory = MemoryTable::Get().AllocateDevice(size, device, WantsHugePages(policy));
  if (!memory)
    return Fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no %zu bytes of memory to be had", size);
  *pointer = memory;
  return ACL_SUCCESS;
}

int Free(void* pointer, MemoryKind kind) {
  if (!pointer) return Fail(ACL_ERROR_INVALID_PARAM, "the pointer is null");
  if (MemoryTable::Get().Free(pointer, kind)) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_PARAM_INVALID, "%p is not the start of a block of %s memory", pointer,
              Name(kind));
}

int CheckDeviceRange(const void* pointer, size_t size) {
  if (!pointer || size == 0) {
    return Fail(ACL_ERROR_INVALID_PARAM, "devPtr %p, size %zu; expected neither to be 0", pointer,
                size);
  }
  const auto block = MemoryTable::Get().Find(pointer);
  if (block && block->kind == MemoryKind::kDevice &&
      size <= block->begin + block->mapped_bytes - reinterpret_cast<uintptr_t>(pointer)) {
    return ACL_SUCCESS;
  }
  return Fail(ACL_ERROR_RT_PARAM_INVALID, "%zu bytes at %p are not device memory", size, pointer);
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtMalloc(void** devPtr, size_t size, aclrtMemMallocPolicy policy) {
  return RuntimeCall(__func__, [&] { return MallocDevice(devPtr, size, policy, CurrentDevice()); });
}

aclError aclrtMallocAlign32(void** devPtr, size_t size, aclrtMemMallocPolicy policy) {
  return RuntimeCall(__func__, [&] { return MallocDevice(devPtr, size, policy, CurrentDevice()); });
}

aclError aclrtMallocCached(void** devPtr, size_t size, aclrtMemMallocPolicy policy) {
  return RuntimeCall(__func__, [&] { return MallocDevice(devPtr, size, policy, CurrentDevice()); });
}

aclError aclrtMallocWithCfg(void** devPtr, size_t size, aclrtMemMallocPolicy policy,
                            aclrtMallocConfig* cfg) {
  return RuntimeCall(__func__, [&]() -> aclError {
    int32_t device = CurrentDevice();
    const size_t count = cfg ? cfg->numAttrs : 0;
    if (count > 0 && !cfg->attrs) return Fail(ACL_ERROR_INVALID_PARAM, "cfg->attrs is null");
    for (size_t i = 0; i < count; ++i) {
      // A module id labels memory in the device's statistics, and virtual addresses are all alike
      // here: neither changes anything.
      const aclrtMallocAttribute& attribute = cfg->attrs[i];
      if (attribute.attr == ACL_RT_MEM_ATTR_DEVICE_ID) {
        device = static_cast<int32_t>(attribute.value.deviceId);
        if (const int code = CheckDevice(device)) return code;
      } else if (attribute.attr < ACL_RT_MEM_ATTR_RSV || attribute.attr > ACL_RT_MEM_ATTR_VA_FLAG) {
        return Fail(ACL_ERROR_RT_PARAM_INVALID, "cfg->attrs[%zu] is %d; expected 0 to %d", i,
                    attribute.attr, ACL_RT_MEM_ATTR_VA_FLAG);
      }
    }
    return MallocDevice(devPtr, size, policy, device);
  });
}

aclError aclrtFree(void* devPtr) {
  return RuntimeCall(__func__, [&] { return Free(devPtr, MemoryKind::kDevice); });
}

aclError aclrtFreeWithDevSync(void* devPtr) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!devPtr) return Fail(ACL_ERROR_INVALID_PARAM, "devPtr is null");
    const auto block = MemoryTable::Get().Find(devPtr);
    const int failure = block ? SynchroniseDevice(block->device, std::nullopt) : ACL_SUCCESS;
    const int code = Free(devPtr, MemoryKind::kDevice);
    return code != ACL_SUCCESS ? code : failure;
  });
}

aclError aclrtMallocHost(void** hostPtr, size_t size) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!hostPtr || size == 0) {
      return Fail(ACL_ERROR_INVALID_PARAM, "hostPtr %p, size %zu; expected neither to be 0",
                  static_cast<void*>(hostPtr), size);
    }
    void* memory = MemoryTable::Get().AllocateHost(size);
    if (!memory) {
      return Fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no %zu bytes of memory to be had", size);
    }
    *hostPtr = memory;
    return ACL_SUCCESS;
  });
}

aclError aclrtFreeHost(void* hostPtr) {
  return RuntimeCall(__func__, [&] { return Free(hostPtr, MemoryKind::kPinnedHost); });
}

aclError aclrtMemFlush(void* devPtr, size_t size) {
  return RuntimeCall(__func__, [&] { return CheckDeviceRange(devPtr, size); });
}

aclError aclrtMemInvalidate(void* devPtr, size_t size) {
  return RuntimeCall(__func__, [&] { return CheckDeviceRange(devPtr, size); });
}

aclError aclrtHostRegister(void* ptr, uint64_t size, aclrtHostRegisterType type, void** devPtr) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!ptr || !devPtr || size == 0) {
      return Fail(ACL_ERROR_INVALID_PARAM, "ptr %p, devPtr %p, size %llu; expected none to be 0",
                  ptr, static_cast<void*>(devPtr), static_cast<unsigned long long>(size));
    }
    if (type != ACL_HOST_REGISTER_MAPPED && type != ACL_HOST_REGISTER_READONLY) {
      return Fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "type %d; expected MAPPED or READONLY", type);
    }
    if (!MemoryTable::Get().Register(ptr, size)) {
      return Fail(ACL_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
                  "memory at %p is registered or was allocated by this library", ptr);
    }
    *devPtr = ptr;
    return ACL_SUCCESS;
  });
}

aclError aclrtHostUnregister(void* ptr) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!ptr) return Fail(ACL_ERROR_INVALID_PARAM, "ptr is null");
    if (MemoryTable::Get().Free(ptr, MemoryKind::kRegisteredHost)) return ACL_SUCCESS;
    return Fail(ACL_ERROR_HOST_MEMORY_NOT_REGISTERED, "%p is not registered", ptr);
  });
}

aclError aclrtPointerGetAttributes(const void* ptr, aclrtPtrAttributes* attributes) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!ptr || !attributes) {
      return Fail(ACL_ERROR_INVALID_PARAM, "ptr %p, attributes %p; expected neither to be null",
                  ptr, static_cast<void*>(attributes));
    }
    const auto block = MemoryTable::Get().Find(ptr);
    *attributes = {};
    attributes->pageSize = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
    attributes->location.type = ACL_MEM_LOCATION_TYPE_UNREGISTERED;
    if (!block) return ACL_SUCCESS;
    attributes->location.id = static_cast<uint32_t>(block->device);
    const bool is_device = block->kind == MemoryKind::kDevice;
    attributes->location.type =
        is_device ? ACL_MEM_LOCATION_TYPE_DEVICE : ACL_MEM_LOCATION_TYPE_HOST;
    return ACL_SUCCESS;
  });
}
