// SPDX-License-Identifier: Apache-2.0
// Specs and options from the bytes of a fuzzer: near to what is legal, with a few things changed.
#ifndef ROPEKV_TESTS_FUZZ_FUZZED_SPEC_H_
#define ROPEKV_TESTS_FUZZ_FUZZED_SPEC_H_

#include <fuzzer/FuzzedDataProvider.h>

#include "ropekv/ropekv.h"

namespace ropekv::testing {

Spec FuzzedSpec(FuzzedDataProvider& in);
RunOptions FuzzedOptions(FuzzedDataProvider& in, int64_t num_tokens);

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_FUZZ_FUZZED_SPEC_H_
