// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/case_file.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "frontends/cli/case_metadata.h"
#include "frontends/cli/errors.h"

namespace ropekv::cli {
namespace {

using workload::Buffer;
using workload::Case;

// The tensors of a case file are the inputs and the caches before the call.
bool BelongsToCase(const TensorField& field) { return field.input || workload::IsCache(field.id); }
bool BelongsToResult(const TensorField& field) { return field.output != nullptr; }

// Where cos and sin are the halves of the rows of one tensor.
constexpr std::string_view kPackedAngles = "cos_sin";

// Null if there is none.
template <class Belongs>
const TensorField* FindField(std::string_view name, Belongs belongs) {
  for (const TensorField& field : kTensorFields) {
    if (belongs(field) && field.name == name) return &field;
  }
  return nullptr;
}

// Of a case; that of cos for what holds cos and sin.
const TensorField* FindCaseField(std::string_view name) {
  return FindField(name == kPackedAngles ? "cos" : name, BelongsToCase);
}

std::string Culprit(const std::string& path, std::string_view tensor) {
  return fmt::format("{}: tensor {}", path, Quote(tensor));
}

// What a file may store a tensor as.
std::vector<std::string_view> LegalDTypes(TensorId id) {
  switch (id) {
    case TensorId::kX: return {"I32", "F16", "BF16", "F32"};
    case TensorId::kCos:
    case TensorId::kSin: return {"F16", "BF16", "F32"};
    case TensorId::kKCache:
    case TensorId::kVCache: return {"I8", "F16", "BF16", "F32"};
    case TensorId::kIndices:
    case TensorId::kPositions: return {"I32", "I64"};
    case TensorId::kBias: return {"F32", "F16", "BF16", "I32"};
    default: return {"F32"};
  }
}

TensorSpec ToTensorSpec(const std::string& path, TensorId id, const StoredTensor& stored) {
  const auto legal = LegalDTypes(id);
  if (std::find(legal.begin(), legal.end(), stored.dtype) == legal.end()) {
    throw InputError(Culprit(path, stored.name),
                     fmt::format("has dtype {}; must be {}{}", Quote(stored.dtype),
                                 legal.size() > 1 ? "one of " : "", fmt::join(legal, ", ")));
  }
  const auto& shape = stored.shape;
  if (shape.size() > TensorSpec::kMaxRank) {
    throw InputError(Culprit(path, stored.name), fmt::format("its rank is {}, at most {} is legal",
                                                             shape.size(), TensorSpec::kMaxRank));
  }
  TensorSpec tensor;
  tensor.dtype = FindDType(stored.dtype);
  tensor.rank = static_cast<int>(shape.size());
  int64_t stride = 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    tensor.shape[i] = shape[i];
    tensor.stride[i] = stride;
    // 1 for an empty dimension, so that the product never overflows.
    stride *= std::max<int64_t>(shape[i], 1);
  }
  return tensor;
}

// Lets a scale of [1] serve all.
void Broadcast(int64_t count, TensorSpec* scale) {
  if (scale->rank != 1 || scale->shape[0] != 1) return;
  scale->shape[0] = count;
  scale->stride[0] = 0;
}

// The scales of quantised caches need none.
void BroadcastScales(Spec* spec) {
  const TensorSpec& x = spec->x;
  if (x.rank == 0) return;
  Broadcast(x.shape[x.rank - 1], &spec->weight_scale);
  Broadcast(x.rank == 3 ? x.shape[0] * x.shape[1] : x.shape[0], &spec->activation_scale);
}

// Makes cos and sin of what holds both.
void Unpack(const std::string& path, Spec* spec) {
  TensorSpec& cos = spec->cos;
  int64_t* const width = cos.rank > 0 ? &cos.shape[cos.rank - 1] : nullptr;
  if (width == nullptr || *width % 2 != 0) {
    throw InputError(Culprit(path, kPackedAngles),
                     fmt::format("has shape {}; its last dimension must be cos and sin",
                                 ShapeText(std::span(cos.shape).first(cos.rank))));
  }
  *width /= 2;
  spec->sin = cos;
}

std::span<std::byte> BytesOf(const Buffer& buffer) {
  return {buffer.data(), static_cast<size_t>(buffer.size())};
}

template <class Belongs>
void WriteTensors(const std::string& path, const Case& written, Belongs belongs,
                  const Metadata& metadata, const std::string& report) {
  const bool packed = workload::IsPacked(written.spec);
  const TensorSpec angles = packed ? workload::PackedAngles(written.spec) : TensorSpec();
  std::vector<TensorView> tensors;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& own = written.spec.*field.spec;
    if (!belongs(field) || !own.present() || (packed && field.id == TensorId::kSin)) continue;
    const bool holds_sin = packed && field.id == TensorId::kCos;
    const TensorSpec& tensor = holds_sin ? angles : own;
    tensors.push_back({.name = holds_sin ? kPackedAngles : field.name,
                       .dtype = tensor.dtype,
                       .shape = std::span(tensor.shape).first(tensor.rank),
                       .bytes = BytesOf(written[field.id])});
  }
  WriteSafetensors(path, std::move(tensors), metadata, report);
}

}  // namespace

CaseFile::CaseFile(const std::string& path) : reader_(path) {
  for (const StoredTensor& stored : reader_.tensors()) {
    if (const TensorField* field = FindCaseField(stored.name)) {
      spec.*field->spec = ToTensorSpec(this->path(), field->id, stored);
    } else {
      remarks_.push_back(fmt::format("tensor {} is not used", Quote(stored.name)));
    }
  }
  if (reader_.Find(kPackedAngles) != nullptr) {
    for (const char* name : {"cos", "sin"}) {
      if (reader_.Find(name) == nullptr) continue;
      throw InputError(Culprit(this->path(), kPackedAngles),
                       fmt::format("holds cos and sin, and there is a tensor {}", Quote(name)));
    }
    Unpack(this->path(), &spec);
  }
  ParseMetadata(this->path(), reader_.metadata(), &spec, &remarks_);
  BroadcastScales(&spec);
  const DType outputs = spec.q.present() ? spec.q.dtype : workload::OutputDType(spec);
  workload::SetOutputs(&spec, outputs);
}

std::string CaseFile::note() const {
  if (remarks_.empty()) return "";
  // A model's file may have hundreds.
  const size_t shown = std::min<size_t>(remarks_.size(), 8);
  const auto first = std::span(remarks_).first(shown);
  const size_t more = remarks_.size() - shown;
  return fmt::format("{}: {}{}", path(), fmt::join(first, "; "),
                     more > 0 ? fmt::format("; and {} more", more) : "");
}

Plan CaseFile::ToPlan() const {
  const Result<Plan> plan = MakePlan(spec);
  ThrowIfError(path(), plan.status());
  return *plan;
}

Case CaseFile::Load() {
  CheckFitsInMemory(path(), spec);
  Case loaded = workload::Allocate(spec);
  // In the order of their data: the file may be a pipe.
  for (const StoredTensor& stored : reader_.tensors()) {
    const TensorField* field = FindCaseField(stored.name);
    if (field == nullptr) continue;
    // A scale that is broadcast has fewer than the buffer holds.
    reader_.Read(stored, BytesOf(loaded[field->id]).first(stored.end - stored.begin));
  }
  reader_.Finish();
  return loaded;
}

void WriteCase(const std::string& path, const Case& written, const std::string& report) {
  WriteTensors(path, written, BelongsToCase, MakeMetadata(written.spec), report);
}

void WriteResult(const std::string& path, const Case& written, const std::string& report) {
  WriteTensors(path, written, BelongsToResult, {}, report);
}

StoredResult ReadResult(const std::string& path, const Spec& spec) {
  SafetensorsReader reader(path);
  const auto expected = [&spec](const TensorField& field) {
    return BelongsToResult(field) && (spec.*field.spec).present();
  };
  StoredResult result;
  result.path = reader.path();
  for (const StoredTensor& stored : reader.tensors()) {
    const TensorField* field = FindField(stored.name, expected);
    if (field == nullptr) {
      result.further.push_back(stored.name);
      continue;
    }
    const TensorSpec& tensor = spec.*field->spec;
    const auto shape = std::span(tensor.shape).first(tensor.rank);
    if (stored.dtype != StoredName(tensor.dtype) || !std::ranges::equal(stored.shape, shape)) {
      throw InputError(
          Culprit(reader.path(), stored.name),
          fmt::format("is {} {}, the case makes {} {}", Escape(stored.dtype),
                      ShapeText(stored.shape), StoredName(tensor.dtype), ShapeText(shape)));
    }
    Buffer& buffer = result.buffers[static_cast<int>(field->id)];
    buffer = Buffer(stored.end - stored.begin);
    reader.Read(stored, BytesOf(buffer));
  }
  reader.Finish();
  for (const TensorField& field : kTensorFields) {
    if (expected(field) && reader.Find(field.name) == nullptr) result.missing.push_back(field.name);
  }
  return result;
}

void CheckFitsInMemory(const std::string& culprit, const Spec& spec) {
  double needed = 0;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    if (tensor.present()) needed += static_cast<double>(workload::NumBytes(tensor));
  }
  const double available =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (needed > available) {
    throw InputError(culprit, fmt::format("needs {:.1f} GiB of memory, this machine has {:.1f}",
                                          needed * 0x1p-30, available * 0x1p-30));
  }
}

}  // namespace ropekv::cli
