#!/usr/bin/env bash
# The examples and tables in docs/tasks are what the commands print today, and a page that differs is named.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
export THROUGHLINE
expect 0 "$THROUGHLINE_SOURCE_DIR/tools/fill_task_pages.sh" --check

mkdir -p copy/tools copy/docs/tasks
cp -- "$THROUGHLINE_SOURCE_DIR/tools/fill_task_pages.sh" copy/tools
sed 's/rrrrddrrdd$/rrrrddrrdu/' "$THROUGHLINE_SOURCE_DIR/docs/tasks/maze.md" >copy/docs/tasks/maze.md
cp -- "$THROUGHLINE_SOURCE_DIR/docs/tasks/chain_sum.md" copy/docs/tasks
expect 1 copy/tools/fill_task_pages.sh --check
grep -qx 'stale: maze.md; run tools/fill_task_pages.sh' out || fail "said: $(<out)"
expect 0 copy/tools/fill_task_pages.sh
cmp copy/docs/tasks/maze.md "$THROUGHLINE_SOURCE_DIR/docs/tasks/maze.md" || fail "maze.md was not mended"
