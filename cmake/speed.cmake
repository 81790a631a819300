# ccache and mold where present. Objects are shared by all clones of one user: ccache sees paths relative to the source
# folder, and the compiler writes them so into debug information and __FILE__.
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
find_program(THROUGHLINE_CCACHE ccache)
if(THROUGHLINE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros ${THROUGHLINE_CCACHE})
endif()
find_program(THROUGHLINE_MOLD mold)
if(THROUGHLINE_MOLD AND NOT CMAKE_EXE_LINKER_FLAGS MATCHES "fuse-ld")
  add_link_options(-fuse-ld=mold)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Clang's precompiled headers name the folder they were made in, so ccache cannot share them; without them these
  # builds (fuzz, lint) also check that each source includes what it uses.
  set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON)
endif()
