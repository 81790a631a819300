#!/usr/bin/env bash
# train on several processes: 2 leave the files of 1 under --exact and its loss curve up to rounding otherwise; a run goes
# on with another number of processes; a killed rank ends the other with one line that names it.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
"$THROUGHLINE" --version >/dev/null  # builds if it must, so that what is killed below is the binary
binary=$THROUGHLINE_SOURCE_DIR/build/release/throughline
unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT

tiny_config >config.json
task='spec = "iterate_map:form=compact,style=plain,steps=2,states=3,marks=1"'
cat >warm.toml <<TOML
[run]
steps = 40
threads = 1
[model]
config = "config.json"
[[task]]
$task
[sft]
items = 16
[optimizer]
lr = 0.01
TOML
cat >rl.toml <<TOML
[run]
steps = 4
threads = 1
exact = true
[model]
path = "alone/checkpoints/step-40"
[[task]]
$task
[rollout]
think = "delethink:chunk=12,carry=6,max_chunks=3,head=2,reserve=4"
kv = "rpc:interval=4,ratio=2,window=2"
batch = 16
[grpo]
prompts = 3
group = 4
updates = 2
[optimizer]
lr = 0.001
[checkpoint]
every = 2
[evaluation]
every = 2
items = 3
TOML

port=$((20000 + $$ % 12000))
# processes N COMMAND...: as `by hand` in docs/distributed.md. Output of rank R in out.R and err.R, its pid in pids[R].
processes() {
  local world=$1 rank
  shift
  pids=()
  port=$((port + 1))
  for ((rank = 0; rank < world; ++rank)); do
    RANK=$rank WORLD_SIZE=$world MASTER_ADDR=127.0.0.1 MASTER_PORT=$port "$@" >out.$rank 2>err.$rank &
    pids+=($!)
  done
}
# all_end STATUS: of every process.
all_end() {
  local rank status
  for rank in "${!pids[@]}"; do
    status=0
    wait "${pids[rank]}" || status=$?
    ((status == $1)) || fail "rank $rank: exit status $status instead of $1; it said: $(tail -n 5 err.$rank)"
  done
}
# What a step's line holds besides times and memory.
steps_of() { sed -E 's/,"(tokens_per_s|peak_rss_mib|[a-z]+_s(_start)?)":[^,}]*//g' "$1/metrics.jsonl"; }

# Fast mode: the same loss curve, within 0.1% (measured: 0.001%).
expect 0 "$binary" train sft warm.toml --run-dir alone
processes 2 "$binary" train sft warm.toml --run-dir together
all_end 0
[[ ! -s out.1 ]] || fail "rank 1 prints: $(head -n 3 out.1)"
losses() { sed -E 's/.*"loss":([0-9.e-]+).*/\1/' "$1/metrics.jsonl"; }
paste <(losses alone) <(losses together) | awk '
  { difference = $1 > $2 ? $1 - $2 : $2 - $1; if (difference > 0.001 * $1) { print "step " NR ": loss " $1 " alone, " $2 " together"; exit 1 } }
  END { if (NR != 40) { print NR " steps"; exit 1 } }' || fail "other loss curves"

# --exact: the same bits. 2 processes; and 3, of which two steps, then 1 process goes on.
expect 0 "$binary" train grpo rl.toml --run-dir one
processes 2 "$binary" train grpo rl.toml --run-dir two
all_end 0
processes 3 "$binary" train grpo rl.toml --run-dir three --max-steps 2
all_end 0
[[ -e three/checkpoints/step-2/optimizer-00003-of-00003.safetensors ]] || fail "the state is not in parts"
expect 0 "$binary" train grpo rl.toml --run-dir three --resume
grep -q '"logprob_gap_max":0[,.}]' one/metrics.jsonl || fail "a gap under --exact: $(head -n 1 one/metrics.jsonl)"
for run in two three; do
  diff <(steps_of one) <(steps_of $run) || fail "$run: other metrics"
  cmp one/traces.jsonl $run/traces.jsonl || fail "$run: other traces"
  cmp one/checkpoints/step-4/model.safetensors $run/checkpoints/step-4/model.safetensors || fail "$run: other weights"
done

# Sampled ahead: both know the same versions, none older than the step before.
processes 2 "$binary" train grpo rl.toml --run-dir ahead --set rollout.ahead=1
all_end 0
[[ $(grep -c '"staleness_max":[0-3][,.}]' ahead/metrics.jsonl) == 4 ]] || fail "staleness: $(<ahead/metrics.jsonl)"

# A killed rank: the other ends with one line, and the run goes on from its checkpoint.
processes 2 "$binary" train grpo rl.toml --run-dir killed --max-steps 100000 --checkpoint-every 1 --lost-after 10
for ((i = 0; i < 3000; ++i)); do
  [[ ! -e killed/checkpoints/step-1 ]] || break
  sleep 0.02
done
kill -KILL "${pids[1]}"
status=0
wait "${pids[0]}" || status=$?
((status != 0)) || fail "rank 0 went on without rank 1"
wait "${pids[1]}" 2>/dev/null || true
grep -q "rank 0 of 2: rank 1 is lost" err.0 || fail "rank 0 does not name rank 1: $(<err.0)"
[[ $(grep -c lost err.0) == 1 ]] || fail "more than one line: $(<err.0)"

# SIGTERM while a rank waits for the others to come ends it at once.
port=$((port + 1))
RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port "$binary" train grpo rl.toml --run-dir x 2>err &
waiting=$!
for ((i = 0; i < 1000; ++i)); do
  ! (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null || break
  sleep 0.02
done
began=$SECONDS
kill -TERM $waiting
status=0
wait $waiting || status=$?
((status == 143)) || fail "SIGTERM at the rendezvous: exit status $status; it said: $(<err)"
((SECONDS - began < 20)) || fail "SIGTERM at the rendezvous took $((SECONDS - began)) s"

RANK=1 expect 2 "$binary" train grpo rl.toml --run-dir x
grep -q "RANK is set but WORLD_SIZE is not" err || fail "half a pair: $(<err)"
