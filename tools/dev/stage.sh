# Saying what happens, one line a stage, on standard error. Sourced, not run.
say() { printf 'throughline: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# The newest [done/total] that ninja wrote into the log.
ninja_progress() { tail -c 4096 -- "$1" 2>/dev/null | grep -o '^\[[0-9]*/[0-9]*\]' | tail -n 1; }

# Once a second on a terminal, every 30 seconds elsewhere, what PROGRESS says, until killed or the script is gone.
show_progress() {
  local label=$1 progress=$2 log=$3 parent=$4 seconds=0 now=
  while sleep 1 >/dev/null 2>&1 && kill -0 "$parent" 2>/dev/null; do
    seconds=$((seconds + 1))
    if [[ -t 2 ]]; then
      now=$("$progress" "$log" || true)
      printf '\r\033[Kthroughline: %s ... %s %d s' "$label" "$now" "$seconds" >&2
    elif ((seconds % 30 == 0)); then
      now=$("$progress" "$log" || true)
      printf ' %s' "${now:-$seconds s}" >&2
    fi
  done
}

# stage LABEL COMMAND... : runs it with its output in a log and one line of progress; on failure shows the log's end
# and exits. `progress=FUNCTION stage ...` names another source of progress than ninja's output.
stage() {
  local label=$1 began=$SECONDS status=0 log ticker start=
  shift
  log=$(mktemp)
  [[ -t 2 ]] && start='\r\033[K'
  printf 'throughline: %s ...' "$label" >&2
  show_progress "$label" "${progress:-ninja_progress}" "$log" $$ 9>&- &  # without build.sh's lock
  ticker=$!
  "$@" >"$log" 2>&1 || status=$?
  { kill "$ticker" && wait "$ticker"; } 2>/dev/null || true
  if [[ $start ]]; then
    printf '\r\033[Kthroughline: %s ...' "$label" >&2
  fi
  printf ' %s, %d s\n' "$( ((status)) && echo failed || echo done)" $((SECONDS - began)) >&2
  if ((status)); then
    # Ninja goes on with other files after a failure: show what failed, not what happened to be last.
    { sed -n '/^FAILED:/,/^\[/p' "$log" | grep -v '^\[' | head -n 60 | grep . || tail -n 40 "$log"; } >&2
    rm -f -- "$log"
    exit 1
  fi
  rm -f -- "$log"
}
