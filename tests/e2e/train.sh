#!/usr/bin/env bash
# train: a warm start from scratch, then GRPO with Delethink; kill -9 and --resume leave the files of a straight run, bit for
# bit; a damaged newest checkpoint is passed over; Ctrl-C ends with a checkpoint; faults are one line.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
"$THROUGHLINE" --version >/dev/null  # builds if it must, so that what is killed below is the binary
binary=$THROUGHLINE_SOURCE_DIR/build/release/throughline

tiny_config >config.json
task='spec = "iterate_map:form=compact,style=plain,steps=2,states=2,marks=1,restate=0"'
cat >warm.toml <<TOML
[run]
steps = 80
threads = 1
[model]
config = "config.json"
[[task]]
$task
[rollout]
think = "delethink:chunk=12,carry=8,max_chunks=4,head=2"
[sft]
items = 16
[optimizer]
lr = 0.01
TOML
cat >rl.toml <<TOML
[run]
steps = 20
threads = 1
[model]
path = "warm/checkpoints/step-80"
[[task]]
$task
[rollout]
think = "delethink:chunk=12,carry=8,max_chunks=4,head=2,reserve=4"
batch = 16
temperature = 1.3
[grpo]
prompts = 4
group = 4
updates = 2
[optimizer]
lr = 0.001
[checkpoint]
every = 5
[evaluation]
every = 10
items = 8
TOML

expect 0 "$binary" train sft warm.toml --run-dir warm
grep -q '"step":80' warm/metrics.jsonl || fail "no step 80: $(tail -1 warm/metrics.jsonl)"
expect 0 "$binary" generate --model warm/checkpoints/step-80 --input <(echo '{"id":1,"prompt":"ab bc ca;au3;2au0\n<think>"}') --output -
expect 0 "$binary" train grpo rl.toml --run-dir straight
[[ $(wc -l <straight/metrics.jsonl) == 20 ]] || fail "$(wc -l <straight/metrics.jsonl) steps"
[[ $(wc -l <straight/traces.jsonl) == 320 ]] || fail "$(wc -l <straight/traces.jsonl) traces"

cmp -s straight/checkpoints/step-5/model.safetensors straight/checkpoints/step-20/model.safetensors && fail "nothing was learnt"
grep -q '"zero_variance_groups":0[.,]' straight/metrics.jsonl || fail "no group had contrast: $(tail -1 straight/metrics.jsonl)"

# What a run shows.
[[ -s straight/plots/overview.svg ]] || fail "no plots"
compgen -G 'straight/tensorboard/events.out.tfevents.*' >/dev/null || fail "no TensorBoard events"
grep -q "^step  *reward" out || fail "no table: $(head -3 out)"
expect 0 "$binary" train view straight --print --step 20 --sort length --limit 1
grep -q "^tail ┊" out || fail "no carried tail: $(<out)"
grep -q "^── chunk 1 of" out || fail "no chunks: $(<out)"
expect 0 "$binary" train plot straight --x seconds --output plots
[[ -s plots/accuracy.svg ]] || fail "no plot against seconds"
expect 2 "$binary" train view missing

# What a step's line holds besides times and memory.
steps_of() { sed -E 's/,"(tokens_per_s|peak_rss_mib|[a-z]+_s(_start)?)":[^,}]*//g' "$1/metrics.jsonl"; }
same_as_straight() {
  diff <(steps_of straight) <(steps_of "$1") >/dev/null || fail "$1: other metrics"
  cmp straight/traces.jsonl "$1/traces.jsonl" || fail "$1: other traces"
  for file in model.safetensors optimizer.safetensors config.json tokenizer.json; do
    cmp "straight/checkpoints/step-20/$file" "$1/checkpoints/step-20/$file" || fail "$1: another $file"
  done
}

# kill_at STEPS DIR SIGNAL: as soon as so many steps are written. Sets `status`.
kill_at() {
  "$binary" train grpo rl.toml --run-dir "$2" >/dev/null 2>err &
  local pid=$!
  while kill -0 $pid 2>/dev/null && [[ ! -e $2/metrics.jsonl || $(wc -l <"$2/metrics.jsonl") -lt $1 ]]; do sleep 0.01; done
  kill "-$3" $pid 2>/dev/null || true
  status=0
  wait $pid 2>/dev/null || status=$?
}

kill_at 11 killed KILL
((status == 137)) || fail "not killed in the middle: status $status"
expect 2 "$binary" train grpo rl.toml --run-dir killed
grep -q -- "add --resume" err || fail "a second run in the folder: $(<err)"
expect 0 "$binary" train grpo rl.toml --run-dir killed --resume
grep -qE "resumed after step 1[05]" err || fail "resumed elsewhere: $(<err)"  # 15 where the kill came late
same_as_straight killed

# One damaged byte in the newest checkpoint: the one before is used, and said.
rm -rf damaged && cp -r killed damaged
printf 'x' | dd of=damaged/checkpoints/step-20/optimizer.safetensors bs=1 seek=3000 conv=notrunc status=none
expect 0 "$binary" train grpo rl.toml --run-dir damaged --resume
grep -q "checkpoint passed over: .*step-20/optimizer.safetensors" err || fail "damage unnoticed: $(<err)"
grep -q "resumed after step 15" err || fail "resumed elsewhere: $(<err)"
same_as_straight damaged

set -m  # a job of its own: else a background process ignores SIGINT
kill_at 3 stopped INT
((status == 130)) || fail "SIGINT: status $status, $(<err)"
last=$(wc -l <stopped/metrics.jsonl)
[[ -e stopped/checkpoints/step-$last/state.json ]] || fail "SIGINT left no checkpoint of step $last"
expect 0 "$binary" train grpo rl.toml --run-dir stopped --resume
same_as_straight stopped

# A checkpoint that the disk has no room for is told; the older ones stay.
if (ulimit -f 40 2>/dev/null); then
  (ulimit -f 40; "$binary" train grpo rl.toml --run-dir full --max-steps 2 --checkpoint-every 1 >/dev/null 2>err) && fail "a full disk went unnoticed"
  grep -q "cannot write\|File too large" err || fail "full disk: $(<err)"
  [[ ! -e full/checkpoints/step-1 ]] || fail "half a checkpoint"
fi

expect 2 "$binary" train grpo rl.toml --run-dir x --set grpo.gruop=3
grep -q 'has no option "gruop"; it has: prompts, group' err || fail "unknown key: $(<err)"
expect 2 "$binary" train grpo rl.toml --run-dir x --set rollout.kv=nothing
expect 0 "$binary" train grpo rl.toml --run-dir x --max-steps 1  # a start that failed is no run
expect 2 "$binary" train grpo rl.toml --run-dir killed --resume --set optimizer.lr=1
grep -q "optimizer.lr" err || fail "another recipe on resume: $(<err)"
expect 2 "$binary" train grpo missing.toml
