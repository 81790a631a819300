# libtorch from the PyPI wheel, as an imported target that links libtorch_cpu and libc10 only.
#
# TORCH_DIR names the unpacked wheel's torch folder (the bootstrap passes it). libtorch.so itself is left out on
# purpose: it is an empty shell that would pull in libtorch_cuda and a gigabyte of CUDA libraries.
# The rpath must point into the wheel: libtorch_cpu finds libcudart and libcupti relative to itself.
set(TORCH_DIR "" CACHE PATH "the torch folder of the unpacked PyPI wheel")
add_library(wheel_torch INTERFACE)
if(TORCH_DIR)
  if(NOT EXISTS ${TORCH_DIR}/lib/libtorch_cpu.so)
    message(FATAL_ERROR "TORCH_DIR=${TORCH_DIR} has no lib/libtorch_cpu.so; run ./throughline, which installs it")
  endif()
  # The wheel brings headers of its own, newer fmt without its library: a folder in front shows the system's.
  find_path(SYSTEM_FMT_INCLUDE fmt/core.h PATHS /usr/include REQUIRED)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/system_first)
  file(CREATE_LINK ${SYSTEM_FMT_INCLUDE}/fmt ${CMAKE_BINARY_DIR}/system_first/fmt SYMBOLIC)
  target_include_directories(wheel_torch SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/system_first ${TORCH_DIR}/include ${TORCH_DIR}/include/torch/csrc/api/include)
  target_compile_definitions(wheel_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
  target_link_libraries(wheel_torch INTERFACE ${TORCH_DIR}/lib/libtorch_cpu.so ${TORCH_DIR}/lib/libc10.so)
  # at::parallel_for is a header that runs serially unless OpenMP is on; the wheel's own libgomp serves it (rpath). clang
  # would bring a second runtime (libomp), so its builds keep our loops serial. TSan does not know libgomp: serial too.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT THROUGHLINE_SANITIZE STREQUAL "thread")
    target_compile_options(wheel_torch INTERFACE -fopenmp)
    target_link_options(wheel_torch INTERFACE -fopenmp)
  endif()
  target_link_options(wheel_torch INTERFACE LINKER:--allow-shlib-undefined LINKER:-rpath,${TORCH_DIR}/lib)
endif()
