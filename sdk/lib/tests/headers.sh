#!/bin/sh
# Shows that each public header compiles alone, as C11 and as C++17, without warnings.
#   headers.sh INCLUDE_FOLDER [FOLDER_THAT_IT_NEEDS]
set -eu
include=$1
needed=${2:-$1}
for header in $(find "$include" -name '*.h' | sort); do
    gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$include" -I"$needed" -fsyntax-only -x c "$header"
    g++ -std=c++17 -Wall -Wextra -Werror -I"$include" -I"$needed" -fsyntax-only -x c++ "$header"
done
