/* SPDX-License-Identifier: Apache-2.0 */
/* Every header of the toolkit in a C99 program. */
#include <stdio.h>

#include "acl/acl.h"
#include "acl/acl_base.h"
#include "acl/acl_mdl.h"
#include "acl/acl_op.h"
#include "acl/acl_rt.h"
#include "acl/acl_rt_api.h"
#include "acl/acl_rt_types.h"
#include "acl/error_codes/rt_error_codes.h"
#include "aclnn/acl_meta.h"
#include "aclnn/aclnn_base.h"
#include "aclnnop/aclnn_dequant_rope_quant_kvcache.h"

int main(void) {
  const int64_t values[] = {1, 2, 3};
  uint64_t size = 0;
  aclIntArray* array = aclCreateIntArray(values, 3);
  const int good = aclInit(NULL) == ACL_SUCCESS && aclGetIntArraySize(array, &size) == OK &&
                   size == 3 && aclnnDequantRopeQuantKvcache(NULL, 0, NULL, NULL) == 161001 &&
                   aclGetRecentErrMsg() != NULL && aclDestroyIntArray(array) == OK &&
                   aclFinalize() == ACL_SUCCESS;
  printf("all_headers: %s\n", good ? "as expected" : "WRONG");
  return good ? 0 : 1;
}
