"""The plan of rows as DuckDB's SQL: the gather query, the seeds of a call, and row texts."""
