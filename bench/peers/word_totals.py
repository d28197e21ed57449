"""Counts the words of its standard input and writes each with its total: a mapper that combines by itself."""

import sys
from collections import Counter

totals = Counter()
for line in sys.stdin.buffer:
    totals.update(line.split())
write = sys.stdout.buffer.write
for word, count in totals.items():
    write(b"%b\t%d\n" % (word, count))
