// SPDX-License-Identifier: Apache-2.0
// The operator in other libraries, by scripts/bench_peers.py, which is inside this program.
#ifndef ROPEKV_FRONTENDS_CLI_BENCH_PEERS_H_
#define ROPEKV_FRONTENDS_CLI_BENCH_PEERS_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/suite.h"

namespace ropekv::cli {

// The unfused chain comes first; it needs no Python.
inline constexpr std::string_view kPeerNames[] = {"chain", "numpy", "onnxruntime", "torch",
                                                  "torch-compile"};

// The names chosen by the words of --peer. Throws InputError for a word that is none of them.
std::vector<std::string> ParsePeers(const std::vector<std::string>& words);

// Runs `peer`, not the chain, on the data of a point, in a Python process of its own. Overwrites
// what is in the caches of `made`. A peer that cannot run says why; nothing is thrown but
// InputError, for files that cannot be written.
bench::PeerResult MeasurePythonPeer(const std::string& python, const std::string& peer,
                                    const bench::Point& point, workload::Case& made, int runs);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_BENCH_PEERS_H_
