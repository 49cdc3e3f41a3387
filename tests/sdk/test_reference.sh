#!/bin/sh
# Shows that docs/reference.md is what the options declare.
#   test_reference.sh BUILD
set -eu
top=$(realpath "$(dirname "$0")/../..")
"$top/tools/reference" "$1" | diff -u "$top/docs/reference.md" - ||
    { echo "docs/reference.md is not current; run: tools/reference BUILD > docs/reference.md"; exit 1; }
