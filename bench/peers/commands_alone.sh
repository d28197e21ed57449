#!/bin/sh
# What the commands cost by themselves: the mapper on each of 48 pieces, two at a time, and the reducer on all totals in order.
# commands_alone.sh FILE
set -eu
here=$(dirname "$0")
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
split -n l/48 "$1" "$folder/piece."
find "$folder" -name 'piece.*' -print0 |
    xargs -0 -P 2 -I '{}' sh -c 'python3 "$0/word_totals.py" <"$1" >"$1.totals"' "$here" '{}'
LC_ALL=C sort --parallel=2 "$folder"/*.totals | python3 "$here/sum_totals.py" >/dev/null
