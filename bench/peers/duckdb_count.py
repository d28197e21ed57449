"""Counts the lower-case words of a file with DuckDB and two threads: the 20 most common ones, or with a second argument all of them
to that file, sorted by word. Install it with: pip install duckdb"""

import sys

import duckdb

counts = r"""
    SELECT word, count(*) AS n FROM (
        SELECT unnest(regexp_extract_all(lower(line), '[^ \t\r\n\f\v]+')) AS word
        FROM read_csv($path, columns = {'line': 'VARCHAR'}, delim = '\x01', quote = '', escape = '', header = false,
                      auto_detect = false, strict_mode = false, max_line_size = 10000000))
    GROUP BY word"""
connection = duckdb.connect()
connection.execute("SET threads = 2")
if len(sys.argv) > 2:
    table = connection.execute(f"CREATE TABLE counts AS {counts}", {"path": sys.argv[1]})
    connection.execute(f"COPY (FROM counts ORDER BY word) TO '{sys.argv[2]}' (DELIMITER '\t', HEADER false)")
else:
    print(connection.execute(f"{counts} ORDER BY n DESC, word LIMIT 20", {"path": sys.argv[1]}).fetchall())
