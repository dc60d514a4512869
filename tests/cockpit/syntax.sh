#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Does the page's JavaScript parse? syntax.sh NODE FILE...
set -eu

node=$1
shift
# Node decides by the file's name whether it is a module.
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for file in "$@"; do
        case $file in
        *.js)
                cp "$file" "$out/module.mjs"
                "$node" --check "$out/module.mjs" || {
                        echo "$file does not parse, see above" >&2
                        exit 1
                }
                ;;
        *.json) python3 -m json.tool "$file" > "$out/json" ;;
        esac
done
