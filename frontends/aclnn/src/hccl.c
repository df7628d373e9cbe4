// SPDX-License-Identifier: Apache-2.0
// Nothing: a program that calls HCCL shall fail to link.
typedef int ropekv_hccl_is_empty;
