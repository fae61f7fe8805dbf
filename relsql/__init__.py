"""Turn a question about the future, asked of a DuckDB database, into a SQL function."""

__version__ = "0.1.0"
