"""Declarations of users: as text, checked against the data, stored, and read from other databases."""
