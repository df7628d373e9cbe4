// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/bench_report.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "frontends/cli/choices.h"

namespace ropekv::cli {
namespace {

using bench::Measurement;
using bench::Point;
using nlohmann::ordered_json;

// A fixed order of columns, shared by CSV and JSON.
ordered_json ToJson(const Measurement& m) {
  const Point& p = m.point;
  return {{"model", p.model.name},
          {"num_q_heads", p.model.q_heads},
          {"num_kv_heads", p.model.kv_heads},
          {"head_dim", p.model.head_dim},
          {"tokens", p.tokens},
          {"x", Name(p.variant.x)},
          {"dtype", Name(p.variant.dtype)},
          {"numerics", WordFor(p.variant.numerics, kNumericsChoices)},
          {"cache", WordFor(p.placement, kPlacementChoices)},
          {"kv_output", p.kv_output},
          {"threads", p.threads},
          {"target", Name(m.target)},
          {"runs", m.runs},
          {"ns", m.call.median},
          {"ns_min", m.call.min},
          {"ns_max", m.call.max},
          {"ns_per_token", m.call.median / static_cast<double>(p.tokens)},
          {"floor_ns", m.floor.median},
          {"floor_ns_min", m.floor.min},
          {"floor_ns_max", m.floor.max},
          {"floor_stores",
           m.floor_stores == bench::Stores::kStreaming ? "streaming" : "ordinary"},
          {"ratio", m.ratio()},
          {"bytes", m.bytes},
          {"gbps", m.gigabytes_per_second()}};
}

// "model name" of the first processor, as Linux tells it.
std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

ordered_json Machine() {
  utsname system{};
  uname(&system);
  return {{"processor", ProcessorName()},
          {"architecture", system.machine},
          {"kernel", system.release},
          {"threads", std::thread::hardware_concurrency()},
          {"l1d_bytes", sysconf(_SC_LEVEL1_DCACHE_SIZE)},
          {"l2_bytes", sysconf(_SC_LEVEL2_CACHE_SIZE)},
          {"l3_bytes", sysconf(_SC_LEVEL3_CACHE_SIZE)},
          {"compiler", __VERSION__},
          {"version", Version()}};
}

}  // namespace

std::string TableHeading() {
  return fmt::format(
      "{:<16}{:>6} {:<5}{:<5}{:<9}{:<11}{:<3}{:>4}{:>11}{:>11}{:>6}{:>9}{:>11}{:>6}{:>6}", "model",
      "tokens", "x", "q", "numerics", "cache", "kv", "thr", "ns/call", "min", "+-%", "ns/token",
      "copy ns", "GB/s", "ratio");
}

std::string TableRow(const Measurement& m) {
  const Point& p = m.point;
  const double spread = 50 * (m.call.max - m.call.min) / m.call.median;
  return fmt::format(
      "{:<16}{:>6} {:<5}{:<5}{:<9}{:<11}{:<3}{:>4}{:>11.0f}{:>11.0f}{:>6.1f}{:>9.1f}{:>11.0f}"
      "{:>6.1f}{:>6.2f}",
      p.model.name, p.tokens, Name(p.variant.x), Name(p.variant.dtype),
      WordFor(p.variant.numerics, kNumericsChoices), WordFor(p.placement, kPlacementChoices),
      p.kv_output ? "yes" : "no", p.threads, m.call.median, m.call.min, spread,
      m.call.median / static_cast<double>(p.tokens), m.floor.median, m.gigabytes_per_second(),
      m.ratio());
}

std::string CsvHeading() {
  std::string line;
  const ordered_json row = ToJson(Measurement{});
  for (const auto& item : row.items()) line += (line.empty() ? "" : ",") + item.key();
  return line;
}

std::string CsvRow(const Measurement& measurement) {
  std::string line;
  const ordered_json row = ToJson(measurement);
  for (const auto& item : row.items()) {
    const auto& value = item.value();
    line += line.empty() ? "" : ",";
    line += value.is_string() ? value.get<std::string>() : value.dump();
  }
  return line;
}

std::string JsonHead() {
  return fmt::format("{{\"machine\": {},\n\"results\": [", Machine().dump(1));
}

std::string JsonRow(const Measurement& measurement) { return ToJson(measurement).dump(); }

std::string JsonTail() { return "],\n\"peers\": []}"; }

std::string PointText(const Point& p) {
  return fmt::format("{}, {} tokens, x {}, q {}, {} numerics, {} cache, {} thread{}", p.model.name,
                     p.tokens, Name(p.variant.x), Name(p.variant.dtype),
                     WordFor(p.variant.numerics, kNumericsChoices),
                     WordFor(p.placement, kPlacementChoices), p.threads, p.threads == 1 ? "" : "s");
}

}  // namespace ropekv::cli
