#!/usr/bin/env bash
# The page at / in headless Chromium, against recorded answers and, where it is built, the real server. Needs Debian's
# chromium and a Python with playwright and pytest: THROUGHLINE_WEB_PYTHON, else python3. Skipped without them.
set -euo pipefail
python=${THROUGHLINE_WEB_PYTHON:-python3}
"$python" -c 'import playwright, pytest' 2>/dev/null || { echo "no playwright and pytest for $python"; exit 77; }
command -v chromium >/dev/null || { echo "no chromium"; exit 77; }
exec "$python" -m pytest -q --no-header -p no:cacheprovider "$THROUGHLINE_SOURCE_DIR/tests/web"
