#!/usr/bin/env bash
# Lookup speculation changes no answer under --exact, whatever is asked for, and says what it did.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"

say='Lily saw a cat. The cat saw Lily. Lily saw a cat. The cat saw Lily. Lily saw'
{
  for kv in full rpc:interval=16,ratio=4,window=8 snapkv:budget=64,interval=8,window=4 recency:budget=120 h2o:budget=60,recent=20; do
    for think in longcot delethink:chunk=48,carry=24,head=4,max_chunks=4; do
      for temperature in 0 0.7; do
        printf '{"id":"%s","prompt":"%s","max_tokens":150,"seed":3,"ignore_eos":true,"temperature":%s,"kv":"%s","think":"%s","logprobs":1}\n' \
          "$kv $think $temperature" "$say" "$temperature" "$kv" "$think"
      done
    done
  done
  printf '{"id":"penalties","prompt":"%s","max_tokens":150,"temperature":0,"frequency_penalty":0.3,"repetition_penalty":1.1,"stop":["Tom"]}\n' "$say"
} >in.jsonl
answers() { sed 's/,"timing":{[^}]*}//' "$1" | sort; }
accepted() { grep -o '"accepted_tokens":[0-9]*' "$1" | awk -F: '{sum += $2} END {print sum}'; }

for way in off auto 4 16; do
  expect 0 generate --exact --speculate "$way" --input in.jsonl --output "$way.jsonl"
  cp err "$way.err"
  diff <(answers off.jsonl) <(answers "$way.jsonl") >/dev/null || fail "--speculate $way gave other answers"
done
[[ $(accepted off.jsonl) == 0 ]] || fail "off drafts"
(($(accepted 16.jsonl) > 200)) || fail "only $(accepted 16.jsonl) drafts were accepted"
grep -q 'tok/s, drafts [0-9]* % right)' 16.err || fail "the closing line: $(cat 16.err)"
! grep -q drafts off.err || fail "the closing line: $(cat off.err)"

expect 2 generate --speculate sometimes --input in.jsonl
grep -q -- '--speculate: "sometimes" is neither off nor auto nor a number of draft tokens; use auto' err || fail "$(cat err)"
expect 2 generate --speculate 17 --input in.jsonl
grep -q -- '--speculate: 17 draft tokens are out of range; use 0 to 16' err || fail "$(cat err)"
expect 2 generate --prompt-lookup-min 5 --input in.jsonl
grep -q -- 'n-grams of 5 to 4 ids are out of range' err || fail "$(cat err)"
