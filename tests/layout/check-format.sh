#!/bin/sh
# Whether every source is as clang-format would write it: check-format.sh SOURCE_DIRECTORY CLANG_FORMAT
set -eu
cd "$1"
find bench core plugins sdk tests \( -name '*.c' -o -name '*.h' \) -print0 | xargs -0 "$2" --dry-run -Werror
