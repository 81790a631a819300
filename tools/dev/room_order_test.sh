#!/usr/bin/env bash
# Shows that room_order.sh can fail: it must pass a good sample and name each fault of a bad one.
set -euo pipefail
checker=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/room_order.sh
sample=$(mktemp -d)
trap 'rm -rf -- "$sample"' EXIT
cd -- "$sample"
fail() { printf 'room_order_test: %s\n' "$*"; exit 1; }

mkdir -p src/base src/ops src/cache src/text
cat >CMakeLists.txt <<'END'
throughline_room(base LIBS fmt::fmt)
throughline_room(text ROOMS base)
throughline_room(ops ROOMS base LIBS
                 hwy TORCH)
throughline_room(cache ROOMS ops)  # sees base through ops
END
echo '#include <vector>' >src/base/a.h
echo '#include "base/a.h"' >src/text/a.cc
printf '#include "ops/x.h"\n  #  include "base/a.h"\n#include "cache/a.h"\n' >src/cache/a_test.cc
"$checker" "$sample" || fail "the good sample was refused"

expect() {  # TEXT: the checker fails and says it
  local said
  if said=$("$checker" "$sample"); then fail "passed what must be refused: $1"; fi
  [[ $said == *"$1"* ]] || fail "expected '$1', got: $said"
}
echo '#include "cache/a.h"' >src/ops/up.cc
expect 'src/ops/up.cc:1: #include "cache/a.h", but ops may not see cache'
echo '#include "ops/x.h"' >src/ops/up.cc
echo '#include "ops/x.h"' >src/text/side.h
expect 'src/text/side.h:1: #include "ops/x.h", but text may not see ops'
echo '#include "a.h"' >src/text/side.h
expect 'names no room'
echo '#include <torch/torch.h>' >src/text/side.h
expect 'umbrella header'
rm src/text/side.h
echo 'throughline_room(model ROOMS engine)' >>CMakeLists.txt
expect 'model lists engine, which is not declared above it'
sed -i '$d' CMakeLists.txt
printf 'throughline_room(engine ROOMS cache)\nthroughline_room(model ROOMS engine)\n' >>CMakeLists.txt
expect 'model (floor 4) lists engine (floor 6)'
sed -i '$d' CMakeLists.txt
mkdir src/kitchen && echo '#include <map>' >src/kitchen/a.cc
expect 'src/kitchen: not declared'
rm -r src/kitchen
"$checker" "$sample" || fail "the good sample was refused at the end"
