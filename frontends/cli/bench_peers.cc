// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/bench_peers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "frontends/cli/bench_peers_script.h"
#include "frontends/cli/case_file.h"
#include "frontends/cli/errors.h"

namespace ropekv::cli {
namespace {

using bench::PeerResult;

class TemporaryFolder {
 public:
  TemporaryFolder() : path_((std::filesystem::temp_directory_path() / "ropekv-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) throw InputError(path_, ErrnoText(errno));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

 private:
  std::string path_;
};

// One word for the shell.
std::string ShellQuote(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string LastLine(const std::string& path) {
  std::ifstream file(path);
  std::string last;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

// From the script's line of JSON.
PeerResult ResultOf(const std::string& peer, const nlohmann::json& line) {
  PeerResult result;
  result.name = peer;
  result.version = line.value("version", "");
  result.absent = line.value("absent", "");
  result.failed = line.value("failed", "");
  if (result.measured()) {
    result.runs = line.at("runs");
    result.call = {line.at("ns"), line.at("ns_min"), line.at("ns_max")};
    result.mismatches = line.at("mismatches");
  }
  return result;
}

}  // namespace

std::vector<std::string> ParsePeers(const std::vector<std::string>& words) {
  std::vector<std::string> peers;
  for (const std::string_view name : kPeerNames) {
    const bool chosen = std::any_of(words.begin(), words.end(), [&](const std::string& word) {
      return word == "all" || word == name;
    });
    if (chosen) peers.emplace_back(name);
  }
  for (const std::string& word : words) {
    if (word != "all" && std::find(peers.begin(), peers.end(), word) == peers.end()) {
      throw InputError("--peer", fmt::format("{} is not all or one of {}", Quote(word),
                                             fmt::join(kPeerNames, ", ")));
    }
  }
  return peers;
}

PeerResult MeasurePythonPeer(const std::string& python, const std::string& peer,
                             const bench::Point& point, workload::Case& made, int runs) {
  if (const std::string beyond = bench::BeyondPeers(point); !beyond.empty()) {
    PeerResult result;
    result.name = peer;
    result.failed = beyond;
    return result;
  }
  const TemporaryFolder folder;
  std::ofstream(folder / "bench_peers.py") << kBenchPeersScript;
  for (const TensorId cache : {TensorId::kKCache, TensorId::kVCache}) made[cache].Fill(1);
  WriteCase(folder / "case", made);
  ThrowIfError(Run(ValueOrThrow(MakePlan(made.spec)), made.args()));
  WriteResult(folder / "result", made);

  const std::string errors = folder / "errors";
  const std::string command = fmt::format(
      "{} {} --case {} --expect {} --peer {} --threads {} --runs {} 2>{}", ShellQuote(python),
      ShellQuote(folder / "bench_peers.py"), ShellQuote(folder / "case"),
      ShellQuote(folder / "result"), peer, point.threads, runs, ShellQuote(errors));
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw InputError("--python", ErrnoText(errno));
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output += static_cast<char>(c);
  const int status = pclose(pipe);

  const auto line = nlohmann::json::parse(output, nullptr, false);
  if (line.is_object()) return ResultOf(peer, line);
  PeerResult result;
  result.name = peer;
  const bool not_found =
      WIFEXITED(status) && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127);
  const std::string said = Escape(LastLine(errors));
  (not_found ? result.absent : result.failed) =
      said.empty() ? fmt::format("{} ended with status {}", python, status) : said;
  return result;
}

}  // namespace ropekv::cli
