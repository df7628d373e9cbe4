// SPDX-License-Identifier: Apache-2.0
// A stream: tasks run one after the other, in a thread of the stream's own, or at once in the
// caller when the stream is idle and the task is small.
#ifndef ROPEKV_ACLNN_STREAM_H_
#define ROPEKV_ACLNN_STREAM_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "acl/acl_rt.h"
#include "handle_table.h"

namespace ropekv::acl {

// What went wrong in a task; code ACL_SUCCESS: nothing.
struct TaskFailure {
  int code = ACL_SUCCESS;
  std::string message;
};

using Deadline = std::optional<std::chrono::steady_clock::time_point>;
// timeout_ms < 0: no deadline.
Deadline DeadlineAfter(int32_t timeout_ms);

class Stream {
 public:
  struct TaskTraits {
    bool may_run_in_caller = false;
    bool even_when_stopped = false;  // others wait for it: events must complete
  };
  using Task = std::function<TaskFailure(Stream&)>;

  // `context` owns the stream; `flags` are ACL_STREAM_*.
  Stream(const void* context, int32_t device, uint32_t flags);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int32_t id() const { return id_; }
  const void* context() const { return context_; }
  int32_t device() const { return device_; }

  // Runs task(*this) in stream order. False if the stream has been closed.
  template <class Callable>
  bool Submit(TaskTraits traits, Callable task) {
    if (traits.may_run_in_caller && BeginInCaller()) {
      FinishTask(Execute(traits, task));
      return true;
    }
    return Enqueue({traits, Task(std::move(task)), 0});
  }

  enum class WaitResult { kDone, kTimeout };
  // Waits for all that was submitted so far.
  WaitResult Wait(const Deadline& deadline);
  // Wait, unless the stream's flags exempt it; then the code of the first failure since the last
  // call, noted for aclGetRecentErrMsg.
  int Synchronise(const Deadline& deadline);
  bool idle() const;

  TaskFailure failure() const;  // the unreported one, if any
  // False if the mode was set before.
  bool SetStopOnFailure(bool stop);

  // Ends the stream: lets its tasks finish, or drops those that have not started and interrupts
  // waiting ones.
  void Close(bool drop_tasks);
  // For tasks that wait: give up.
  bool dropping() const { return dropping_; }

  // The ticket of the oldest task that is not done; kNoTicket if there is none.
  uint64_t OldestTicket() const;

 private:
  struct QueuedTask {
    TaskTraits traits;
    Task task;
    uint64_t ticket;
  };

  bool BeginInCaller();
  bool Enqueue(QueuedTask task);
  void RunWorker();
  void FinishTask(TaskFailure failure);

  template <class Callable>
  TaskFailure Execute(TaskTraits traits, Callable& task) noexcept {
    if (stopped_ && !traits.even_when_stopped) return {};
    try {
      return task(*this);
    } catch (const std::bad_alloc&) {  // so short that std::string keeps it in itself
      return {ACL_ERROR_RT_INTERNAL_ERROR, "out of memory"};
    } catch (...) {
      return {ACL_ERROR_RT_INTERNAL_ERROR, "unexpected"};
    }
  }

  const int32_t id_;
  const void* const context_;
  const int32_t device_;
  const bool exempt_from_synchronise_;

  mutable std::mutex mutex_;
  std::condition_variable task_ready_;
  std::condition_variable task_done_;
  std::list<QueuedTask> queue_;  // of a kind that is made and swapped without memory
  bool busy_ = false;            // a task is running
  bool closed_ = false;
  int waiters_ = 0;
  uint64_t submitted_ = 0;
  uint64_t completed_ = 0;
  uint64_t running_ticket_;
  TaskFailure failure_;
  std::optional<bool> stop_on_failure_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> dropping_{false};
  std::thread worker_;
};

using StreamTable = HandleTable<Stream, HandleKind::kStream>;

// Tickets number the tasks of all streams, so that "is everything that was submitted before now
// done?" is one comparison.
inline constexpr uint64_t kNoTicket = UINT64_MAX;
uint64_t LastTicket();
uint64_t OldestTicketOfAll();

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_STREAM_H_
