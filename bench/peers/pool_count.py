"""Counts, or with `index` indexes, the words of all files below a folder with a pool of two processes and the standard library."""

import multiprocessing
import os
import sys
from collections import Counter, defaultdict


def files(folder):
    for root, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(root, name)


def count(path):
    with open(path, "rb") as source:
        return Counter(source.read().split())


def words(path):
    with open(path, "rb") as source:
        return path, set(source.read().split())


if __name__ == "__main__":
    folder, work = sys.argv[1], sys.argv[2]
    paths = (path for path in files(folder) if os.path.isfile(path) and not os.path.islink(path))
    with multiprocessing.Pool(2) as pool:
        if work == "index":
            index = defaultdict(list)
            for path, some in pool.imap_unordered(words, paths, 64):
                for word in some:
                    index[word].append(path)
            print(len(index))
        else:
            total = Counter()
            for part in pool.imap_unordered(count, paths, 64):
                total.update(part)
            print(len(total))
