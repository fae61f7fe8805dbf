"""Which rows a score reads: link paths, inputs and their layout, the plan of rows, and statistics.

`sql` renders the plan in DuckDB's SQL; `arrays` decodes what the query returns.
"""
