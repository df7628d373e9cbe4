// SPDX-License-Identifier: Apache-2.0
// Events. Each recording is an object of its own, so that waiting for one is not disturbed by the
// next.
#ifndef ROPEKV_ACLNN_EVENT_H_
#define ROPEKV_ACLNN_EVENT_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "handle_table.h"
#include "stream.h"

namespace ropekv::acl {

class Event {
 public:
  // `counts_as_complete`: before it is recorded, as Ex events do. Others are waited for until then.
  Event(bool counts_as_complete, bool has_time)
      : counts_as_complete_(counts_as_complete), has_time_(has_time) {}

  // One recording; guarded by the event's mutex.
  struct Recording {
    bool done = false;
    int64_t time_ns = 0;
    TaskFailure failure;  // what the stream had to report at that point
  };
  using RecordingPtr = std::shared_ptr<Recording>;

  RecordingPtr NewRecording();  // from now on the latest one
  RecordingPtr latest() const;
  void Complete(Recording& recording, TaskFailure failure);
  // Forgets `recording` if it is still the latest.
  void Reset(const RecordingPtr& recording);
  // The event's handle is gone: nobody waits any longer.
  void Abandon();

  // Waits for `recording`, or if it is null for the first one to come, which it then becomes. Gives
  // up with that stream (may be null) when it is dropping its tasks.
  enum class WaitResult { kDone, kTimeout, kGivenUp };
  WaitResult Wait(RecordingPtr& recording, const Deadline& deadline, const Stream* give_up_with);

  bool complete() const;
  bool counts_as_complete() const { return counts_as_complete_; }
  bool has_time() const { return has_time_; }
  bool IsDone(const Recording& recording) const;
  Recording Get(const Recording& recording) const;  // a copy

  void AddStreamWait();
  void EndStreamWait();
  bool stream_waits_over() const;

 private:
  const bool counts_as_complete_;
  const bool has_time_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  RecordingPtr latest_;
  bool abandoned_ = false;
  int stream_waits_ = 0;
};

using EventTable = HandleTable<Event, HandleKind::kEvent>;

// Seconds that aclrtStreamWaitEvent waits at most; 0: no limit.
void SetDefaultStreamWaitSeconds(uint32_t seconds);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_EVENT_H_
