#!/usr/bin/env bash
# neon_compile.sh [FILE PART]: compiles the rooms of kernels (src/ops, src/cache, without their tests) for 64-bit Arm, where
# Highway's NEON target is all there is and the files of x86 intrinsics come to nothing. Only compiled, neither linked nor
# run. Wants Debian's g++-aarch64-linux-gnu; the headers of torch and Highway are the same for every processor.
# A few minutes for everything; `cpu/` (half a minute) and `row_kernels` hold what is special.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)
source "$root/tools/dev/stage.sh"
source "$root/tools/dev/packages.sh"
source "$root/tools/dev/torch.sh"
need_packages g++-aarch64-linux-gnu=aarch64-linux-gnu-g++

compile() {
  local log status=0
  log=$(mktemp)
  aarch64-linux-gnu-g++ -std=c++20 -O1 -Wall -Wextra -Wno-sign-compare -Wno-missing-field-initializers -Werror \
    -ffp-contract=off -I"$root/src" -isystem "$torch_dir/include" -isystem "$torch_dir/include/torch/csrc/api/include" \
    -c "$1" -o /dev/null >"$log" 2>&1 || status=1
  ((status == 0)) && echo "compiles: $1" || { echo "does not compile: $1" && head -n 20 "$log"; }
  rm -f -- "$log"
  return "$status"
}
export -f compile
export root torch_dir

cd -- "$root"
find src/ops src/cache -name '*.cc' ! -name '*_test.cc' | grep -F -- "${1-}" | sort |
  xargs -d '\n' -P "$(nproc)" -I {} bash -c 'compile "$1"' compile {}
