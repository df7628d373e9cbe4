// SPDX-License-Identifier: Apache-2.0
// Shapes that the device's operator does not take, though the native interface does.
#ifndef ROPEKV_ACLNN_OPS_DEVICE_SHAPES_H_
#define ROPEKV_ACLNN_OPS_DEVICE_SHAPES_H_

#include "executor.h"

namespace ropekv::acl {

// cos and sin have an entry for each channel of a head, scales and offsets one for each channel.
// What else is wrong with `spec` is for MakePlan to say.
int CheckDeviceShapes(const OperatorInfo& op, const Spec& spec);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_OPS_DEVICE_SHAPES_H_
