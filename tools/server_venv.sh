#!/usr/bin/env bash
# server_venv.sh [--run [PYTEST ARGUMENT...]]: makes the virtual environment of the server's conformity suite
# (tests/server), in THROUGHLINE_SERVER_VENV or ~/.cache/throughline/server-venv; --run then runs the suite.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
venv=${THROUGHLINE_SERVER_VENV:-$HOME/.cache/throughline/server-venv}
if [[ ! -x $venv/bin/pytest ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" -q install 'openai>=1.66' pytest prometheus-client jsonschema schemathesis >&2
fi
echo "$venv"
if [[ ${1-} == --run ]]; then
  exec "$venv/bin/pytest" -q -p no:cacheprovider "$root/tests/server" "${@:2}"
fi
