#!/usr/bin/env bash
# tokenize and detokenize are each other's inverse; template renders; run streams exactly the text to a pipe; help.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
t() { "$THROUGHLINE" "$@"; }

text=$'Once upon a time, "Lily" \t said: \u00fc\u6f22\U0001F600!\n\n  Twice.'
for form in --ids --json; do
  printf '%s' "$text" | t tokenize -m "$model" $form >ids
  [[ $(t detokenize -m "$model" --skip-special <ids) == "$text" ]] || fail "round trip with $form: $(<ids)"
done
[[ $(t tokenize -m "$model" --ids "Once upon") == "1 403 407" ]] || fail "ids: $(t tokenize -m "$model" --ids "Once upon")"
[[ $(t tokenize -m "$model" --json --no-special "Once upon") == '{"ids":[403,407],"pieces":["▁Once","▁upon"]}' ]] || fail "pieces"
expect 2 t detokenize -m "$model" 1 two
grep -q '"two" is not a token id' err || fail "$(<err)"
expect 2 t detokenize -m "$model" 9999
grep -q 'ids go from 0 to 511' err || fail "$(<err)"

mkdir chat
cat >chat/chat_template.jinja <<'END'
{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor -%}
{%- if tools %}[{{ tools | length }} tools]{% endif -%}
{%- if add_generation_prompt %}<|assistant|>{% if enable_thinking is false %}<think></think>{% endif %}{% endif -%}
END
echo '[{"role":"user","content":"hi"}]' >messages.json
echo '[{"type":"function","function":{"name":"f"}}]' >tools.json
[[ $(t template -m chat messages.json) == '<|user|>hi<|assistant|>' ]] || fail "template: $(t template -m chat messages.json)"
[[ $(t template -m chat --tools tools.json --kwarg enable_thinking=false - <messages.json) == '<|user|>hi[1 tools]<|assistant|><think></think>' ]] ||
  fail "template with tools and kwarg"
[[ $(t template -m chat --no-generation-prompt messages.json) == '<|user|>hi' ]] || fail "no generation prompt"
expect 2 t template -m "$model" messages.json
grep -q 'no chat template' err || fail "$(<err)"

# run: standard output is the text that generate reports, to the byte; the summary goes to standard error.
expect 0 t run -m "$model" --threads 1 --temperature 0 --max-tokens 60 "Once upon a time"
mv out streamed
grep -Eq '^\[max_tokens: 5 prompt \+ 60 new tokens in 1 chunk; .* KV peak 6[34] tokens\]$' err || fail "summary: $(<err)"
echo '{"id":1,"prompt":"Once upon a time","temperature":0,"max_tokens":60}' | generate >line 2>err
text=$(sed 's/.*"text":\("[^}]*"\),"thinking".*/\1/' line)
[[ $(printf '%b' "${text//\\\"/\"}") == "\"$(<streamed)\"" ]] || fail "run said $(<streamed), generate $text"
printf 'Once upon a time\n' | t run -m "$model" --threads 1 --temperature 0 --max-tokens 60 2>err | cmp - streamed || fail "standard input"
expect 1 t run -m "$model" --threads 1 --kv-memory 20K --ignore-eos "Once upon a time"
grep -q 'KV memory holds 16 tokens' err || fail "$(<err)"

[[ $(t --version) =~ ^throughline\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "version: $(t --version)"
t help | grep -q '^  generate ' || fail "help does not list the commands"
t help kv | grep -q 'interval  *1024' || fail "help kv"
t help think | grep -q 'carry  *4096' || fail "help think"
t help run | grep -q -- '--system' || fail "help run"
t generate --help | grep -q 'throughline help kv' || fail "generate --help does not point to help kv"
expect 2 t help nonsense
