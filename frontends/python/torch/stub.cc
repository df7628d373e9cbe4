// SPDX-License-Identifier: Apache-2.0
// A library that has torch's soname and the functions of abi.inc, to link with: a name that is
// missing there is an error of the linker, not of the first call. It is never loaded.
#include "frontends/python/torch/abi.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC visibility push(default)
extern "C" {
#define FUNCTION(result, name, parameters) \
  result name parameters { __builtin_trap(); }
#include "frontends/python/torch/abi.inc"
#undef FUNCTION
}
#pragma GCC visibility pop
