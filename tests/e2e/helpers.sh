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
# A model for training from scratch, of about 20,000 parameters.
tiny_config() {
  cat <<'JSON'
{"model_type":"llama","hidden_size":32,"intermediate_size":64,"num_hidden_layers":2,"num_attention_heads":2,
"num_key_value_heads":1,"head_dim":16,"vocab_size":64,"rms_norm_eps":1e-5,"max_position_embeddings":256,
"tie_word_embeddings":true}
JSON
}
