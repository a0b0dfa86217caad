#!/bin/sh
# Compiles C sources and the SDK into one core module of the world $TIDEGATE_WORLD, written to $TIDEGATE_OUT; the rest
# of `tidegate plugin build` makes a component of it. The compiler is $TIDEGATE_CC, or zig as PyPI's `ziglang` or the
# system has it.
set -eu
sdk=$(dirname "$0")

if [ -n "${TIDEGATE_CC:-}" ]; then
    cc=$TIDEGATE_CC
elif command -v zig >/dev/null; then
    cc="zig cc"
elif command -v python-zig >/dev/null; then
    cc="python-zig cc"
else
    echo "no C compiler for WebAssembly here: pip install ziglang==0.17.1, or set TIDEGATE_CC" >&2
    exit 1
fi

# A reactor has no main. What no export needs is left out, so an unused world or printf costs nothing.
# shellcheck disable=SC2086
exec $cc -target wasm32-wasi -mexec-model=reactor -O3 -std=c17 -Wall -Wextra -Werror -msimd128 -mbulk-memory \
    "-DTIDEGATE_$TIDEGATE_WORLD" -I "$sdk" -Wl,--strip-all -o "$TIDEGATE_OUT" "$@" "$sdk/tidegate.c"
