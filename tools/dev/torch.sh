# libtorch from the PyPI wheel, unpacked once into the user's cache and shared by all clones. Sourced, not run.
# Sets torch_dir; `install_torch` fills it. The wheel's own dependencies (gigabytes of CUDA libraries) are left out:
# libtorch_cpu.so wants only the two small ones named here.
torch_version=2.15.0
torch_wheels=("torch==$torch_version" nvidia-cuda-runtime==13.5.37 nvidia-cuda-cupti==13.5.25)
torch_home=${XDG_CACHE_HOME:-$HOME/.cache}/throughline/torch-$torch_version
torch_dir=${THROUGHLINE_TORCH:-${TORCH_DIR:-$torch_home/torch}}

# The first python at hand that has pip. Its own version does not matter: the wheel is named by tags below.
python_with_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      echo "$python"
      return
    fi
  done
  return 1
}

# Whole or not at all: unpacks beside the target and renames. REQUIRES: the caller holds the lock on the cache folder.
install_torch() {
  local partial=$torch_home.partial python wheel glibc platforms=()
  python=$(python_with_pip) || { echo "no python3 with pip was found"; return 1; }
  for glibc in 28 27 26 25 24 17; do
    platforms+=(--platform "manylinux_2_${glibc}_$(uname -m)")
  done
  rm -rf -- "$partial" && mkdir -p -- "$partial/tmp" "$partial/wheels" &&
    TMPDIR=$partial/tmp "$python" -m pip download --quiet --no-input --disable-pip-version-check --no-cache-dir --no-deps \
      --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi none "${platforms[@]}" \
      --platform "manylinux2014_$(uname -m)" --dest "$partial/wheels" "${torch_wheels[@]}" || return 1
  for wheel in "$partial"/wheels/*.whl; do
    # unzip answers 11 for a pattern that matches nothing: each wheel has only some of these folders.
    unzip -q "$wheel" 'torch/lib/*' 'torch/include/*' torch/version.py 'nvidia/*' -d "$partial" ||
      [[ $? == 11 ]] || { echo "cannot unpack $wheel"; return 1; }
    rm -f -- "$wheel"
  done
  if ! [[ -e $partial/torch/lib/libtorch_cpu.so && -e $partial/torch/include/ATen/ATen.h && -d $partial/nvidia ]]; then
    echo "the wheels did not hold torch/lib, torch/include and nvidia/"
    return 1
  fi
  rm -rf -- "$partial/tmp" "$partial/wheels" "$torch_home" && mv -T -- "$partial" "$torch_home"
}

torch_progress() { du -sm "$torch_home.partial" 2>/dev/null | sed 's/\t.*/ MB/'; }
