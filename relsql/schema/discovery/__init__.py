"""Propose keys, links and time columns that nobody has declared."""
