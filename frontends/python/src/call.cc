// SPDX-License-Identifier: Apache-2.0
#include "frontends/python/src/call.h"

#include <string>

#include "frontends/python/src/results.h"

namespace ropekv::python {
namespace {

// They are arguments as q_out, k_out and v_out.
std::string ArgumentName(const TensorField& field) {
  return std::string(field.name) + (IsResult(field) ? "_out" : "");
}

std::string Show(const int64_t* values, int count) {
  std::string text = "[";
  for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + "]";
}

std::string Show(const TensorSpec& tensor) {
  if (!tensor.present()) return "absent";
  return std::string(Name(tensor.dtype)) + " " + Show(tensor.shape.data(), tensor.rank) +
         " with strides " + Show(tensor.stride.data(), tensor.rank);
}

bool SameLayout(const TensorSpec& a, const TensorSpec& b) {
  if (a.dtype != b.dtype || a.rank != b.rank) return false;
  bool empty = false;
  for (int i = 0; i < a.rank; ++i) {
    if (a.shape[i] != b.shape[i]) return false;
    empty = empty || a.shape[i] == 0;
  }
  for (int i = 0; i < a.rank && !empty; ++i) {
    if (a.shape[i] > 1 && a.stride[i] != b.stride[i]) return false;
  }
  return true;
}

bool IsRowMajor(const TensorSpec& tensor) {
  TensorSpec dense = tensor;
  int64_t stride = 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    dense.stride[i] = stride;
    stride *= tensor.shape[i];
  }
  return SameLayout(tensor, dense);
}

[[noreturn]] void ThrowValue(const TensorField& field, const std::string& detail) {
  throw nb::value_error((ArgumentName(field) + ": " + detail).c_str());
}

}  // namespace

void ThrowIfError(const Status& status) {
  if (status.ok()) return;
  PyObject* type = PyExc_ValueError;
  if (status.code() == StatusCode::kBadDType) type = PyExc_TypeError;
  if (status.code() == StatusCode::kOutOfMemory) type = PyExc_MemoryError;
  if (status.code() == StatusCode::kInternal) type = PyExc_RuntimeError;
  PyErr_SetString(type, status.message().c_str());
  nb::raise_python_error();
}

Call::Call(nb::tuple tensors) : tensors_(std::move(tensors)) {
  if (nb::len(tensors_) != kTensorFields.size()) {
    throw nb::value_error("tensors: must be one, or None, for each name of TENSORS");
  }
  for (size_t i = 0; i < kTensorFields.size(); ++i) {
    const nb::handle tensor = PyTuple_GetItem(tensors_.ptr(), static_cast<Py_ssize_t>(i));
    if (tensor.is_none()) continue;
    const TensorField& field = kTensorFields[i];
    operands_[i].Read(IsResult(field) ? ArgumentName(field).c_str() : field.name, tensor,
                      field.output != nullptr);
  }
}

void Call::Describe(Spec* spec) const {
  for (size_t i = 0; i < kTensorFields.size(); ++i) {
    const TensorField& field = kTensorFields[i];
    if (IsResult(field) && field.id != TensorId::kQ && given(i) && !spec->kv_output) {
      ThrowValue(field, "is given, but kv_output is false");
    }
    spec->*field.spec = operands_[i].spec;
  }
  const TensorSpec& q = operands_[static_cast<size_t>(TensorId::kQ)].spec;
  DescribeResults(spec, q.present() ? q.dtype : ResultDType(*spec));
  for (size_t i = 0; i < kTensorFields.size(); ++i) {
    if (IsResult(kTensorFields[i]) && given(i)) spec->*kTensorFields[i].spec = operands_[i].spec;
  }
}

void Call::MustMatch(const Spec& planned, const std::array<bool, kNumTensors>& owned) const {
  for (size_t i = 0; i < kTensorFields.size(); ++i) {
    const TensorField& field = kTensorFields[i];
    const TensorSpec& expected = planned.*field.spec;
    const TensorSpec& found = operands_[i].spec;
    if (owned[i]) {
      if (found.present()) ThrowValue(field, "is given, but the plan is bound to its own");
      continue;
    }
    // A new output is row-major.
    if (IsResult(field) && !found.present() && IsRowMajor(expected)) continue;
    if (!SameLayout(found, expected)) {
      ThrowValue(field, "is " + Show(found) + "; the plan is for one that is " + Show(expected));
    }
  }
}

Args Call::args() const {
  Args args;
  for (size_t i = 0; i < kTensorFields.size(); ++i) {
    const TensorField& field = kTensorFields[i];
    if (field.input) args.*field.input = operands_[i].data;
    if (field.output) args.*field.output = operands_[i].data;
  }
  return args;
}

nb::tuple Call::Do(Action action, const Plan& plan, const RunOptions& options) {
  const nb::handle x = PyTuple_GetItem(tensors_.ptr(), 0);
  Args args = this->args();
  nb::object results[3] = {nb::none(), nb::none(), nb::none()};
  size_t next = 0;
  for (size_t i = 0; i < kTensorFields.size(); ++i) {
    const TensorField& field = kTensorFields[i];
    if (!IsResult(field)) continue;
    nb::object& result = results[next++];
    const TensorSpec& wanted = plan.spec().*field.spec;
    if (!wanted.present()) continue;
    if (given(i)) {
      result = nb::borrow(PyTuple_GetItem(tensors_.ptr(), static_cast<Py_ssize_t>(i)));
      continue;
    }
    result = NewLike(x, wanted);
    Operand made;
    made.Read(field.name, result, true);
    args.*field.output = made.data;
  }
  Status status;
  {
    nb::gil_scoped_release released;
    switch (action) {
      case Action::kRun: status = Run(plan, args, options); break;
      case Action::kReference: status = RunReference(plan, args, options); break;
      case Action::kCheck: status = CheckArgs(plan, args, options); break;
    }
  }
  ThrowIfError(status);
  return nb::make_tuple(results[0], results[1], results[2]);
}

}  // namespace ropekv::python
