# Sourced by the end-to-end tests: the shipped model, and checks that say what differs.
model=$THROUGHLINE_SOURCE_DIR/models/stories260K
fail() { printf '%s\n' "$*"; exit 1; }
# expect STATUS COMMAND...: runs it with standard output in ./out and standard error in ./err.
expect() {
  local status=0
  "${@:2}" >out 2>err || status=$?
  ((status == $1)) || fail "exit status $status instead of $1: ${*:2}; it said: $(tail -n 5 err)"
}
generate() { "$THROUGHLINE" generate --model "$model" --threads 1 --kv-memory 4M "$@"; }
