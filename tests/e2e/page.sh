#!/usr/bin/env bash
# The page at / in headless Chromium, against recorded answers and the real server. Skipped without Debian's chromium and
# `./throughline test --clients`.
set -euo pipefail
python=${CLIENTS_PYTHON:-python3}
"$python" -c 'import playwright, pytest' 2>/dev/null || { echo "no playwright and pytest for $python (./throughline test --clients)"; exit 77; }
command -v chromium >/dev/null || { echo "no chromium"; exit 77; }
exec "$python" -m pytest -q --no-header -p no:cacheprovider "$THROUGHLINE_SOURCE_DIR/tests/web"
