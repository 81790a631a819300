#!/usr/bin/env bash
# serve over real sockets: answers, streams, limits, clients that leave, SIGTERM in the middle (tests/server/basic.py);
# and what cannot start says so in one line.
set -euo pipefail
source "$THROUGHLINE_SOURCE_DIR/tests/e2e/helpers.sh"
command -v python3 >/dev/null || { echo "python3 is not installed"; exit 77; }
"$THROUGHLINE" --version >/dev/null  # builds if it must
python3 "$THROUGHLINE_SOURCE_DIR/tests/server/basic.py"

one_line() { [[ $(wc -l <err) == 1 && $(<err) == throughline:*$1* ]] || fail "wanted one line with \"$1\": $(<err)"; }
serve=("$THROUGHLINE" serve --model "$model" --kv-memory 4M --port 0)
expect 2 "${serve[@]}" --allow-kv lru
one_line "--allow-kv"
expect 2 "${serve[@]}" --tls-cert missing.pem
one_line "--tls-cert"
expect 2 "${serve[@]}" --tls-cert missing.pem --tls-key missing.pem
one_line "missing.pem"
expect 2 "${serve[@]}" --host 203.0.113.7
one_line "--host 203.0.113.7"
: >keys
expect 2 "${serve[@]}" --api-key-file keys
one_line "--api-key-file"
