"""Sums the totals of each word in a sorted standard input: a reducer."""

import sys

last, total = None, 0
write = sys.stdout.buffer.write
for line in sys.stdin.buffer:
    word, count = line.split(b"\t")
    if word != last:
        if last is not None:
            write(b"%b\t%d\n" % (last, total))
        last, total = word, 0
    total += int(count)
if last is not None:
    write(b"%b\t%d\n" % (last, total))
