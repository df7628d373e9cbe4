// SPDX-License-Identifier: Apache-2.0
// Host callbacks in stream order, and the threads that serve them.
#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>

#include "context.h"
#include "error.h"
#include "exception_callback.h"

// Programs only see a pointer to it.
struct aclrtExceptionInfo {
  int32_t stream_id;
  int32_t device;
  aclError code;
};

namespace ropekv::acl {
namespace {

std::atomic<aclrtExceptionInfoCallback> exception_callback{nullptr};

// How soon a blocked stream notices that it is being dropped.
constexpr std::chrono::milliseconds kGiveUpPoll{10};

// Callbacks that are due in one thread, from all the streams it serves.
class ReportQueue {
 public:
  struct Entry {
    aclrtCallback function;
    void* argument;
    bool done = false;
  };

  void Push(std::shared_ptr<Entry> entry) {
    const std::lock_guard lock(mutex_);
    entries_.push_back(std::move(entry));
    changed_.notify_all();
  }

  enum class RunResult { kRan, kTimeout, kClosed };
  // Waits for a callback and runs it.
  RunResult RunOldest(const Deadline& deadline) {
    std::unique_lock lock(mutex_);
    const auto over = [this] { return closed_ || !entries_.empty(); };
    if (deadline) {
      if (!changed_.wait_until(lock, *deadline, over)) return RunResult::kTimeout;
    } else {
      changed_.wait(lock, over);
    }
    if (closed_) return RunResult::kClosed;
    const std::shared_ptr<Entry> entry = std::move(entries_.front());
    entries_.pop_front();
    lock.unlock();
    entry->function(entry->argument);
    lock.lock();
    entry->done = true;
    changed_.notify_all();
    return RunResult::kRan;
  }

  // Until the callback has run, or nobody will ever run it.
  void WaitFor(const Entry& entry, const Stream& stream) {
    std::unique_lock lock(mutex_);
    while (!entry.done && !closed_ && !stream.dropping()) changed_.wait_for(lock, kGiveUpPoll);
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Entry>> entries_;
  bool closed_ = false;
};

// Which thread serves which stream. Streams go by id, which is never used again.
class Subscriptions {
 public:
  static Subscriptions& Get() {
    static auto& subscriptions = *new Subscriptions;
    return subscriptions;
  }

  bool Add(uint64_t thread, int32_t stream) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<ReportQueue> queue = Find(thread);
    if (!queue) queue = std::make_shared<ReportQueue>();
    return services_.emplace(stream, Service{thread, std::move(queue)}).second;
  }

  bool Remove(uint64_t thread, int32_t stream) {
    const std::lock_guard lock(mutex_);
    const auto found = services_.find(stream);
    if (found == services_.end() || found->second.thread != thread) return false;
    const std::shared_ptr<ReportQueue> queue = found->second.queue;
    services_.erase(found);
    if (!Find(thread)) queue->Close();
    return true;
  }

  std::shared_ptr<ReportQueue> OfStream(int32_t stream) const {
    const std::lock_guard lock(mutex_);
    const auto found = services_.find(stream);
    return found == services_.end() ? nullptr : found->second.queue;
  }

  std::shared_ptr<ReportQueue> OfThread(uint64_t thread) const {
    const std::lock_guard lock(mutex_);
    return Find(thread);
  }

 private:
  struct Service {
    uint64_t thread;
    std::shared_ptr<ReportQueue> queue;  // one for all streams of the thread
  };

  std::shared_ptr<ReportQueue> Find(uint64_t thread) const {
    for (const auto& [stream, service] : services_) {
      if (service.thread == thread) return service.queue;
    }
    return nullptr;
  }

  mutable std::mutex mutex_;
  std::map<int32_t, Service> services_;  // by stream
};

int SubmitCallback(Stream& stream, Stream::Task task) {
  if (stream.Submit({}, std::move(task))) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_INVALID_HANDLE, "stream %d is being destroyed", stream.id());
}

}  // namespace

void ReportException(const Stream& stream, const TaskFailure& failure) {
  const aclrtExceptionInfoCallback callback = exception_callback;
  if (!callback) return;
  aclrtExceptionInfo info{stream.id(), stream.device(), failure.code};
  callback(&info);
}

}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtSubscribeReport(uint64_t threadId, aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    std::shared_ptr<Stream> found;
    if (const int code = FindStream(stream, found)) return code;
    if (Subscriptions::Get().Add(threadId, found->id())) return ACL_SUCCESS;
    return Fail(ACL_ERROR_RT_STREAM_SUBSCRIBE, "stream %d is served by a thread already",
                found->id());
  });
}

aclError aclrtUnSubscribeReport(uint64_t threadId, aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    std::shared_ptr<Stream> found;
    if (const int code = FindStream(stream, found)) return code;
    if (Subscriptions::Get().Remove(threadId, found->id())) return ACL_SUCCESS;
    return Fail(ACL_ERROR_RT_STREAM_NO_CB_REG, "thread %llu does not serve stream %d",
                static_cast<unsigned long long>(threadId), found->id());
  });
}

aclError aclrtProcessReport(int32_t timeout) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (timeout < -1 || timeout == 0) {
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "timeout %d; expected -1 or ms", timeout);
    }
    const auto queue = Subscriptions::Get().OfThread(static_cast<uint64_t>(pthread_self()));
    using enum ReportQueue::RunResult;
    switch (queue ? queue->RunOldest(DeadlineAfter(timeout)) : kClosed) {
      case kRan: return ACL_SUCCESS;
      case kTimeout:
        return Fail(ACL_ERROR_RT_WAIT_TIMEOUT, "no callback became due within %d ms", timeout);
      case kClosed: break;
    }
    return Fail(ACL_ERROR_RT_THREAD_SUBSCRIBE,
                "this thread serves no stream: aclrtSubscribeReport");
  });
}

aclError aclrtLaunchCallback(aclrtCallback fn, void* userData, aclrtCallbackBlockType blockType,
                             aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!fn) return Fail(ACL_ERROR_INVALID_PARAM, "fn is null");
    if (blockType != ACL_CALLBACK_NO_BLOCK && blockType != ACL_CALLBACK_BLOCK) {
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "blockType %d; expected 0 or 1", blockType);
    }
    std::shared_ptr<Stream> found;
    if (const int code = FindStream(stream, found)) return code;
    const auto queue = Subscriptions::Get().OfStream(found->id());
    if (!queue) {
      return Fail(ACL_ERROR_RT_STREAM_NO_CB_REG, "no thread serves stream %d: aclrtSubscribeReport",
                  found->id());
    }
    return SubmitCallback(*found, [=](Stream& self) -> TaskFailure {
      const auto entry = std::make_shared<ReportQueue::Entry>(ReportQueue::Entry{fn, userData});
      queue->Push(entry);
      if (blockType == ACL_CALLBACK_BLOCK) queue->WaitFor(*entry, self);
      return {};
    });
  });
}

aclError aclrtLaunchHostFunc(aclrtStream stream, aclrtHostFunc func, void* args) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!func) return Fail(ACL_ERROR_INVALID_PARAM, "func is null");
    std::shared_ptr<Stream> found;
    if (const int code = FindStream(stream, found)) return code;
    return SubmitCallback(*found, [=](Stream&) -> TaskFailure {
      func(args);
      return {};
    });
  });
}

aclError aclrtSetExceptionInfoCallback(aclrtExceptionInfoCallback callback) {
  return RuntimeCall(__func__, [&]() -> aclError {
    exception_callback = callback;
    return ACL_SUCCESS;
  });
}
