// Numbers as people read them in tables and on axes: as many digits as fit, then 12.3K, then 1e-07. Pure.
#pragma once

#include <string>

namespace throughline {

// At most `width` characters whatever the value, at most `decimals` digits after the point. What would round to 0 and
// is not is written 1e-07; large values as 12.3K, 4.56M (1000-based). Where nothing fits: "#". REQUIRES: width >= 4.
std::string fit_number(double value, int width, int decimals);
// "72.5%", "100%" for a share in [0, 1]; "100%" and "0%" are exact. Other values as fit_number. REQUIRES: width >= 5.
std::string fit_share(double value, int width);
// "812M", "1.42G" (1024-based). REQUIRES: width >= 5.
std::string fit_mebibytes(double mebibytes, int width);

}  // namespace throughline
