# The Python packages that results are compared with, in an environment of their own under the user's cache folder. Only
# `test --oracles` makes it (3 GB to fetch: torch's wheel insists on the CUDA libraries). Sourced, not run.
# Sets oracle_python; THROUGHLINE_ORACLES names another environment that has the packages.
oracle_packages=(torch==2.15.0 transformers==5.23.0 peft)
oracle_home=${THROUGHLINE_ORACLES:-${XDG_CACHE_HOME:-$HOME/.cache}/throughline/oracles-1}
oracle_python=$oracle_home/bin/python

# An environment cannot be renamed into place: its scripts hold its path. The mark at the end says that it is whole.
make_oracles() {
  rm -rf -- "$oracle_home" && python3 -m venv "$oracle_home" &&
    "$oracle_home/bin/pip" install --quiet --no-input --disable-pip-version-check "${oracle_packages[@]}" &&
    touch "$oracle_home/.complete"
}

need_oracles() {
  [[ ${THROUGHLINE_ORACLES-} || -e $oracle_home/.complete ]] && return
  need_packages 'python3-venv=/usr/lib/python3*/ensurepip/__init__.py'
  stage "installing the oracles (once, 6 GB) into $oracle_home" make_oracles
}
