#!/bin/sh
# Shows that the layout rules hold, from the sources' include lines:
#   core names no plugin; a plugin includes only <holdfast/...>, its own folder and its libraries; the SDK's headers
#   include only the C library's freestanding headers and themselves; every plugin has a README.
#   check.sh TOP
set -eu
cd "$1"
fault=0
say() { [ -z "$2" ] || { echo "$1:"; echo "$2"; fault=1; }; }

say "core or sdk includes a plugin" "$(grep -rnE '#include *[<"](\.\./)*plugins/' core sdk --include='*.[ch]' || :)"
say "a plugin includes core" "$(grep -rnE '#include *[<"](\.\./)*core/' plugins --include='*.[ch]' || :)"
for kind in plugins/*/; do
    for plugin in "$kind"*/; do
        [ -d "$plugin" ] || continue
        say "$plugin has no README.md" "$([ -f "$plugin/README.md" ] || echo missing)"
        # ../ may lead back to the plugin's own folder (its tests do that), never out of it.
        for file in $(find "$plugin" -name '*.[ch]'); do
            for include in $(sed -nE 's/^#include "(\.\.[^"]*)".*/\1/p' "$file"); do
                target=$(realpath -m --relative-to=. "$(dirname "$file")/$include")
                case $target in "$plugin"* | "${plugin%/}"/*) ;; *) say "$file leaves its folder" "$include" ;; esac
            done
        done
    done
done
allowed='holdfast/|std(arg|bool|def|int)\.h|float\.h|limits\.h'
say "a public header includes more than it may" \
    "$(grep -rnE '^ *#include' sdk/include --include='*.h' | grep -vE "#include <($allowed)" || :)"
exit $fault
