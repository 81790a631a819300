# What must be on the machine, as Debian 12 names it, and how its presence is seen without asking dpkg:
# `package=probe`, the probe a command, a header, or a path pattern. Sourced, not run.
build_packages=(
  g++=g++ cmake=cmake ninja-build=ninja git=git
  libhwy-dev=hwy/highway.h nlohmann-json3-dev=nlohmann/json.hpp libcli11-dev=CLI/CLI.hpp libspdlog-dev=spdlog/spdlog.h
  libfmt-dev=fmt/core.h libonig-dev=oniguruma.h libutf8proc-dev=utf8proc.h libgmp-dev=gmp.h
  libtomlplusplus-dev=toml++/toml.h libgtest-dev=gtest/gtest.h libgmock-dev=gmock/gmock.h librapidcheck-dev=rapidcheck.h
  libboost1.81-dev=boost/beast/http/parser.hpp libssl-dev=openssl/ssl.h
  libgloo-dev=gloo/algorithm.h  # headers only: the wheel has the library
)
torch_packages=(python3=python3 python3-pip=pip3 unzip=unzip)
optional_packages=(ccache=ccache mold=mold)  # faster builds; installed along with others, never insisted on
fuzz_packages=(clang-14=clang++-14 'libclang-rt-14-dev=/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a')
lint_packages=(clang-14=clang++-14 clang-tidy-14=clang-tidy-14 clang-format-14=clang-format-14)

is_present() {
  local folder
  case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *.h | *.hpp)
      for folder in /usr/include "/usr/include/$(uname -m)-linux-gnu" /usr/local/include; do
        [[ -e $folder/$1 ]] && return
      done
      return 1 ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# missing PACKAGE=PROBE... : prints the packages whose probe fails.
missing() {
  local entry
  for entry; do
    is_present "${entry#*=}" || echo "${entry%%=*}"
  done
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -o DPkg::Lock::Timeout=600 update &&
    apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@"
}

# need_packages PACKAGE=PROBE... : installs what is missing when root, else says the line to run and exits 1.
need_packages() {
  local names
  mapfile -t names < <(missing "$@")
  ((${#names[@]})) || return 0
  mapfile -t -O "${#names[@]}" names < <(missing "${optional_packages[@]}")
  if ! command -v apt-get >/dev/null; then
    die "these are missing (named as in Debian 12; install what your system calls them): ${names[*]}"
  elif ((EUID != 0)); then
    die "packages are missing; run this, then call again:
  sudo apt-get update && sudo apt-get install --no-install-recommends -y ${names[*]}"
  fi
  stage "installing Debian packages (${names[*]})" apt_install "${names[@]}"
  mapfile -t names < <(missing "$@")
  ((${#names[@]} == 0)) || die "still missing after the installation: ${names[*]}"
}
