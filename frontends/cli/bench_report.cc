// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/bench_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/utsname.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "frontends/cli/bench_points.h"
#include "frontends/cli/choices.h"
#include "frontends/cli/machine.h"

namespace ropekv::cli {
namespace {

using bench::Measurement;
using bench::PeerResult;
using bench::Point;
using bench::Timing;
using nlohmann::ordered_json;

ordered_json PointJson(const Point& p) {
  return {{"model", p.model.name},
          {"num_q_heads", p.model.q_heads},
          {"num_kv_heads", p.model.kv_heads},
          {"head_dim", p.model.head_dim},
          {"tokens", p.tokens},
          {"x", Name(p.variant.x)},
          {"dtype", Name(p.variant.dtype)},
          {"numerics", WordFor(p.variant.numerics, kNumericsChoices)},
          {"cache", WordFor(p.placement, kPlacementChoices)},
          {"rotary_dim", p.model.rotary_dim()},
          {"rotary_style", WordFor(p.model.rotation.style, kStyleChoices)},
          {"angles", Name(p.angles == DType::kNone ? p.variant.dtype : p.angles)},
          {"positions", p.positions},
          {"packed", p.packed},
          {"half_width", p.half_width},
          {"index_dtype", Name(p.index_dtype)},
          {"cache_dtype", Name(p.cache_dtype)},
          {"scales", p.cache_dtype == DType::kI8 ? WordFor(p.scales, kScalesChoices) : "none"},
          {"layout", WordFor(p.layout.caches, kOrderChoices)},
          {"sliced", p.layout.sliced},
          {"kv_output", p.kv_output},
          {"bound", p.bound},
          {"threads", p.threads}};
}

// No more digits than a clock gives.
double Nanoseconds(double value) { return std::round(value * 10) / 10; }
double Thousandths(double value) { return std::round(value * 1000) / 1000; }

// One implementation's time at a point, beside the floor there.
struct Row {
  std::string name;
  std::string target;
  int runs;
  Timing call;
};

ordered_json RowJson(const Measurement& m, const Row& row) {
  ordered_json json = PointJson(m.point);
  json.update(ordered_json{
      {"target", row.target},
      {"runs", row.runs},
      {"ns", Nanoseconds(row.call.median)},
      {"ns_min", Nanoseconds(row.call.min)},
      {"ns_max", Nanoseconds(row.call.max)},
      {"ns_per_token", Nanoseconds(row.call.median / static_cast<double>(m.point.tokens))},
      {"floor_ns", Nanoseconds(m.floor.median)},
      {"floor_ns_min", Nanoseconds(m.floor.min)},
      {"floor_ns_max", Nanoseconds(m.floor.max)},
      {"floor_stores", m.floor_stores == bench::Stores::kStreaming ? "streaming" : "ordinary"},
      {"ratio", Thousandths(m.floor.median / row.call.median)},
      {"bytes", m.bytes},
      {"gbps", Thousandths(static_cast<double>(m.bytes) / row.call.median)}});
  return json;
}

ordered_json PeerJson(const Measurement& m, const PeerResult& peer) {
  ordered_json json{{"peer", peer.name}};
  if (!peer.absent.empty()) {
    json["absent"] = peer.absent;
    return json;
  }
  json["version"] = peer.version;
  if (!peer.failed.empty()) {
    json.update(PointJson(m.point));
    json["failed"] = peer.failed;
    return json;
  }
  json.update(RowJson(m, {peer.name, "", peer.runs, peer.call}));
  json.erase("target");
  json["operator_ns"] = Nanoseconds(m.call.median);
  json["mismatches"] = peer.mismatches;
  return json;
}

std::string TableHeading() {
  return fmt::format(
      "{:<16}{:>6} {:<5}{:<5}{:<9}{:<11}{:<3}{:<3}{:>4}{:>10}{:>10} {:>4}{:>9}{:>11}{:>6}{:>6}",
      "model", "tokens", "x", "q", "numerics", "cache", "kv", "b", "thr", "ns/call", "min", "+-%",
      "ns/token", "copy ns", "GB/s", "ratio");
}

std::string TableRow(const Measurement& m, const Row& row) {
  const Point& p = m.point;
  return fmt::format(
      "{:<16}{:>6} {:<5}{:<5}{:<9}{:<11}{:<3}{:<3}{:>4}{:>10.0f}{:>10.0f} {:>4.0f}{:>9.1f}{:>11.0f}"
      "{:>6.1f}{:>6.2f}",
      row.name, p.tokens, Name(p.variant.x), Name(p.variant.dtype),
      WordFor(p.variant.numerics, kNumericsChoices), WordFor(p.placement, kPlacementChoices),
      p.kv_output ? "yes" : "no", p.bound ? "yes" : "no", p.threads, row.call.median, row.call.min,
      50 * (row.call.max - row.call.min) / row.call.median,
      row.call.median / static_cast<double>(p.tokens), m.floor.median,
      static_cast<double>(m.bytes) / row.call.median, m.floor.median / row.call.median);
}

std::string CsvHeading() {
  std::string line = "implementation";
  const ordered_json columns = RowJson(Measurement{}, {});
  for (const auto& column : columns.items()) line += "," + column.key();
  return line;
}

std::string CsvRow(const Measurement& m, const Row& row) {
  std::string line = row.name;
  const ordered_json columns = RowJson(m, row);
  for (const auto& column : columns.items()) {
    const auto& value = column.value();
    line += "," + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return line;
}

std::string FeaturesText(const Point& p) {
  return fmt::format("{}", fmt::join(bench::FeaturesOf(p), ", "));
}

// This process's command line, as Linux tells it.
std::string CommandLine() {
  std::ifstream cmdline("/proc/self/cmdline");
  std::string command;
  for (std::string word; std::getline(cmdline, word, '\0');) {
    command += command.empty() ? "ropekv" : " " + word;
  }
  return command;
}

ordered_json Machine() {
  utsname system{};
  uname(&system);
  return {
      {"processor", ProcessorName()}, {"architecture", system.machine}, {"kernel", system.release},
      {"threads", MaxThreads()},      {"l1d_bytes", CacheBytes(1)},     {"l2_bytes", CacheBytes(2)},
      {"l3_bytes", CacheBytes(3)},    {"compiler", __VERSION__},        {"version", Version()}};
}

}  // namespace

void Report::Begin() const {
  if (format_ == ReportFormat::kTable) fmt::print("{}\n", TableHeading());
  if (format_ == ReportFormat::kCsv) fmt::print("{}\n", CsvHeading());
  if (format_ == ReportFormat::kJson) {
    fmt::print("{{\"machine\": {},\n\"command\": {},\n\"results\": [", Machine().dump(),
               ordered_json(CommandLine()).dump());
  }
  std::fflush(stdout);
}

void Report::Add(const Measurement& m) {
  const Row row{std::string(format_ == ReportFormat::kTable ? m.point.model.name : "ropekv"),
                Name(m.target), m.runs, m.call};
  if (format_ == ReportFormat::kTable) {
    const std::string features = FeaturesText(m.point);
    if (features != features_) fmt::print("{}:\n", features.empty() ? "plain" : features);
    features_ = features;
    fmt::print("{}\n", TableRow(m, row));
  }
  if (format_ == ReportFormat::kCsv) fmt::print("{}\n", CsvRow(m, row));
  if (format_ == ReportFormat::kJson) {
    fmt::print("{}\n {}", first_ ? "" : ",", RowJson(m, row).dump());
  }
  first_ = false;
  for (const PeerResult& peer : m.peers) {
    peers_.push_back(PeerJson(m, peer).dump());
    if (!peer.measured()) {
      notes_.insert(peer.name + ": " +
                    (peer.absent.empty() ? peer.failed : "absent: " + peer.absent));
    } else if (format_ == ReportFormat::kTable) {
      fmt::print("{}\n", TableRow(m, {"  " + peer.name, "", peer.runs, peer.call}));
    } else if (format_ == ReportFormat::kCsv) {
      fmt::print("{}\n", CsvRow(m, {peer.name, "", peer.runs, peer.call}));
    }
  }
  std::fflush(stdout);
}

void Report::End() const {
  if (format_ == ReportFormat::kJson) {
    fmt::print("],\n\"peers\": [{}{}]}}\n", peers_.empty() ? "" : "\n ", fmt::join(peers_, ",\n "));
  }
  if (format_ == ReportFormat::kTable) {
    for (const std::string& note : notes_) fmt::print("{}\n", note);
  }
}

std::string PointText(const Point& p) {
  const std::string features = FeaturesText(p);
  return fmt::format("{}, {} tokens, x {}, q {}, {} numerics, {} cache{}{}, {} thread{}",
                     p.model.name, p.tokens, Name(p.variant.x), Name(p.variant.dtype),
                     WordFor(p.variant.numerics, kNumericsChoices),
                     WordFor(p.placement, kPlacementChoices), features.empty() ? "" : ", ",
                     features, p.threads, p.threads == 1 ? "" : "s");
}

}  // namespace ropekv::cli
