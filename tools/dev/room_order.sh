#!/usr/bin/env bash
# room_order.sh [FOLDER]: a room includes only rooms below it. Reads `throughline_room(NAME ROOMS ...)` in
# FOLDER/CMakeLists.txt (what a room may see: these and what they see), holds that list against the floors of DESIGN 3,
# and every #include "..." under FOLDER/src against the list. One line for each finding; exit 1 if there is one.
# Umbrella torch headers are found too: they double the build time.
set -euo pipefail
folder=${1:-$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../..}
cd -- "$folder"

{
  sed 's/#.*//' CMakeLists.txt | tr '\n' ' ' | grep -o 'throughline_room([^)]*)' | tr '()' '  '
  find src -type f \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) | LC_ALL=C sort |
    xargs -d '\n' -r grep -nH '^[[:space:]]*#[[:space:]]*include' --
} | awk '
  function finding(text) { print text; findings++ }
  BEGIN {
    split("base 1 text 2 ops 2 dist 2 cache 3 grammar 3 model 4 think 5 engine 6 gym 7 serve 8 train 8 eval 8 cli 9", words)
    for (i = 1; i in words; i += 2) floor[words[i]] = words[i + 1]
  }
  $1 == "throughline_room" {
    room = $2
    sees[room, room] = 1
    if (!(room in floor)) finding("CMakeLists.txt: room " room " has no floor in DESIGN 3")
    listing = 0
    for (i = 3; i <= NF; i++) {
      if ($i ~ /^[A-Z]+$/) { listing = $i == "ROOMS"; continue }
      if (!listing) continue
      if (!($i in known)) finding("CMakeLists.txt: " room " lists " $i ", which is not declared above it")
      if (floor[$i] >= floor[room]) finding("CMakeLists.txt: " room " (floor " floor[room] ") lists " $i " (floor " floor[$i] ")")
      for (other in known) if (($i, other) in sees) sees[room, other] = 1
    }
    known[room] = 1
    next
  }
  {
    where = $0; sub(/:[[:space:]]*#.*/, "", where)
    target = $0; sub(/^[^#]*#[[:space:]]*include[[:space:]]*/, "", target)
    split(where, path, "/"); room = path[2]
    if (target ~ /^<(torch\/(torch|all|extension)|ATen\/ATen)\.h>/) {
      finding(where ": umbrella header " target "; include the <ATen/ops/...> that are called")
    }
    if (!(room in known)) {
      if (!(room in told)) finding("src/" room ": not declared by throughline_room in CMakeLists.txt")
      told[room] = 1
      next
    }
    if (target !~ /^"/ || target ~ /^"hwy\//) next  # Highway is included in quotes, as its guide does
    split(target, part, /["\/]/)
    if (!(part[2] in known)) finding(where ": #include " target " names no room; write it relative to src/")
    else if (!((room, part[2]) in sees)) finding(where ": #include " target ", but " room " may not see " part[2])
  }
  END { exit findings > 0 }
'
