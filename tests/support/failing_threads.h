// SPDX-License-Identifier: Apache-2.0
// Replaces pthread_create in the programs it is linked into, so that no thread can be started when
// a test says: as where a limit of processes is reached. Not for programs that have a sanitizer,
// which replaces it too.
#ifndef ROPEKV_TESTS_SUPPORT_FAILING_THREADS_H_
#define ROPEKV_TESTS_SUPPORT_FAILING_THREADS_H_

namespace ropekv::testing {

// No thread can be started while one of these lives.
class NoThreads {
 public:
  NoThreads();
  ~NoThreads();
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

  // How many were asked for meanwhile.
  int refused() const;
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_FAILING_THREADS_H_
