#!/usr/bin/env bash
# The demo without a terminal: plain text and the table, with the promised endings, in a few seconds.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
expect 0 timeout 120 "$THROUGHLINE" demo
if grep -q $'\033' out; then fail "escape codes without a terminal"; fi
grep -Eq '^full cache +1[0-9][0-9] +19[12] .*KV room is full$' out || fail "full cache: $(tail -n 12 out)"
grep -Eq '^RPC +49[0-9] +1[0-9][0-9] .*all 512 positions used$' out || fail "RPC: $(tail -n 12 out)"
grep -Eq '^Delethink +1088 +1[0-9][0-9] .*goes on \(max_chunks\)$' out || fail "Delethink: $(tail -n 12 out)"
grep -q 'throughline run --model DIR --think delethink' out || fail "no command line for one's own model"
