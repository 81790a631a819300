// Line plots as one SVG file that needs nothing else: it follows the reader's light or dark setting and opens in any
// browser, in GitHub's pages and in rsvg-convert. Text in it is escaped, whatever the names hold. Pure.
#pragma once

#include <span>
#include <string>

#include "base/plot.h"

namespace throughline {

struct SvgOptions {
  int columns = 2;  // plots side by side
  int width = 460;  // pixels of one plot, its margins included
  int height = 260;
  std::string heading;  // above all plots; empty: none
};

std::string draw_svg(std::span<const Plot> plots, const SvgOptions& options);

}  // namespace throughline
