// SPDX-License-Identifier: Apache-2.0
// Cases and results as safetensors files: tensors by the names of kTensorFields, attributes as
// metadata. `ropekv --help` describes them to users.
#ifndef ROPEKV_FRONTENDS_CLI_CASE_FILE_H_
#define ROPEKV_FRONTENDS_CLI_CASE_FILE_H_

#include <string>
#include <vector>

#include "frontends/cli/safetensors.h"
#include "ropekv/ropekv.h"
#include "workload/case.h"

namespace ropekv::cli {

// A case file whose header has been read. Everything throws InputError.
class CaseFile {
 public:
  // Whether the tensors fit each other is ToPlan's to say.
  explicit CaseFile(const std::string& path);

  // What the header says; options of the command line may change it before ToPlan.
  Spec spec;

  // As messages name it.
  const std::string& path() const { return reader_.path(); }
  // On what the file has and no case needs, and on odd spelling; empty if there is nothing to say.
  std::string note() const;

  // MakePlan, with errors that name the file.
  Plan ToPlan() const;

  // Reads the tensors; may be called once. Precondition: ToPlan accepts `spec`.
  workload::Case Load();

 private:
  SafetensorsReader reader_;
  std::vector<std::string> remarks_;
};

// `report` is WriteSafetensors's.
void WriteCase(const std::string& path, const workload::Case& written,
               const std::string& report = "");

// The outputs of a case: q, k and v if kv_output, k_cache, v_cache.
void WriteResult(const std::string& path, const workload::Case& written,
                 const std::string& report = "");

// What a file has of a case's outputs.
struct StoredResult {
  std::string path;           // as messages name it
  workload::Buffers buffers;  // empty for those that are missing
  // Names.
  std::vector<std::string> missing;
  std::vector<std::string> further;  // tensors that are no output of the case
};

// The outputs that are there must be of the dtypes and shapes of `spec`.
StoredResult ReadResult(const std::string& path, const Spec& spec);

// Refuses, naming `culprit`, a call that is larger than this machine's memory.
void CheckFitsInMemory(const std::string& culprit, const Spec& spec);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_CASE_FILE_H_
