// CRC-32C (Castagnoli), as TFRecord files and many storage formats use it. A plain table, byte by byte: for records,
// not for weights. Source: RFC 3720, appendix B.4. Thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

namespace throughline {

uint32_t crc32c(std::string_view bytes);

}  // namespace throughline
