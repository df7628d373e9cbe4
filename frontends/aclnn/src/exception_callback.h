// SPDX-License-Identifier: Apache-2.0
#ifndef ROPEKV_ACLNN_EXCEPTION_CALLBACK_H_
#define ROPEKV_ACLNN_EXCEPTION_CALLBACK_H_

#include "stream.h"

namespace ropekv::acl {

// Tells the program's aclrtSetExceptionInfoCallback function, if it has set one, of a failed task.
void ReportException(const Stream& stream, const TaskFailure& failure);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_EXCEPTION_CALLBACK_H_
