"""Scores of tables that outgrow one process: entities in parts, each scored by a process of its own over Parquet."""
