"""Declarations of users: as text, checked against the data, and stored."""
