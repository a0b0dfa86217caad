#!/bin/sh
# Makes the component of a plugin in Python: `sh build.sh MODULE`, as `tidegate plugin build` runs it.
set -eu
sdk=$(dirname "$0")

if ! command -v componentize-py >/dev/null; then
    echo "componentize-py is not here: pip install componentize-py==0.25.1 (in the project's .venv, or anywhere in PATH)" >&2
    exit 1
fi
# Without the stubs the component would import wasi:*, and a plugin that imports that is refused.
exec componentize-py -q -d "$TIDEGATE_WIT" -w "$TIDEGATE_WORLD" componentize --stub-wasi -p . -p "$sdk" -o "$TIDEGATE_OUT" "$1"
