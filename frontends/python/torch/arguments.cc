// SPDX-License-Identifier: Apache-2.0
#include "frontends/python/torch/arguments.h"

#include <memory>
#include <stdexcept>

#include "frontends/python/src/words.h"

namespace ropekv::torch_op {
namespace {

template <class T>
T* Pointer(StableIValue value) {
  return reinterpret_cast<T*>(value);
}

// An optional value that is there comes in a box of its own.
StableIValue Unbox(StableIValue boxed) {
  if (boxed == 0) return 0;
  const std::unique_ptr<StableIValue> box(Pointer<StableIValue>(boxed));
  return *box;
}

std::string_view Text(StringHandle string) {
  size_t length = 0;
  const char* text = nullptr;
  CheckTorch(torch_string_length(string, &length), "torch_string_length");
  CheckTorch(torch_string_c_str(string, &text), "torch_string_c_str");
  return {text, length};
}

}  // namespace

void CheckTorch(AOTITorchError error, const char* what) {
  if (error != 0) throw std::runtime_error(std::string("ropekv: torch failed in ") + what);
}

Arguments::Arguments(const StableIValue* stack) noexcept {
  for (const Argument& argument : kArguments) {
    const StableIValue value = *stack++;
    const auto id = static_cast<size_t>(argument.id);
    const bool yes = (value & 0xFF) != 0;
    switch (argument.kind) {
      case Kind::kTensor: tensors[id] = Pointer<AtenTensorOpaque>(value); break;
      case Kind::kOptionalTensor: tensors[id] = Pointer<AtenTensorOpaque>(Unbox(value)); break;
      case Kind::kSizeSplits: size_splits_ = Pointer<StableListOpaque>(value); break;
      case Kind::kCacheMode: cache_mode_ = Pointer<StringOpaque>(value); break;
      case Kind::kNumerics: numerics_ = Pointer<StringOpaque>(value); break;
      case Kind::kOutDType: out_dtype_ = Pointer<StringOpaque>(Unbox(value)); break;
      case Kind::kTarget: target_ = Pointer<StringOpaque>(value); break;
      case Kind::kRotaryStyle: rotary_style_ = Pointer<StringOpaque>(value); break;
      case Kind::kRotaryDim: spec.rotary_dim = static_cast<int64_t>(value); break;
      case Kind::kKvOutput: spec.kv_output = yes; break;
      case Kind::kCheckDuplicateSlots: options.check_duplicate_slots = yes; break;
      case Kind::kStrictDeviceLimits: spec.strict_device_limits = yes; break;
    }
  }
}

Arguments::~Arguments() {
  for (const AtenTensorHandle tensor : tensors) {
    if (tensor != nullptr) aoti_torch_delete_tensor_object(tensor);
  }
  torch_delete_list(size_splits_);
  torch_delete_string(cache_mode_);
  torch_delete_string(numerics_);
  torch_delete_string(rotary_style_);
  if (out_dtype_ != nullptr) torch_delete_string(out_dtype_);
  torch_delete_string(target_);
}

void Arguments::Read() {
  size_t count = 0;
  CheckTorch(torch_list_size(size_splits_, &count), "torch_list_size");
  if (count != spec.size_splits.size()) {
    throw std::invalid_argument("size_splits: has " + std::to_string(count) +
                                " entries; must have 3");
  }
  for (size_t i = 0; i < count; ++i) {
    StableIValue size = 0;
    CheckTorch(torch_list_get_item(size_splits_, i, &size), "torch_list_get_item");
    spec.size_splits[i] = static_cast<int64_t>(size);
  }
  spec.cache_layout = python::ParseCacheMode(Text(cache_mode_));
  spec.numerics = python::ParseNumerics(Text(numerics_));
  spec.rotary_style = python::ParseRotaryStyle(Text(rotary_style_));
  if (out_dtype_ != nullptr) out_dtype = python::ParseOutDType(Text(out_dtype_));
  const Result<Target> target = ParseTarget(Text(target_));
  if (!target.ok()) throw std::invalid_argument(target.status().message());
  spec.target = *target;
}

}  // namespace ropekv::torch_op
