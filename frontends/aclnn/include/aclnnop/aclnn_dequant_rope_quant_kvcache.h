// SPDX-License-Identifier: Apache-2.0
// Dequantise (int32 x only), split into q, k and v, rotate q and k, quantise k and v to int8 and
// write them into the caches, in one operator.
#ifndef ACLNNOP_ACLNN_DEQUANT_ROPE_QUANT_KVCACHE_H_
#define ACLNNOP_ACLNN_DEQUANT_ROPE_QUANT_KVCACHE_H_

#include "aclnn/acl_meta.h"

#ifdef __cplusplus
extern "C" {
#endif

// Phase 1: checks the arguments and prepares the call. B = batch, S = sequence, T = B*S, D = head
// size, Nq and Nkv = heads, H = (Nq + 2*Nkv)*D.
//   x                    [B,S,H] or [B,H]; int32, float16 or bfloat16
//   cos, sin             [B,S,1,D] or [B,D]; float16 or bfloat16, x's unless x is int32
//   kCacheRef, vCacheRef [C1,C2,Nkv,D]; int8; updated
//   indices              int32; contiguous: [B], first position in cache row b; page: [T], slots
//   scaleK ... offsetV   Nkv*D elements; float
//   weightScale          [H]; float; required for int32 x     ignored when x
//   activationScale      [T]; float                           is not int32
//   bias                 [H]; float, float16, bfloat16, int32
//   sizeSplits           {Nq*D, Nkv*D, Nkv*D}
//   cacheMode            "page"; anything else, or null, is "contiguous". quantMode and layout have
//                        one value each and are not looked at.
//   qOut                 T*Nq*D elements, dense; cos's type
//   kOut, vOut           T*Nkv*D elements, dense; cos's type; written if kvOutput, never null
// Descriptors, arrays and strings may be destroyed when this returns. *workspaceSize becomes 0.
ACL_FUNC_VISIBILITY aclnnStatus aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
    const aclTensor* x, const aclTensor* cos, const aclTensor* sin, aclTensor* kCacheRef,
    aclTensor* vCacheRef, const aclTensor* indices, const aclTensor* scaleK,
    const aclTensor* scaleV, const aclTensor* offsetKOptional, const aclTensor* offsetVOptional,
    const aclTensor* weightScaleOptional, const aclTensor* activationScaleOptional,
    const aclTensor* biasOptional, const aclIntArray* sizeSplits, char* quantModeOptional,
    char* layoutOptional, bool kvOutput, char* cacheModeOptional, const aclTensor* qOut,
    const aclTensor* kOut, const aclTensor* vOut, uint64_t* workspaceSize,
    aclOpExecutor** executor);

// Phase 2: puts the call on stream and consumes executor. What is wrong with the data (an index out
// of range) is reported by the next synchronise, and then nothing has been written.
ACL_FUNC_VISIBILITY aclnnStatus aclnnDequantRopeQuantKvcache(void* workspace,
                                                             uint64_t workspaceSize,
                                                             aclOpExecutor* executor,
                                                             aclrtStream stream);

#ifdef __cplusplus
}
#endif

#endif  // ACLNNOP_ACLNN_DEQUANT_ROPE_QUANT_KVCACHE_H_
