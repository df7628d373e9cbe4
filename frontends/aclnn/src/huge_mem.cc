// SPDX-License-Identifier: Apache-2.0
// Looked up by name only, and declared in no header: programs use these names for types.
//
// PyTorch adapters bracket each operator call with them so that a toolkit can keep the objects of
// the first phase in an arena of the thread. Ours come from the ordinary heap, which is as fast, so
// that there is no arena to set up, and no failure to report either.
extern "C" {

__attribute__((visibility("default"))) int InitHugeMemThreadLocal(void* /*arena*/,
                                                                  bool /*shared*/) {
  return 0;
}

__attribute__((visibility("default"))) void UnInitHugeMemThreadLocal(void* /*arena*/,
                                                                     bool /*shared*/) {}

__attribute__((visibility("default"))) void ReleaseHugeMem(void* /*arena*/, bool /*shared*/) {}
}
