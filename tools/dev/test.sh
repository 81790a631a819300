#!/usr/bin/env bash
# ./throughline test: builds everything, runs every check, and closes with `N passed, N failed` (exit 1 if any failed).
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)
source "$root/tools/dev/stage.sh"
source "$root/tools/dev/packages.sh"

usage() {
  cat <<'END'
usage: ./throughline test [KIND] [--filter NAME]

Without KIND: the room order, all unit tests, the end-to-end tests (tests/e2e), and each fuzz target for 10 s.
  --clients      the same, and the page in Chromium and the API's conformity, with clients fetched for it (0.7 GB)
  --asan         unit tests under AddressSanitizer and UndefinedBehaviorSanitizer (build/asan)
  --tsan         unit tests under ThreadSanitizer (build/tsan)
  --lint         clang-format-14, clang-tidy-14 (.clang-tidy), and the room order
  --fuzz         only the fuzz targets, 60 s each (build/fuzz)
  --oracles      tests/oracles: against transformers, PEFT and torchrun, in a Python environment made for them (6 GB)
  --filter NAME  only what NAME names: a room (its tests), a fuzz target under --fuzz, a file part under --lint, else
                 the unit tests (a GoogleTest filter, or a part of a name) and end-to-end tests with it in their name
  --help         this

The last line is `N passed, N failed`, with `, N skipped` where some were; the exit status is 0 only if none failed.
A test that needs data which is not there is skipped. Failed output is shown; the rest is under build/KIND/test-results.
END
}

kind=all filter=
while (($#)); do
  case $1 in
    --asan | --tsan | --lint | --fuzz | --oracles | --clients) kind=${1#--} ;;
    --filter) [[ ${2-} ]] || { usage >&2; exit 2; }; filter=$2; shift ;;
    --filter=*) filter=${1#*=} ;;
    -h | --help) usage; exit ;;
    *) say "test: unknown option $1; ./throughline test --help lists them"; exit 2 ;;
  esac
  shift
done

# One line a finding: `passed COUNT`, `skipped COUNT`, or `failed 1 NAME`. Appended to by parallel jobs.
mkdir -p -- "$root/build"
exec 8>"$root/build/.test.lock"
flock --nonblock 8 || { say "another test run is busy here; waiting for it"; flock 8; }
export results=$root/build/test-results.txt root
: >"$results"

count() { echo "$*" >>"$results"; }

# check NAME COMMAND...: one check with its own log, shown only when it fails; exit status 77 means skipped.
check() {
  local name=$1 log status=0
  log=$(mktemp)
  "${@:2}" >"$log" 2>&1 8>&- || status=$?
  case $status in
    0) count passed 1 ;;
    77) count skipped 1 && printf 'skipped: %s: %s\n' "$name" "$(tail -n 1 "$log")" ;;
    *)
      count failed 1 "$name"
      { printf -- '--- failed (exit %d): %s\n' "$status" "$name" && tail -n 60 "$log"; } ;;
  esac
  rm -f -- "$log"
}
export -f count check

# A failed build is one failed check: the run goes on to its closing line.
build() {
  "$root/tools/dev/build.sh" "$@" 8>&- && return
  count failed 1 "building build/$1"
  return 1
}

room_order() {
  check "room order" "$root/tools/dev/room_order.sh"
  check "room order checker" "$root/tools/dev/room_order_test.sh"
}

# unit_tests PRESET: each room's test binary through ctest; counts come from the JSON that GoogleTest writes.
unit_tests() {
  local build=$root/build/$1 targets=() select=() name failed_log began=$SECONDS
  if [[ $filter && -d $root/src/$filter ]]; then
    targets=("${filter}_test")
    select=(--tests-regex "^$filter(_avx2)?\$")
  elif [[ $filter ]]; then
    export GTEST_FILTER=$filter
    [[ $filter == *[*:?]* ]] || GTEST_FILTER="*$filter*"
  fi
  build "$1" "${targets[@]}" || return 0
  rm -rf -- "$build/test-results" "$build/Testing/Temporary"
  say "running unit tests (build/$1)"
  failed_log=$build/Testing/Temporary/LastTestsFailed.log
  # Under ThreadSanitizer one OpenMP thread, so that only our own meet: libgomp, inside libtorch, is not instrumented
  # (nproc heeds the variable too, so it is set here only). And without randomised addresses where that is allowed:
  # the sanitizer's shadow needs it on new kernels.
  $([[ $1 == tsan ]] && echo env OMP_NUM_THREADS=1 MKL_NUM_THREADS=1) $(setarch -R true 2>/dev/null && echo setarch -R) \
    ctest --test-dir "$build" -j "$(nproc)" --output-on-failure "${select[@]}" 8>&- || true
  # Judged by names: a binary that crashed wrote no JSON, or wrote it before it died.
  while read -r name; do
    tally_binary "$name" "$build/test-results/$name.json" "$(cat "$failed_log" 2>/dev/null | grep -c ":$name\$" || true)"
  done < <(ctest --test-dir "$build" --show-only "${select[@]}" | sed -n 's/^ *Test *#[0-9]*: //p')
  say "unit tests took $((SECONDS - began)) s"
}

# tally_binary NAME JSON FAILED: the totals stand first in the file, then each test with its result.
tally_binary() {
  local tests failures skipped
  if [[ ! -s $2 ]]; then
    if (($3)); then count failed 1 "$1 (crashed, hung or did not start)"; else count passed 1; fi
    return
  fi
  tests=$(grep -m 1 -o '"tests": [0-9]*' "$2") && tests=${tests#*: }
  failures=$(grep -m 1 -o '"failures": [0-9]*' "$2") && failures=${failures#*: }
  skipped=$(grep -c '"result": "S\(KIPPED\|UPPRESSED\)"' "$2" || true)  # the second: DISABLED_ in its name
  count passed $((tests - failures - skipped))
  count skipped "$skipped"
  while read -r name; do count failed 1 "$1: $name"; done < <(failed_tests "$2")
  if (($3 && !failures)); then count failed 1 "$1 (all tests passed, but the binary failed)"; fi
}

# The names of the tests in a GoogleTest JSON report that hold a list of failures.
failed_tests() {
  awk -F '"' '$2 == "name" {name = $4} $2 == "classname" {suite = $4} $2 == "failures" && /\[/ {gsub(/\\/, "", name); print suite "." name}' "$1"
}

# scripts FOLDER: each in an empty folder of its own.
scripts() {
  local script
  [[ -x $root/build/release/throughline ]] || return 0
  say "running $1"
  for script in "$root/$1"/*.sh; do
    if [[ -x $script && ${script##*/} == *"$filter"* ]]; then printf '%s\0' "$script"; fi
  done | xargs -0 -r -P "$(nproc)" -I {} bash -c 'run_script "$1"' run_script {}
}

# With 300 s to live. Exit status 0: passed, 77: skipped.
run_script() {
  local folder
  folder=$(mktemp -d)
  cd -- "$folder"
  THROUGHLINE=$root/throughline THROUGHLINE_SOURCE_DIR=$root check "$(basename -- "${1%/*}"): $(basename -- "$1" .sh)" timeout -k 5 300 "$1"
  cd / && rm -rf -- "$folder"
}
export -f run_script

# fuzz SECONDS: every fuzz/NAME_fuzz.cc from the seeds in fuzz/corpus/NAME; what it learns stays in build/fuzz.
fuzz() {
  compgen -G "$root/fuzz/*_fuzz.cc" >/dev/null || return 0
  build fuzz || return 0
  say "fuzzing, $1 s each"
  local source
  for source in "$root"/fuzz/*_fuzz.cc; do
    source=$(basename -- "$source" _fuzz.cc)
    if [[ $source == *"$filter"* ]]; then printf '%s\0' "$source"; fi
  done | xargs -0 -r -P "$(nproc)" -I {} bash -c 'fuzz_one "$1" "$2"' fuzz_one {} "$1"
}

fuzz_one() {
  local build=$root/build/fuzz seeds=$root/fuzz/corpus/$1 options=()
  mkdir -p -- "$build/corpus/$1" "$build/finds"
  if [[ -e $root/fuzz/$1.dict ]]; then options+=("-dict=$root/fuzz/$1.dict"); fi
  options+=("$build/corpus/$1")
  if [[ -d $seeds ]]; then options+=("$seeds"); fi
  check "fuzz: $1" "$build/$1_fuzz" -max_total_time="$2" -error_exitcode=1 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$build/finds/$1-" "${options[@]}"
}
export -f fuzz_one

lint() {
  build lint || return 0
  say "clang-format and clang-tidy"
  export database=$root/build/lint
  local jobs
  jobs=$(nproc)
  cd -- "$root"
  git ls-files --cached --others --exclude-standard -- '*.cc' '*.h' '*.cu' '*.cuh' | grep -F -- "$filter" |
    xargs -d '\n' -r -P "$jobs" -I {} bash -c 'check "format: $1" clang-format-14 --dry-run -Werror "$1"' tidy {}
  # The longest first, so that no core waits for a late one.
  # Sources of coroutines are left out: clang 14 cannot read g++ 12's <coroutine>.
  git ls-files --cached --others --exclude-standard -- 'src/**/*.cc' | grep -F -- "$filter" |
    xargs -d '\n' -r grep -L 'boost/asio' -- | xargs -d '\n' -r wc -l |
    sort -rn | awk '$2 != "total" {print $2}' |
    xargs -d '\n' -r -P "$jobs" -I {} bash -c 'check "tidy: $1" clang-tidy-14 --quiet -p "$database" "$1"' tidy {}
}

# Always the last word, whatever ended the run.
finish() {
  local passed failed skipped
  ((complete)) || count failed 1 "the test run itself (it was interrupted, or its script failed)"
  read -r passed failed skipped < <(awk '{n[$1] += $2} END {print n["passed"] + 0, n["failed"] + 0, n["skipped"] + 0}' "$results")
  if ((passed + failed + skipped == 0)); then
    say "nothing matches the filter '$filter'"
    failed=1
  fi
  sed -n 's/^failed 1 /failed: /p' "$results"
  printf '%d passed, %d failed' "$passed" "$failed"
  ((skipped == 0)) || printf ', %d skipped' "$skipped"
  printf '\n'
  exit $((failed > 0))
}

export OMP_WAIT_POLICY=PASSIVE  # several binaries share the cores: libgomp's idle threads must not spin
complete=0
trap finish EXIT
case $kind in
  all | clients)
    if [[ $kind == clients ]]; then
      source "$root/tools/dev/clients.sh"
      need_clients
      export CLIENTS_PYTHON=$clients_python
    fi
    [[ $filter ]] || room_order
    unit_tests release
    [[ -d $root/src/$filter && $filter ]] || scripts tests/e2e
    [[ $filter ]] || fuzz 10 ;;
  asan)
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
    export UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=suppressions=$root/tools/dev/lsan.supp:print_suppressions=0
    unit_tests asan ;;
  tsan)
    # Only what our own code touches is judged: libtorch, c10d and libgomp are not instrumented, and synchronise unseen.
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=$root/tools/dev/tsan.supp:second_deadlock_stack=1
    unit_tests tsan ;;
  lint)
    [[ $filter ]] || room_order
    lint ;;
  fuzz) fuzz 60 ;;
  oracles)
    source "$root/tools/dev/oracles.sh"
    need_oracles
    export PYTHON=$oracle_python
    if build release throughline; then scripts tests/oracles; fi ;;
esac
complete=1
