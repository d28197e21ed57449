"""Counts the lower-case words of a file with Polars: the 20 most common ones, or with a second argument all of them to that file,
sorted by word. Install it with: pip install polars"""

import sys

import polars

lines = polars.scan_csv(
    sys.argv[1], has_header=False, separator="\x01", quote_char=None, new_columns=["line"], truncate_ragged_lines=True
)
words = lines.select(polars.col("line").str.to_lowercase().str.extract_all(r"\S+").alias("word")).explode("word")
counts = words.drop_nulls().group_by("word").len()
if len(sys.argv) > 2:
    counts.sort("word").collect(engine="streaming").write_csv(sys.argv[2], separator="\t", include_header=False)
else:
    print(counts.sort("len", "word", descending=[True, False]).head(20).collect(engine="streaming"))
