# throughline_embed_web(TARGET): the page's files (web/*) and the API's description become one .cc of string literals in
# the build folder, plain and compressed, which TARGET compiles; src/serve/web_files.h names what it defines. Written anew
# only when one of them is.
#
# As a script (cmake -DOUT=... -DROOT=... -P embed_web.cmake) it writes that .cc.
function(throughline_embed_web TARGET)
  set(script ${CMAKE_SOURCE_DIR}/cmake/embed_web.cmake)
  set(out ${CMAKE_BINARY_DIR}/web_files.cc)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/*)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DROOT=${CMAKE_SOURCE_DIR} -P ${script}
    DEPENDS ${script} ${files} ${CMAKE_SOURCE_DIR}/src/serve/openapi.json
    COMMENT "Embedding web/"
    VERBATIM)
  target_sources(${TARGET} PRIVATE ${out})
  set_source_files_properties(${out} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  return()
endif()

set(mime_css "text/css; charset=utf-8")
set(mime_html "text/html; charset=utf-8")
set(mime_json "application/json")
set(mime_js "text/javascript; charset=utf-8")
set(mime_svg "image/svg+xml")

find_program(gzip gzip REQUIRED)
file(GLOB files ${ROOT}/web/*)
list(SORT files)
list(APPEND files ${ROOT}/src/serve/openapi.json)
set(rows "")
foreach(file ${files})
  get_filename_component(name ${file} NAME)
  string(REGEX REPLACE "^.*\\." "" ending "${name}")
  if(NOT DEFINED mime_${ending})
    message(FATAL_ERROR "${file}: no MIME type is known for .${ending}; add one to cmake/embed_web.cmake")
  endif()
  file(READ ${file} text)
  string(FIND "${text}" ")web\"" clash)
  if(NOT clash EQUAL -1)
    message(FATAL_ERROR "${file}: holds the characters that end its literal, )web\"")
  endif()
  file(SHA256 ${file} hash)
  string(SUBSTRING ${hash} 0 16 hash)
  execute_process(COMMAND ${gzip} -9nc ${file} OUTPUT_FILE ${OUT}.gz COMMAND_ERROR_IS_FATAL ANY)
  file(READ ${OUT}.gz packed HEX)
  string(REGEX REPLACE "(..)" "\\\\x\\1" packed ${packed})
  string(APPEND rows "    {\"${name}\", \"${mime_${ending}}\", R\"web(${text})web\"sv, \"\\\"${hash}\\\"\", \"${packed}\"sv},\n")
endforeach()
file(REMOVE ${OUT}.gz)
file(WRITE ${OUT} "// Made by cmake/embed_web.cmake from web/* and src/serve/openapi.json.
#include \"serve/web_files.h\"

namespace throughline {
namespace {
using namespace std::string_view_literals;
constexpr WebFile kFiles[] = {
${rows}};
}  // namespace

std::span<const WebFile> web_files() { return kFiles; }

}  // namespace throughline
")
