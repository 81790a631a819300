// The page's files (web/*) and, last, openapi.json, embedded into the binary by cmake/embed_web.cmake.
// Only bytes: routes and headers are the server's. Nothing is read from disk at run time.
#pragma once

#include <span>
#include <string_view>

namespace throughline {

struct WebFile {
  std::string_view name;   // "index.html", "app.js"; without a folder
  std::string_view mime;   // for Content-Type
  std::string_view bytes;  // the file as it lies in web/
  std::string_view etag;   // quoted, of the bytes alone
  std::string_view gzip;   // the same, compressed
};

std::span<const WebFile> web_files();

}  // namespace throughline
