// SPDX-License-Identifier: Apache-2.0
#include "stream.h"

#include <algorithm>

#include "error.h"
#include "exception_callback.h"

namespace ropekv::acl {
namespace {

std::atomic<uint64_t> last_ticket{0};
std::atomic<int32_t> next_id{0};

constexpr uint32_t kExemptFlags =
    ACL_STREAM_PERSISTENT | ACL_STREAM_CPU_SCHEDULE | ACL_STREAM_DEVICE_USE_ONLY;

}  // namespace

Deadline DeadlineAfter(int32_t timeout_ms) {
  if (timeout_ms < 0) return std::nullopt;
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
}

Stream::Stream(const void* context, int32_t device, uint32_t flags)
    : id_(next_id++),
      context_(context),
      device_(device),
      exempt_from_synchronise_((flags & kExemptFlags) != 0),
      running_ticket_(kNoTicket) {}

Stream::~Stream() { Close(/*drop_tasks=*/true); }

bool Stream::BeginInCaller() {
  const std::lock_guard lock(mutex_);
  if (busy_ || closed_ || !queue_.empty()) return false;
  busy_ = true;
  // Other threads may free what the task uses.
  running_ticket_ = ++last_ticket;
  ++submitted_;
  return true;
}

bool Stream::Enqueue(QueuedTask task) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    if (!worker_.joinable()) worker_ = std::thread([this] { RunWorker(); });
    // Inside the lock, so that tickets of one stream are in order.
    task.ticket = ++last_ticket;
    queue_.push_back(std::move(task));
    ++submitted_;
  }
  task_ready_.notify_one();
  return true;
}

void Stream::RunWorker() {
  std::unique_lock lock(mutex_);
  while (true) {
    task_ready_.wait(lock, [this] { return !busy_ && (closed_ || !queue_.empty()); });
    if (queue_.empty()) return;
    {
      QueuedTask next = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
      running_ticket_ = next.ticket;
      lock.unlock();
      TaskFailure failure = Execute(next.traits, next.task);
      next.task = nullptr;  // what it holds is released before anyone is told that it is done
      FinishTask(std::move(failure));
    }
    lock.lock();
  }
}

void Stream::FinishTask(TaskFailure failure) {
  if (failure.code != ACL_SUCCESS) ReportException(*this, failure);
  bool wake_worker;
  bool wake_waiters;
  {
    const std::lock_guard lock(mutex_);
    busy_ = false;
    running_ticket_ = kNoTicket;
    ++completed_;
    if (failure.code != ACL_SUCCESS) {
      if (failure_.code == ACL_SUCCESS) failure_ = std::move(failure);
      if (stop_on_failure_.value_or(false)) stopped_ = true;
    }
    wake_worker = !queue_.empty() || closed_;
    wake_waiters = waiters_ > 0;
  }
  if (wake_worker) task_ready_.notify_one();
  if (wake_waiters) task_done_.notify_all();
}

Stream::WaitResult Stream::Wait(const Deadline& deadline) {
  std::unique_lock lock(mutex_);
  const uint64_t target = submitted_;
  if (completed_ >= target) return WaitResult::kDone;
  const auto reached = [&] { return completed_ >= target; };
  ++waiters_;
  bool done = true;
  if (deadline) {
    done = task_done_.wait_until(lock, *deadline, reached);
  } else {
    task_done_.wait(lock, reached);
  }
  --waiters_;
  return done ? WaitResult::kDone : WaitResult::kTimeout;
}

int Stream::Synchronise(const Deadline& deadline) {
  if (exempt_from_synchronise_) return ACL_SUCCESS;
  if (Wait(deadline) == WaitResult::kTimeout) {
    return Fail(ACL_ERROR_RT_STREAM_SYNC_TIMEOUT, "stream %d still has work to do", id_);
  }
  TaskFailure failure;
  {
    const std::lock_guard lock(mutex_);
    if (failure_.code == ACL_SUCCESS) return ACL_SUCCESS;
    failure = failure_;
    // A stopped stream does no more work, and says so each time.
    if (!stopped_) failure_ = {};
  }
  return FailWith(failure.code,
                  "a task of stream " + std::to_string(id_) + " failed: " + failure.message);
}

bool Stream::idle() const {
  const std::lock_guard lock(mutex_);
  return completed_ == submitted_;
}

TaskFailure Stream::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool Stream::SetStopOnFailure(bool stop) {
  const std::lock_guard lock(mutex_);
  if (stop_on_failure_) return false;
  stop_on_failure_ = stop;
  return true;
}

void Stream::Close(bool drop_tasks) {
  std::list<QueuedTask> dropped;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (drop_tasks) {
      dropping_ = true;
      completed_ += queue_.size();
      dropped.swap(queue_);
    }
  }
  dropped.clear();  // outside the lock: tasks may complete events
  task_ready_.notify_one();
  task_done_.notify_all();
  Wait(std::nullopt);
  std::thread worker;
  {
    const std::lock_guard lock(mutex_);
    worker.swap(worker_);
  }
  if (worker.joinable()) worker.join();
}

uint64_t Stream::OldestTicket() const {
  const std::lock_guard lock(mutex_);
  if (running_ticket_ != kNoTicket) return running_ticket_;
  return queue_.empty() ? kNoTicket : queue_.front().ticket;
}

uint64_t LastTicket() { return last_ticket; }

uint64_t OldestTicketOfAll() {
  uint64_t oldest = kNoTicket;
  StreamTable::Get().FindIf([&](const Stream& stream) {
    oldest = std::min(oldest, stream.OldestTicket());
    return false;
  });
  return oldest;
}

}  // namespace ropekv::acl
