#!/usr/bin/env bash
# bench compare: our settings and a peer take turns; a broken peer is a line of its own, a missing one is left out; the
# page and the JSON lines say what was measured, and a second call adds to them.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"

cat >peer.sh <<'END'
read -r order
[[ $order == '{"kind":"decode","batch":1,"depth":'*'"tokens":4,"repeat":3,"threads":2}' ]] || { echo '{"error":"what is '"${order//\"/ }"'"}'; exit; }
echo '{"ready":true}'
for run in 1 2 3; do
  read -r word; [[ $word == run ]]
  echo '{"seconds":0.'$run'}'
done
read -r word; [[ $word == finish ]]
echo '{"done":true,"version":"1.2","bytes_per_step":1000000,"event_s_per_step":0,"peak_rss_mib":7.5,"note":"a note"}'
END
cat >peers.json <<END
{"peers": [{"name": "shell", "flags": "-x", "command": ["bash", "$PWD/peer.sh"]},
           {"name": "broken", "command": ["bash", "-c", "read -r order; echo oh no >&2; exit 1"]},
           {"name": "absent", "command": ["./not-there"]}]}
END
compare=("$THROUGHLINE" bench compare --model "$model" --threads 2 --tokens 4 --repeat 3 --bandwidth-mib 8 --output figures)
expect 0 "${compare[@]}" --peers peers.json --kv 'full;rpc:interval=64,ratio=4' --depth 64,200
grep -q 'left out, not installed: absent' err || fail "the absent peer: $(<err)"
[[ $(wc -l <figures/results.jsonl) == 8 ]] || fail "not 4 engines x 2 depths: $(<figures/results.jsonl)"
# 4 tokens in the median of 0.1, 0.2 and 0.3 s; a megabyte 20 times a second.
grep -q '"peer":"shell".*"depth":64,.*"version":"1.2","tok_s_median":20.0,"tok_s_min":13.3[0-9]*,"tok_s_max":40.0,"runs":3,"peak_rss_mib":7.5' figures/results.jsonl ||
  fail "the peer's figures: $(grep shell figures/results.jsonl)"
grep -q '"peer":"broken".*"error":"bash: ended without an answer' figures/results.jsonl || fail "broken: $(<figures/results.jsonl)"
grep -q 'oh no' figures/broken.err || fail "the broken peer's errors were not kept"
grep -q '"peer":"throughline rpc:interval=64".*"own":true.*"roofline_fraction":' figures/results.jsonl || fail "$(<figures/results.jsonl)"
grep -q '^| shell | 1.2 | -x |$' figures/README.md || fail "no versions: $(<figures/README.md)"
grep -q '^| \*\*throughline full\*\* | ' figures/README.md || fail "no row of ours: $(<figures/README.md)"
[[ -s figures/speed-depth.svg && -s figures/memory-depth.svg && -s figures/roofline-depth.svg ]] || fail "plots: $(ls figures)"

expect 0 "${compare[@]}" --depth 64 --batch 2 --prefill 32
[[ $(wc -l <figures/results.jsonl) == 10 ]] || fail "a second call does not add: $(<figures/results.jsonl)"
grep -q 'Prefill of 32 tokens' figures/README.md || fail "no prefill: $(<figures/README.md)"
expect 2 "${compare[@]}" --peers peers.json --only nobody
grep -q 'no such peer is installed: nobody' err || fail "--only: $(<err)"
echo '{"peers": [{"name": "x"}]}' >bad.json
expect 2 "${compare[@]}" --peers bad.json
grep -q 'bad.json: a peer needs' err || fail "bad.json: $(<err)"
