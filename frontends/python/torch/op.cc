// SPDX-License-Identifier: Apache-2.0
// The operator for torch's dispatcher, on the CPU. Loaded by ropekv.torch, once torch is there.
#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "frontends/python/src/results.h"
#include "frontends/python/torch/abi.h"
#include "frontends/python/torch/arguments.h"
#include "ropekv/ropekv.h"

namespace ropekv::torch_op {
namespace {

constexpr char kName[] = "dequant_rope_quant_kvcache";
// A thread reads and writes as much in the time that another takes to wake up.
constexpr int64_t kMinBytesPerThread = 128 << 10;

// torch's numbers for dtypes and devices, which only torch can tell.
struct Numbers {
  int32_t cpu = aoti_torch_device_type_cpu();
  std::pair<DType, int32_t> dtypes[6] = {
      {DType::kI8, aoti_torch_dtype_int8()},       {DType::kI32, aoti_torch_dtype_int32()},
      {DType::kI64, aoti_torch_dtype_int64()},     {DType::kF16, aoti_torch_dtype_float16()},
      {DType::kBF16, aoti_torch_dtype_bfloat16()}, {DType::kF32, aoti_torch_dtype_float32()}};
};

const Numbers& TorchNumbers() {
  static const Numbers numbers;
  return numbers;
}

[[noreturn]] void Fail(const char* name, const std::string& detail) {
  throw std::runtime_error(std::string(name) + ": " + detail);
}

// The address of `tensor`, which is described in `spec`.
void* Read(const TensorField& field, AtenTensorHandle tensor, TensorSpec* spec) {
  const Numbers& numbers = TorchNumbers();
  // With one tensor on the CPU and another elsewhere, torch calls this function too.
  int32_t device = 0;
  CheckTorch(aoti_torch_get_device_type(tensor, &device), "aoti_torch_get_device_type");
  if (device != numbers.cpu) Fail(field.name, "is not on the CPU, as other tensors are");
  int32_t dtype = 0;
  CheckTorch(aoti_torch_get_dtype(tensor, &dtype), "aoti_torch_get_dtype");
  for (const auto& [known, number] : numbers.dtypes) {
    if (number == dtype) spec->dtype = known;
  }
  if (!spec->present()) {
    Fail(field.name, "has a dtype that no tensor of the operator may have (torch's number " +
                         std::to_string(dtype) + ")");
  }
  int64_t rank = 0;
  CheckTorch(aoti_torch_get_dim(tensor, &rank), "aoti_torch_get_dim");
  if (rank > TensorSpec::kMaxRank) {
    Fail(field.name, "has " + std::to_string(rank) + " dimensions; at most " +
                         std::to_string(TensorSpec::kMaxRank) + " are possible");
  }
  int64_t* sizes = nullptr;
  int64_t* strides = nullptr;
  CheckTorch(aoti_torch_get_sizes(tensor, &sizes), "aoti_torch_get_sizes");
  CheckTorch(aoti_torch_get_strides(tensor, &strides), "aoti_torch_get_strides");
  spec->rank = static_cast<int>(rank);
  for (int i = 0; i < spec->rank; ++i) {
    spec->shape[i] = sizes[i];
    spec->stride[i] = strides[i];
  }
  void* address = nullptr;
  if (field.output != nullptr) {
    CheckTorch(torch_get_mutable_data_ptr(tensor, &address), "torch_get_mutable_data_ptr");
  } else {
    const void* data = nullptr;  // of a copy-on-write tensor this one makes no copy
    CheckTorch(torch_get_const_data_ptr(tensor, &data), "torch_get_const_data_ptr");
    address = const_cast<void*>(data);
  }
  return address;
}

// Only torch's Python side can say whether a tensor requires a gradient, so ropekv.torch defines a
// function that finds the first that does. Asked in grad mode only: the call takes microseconds.
void CheckNoGradient(const Arguments& arguments) {
  if (!aoti_torch_grad_mode_is_enabled()) return;
  StableListHandle list = nullptr;
  CheckTorch(torch_new_list_reserve_size(kNumTensors, &list), "torch_new_list_reserve_size");
  const char* names[kNumTensors];
  size_t count = 0;
  for (const TensorField& field : kTensorFields) {
    const AtenTensorHandle tensor = arguments.tensors[static_cast<size_t>(field.id)];
    if (tensor == nullptr) continue;
    AtenTensorHandle another = nullptr;
    CheckTorch(aoti_torch_new_tensor_handle(tensor, &another), "aoti_torch_new_tensor_handle");
    CheckTorch(torch_list_push_back(list, reinterpret_cast<StableIValue>(another)),
               "torch_list_push_back");
    names[count++] = field.name;
  }
  StableIValue stack[1] = {reinterpret_cast<StableIValue>(list)};
  CheckTorch(torch_call_dispatcher("ropekv::first_that_requires_grad", "", stack, kTorchVersion),
             "ropekv::first_that_requires_grad");
  const auto found = static_cast<int64_t>(stack[0]);
  if (found < 0) return;
  Fail(names[found],
       "requires a gradient, which this operator does not have; call it under "
       "torch.no_grad()");
}

int32_t TorchDType(DType dtype) {
  for (const auto& [known, number] : TorchNumbers().dtypes) {
    if (known == dtype) return number;
  }
  throw std::logic_error("ropekv: a dtype without a number of torch's");
}

// A tensor to be returned, row-major.
class Made {
 public:
  explicit Made(const TensorSpec& spec) {
    CheckTorch(aoti_torch_empty_strided(spec.rank, spec.shape.data(), spec.stride.data(),
                                        TorchDType(spec.dtype), TorchNumbers().cpu, 0, &tensor_),
               "aoti_torch_empty_strided");
  }
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;
  ~Made() {
    if (tensor_ != nullptr) aoti_torch_delete_tensor_object(tensor_);
  }

  void* data() const {
    void* address = nullptr;
    CheckTorch(torch_get_mutable_data_ptr(tensor_, &address), "torch_get_mutable_data_ptr");
    return address;
  }
  StableIValue Release() { return reinterpret_cast<StableIValue>(std::exchange(tensor_, nullptr)); }

 private:
  AtenTensorHandle tensor_ = nullptr;
};

void ThrowIfError(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

Plan MakePlanOrThrow(const Arguments& arguments) {
  Result<Plan> plan = MakePlan(arguments.spec);
  const Status status = plan.status();
  // q is made here, so that only its dtype can be wrong, where the caller chose it.
  if (arguments.out_dtype != DType::kNone && status.code() == StatusCode::kBadDType &&
      status.tensor() == TensorId::kQ) {
    Fail("out_dtype", "q " + status.detail());
  }
  ThrowIfError(status);
  return std::move(plan).value();
}

// A call whose tokens are shared among threads.
struct SharedCall {
  const Plan& plan;
  const Args& args;
  RunOptions options;
  std::mutex mutex;
  Status status;  // of a range that failed

  static void RunRange(int64_t begin, int64_t end, void* context) {
    auto& call = *static_cast<SharedCall*>(context);
    RunOptions options = call.options;
    options.token_begin = begin;
    options.token_end = end;
    Status status = Run(call.plan, call.args, options);
    if (status.ok()) return;
    const std::lock_guard lock(call.mutex);
    call.status = std::move(status);
  }
};

Status RunInTorchsThreads(const Plan& plan, const Args& args, RunOptions options) {
  options.num_threads = 1;
  const Spec& spec = plan.spec();
  // Capped: without tokens there may be any number of heads.
  const int64_t hidden = std::min(kMinBytesPerThread, spec.x.shape[spec.x.rank - 1]);
  const int64_t bytes = hidden * (ElementBytes(spec.x.dtype) + ElementBytes(spec.q.dtype));
  const int64_t tokens_per_thread = kMinBytesPerThread / std::max<int64_t>(1, bytes) + 1;
  if (plan.num_tokens() <= tokens_per_thread) return Run(plan, args, options);
  // A range knows nothing of the slots of others.
  Status checked = CheckArgs(plan, args, options);
  if (!checked.ok()) return checked;
  options.check_duplicate_slots = false;
  SharedCall call{.plan = plan, .args = args, .options = options, .mutex = {}, .status = {}};
  CheckTorch(
      torch_parallel_for(0, plan.num_tokens(), tokens_per_thread, SharedCall::RunRange, &call),
      "torch_parallel_for");
  return std::move(call.status);
}

void Call(StableIValue* stack, uint64_t num_arguments, uint64_t) {
  if (num_arguments != std::size(kArguments)) {
    throw std::logic_error("ropekv: torch passed another number of arguments");
  }
  Arguments arguments(stack);
  try {
    arguments.Read();
  } catch (const std::invalid_argument& error) {  // a ValueError in torch 2.10, not in 2.15
    throw std::runtime_error(error.what());
  }
  CheckNoGradient(arguments);
  Args args;
  Spec& spec = arguments.spec;
  for (const TensorField& field : kTensorFields) {
    const AtenTensorHandle tensor = arguments.tensors[static_cast<size_t>(field.id)];
    if (tensor == nullptr) continue;
    void* address = Read(field, tensor, &(spec.*field.spec));
    if (field.input != nullptr) args.*field.input = address;
    if (field.output != nullptr) args.*field.output = address;
  }
  const bool said = arguments.out_dtype != DType::kNone;
  python::DescribeResults(&spec, said ? arguments.out_dtype : python::ResultDType(spec));
  const Plan plan = MakePlanOrThrow(arguments);

  const TensorSpec nothing = Dense(spec.q.dtype, {0});
  Made q(spec.q);
  Made k(spec.kv_output ? spec.k : nothing);
  Made v(spec.kv_output ? spec.v : nothing);
  args.q = q.data();
  args.k = k.data();
  args.v = v.data();
  ThrowIfError(RunInTorchsThreads(plan, args, arguments.options));
  stack[0] = q.Release();
  stack[1] = k.Release();
  stack[2] = v.Release();
}

// Registers the operator while the library is loaded. The libraries of torch's are never freed: an
// operator stays.
const bool registered = [] {
  TorchLibraryHandle definitions = nullptr;
  CheckTorch(aoti_torch_library_init_fragment("ropekv", __FILE__, __LINE__, &definitions),
             "aoti_torch_library_init_fragment");
  CheckTorch(aoti_torch_library_def(definitions, MakeSchema(kName).c_str()),
             "aoti_torch_library_def");
  TorchLibraryHandle cpu = nullptr;
  CheckTorch(aoti_torch_library_init_impl("ropekv", "CPU", __FILE__, __LINE__, &cpu),
             "aoti_torch_library_init_impl");
  CheckTorch(torch_library_impl(cpu, kName, Call, kTorchVersion), "torch_library_impl");
  return true;
}();

}  // namespace
}  // namespace ropekv::torch_op
