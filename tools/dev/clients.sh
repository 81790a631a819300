# The clients that the server and its page are tested with, in a Python environment of their own under the user's cache
# folder, and Debian's Chromium (0.7 GB in all). Only `test --clients` makes them. Sourced, not run.
# Sets clients_python; THROUGHLINE_CLIENTS names another environment that has the packages.
client_packages=(pytest==9.2.0 playwright==1.65.2 openai==3.54.0 jsonschema==4.26.0 prometheus-client==0.26.0 schemathesis==4.32.5)
clients_home=${THROUGHLINE_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/throughline/clients-1}
clients_python=$clients_home/bin/python

# An environment cannot be renamed into place: its scripts hold its path. The mark at the end says that it is whole.
make_clients() {
  rm -rf -- "$clients_home" && python3 -m venv "$clients_home" &&
    timeout 300 "$clients_home/bin/pip" install --quiet --no-input --disable-pip-version-check "${client_packages[@]}" &&
    touch "$clients_home/.complete"
}

# Unlike everything else that is fetched, these may be missing: the tests that want them skip and say so. Each stage in a
# subshell, which ends itself where it fails.
need_clients() {
  (need_packages chromium=chromium) || say "no Chromium: the page is not tested"
  [[ ${THROUGHLINE_CLIENTS-} || -e $clients_home/.complete ]] && return
  (need_packages 'python3-venv=/usr/lib/python3*/ensurepip/__init__.py' && stage "installing the clients (once) into $clients_home" make_clients) ||
    say "no clients: neither the page nor the API's conformity is tested"
}
