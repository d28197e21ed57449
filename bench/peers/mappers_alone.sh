#!/bin/sh
# What a mapper costs by itself: two of them at once, over a half of the file each. mappers_alone.sh FILE
here=$(dirname "$0")
half=$(($(wc -c <"$1") / 2))
head -c "$half" "$1" | python3 "$here/word_totals.py" >/dev/null &
tail -c "+$((half + 1))" "$1" | python3 "$here/word_totals.py" >/dev/null
wait
