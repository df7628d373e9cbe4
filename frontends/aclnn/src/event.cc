// SPDX-License-Identifier: Apache-2.0
#include "event.h"

#include <algorithm>

namespace ropekv::acl {
namespace {

// How soon a waiting task notices that its stream is being dropped; completion wakes it at once.
constexpr std::chrono::milliseconds kGiveUpPoll{10};

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Event::RecordingPtr Event::NewRecording() {
  auto recording = std::make_shared<Recording>();
  const std::lock_guard lock(mutex_);
  latest_ = recording;
  changed_.notify_all();  // those who wait for the first one wait for this one now
  return recording;
}

Event::RecordingPtr Event::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

void Event::Complete(Recording& recording, TaskFailure failure) {
  const std::lock_guard lock(mutex_);
  if (recording.done) return;
  recording.done = true;
  recording.time_ns = Now();
  recording.failure = std::move(failure);
  changed_.notify_all();
}

void Event::Reset(const RecordingPtr& recording) {
  const std::lock_guard lock(mutex_);
  if (latest_ == recording) latest_ = nullptr;
}

void Event::Abandon() {
  const std::lock_guard lock(mutex_);
  abandoned_ = true;
  changed_.notify_all();
}

Event::WaitResult Event::Wait(RecordingPtr& recording, const Deadline& deadline,
                              const Stream* give_up_with) {
  std::unique_lock lock(mutex_);
  const auto over = [&] {
    if (!recording) recording = latest_;
    // An abandoned event still completes what was recorded before.
    return recording ? recording->done : abandoned_;
  };
  while (!over()) {
    if (give_up_with && give_up_with->dropping()) return WaitResult::kGivenUp;
    const auto now = std::chrono::steady_clock::now();
    if (deadline && now >= *deadline) return WaitResult::kTimeout;
    if (!give_up_with && !deadline) {
      changed_.wait(lock);
      continue;
    }
    auto until = deadline.value_or(now + kGiveUpPoll);
    if (give_up_with) until = std::min(until, now + kGiveUpPoll);
    changed_.wait_until(lock, until);
  }
  return WaitResult::kDone;
}

bool Event::complete() const {
  const std::lock_guard lock(mutex_);
  return latest_ ? latest_->done : counts_as_complete_;
}

bool Event::IsDone(const Recording& recording) const {
  const std::lock_guard lock(mutex_);
  return recording.done;
}

Event::Recording Event::Get(const Recording& recording) const {
  const std::lock_guard lock(mutex_);
  return recording;
}

void Event::AddStreamWait() {
  const std::lock_guard lock(mutex_);
  ++stream_waits_;
}

void Event::EndStreamWait() {
  const std::lock_guard lock(mutex_);
  --stream_waits_;
}

bool Event::stream_waits_over() const {
  const std::lock_guard lock(mutex_);
  return stream_waits_ == 0;
}

}  // namespace ropekv::acl
