#!/usr/bin/env bash
# Fills docs/tasks/*.md with what the commands print: each block between
#
#     <!-- $ gym sample maze --text -->
#     <!-- end -->
#
# becomes the output of that command. `--check` changes nothing and names the pages that are stale (exit status 1); the
# end-to-end test task_pages runs it. The program: $THROUGHLINE, else ./throughline.
set -euo pipefail
shopt -s inherit_errexit  # a command that fails stops the run before its page is written
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
program=${THROUGHLINE:-$root/throughline}

filled() {
  local line arguments output inside=0
  while IFS= read -r line; do
    if [[ $line =~ ^'<!-- $ '(gym .*)' -->'$ ]]; then
      arguments=${BASH_REMATCH[1]} inside=1
      read -ra words <<<"$arguments"
      output=$("$program" "${words[@]}" </dev/null)
      [[ $output == '|'* ]] || output=$'```\n'$output$'\n```'  # a table is Markdown already
      printf '%s\n`throughline %s`\n\n%s\n' "$line" "$arguments" "$output"
    elif [[ $line == '<!-- end -->' ]]; then
      inside=0
      printf '%s\n' "$line"
    elif ((!inside)); then
      printf '%s\n' "$line"
    fi
  done <"$1"
  ((!inside)) || { echo "$1: a block has no <!-- end -->" >&2; return 1; }
}

check=0 stale=()
case $#,${1-} in
  0,) ;;
  1,--check) check=1 ;;
  *) echo "usage: tools/fill_task_pages.sh [--check]" >&2; exit 2 ;;
esac
for page in "$root"/docs/tasks/*.md; do
  text=$(filled "$page")
  if [[ $text != "$(<"$page")" ]]; then
    stale+=("${page##*/}")
    ((check)) || printf '%s\n' "$text" >"$page"
  fi
done
if ((check && ${#stale[@]})); then
  echo "stale: ${stale[*]}; run tools/fill_task_pages.sh"
  exit 1
fi
