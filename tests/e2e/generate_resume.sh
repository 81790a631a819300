#!/usr/bin/env bash
# generate killed in the middle (kill -9) and run again leaves the same answers as an undisturbed run, each once.
# Ctrl-C ends with complete lines and exit status 130.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
"$THROUGHLINE" --version >/dev/null  # builds if it must, so that what is killed below is the binary

for i in $(seq 1 60); do
  printf '{"id":"r%d","prompt":"Once upon a time","max_tokens":%d,"seed":%d,"ignore_eos":true}\n' "$i" $((20 + i * 5)) "$i"
done >in.jsonl
binary=$THROUGHLINE_SOURCE_DIR/build/release/throughline
run=("$binary" generate --model "$model" --threads 1 --batch-max 4 --exact --input in.jsonl)
# What an answer holds besides its times.
answers() { sed 's/,"timing":{[^}]*}//' "$1" | sort; }

expect 0 "${run[@]}" --output whole.jsonl
[[ $(wc -l <whole.jsonl) == 60 ]] || fail "$(wc -l <whole.jsonl) answers"

lines_of() { if [[ -e $1 ]]; then wc -l <"$1"; else echo 0; fi; }

# interrupt SIGNAL FILE: as soon as some answers are there. Sets `status`.
interrupt() {
  "${run[@]}" --output "$2" 2>err &
  local pid=$!
  while kill -0 $pid 2>/dev/null && (($(lines_of "$2") < 5)); do sleep 0.02; done
  kill "-$1" $pid
  status=0
  wait $pid 2>/dev/null || status=$?
}

interrupt KILL killed.jsonl
before=$(wc -l <killed.jsonl)
((status == 137 && before < 60)) || fail "not killed in the middle: status $status, $before lines"
printf '{"id":"r60","text":"half a li' >>killed.jsonl  # a killed writer's half line
expect 0 "${run[@]}" --output killed.jsonl
diff <(answers whole.jsonl) <(answers killed.jsonl) >/dev/null || fail "kill -9 and a rerun gave other lines"

set -m  # a job of its own: else a background process ignores SIGINT
interrupt INT stopped.jsonl
before=$(wc -l <stopped.jsonl)
((status == 130 && before < 60)) || fail "SIGINT: status $status, $before lines, $(<err)"
if grep -v '}$' stopped.jsonl; then fail "SIGINT left a half line"; fi
expect 0 "${run[@]}" --output stopped.jsonl
diff <(answers whole.jsonl) <(answers stopped.jsonl) >/dev/null || fail "SIGINT and a rerun gave other lines"
