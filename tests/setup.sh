#!/bin/sh
# Installs the Debian packages that building and testing need, and nothing where nothing is missing.
set -eu

missing=""
need() { missing="$missing $*"; }

# bindgen, for RocksDB: libclang and its own headers.
ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 &&
    ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h >/dev/null 2>&1 || need libclang-dev
command -v c++ >/dev/null || need g++

# The Wasm target: the active toolchain's, or else Debian's.
wasm=$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null || true)
if ! ls "$wasm"/libcore-* >/dev/null 2>&1; then
    [ -x /usr/bin/rustc ] || need rustc-web
    [ -x /usr/bin/cargo ] || need cargo-web
    [ -d /usr/lib/rustlib/src/rust/library ] || need rust-web-src
    dpkg -s libstd-rust-web-dev >/dev/null 2>&1 || need libstd-rust-web-dev
    [ -x /usr/bin/wasm-ld ] || need lld
fi

# The tests.
command -v kcat >/dev/null || need kcat
command -v strace >/dev/null || need strace
command -v javac >/dev/null || need default-jdk-headless
command -v mvn >/dev/null || need maven
# File systems that the fault tests make, and the power cut.
command -v xfs_io >/dev/null || need xfsprogs
command -v mkfs.ext4 >/dev/null || need e2fsprogs

[ -z "$missing" ] && exit 0
echo "installing:$missing"
if [ "$(id -u)" != 0 ]; then
    echo "this needs root: apt-get install --no-remove$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086
apt-get install -q -y --no-remove $missing
