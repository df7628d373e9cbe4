// SPDX-License-Identifier: Apache-2.0
// LibTorch's stable C ABI, declared by us, so that the operator is built without torch and serves
// every torch from 2.10 on.
#ifndef ROPEKV_FRONTENDS_PYTHON_TORCH_ABI_H_
#define ROPEKV_FRONTENDS_PYTHON_TORCH_ABI_H_

#include <cstddef>
#include <cstdint>

using AOTITorchError = int32_t;  // 0 is success
using StableIValue = uint64_t;   // a number, or one of the pointers below
using AtenTensorHandle = struct AtenTensorOpaque*;
using StableListHandle = struct StableListOpaque*;
using StringHandle = struct StringOpaque*;
using TorchLibraryHandle = class TorchLibraryOpaque*;

// The version whose conventions the values on the stack follow: 2.10.0.
inline constexpr uint64_t kTorchVersion = 0x020A000000000000;

extern "C" {
#define FUNCTION(result, name, parameters) result name parameters;
#include "frontends/python/torch/abi.inc"
#undef FUNCTION
}

#endif  // ROPEKV_FRONTENDS_PYTHON_TORCH_ABI_H_
