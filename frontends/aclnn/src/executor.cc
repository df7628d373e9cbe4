// SPDX-License-Identifier: Apache-2.0
#include "executor.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <string>

#include "check.h"
#include "context.h"
#include "env.h"
#include "error.h"

namespace ropekv::acl {
namespace {

std::atomic<uint32_t> op_time_limit_seconds{0};

// Up to here a call takes about as long as handing it to another thread.
constexpr int64_t kMaxElementsInCaller = int64_t{1} << 16;

// What a synchronise reports for a call that Run refused. Bad data makes a device's vector cores
// fault; the rest is ours.
int RunErrorCode(StatusCode code) {
  switch (code) {
    case StatusCode::kBadIndex:
    case StatusCode::kBadPointer:
    case StatusCode::kNullPointer: return ACL_ERROR_RT_VECTOR_CORE_EXCEPTION;
    default: return ACL_ERROR_RT_INTERNAL_ERROR;
  }
}

TaskFailure RunPlan(const OperatorInfo& op, const Plan& plan, const Args& args) {
  const uint32_t limit = op_time_limit_seconds;
  const auto start =
      limit ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
  const Status status = Run(plan, args);
  if (!status.ok()) {
    return {RunErrorCode(status.code()), std::string(op.name) + ": " + Describe(op, status)};
  }
  if (limit && std::chrono::steady_clock::now() - start > std::chrono::seconds(limit)) {
    return {ACL_ERROR_RT_VECTOR_CORE_TIMEOUT,
            std::string(op.name) + ": took longer than " + std::to_string(limit) + " s"};
  }
  return {};
}

bool IsWordChar(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Native names in running text. Only those with an underscore: the others are the same here, or too
// short to be told from other words.
void ReplaceWord(std::string& text, const std::string& from, const char* to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos;) {
    const size_t end = at + from.size();
    const bool whole =
        (at == 0 || !IsWordChar(text[at - 1])) && (end == text.size() || !IsWordChar(text[end]));
    if (whole) text.replace(at, from.size(), to);
    at += 1;
  }
}

constexpr std::pair<const char*, const char*> kAttributeNames[] = {{"size_splits", "sizeSplits"},
                                                                   {"kv_output", "kvOutput"}};

}  // namespace

void SetOpTimeLimitSeconds(uint32_t seconds) { op_time_limit_seconds = seconds; }

std::string Describe(const OperatorInfo& op, const Status& status) {
  const bool has_tensor = status.tensor() != TensorId::kNoTensor;
  std::string text =
      has_tensor ? op.tensor_names[static_cast<size_t>(status.tensor())] : status.culprit();
  text += ": " + status.detail();
  for (const TensorField& field : kTensorFields) {
    if (std::string_view(field.name).find('_') == std::string_view::npos) continue;
    ReplaceWord(text, field.name, op.tensor_names[static_cast<size_t>(field.id)]);
  }
  for (const auto& [from, to] : kAttributeNames) ReplaceWord(text, from, to);
  return text;
}

void SetAddress(Args& args, TensorId id, void* address) {
  const TensorField& field = kTensorFields[static_cast<size_t>(id)];
  if (field.input) {
    args.*field.input = address;
  } else {
    args.*field.output = address;
  }
}

aclOpExecutor* NewExecutor(Executor executor) {
  const TensorSpec& x = executor.plan.spec().x;
  executor.small = executor.plan.num_tokens() <=
                   kMaxElementsInCaller / std::max<int64_t>(x.shape[x.rank - 1], 1);
  return static_cast<aclOpExecutor*>(
      ExecutorTable::Get().Insert(std::make_shared<Executor>(std::move(executor))));
}

aclnnStatus Launch(aclOpExecutor* handle, Workspace workspace, void* stream_handle) {
  if (!handle) return Fail(kErrParamNullptr, "executor is null");
  std::shared_ptr<Executor> executor = ExecutorTable::Get().Find(handle);
  if (executor && !executor->repeatable) executor = ExecutorTable::Get().Remove(handle);
  if (!executor) {
    return Fail(kErrParamInvalid, "%p is not an executor, or has been executed or destroyed",
                static_cast<void*>(handle));
  }
  if (workspace.bytes > 0 && !workspace.address) {
    return Fail(kErrParamNullptr, "workspace is null, but workspaceSize is %llu",
                static_cast<unsigned long long>(workspace.bytes));
  }
  std::shared_ptr<Stream> stream;
  if (FindStream(stream_handle, stream) != ACL_SUCCESS) {
    return Fail(kErrRuntime, "the call was not put on the stream");
  }
  std::shared_ptr<const MemoryInUse> in_use;
  if (GetEnv().check) in_use = CheckLaunch(executor->op, executor->plan.spec(), executor->args);
  const auto task = [&op = executor->op, plan = executor->plan, args = executor->args,
                     in_use](Stream&) { return RunPlan(op, plan, args); };
  if (stream->Submit({.may_run_in_caller = executor->small}, task)) return ACL_SUCCESS;
  return Fail(kErrRuntime, "stream %d is being destroyed", stream->id());
}

}  // namespace ropekv::acl
