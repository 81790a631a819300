#include "cli/bench_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

namespace throughline {
namespace {

using Key = std::tuple<std::string, int64_t, int64_t>;  // kind, batch, depth

Key key_of(const Json& row) { return {row.value("kind", ""), row.value("batch", 0), row.value("depth", 0)}; }

bool measured(const Json& row) { return row.contains("tok_s_median"); }

std::map<Key, std::vector<Json>> by_case(const std::vector<Json>& rows) {
  std::map<Key, std::map<std::string, Json>> latest;
  for (const Json& row : rows) latest[key_of(row)][row.value("peer", "")] = row;
  std::map<Key, std::vector<Json>> out;
  for (auto& [key, peers] : latest) {
    for (auto& [name, row] : peers) out[key].push_back(std::move(row));
    std::stable_sort(out[key].begin(), out[key].end(), [](const Json& a, const Json& b) {
      return a.value("tok_s_median", 0.0) > b.value("tok_s_median", 0.0);
    });
  }
  return out;
}

std::string table_of(const Key& key, const std::vector<Json>& rows) {
  const auto& [kind, batch, depth] = key;
  std::string out = kind == "decode" ? fmt::format("\n## Decode, depth {}, batch {}\n\n", depth, batch)
                                     : fmt::format("\n## Prefill of {} tokens\n\n", depth);
  out +=
      "| engine | tok/s, median (min-max) | bandwidth GB/s (min-max) | roofline | peak RSS MiB | |\n"
      "|---|---:|---:|---:|---:|---|\n";
  for (const Json& row : rows) {
    const std::string name = row.value("own", false) ? "**" + row.value("peer", "") + "**" : row.value("peer", "");
    if (!measured(row)) {
      out += fmt::format("| {} | | | | | {} |\n", name, row.value("error", "not measured"));
      continue;
    }
    const std::string share =
        row.contains("roofline_fraction") ? fmt::format("{:.0f} %", row.value("roofline_fraction", 0.0) * 100) : "";
    out += fmt::format("| {} | {:.2f} ({:.2f}-{:.2f}) | {:.1f} ({:.1f}-{:.1f}) | {} | {:.0f} | {} |\n", name,
                       row.value("tok_s_median", 0.0), row.value("tok_s_min", 0.0), row.value("tok_s_max", 0.0),
                       row.value("bw_gb_s", 0.0), row.value("bw_min", 0.0), row.value("bw_max", 0.0), share,
                       row.value("peak_rss_mib", 0.0), row.value("note", ""));
  }
  return out;
}

// One line an engine over the cases that `x` gives a place; lines of fewer than two points are left out.
Plot plot_of(const std::map<Key, std::vector<Json>>& cases, const std::string& title, const std::string& x_label,
             const std::string& field, const std::function<double(const Key&)>& x) {
  Plot plot{.title = title, .x_label = x_label};
  plot.percent = field == "roofline_fraction";
  std::map<std::string, std::map<double, double>> lines;
  for (const auto& [key, rows] : cases) {
    const double at = x(key);
    for (const Json& row : rows) {
      if (at > 0 && row.contains(field)) lines[row.value("peer", "")][at] = row.value(field, 0.0);
    }
  }
  for (const auto& [name, points] : lines) {
    if (points.size() < 2) continue;
    PlotSeries series{.name = name};
    for (const auto& [at, value] : points) {
      series.x.push_back(at);
      series.y.push_back(value);
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

std::string versions(const std::vector<Json>& rows) {
  std::set<std::tuple<std::string, std::string, std::string>> seen;
  for (const Json& row : rows) {
    if (measured(row)) seen.emplace(row.value("peer", ""), row.value("version", ""), row.value("flags", ""));
  }
  std::string out = "\n## Versions and flags\n\n| engine | version | flags |\n|---|---|---|\n";
  for (const auto& [name, version, flags] : seen) out += fmt::format("| {} | {} | {} |\n", name, version, flags);
  return out;
}

std::string commands_of(const std::vector<Json>& rows) {
  std::vector<std::string> commands;
  for (const Json& row : rows) {
    std::string command = row.value("command", "");
    if (!command.empty() && std::find(commands.begin(), commands.end(), command) == commands.end())
      commands.push_back(std::move(command));
  }
  return fmt::format("{}", fmt::join(commands, "\n"));
}

}  // namespace

CompareReport compare_report(const std::vector<Json>& rows, const std::string& heading, const std::string& machine) {
  const auto cases = by_case(rows);
  const auto depth_at = [](int64_t batch) {
    return [batch](const Key& key) {
      return std::get<0>(key) == "decode" && std::get<1>(key) == batch ? static_cast<double>(std::get<2>(key)) : 0;
    };
  };
  std::set<int64_t> depths;
  for (const auto& [key, of_case] : cases) {
    if (std::get<0>(key) == "decode") depths.insert(std::get<2>(key));
  }
  CompareReport out;
  const auto add = [&](const std::string& file, Plot plot) {
    if (!plot.series.empty()) out.plots.emplace_back(file, std::move(plot));
  };
  add("speed-depth", plot_of(cases, "Tokens a second, batch 1", "tokens in the context", "tok_s_median", depth_at(1)));
  add("memory-depth",
      plot_of(cases, "Peak memory, MiB, batch 1", "tokens in the context", "peak_rss_mib", depth_at(1)));
  add("roofline-depth", plot_of(cases, "Share of the memory's speed, batch 1", "tokens in the context",
                                "roofline_fraction", depth_at(1)));
  for (const int64_t depth : depths) {
    add(fmt::format("speed-batch-{}", depth), plot_of(cases, fmt::format("Tokens a second, depth {}", depth),
                                                      "sequences", "tok_s_median", [&](const Key& key) {
                                                        return std::get<0>(key) == "decode" && std::get<2>(key) == depth
                                                                   ? static_cast<double>(std::get<1>(key))
                                                                   : 0;
                                                      }));
  }
  out.markdown = fmt::format(
      "# {}\n\n{}\n\n```\n{}\n```\n\nEvery engine of a table stood ready at once; their timed runs took turns, and the "
      "memory's speed was read between\nthem all. Roofline: bytes that a step must read (weights once, each sequence's "
      "K "
      "and V once), over its time, over that\nspeed's median. tok/s counts all sequences of the batch.\n",
      heading, machine, commands_of(rows));
  for (const auto& [file, plot] : out.plots) out.markdown += fmt::format("\n![{}]({}.svg)\n", plot.title, file);
  for (const auto& [key, of_case] : cases) out.markdown += table_of(key, of_case);
  out.markdown += versions(rows);
  return out;
}

}  // namespace throughline
