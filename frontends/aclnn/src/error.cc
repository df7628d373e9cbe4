// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <pthread.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <deque>
#include <mutex>
#include <utility>

#include "acl/acl_rt.h"

namespace ropekv::acl {
namespace {

// A program that never asks for messages must not collect them without end.
constexpr size_t kMaxMessages = 16;

struct Messages {
  std::deque<std::string> newest_first;
  std::string taken;  // what the last aclGetRecentErrMsg returned
};

thread_local Messages thread_messages;
thread_local constinit int last_error = ACL_SUCCESS;

std::atomic<bool> shared{false};
std::mutex shared_mutex;

std::atomic<bool> fork_watched{false};
std::atomic<bool> in_forked_child{false};

// The mutex of the shared messages may be held by a thread that the child does not have.
void NoteForkedChild() {
  in_forked_child = true;
  shared = false;
}

// Never destroyed: other threads may still fail while the process exits.
std::deque<std::string>& SharedMessages() {
  static auto& messages = *new std::deque<std::string>;
  return messages;
}

void Note(std::deque<std::string>& messages, std::string message) {
  messages.push_front(std::move(message));
  if (messages.size() > kMaxMessages) messages.pop_back();
}

std::string TakeAll(std::deque<std::string>& messages) {
  std::string all;
  for (const std::string& message : messages) {
    if (!all.empty()) all += '\n';
    all += message;
  }
  messages.clear();
  return all;
}

int CheckLevel(aclrtLastErrLevel level) {
  if (level == ACL_RT_THREAD_LEVEL) return ACL_SUCCESS;
  return Fail(ACL_ERROR_INVALID_PARAM, "level %d is not ACL_RT_THREAD_LEVEL", level);
}

}  // namespace

int FailWith(int code, const std::string& message) noexcept {
  if (internal::current_call.layer == Layer::kRuntime) last_error = code;
  try {
    std::string line =
        std::to_string(code) + " " + internal::current_call.function + ": " + message;
    if (shared) {
      const std::lock_guard lock(shared_mutex);
      Note(SharedMessages(), std::move(line));
    } else {
      Note(thread_messages.newest_first, std::move(line));
    }
  } catch (const std::bad_alloc&) {
    // The code has to do.
  }
  return code;
}

int Fail(int code, const char* format, ...) noexcept {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  try {
    return FailWith(code, message);
  } catch (const std::bad_alloc&) {
    return code;
  }
}

bool InForkedChild() noexcept {
  // From the first call on: a program may load the library, fork, and use it in the child alone.
  if (!fork_watched && !fork_watched.exchange(true)) {
    pthread_atfork(nullptr, nullptr, NoteForkedChild);
  }
  return in_forked_child;
}

void ShareErrorMessages(bool share) noexcept { shared = share; }

}  // namespace ropekv::acl

using namespace ropekv::acl;

// Not a Call, since it is what tells why calls fail in a forked child.
const char* aclGetRecentErrMsg() {
  try {
    if (shared) {
      const std::lock_guard lock(shared_mutex);
      thread_messages.taken = TakeAll(SharedMessages());
    } else {
      thread_messages.taken = TakeAll(thread_messages.newest_first);
    }
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  return thread_messages.taken.empty() ? nullptr : thread_messages.taken.c_str();
}

aclError aclrtPeekAtLastError(aclrtLastErrLevel level) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (const int code = CheckLevel(level)) return code;
    return last_error;
  });
}

aclError aclrtGetLastError(aclrtLastErrLevel level) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (const int code = CheckLevel(level)) return code;
    return std::exchange(last_error, ACL_SUCCESS);
  });
}
