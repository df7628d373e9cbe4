// SPDX-License-Identifier: Apache-2.0
// Offline models (aclmdl*) are not provided; programs include this header all the same.
#ifndef ACL_ACL_MDL_H_
#define ACL_ACL_MDL_H_

#include "acl/acl_base.h"

#endif  // ACL_ACL_MDL_H_
