#!/usr/bin/env bash
# The server as the openai package, schemathesis and OpenAI's published shapes want it. Skipped without the packages that
# `./throughline test --clients` installs.
set -euo pipefail
python=${CLIENTS_PYTHON:-python3}
"$python" -c 'import jsonschema, openai, prometheus_client, pytest, schemathesis' 2>/dev/null ||
  { echo "no openai, schemathesis and so on for $python (./throughline test --clients)"; exit 77; }
exec "$python" -m pytest -q --no-header -p no:cacheprovider "$THROUGHLINE_SOURCE_DIR/tests/server"
