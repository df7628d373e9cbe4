// SPDX-License-Identifier: Apache-2.0
#include <atomic>

#include "context.h"
#include "error.h"
#include "event.h"

namespace ropekv::acl {
namespace {

std::atomic<uint32_t> default_stream_wait_seconds{0};

constexpr uint32_t kEventFlags = ACL_EVENT_SYNC | ACL_EVENT_CAPTURE_STREAM_PROGRESS |
                                 ACL_EVENT_TIME_LINE | ACL_EVENT_DEVICE_USE_ONLY |
                                 ACL_EVENT_EXTERNAL;

int CreateEvent(aclrtEvent* event, uint32_t flag, bool is_ex) {
  if (!event) return Fail(ACL_ERROR_INVALID_PARAM, "event is null");
  if (flag == 0 || (flag & ~kEventFlags) != 0) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID,
                "flag 0x%x; expected some of 0x%x (events of several processes are not provided)",
                flag, kEventFlags);
  }
  const bool has_time = !is_ex || (flag & ACL_EVENT_TIME_LINE) != 0;
  *event = EventTable::Get().Insert(std::make_shared<Event>(is_ex, has_time));
  return ACL_SUCCESS;
}

int FindEvent(aclrtEvent handle, std::shared_ptr<Event>& event) {
  if (!handle) return Fail(ACL_ERROR_INVALID_PARAM, "event is null");
  event = EventTable::Get().Find(handle);
  if (event) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_INVALID_HANDLE, "%p is not an event, or no longer", handle);
}

int FindEventAndStream(aclrtEvent event_handle, aclrtStream stream_handle,
                       std::shared_ptr<Event>& event, std::shared_ptr<Stream>& stream) {
  if (const int code = FindEvent(event_handle, event)) return code;
  return FindStream(stream_handle, stream);
}

int StreamClosed(const Stream& stream) {
  return Fail(ACL_ERROR_RT_INVALID_HANDLE, "stream %d is being destroyed", stream.id());
}

// Completes its recording when the task runs, or else when the task is dropped.
struct RecordTask {
  std::shared_ptr<Event> event;
  Event::RecordingPtr recording;
  explicit RecordTask(std::shared_ptr<Event> e)
      : event(std::move(e)), recording(event->NewRecording()) {}
  RecordTask(const RecordTask&) = delete;
  RecordTask& operator=(const RecordTask&) = delete;
  ~RecordTask() { event->Complete(*recording, {}); }
};

// Counts as a wait of its event for as long as the task exists.
struct WaitTask {
  std::shared_ptr<Event> event;
  explicit WaitTask(std::shared_ptr<Event> e) : event(std::move(e)) { event->AddStreamWait(); }
  WaitTask(const WaitTask&) = delete;
  WaitTask& operator=(const WaitTask&) = delete;
  ~WaitTask() { event->EndStreamWait(); }
};

int StreamWait(aclrtStream stream_handle, aclrtEvent event_handle, uint32_t seconds) {
  std::shared_ptr<Event> event;
  std::shared_ptr<Stream> stream;
  if (const int code = FindEventAndStream(event_handle, stream_handle, event, stream)) return code;
  const Event::RecordingPtr recording = event->latest();
  if (recording ? event->IsDone(*recording) : event->counts_as_complete()) return ACL_SUCCESS;
  const auto wait = [task = std::make_shared<WaitTask>(event), recording,
                     seconds](Stream& self) -> TaskFailure {
    const Deadline deadline =
        seconds == 0 ? Deadline()
                     : std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    Event::RecordingPtr awaited = recording;
    if (task->event->Wait(awaited, deadline, &self) != Event::WaitResult::kTimeout) return {};
    return {ACL_ERROR_RT_EVENT_SYNC_TIMEOUT,
            "waited " + std::to_string(seconds) + " s for an event that did not complete"};
  };
  if (stream->Submit({.even_when_stopped = true}, wait)) return ACL_SUCCESS;
  return StreamClosed(*stream);
}

int SynchroniseEvent(aclrtEvent handle, int32_t timeout_ms) {
  std::shared_ptr<Event> event;
  if (const int code = FindEvent(handle, event)) return code;
  Event::RecordingPtr recording = event->latest();
  if (!recording && event->counts_as_complete()) return ACL_SUCCESS;
  if (event->Wait(recording, DeadlineAfter(timeout_ms), nullptr) == Event::WaitResult::kTimeout) {
    return Fail(ACL_ERROR_RT_EVENT_SYNC_TIMEOUT, "the event did not complete within %d ms",
                timeout_ms);
  }
  if (!recording) return ACL_SUCCESS;
  const TaskFailure failure = event->Get(*recording).failure;
  if (failure.code == ACL_SUCCESS) return ACL_SUCCESS;
  return FailWith(failure.code, "a task before the event failed: " + failure.message);
}

// The time of the latest recording, for the two calls that report it.
int RecordedTime(const Event& event, const char* name, int64_t& time_ns) {
  const Event::RecordingPtr recording = event.latest();
  if (!recording || !event.has_time()) {
    return Fail(ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID, "%s %s", name,
                recording ? "was created without ACL_EVENT_TIME_LINE" : "was not recorded");
  }
  const Event::Recording state = event.Get(*recording);
  if (!state.done) return Fail(ACL_ERROR_RT_EVENT_NOT_COMPLETE, "%s is not complete", name);
  time_ns = state.time_ns;
  return ACL_SUCCESS;
}

}  // namespace

void SetDefaultStreamWaitSeconds(uint32_t seconds) { default_stream_wait_seconds = seconds; }

}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtCreateEvent(aclrtEvent* event) {
  return RuntimeCall(__func__, [&] {
    return CreateEvent(event, ACL_EVENT_SYNC | ACL_EVENT_TIME_LINE, /*is_ex=*/false);
  });
}

aclError aclrtCreateEventWithFlag(aclrtEvent* event, uint32_t flag) {
  return RuntimeCall(__func__, [&] { return CreateEvent(event, flag, /*is_ex=*/false); });
}

aclError aclrtCreateEventExWithFlag(aclrtEvent* event, uint32_t flag) {
  return RuntimeCall(__func__, [&] { return CreateEvent(event, flag, /*is_ex=*/true); });
}

aclError aclrtDestroyEvent(aclrtEvent event) {
  return RuntimeCall(__func__, [&]() -> aclError {
    std::shared_ptr<Event> found;
    if (const int code = FindEvent(event, found)) return code;
    EventTable::Get().Remove(event);
    found->Abandon();
    return ACL_SUCCESS;
  });
}

aclError aclrtRecordEvent(aclrtEvent event, aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    std::shared_ptr<Event> found_event;
    std::shared_ptr<Stream> found_stream;
    if (const int code = FindEventAndStream(event, stream, found_event, found_stream)) return code;
    const auto task = std::make_shared<RecordTask>(found_event);
    const auto record = [task](Stream& self) -> TaskFailure {
      task->event->Complete(*task->recording, self.failure());
      return {};
    };
    if (found_stream->Submit({.may_run_in_caller = true, .even_when_stopped = true}, record)) {
      return ACL_SUCCESS;
    }
    return StreamClosed(*found_stream);
  });
}

aclError aclrtResetEvent(aclrtEvent event, aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    std::shared_ptr<Event> found_event;
    std::shared_ptr<Stream> found_stream;
    if (const int code = FindEventAndStream(event, stream, found_event, found_stream)) return code;
    const auto reset = [found_event, recording = found_event->latest()](Stream&) -> TaskFailure {
      found_event->Reset(recording);
      return {};
    };
    if (found_stream->Submit({.may_run_in_caller = true, .even_when_stopped = true}, reset)) {
      return ACL_SUCCESS;
    }
    return StreamClosed(*found_stream);
  });
}

aclError aclrtStreamWaitEvent(aclrtStream stream, aclrtEvent event) {
  return RuntimeCall(__func__,
                     [&] { return StreamWait(stream, event, default_stream_wait_seconds); });
}

aclError aclrtStreamWaitEventWithTimeout(aclrtStream stream, aclrtEvent event, int32_t timeout) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (timeout < 0) {
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "timeout %d; expected seconds, or 0 for none",
                  timeout);
    }
    return StreamWait(stream, event, static_cast<uint32_t>(timeout));
  });
}

aclError aclrtSynchronizeEvent(aclrtEvent event) {
  return RuntimeCall(__func__, [&] { return SynchroniseEvent(event, -1); });
}

aclError aclrtSynchronizeEventWithTimeout(aclrtEvent event, int32_t timeout) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (timeout < -1)
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "timeout %d; expected -1 or ms", timeout);
    return SynchroniseEvent(event, timeout);
  });
}

aclError aclrtQueryEvent(aclrtEvent event, aclrtEventStatus* status) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!status) return Fail(ACL_ERROR_INVALID_PARAM, "status is null");
    std::shared_ptr<Event> found;
    if (const int code = FindEvent(event, found)) return code;
    *status = found->complete() ? ACL_EVENT_STATUS_COMPLETE : ACL_EVENT_STATUS_NOT_READY;
    return ACL_SUCCESS;
  });
}

aclError aclrtQueryEventStatus(aclrtEvent event, aclrtEventRecordedStatus* status) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!status) return Fail(ACL_ERROR_INVALID_PARAM, "status is null");
    std::shared_ptr<Event> found;
    if (const int code = FindEvent(event, found)) return code;
    *status = found->complete() ? ACL_EVENT_RECORDED_STATUS_COMPLETE
                                : ACL_EVENT_RECORDED_STATUS_NOT_READY;
    return ACL_SUCCESS;
  });
}

aclError aclrtQueryEventWaitStatus(aclrtEvent event, aclrtEventWaitStatus* status) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!status) return Fail(ACL_ERROR_INVALID_PARAM, "status is null");
    std::shared_ptr<Event> found;
    if (const int code = FindEvent(event, found)) return code;
    *status = found->stream_waits_over() ? ACL_EVENT_WAIT_STATUS_COMPLETE
                                         : ACL_EVENT_WAIT_STATUS_NOT_READY;
    return ACL_SUCCESS;
  });
}

aclError aclrtEventElapsedTime(float* ms, aclrtEvent startEvent, aclrtEvent endEvent) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!ms) return Fail(ACL_ERROR_INVALID_PARAM, "ms is null");
    std::shared_ptr<Event> start, end;
    if (const int code = FindEvent(startEvent, start)) return code;
    if (const int code = FindEvent(endEvent, end)) return code;
    int64_t start_ns, end_ns;
    if (const int code = RecordedTime(*start, "startEvent", start_ns)) return code;
    if (const int code = RecordedTime(*end, "endEvent", end_ns)) return code;
    if (end_ns < start_ns) {
      return Fail(ACL_ERROR_RT_EVENT_TIMESTAMP_REVERSAL, "endEvent was complete before startEvent");
    }
    *ms = static_cast<float>(static_cast<double>(end_ns - start_ns) * 1e-6);
    return ACL_SUCCESS;
  });
}

aclError aclrtEventGetTimestamp(aclrtEvent event, uint64_t* timestamp) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!timestamp) return Fail(ACL_ERROR_INVALID_PARAM, "timestamp is null");
    std::shared_ptr<Event> found;
    if (const int code = FindEvent(event, found)) return code;
    int64_t time_ns;
    if (const int code = RecordedTime(*found, "event", time_ns)) return code;
    *timestamp = static_cast<uint64_t>(time_ns) / 1000;
    return ACL_SUCCESS;
  });
}
