#!/usr/bin/env bash
# cpu_bars.sh MODEL OUTPUT: our own speed at one shape, as docs/performance.md tabulates it, on a machine with nothing
# else to do. Prints tables and appends their rows to OUTPUT, JSON lines. MODEL: a model directory (throughline synth).
set -euo pipefail
binary=${THROUGHLINE_BINARY:-$(dirname -- "${BASH_SOURCE[0]}")/../throughline}
model=$1 output=$2 threads=${THREADS:-2}
decode() { "$binary" bench decode -m "$model" --threads "$threads" --no-mmap --repeat 5 --json "$output" "$@"; }
rpc='rpc:interval=1024,ratio=4'

decode --depth 512,8192,32768 --tokens 16 --kv "full;$rpc"
decode --depth 2048,32768 --tokens 32 --kv "$rpc;$rpc,budget=2048" # late steps beside early ones
decode --depth 8192,32768 --tokens 16 --kv-dtype int8 --kv "full;$rpc"
decode --depth 512 --tokens 32 --weights int8
decode --depth 512 --tokens 32 --weights int4
decode --depth 4096 --batch 8 --tokens 16
decode --depth 512,8192 --tokens 16 --exact
"$binary" bench prefill -m "$model" --threads "$threads" --no-mmap --depth 2048 --repeat 5 --json "$output"
