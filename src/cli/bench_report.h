// What `bench compare` leaves: the figures as a Markdown page with tables and plots, drawn from its JSON lines alone,
// so that a page can be made again from the lines of several runs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/plot.h"

namespace throughline {

struct CompareReport {
  std::string markdown;                             // names the plots' files
  std::vector<std::pair<std::string, Plot>> plots;  // file name without its ending
};

// rows: as compare_engines() gives them, of one model; of two rows alike in all but their figures the later counts.
// `heading`, `machine`: for the page's head, which also has every command that left a row.
CompareReport compare_report(const std::vector<Json>& rows, const std::string& heading, const std::string& machine);

}  // namespace throughline
