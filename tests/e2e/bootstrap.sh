#!/usr/bin/env bash
# The front door works from any folder and through a link, says nothing of its own on standard output, is quick the
# second time, notices a newer source, and two calls at once do not disturb each other.
set -euo pipefail
fail() { printf '%s\n' "$*"; exit 1; }

ln -s "$THROUGHLINE" door
expected=$("$THROUGHLINE_SOURCE_DIR/build/release/throughline" --help)
[[ $(./door --help 2>said) == "$expected" ]] || fail "through a link: another output than the binary's"
[[ ! -s said ]] || fail "a second call said: $(<said)"

began=${EPOCHREALTIME/./}
for _ in 1 2 3 4 5; do ./door --help >/dev/null; done
door_us=$((${EPOCHREALTIME/./} - began))
began=${EPOCHREALTIME/./}
for _ in 1 2 3 4 5; do "$THROUGHLINE_SOURCE_DIR/build/release/throughline" --help >/dev/null; done
overhead_ms=$(((door_us - (${EPOCHREALTIME/./} - began)) / 5000))
echo "overhead $overhead_ms ms"
((overhead_ms < 200)) || fail "a second call costs $overhead_ms ms"

# A copy of the stamp's view: a source newer than the build makes the next two calls build once, and both answer.
touch -d '2000-01-01' "$THROUGHLINE_SOURCE_DIR/build/release/.built"
./door --help >first 2>first.said & one=$!
./door --help >second 2>second.said & two=$!
wait $one && wait $two || fail "two calls at once: $(cat first.said second.said)"
[[ $(<first) == "$expected" && $(<second) == "$expected" ]] || fail "two calls at once answered $(cat first second)"
cat first.said second.said | grep -q 'building build/release' || fail "a newer source did not lead to a build"
[[ $(./door --help 2>said) == "$expected" && ! -s said ]] || fail "it builds again though nothing changed: $(<said)"

# What cannot work is one line that says so.
if THROUGHLINE_TORCH=/nowhere ./door --help >/dev/null 2>said; then fail "took a torch that is not there"; fi
grep -q 'no libtorch_cpu.so in /nowhere/lib' said || fail "unclear: $(<said)"
