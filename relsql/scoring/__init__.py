"""Scores as files and tables, in jobs that can be restarted; embeddings of new rows."""
