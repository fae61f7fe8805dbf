"""Rows as text, and texts as token ids."""
