// SPDX-License-Identifier: Apache-2.0
// Cases and results as safetensors files: tensors by the names of kTensorFields, attributes as
// metadata. `ropekv --help` describes them to users.
#ifndef ROPEKV_FRONTENDS_CLI_CASE_FILE_H_
#define ROPEKV_FRONTENDS_CLI_CASE_FILE_H_

#include <string>

#include "frontends/cli/safetensors.h"
#include "ropekv/ropekv.h"
#include "workload/case.h"

namespace ropekv::cli {

// A case file whose header has been read. Everything throws InputError.
class CaseFile {
 public:
  // Refuses tensors and metadata that no case has; whether they fit each other is MakePlan's to
  // say.
  explicit CaseFile(const std::string& path);

  // What the header says; options of the command line may change it before MakePlan.
  Spec spec;

  // Reads the tensors. Precondition: MakePlan accepts `spec`.
  workload::Case Load() const;

 private:
  SafetensorsReader reader_;
};

// `report` is WriteSafetensors's.
void WriteCase(const std::string& path, const workload::Case& written,
               const std::string& report = "");

// The outputs of a case: q, k and v if kv_output, k_cache, v_cache.
void WriteResult(const std::string& path, const workload::Case& written,
                 const std::string& report = "");

// Reads a result that must have exactly the outputs of `spec`, of the same dtypes and shapes.
workload::Buffers ReadResult(const std::string& path, const Spec& spec);

// Refuses, naming `culprit`, a call that is larger than this machine's memory.
void CheckFitsInMemory(const std::string& culprit, const Spec& spec);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_CASE_FILE_H_
