// The program's version: what --version prints and what results name.
#pragma once

namespace throughline {

constexpr const char* kVersion = "0.1.0";  // CHANGELOG.md

}  // namespace throughline
