#!/usr/bin/env bash
# The eleven worked cases of tests/cases: ids, log-probs, kept positions and chunks equal an independent implementation's.
set -euo pipefail
command -v python3 >/dev/null || { echo "python3 is not installed"; exit 77; }
ln -s "$THROUGHLINE" throughline
python3 "$THROUGHLINE_SOURCE_DIR/tests/cases/check.py"
