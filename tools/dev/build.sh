#!/usr/bin/env bash
# build.sh PRESET [NINJA TARGET...]: installs what is missing, configures build/PRESET and builds the targets (none:
# everything). Presets: release, asan, tsan, fuzz, and lint, which is only configured. Says what it does on standard error.
# Two calls at once are safe: the second waits for the first.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)
source "$root/tools/dev/stage.sh"
source "$root/tools/dev/packages.sh"
source "$root/tools/dev/torch.sh"
preset=$1
targets=("${@:2}")
build=$root/build/$preset

# A torch source takes a compiler 0.65 GB; a long one, or a sanitizer, half as much again.
job_count() {
  local each_mib=1024 free_mib limit jobs
  [[ $preset == asan || $preset == tsan ]] && each_mib=1536
  free_mib=$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [[ $limit =~ ^[0-9]+$ ]] && ((limit / 1048576 < free_mib)); then
    free_mib=$((limit / 1048576))
  fi
  jobs=$((free_mib / each_mib < $(nproc) ? free_mib / each_mib : $(nproc)))
  echo $((jobs > 1 ? jobs : 1))
}

# locked FILE COMMAND...: in a subshell, with the lock held until it ends.
locked() {
  (
    exec 9>"$1"
    if ! flock --nonblock 9; then
      say "another call is busy here; waiting for it"
      flock 9
    fi
    "${@:2}"
  )
}

need_torch() {
  [[ -e $torch_dir/lib/libtorch_cpu.so ]] && return
  [[ $torch_dir == "$torch_home/torch" ]] || die "no libtorch_cpu.so in $torch_dir/lib (THROUGHLINE_TORCH or TORCH_DIR)"
  need_packages "${torch_packages[@]}"
  mkdir -p -- "${torch_home%/*}"
  locked "$torch_home.lock" install_torch_once
}

install_torch_once() {
  [[ -e $torch_dir/lib/libtorch_cpu.so ]] ||
    progress=torch_progress stage "fetching torch $torch_version (once, 540 MB) into $torch_home" install_torch
}

configure() {
  local arguments=(-G Ninja "-DTORCH_DIR=$torch_dir") wanted
  case $preset in
    release) ;;
    asan) arguments+=(-DTHROUGHLINE_SANITIZE=address) ;;
    tsan) arguments+=(-DTHROUGHLINE_SANITIZE=thread) ;;
    fuzz) arguments+=(-DTHROUGHLINE_SANITIZE=fuzzer -DTHROUGHLINE_TESTS=OFF '-DTHROUGHLINE_ROOMS=base;text;grammar;gym;think'
                      -DCMAKE_CXX_COMPILER=clang++-14) ;;
    lint) arguments+=(-DCMAKE_CXX_COMPILER=clang++-14) ;;
    *) die "unknown preset $preset" ;;
  esac
  wanted="$root ${arguments[*]}"
  if [[ -e $build/build.ninja && $(cat "$build/.configured" 2>/dev/null) == "$wanted" ]]; then
    return
  fi
  rm -rf -- "$build/CMakeCache.txt" "$build/CMakeFiles" "$build/.configured"  # another folder's, compiler's or torch's
  stage "configuring build/$preset" cmake -S "$root" -B "$build" "${arguments[@]}"
  printf '%s\n' "$wanted" >"$build/.configured"
}

build_preset() {
  local jobs
  case $preset in
    fuzz) need_packages "${build_packages[@]}" "${fuzz_packages[@]}" ;;
    lint) need_packages "${build_packages[@]}" "${lint_packages[@]}" ;;
    *) need_packages "${build_packages[@]}" ;;
  esac
  need_torch
  printf '%s\n' "$root $torch_dir" >"$build/.began"  # its time: what changes from here on is not in this build
  configure
  if [[ $preset != lint ]]; then
    jobs=$(job_count)
    stage "building build/$preset ($jobs at a time)" ninja -C "$build" -j "$jobs" "${targets[@]}"
  fi
  if [[ ${#targets[@]} == 0 || " ${targets[*]} " == *" throughline "* ]]; then
    mv -f -- "$build/.began" "$build/.built"
  fi
}

mkdir -p -- "$build"
locked "$build/.lock" build_preset
