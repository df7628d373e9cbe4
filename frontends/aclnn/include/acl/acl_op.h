// SPDX-License-Identifier: Apache-2.0
// Single-operator execution by name (aclop*) is not provided; programs include this header all the same.
#ifndef ACL_ACL_OP_H_
#define ACL_ACL_OP_H_

#include "acl/acl_base.h"

#endif  // ACL_ACL_OP_H_
