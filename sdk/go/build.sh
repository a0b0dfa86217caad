#!/bin/sh
# Compiles a plugin in Go into a core module, written to $TIDEGATE_OUT; the rest of `tidegate plugin build` answers what
# Go's runtime wants of WASI, and makes a component of it. The directory with the module is `.`.
set -eu

if ! command -v go >/dev/null; then
    echo "there is no Go toolchain here: install Go 1.24 or later (https://go.dev/dl, or apt install golang-go)" >&2
    exit 1
fi
# `vendor` of a project is Tidegate's, not Go's, so Go must not look for its modules there.
export GOOS=wasip1 GOARCH=wasm
exec go build -mod=mod -buildmode=c-shared -trimpath -ldflags='-s -w' -o "$TIDEGATE_OUT" .
