"""Propose the time of each table's rows: their own, that of a header, or one read from text and numbers."""
