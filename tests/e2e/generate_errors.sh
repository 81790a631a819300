#!/usr/bin/env bash
# generate: a bad line gives an error line and exit status 1, and the run goes on; so do duplicate and missing ids.
# What stops a run is one clear line and exit status 2. Standard output carries JSON lines only.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"

cat >in.jsonl <<'END'
{"id":"good","prompt":"Once upon a time","max_tokens":5,"temperature":0}
{"id":"typo","prompt":"x","max_token":5}
not json

{"prompt":"Lily","max_tokens":5,"temperature":0}
{"id":"good","prompt":"again","max_tokens":5}
{"id":"range","prompt":"x","temperature":-1}
{"id":9,"prompt_ids":[1,403],"max_tokens":5,"temperature":0}
END
expect 1 generate <in.jsonl --input - --output -
mv out all
[[ $(wc -l <all) == 7 ]] || fail "$(wc -l <all) lines instead of 7: $(<all)"
if grep -v '^{.*}$' all; then fail "standard output holds more than JSON lines"; fi
grep -q '^{"id":"good","text":".*"finish_detail":"max_tokens"' all || fail "no answer to the good line: $(<all)"
grep -q '^{"id":"typo","error":"standard input line 2: unknown key \\"max_token\\"; known: ' all || fail "typo: $(<all)"
grep -q '^{"id":null,"line":3,"error":"standard input line 3: invalid JSON' all || fail "no JSON: $(<all)"
grep -q '^{"id":null,"line":5,"text":' all || fail "a line without id: $(<all)"
grep -q '^{"id":"good","error":".*line 6: id \\"good\\" appears twice' all || fail "duplicate id: $(<all)"
grep -q '^{"id":"range","error":".*line 7: temperature: -1 is out of range' all || fail "range: $(<all)"
grep -q '^{"id":9,"text":.*"prompt_ids":\[1,403\]' all || fail "a number as id: $(<all)"

# The same from file to file, then a rerun: answers stay, errors are tried again (and fail again).
expect 1 generate --input in.jsonl --output out.jsonl
[[ ! -s out ]] || fail "with --output FILE standard output is not empty"
grep -v '"error"' out.jsonl | sort >answers
sed 's/"max_token"/"max_tokens"/' in.jsonl >mended.jsonl
expect 1 generate --input mended.jsonl --output out.jsonl
grep -q '3 answered before' err || fail "not resumed: $(<err)"
grep -q '"id":"typo","text"' out.jsonl || fail "an error was not tried again: $(<out.jsonl)"
grep -v '"error"' out.jsonl | grep -v '"id":"typo"' | sort | cmp - answers || fail "a rerun changed the answers"
[[ $(wc -l <out.jsonl) == 7 ]] || fail "$(wc -l <out.jsonl) lines after the rerun"

ln -s out.jsonl link.jsonl
expect 1 generate --input mended.jsonl --output link.jsonl
[[ -L link.jsonl && $(wc -l <out.jsonl) == 7 ]] || fail "a rerun through a symbolic link took the link's place"

# What stops a run.
one_line() { [[ $(wc -l <err) == 1 && $(<err) == throughline:*$1* ]] || fail "wanted one line with \"$1\": $(<err)"; }
expect 2 generate --input in.jsonl --output /dev/full
one_line "No space left on device"
expect 2 generate --input missing.jsonl
one_line "missing.jsonl: cannot open"
printf 'precious\n' >mine.txt
expect 2 generate --input in.jsonl --output mine.txt
one_line 'mine.txt line 1: is not a result of generate; choose another --output'
[[ $(<mine.txt) == precious ]] || fail "somebody's file is now: $(<mine.txt)"
ln -s in.jsonl same.jsonl
expect 2 generate --input in.jsonl --output same.jsonl
one_line 'same.jsonl: is the input as well'
expect 2 generate --input in.jsonl --kv lru
one_line '--kv: unknown'
# A bad flag stops the run, before and after the model is loaded.
expect 2 generate --input in.jsonl --top-k -7
one_line '--top-k: must be a whole number from -1 up'
expect 2 generate --input in.jsonl --stop-token-ids 99999
one_line '--stop-token-ids: token id 99999 is not in the vocabulary'
expect 2 generate --input in.jsonl --temperature ""
one_line '--temperature: is empty'
expect 2 timeout 60 "$THROUGHLINE" serve --model "$model" --port 0 --n 0
one_line '--n: must be a whole number from 1 to 1024'
expect 2 timeout 60 "$THROUGHLINE" serve --model "$model" --port 0 --drain nan
one_line '--drain: nan is not a number from 0 to 1e+06'
expect 2 generate --input in.jsonl --nonsense
expect 2 "$THROUGHLINE" generate --model nowhere --input in.jsonl
one_line nowhere
mkdir -p folder
expect 2 generate --input folder
one_line "is a directory"

# A model directory without tokenizer files works with prompt_ids; text is null.
mkdir -p bare && cp "$model"/{config,generation_config}.json "$model/model.safetensors" bare/
printf '%s\n' '{"id":"ids","prompt_ids":[1,403,407],"max_tokens":4,"temperature":0}' '{"id":"text","prompt":"x"}' >bare.jsonl
expect 1 "$THROUGHLINE" generate --model bare --input bare.jsonl
grep -q '^{"id":"ids","text":null,"thinking":null,"answer":null,.*"finish_reason":"length"' out || fail "$(<out)"
grep -q '^{"id":"text","error":".*no tokenizer' out || fail "$(<out)"

# A co-process that sends a request and waits gets its answer before it sends the next.
coproc generator { "$THROUGHLINE" generate --model "$model" --threads 1 --kv-memory 4M 2>err; }
pid=$generator_PID
exec {answers}<&"${generator[0]}" {requests}>&"${generator[1]}"
eval "exec ${generator[1]}>&-"
for id in 1 2; do
  printf '{"id":%d,"prompt":"Once","max_tokens":3,"seed":1}\n' $id >&"$requests"
  read -r -t 60 answer <&"$answers" || fail "request $id on a pipe is not answered while the pipe is open"
  [[ $answer == "{\"id\":$id,\"text\":"* ]] || fail "request $id was answered: $answer"
done
exec {requests}>&-
wait "$pid" || fail "the co-process ended with $?: $(<err)"
