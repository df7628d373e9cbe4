// SPDX-License-Identifier: Apache-2.0
// What programs ask about the device: the machine's own figures, and names that can be overridden.
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>

#include "context.h"
#include "env.h"
#include "error.h"
#include "event.h"
#include "executor.h"

namespace ropekv::acl {
namespace {

int64_t NumCores() { return std::max(1u, std::thread::hardware_concurrency()); }

int64_t TotalMemory() {
  struct sysinfo info;
  return sysinfo(&info) == 0 ? static_cast<int64_t>(info.totalram * info.mem_unit) : 0;
}

// What the kernel would hand out without swapping. Less than that is really free, but the rest is
// cache.
int64_t AvailableMemory() {
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  if (!file) return TotalMemory();
  constexpr std::string_view kKey = "MemAvailable:";
  char line[128];
  int64_t kib = 0;
  while (kib == 0 && std::fgets(line, sizeof line, file)) {
    if (std::string_view(line).starts_with(kKey)) {
      kib = std::strtoll(line + kKey.size(), nullptr, 10);
    }
  }
  std::fclose(file);
  return kib * 1024;
}

int64_t L2Bytes() { return std::max(0L, sysconf(_SC_LEVEL2_CACHE_SIZE)); }

// Which device may use another's memory: (device, peer).
std::mutex peers_mutex;
std::set<std::pair<int32_t, int32_t>>& Peers() {
  static auto& peers = *new std::set<std::pair<int32_t, int32_t>>;
  return peers;
}

// The pair of the current device and `peer`.
int FindPeer(int32_t peer, std::pair<int32_t, int32_t>& pair) {
  std::shared_ptr<Context> context;
  if (const int code = FindCurrentContext(context)) return code;
  if (const int code = CheckDevice(peer)) return code;
  if (peer == context->device) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "device %d is the current device itself", peer);
  }
  pair = {context->device, peer};
  return ACL_SUCCESS;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtGetDeviceCount(uint32_t* count) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!count) return Fail(ACL_ERROR_INVALID_PARAM, "count is null");
    *count = static_cast<uint32_t>(GetEnv().device_count);
    return ACL_SUCCESS;
  });
}

aclError aclrtGetRunMode(aclrtRunMode* runMode) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!runMode) return Fail(ACL_ERROR_INVALID_PARAM, "runMode is null");
    *runMode = ACL_HOST;
    return ACL_SUCCESS;
  });
}

aclError aclrtGetMemInfo(aclrtMemAttr attr, size_t* free, size_t* total) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!free || !total)
      return Fail(ACL_ERROR_INVALID_PARAM, "%s is null", free ? "total" : "free");
    if (attr < ACL_DDR_MEM || attr > ACL_MEM_P2P_HUGE1G) {
      return Fail(ACL_ERROR_INVALID_PARAM, "attr %d; expected 0 to %d", attr, ACL_MEM_P2P_HUGE1G);
    }
    std::shared_ptr<Context> context;
    if (const int code = FindCurrentContext(context)) return code;
    *free = static_cast<size_t>(AvailableMemory());
    *total = static_cast<size_t>(TotalMemory());
    return ACL_SUCCESS;
  });
}

const char* aclrtGetSocName() { return GetEnv().soc_name.c_str(); }

aclError aclrtGetDeviceInfo(uint32_t deviceId, aclrtDevAttr attr, int64_t* value) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!value) return Fail(ACL_ERROR_INVALID_PARAM, "value is null");
    if (const int code = CheckDevice(static_cast<int32_t>(deviceId))) return code;
    switch (attr) {
      case ACL_DEV_ATTR_AICPU_CORE_NUM:
      case ACL_DEV_ATTR_AICORE_CORE_NUM:
      case ACL_DEV_ATTR_CUBE_CORE_NUM:
      case ACL_DEV_ATTR_VECTOR_CORE_NUM: *value = NumCores(); return ACL_SUCCESS;
      case ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE: *value = TotalMemory(); return ACL_SUCCESS;
      case ACL_DEV_ATTR_L2_CACHE_SIZE: *value = L2Bytes(); return ACL_SUCCESS;
      case ACL_DEV_ATTR_PHY_CHIP_ID: *value = deviceId; return ACL_SUCCESS;
      default:
        return Fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "attribute %d has no meaning on a CPU", attr);
    }
  });
}

aclError aclGetDeviceCapability(uint32_t deviceId, aclDeviceInfo deviceInfo, int64_t* value) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!value) return Fail(ACL_ERROR_INVALID_PARAM, "value is null");
    if (const int code = CheckDevice(static_cast<int32_t>(deviceId))) return code;
    switch (deviceInfo) {
      case ACL_DEVICE_INFO_AI_CORE_NUM:
      case ACL_DEVICE_INFO_VECTOR_CORE_NUM: *value = NumCores(); return ACL_SUCCESS;
      case ACL_DEVICE_INFO_L2_SIZE: *value = L2Bytes(); return ACL_SUCCESS;
      default: return Fail(ACL_ERROR_INVALID_PARAM, "deviceInfo %d; expected 0 to 2", deviceInfo);
    }
  });
}

aclError aclrtDeviceCanAccessPeer(int32_t* canAccessPeer, int32_t deviceId, int32_t peerDeviceId) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!canAccessPeer) return Fail(ACL_ERROR_INVALID_PARAM, "canAccessPeer is null");
    if (const int code = CheckDevice(deviceId)) return code;
    if (const int code = CheckDevice(peerDeviceId)) return code;
    *canAccessPeer = deviceId != peerDeviceId;
    return ACL_SUCCESS;
  });
}

aclError aclrtDeviceEnablePeerAccess(int32_t peerDeviceId, uint32_t flags) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (flags != 0) return Fail(ACL_ERROR_RT_PARAM_INVALID, "flags 0x%x; expected 0", flags);
    std::pair<int32_t, int32_t> pair;
    if (const int code = FindPeer(peerDeviceId, pair)) return code;
    const std::lock_guard lock(peers_mutex);
    Peers().insert(pair);
    return ACL_SUCCESS;
  });
}

aclError aclrtDeviceDisablePeerAccess(int32_t peerDeviceId) {
  return RuntimeCall(__func__, [&]() -> aclError {
    std::pair<int32_t, int32_t> pair;
    if (const int code = FindPeer(peerDeviceId, pair)) return code;
    const std::lock_guard lock(peers_mutex);
    if (Peers().erase(pair) == 1) return ACL_SUCCESS;
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "access to device %d was not enabled", peerDeviceId);
  });
}

aclError aclrtGetDeviceSatMode(aclrtFloatOverflowMode* mode) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!mode) return Fail(ACL_ERROR_INVALID_PARAM, "mode is null");
    *mode = ACL_RT_OVERFLOW_MODE_INFNAN;
    return ACL_SUCCESS;
  });
}

aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode mode) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (mode == ACL_RT_OVERFLOW_MODE_INFNAN) return ACL_SUCCESS;
    if (mode == ACL_RT_OVERFLOW_MODE_SATURATION) {
      return Fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "arithmetic is IEEE: only INFNAN is possible");
    }
    return Fail(ACL_ERROR_INVALID_PARAM, "mode %d; expected 0 or 1", mode);
  });
}

aclError aclrtSetOpExecuteTimeOut(uint32_t timeout) {
  return RuntimeCall(__func__, [&]() -> aclError {
    SetOpTimeLimitSeconds(timeout);
    return ACL_SUCCESS;
  });
}

aclError aclrtSetOpWaitTimeout(uint32_t timeout) {
  return RuntimeCall(__func__, [&]() -> aclError {
    SetDefaultStreamWaitSeconds(timeout);
    return ACL_SUCCESS;
  });
}
