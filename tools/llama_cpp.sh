#!/usr/bin/env bash
# llama_cpp.sh FOLDER PIP TARGET...: builds llama.cpp's TARGETs into FOLDER/lcbuild/bin, from the source package of its
# Python bindings (unpacked into FOLDER/lc), for this very machine. What is there already is kept. Development only.
set -euo pipefail
version=0.3.36
pip=$(readlink -f -- "$2")
mkdir -p -- "$1" && cd -- "$1"
if [[ ! -d lc ]]; then
  "$pip" download -q --no-deps --no-binary llama-cpp-python "llama-cpp-python==$version" -d dl
  mkdir lc && tar xzf "dl/llama_cpp_python-$version.tar.gz" -C lc --strip-components=1
fi
[[ -e lcbuild/build.ninja ]] ||
  cmake -S lc/vendor/llama.cpp -B lcbuild -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF >lccmake.log
ninja -C lcbuild "${@:3}" >lcbuild.log
echo "$version" >llamacpp.version
