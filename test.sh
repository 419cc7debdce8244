#!/bin/sh
# Installs what is missing (Debian 12), builds everything and runs every test.
#   sh test.sh          all of it
#   sh test.sh --deps   only install
set -eu
cd "$(dirname "$0")"

# What the build needs, what the tests need, and why: docs/dependencies.md
build_packages="gcc libc6-dev cmake ninja-build pkg-config libyaml-dev libjansson-dev libmd-dev libxxhash-dev
 zlib1g-dev liblz4-dev libturbojpeg0-dev libpng-dev libprotobuf-c-dev protobuf-c-compiler libhdf5-dev libdnnl-dev"
test_packages="libcmocka-dev clang-format-14 valgrind git python3 python3-numpy python3-h5py python3-hdf5plugin hdf5-filter-plugin python3-torch python3-opencv
 python3-sklearn gnuplot-nox chromium"

install_missing() {
    missing=""
    for package in $1; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        echo "installing:$missing"
        as_root=""
        [ "$(id -u)" = 0 ] || as_root=sudo
        $as_root apt-get update -q >/dev/null
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q -y --no-install-recommends $missing >/dev/null
    fi
}

case "${1:-}" in
--deps) install_missing "$build_packages $test_packages"; exit 0 ;;
--build-deps) install_missing "$build_packages"; exit 0 ;;
"") ;;
*) echo "usage: sh test.sh [--deps | --build-deps]" >&2; exit 2 ;;
esac

install_missing "$build_packages $test_packages"
cmake --preset release -DCASK_WERROR=ON
cmake --build --preset release
ctest --test-dir build --output-on-failure --no-tests=error -j "$(nproc)"
